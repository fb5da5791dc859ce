"""
Makes the train, validation and test files of every generation task from the raw data sets.

    python benchmarks/seq2seq/prepare.py --source DIR --output data/seq2seq

`DIR` holds one folder for each data set: `multi30k` (train, val, test_2016_flickr, test_2017_flickr and
test_2017_mscoco, each as `.de.gz` and `.en.gz` of one sentence a line), `tatoeba_cmn_en` (train, dev and test, each
a `.jsonl.gz` of rows with `en` and `zh`), `aeslc` (train, dev, test: rows with `text` and `summary`, in dev and test
also `annotations`, further subjects by other people) and `csl` (title.train, title.dev, title.test: rows with `text`
and `summary`; field.train: rows whose `text` is a title).

No row is dropped. What the other splits share with train is counted into `overlap.json` beside the files. For CSL,
`train_exchanged.jsonl` holds the training pairs several times, and pairs whose title is exchanged for another one (see
`exchange.py`): of the training pairs or of the field data, but none of dev or test. The rows of AESLC have a third
column, `source_after_neighbours`: the email after the subjects of the training emails most similar to it.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import read_packed_lines, read_packed_rows, write_lines, write_rows
from benchmarks.common.jobs import write_json
from benchmarks.seq2seq.exchange import make_pairs
from benchmarks.seq2seq.neighbours import Neighbours, put_before
from benchmarks.seq2seq.scores import comparable

Row = dict[str, Any]
Splits = dict[str, list[Row]]

OVERLAP = "overlap.json"
AESLC_NEIGHBOURS = 3
AESLC_NGRAMS = (1, 1)  # the better of the nearest-neighbour baseline's on dev
CSL_REPEATS = 3  # of each training pair
CSL_EXCHANGES = 12  # for each training pair
MULTI30K_FILES = {
    "train": "train",
    "val": "val",
    "test2016": "test_2016_flickr",
    "test2017": "test_2017_flickr",
    "coco": "test_2017_mscoco",
}


def count_overlap(splits: Splits, first: str, second: str) -> dict[str, dict[str, int]]:
    """
    Counts what each split shares with train, case and white space aside.

    Args:
        splits (`Splits`): The rows by split.
        first (`str`): One of the two columns.
        second (`str`): The other.

    Returns:
        `dict[str, dict[str, int]]`: For each split but train its rows, those with a text of train in the first or in
        the second column, those with a pair of train, and those equal to an earlier row of the split.
    """

    def pair(row: Row) -> tuple[str, str]:
        return comparable(row[first]), comparable(row[second])

    train = {pair(row) for row in splits["train"]}
    known_first, known_second = {text for text, _ in train}, {text for _, text in train}
    counts = {}
    for split, rows in splits.items():
        if split != "train":
            pairs = [pair(row) for row in rows]
            counts[split] = {
                "rows": len(rows),
                f"{first} in train": sum(text in known_first for text, _ in pairs),
                f"{second} in train": sum(text in known_second for _, text in pairs),
                "pair in train": sum(row in train for row in pairs),
                "repeated": len(pairs) - len(set(pairs)),
            }
    return counts


def read_aligned(folder: Path, name: str, languages: Sequence[str]) -> list[Row]:
    """
    Reads one sentence a line from the files of several languages.

    Raises:
        SystemExit: If the files differ in length.
    """
    columns = {language: read_packed_lines(folder / f"{name}.{language}.gz") for language in languages}
    lengths = {language: len(lines) for language, lines in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SystemExit(f"The files {name} in {folder} should have as many lines as each other, but have {lengths}.")
    return [dict(zip(columns, texts)) for texts in zip(*columns.values())]


def prepare_multi30k(source: Path, output: Path) -> dict[str, int]:
    """Multi30k German and English as released: line-aligned files, each test set by itself."""
    splits = {split: read_aligned(source / "multi30k", name, ("de", "en")) for split, name in MULTI30K_FILES.items()}
    for split, rows in splits.items():
        for language in ("de", "en"):
            write_lines(output / f"{split}.{language}", (row[language] for row in rows))
    return finish(output, splits, "de", "en")


def prepare_tatoeba(source: Path, output: Path) -> dict[str, int]:
    """Tatoeba English and Chinese with its splits as given."""
    splits = read_splits(source / "tatoeba_cmn_en", "")
    return write_splits(output, splits, {"en": "en", "zh": "zh"})


def prepare_aeslc(source: Path, output: Path) -> dict[str, int]:
    """
    AESLC as released: the body of an email is the source, its subject the target.

    The neighbours of each email are those of train, for one of train without itself.
    """
    splits = read_splits(source / "aeslc", "")
    texts, subjects = ([row[name] for row in splits["train"]] for name in ("text", "summary"))
    neighbours = Neighbours(texts, "word", AESLC_NGRAMS)
    for split, rows in splits.items():
        found = neighbours.find([row["text"] for row in rows], AESLC_NEIGHBOURS, known=split == "train")
        for row, places, cosines in zip(rows, *found):
            row["after"] = put_before(row["text"], [subjects[place] for place in places], cosines)
    names = {
        "text": "source",
        "summary": "target",
        "annotations": "annotations",
        "after": "source_after_neighbours",
    }
    return write_splits(output, splits, names)


def prepare_csl_titles(source: Path, output: Path) -> dict[str, int]:
    """CSL with its splits as given: an abstract is the source, its title the target."""
    splits = read_splits(source / "csl", "title.")
    counts = write_splits(output, splits, {"text": "source", "summary": "target"})
    held = {comparable(row["summary"]) for split in ("dev", "test") for row in splits[split]}
    pairs = [(row["text"], row["summary"]) for row in splits["train"]]
    others = [row["text"] for row in read_packed_rows(source / "csl" / "field.train.jsonl.gz")]
    titles = [title for title in others if comparable(title) not in held] + [title for _, title in pairs]
    rows = pairs * CSL_REPEATS + make_pairs(pairs, titles, CSL_EXCHANGES * len(pairs), seed=0)
    write_rows(output / "train_exchanged.jsonl", ({"source": text, "target": title} for text, title in rows))
    return counts | {"train_exchanged": len(rows)}


def read_splits(folder: Path, prefix: str) -> Splits:
    """Reads the three splits of a data set."""
    return {split: read_packed_rows(folder / f"{prefix}{split}.jsonl.gz") for split in ("train", "dev", "test")}


def write_splits(output: Path, splits: Splits, names: dict[str, str]) -> dict[str, int]:
    """
    Writes splits as one JSON object a line.

    Args:
        output (`Path`): Folder to write to.
        splits (`Splits`): The raw rows by split.
        names (`dict[str, str]`): What the columns are called, by their raw names; the first two are source and target.
            A further one may be missing.
    """
    renamed = {
        split: [{new: row[raw] for raw, new in names.items() if raw in row} for row in rows]
        for split, rows in splits.items()
    }
    for split, rows in renamed.items():
        write_rows(output / f"{split}.jsonl", rows)
    first, second, *_ = names.values()
    return finish(output, renamed, first, second)


def finish(output: Path, splits: Splits, first: str, second: str) -> dict[str, int]:
    """Writes and prints what the splits share, and returns their sizes."""
    overlap = count_overlap(splits, first, second)
    write_json(output / OVERLAP, overlap)
    for split, counts in overlap.items():
        print(f"{output / split}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    return {split: len(rows) for split, rows in splits.items()}


PREPARERS: dict[str, Callable[[Path, Path], dict[str, int]]] = {
    "multi30k": prepare_multi30k,
    "tatoeba": prepare_tatoeba,
    "aeslc": prepare_aeslc,
    "csl_titles": prepare_csl_titles,
}


def prepare(source: Path, output: Path, names: Iterable[str]) -> dict[str, int]:
    """
    Writes the splits of the named data sets into a folder each below `output`.

    Returns:
        `dict[str, int]`: The number of rows of each split, by `<data set>/<split>`.
    """
    return {
        f"{name}/{split}": count for name in names for split, count in PREPARERS[name](source, output / name).items()
    }


def main(args: list[str] | None = None) -> None:
    """Prepares the data sets named on the command line, by default all of them."""
    parser = argparse.ArgumentParser(description="Makes the files of the generation benchmarks.")
    parser.add_argument("--source", type=Path, required=True, help="folder of the raw data sets")
    parser.add_argument("--output", type=Path, default=Path("data/seq2seq"), help="folder to write to")
    parser.add_argument("--only", nargs="+", choices=PREPARERS, default=list(PREPARERS), help="data sets to prepare")
    options = parser.parse_args(args)
    for split, count in prepare(options.source, options.output, options.only).items():
        print(f"{split}: {count} rows")


if __name__ == "__main__":
    main()
