"""
Disturbs small training runs, starts them again with the same command, and compares the end with the undisturbed run.

    OMP_NUM_THREADS=1 python benchmarks/reliability/faults.py --kills 20 --output runs/faults
    OMP_NUM_THREADS=1 python benchmarks/reliability/faults.py --faults killed_rank sigterm --output runs/faults

A fault is survived if the run that it hit ends with the very bits of the undisturbed run's weights, and lost if not.
`faults.json` in the output folder gathers the results, also of several calls; the table is printed, too.
"""

import argparse
import logging
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.jobs import read_json, write_json
from benchmarks.common.machine import describe_machine
from benchmarks.reliability.cases import (
    Outcome,
    Reference,
    damage,
    kill,
    kill_at_end,
    kill_rank,
    terminate,
    terminate_rank,
)
from benchmarks.reliability.full_disk import fill_disk
from benchmarks.reliability.runs import TASKS

FAULTS: dict[str, Callable[[Reference, int, random.Random], Outcome]] = {
    "sigkill": kill,
    "sigkill_at_end": kill_at_end,
    "killed_rank": kill_rank,
    "terminated_rank": terminate_rank,
    "damage": damage,
    "sigterm": terminate,
    "full_disk": fill_disk,
}
HEADINGS = ["fault", "task", "injected", "survived", "lost", "what was seen"]


def write_table(results: list[dict[str, Any]]) -> str:
    """Writes the results as a Markdown table."""
    lines = [HEADINGS, ["---", "---", "---:", "---:", "---:", "---"]]
    for result in results:
        counts = [result["injected"], result["survived"], result["injected"] - result["survived"]]
        lines.append([result["fault"], result["task"], *map(str, counts), result["seen"]])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def record(output: Path, key: str, outcome: Outcome) -> None:
    """Adds a result to those of earlier calls."""
    path = output / "faults.json"
    content = read_json(path) if path.exists() else {"machine": describe_machine(), "results": {}}
    content["results"][key] = asdict(outcome)
    write_json(path, content)


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="which programs")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), help="what happens to them")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of a run; a quarter as many of other faults")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--output", type=Path, default=Path("runs/faults"), help="folder for the runs and the results")
    return parser.parse_args()


def main() -> None:
    """Injects the faults, writes the results, and fails if one was not survived."""
    arguments = parse_arguments()
    output = arguments.output.resolve()
    logging.disable(logging.WARNING)  # that half-written checkpoints are passed over
    for task in arguments.tasks:
        shutil.rmtree(output / task, ignore_errors=True)
        reference = Reference(task, output / task)
        for fault in arguments.faults:
            count = arguments.kills if fault == "sigkill" else max(1, arguments.kills // 4)
            outcome = FAULTS[fault](reference, count, random.Random(f"{task} {fault} {arguments.seed}"))
            record(output, f"{fault} {task}", outcome)
            print(outcome, flush=True)
    results = list(read_json(output / "faults.json")["results"].values())
    print(write_table(results))
    sys.exit(0 if all(result["survived"] == result["injected"] for result in results) else 1)


if __name__ == "__main__":
    main()
