"""
Gives some training rows a wrong label, and measures how many of them the search for wrong labels finds.

    python benchmarks/noise/wrong_labels.py --train_file data/accuracy/sst2/train.jsonl --output runs/noise/wrong.jsonl

The rows with their new labels are written to `--output`, to train on with and without `drop_rows: [wrong_labels]`.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import read_rows, write_rows
from hf_lstm.training.wrong_labels import find_wrong_labels

Row = dict[str, Any]


def spoil_labels(rows: list[Row], share: float, seed: int) -> tuple[list[Row], set[int]]:
    """Gives a share of the rows another label at random; returns all rows, and the places of those that have one."""
    names = sorted({row["label"] for row in rows})
    random = Random(seed)
    wrong = set(random.sample(range(len(rows)), round(share * len(rows))))
    spoilt = [
        row | {"label": random.choice([name for name in names if name != row["label"]])} if place in wrong else row
        for place, row in enumerate(rows)
    ]
    return spoilt, wrong


def score(found: Collection[int], wrong: Collection[int]) -> dict[str, float]:
    """Returns how many rows were found, and precision and recall in percent."""
    hits = len(set(found) & set(wrong))
    return {
        "wrong": len(wrong),
        "found": len(found),
        "precision": 100 * hits / max(len(found), 1),
        "recall": 100 * hits / max(len(wrong), 1),
    }


def main(args: list[str] | None = None) -> None:
    """Spoils the labels of a file and looks for them."""
    parser = argparse.ArgumentParser(description="Measures the search for wrong labels.")
    parser.add_argument("--train_file", type=Path, required=True, help="rows with text and label, in JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="where to write them with wrong labels")
    parser.add_argument("--share", type=float, default=0.1, help="share of the rows that get a wrong label")
    parser.add_argument("--seed", type=int, default=0, help="seed that draws them")
    options = parser.parse_args(args)
    rows, wrong = spoil_labels(read_rows(options.train_file), options.share, options.seed)
    write_rows(options.output, rows)
    names = sorted({row["label"] for row in rows})
    found = find_wrong_labels([row["text"] for row in rows], [names.index(row["label"]) for row in rows])
    print(", ".join(f"{name} {value:.4g}" for name, value in score(found.tolist(), wrong).items()))


if __name__ == "__main__":
    main()
