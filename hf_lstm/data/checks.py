"""Checks of what a user hands in, and the one error which they raise."""

import difflib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class InputError(ValueError):
    """Says that a value, file or folder given by the user cannot be used: the value, the rule and the fix."""


def nearest_name(name: str, names: Iterable[str]) -> str:
    """
    Words a hint at the valid name that resembles a misspelt one most.

    Args:
        name (`str`): What the user wrote.
        names (`Iterable[str]`): The valid names.

    Returns:
        `str`: `" Did you mean 'text'?"` with a leading space, or an empty string if nothing is alike.
    """
    valid = {str(candidate).casefold(): str(candidate) for candidate in names}
    close = difflib.get_close_matches(name.casefold(), list(valid), n=1, cutoff=0.6)
    return f" Did you mean {valid[close[0]]!r}?" if close else ""


def listing(values: Sequence[object], limit: int = 10) -> str:
    """Writes a list of values for an error message, the first few only if there are many."""
    shown = ", ".join(repr(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def check_bounds(values: object, least: Mapping[str, float], most: Mapping[str, float] | None = None) -> None:
    """
    Makes sure that numbers lie within their bounds.

    Args:
        values (`object`): Has the numbers as its attributes; those that are `None` pass.
        least (`Mapping[str, float]`): The smallest value of each.
        most (`Mapping[str, float]`, *optional*): The largest value of those that have one; the others must be finite.

    Raises:
        InputError: If a number lies outside.
    """
    most = most or {}
    for name, smallest in least.items():
        value, largest = getattr(values, name), most.get(name, sys.float_info.max)
        if value is not None and not smallest <= value <= largest:
            limit = f" and at most {largest}" if name in most else " and finite" * isinstance(value, float)
            raise InputError(f"`{name}` is {value}, but must be at least {smallest}{limit}.")


def describe_error(error: BaseException) -> str:
    """Words what another library raised: by its message, and by its kind where that says more."""
    is_plain = isinstance(error, (OSError, RuntimeError, ValueError))
    return str(error) if is_plain and str(error) else f"{type(error).__name__}: {error}"


def check_room(flag: str, max_length: int, num_special: int) -> None:
    """
    Makes sure that a limit leaves room for a token of the text.

    Args:
        flag (`str`): What the limit is called.
        max_length (`int`): The limit, which counts special tokens, too.
        num_special (`int`): How many of these the tokenizer adds.

    Raises:
        InputError: If it leaves none.
    """
    if max_length <= num_special:
        raise InputError(
            f"`{flag}` is {max_length}, but must be at least {num_special + 1}: it counts {num_special} special "
            "tokens."
        )


def check_output_directory(path: str | Path) -> Path:
    """
    Creates the output folder and makes sure that files can be written to it.

    Raises:
        InputError: If it is a file, cannot be created or cannot be written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"0")
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder {str(path)!r}: {error.strerror or error}. Pass another --output_dir, "
            "or change its permissions."
        ) from error
    return path


def check_output_file(path: str | Path, flag: str) -> Path:
    """
    Makes sure that a file can be written, and leaves what is there as it is.

    Args:
        path (`str` or `Path`): The file.
        flag (`str`): The argument that names it, for the message.

    Raises:
        InputError: If it is a folder, its folder does not exist, or one of them cannot be written to.
    """
    path = Path(path)
    try:
        if not path.exists():
            tempfile.TemporaryFile(dir=path.parent).close()
        elif not path.is_fifo():  # which would wait for its reader
            path.open("ab").close()
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}. Pass another --{flag}.") from error
    return path
