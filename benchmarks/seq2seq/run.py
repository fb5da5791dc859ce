"""
Measures a recipe: trains it with several seeds beside the baselines and records every figure.

    python benchmarks/seq2seq/run.py --recipe benchmarks/seq2seq/recipes/aeslc.yaml --output runs/seq2seq/aeslc

A recipe is a configuration file of `scripts/train_seq2seq.py` whose data files are named relative to `data/seq2seq`.
It names no test file: after training, beams and length penalty are chosen on the validation data, and each test file
of the protocol is decoded once with them. Each run is a process of its own. Runs that are finished are not repeated:
the same command goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.jobs import RESULTS, collect, read_json, run_jobs, write_jobs, write_json
from benchmarks.common.machine import PACKAGES, describe_machine
from benchmarks.seq2seq.data import check_exists, held_files, read_recipe, resolve
from benchmarks.seq2seq.prepare import OVERLAP
from benchmarks.seq2seq.protocols import Protocol

PROGRAM = Path(__file__).with_name("single_run.py")
KEPT = ("seed", "threads", "side_by_side")


def plan_jobs(recipe: dict[str, Any], protocol: Protocol, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """
    Lists a run for each seed, and one for the baselines if there are any, by the name of its folder.

    Raises:
        SystemExit: If a data file does not exist.
    """
    resolved = resolve(recipe, options.data)
    if not options.dev_only:
        for test in protocol.tests:
            for file in held_files(resolved, test.name):
                check_exists(file)
    seeds: list[int | None] = [None] if protocol.baselines else []
    return {
        "baseline" if seed is None else f"seed{seed}": {
            "recipe": resolved,
            "protocol": protocol.name,
            "seed": seed,
            "dev_only": options.dev_only,
            "threads": options.threads,
            "side_by_side": options.jobs,
        }
        for seed in seeds + list(options.seeds or protocol.seeds)
    }


def read_overlap(recipe: dict[str, Any], data: Path) -> dict[str, dict[str, int]]:
    """Reads what prepare.py counted of the rows that the splits share."""
    return read_json((data / recipe["train_file"]).with_name(OVERLAP))


def show(results: dict[str, Any]) -> None:
    """Prints the figures of each run."""
    for run in results["runs"]:
        for name, figures in run["tests"].items() or [("validation", {"chosen by": run["validation"]})]:
            shown = ", ".join(f"{figure} {value:.2f}" for figure, value in figures.items())
            print(f"seed {run['seed']}, {name}: {shown}")


def parse_options(args: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Trains a recipe with several seeds and records the figures.")
    parser.add_argument("--recipe", type=Path, required=True, help="configuration file of the training script")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs and results.json")
    parser.add_argument("--data", type=Path, default=Path("data/seq2seq"), help="folder of the prepared data")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds to train with (the protocol's)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--threads", type=int, default=2, help="threads of each run")
    parser.add_argument("--dev_only", action="store_true", help="leave the test files alone, to compare settings")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Measures the recipe named on the command line."""
    options = parse_options(args)
    recipe, protocol = read_recipe(options.recipe)
    settings = {"protocol": protocol.name, "settings": recipe, "dev_only": options.dev_only}
    directories = write_jobs(options.output, plan_jobs(recipe, protocol, options), settings)
    succeeded = run_jobs(PROGRAM, directories, options.jobs, options.threads)

    machine = describe_machine((*PACKAGES, "sacrebleu", "rouge-score"))
    described = settings | {"recipe": options.recipe.as_posix(), "machine": machine}
    results = described | {"overlap": read_overlap(recipe, options.data)} | collect(options.output, KEPT)
    write_json(options.output / RESULTS, results)
    show(results)
    print(f"Wrote {options.output / RESULTS}: {len(results['runs'])} runs")
    if not all(succeeded):
        raise SystemExit(f"{succeeded.count(False)} of {len(succeeded)} runs failed.")


if __name__ == "__main__":
    main()
