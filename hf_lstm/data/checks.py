"""Checks of what a user hands in, and the one error which they raise."""

import codecs
import difflib
import gzip
import io
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

_BLOCK_SIZE = 1 << 20


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


def check_readable_file(path: str | Path) -> Path:
    """
    Makes sure that a file exists, can be opened and holds something.

    Args:
        path (`str` or `Path`): The file; one that ends in `.gz` must hold something once unpacked.

    Returns:
        `Path`: The same path.

    Raises:
        InputError: If it is missing, a folder, unreadable, a broken archive or empty.
    """
    path = Path(path)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"The file {str(path)!r} does not exist.{nearest_name(path.name, siblings)}")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder, but must be a file, such as {str(path / 'train.csv')!r}.")
    try:
        with open_bytes(path) as file:
            first = file.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"The file {str(path)!r} cannot be read: {error}. Check its permissions, or copy it again."
        ) from error
    if not first:
        raise InputError(f"The file {str(path)!r} is empty. It must hold at least one row.")
    return path


def encoding_to_read(encoding: str) -> str:
    """
    Returns the encoding to read text with: that of UTF-8 leaves out the byte order mark which many programs write.

    Raises:
        InputError: If `encoding` is unknown.
    """
    try:
        "".encode(encoding)  # unlike a look-up, it refuses what encodes no text, such as hex
    except LookupError:
        raise InputError(
            f"`file_encoding` is {encoding!r}, which Python does not know. Take 'utf-8' or 'gb18030', say."
        ) from None
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def check_text_encoding(path: str | Path, encoding: str = "utf-8") -> None:
    """
    Makes sure that a whole text file (possibly gzipped) decodes, is more than blank and holds no zero bytes.

    Raises:
        InputError: If `encoding` is unknown, at the first line which is not written in it, or if there is no text.
    """
    encoding_to_read(encoding)
    line, blank = 1, True
    for text in _decode(Path(path), encoding):
        if "\x00" in text:
            line += text[: text.index("\x00")].count("\n")
            raise InputError(
                f"The file {str(path)!r} has a zero byte in line {line}, which is not text in {encoding}. If it is "
                "UTF-16, pass --file_encoding utf-16."
            )
        line += text.count("\n")
        blank = blank and not text.strip()
    if blank:
        raise InputError(f"The file {str(path)!r} is empty. It must hold at least one row.")


def _decode(path: Path, encoding: str) -> Iterator[str]:
    """Yields a file's text in blocks, and says in which line it stops being written in the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with open_bytes(path) as file:
        block = None
        while block != b"":
            try:
                block = file.read(_BLOCK_SIZE)
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                # A decode error's object begins with the bytes that the last block left over.
                place = ""
                if isinstance(error, UnicodeDecodeError):
                    line = lines + error.object[: error.start].count(b"\n")
                    place = f" (byte 0x{error.object[error.start]:02x} in line {line})"
                raise InputError(
                    f"The file {str(path)!r} is not written in {encoding}{place}. Save it as UTF-8, or name its "
                    "encoding with --file_encoding: gb18030 for Chinese, cp1252 for Western European text, or utf-16, "
                    "say."
                ) from None
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(
                    f"The file {str(path)!r} cannot be read: {error}. Copy or download it again."
                ) from error
            lines += text.count("\n")
            yield text


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


def iterate_lines(file: BinaryIO, encoding: str = "utf-8") -> Iterator[str]:
    r"""
    Yields the lines of an open file without their ends, and leaves the file open.

    Only a line feed ends a line, after a carriage return or not: other characters that Python takes for line ends,
    such as a carriage return alone or U+2028, occur within texts.

    Args:
        file (`BinaryIO`): The file.
        encoding (`str`, defaults to `"utf-8"`): How text is written in it.

    Raises:
        InputError: If `encoding` is unknown, once the first line is asked for.
    """
    lines = io.TextIOWrapper(file, encoding=encoding_to_read(encoding), newline="\n")
    try:
        for line in lines:
            yield line.removesuffix("\n").removesuffix("\r")
    finally:
        lines.detach()  # or else the file would be closed along with the wrapper


def open_bytes(path: Path) -> BinaryIO:
    """Opens a file for reading, unpacking it if its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]
