"""
Measures a recipe: trains it with several seeds (and folds) beside the linear baseline and records every figure.

    python benchmarks/accuracy/run.py --recipe benchmarks/accuracy/recipes/tnews.yaml --output runs/accuracy/tnews

A recipe is a configuration file of `scripts/train_sequence_classification.py` whose data files are named relative to
`data/accuracy`; `{fold}` in them stands for the number of the fold. Each run is a process of its own. Runs that are
finished are not repeated: the same command goes on where it was stopped.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import yaml
from protocols import PROTOCOLS, Protocol
from single_run import JOB, RESULT

DATA_FILES = ("train_file", "validation_file", "test_file")
PACKAGES = ("hf_lstm", "torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn")
SETTINGS, RESULTS = "settings.json", "results.json"


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


def write_jobs(output: Path, jobs: Iterable[dict[str, Any]], settings: dict[str, Any]) -> list[Path]:
    """
    Writes what each run has to do into its folder, unless it is done already.

    Args:
        output (`Path`): Folder of all runs.
        jobs (`Iterable[dict[str, Any]]`): What to do.
        settings (`dict[str, Any]`): What all runs of a folder have in common, so that they may be averaged.

    Returns:
        `list[Path]`: The folder of each run.

    Raises:
        SystemExit: If the folder holds runs with other settings.
    """
    settings_file = output / SETTINGS
    if settings_file.exists() and json.loads(settings_file.read_text(encoding="utf-8")) != settings:
        raise SystemExit(f"{output} holds runs of another recipe. Take another --output, or delete that folder.")
    output.mkdir(parents=True, exist_ok=True)
    settings_file.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
    directories = []
    for job in jobs:
        name = "baseline" if job["seed"] is None else f"seed{job['seed']}"
        directory = output / (name if job["fold"] is None else f"fold{job['fold']}-{name}")
        directory.mkdir(exist_ok=True)
        if not (directory / RESULT).exists():
            (directory / JOB).write_text(json.dumps(job, indent=2, ensure_ascii=False), encoding="utf-8")
        directories.append(directory)
    return directories


def plan_jobs(recipe: dict[str, Any], protocol: Protocol, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Lists a baseline and a run for each seed, for every fold."""
    unseen_file = str((options.data / protocol.name / "test_unseen.jsonl").resolve()) if protocol.unseen else None
    return [
        {
            "recipe": resolve(recipe, options.data, fold, options.dev_only),
            "seed": seed,
            "fold": fold,
            "unseen_file": unseen_file,
            "threads": options.threads,
            "side_by_side": options.jobs,
        }
        for fold in options.folds or list(protocol.folds) or [None]
        for seed in (None, *(options.seeds or protocol.seeds))
    ]


def run_job(directory: Path, slots: SimpleQueue[list[int]], threads: int) -> bool:
    """
    Does one job in a process with a fixed share of the processor.

    Args:
        directory (`Path`): Folder of the job.
        slots (`SimpleQueue[list[int]]`): The processors that are free, in groups of one job's size.
        threads (`int`): Threads that the process may use.

    Returns:
        `bool`: Whether there is a result.
    """
    if (directory / RESULT).exists():
        print(f"{directory}: finished before")
        return True
    processors = slots.get()
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    command = [sys.executable, str(Path(__file__).with_name("single_run.py")), str(directory)]
    try:
        with (directory / "log.txt").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, env=os.environ | limits, stdout=log, stderr=subprocess.STDOUT)
            pin(process.pid, processors)
            process.wait()
    finally:
        slots.put(processors)
    if process.returncode != 0:
        print(f"{directory}: failed, see {directory / 'log.txt'}")
        return False
    figures = json.loads((directory / RESULT).read_text(encoding="utf-8"))
    shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items() if isinstance(value, float))
    print(f"{directory}: {shown}", flush=True)
    return True


def pin(process_id: int, processors: list[int]) -> None:
    """Keeps a process on its processors, on systems that can: otherwise only the number of its threads is limited."""
    process = psutil.Process(process_id)
    if processors and hasattr(process, "cpu_affinity"):
        process.cpu_affinity(processors)


def processor_slots(jobs: int, threads: int) -> SimpleQueue[list[int]]:
    """Shares the processors out among the jobs; empty groups where there are too few to give each job its own."""
    process = psutil.Process()
    available = process.cpu_affinity() if hasattr(process, "cpu_affinity") else []
    slots: SimpleQueue[list[int]] = SimpleQueue()
    enough = jobs * threads <= len(available)
    for job in range(jobs):
        slots.put(available[job * threads : (job + 1) * threads] if enough else [])
    return slots


def describe_machine() -> dict[str, Any]:
    """Describes what the figures were measured on."""
    return {
        "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def processor_name() -> str:
    """Returns the processor's model, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def collect(output: Path) -> dict[str, list[dict[str, Any]]]:
    """Gathers the figures of all finished runs and baselines in a folder."""
    collected: dict[str, list[dict[str, Any]]] = {"runs": [], "baselines": []}
    for result_file in output.glob(f"*/{RESULT}"):
        job = json.loads(result_file.with_name(JOB).read_text(encoding="utf-8"))
        figures = json.loads(result_file.read_text(encoding="utf-8"))
        how = {name: job[name] for name in ("seed", "fold", "threads", "side_by_side")}
        collected["baselines" if job["seed"] is None else "runs"].append(how | figures)
    for entries in collected.values():
        entries.sort(key=lambda entry: (entry["fold"] or 0, entry["seed"] or 0))
    return collected


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
    slots = processor_slots(options.jobs, options.threads)
    with ThreadPoolExecutor(options.jobs) as pool:
        succeeded = list(pool.map(lambda directory: run_job(directory, slots, options.threads), directories))

    results = settings | {"recipe": options.recipe.as_posix(), "machine": describe_machine()} | collect(options.output)
    (options.output / RESULTS).write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Wrote {options.output / RESULTS}: {len(results['runs'])} runs")
    if not all(succeeded):
        raise SystemExit(f"{succeeded.count(False)} of {len(succeeded)} runs failed.")


if __name__ == "__main__":
    main()
