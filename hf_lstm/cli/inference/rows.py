"""Rows of text that a command reads, from a file or from standard input."""

import argparse
import hashlib
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from datasets import Dataset

from ...data.checks import InputError, listing
from ...data.columns import select_texts
from ...data.loading import load_file
from ...data.pair_columns import SOURCE
from ...data.pairs import load_pairs
from ...data.text_files import encoding_to_read, iterate_lines
from .predictor import Row
from .saved_model import SEQ2SEQ

logger = logging.getLogger(__name__)

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
        return RowSource({name: line} for line in _count_empty(read_standard_input(arguments.file_encoding)))
    dataset = _load_sources(arguments) if kind == SEQ2SEQ else _load_texts(arguments)
    with Path(arguments.input).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return RowSource(_iterate(dataset), len(dataset), digest)


def read_standard_input(encoding: str = "utf-8") -> Iterator[str]:
    """
    Yields the lines of standard input, which end as `iterate_lines` says.

    Raises:
        InputError: If the encoding is unknown, which is found at once, or a line is not written in it.
    """
    encoding_to_read(encoding)
    return _read_lines(encoding)


def check_output(output: str | Path | None, source: str | Path | None) -> None:
    """
    Makes sure that results do not go to the file that the texts come from, by whatever name or link.

    Args:
        output (`str` or `Path`, *optional*): Where results go; standard output if `None`.
        source (`str` or `Path`, *optional*): Where texts come from; standard input if `None`.

    Raises:
        InputError: If both are one file.
    """
    written, read = _file_status(output, sys.stdout), _file_status(source, sys.stdin)
    # Of what is no regular file, such as a terminal, nothing can be overwritten.
    if written is None or read is None or not stat.S_ISREG(read.st_mode) or not os.path.samestat(written, read):
        return
    written_name = "standard output" if output is None else repr(str(output))
    read_name = STANDARD_INPUT if source is None else repr(str(source))
    raise InputError(
        f"The output, {written_name}, is the same file as the input, {read_name}, and would overwrite it. Name "
        "another file for the output."
    )


def _file_status(path: str | Path | None, stream: TextIO) -> os.stat_result | None:
    try:
        return os.stat(stream.fileno() if path is None else path)
    except OSError:  # no such file, or a stream that is none
        return None


def _read_lines(encoding: str) -> Iterator[str]:
    if sys.stdin.isatty():
        print("Reading a text from each line, until the end of input (Ctrl-D).", file=sys.stderr)
    try:
        yield from iterate_lines(sys.stdin.buffer, encoding)
    except UnicodeError as error:  # utf-16 raises the plain one where the byte order mark is missing
        raise InputError(
            f"Standard input is not written in {encoding}: {error}. Name its encoding with --file_encoding."
        ) from error


def _count_empty(texts: Iterable[str]) -> Iterator[str]:
    """Passes texts on, and warns at their end of empty ones, as is done for those of a file."""
    number, empty = 0, []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            empty.append(number)
        yield text
    if empty:
        rows = listing(empty, 5)
        logger.warning("%d of %d texts of %s are empty: rows %s.", len(empty), number, STANDARD_INPUT, rows)


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
