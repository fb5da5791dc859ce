"""Reading of files, also gzipped ones: whether they can be opened, how text is encoded, and where its lines end."""

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .checks import InputError, nearest_name

_BLOCK_SIZE = 1 << 20


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
            f"`file_encoding` is {encoding!r}, which Python does not know. Try 'utf-8' or 'gb18030'."
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
        blank = blank and not text.strip("\ufeff").strip()
    if blank:
        raise InputError(f"The file {str(path)!r} is empty. It must hold at least one row.")


def _decode(path: Path, encoding: str) -> Iterator[str]:
    """Yields a file's text in blocks, and says in which line it stops being written in the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with open_bytes(path) as file:
        block = None
        while block != b"":
            before = decoder.getstate()
            try:
                block = file.read(_BLOCK_SIZE)
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                # A decode error's object begins with the bytes that the last block left over.
                place = ""
                if isinstance(error, UnicodeDecodeError):
                    decoder.setstate(before)  # for bytes alone do not tell line feeds in UTF-16
                    line = lines + decoder.decode(error.object[len(before[0]) : error.start]).count("\n")
                    place = f" (byte 0x{error.object[error.start]:02x} in line {line})"
                raise InputError(
                    f"The file {str(path)!r} is not written in {encoding}{place}. Save it as UTF-8, or name its "
                    "encoding with --file_encoding, such as gb18030 (Chinese), cp1252 (Western European) or utf-16."
                ) from None
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(
                    f"The file {str(path)!r} cannot be read: {error}. Copy or download it again."
                ) from error
            lines += text.count("\n")
            yield text


def read_lines(path: str | Path, encoding: str = "utf-8") -> list[str]:
    """
    Reads the lines of a text file, also a gzipped one; blank ones are kept, so that files stay aligned.

    They end as `iterate_lines` says.

    Raises:
        InputError: If the file is missing, blank or wrongly encoded.
    """
    path = check_readable_file(path)
    check_text_encoding(path, encoding)
    with open_bytes(path) as file:
        return list(iterate_lines(file, encoding))


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


def digest_file(path: Path) -> str:
    """Returns the md5 hash of a file as it is on the disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
