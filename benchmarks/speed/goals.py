"""What the speed of the package is held against. Each goal is a ratio inside one run, so that machines compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.speed.measure import ratios, spread

Figure = Literal["ratio", "overhead", "peak share", "difference", "memory growth"]
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Goal:
    """
    One goal.

    Args:
        text (`str`): What it says.
        case (`str`): The case that measures it.
        section (`str`): The section of that case.
        ours (`str`): Our row.
        target (`float`): What must be reached.
        peers (`tuple[str, ...]`): How the names of the rows begin that it is held against. The fastest of them counts,
            so that no peer's weaker settings can make a goal look reached.
        figure (`Figure`): What is compared with the target: `"ratio"` (ours to the fastest peer), `"overhead"` (of
            ours over the fastest peer, 0.05 for 5 %), `"peak share"` (of the fp32 peak), `"difference"` (largest
            relative one from the reference) or `"memory growth"` (MiB more than in the section `peers[0]`).
    """

    text: str
    case: str
    section: str
    ours: str
    target: float
    peers: tuple[str, ...] = ()
    figure: Figure = "ratio"

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.figure in ("ratio", "peak share")


@dataclass(frozen=True)
class Verdict:
    """
    How a goal was met with a number of threads.

    Args:
        goal (`Goal`): The goal.
        threads (`int`): Threads.
        value (`float`, *optional*): What was measured.
        peer (`str`): The row that it was held against.
        reason (`str`): Why nothing was measured.
    """

    goal: Goal
    threads: int
    value: float | None = None
    peer: str = ""
    reason: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached, `None` where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.goal.target if self.goal.at_least else self.value <= self.goal.target

    def describe(self) -> str:
        """Returns "reached", by how much it is missed, or why it was not run."""
        if self.value is None:
            return self.reason if self.reason.startswith(("not run", "not judged")) else f"not run: {self.reason}"
        if self.reached:
            return "reached"
        if self.goal.at_least:
            return f"missed by {100 * (1 - self.value / self.goal.target):.0f} %"
        return f"missed: {self.value / self.goal.target:.3g} times the limit"


PACKED, PACKED_BF16 = ("nn.LSTM, packed",), ("nn.LSTM in bf16, packed",)
RANDOM, GROUPED, READING = "training, random lengths", "training, grouped by length", "inference, grouped by length"
OURS_BF16, WRITTEN_BF16, OURS_INT8 = "ours in bf16, predict, best", "ours in bf16, best", "ours, int8, best"
PRODUCTS = ("matrix products alone",)
PLAIN, PLAIN_BF16 = ("plain PyTorch, packed",), ("plain PyTorch in bf16, packed",)
MARIAN, INT8 = ("Marian, transformers",), ("Marian, CTranslate2 int8",)
GREEDY, BEAMS = "greedy, batch {}", "5 beams, batch {}"

GOALS = (
    Goal("training, random lengths, against packed nn.LSTM", "encoder", RANDOM, "ours", 3.5, PACKED),
    Goal("training, grouped by length, against packed nn.LSTM", "encoder", GROUPED, "ours", 4.0, PACKED),
    Goal("inference, grouped by length, against packed nn.LSTM", "encoder", READING, "ours", 2.5, PACKED),
    Goal("training, random lengths, both in bf16", "encoder", RANDOM, "ours in bf16", 3.5, PACKED_BF16),
    Goal("training, grouped by length, both in bf16", "encoder", GROUPED, "ours in bf16", 4.0, PACKED_BF16),
    Goal("inference, grouped by length, both in bf16", "encoder", READING, "ours in bf16", 2.5, PACKED_BF16),
    Goal("inference, grouped by length, share of the fp32 peak", "encoder", READING, "ours", 0.75, (), "peak share"),
    Goal("inference, grouped by length, share of products in turns", "encoder", READING, "ours", 0.75, PRODUCTS),
    Goal("outputs and gradients, random lengths", "encoder", RANDOM, "ours", 1e-4, (), "difference"),
    Goal("outputs and gradients, grouped by length", "encoder", GROUPED, "ours", 1e-4, (), "difference"),
    Goal("documents, predict against pipeline", "documents", "throughput", "ours, predict", 4.0, ("ours, pipeline",)),
    Goal("documents, in bf16 against a DistilBERT", "documents", "throughput", OURS_BF16, 15.0, ("DistilBERT",)),
    Goal("documents, in bf16 against a bert-tiny", "documents", "throughput", OURS_BF16, 1.3, ("bert-tiny",)),
    Goal("documents, against a DistilBERT", "documents", "throughput", "ours, predict", 15.0, ("DistilBERT",)),
    Goal("documents, against a bert-tiny", "documents", "throughput", "ours, predict", 1.3, ("bert-tiny",)),
    Goal("greedy, batch 1, against Marian", "generation", GREEDY.format(1), "ours, best", 15.0, MARIAN),
    Goal("greedy, batch 32, against Marian", "generation", GREEDY.format(32), "ours, best", 10.0, MARIAN),
    Goal("greedy, batch 1, bf16, against Marian", "generation", GREEDY.format(1), WRITTEN_BF16, 15.0, MARIAN),
    Goal("greedy, batch 32, bf16, against Marian", "generation", GREEDY.format(32), WRITTEN_BF16, 10.0, MARIAN),
    Goal("greedy, batch 1, int8, against Marian", "generation", GREEDY.format(1), OURS_INT8, 15.0, MARIAN),
    Goal("greedy, batch 32, int8, against Marian", "generation", GREEDY.format(32), OURS_INT8, 10.0, MARIAN),
    Goal("greedy, batch 1, int8, against CTranslate2 int8", "generation", GREEDY.format(1), OURS_INT8, 4.0, INT8),
    Goal("greedy, batch 32, int8, against CTranslate2 int8", "generation", GREEDY.format(32), OURS_INT8, 3.0, INT8),
    Goal("5 beams, batch 1, int8, against CTranslate2 int8", "generation", BEAMS.format(1), OURS_INT8, 3.0, INT8),
    Goal("5 beams, batch 32, int8, against CTranslate2 int8", "generation", BEAMS.format(32), OURS_INT8, 3.0, INT8),
    Goal(
        "generate over the bare steps, batch 1", "overhead", "generate, batch 1", "ours", 0.25, ("bare",), "overhead"
    ),
    Goal(
        "generate over the bare steps, batch 32", "overhead", "generate, batch 32", "ours", 0.25, ("bare",), "overhead"
    ),
    Goal(
        "sequence to sequence, training against a packed loop", "seq2seq_training", "random order", "ours", 2.0, PLAIN
    ),
    Goal(
        "sequence to sequence, training, both in bf16",
        "seq2seq_training",
        "random order",
        "ours in bf16",
        2.0,
        PLAIN_BF16,
    ),
    Goal("Trainer over a bare loop", "overhead", "Trainer", "ours", 0.05, ("bare",), "overhead"),
    Goal(
        "MiB that a text of a million tokens takes beside one of 100,000",
        "cost",
        "document of 1,000,000 tokens",
        "ours, chunks",
        16.0,
        ("document of 100,000 tokens",),
        "memory growth",
    ),
)


def judge(goal: Goal, rows: Sequence[dict[str, Any]], threads: int, peak: float | None) -> Verdict:
    """
    Compares a goal with what was measured.

    It is not judged by rows which should equal others but could not be compared with them.

    Args:
        goal (`Goal`): The goal.
        rows (`Sequence[dict[str, Any]]`): The rows of all cases.
        threads (`int`): Whose rows count.
        peak (`float`, *optional*): The fp32 peak with these threads, in operations a second.
    """
    rows = [row for row in rows if row["case"] == goal.case and row["threads"] == threads]
    here = {row["variant"]: row for row in rows if row["section"] == goal.section and "variant" in row}
    ours = here.get(goal.ours)
    if ours is None or "rates" not in ours:
        return Verdict(goal, threads, reason="no such row" if ours is None else ours["status"])
    if ours.get("is_unchecked"):
        return Verdict(goal, threads, reason=_refusal(ours))
    if goal.figure == "peak share":
        return Verdict(goal, threads, None if peak is None else ours["flops"] / peak, "fp32 peak", "no peak")
    if goal.figure == "difference":
        found = ours.get("differences")
        return Verdict(goal, threads, max(found.values()) if found else None, "nn.LSTM, packed", ours["check"])
    if goal.figure == "memory growth":
        return _judge_memory(goal, rows, ours, threads)
    peers = [row for name, row in here.items() if name.startswith(goal.peers) and row is not ours]
    measured = [row for row in peers if "rates" in row]
    if not measured:
        return Verdict(goal, threads, reason="; ".join({row["status"] for row in peers}) or "no such peer")
    fastest = max(measured, key=lambda row: row["rate"]["median"])
    if fastest.get("is_unchecked"):
        return Verdict(goal, threads, reason=_refusal(fastest))
    if goal.figure == "overhead":
        value = spread(ratios(fastest["rates"], ours["rates"])).median - 1
    else:
        value = spread(ratios(ours["rates"], fastest["rates"])).median
    return Verdict(goal, threads, value, fastest["variant"])


def _refusal(row: dict[str, Any]) -> str:
    return f"not judged: {row['variant']} is {row['check']}"


def _judge_memory(goal: Goal, rows: Sequence[dict[str, Any]], ours: dict[str, Any], threads: int) -> Verdict:
    smaller = [row for row in rows if row["section"] == goal.peers[0] and row.get("variant") == goal.ours]
    if not smaller or smaller[0].get("memory") is None or ours.get("memory") is None:
        return Verdict(goal, threads, reason="no memory measured")
    return Verdict(goal, threads, (ours["memory"] - smaller[0]["memory"]) / MEBIBYTE, goal.peers[0])
