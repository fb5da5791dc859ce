from typing import Any

import pytest

from benchmarks.speed.goals import GOALS, MEBIBYTE, Goal, judge
from benchmarks.speed.measure import spread
from benchmarks.speed.variants import CASES, Setup, load_sections

RATIO = Goal("faster", "encoder", "training", "ours", 2.0, ("peer",))


def row(variant: str, rates: list[float], **others: Any) -> dict[str, Any]:
    described = {"case": "encoder", "section": "training", "threads": 1, "variant": variant, "status": "measured"}
    return described | {"rates": rates, "rate": spread(rates)._asdict(), "check": ""} | others


def test_fastest_row_of_a_peer_counts() -> None:
    rows = [row("ours", [30.0, 60.0, 50.0]), row("peer", [10.0, 10.0, 10.0]), row("peer, best", [20.0, 20.0, 20.0])]
    verdict = judge(RATIO, [*rows, row("other", [99.0, 99.0, 99.0])], 1, None)
    assert verdict.value == pytest.approx(2.5) and verdict.peer == "peer, best"
    assert verdict.reached and verdict.describe() == "reached"


def test_missed_goal_says_by_how_much() -> None:
    verdict = judge(RATIO, [row("ours", [15.0]), row("peer", [10.0])], 1, None)
    assert verdict.reached is False and verdict.describe() == "missed by 25 %"


def test_overhead_is_of_ours_over_the_peer() -> None:
    goal = Goal("overhead", "encoder", "training", "ours", 0.05, ("peer",), "overhead")
    verdict = judge(goal, [row("ours", [100.0]), row("peer", [104.0])], 1, None)
    assert verdict.value == pytest.approx(0.04) and verdict.reached
    verdict = judge(goal, [row("ours", [100.0]), row("peer", [120.0])], 1, None)
    assert verdict.describe() == "missed: 4 times the limit"


def test_share_of_the_peak_and_difference_are_those_of_our_row() -> None:
    rows = [row("ours", [1.0], flops=60.0, differences={"output": 1e-6, "gradients": 3e-4})]
    share = judge(Goal("share", "encoder", "training", "ours", 0.75, (), "peak share"), rows, 1, 80.0)
    assert share.value == pytest.approx(0.75) and share.reached
    difference = judge(Goal("equal", "encoder", "training", "ours", 1e-4, (), "difference"), rows, 1, 80.0)
    assert difference.value == pytest.approx(3e-4) and difference.reached is False


def test_memory_growth_is_beside_the_smaller_section() -> None:
    goal = Goal("memory", "encoder", "large", "ours", 16.0, ("small",), "memory growth")
    rows = [
        row("ours", [1.0], section="small", memory=2.0 * MEBIBYTE),
        row("ours", [1.0], section="large", memory=9.0 * MEBIBYTE),
    ]
    verdict = judge(goal, rows, 1, None)
    assert verdict.value == pytest.approx(7.0) and verdict.reached


@pytest.mark.parametrize(
    ("rows", "threads", "reason"),
    [
        ([], 1, "no such row"),
        ([row("ours", [1.0]), row("peer", [1.0])], 2, "no such row"),
        ([row("peer", [1.0])], 1, "no such row"),
        ([row("ours", [1.0])], 1, "no such peer"),
        (
            [row("ours", [1.0]), {"variant": "peer", "status": "not run: x not installed"} | {"case": "encoder"}],
            1,
            "not installed",
        ),
    ],
)
def test_goal_without_figures_says_why(rows: list[dict[str, Any]], threads: int, reason: str) -> None:
    rows = [{"section": "training", "threads": 1} | entry for entry in rows]
    verdict = judge(RATIO, rows, threads, None)
    assert verdict.reached is None and reason in verdict.describe()
    assert verdict.describe().startswith("not run: ") and verdict.describe().count("not run") == 1


@pytest.mark.parametrize("unchecked", ["ours", "peer"])
@pytest.mark.parametrize("figure", ["ratio", "overhead"])
def test_goal_is_not_judged_by_a_row_that_could_not_be_compared(unchecked: str, figure: Any) -> None:
    lacking = {"check": "not compared: no outputs of the reference", "is_unchecked": True}
    rows = [row(name, [30.0], **(lacking if name == unchecked else {})) for name in ("ours", "peer")]
    verdict = judge(Goal("faster", "encoder", "training", "ours", 0.5, ("peer",), figure), rows, 1, None)
    assert verdict.reached is None
    assert verdict.describe() == f"not judged: {unchecked} is not compared: no outputs of the reference"


def test_goals_name_rows_that_exist(full_setup: Setup) -> None:
    found = {
        case: {
            section.name: [variant.name for variant in section.variants] for section in load_sections(case, full_setup)
        }
        for case in CASES
    }
    for goal in GOALS:
        names = found[goal.case][goal.section]
        assert goal.ours in names
        if goal.figure == "memory growth":
            assert goal.ours in found[goal.case][goal.peers[0]]
        else:
            assert all(any(name.startswith(peer) for name in names) for peer in goal.peers), goal.text


def test_sections_and_variants_have_names_of_their_own(full_setup: Setup) -> None:
    for case in CASES:
        sections = load_sections(case, full_setup)
        assert len({section.name for section in sections}) == len(sections)
        for section in sections:
            names = [variant.name for variant in section.variants]
            assert len(set(names)) == len(names)
            assert all(variant.reference in (None, *names) for variant in section.variants)
            assert section.work(1) > 0
