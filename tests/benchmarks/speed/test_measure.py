from itertools import pairwise

import numpy as np
import pytest

from benchmarks.speed import measure


def test_each_round_measures_every_variant_once_in_another_order() -> None:
    names = ["a", "b", "c"]
    orders = [measure.order_of(names, number) for number in range(6)]
    assert all(sorted(order) == names for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert orders[0] == ["a", "b", "c"] and orders[1] == ["a", "c", "b"]
    followed = {pair for order in orders for pair in pairwise(order)}
    assert len(followed) == 6  # every variant follows every other one


def test_interleaving_takes_the_variants_in_turns_and_one_seed_a_round() -> None:
    calls: list[tuple[str, int]] = []

    def take(name: str, seed: int) -> float:
        calls.append((name, seed))
        return float(len(calls))

    seconds = measure.interleave(["a", "b"], [7, 8, 9], 5, take)
    assert calls[:4] == [("a", 7), ("b", 7), ("a", 8), ("b", 8)]
    assert [seed for _, seed in calls[::2]] == [7, 8, 9, 7, 8]
    assert seconds["a"][:2] == [1.0, 3.0] and seconds["b"][:2] == [2.0, 4.0]
    assert {len(values) for values in seconds.values()} == {5}


def test_ratio_is_taken_round_by_round() -> None:
    work = [10.0, 20.0, 30.0]
    ours, theirs = measure.rates(work, [1.0, 1.0, 10.0]), measure.rates(work, [2.0, 4.0, 30.0])
    assert measure.ratios(ours, theirs) == pytest.approx([2.0, 4.0, 3.0])
    # A round that was slow for all does not count more than others.
    assert measure.spread(measure.ratios(ours, theirs)).median == pytest.approx(3.0)


def test_rounds_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        measure.ratios([1.0, 2.0, 3.0], [1.0, 2.0])


def test_spread_holds_median_quartiles_and_extremes() -> None:
    assert measure.spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 2.0, 4.0, 1.0, 5.0)


def test_equal_outputs_pass_and_their_difference_is_relative() -> None:
    found = measure.check_outputs("x", {"y": np.array([100.0, 2.0])}, {"y": np.array([100.0, 2.01])}, 1e-3)
    assert found == {"y": pytest.approx(1e-4)}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.1])),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, 2.0]), np.array([[1.0, 2.0]])),
        (np.array([3, 4, 5]), np.array([3, 4, 6])),
    ],
)
def test_unequal_outputs_fail(ours: np.ndarray, theirs: np.ndarray) -> None:
    with pytest.raises(measure.UnequalOutputsError, match="x: y differs"):
        measure.check_outputs("x", {"y": ours}, {"y": theirs}, 1e-3)


def test_outputs_that_share_no_name_fail() -> None:
    with pytest.raises(measure.UnequalOutputsError, match="no output"):
        measure.check_outputs("x", {"y": np.ones(2)}, {"z": np.ones(2)}, 1e-3)


def test_share_of_unequal_tokens_is_the_difference() -> None:
    assert measure.difference({"t": np.array([1, 2, 3, 4])}, {"t": np.array([1, 2, 3, 9])}) == {"t": 0.25}
