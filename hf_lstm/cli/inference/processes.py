"""Work on many rows that is spread over the processes which `torchrun` or `accelerate launch` has started."""

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ...data.checks import InputError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class SharedWork(Generic[Item, Outcome]):
    """
    Spreads work over all processes. The main one hands it out within a `with` block; the others only work.

        with SharedWork(work) as share:
            if share is not None:
                outcomes = share(rows)

    Args:
        work (`Callable`):
            Takes some consecutive items, possibly none, and a function to call with the number of them that are done;
            returns what can be pickled.
    """

    def __init__(self, work: Callable[[list[Item], Callable[[int], Any]], Outcome]):
        self.work = work
        self.state = PartialState()

    @property
    def num_processes(self) -> int:
        """How many processes there are."""
        return self.state.num_processes

    def __enter__(self) -> "SharedWork[Item, Outcome] | None":
        if self.state.is_main_process:
            return self
        while (order := broadcast_object_list([None])[0]) is not None:
            items, seed = order
            torch.manual_seed(_other_seed(seed, self.state.process_index))
            self._take_part(items, lambda count: None)
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.state.is_main_process:
            broadcast_object_list([None])
        self.state.destroy_process_group()

    def __call__(self, items: list[Item], progress: Callable[[int], Any] = lambda count: None) -> list[Outcome]:
        """
        Returns what came of the items in each process, in their order.

        Args:
            items (`list`): What can be pickled.
            progress (`Callable`, *optional*): Called with the number of items that are done since.

        Raises:
            Exception: What a process raised; of another process, anything but an `InputError` as a `RuntimeError`.
        """
        broadcast_object_list([(items, torch.initial_seed())])
        return self._take_part(items, progress)

    def _take_part(self, items: list[Item], progress: Callable[[int], Any]) -> list[Outcome]:
        """Works on this process's part. Failures too are gathered, or else other processes would wait for ever."""
        outcome: Outcome | None = None
        failure: Exception | None = None
        with self.state.split_between_processes(items) as part:
            try:
                outcome = self.work(part, progress)
            except Exception as error:
                failure = error
        gathered = gather_object([(outcome, None if failure is None else _as_message(failure))])
        failures = [message for _, message in gathered if message is not None]
        if failures and self.state.is_main_process:
            raise failure or failures[0]
        progress(len(items) - len(part))
        return [part_outcome for part_outcome, _ in gathered]


def _other_seed(seed: int, rank: int) -> int:
    """Mixes a seed of the first process with a rank, so that no process draws what another one does at a near seed."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0])


def _as_message(error: Exception) -> Exception:
    """Returns an error that can be pickled."""
    if isinstance(error, InputError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
