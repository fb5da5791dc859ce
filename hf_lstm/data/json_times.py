"""Strings of JSON files that the reader of `datasets` took for points in time, because they look like them."""

import io
import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
from datasets import Dataset, concatenate_datasets
from datasets.table import InMemoryTable

from .checks import InputError, listing
from .text_files import encoding_to_read, open_bytes

# How the reader writes points in time where earlier parts of a column are other strings.
_WRITTEN_TIME = r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$"
_SPACE = re.compile(r"\s*")
_NUM_ROWS_AT_ONCE = 10000


def restore_strings(dataset: Dataset, path: Path, encoding: str) -> Dataset:
    """
    Reads columns in which there may be such strings once more, as they are written.

    So are columns with values of several types, of which the reader takes the string `"01"` for a number.

    Args:
        dataset (`Dataset`): The rows of the file, as `datasets` loads them.
        path (`Path`): The JSON file, also a gzipped one.
        encoding (`str`): How text is written in it.

    Raises:
        InputError: If the file is of a form that only `datasets` can read.
    """
    fields = [
        field.with_type(_text_type(field.type))
        for field in dataset.features.arrow_schema
        if _text_type(field.type) != field.type or _has_written_times(dataset, field) or _is_mixed(field)
    ]
    if not fields:
        return dataset
    names = [field.name for field in fields]
    try:
        table = _read_columns(path, encoding, pa.schema(fields))
    except (ValueError, TypeError, RecursionError):  # of Python's reader, and of what pyarrow cannot take
        table = None
    if (table is None or len(table) != len(dataset)) and all(map(_is_mixed, fields)):
        return dataset
    if table is None or len(table) != len(dataset):
        raise InputError(
            f"The file {str(path)!r} holds dates or times in {listing(names)}, which cannot be read as they are "
            "written. Save the rows as csv, or as jsonl with one row in each line."
        )
    others = [name for name in dataset.column_names if name not in names]
    parts = [dataset.select_columns(others)] if others else []
    parts.append(Dataset(InMemoryTable(table)))
    return concatenate_datasets(parts, axis=1).select_columns(dataset.column_names)


def _text_type(kind: pa.DataType) -> pa.DataType:
    """Returns a type with text in place of points in time; one that holds values of several types stays as it is."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_text_type(kind.value_type))
    if pa.types.is_struct(kind) and not any(isinstance(field.type, pa.BaseExtensionType) for field in kind):
        return pa.struct([field.with_type(_text_type(field.type)) for field in kind])
    return kind


def _is_mixed(field: pa.Field) -> bool:
    return isinstance(field.type, pa.JsonType)


def _has_written_times(dataset: Dataset, field: pa.Field) -> bool:
    if not pa.types.is_string(field.type):
        return False
    found = compute.any(compute.match_substring_regex(dataset.data.column(field.name), _WRITTEN_TIME))
    return bool(found.as_py())


def _read_columns(path: Path, encoding: str, schema: pa.Schema) -> pa.Table:
    rows = _read_rows(path, encoding)
    mixed = [field.name for field in schema if _is_mixed(field)]
    batches = []
    while piece := list(islice(rows, _NUM_ROWS_AT_ONCE)):
        if mixed:
            piece = [
                row | {name: json.dumps(row[name]) for name in mixed if row.get(name) is not None} for row in piece
            ]
        batches.append(pa.RecordBatch.from_pylist(piece, schema))
    return pa.Table.from_batches(batches, schema)


def _read_rows(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file line by line, unless a row takes several lines or the file is a list."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding=encoding_to_read(encoding)) as lines:
        first = next((line for line in lines if line.strip()), "")
        try:
            parts = chain([first], lines) if isinstance(json.loads(first), dict) else iter([first + lines.read()])
        except ValueError:
            parts = iter([first + lines.read()])
        for part in parts:
            for value in _decode_values(part.strip()):
                for row in value if isinstance(value, list) else [value]:
                    yield row if isinstance(row, dict) else {"text": row}  # as `datasets` calls the items of a list


def _decode_values(text: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
