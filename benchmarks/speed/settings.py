"""Settings that are offered to every peer, and the choice of the fastest."""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

PRECISIONS = ("highest", "medium")


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Sets `torch.set_float32_matmul_precision` inside."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def with_precision(precision: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `run` with a precision of fp32 matrix products set around each call."""

    def precise(*args: Any, **kwargs: Any) -> Any:
        with matmul_precision(precision):
            return run(*args, **kwargs)

    return precise


def pick_fastest(candidates: Mapping[str, Callable[[int], Any]], seed: int, repeats: int = 2) -> str:
    """
    Returns the name of the candidate that does the work of a seed fastest.

    Args:
        candidates (`Mapping[str, Callable[[int], Any]]`): What to choose from.
        seed (`int`): Seed of the work.
        repeats (`int`): Runs of each beside a first one; the shortest counts. A candidate whose first run takes twice
            as long as the fastest so far has no further ones.
    """
    seconds: dict[str, float] = {}
    for name, run in candidates.items():
        seconds[name] = _time(run, seed)
        if seconds[name] < 2 * min(seconds.values()):
            seconds[name] = min(_time(run, seed) for _ in range(repeats))
    return min(seconds, key=lambda name: seconds[name])


def _time(run: Callable[[int], Any], seed: int) -> float:
    start = time.perf_counter()
    run(seed)
    return time.perf_counter() - start


def import_peer(name: str) -> Any:
    """Imports a package of the `bench` extra, which need not be installed where types are checked."""
    return importlib.import_module(name)
