"""Rows of text that a command reads, from a file or from standard input."""

import argparse
import hashlib
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from datasets import Dataset

from ...data.checks import InputError
from ...data.columns import select_texts
from ...data.loading import load_file
from ...data.pairs import SOURCE, load_pairs
from .predictor import Row
from .saved_model import SEQ2SEQ

STANDARD_INPUT = "standard input"


@dataclass
class RowSource:
    """
    Rows of text in their order, which can be gone through once.

    Args:
        rows (`Iterable[dict[str, str]]`): `text` and, for pairs, `text_pair`; or `source`.
        num_rows (`int`, *optional*): How many there are, if that is known before the end.
        digest (`str`, *optional*): A hash of the file, if it is one.
    """

    rows: Iterable[Row]
    num_rows: int | None = None
    digest: str | None = None

    def pieces(self, size: int) -> Iterator[list[Row]]:
        """Yields the rows in pieces of one size, the last of which may be smaller."""
        rows = iter(self.rows)
        while piece := list(islice(rows, size)):
            yield piece


def open_rows(arguments: argparse.Namespace, kind: str) -> RowSource:
    """
    Opens the file that the arguments name, or standard input with a text in each line.

    Args:
        arguments (`argparse.Namespace`): Those of `hf-lstm predict`.
        kind (`str`): The kind of the model.

    Raises:
        InputError: If the file or one of its columns cannot be used.
    """
    if arguments.input is None:
        name = SOURCE if kind == SEQ2SEQ else "text"
        return RowSource({name: line} for line in read_standard_input(arguments.file_encoding))
    dataset = _load_sources(arguments) if kind == SEQ2SEQ else _load_texts(arguments)
    with Path(arguments.input).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return RowSource(_iterate(dataset), len(dataset), digest)


def read_standard_input(encoding: str = "utf-8") -> Iterator[str]:
    """
    Yields the lines of standard input; only a line feed ends one, after a carriage return or not.

    Raises:
        InputError: If a line is not written in the encoding.
    """
    if sys.stdin.isatty():
        print("Reading a text from each line, until the end of input (Ctrl-D).", file=sys.stderr)
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding=encoding, newline="\n")
    try:
        for line in lines:
            yield line.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(
            f"Standard input is not written in {encoding}: {error}. Name its encoding with --file_encoding."
        ) from error
    finally:
        lines.detach()  # or else standard input would be closed along with the wrapper


def _load_texts(arguments: argparse.Namespace) -> Dataset:
    dataset = load_file(arguments.input, arguments.file_encoding)
    delimiter = " " if arguments.text_column_delimiter is None else arguments.text_column_delimiter
    return select_texts(dataset, "input", arguments.text_column_names, arguments.text_pair_column_name, delimiter)


def _load_sources(arguments: argparse.Namespace) -> Dataset:
    pairs = load_pairs(
        arguments.input,
        "input",
        source_column=arguments.source_column_name,
        source_lang=arguments.source_lang,
        needs_target=False,
        encoding=arguments.file_encoding,
    )
    return pairs.select_columns([SOURCE])


def _iterate(dataset: Dataset) -> Iterator[Row]:
    for batch in dataset.iter(1000):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
