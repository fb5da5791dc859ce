"""JSON files: checks of their rows, and lists of rows as files with a row in each line."""

import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import datasets

from .checks import InputError
from .file_formats import reading_error
from .text_files import digest_file, encoding_to_read, open_bytes

# What stands in place of a row, or behind one; within a text, the latter is harmless.
_NO_ROW = ("null", "NaN", "Infinity", "-Infinity")
_NULL_AFTER_ROW = re.compile(r"}\s*(null|NaN|-?Infinity)")


def check_json_rows(path: str | Path, encoding: str) -> list[Any] | None:
    """
    Makes sure that no row is `null` or becomes it, on which the reader of pyarrow ends the whole process.

    Returns:
        `list`: The rows of a file that is one list, as Python reads them; `None` for any other.
    """
    path = Path(path)
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding=encoding) as lines:
        is_first = True
        for number, line in enumerate(lines, start=1):
            text = line.strip("\ufeff \t\r\n")
            if is_first and text.startswith("["):
                return _read_json_list(path, text + lines.read())
            is_first = is_first and not text
            if text.startswith(_NO_ROW) or _NULL_AFTER_ROW.search(text):
                try:
                    is_row = isinstance(json.loads(text), dict)
                except (ValueError, RecursionError):
                    is_row = False
                if not is_row:
                    raise InputError(f"Line {number} of {str(path)!r} is {text[:40]!r}, but must be one JSON object.")
    return None


def check_first_row(path: str | Path, encoding: str) -> list[Any] | None:
    """Does what `check_json_rows` does, but only of a file that does not begin with an object."""
    with open_bytes(Path(path)) as file, io.TextIOWrapper(file, encoding=encoding_to_read(encoding)) as lines:
        try:
            first = next((line for line in lines if line.strip()), "{")
        except UnicodeError as error:
            raise reading_error(path, encoding, error) from error
    return None if first.lstrip().startswith("{") else check_json_rows(path, encoding)


def _read_json_list(path: Path, content: str) -> list[Any]:
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The file {str(path)!r} cannot be read as json: {error}.") from error
    for number, row in enumerate(rows, start=1):
        if row is None or isinstance(row, float):
            raise InputError(f"Row {number} of {str(path)!r} is {row!r}, but must be a JSON object.")
    return rows


def write_rows(path: Path, rows: list[Any], encoding: str, cache_dir: str | None = None) -> Path:
    """
    Writes each row of a json file that is a list in a line, for the reader of `datasets` rounds the numbers of a list.

    Args:
        path (`Path`): The file.
        rows (`list`): Its rows; those that are no objects become the column `text`.
        encoding (`str`): How to write text.
        cache_dir (`str`, *optional*): Where `datasets` keeps converted files.

    Returns:
        `Path`: What was written, for a later run to find.
    """
    folder = Path(cache_dir or datasets.config.HF_DATASETS_CACHE) / "hf_lstm-json" / f"{digest_file(path)}-{encoding}"
    written = folder / f"{path.name.lower().removesuffix('.gz').rpartition('.')[0]}.jsonl"
    if not written.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding=encoding, dir=folder, delete=False) as file:
            file.writelines(json.dumps(row if isinstance(row, dict) else {"text": row}) + "\n" for row in rows)
        Path(file.name).replace(written)  # at once, for several processes may do this
    return written
