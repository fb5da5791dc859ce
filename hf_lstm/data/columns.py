"""Columns of text data: finding those meant by the user and bringing every data set into one form."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as compute
from datasets import Dataset, Features, Value

from .cache import make_fingerprint
from .checks import InputError, listing, nearest_name

logger = logging.getLogger(__name__)

TEXT_COLUMN_NAMES = ("text", "sentence")
LABEL_COLUMN_NAMES = ("label", "labels")
# What strings that look like dates become in json, which `load_file` undoes, but streams and the Hub's loaders do not.
_JSON_TIME = "timestamp[s]"


def find_column(dataset: Dataset, wanted: str | None, usual: Sequence[str], flag: str, split: str) -> str:
    """
    Finds a column by the name which the user gave, or else by the usual names.

    Args:
        dataset (`Dataset`): The data.
        wanted (`str`, *optional*): The user's name for the column.
        usual (`Sequence[str]`): Names to look for otherwise, the first that exists is taken.
        flag (`str`): The argument that names this column, for the message.
        split (`str`): What the data is called, for the message.

    Raises:
        InputError: If there is no such column, naming the nearest.
    """
    for name in usual if wanted is None else (wanted,):
        if name in dataset.column_names:
            return name
    missing = usual[0] if wanted is None else wanted
    hint = nearest_name(missing, dataset.column_names)
    raise InputError(
        f"The {split} data has no column {missing!r}, only {listing(dataset.column_names)}.{hint} "
        f"Name the right one with --{flag}."
    )


def select_texts(
    dataset: Dataset,
    split: str,
    text_columns: Sequence[str] | None = None,
    pair_column: str | None = None,
    delimiter: str = " ",
) -> Dataset:
    """
    Makes the data set that training reads: column `text`, and `text_pair` for pairs.

    A missing value, also NaN, counts as an empty text, a number as its digits, in a column of floats with the point.

    Args:
        dataset (`Dataset`): The data as loaded.
        split (`str`): What the data is called in messages.
        text_columns (`Sequence[str]`, *optional*): Columns joined to the text; the usual names by default.
        pair_column (`str`, *optional*): Column of the second text of a pair.
        delimiter (`str`, defaults to a space): Written between joined columns.

    Raises:
        InputError: If a column is missing or holds no text, or the text of every row is empty.
    """
    sources = find_text_columns(dataset, split, text_columns, pair_column)
    texts = dataset.map(
        join_columns,
        batched=True,
        remove_columns=dataset.column_names,
        fn_kwargs={"sources": sources, "delimiter": delimiter},
        features=Features({name: Value("string") for name in sources}),
        new_fingerprint=make_fingerprint(dataset, join_columns, sources, delimiter),
        desc=f"Reading the {split} texts",
    )
    _check_texts(texts, sources["text"], split)
    return texts


def find_text_columns(
    dataset: Dataset, split: str, text_columns: Sequence[str] | None = None, pair_column: str | None = None
) -> dict[str, list[str]]:
    """
    Finds the columns of which `text`, and `text_pair` for pairs, are made; takes what `select_texts` takes.

    Raises:
        InputError: If a column is missing or holds no text.
    """
    if text_columns:
        names = [find_column(dataset, name, (), "text_column_names", split) for name in text_columns]
    else:
        names = [find_column(dataset, None, TEXT_COLUMN_NAMES, "text_column_names", split)]
    sources = {"text": names}
    if pair_column is not None:
        sources["text_pair"] = [find_column(dataset, pair_column, (), "text_pair_column_name", split)]
    for target, flag in (("text", "text_column_names"), ("text_pair", "text_pair_column_name")):
        for name in sources.get(target, ()):
            check_text_column(dataset, name, flag, split)
    return sources


def check_text_column(dataset: Dataset, name: str, flag: str, split: str) -> None:
    """
    Makes sure that a column holds text, or numbers and such, which are written as text.

    Args:
        dataset (`Dataset`): The data.
        name (`str`): The column.
        flag (`str`): The argument that names this column, for the message.
        split (`str`): What the data is called, for the message.

    Raises:
        InputError: If it holds anything else, such as lists or bytes.
    """
    feature = dataset.features[name]
    is_time = isinstance(feature, Value) and feature.dtype == _JSON_TIME
    if is_time or not isinstance(feature, Value) or "binary" in feature.dtype:
        hint = " Dates in json were taken for points in time: save them as csv, or pass the file itself." * is_time
        raise InputError(
            f"The column {name!r} of the {split} data is of type {feature}, but must hold text. Name another one with "
            f"--{flag}.{hint}"
        )


def join_columns(rows: dict[str, list[Any]], sources: dict[str, list[str]], delimiter: str) -> dict[str, list[str]]:
    """Joins, for each target column, the values of its source columns row by row."""
    joined = {}
    for target, names in sources.items():
        columns = [[write_value(value) for value in rows[name]] for name in names]
        joined[target] = (
            columns[0] if len(columns) == 1 else [delimiter.join(row) for row in zip(*columns, strict=True)]
        )
    return joined


def write_value(value: Any) -> str:
    """Writes a value of a column as text; a missing one is empty."""
    return "" if value is None or value != value else str(value)  # NaN alone differs from itself


def _check_texts(texts: Dataset, names: list[str], split: str) -> None:
    lengths = compute.utf8_length(compute.utf8_trim_whitespace(texts.data.column("text")))
    empty = np.flatnonzero(lengths.to_numpy() == 0)
    if len(empty) == len(texts):
        raise InputError(
            f"All {len(texts)} texts of the {split} data (column {' + '.join(names)!r}) are empty. Name the column "
            "that holds the text with --text_column_names."
        )
    if len(empty):
        rows = listing((empty + 1).tolist(), 5)
        logger.warning("%d of %d texts of the %s data are empty: rows %s.", len(empty), len(texts), split, rows)
