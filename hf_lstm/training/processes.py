"""What several processes of one run decide together."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..data.checks import InputError

Made = TypeVar("Made")


def from_main_process(make: Callable[[], Made]) -> Made:
    """
    Calls a function in the main process alone, and returns in every process what it has returned there.

    Nothing needs to be on a disk that all hosts share.

    Args:
        make (`Callable`): Takes nothing, and returns what can be pickled.

    Raises:
        InputError: In every process, if the function raises one.
    """
    outcome: list[Made | InputError | None] = [None]
    if PartialState().is_main_process:
        try:
            outcome = [make()]
        except InputError as error:
            outcome = [error]
    made = broadcast_object_list(outcome)[0]
    if isinstance(made, InputError):
        raise made
    return made
