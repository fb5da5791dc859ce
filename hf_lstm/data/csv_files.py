"""Files of csv and tsv: how their header says to read them, and checks of the rows that were read."""

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
from datasets import Features, Value

from .checks import InputError, listing
from .file_formats import reading_error
from .text_files import check_text_encoding, open_bytes


def csv_options(path: Path, delimiter: str, encoding: str) -> dict[str, Any]:
    """
    Reads the header, and asks for every column as text with only the empty cell as a missing value.

    Args:
        path (`Path`): The file.
        delimiter (`str`): What stands between its cells.
        encoding (`str`): How to read its text.

    Returns:
        `dict[str, Any]`: Options of the loader of `datasets`.

    Raises:
        InputError: If the header cannot be read or names a column twice, or there are no rows.
    """
    num_blank = 0
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding=encoding, newline="") as lines:
        try:
            rows = csv.reader(lines, delimiter=delimiter)
            while not (header := next(rows, ["text"])):
                num_blank += 1
            has_rows = any(line.strip() for line in lines)
        except (UnicodeError, csv.Error) as error:  # the latter for a header that is not closed
            raise reading_error(path, encoding, error) from error
    if not has_rows:
        raise InputError(f"The file {str(path)!r} holds a header but no rows. It must hold at least one.")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise InputError(f"The header of {str(path)!r} names {listing(repeated)} more than once. Rename one of them.")
    return {
        "sep": delimiter,
        "index_col": False,  # or else a row with one cell too many shifts all of its cells by one column
        "encoding": encoding,
        "features": Features({name: Value("string") for name in _name_columns(header)}),
        "keep_default_na": False,
        "na_values": [""],
    } | ({"skip_blank_lines": False, "header": num_blank} if len(header) == 1 else {})


def _name_columns(header: Sequence[str]) -> list[str]:
    """Names columns without a name as pandas does: `Unnamed: 0` by their place, or `Unnamed: 0.1` if that is taken."""
    names = list(header)
    for place, name in enumerate(header):
        if not name:
            unnamed = f"Unnamed: {place}"
            choices = itertools.chain([unnamed], (f"{unnamed}.{number}" for number in itertools.count(1)))
            names[place] = next(choice for choice in choices if choice not in names)
    return names


def check_zero_bytes(path: str | Path, encoding: str, table: pa.Table) -> None:
    """Makes sure that the text columns of some rows of a file hold no zero bytes, as `check_text_encoding` does."""
    for column in table.columns:
        if pa.types.is_string(column.type) and compute.any(compute.match_substring(column, "\0")).as_py():
            check_text_encoding(path, encoding)


def check_line_breaks(path: str | Path, table: pa.Table) -> None:
    """
    Makes sure that no cell of a tsv file holds a line break, as rows do that a stray quotation mark joins.

    Raises:
        InputError: If one does.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        found = compute.filter(column, compute.match_substring_regex(column, r"[\r\n]"))
        if len(found):
            raise InputError(
                f"A cell of the column {name!r} of {str(path)!r} begins with a quotation mark and goes on in the next "
                f"line: {found[0].as_py()[:60]!r}. Write quotation marks in cells twice and around the cell, and save "
                "texts with line breaks as csv or jsonl."
            )
