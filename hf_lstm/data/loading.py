"""Loading of text data: local files and data sets of the Hub, one `Dataset` per split."""

import glob
import warnings
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from pandas.errors import ParserWarning

from .checks import InputError
from .csv_files import check_line_breaks, csv_options
from .file_formats import LOADERS, format_suffix, reading_error
from .json_files import check_json_rows, write_rows
from .json_times import restore_strings
from .json_types import find_types
from .text_files import (
    check_readable_file,
    check_text_encoding,
    digest_file,
    encoding_to_read,
    iterate_lines,
    open_bytes,
)


def load_file(path: str | Path, encoding: str = "utf-8", cache_dir: str | None = None) -> Dataset:
    """
    Loads a csv, tsv, json, jsonl, parquet or text file; all but parquet also gzipped (`.csv.gz`).

    Every column of a csv or tsv file is read as text, so that a text `007` stays what it is; an empty cell is `None`.
    Blank lines are left out, unless there is one column, of which they are empty cells. A cell of a tsv file holds no
    line break: where one seems to, a quotation mark at the beginning of a cell is not meant to quote it.
    Strings of json stay what they are, too, also dates.
    A column without a name, such as the index that pandas writes, is called `Unnamed: 0` by its place.
    A text file gives one column, `text`, with a row for each line; lines end as `iterate_lines` says.

    Args:
        path (`str` or `Path`): The file; its ending says the format.
        encoding (`str`, defaults to `"utf-8"`): How text is written in it.
        cache_dir (`str`, *optional*): Where `datasets` keeps the converted file.

    Raises:
        InputError: If the file is missing, empty, of an unknown ending, wrongly encoded or malformed.
    """
    path = check_readable_file(path)
    suffix = format_suffix(path)
    if LOADERS[suffix] != "parquet":
        check_text_encoding(path, encoding)
    loader, options = file_options(path, encoding)
    read_path = path
    if loader == "json" and (rows := check_json_rows(path, encoding)) is not None:
        read_path = write_rows(path, rows, encoding, cache_dir)
    if loader == "json" and (types := find_types(read_path, encoding)) is not None:
        options["features"] = types
    # In a path with '::', `datasets` would look for an archive.
    if loader == "text" and ("::" in str(path) or _has_lone_returns(path, encoding)):
        with open_bytes(path) as file:
            return Dataset.from_dict({"text": list(iterate_lines(file, encoding))})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # cells beyond the header's columns would be dropped
            files = [glob.escape(str(read_path))]
            # A name of the content, for `datasets` tells files apart by their times alone.
            name = digest_file(path)
            dataset = load_dataset(loader, name, data_files=files, split="train", cache_dir=cache_dir, **options)
        if suffix == ".tsv":
            check_line_breaks(path, dataset.data.table)
        if loader == "parquet":
            dataset.data.table.validate(full=True)  # its readers take any bytes for text
    except InputError:
        raise
    except Exception as error:  # `datasets` wraps whatever its readers raise
        raise reading_error(path, None, error.__cause__ or error.__context__ or error) from error
    if len(dataset) == 0:
        raise InputError(f"The file {str(path)!r} holds no rows. It must hold at least one.")
    return restore_strings(dataset, path, encoding) if loader == "json" else dataset


def file_options(path: Path, encoding: str) -> tuple[str, dict[str, Any]]:
    """
    Returns the loader of `datasets` that reads a file, and its options.

    Raises:
        InputError: If the file's ending or the encoding is unknown, its path cannot be read, or a csv file has no rows
            or a column twice.
    """
    suffix = format_suffix(path)
    loader = LOADERS[suffix]
    if "::" in str(path) and loader != "text":
        raise InputError(f"The path {str(path)!r} holds '::', which means an archive to `datasets`. Rename the file.")
    if loader == "parquet":
        return loader, {}
    readable = encoding_to_read(encoding)
    if loader == "csv":
        return loader, csv_options(path, "\t" if suffix == ".tsv" else ",", readable)
    return loader, {"encoding": readable if loader == "text" else encoding}  # the reader of json drops the mark itself


def load_hub_dataset(
    name: str,
    configuration: str | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    streaming: bool = False,
) -> Any:
    """
    Loads all splits of a data set of the Hub, or of a local folder in the same layout.

    Args:
        name (`str`): The data set.
        configuration (`str`, *optional*): Which of its configurations.
        revision (`str`, *optional*): Which of its commits, branches or tags.
        cache_dir (`str`, *optional*): Where `datasets` keeps what it downloads and converts.
        streaming (`bool`, defaults to `False`): Whether to open the splits without downloading them whole.

    Returns:
        `DatasetDict`, or `IterableDatasetDict` where it is streamed.

    Raises:
        InputError: If there is no such data set or configuration, or no connection.
    """
    try:
        return load_dataset(name, configuration, revision=revision, cache_dir=cache_dir, streaming=streaming)
    except Exception as error:  # the Hub client, the file system and the readers each raise their own
        raise InputError(
            f"The data set {name!r}{f' ({configuration})' if configuration else ''} cannot be loaded: {error}"
        ) from error


def _has_lone_returns(path: Path, encoding: str) -> bool:
    """Tells whether there are carriage returns within lines, at which the reader of `datasets` would end them."""
    with open_bytes(path) as file:
        return any("\r" in line for line in iterate_lines(file, encoding))
