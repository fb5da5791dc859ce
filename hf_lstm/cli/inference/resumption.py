"""A file of JSON lines that a stopped run goes on with, if it is of the same input and the same model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.checks import InputError
from .predictor import Row

SETTINGS_SUFFIX = ".settings.json"


class ResumableOutput:
    """
    Appends rows to a file, after those that an earlier run has written.

    Beside the file stands another, named after it, with the settings that the rows were made with.

    Args:
        path (`str` or `Path`): The file.
        settings (`dict[str, Any]`): What must be the same for a run to be the same one.
        overwrite (`bool`, defaults to `False`): Whether to start over where there is a file.

    Raises:
        InputError: If the file cannot be written, or holds rows of other settings or of unknown ones.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any], overwrite: bool = False):
        self.path = Path(path)
        self.settings_path = self.path.with_name(self.path.name + SETTINGS_SUFFIX)
        if self.path.exists() and not self.path.is_file():
            raise InputError(
                f"{str(path)!r} is no file that a run could go on with. Pass another --output, or none for standard "
                "output."
            )
        try:
            if overwrite:
                self.path.unlink(missing_ok=True)
            has_rows = self.path.exists() and self.path.stat().st_size > 0
            if has_rows:
                self._check_settings(settings)
            else:
                self.settings_path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
            self.num_written = _drop_half_line(self.path) if has_rows else 0
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise InputError(
                f"Cannot write {str(path)!r}: {error.strerror or error}. Pass another --output."
            ) from error
        self._earlier = self._read_written()

    def check_written(self, rows: Sequence[Row]) -> int:
        """
        Compares the next rows of the input with those written earlier, and returns how many of them are written.

        Args:
            rows (`Sequence[dict[str, str]]`): The rows that follow those of the last call.

        Raises:
            InputError: If a row of the input is another one.
        """
        num_checked = 0
        for row in rows:
            found = next(self._earlier, None)
            if found is None:
                break
            number, written = found
            if any(written.get(name) != value for name, value in row.items()):
                raise InputError(
                    f"Line {number} of {str(self.path)!r} was made from another text than row {number} of the input. "
                    "Pass another --output, or --overwrite to start over."
                )
            num_checked += 1
        return num_checked

    def check_end(self) -> None:
        """Makes sure, once the input is at its end, that no more rows are written than it has."""
        found = next(self._earlier, None)
        if found is not None:
            raise InputError(
                f"{str(self.path)!r} holds {self.num_written} lines, but the input has only {found[0] - 1} rows. Pass "
                "another --output, or --overwrite to start over."
            )

    def write(self, lines: Sequence[str]) -> None:
        """Appends lines, and hands them over to the system at once."""
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _check_settings(self, settings: dict[str, Any]) -> None:
        if not self.settings_path.exists():
            raise InputError(
                f"{str(self.path)!r} exists already and is not of an earlier run of this command: there is no "
                f"{self.settings_path.name!r} beside it. Pass another --output, or --overwrite to start over."
            )
        try:
            earlier = json.loads(self.settings_path.read_text(encoding="utf-8"))
            changed = sorted(name for name in earlier.keys() | settings if earlier.get(name) != settings.get(name))
        except (ValueError, AttributeError) as error:
            raise InputError(
                f"{str(self.settings_path)!r} cannot be read: {error}. Pass --overwrite to start over."
            ) from error
        if changed:
            changes = "; ".join(
                f"`{name}` was {earlier.get(name)!r} and is {settings.get(name)!r}" for name in changed[:5]
            )
            raise InputError(
                f"{str(self.path)!r} holds rows of another run: {changes}. Pass another --output, or --overwrite to "
                "start over."
            )

    def _read_written(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the number and the content of the lines that were there from the beginning."""
        if self.num_written == 0:
            return
        with self.path.open("rb") as file:
            for number, line in zip(range(1, self.num_written + 1), file):
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise InputError(
                        f"Line {number} of {str(self.path)!r} is no JSON object, so that the run cannot go on. "
                        "Pass --overwrite to start over."
                    )
                yield number, row


def _drop_half_line(path: Path) -> int:
    """Cuts off a last line that has no end, and returns how many lines there are."""
    num_lines = size = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                file.truncate(size)
                break
            num_lines, size = num_lines + 1, size + len(line)
    return num_lines
