"""The report of a run: goals and rows as tables in Markdown, and everything in JSON beside it."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from benchmarks.common.tables import MISSING, table
from benchmarks.speed.goals import GOALS, MEBIBYTE, Verdict, judge

INTRODUCTION = """\
# Speed

Written by `{command}`; every figure comes from that run.

Variants of a section took turns: each round measured all of them on the same work, in another order. *Rate* is the
median over the rounds (seeds {seeds}, one after the other) with the quartiles and, in brackets, the extremes, in units
of the section's work; padding never counts. There are {rounds} rounds, but fewer in sections that take long; each
section says how many it had. *Ours / this* is the median over the rounds of the ratio of the section's first row to
the row, with its quartiles: above 1 the first row is faster. *Check* says what its outputs were compared with, on the
work of the first seed. Peers stand at their default and at their best settings; a row whose name ends in *best* had
its settings chosen by trial before measuring, if there were several to choose from. *Peak* is the share of the
fastest matrix product before all rounds; *matrix products alone*, where there is such a row, took turns with the
others, since a processor's clock changes.
"""
HEADINGS = ["row", "settings", "precision", "parameters", "rate", "ours / this", "peak", "memory", "check"]


def describe_run(results: dict[str, Any]) -> str:
    """Writes what it was measured on and with."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {release}" for name, release in machine["versions"].items())
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB; "
        f"{machine['system']}, Python {machine['python']}; {versions}.",
        "",
        f"Ours: {'; '.join(results['origins']) or 'see the rows'}. Texts: {results['texts']}.",
        "",
    ]
    for threads, found in sorted(results["peaks"].items(), reverse=True):
        best = max(found, key=lambda name: found[name])
        pinned = f"pinned to processors {results['pinned'][threads]}"
        lines.append(
            f"- threads {threads}, {pinned}: {found[best] / 1e9:.0f} GFLOP/s fp32 at most in matrix products ({best})"
        )
    if results["quick"]:
        lines += ["", "**Tiny sizes (`--quick`): the figures mean nothing.**"]
    return "\n".join(lines) + "\n"


def judge_all(results: dict[str, Any]) -> list[Verdict]:
    """Compares the goals of the cases that were run with the rows, for each number of threads."""
    cases = {row["case"] for row in results["rows"]}
    peaks = {int(threads): max(found.values()) for threads, found in results["peaks"].items() if found}
    return [
        judge(goal, results["rows"], int(threads), peaks.get(int(threads)))
        for threads in results["peaks"]
        for goal in GOALS
        if goal.case in cases
    ]


def goals_table(verdicts: Iterable[Verdict]) -> str:
    """Writes the goals, each beside what was measured."""
    rows = []
    for verdict in verdicts:
        sign = "≥" if verdict.goal.at_least else "≤"
        value = MISSING if verdict.value is None else format_number(verdict.value)
        target = f"{sign} {format_number(verdict.goal.target)}"
        rows.append(
            [verdict.goal.text, str(verdict.threads), target, value, verdict.peer or MISSING, verdict.describe()]
        )
    return table(["goal", "threads", "target", "measured", "against", "verdict"], rows)


def format_number(value: float) -> str:
    """Writes a figure with three digits."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.1e}"


def format_quartiles(figures: dict[str, float], extremes: bool) -> str:
    """Writes a median with its quartiles, and with the extremes where they are wanted."""
    low, high = format_number(figures["low"]), format_number(figures["high"])
    text = f"{format_number(figures['median'])} ({low}–{high})"
    return f"{text} [{format_number(figures['least'])}–{format_number(figures['most'])}]" if extremes else text


def section_row(row: dict[str, Any], peak: float | None) -> list[str]:
    """Writes a variant's line; one that was not measured says why."""
    parameters = row.get("parameters")
    start = [
        row.get("variant", MISSING),
        row.get("settings", MISSING),
        row.get("precision", MISSING),
        MISSING if parameters is None else format_parameters(parameters),
    ]
    if "rates" not in row:
        return [*start, row["status"], MISSING, MISSING, MISSING, row.get("check") or MISSING]
    share = MISSING if peak is None or "flops" not in row else f"{100 * row['flops'] / peak:.0f} %"
    memory = MISSING if row.get("memory") is None else f"{row['memory'] / MEBIBYTE:.1f} MiB"
    ratio = format_quartiles(row["ratio"], False) if "ratio" in row else MISSING
    return [*start, format_quartiles(row["rate"], True), ratio, share, memory, row["check"] or MISSING]


def count_rounds(rows: Sequence[dict[str, Any]]) -> str:
    """Returns over how many rounds a section was measured, to be put after its unit."""
    count = max((len(row["rates"]) for row in rows if "rates" in row), default=0)
    return f", {count} round{'s' * (count > 1)}" if count else ""


def format_parameters(count: int) -> str:
    """Writes a number of parameters."""
    return f"{count / 1e6:.2f} M" if count >= 1e4 else str(count)


def write_report(results: dict[str, Any], titles: dict[str, str], verdicts: Sequence[Verdict]) -> str:
    """
    Writes the report.

    Args:
        results (`dict[str, Any]`): What the run recorded.
        titles (`dict[str, str]`): The title of each case.
        verdicts (`Sequence[Verdict]`): How the goals were met.
    """
    seeds = ", ".join(str(seed) for seed in results["seeds"])
    parts = [
        INTRODUCTION.format(command=results["command"], rounds=results["rounds"], seeds=seeds),
        describe_run(results),
        "## Goals\n\nThe fastest row of a peer counts, at whatever settings and precision. For *encoder* and "
        "*seq2seq_training*, whose outputs\nare compared, only rows in the same precision count: float32, or both in "
        "bfloat16. In *generation*, ours stands at its\nbest settings, too.\n",
        goals_table(verdicts),
    ]
    for case, of_case in groupby(results["rows"], key=lambda row: row["case"]):
        parts.append(f"## {titles[case]}\n\n`make bench CASE={case}`\n")
        for (section, threads), grouped in groupby(of_case, key=lambda row: (row["section"], row["threads"])):
            rows = list(grouped)
            if "variant" not in rows[0]:
                parts.append(f"Threads {threads}: {rows[0]['status']}.\n")
                continue
            found = results["peaks"].get(str(threads)) or {}
            peak = max(found.values()) if found else None
            unit = f"{rows[0]['unit']} a second{count_rounds(rows)}"
            parts.append(f"### {section}, threads {threads}\n\n{unit}. {rows[0]['note']}\n")
            parts.append(table(HEADINGS, [section_row(row, peak) for row in rows]))
    return "\n".join(parts)
