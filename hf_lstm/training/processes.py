"""What several processes of one run decide together, and how they part."""

import gc
import sys
from collections.abc import Callable
from typing import Any, TypeVar

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


def run_script(main: Callable[[], Any]) -> None:
    """
    Runs a training program to its end: input that cannot be used is told in a line, and the processes of a run part.

    Args:
        main (`Callable`): Takes nothing.
    """
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    leave_processes()


def leave_processes() -> None:
    """
    Ends the connection to the other processes of the run, if there are any, once what was trained is gone.

    A model in `DistributedDataParallel` must not outlive it, as it does where `Accelerator.end_training` is called
    beside it: torch would then close the connection with the interpreter's lock held, and now and then wait for ever
    for a thread that needs this lock. Left to the end of the interpreter, such a thread could abort the process.
    """
    gc.collect()
    PartialState().destroy_process_group()
