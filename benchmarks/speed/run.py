"""
Measures the speed of this package beside its peers.

    python benchmarks/speed/run.py --output runs/speed
    python benchmarks/speed/run.py --output runs/speed_encoder --case encoder --threads 2

`make bench` does the first, `make bench CASE=encoder` one case. The classifier and the translator are those of the
recorded results where their folders are given with `--classifier` and `--translator`; otherwise models of the same
shape with random weights. The output folder gets `report.md`, `results.json` and `chart.png`.
"""

import argparse
import importlib
import os
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.jobs import RESULTS, write_json
from benchmarks.common.machine import PACKAGES, describe_machine
from benchmarks.speed.chart import draw_chart
from benchmarks.speed.report import goals_table, judge_all, write_report
from benchmarks.speed.session import Session
from benchmarks.speed.texts import labelled_texts, translation_texts
from benchmarks.speed.variants import CASES, Setup
from benchmarks.speed.workers import Worker

PEERS = ("keras", "jax", "ctranslate2", "fasttext-community")


def parse_options(args: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Measures the speed of this package beside its peers.")
    parser.add_argument("--output", type=Path, required=True, help="folder for report.md, results.json and chart.png")
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES), help="cases to run (all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1], help="numbers of threads (2 and 1)")
    parser.add_argument("--rounds", type=int, default=9, help="how often each variant is measured (9)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of lengths and texts (1 2 3)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the prepared data (data)")
    parser.add_argument("--classifier", type=Path, help="folder of the trained classifier")
    parser.add_argument("--translator", type=Path, help="folder of the trained translator")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    options = parser.parse_args(args)
    for name in ("classifier", "translator"):
        folder = getattr(options, name)
        if folder is not None and not (folder / "config.json").is_file():
            parser.error(f"--{name} {folder} holds no config.json: give the folder of a saved model")
    if not options.quick and options.rounds < len(options.seeds):
        parser.error(f"--rounds {options.rounds} does not reach every one of {len(options.seeds)} seeds: give more")
    return options


def pin(threads: int, processors: list[int]) -> list[int]:
    """
    Keeps this process, and all that it starts, on as many processors as it has threads.

    Args:
        threads (`int`): Number of threads.
        processors (`list[int]`): The processors to choose from.

    Returns:
        `list[int]`: Those it is pinned to; an empty list where the system cannot pin.

    Raises:
        SystemExit: If there are too few processors.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    if threads > len(processors):
        raise SystemExit(
            f"--threads {threads} needs {threads} processors, but there are {len(processors)} to be used."
        )
    chosen = processors[:threads]
    os.sched_setaffinity(0, chosen)
    return chosen


def find_versions() -> list[str]:
    """Returns the packages whose releases are stated: ours, and the peers that are installed."""
    found = []
    for name in PEERS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return [*PACKAGES, *found]


def measure_peak(setup: Setup) -> dict[str, float]:
    """Measures matrix products in a process of its own."""
    worker = Worker("encoder", "torch", setup)
    try:
        return worker.call("peak")
    finally:
        worker.close()


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the chosen cases with each number of threads, and returns everything that was recorded."""
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    results: dict[str, Any] = {"machine": describe_machine(find_versions()), "peaks": {}, "pinned": {}, "rows": []}
    by_case: dict[str, list[dict[str, Any]]] = {case: [] for case in options.case}
    try:
        for threads in options.threads:
            results["pinned"][str(threads)] = pin(threads, processors)
            setup = Setup(
                threads=threads,
                rounds=options.rounds,
                seeds=tuple(options.seeds),
                quick=options.quick,
                data=options.data,
                scratch=options.output / "scratch",
                classifier=options.classifier,
                translator=options.translator,
            )
            results["peaks"][str(threads)] = measure_peak(setup)
            for case in options.case:
                by_case[case] += Session(case, setup).run()
    finally:
        if processors:
            os.sched_setaffinity(0, processors)
    results["rows"] = [row for rows in by_case.values() for row in rows]
    return results


def main(args: list[str] | None = None) -> None:
    """Measures what the command line asks for, and writes the report."""
    options = parse_options(args)
    options.output.mkdir(parents=True, exist_ok=True)
    texts = dict.fromkeys((labelled_texts(options.data).origin, translation_texts(options.data).origin))
    results = measure_all(options) | {
        "command": shlex.join(["python", "benchmarks/speed/run.py", *(sys.argv[1:] if args is None else args)]),
        "rounds": options.rounds,
        "seeds": options.seeds,
        "quick": options.quick,
        "texts": "; ".join(texts),
    }
    results["origins"] = list(dict.fromkeys(row["origin"] for row in results["rows"] if row.get("origin")))
    verdicts = judge_all(results)
    titles = {case: importlib.import_module(f"benchmarks.speed.cases.{case}").TITLE for case in options.case}
    write_json(options.output / RESULTS, results)
    (options.output / "report.md").write_text(write_report(results, titles, verdicts), encoding="utf-8")
    draw_chart(results["rows"], options.output / "chart.png")
    print(goals_table(verdicts))
    print(f"Wrote {options.output / 'report.md'}, {RESULTS} and chart.png")
    failed = [row for row in results["rows"] if row["status"].startswith("failed")]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(results['rows'])} rows failed: see the report.")


if __name__ == "__main__":
    main()
