"""Interleaved measuring, comparison of outputs, and what becomes of the seconds."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Median, quartiles and extremes of the rounds."""

    median: float
    low: float
    high: float
    least: float
    most: float


class UnequalOutputsError(Exception):
    """Tells that two variants which must compute the same do not."""


def spread(values: Sequence[float]) -> Spread:
    """Summarises the figures of the rounds."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(low), float(high), float(min(values)), float(max(values)))


def rates(work: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Returns the units of work in a second, round by round."""
    return [units / duration for units, duration in zip(work, seconds, strict=True)]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Returns how many times as fast `ours` is, round by round: both were measured one after the other."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def order_of(names: Sequence[str], round_number: int) -> list[str]:
    """
    Returns the order in which a round measures the variants.

    Another one starts each time, and every second round goes backwards, so that none always follows the same one.
    """
    start = round_number % len(names)
    rotated = [*names[start:], *names[:start]]
    return rotated[::-1] if round_number % 2 else rotated


def interleave(
    names: Sequence[str], seeds: Sequence[int], rounds: int, measure: Callable[[str, int], float]
) -> dict[str, list[float]]:
    """
    Measures all variants in every round, on the work of one seed after the other.

    Args:
        names (`Sequence[str]`): The variants.
        seeds (`Sequence[int]`): Seeds of the work; a round takes one.
        rounds (`int`): How often.
        measure (`Callable[[str, int], float]`): Returns the seconds that a variant takes for the work of a seed.

    Returns:
        `dict[str, list[float]]`: The seconds of each round, by variant.
    """
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(rounds):
        for name in order_of(names, round_number):
            seconds[name].append(measure(name, seeds[round_number % len(seeds)]))
    return seconds


def difference(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """
    Compares outputs with those of the reference.

    Returns:
        `dict[str, float]`: For each output that both have, the largest difference, relative to the largest value of
        the reference; of whole numbers, the share that is not equal. Infinite where shapes differ or a value is NaN.
    """
    found = {}
    for name in outputs.keys() & reference.keys():
        ours, theirs = np.asarray(outputs[name]), np.asarray(reference[name])
        if ours.shape != theirs.shape:
            found[name] = float("inf")
        elif np.issubdtype(theirs.dtype, np.integer):
            found[name] = float(np.mean(ours != theirs))
        else:
            scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-30)
            largest = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)) / scale
            found[name] = largest if np.isfinite(largest) else float("inf")
    return found


def check_outputs(
    name: str, outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], tolerance: float
) -> dict[str, float]:
    """
    Compares a variant's outputs with those of the reference, and returns the differences.

    Raises:
        UnequalOutputsError: If one is larger than `tolerance`, or there is nothing to compare.
    """
    found = difference(outputs, reference)
    if not found:
        raise UnequalOutputsError(f"{name} has no output that its reference has.")
    for output, size in found.items():
        if not size <= tolerance:
            raise UnequalOutputsError(f"{name}: {output} differs by {size:.2g}, more than {tolerance:.2g}.")
    return found
