"""Shares work that draws numbers, and work that fails in one process, over all processes."""

import os
from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from torch import distributed

from hf_lstm.cli.inference.processes import SharedWork
from hf_lstm.data.checks import InputError

RANK = int(os.environ["RANK"])


def draw(items: list[int], progress: Callable[[int], Any]) -> list[float]:
    progress(len(items))
    return torch.rand(len(items)).tolist()


def fail_at_zero(items: list[int], progress: Callable[[int], Any]) -> list[int]:
    if 0 in items:
        raise InputError("0 cannot be used.")
    return items


def fail_unexpectedly(items: list[int], progress: Callable[[int], Any]) -> list[int]:
    if 0 in items:
        raise ValueError("0 was not expected.")  # of which `InputError` is one
    return items


def check_drawing() -> None:
    """Pieces are seeded by consecutive numbers, as `hf-lstm predict` does."""
    parts: list[list[float]] = []
    counts: list[int] = []
    with SharedWork(draw) as share:
        for seed in (0, 1, 2, 0) if share else ():
            torch.manual_seed(seed)
            parts += share(list(range(8)), counts.append)
            torch.manual_seed(seed)
            assert parts[-2] == torch.rand(4).tolist()  # the first process's, as alone
    assert sum(counts) == (0 if RANK else 4 * 8), counts
    assert parts[6:] == parts[:2], parts  # whatever was drawn before
    assert len(set(map(tuple, parts))) == len(parts[:6]) == (0 if RANK else 6), parts


def check_failure(work: Callable[..., Any], items: list[int], kind: type[Exception], message: str) -> None:
    """The first process raises the error, wherever it was; the others are done."""
    raised: Exception | None = None
    try:
        with SharedWork(work) as share:
            if share is not None:
                share(items)
    except Exception as error:
        raised = error
    assert (raised is None) if RANK else (type(raised) is kind and message in str(raised)), repr(raised)


if __name__ == "__main__":
    PartialState(cpu=True)
    PartialState.destroy_process_group = lambda state: None  # torch cannot make another one beside this launcher
    check_drawing()
    check_failure(fail_at_zero, [0, 1, 2, 3], InputError, "0 cannot be used.")
    check_failure(fail_at_zero, [1, 2, 3, 0], InputError, "0 cannot be used.")
    check_failure(fail_unexpectedly, [0, 1, 2, 3], ValueError, "0 was not expected.")
    check_failure(fail_unexpectedly, [1, 2, 3, 0], RuntimeError, "ValueError: 0 was not expected.")
    distributed.destroy_process_group()
