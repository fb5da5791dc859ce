"""The texts that models are measured on: prepared data sets, or made-up texts where there are none."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common.files import read_lines, read_rows
from benchmarks.speed.lengths import LengthDistribution

SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo", "shan", "tri", "wer")
LARGEST_TRAINING = 20_000  # texts that tokenizers and linear models learn from


class LabelledTexts(NamedTuple):
    """Texts to learn from with their labels, texts to read, and where all of them come from."""

    train: list[str]
    labels: list[int]
    test: list[str]
    origin: str


class Pairs(NamedTuple):
    """Sentences of two languages to learn from, sentences to translate, and where all of them come from."""

    train: list[str]
    test: list[str]
    origin: str


def make_texts(count: int, seed: int) -> list[str]:
    """Makes texts of a fixed list of words, as frequent as words are, with log-normal lengths."""
    words = [first + second + third for first in SYLLABLES for second in SYLLABLES for third in SYLLABLES]
    random = np.random.default_rng(seed)
    frequencies = 1 / np.arange(1, len(words) + 1)
    lengths = LengthDistribution(18, 0.5, 60).sample(count, seed)
    drawn = random.choice(len(words), lengths.sum(), p=frequencies / frequencies.sum())
    ends = np.cumsum(lengths)
    return [" ".join(words[word] for word in drawn[end - length : end]) + " ." for end, length in zip(ends, lengths)]


@cache
def labelled_texts(data: Path) -> LabelledTexts:
    """Reads SST-2 as `benchmarks/accuracy/prepare.py` writes it, or makes texts where it is not there."""
    folder = data / "accuracy" / "sst2"
    if not (folder / "train.jsonl").exists():
        train = make_texts(4000, seed=1)
        return LabelledTexts(train, [len(text) % 2 for text in train], make_texts(1800, seed=2), "made-up texts")
    rows = read_rows(folder / "train.jsonl")[:LARGEST_TRAINING]
    test = [row["text"] for row in read_rows(folder / "test.jsonl")]
    return LabelledTexts([row["text"] for row in rows], [row["label"] for row in rows], test, "SST-2, test sentences")


@cache
def translation_texts(data: Path) -> Pairs:
    """Reads Multi30k as `benchmarks/seq2seq/prepare.py` writes it, or makes texts where it is not there."""
    folder = data / "seq2seq" / "multi30k"
    if not (folder / "train.en").exists():
        return Pairs(make_texts(4000, seed=3), make_texts(1000, seed=4), "made-up texts")
    train = [line for side in ("en", "de") for line in read_lines(folder / f"train.{side}")[: LARGEST_TRAINING // 2]]
    return Pairs(train, read_lines(folder / "test2016.en"), "Multi30k, English test2016")


def choose_texts(texts: list[str], count: int, seed: int) -> list[str]:
    """Draws `count` texts, with repetition where there are fewer; the same seed gives the same ones."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(texts), count, replace=count > len(texts))
    return [texts[index] for index in chosen]
