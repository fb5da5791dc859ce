"""
Measures how memory and speed of streamed training grow with the data, the ranks and the length of texts.

    OMP_NUM_THREADS=1 taskset -c 1 nice -n 5 python benchmarks/scale/run.py --output runs/scale

Each point has a process of its own (Linux only: memory is read from `/proc`), and what has a result is not measured
again. Texts and models are random and tiny, for the data are measured and not the model. Speed is in tokens per second
of the processor's time, which other programs disturb less than the clock's. `results.json` and `results.md` are
written to the output folder.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

import numpy as np

from benchmarks.common.jobs import JOB, read_json, write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import table
from benchmarks.scale.corpus import write_corpus

TRAINING, PREPARATION = "training_run.py", "preparation_run.py"
TOKENS_PER_BATCH = 16_384
TOKENS_PER_WINDOW = 512_000
# To the memory, records before this share of the tokens are warm-up: the first window is read, and torch makes its
# buffers.
WARM_UP = 0.1


def training_job(kind: str, num_tokens: int, length: int, corpus: Path, corpus_tokens: int) -> dict[str, Any]:
    """Returns what a training run has to do, after its texts were written."""
    num_sides = 2 if kind == "translator" else 1
    batch_size = max(TOKENS_PER_BATCH // (length * num_sides), 4)
    return {
        "kind": kind,
        "num_tokens": num_tokens,
        "length": length,
        "batch_size": batch_size,
        "window_size": max(TOKENS_PER_WINDOW // (length * num_sides), batch_size),
        "interval": max(num_tokens // TOKENS_PER_BATCH // 60, 2),
        "pattern": write_corpus(corpus, corpus_tokens, length, num_sides),
    }


def plan(arguments: argparse.Namespace) -> dict[str, tuple[str, int, dict[str, Any]]]:
    """Returns the program, the number of ranks and the job of each point, by its name."""
    corpus, most = arguments.output / "corpus", arguments.tokens
    points: dict[str, tuple[str, int, dict[str, Any]]] = {}
    for kind, length in (("classifier", 128), ("translator", 24)):
        points[kind] = TRAINING, 1, training_job(kind, most, length, corpus, most)
    for length in arguments.lengths:
        job = training_job("classifier", arguments.point_tokens, length, corpus, arguments.point_tokens)
        points[f"length-{length}"] = TRAINING, 1, job
    for num_ranks in (1, 2):
        job = training_job("classifier", arguments.point_tokens * num_ranks, 128, corpus, most)
        points[f"ranks-{num_ranks}"] = TRAINING, num_ranks, job
    shard = points["classifier"][2]["pattern"].replace("*", "0")
    for num_workers in (1, 2):
        points[f"prepare-{num_workers}"] = PREPARATION, 1, {"file": shard, "num_workers": num_workers}
    return points


def measure(folder: Path, program: str, num_ranks: int, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Measures one point in processes of its own, unless that is done, and returns each rank's result."""
    results = [folder / f"result-{rank}.json" for rank in range(num_ranks)]
    if not all(path.exists() for path in results):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB, job)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_ranks)]
        script = str(Path(__file__).with_name(program))
        subprocess.run([sys.executable, *(launcher if num_ranks > 1 else []), script, str(folder)], check=True)
    return [read_json(path) for path in results]


def summarize(result: dict[str, Any], upto: int | None = None) -> dict[str, float]:
    """
    Returns the speed, and how the memory was after the warm-up, in the first `upto` tokens or all of them.

    The speed counts from the first record, before anything is read.
    """
    records = [record for record in result["records"] if upto is None or record["tokens"] <= upto]
    after = [record for record in records if record["tokens"] >= WARM_UP * records[-1]["tokens"]]
    memory = [record["mebibytes"] for record in after]
    slope = np.polyfit([record["tokens"] / 1e6 for record in after], memory, 1)[0] if len(after) > 2 else float("nan")
    first, last = records[0], records[-1]
    seconds = last["processor_seconds"] - first["processor_seconds"]
    return {
        "tokens": last["tokens"],
        "least_mebibytes": min(memory),
        "most_mebibytes": max(memory),
        "mebibytes_per_million_tokens": float(slope),
        "tokens_per_second": (last["tokens"] - first["tokens"]) / seconds if seconds else float("nan"),
    }


def write_report(results: dict[str, list[dict[str, Any]]]) -> str:
    """Writes the tables."""
    rows = []
    for name, ranks in results.items():
        if name.startswith("prepare"):
            continue
        marks = [10**6, None] if ranks[0]["num_tokens"] > 10**6 else [None]
        for upto in marks:
            figures = summarize(ranks[0], upto)
            rows.append(
                [
                    f"{name}, {ranks[0]['length']} tokens a text",
                    f"{figures['tokens']:,}",
                    f"{figures['tokens_per_second']:,.0f}",
                    f"{figures['least_mebibytes']:.0f} to {figures['most_mebibytes']:.0f}",
                    f"{round(figures['mebibytes_per_million_tokens'], 1) + 0.0:+.1f}",
                ]
            )
    headings = [
        "run",
        "tokens of a rank",
        "tokens per processor second",
        "MiB after warm-up",
        "MiB per million tokens",
    ]
    prepared = []
    for name, (result, *_) in results.items():
        if name.startswith("prepare"):
            for step in ("tokenised", "found"):
                figures = result[step]
                seconds = figures["processor_seconds"], figures["seconds"]
                prepared.append(
                    [f"{name}, {step}", *(f"{value:.2f}" for value in seconds), f"{figures['peak_mebibytes']:.0f}"]
                )
    return table(headings, rows) + "\n" + table(["run", "processor seconds", "seconds", "peak MiB"], prepared)


def main() -> None:
    """Measures every point and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for texts, runs and results")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="tokens of the long runs")
    parser.add_argument("--point_tokens", type=int, default=300_000, help="tokens of the other runs, for each rank")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128, 512, 2048], help="tokens of a text")
    arguments = parser.parse_args()
    results = {name: measure(arguments.output / name, *point) for name, point in plan(arguments).items()}
    write_json(arguments.output / "results.json", {"machine": describe_machine(), "results": results})
    report = write_report(results)
    (arguments.output / "results.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
