"""
Makes the train, dev and test files of every protocol from the raw data sets.

    python benchmarks/accuracy/prepare.py --source DIR --output data/accuracy

`DIR` holds one folder for each data set: `sst` (sst2.train, sst2.dev, sst2.test, phrases.train), `mr` (all), `imdb`
and `r8` (train, test), `tnews` (train, dev) and `online_shopping` (train, dev, test), each file a `.jsonl.gz` of rows
with `text` and `label`. MR's rows also have a `fold` from 0 to 9.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import read_packed_rows, write_rows

Row = dict[str, Any]
Splits = dict[str, list[Row]]

NUM_FOLDS = 10
BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}


def is_held_out(text: str) -> bool:
    """Tells whether a training text belongs to the dev tenth: equal texts always fall on the same side."""
    return int(hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % 10 == 0


def hold_out_tenth(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Splits training rows into those that stay and the dev tenth."""
    train = [row for row in rows if not is_held_out(str(row["text"]))]
    dev = [row for row in rows if is_held_out(str(row["text"]))]
    return train, dev


def comparable(text: str) -> str:
    """Writes a text without what the treebank's two releases write differently: case, spaces and brackets."""
    words = (BRACKETS.get(word, word) for word in text.lower().split())
    return "".join(words)


def prepare_sst2(source: Path) -> Splits:
    """SST-2 as released: sentences only."""
    return {
        f"sst2/{split}": read_packed_rows(source / "sst" / f"sst2.{split}.jsonl.gz")
        for split in ("train", "dev", "test")
    }


def prepare_sst2_phrases(source: Path) -> Splits:
    """SST-2 with the phrases of the training trees, less neutral ones and those equal to a dev or test sentence."""
    sentences = prepare_sst2(source)
    held_back = {comparable(str(row["text"])) for split in ("dev", "test") for row in sentences[f"sst2/{split}"]}
    phrases = [row for row in read_packed_rows(source / "sst" / "phrases.train.jsonl.gz") if row["label"] != 2]
    kept = [row for row in phrases if comparable(str(row["text"])) not in held_back]
    print(
        f"sst2_phrases: dropped {len(phrases) - len(kept)} of {len(phrases)} phrases, equal to a dev or test sentence"
    )
    mapped = [{"text": row["text"], "label": int(int(row["label"]) > 2)} for row in kept]
    return {
        "sst2_phrases/train": mapped + sentences["sst2/train"],
        "sst2_phrases/dev": sentences["sst2/dev"],
        "sst2_phrases/test": sentences["sst2/test"],
    }


def prepare_mr(source: Path) -> Splits:
    """MR for cross-validation: each fold is the test part once, and a tenth of the other nine is dev."""
    rows = read_packed_rows(source / "mr" / "all.jsonl.gz")
    splits: Splits = {}
    for fold in range(NUM_FOLDS):
        train, dev = hold_out_tenth([row for row in rows if row["fold"] != fold])
        test = [row for row in rows if row["fold"] == fold]
        splits |= {f"mr/fold{fold}/train": train, f"mr/fold{fold}/dev": dev, f"mr/fold{fold}/test": test}
    return splits


def prepare_held_out(source: Path, name: str) -> Splits:
    """A data set with train and test: a tenth of train becomes dev."""
    train, dev = hold_out_tenth(read_packed_rows(source / name / "train.jsonl.gz"))
    return {
        f"{name}/train": train,
        f"{name}/dev": dev,
        f"{name}/test": read_packed_rows(source / name / "test.jsonl.gz"),
    }


def prepare_tnews(source: Path) -> Splits:
    """TNEWS: the released dev is the test part, once whole and once without the titles that are in train."""
    released = read_packed_rows(source / "tnews" / "train.jsonl.gz")
    titles = {row["text"] for row in released}
    train, dev = hold_out_tenth(released)
    test = read_packed_rows(source / "tnews" / "dev.jsonl.gz")
    unseen = [row for row in test if row["text"] not in titles]
    print(f"tnews: {len(test) - len(unseen)} of {len(test)} test titles are in train")
    return {"tnews/train": train, "tnews/dev": dev, "tnews/test": test, "tnews/test_unseen": unseen}


def prepare_online_shopping(source: Path) -> Splits:
    """online_shopping with its splits as given."""
    folder = source / "online_shopping"
    return {
        f"online_shopping/{split}": read_packed_rows(folder / f"{split}.jsonl.gz")
        for split in ("train", "dev", "test")
    }


PREPARERS: dict[str, Callable[[Path], Splits]] = {
    "sst2": prepare_sst2,
    "sst2_phrases": prepare_sst2_phrases,
    "mr": prepare_mr,
    "imdb": lambda source: prepare_held_out(source, "imdb"),
    "r8": lambda source: prepare_held_out(source, "r8"),
    "tnews": prepare_tnews,
    "online_shopping": prepare_online_shopping,
}


def prepare(source: Path, output: Path, names: Iterable[str]) -> dict[str, int]:
    """
    Writes the splits of the named data sets below `output` as `<name>/<split>.jsonl`.

    Returns:
        `dict[str, int]`: The number of rows of each split written.
    """
    counts = {}
    for name in names:
        for split, rows in PREPARERS[name](source).items():
            kept = ({"text": row["text"], "label": row["label"]} for row in rows)
            write_rows(output / f"{split}.jsonl", kept)
            counts[split] = len(rows)
    return counts


def main(args: list[str] | None = None) -> None:
    """Prepares the data sets named on the command line, by default all of them."""
    parser = argparse.ArgumentParser(description="Makes the train, dev and test files of the accuracy benchmarks.")
    parser.add_argument("--source", type=Path, required=True, help="folder of the raw data sets")
    parser.add_argument("--output", type=Path, default=Path("data/accuracy"), help="folder to write to")
    parser.add_argument("--only", nargs="+", choices=PREPARERS, default=list(PREPARERS), help="data sets to prepare")
    options = parser.parse_args(args)
    for split, count in prepare(options.source, options.output, options.only).items():
        print(f"{options.output / split}.jsonl: {count} rows")


if __name__ == "__main__":
    main()
