"""Reading of recorded results and writing of tables."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.common.jobs import RESULTS

MISSING = "–"


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """
    Reads every `results.json` in the folders below `folder`, by protocol; those on dev data only are left out.

    Raises:
        SystemExit: If two folders hold results of one protocol.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*/{RESULTS}")):
        results = json.loads(path.read_text(encoding="utf-8"))
        if results["dev_only"]:
            continue
        name = results["protocol"]
        if name in found:
            raise SystemExit(f"Both {found[name]['path']} and {path} hold results of {name}. Leave one of them there.")
        found[name] = results | {"path": path}
    return found


def format_spread(values: Sequence[float], usual_seeds: int = 3) -> str:
    """Writes mean ± standard deviation, and how many seeds there were where they are not the usual number."""
    if not values:
        return MISSING
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    seeds = "" if len(values) == usual_seeds else f" ({len(values)} seeds)"
    return f"{mean(values):.1f} ± {stdev(values):.1f}{seeds}"


def table(headings: list[str], rows: Iterable[list[str]]) -> str:
    """Writes a Markdown table, its first column to the left and the others to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def describe_runs(results: dict[str, Any]) -> str:
    """Writes what the runs had at their disposal."""
    machine, run = results["machine"], results["runs"][0]
    versions = ", ".join(f"{package} {release}" for package, release in machine["versions"].items())
    return (
        f"Each run had {run['threads']} threads, {run['side_by_side']} at a time, on {machine['processor']} "
        f"({machine['processors']} processors, {machine['memory_gib']} GiB; {machine['system']}, Python "
        f"{machine['python']}; {versions}).\n"
    )


def command(program: str, results: dict[str, Any], output: str) -> str:
    """
    Writes the command that gives these results.

    Args:
        program (`str`): The program, relative to the repository.
        results (`dict[str, Any]`): What it recorded.
        output (`str`): The folder for the runs.
    """
    run = results["runs"][0]
    seeds = " ".join(str(seed) for seed in sorted({run["seed"] for run in results["runs"]}))
    return (
        f"python {program} --recipe {results['recipe']} --seeds {seeds} "
        f"--jobs {run['side_by_side']} --threads {run['threads']} --output {output}"
    )


def replace_between(text: str, start: str, end: str, make: Callable[[], str]) -> str:
    """
    Replaces what stands between two marks.

    Raises:
        SystemExit: If one of the marks is not there.
    """
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise SystemExit(f"The README does not hold the marks {start} and {end}.")
    return f"{before}{start}\n{make()}{end}{after}"
