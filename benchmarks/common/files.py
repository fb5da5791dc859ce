"""Reading and writing of the data files."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def read_packed_lines(path: Path) -> list[str]:
    """
    Reads the lines of a packed text file.

    Raises:
        SystemExit: If there is no such file.
    """
    if not path.is_file():
        raise SystemExit(f"There is no {path}. --source must be the folder that holds the raw data sets.")
    # Only \n ends a line, so that lines of two files stay aligned whatever else the texts hold.
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        return [line.removesuffix("\n") for line in lines]


def read_packed_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a packed file of one JSON object a line."""
    return [json.loads(line) for line in read_packed_lines(path)]


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [line.removesuffix("\n") for line in lines]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a file of one JSON object a line."""
    return [json.loads(line) for line in read_lines(path)]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes texts, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line."""
    write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))
