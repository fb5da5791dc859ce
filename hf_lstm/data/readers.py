"""Readers of streamed files: those of `datasets`, with the checks of `load_file`, naming the file they fail at."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ArrowBasedBuilder
from datasets.packaged_modules.csv.csv import Csv
from datasets.packaged_modules.json.json import FullReadDisallowed, Json
from datasets.packaged_modules.parquet.parquet import Parquet
from pandas.errors import ParserWarning

from .checks import InputError
from .csv_files import check_line_breaks, check_zero_bytes
from .file_formats import reading_error
from .json_files import check_first_row, check_json_rows


class _CheckedReader(ArrowBasedBuilder):
    """Raises an `InputError` that names the file where anything goes wrong; `datasets` reads one file in each call."""

    def _generate_tables(self, *args: Any, **arguments: Any) -> Iterator[Any]:
        path = str((arguments.get("base_files") or arguments["files"])[0])
        tables = super()._generate_tables(*args, **arguments)
        try:
            self.check_file(path)
            # One by one, or else the filter would also hold for whoever takes the rows.
            while (item := self._next_table(tables)) is not None:
                self.check_table(path, item[1])
                yield item
        except (InputError, FullReadDisallowed):
            raise
        except Exception as error:  # each reader raises its own
            raise reading_error(path, getattr(self.config, "encoding", None), error) from error

    def _next_table(self, tables: Iterator[Any]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # cells beyond the header's columns would be dropped
            return next(tables, None)

    def check_file(self, path: str) -> None:
        """Checks a file before it is read."""

    def check_table(self, path: str, table: pa.Table) -> None:
        """Checks some rows of a file."""


class CheckedCsv(_CheckedReader, Csv):
    """Reads csv and tsv files."""

    def check_table(self, path: str, table: pa.Table) -> None:
        """Refuses zero bytes, and line breaks in cells of tsv files."""
        check_zero_bytes(path, self.config.encoding, table)
        if self.config.sep == "\t":
            check_line_breaks(path, table)


class CheckedJson(_CheckedReader, Json):
    """Reads json files."""

    _checked_path: str | None = None  # the last file of which all rows have been looked at

    def check_file(self, path: str) -> None:
        """Refuses a first row that is `null`, on which the reader of pyarrow ends the whole process."""
        check_first_row(path, self.config.encoding)

    def _cast_table(self, pa_table: pa.Table, *args: Any, **options: Any) -> pa.Table:
        """Refuses strings that would become something else, such as 007 where the first rows hold integers."""
        kinds = {} if self.info.features is None else {one.name: one.type for one in self.info.features.arrow_schema}
        for name, column in zip(pa_table.column_names, pa_table.columns, strict=True):
            kind = kinds.get(name)
            if kind is None or not pa.types.is_string(column.type) or not pa.types.is_primitive(kind):
                continue
            for value in column.unique():
                if not value.is_valid or _is_kept(value, kind):
                    continue
                raise ValueError(
                    f"the column {name!r} holds {value.as_py()[:60]!r}, but {kind} in the first rows. Write the same "
                    "type in all rows"
                )
        return super()._cast_table(pa_table, *args, **options)

    def check_table(self, path: str, table: pa.Table) -> None:
        """Refuses other rows that are `null`, which come as rows without any value."""
        is_empty = [np.asarray(column.is_null()) for column in table.columns]
        if path != self._checked_path and is_empty and np.logical_and.reduce(is_empty).any():
            check_json_rows(path, self.config.encoding)
            self._checked_path = path  # its other rows without a value are objects, too


class CheckedParquet(_CheckedReader, Parquet):
    """Reads parquet files."""

    def check_table(self, path: str, table: pa.Table) -> None:
        """Refuses text that is not written in UTF-8, which the reader does not look at."""
        table.validate(full=True)


def _is_kept(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        return bool(value.cast(kind).cast(pa.string()) == value)
    except pa.ArrowInvalid:
        return False


READERS = {"csv": CheckedCsv, "json": CheckedJson, "parquet": CheckedParquet}
