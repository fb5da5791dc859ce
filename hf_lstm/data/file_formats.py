"""Formats of data files, which their endings say, and what the readers of these raise."""

from pathlib import Path

from .checks import InputError
from .text_files import check_text_encoding

# The loader of `datasets` for each ending.
LOADERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".txt": "text",
}


def format_suffix(path: Path) -> str:
    """
    Returns the ending of a file's name that says its format, without that of a packed file, in lower case.

    Raises:
        InputError: If it is none of `LOADERS`.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in LOADERS:
        raise InputError(
            f"The file {str(path)!r} has no ending that says its format. Valid are {', '.join(LOADERS)}, also with "
            ".gz."
        )
    return suffix


def reading_error(path: str | Path, encoding: str | None, cause: BaseException) -> InputError:
    """
    Words what a reader of `datasets` raised.

    Args:
        path (`str` or `Path`): The file.
        encoding (`str`, *optional*): How its text is written; given where that was not checked before.
        cause (`BaseException`): What was raised.

    Raises:
        InputError: If the file is text, but wrongly encoded.
    """
    suffix = format_suffix(Path(path))
    if encoding is not None:
        check_text_encoding(path, encoding)
    hint = ". Quote cells that hold the separator or a line break, and double quotes in a cell." * (
        LOADERS[suffix] == "csv"
    )
    return InputError(f"The file {str(path)!r} cannot be read as {suffix[1:]}: {cause}{hint}")
