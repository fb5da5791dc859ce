"""
Measures what serving in bfloat16 and int8 gains in time, and loses in accuracy or BLEU, with trained models.

    OMP_NUM_THREADS=1 python benchmarks/serving/run.py --models MODELS --output SCORES --write docs/quantization.md

`--models` holds the trained models in folders TASK_TRAINED/seedSEED, such as `sst2_fp32/seed1`, where TRAINED is
`fp32`, or `bf16` for those whose training ran in bfloat16 (`--bf16 true`). Recipes are those of `benchmarks/accuracy`
and `benchmarks/seq2seq`. Scores are kept in `--output`, so that models which come later are added to them.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

import torch

from benchmarks.common.jobs import read_json, write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import replace_between, table
from benchmarks.serving.tasks import SERVED, TASKS, Served
from benchmarks.speed.measure import interleave, ratios

TRAINED = {"fp32": "float32", "bf16": "bfloat16"}
START, END = "<!-- serving:start -->", "<!-- serving:end -->"

# The figures of a model in each way it is served, by name.
Scores = dict[str, dict[str, float]]


def score_models(models: Path, data: Path, seeds: Sequence[int], output: Path) -> dict[str, Scores]:
    """
    Scores every trained model that is there, in every way to serve.

    Args:
        models (`Path`): Folder of the models.
        data (`Path`): Folder of the prepared data.
        seeds (`Sequence[int]`): Seeds of the models.
        output (`Path`): File of what was measured before, by the model's folder; it is added to.
    """
    known = read_json(output) if output.is_file() else {}
    for name, task in TASKS.items():
        for trained in TRAINED:
            for seed in seeds:
                key = f"{name}_{trained}/seed{seed}"
                if key in known or not is_trained(models / key):
                    continue
                known[key] = {served: task.score(task.load(models / key, served), data) for served in SERVED}
                print(key, known[key], flush=True)
                write_json(output, known)
    return known


def is_trained(directory: Path) -> bool:
    """Tells whether a model has been trained to its end, after which training writes its metrics."""
    return (directory / "metrics.json").is_file()


def time_models(models: Path, data: Path, seed: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """
    Times the models trained in float32, each work in all ways to serve in turn.

    Returns:
        `dict[str, dict[str, list[float]]]`: The seconds of each round, by work and way to serve.
    """
    seconds = {}
    for name, task in TASKS.items():
        directory = models / f"{name}_fp32" / f"seed{seed}"
        if not is_trained(directory):
            continue
        served = {way: task.load(directory, way) for way in SERVED}
        for work_name, work in task.works(data):
            for way in SERVED:
                work(served[way])
            measure = partial(measure_seconds, work, served)
            seconds[work_name] = interleave(SERVED, [seed], rounds, measure)
            print(work_name, {way: median(values) for way, values in seconds[work_name].items()}, flush=True)
    return seconds


def measure_seconds(work: Callable[[Served], object], models: Mapping[str, Served], served: str, seed: int) -> float:
    """Returns the processor's seconds, which other programs disturb less than the clock's, for some work."""
    start = time.process_time()
    work(models[served])
    return time.process_time() - start


def score_table(scores: dict[str, Scores]) -> str:
    """Writes the mean of the seeds for each figure, and what each way to serve adds to the first one."""
    rows = []
    for name in TASKS:
        for trained, title in TRAINED.items():
            runs = [run for key, run in scores.items() if key.startswith(f"{name}_{trained}/")]
            for figure in runs[0][SERVED[0]] if runs else ():
                means = [mean(run[served][figure] for run in runs) for served in SERVED]
                # Adding zero takes the sign from a rounded -0.0.
                others = [f"{value:.2f} ({round(value - means[0], 2) + 0:+.2f})" for value in means[1:]]
                rows.append([figure, title, str(len(runs)), f"{means[0]:.2f}", *others])
    return table(["data", "trained in", "seeds", *(f"served in {served}" for served in SERVED)], rows)


def time_table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Writes the median seconds in float32, and the median of how many times as fast the others are."""
    rows = []
    for name, by_way in seconds.items():
        first = by_way[SERVED[0]]
        others = [f"{median(ratios(first, by_way[way])):.2f}" for way in SERVED[1:]]
        rows.append([name, f"{median(first):.3f}", *others])
    return table(["work", "seconds in float32", *(f"{way}, times as fast" for way in SERVED[1:])], rows)


def describe(arguments: argparse.Namespace) -> str:
    """Writes how the tables were made."""
    machine: dict[str, Any] = describe_machine(("torch", "transformers"))
    versions = ", ".join(f"{package} {release}" for package, release in machine["versions"].items())
    seeds = " ".join(map(str, arguments.seeds))
    command = f"python benchmarks/serving/run.py --models MODELS --seeds {seeds} --rounds {arguments.rounds}"
    return (
        f"```bash\n{command}\n```\n\nThreads: {torch.get_num_threads()}, on {machine['processor']} ({versions}).\n"
        f"Times are the processor's, of the model of seed {arguments.seeds[0]}, the ways to serve in turn.\n"
    )


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of the trained models")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the prepared data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of the models")
    parser.add_argument("--rounds", type=int, default=7, help="how often each work is timed")
    parser.add_argument("--output", type=Path, default=Path("serving_scores.json"), help="file for the scores")
    parser.add_argument("--write", type=Path, help="document whose tables are replaced")
    arguments = parser.parse_args()
    if not arguments.models.is_dir():
        parser.error(f"--models {arguments.models} is no folder: it must hold the trained models.")
    return arguments


def main() -> None:
    """Measures, and writes the tables."""
    arguments = parse_arguments()
    torch.manual_seed(0)
    scores = score_models(arguments.models, arguments.data, arguments.seeds, arguments.output)
    seconds = time_models(arguments.models, arguments.data, arguments.seeds[0], arguments.rounds)
    text = "\n".join([score_table(scores), time_table(seconds), describe(arguments)])
    print(text)
    if arguments.write is not None:
        page = arguments.write.read_text(encoding="utf-8")
        arguments.write.write_text(replace_between(page, START, END, lambda: text), encoding="utf-8")


if __name__ == "__main__":
    main()
