"""
Measures a recipe: trains it with several seeds (and folds) beside the linear baseline and records every figure.

    python benchmarks/accuracy/run.py --recipe benchmarks/accuracy/recipes/tnews.yaml --output runs/accuracy/tnews

A recipe is a configuration file of `scripts/train_sequence_classification.py` whose data files are named relative to
`data/accuracy`; `{fold}` in them stands for the number of the fold. Each run is a process of its own. Runs that are
finished are not repeated: the same command goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.accuracy.protocols import PROTOCOLS, Protocol
from benchmarks.common.jobs import RESULTS, collect, run_jobs, write_jobs, write_json
from benchmarks.common.machine import describe_machine

DATA_FILES = ("train_file", "validation_file", "test_file")
PROGRAM = Path(__file__).with_name("single_run.py")
KEPT = ("seed", "fold", "threads", "side_by_side")


def read_recipe(path: Path) -> tuple[dict[str, Any], Protocol]:
    """
    Reads a recipe and finds its protocol: that of the folder which the training file lies in.

    Raises:
        SystemExit: If the recipe names no data set with a protocol.
    """
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = [name for name in DATA_FILES if name not in recipe]
    if missing:
        raise SystemExit(f"{path} does not name its {', '.join(missing)}. A recipe needs {', '.join(DATA_FILES)}.")
    name = Path(recipe["train_file"]).parts[0]
    if name not in PROTOCOLS:
        raise SystemExit(f"{path} trains on {name!r}, which has no protocol. There are: {', '.join(PROTOCOLS)}.")
    return recipe, PROTOCOLS[name]


def resolve(recipe: dict[str, Any], data: Path, fold: int | None, dev_only: bool) -> dict[str, Any]:
    """
    Returns the recipe with its data files in place, for one fold.

    Args:
        recipe (`dict[str, Any]`): The recipe as read.
        data (`Path`): Folder of the prepared data.
        fold (`int`, *optional*): The fold, `None` where there is one fixed split.
        dev_only (`bool`): Whether to leave the test file alone.

    Raises:
        SystemExit: If a data file does not exist.
    """
    files = {name: data / str(recipe[name]).replace("{fold}", str(fold)) for name in DATA_FILES}
    for file in files.values():
        if not file.is_file():
            raise SystemExit(f"There is no {file}. Make it with benchmarks/accuracy/prepare.py.")
    resolved = recipe | {name: str(file.resolve()) for name, file in files.items()}
    if dev_only:
        del resolved["test_file"]
    return resolved


def plan_jobs(recipe: dict[str, Any], protocol: Protocol, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Lists a baseline and a run for each seed, for every fold, by the name of its folder."""
    unseen_file = str((options.data / protocol.name / "test_unseen.jsonl").resolve()) if protocol.unseen else None
    jobs = {}
    for fold in options.folds or list(protocol.folds) or [None]:
        for seed in (None, *(options.seeds or protocol.seeds)):
            name = "baseline" if seed is None else f"seed{seed}"
            jobs[name if fold is None else f"fold{fold}-{name}"] = {
                "recipe": resolve(recipe, options.data, fold, options.dev_only),
                "seed": seed,
                "fold": fold,
                "unseen_file": unseen_file,
                "threads": options.threads,
                "side_by_side": options.jobs,
            }
    return jobs


def parse_options(args: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Trains a recipe with several seeds and records the figures.")
    parser.add_argument("--recipe", type=Path, required=True, help="configuration file of the training script")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs and results.json")
    parser.add_argument("--data", type=Path, default=Path("data/accuracy"), help="folder of the prepared data")
    parser.add_argument("--seeds", type=int, nargs="+", help="seeds to train with (the protocol's)")
    parser.add_argument("--folds", type=int, nargs="+", help="folds to train on (the protocol's)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--threads", type=int, default=2, help="threads of each run")
    parser.add_argument("--dev_only", action="store_true", help="leave the test file alone, to compare settings")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Measures the recipe named on the command line."""
    options = parse_options(args)
    recipe, protocol = read_recipe(options.recipe)
    settings = {"protocol": protocol.name, "settings": recipe, "dev_only": options.dev_only}
    directories = write_jobs(options.output, plan_jobs(recipe, protocol, options), settings)
    succeeded = run_jobs(PROGRAM, directories, options.jobs, options.threads)

    described = settings | {"recipe": options.recipe.as_posix(), "machine": describe_machine()}
    results = described | collect(options.output, KEPT)
    write_json(options.output / RESULTS, results)
    print(f"Wrote {options.output / RESULTS}: {len(results['runs'])} runs")
    if not all(succeeded):
        raise SystemExit(f"{succeeded.count(False)} of {len(succeeded)} runs failed.")


if __name__ == "__main__":
    main()
