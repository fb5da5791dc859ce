"""Pairs of source and target texts: loading them in any form, and checking them."""

import logging
from pathlib import Path

import numpy as np
import pyarrow.compute as compute
from datasets import Dataset, Features, Value

from .cache import make_fingerprint
from .checks import InputError, listing
from .loading import load_file
from .pair_columns import SOURCE, TARGET, find_fields, read_fields
from .text_files import read_lines

logger = logging.getLogger(__name__)

# Files of any other ending hold a text in each line.
COLUMN_FILE_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


def load_pairs(
    data: str | Path | Dataset,
    split: str,
    target_file: str | Path | None = None,
    *,
    source_column: str | None = None,
    target_column: str | None = None,
    source_lang: str | None = None,
    target_lang: str | None = None,
    needs_target: bool = True,
    drop_empty: bool = False,
    encoding: str = "utf-8",
    cache_dir: str | None = None,
) -> Dataset:
    """
    Loads pairs of source and target texts.

    The columns are those named, else the languages of a column `translation` that holds a text for each, else columns
    called by the languages, else the first of `PAIR_COLUMN_NAMES` that exist, else the only two columns of text in
    their order. A missing value, also NaN, counts as an empty text, a number as its digits.

    Args:
        data (`str`, `Path` or `Dataset`):
            A file with columns (csv, tsv, json, jsonl, ndjson or parquet), a data set, or a file of any other ending
            that has a text in each line, such as `train.de` or `train.de.gz`.
        split (`str`): What the data is called in messages: `"train"`, `"validation"`, `"test"` or `"predict"`.
        target_file (`str` or `Path`, *optional*): The file with the target of each line, if `data` is one with lines.
        source_column (`str`, *optional*): Column of the sources.
        target_column (`str`, *optional*): Column of the targets.
        source_lang (`str`, *optional*): Language of the sources.
        target_lang (`str`, *optional*): Language of the targets.
        needs_target (`bool`, defaults to `True`): `False` for texts to predict, which may come without targets.
        drop_empty (`bool`, defaults to `False`): Whether pairs with an empty side are left out, as in training.
        encoding (`str`, defaults to `"utf-8"`): How text is written in the files.
        cache_dir (`str`, *optional*): Where `datasets` keeps converted files.

    Returns:
        `Dataset`: Columns `source` and `target`, the latter not if there are no targets.

    Raises:
        InputError: If a file, column or language cannot be used, the files differ in length, or all texts are empty.
    """
    if source_lang is not None and source_lang == target_lang:
        raise InputError(
            f"--source_lang and --target_lang are both {source_lang!r}, but must differ. To reproduce texts, pass "
            "--task autoencode to a program that has it, such as train_seq2seq.py."
        )
    if isinstance(data, Dataset):
        lines = None
    else:
        lines = _read_line_files(Path(data), target_file, split, needs_target, encoding)
    if lines is not None:
        origins = {SOURCE: f"file {str(data)!r}", TARGET: f"file {str(target_file)!r}"}
        return _check_empty(Dataset.from_dict(lines), split, origins, needs_target, drop_empty)
    if target_file is not None:
        raise InputError(
            f"--{split}_target_file goes with a file of the sources, one in each line, but {_name(data)} has columns. "
            f"Leave --{split}_target_file out, or pass text files."
        )
    dataset = data if isinstance(data, Dataset) else load_file(data, encoding, cache_dir)
    if len(dataset) == 0:
        raise InputError(f"The {split} data holds no rows. It must hold at least one.")
    fields = find_fields(dataset, split, (source_column, target_column), (source_lang, target_lang), needs_target)
    pairs = dataset.map(
        read_fields,
        batched=True,
        remove_columns=dataset.column_names,
        fn_kwargs={"fields": fields},
        features=Features({name: Value("string") for name in fields}),
        new_fingerprint=make_fingerprint(dataset, read_fields, fields),
        desc=f"Reading the {split} pairs",
    )
    origins = {name: str(field) for name, field in fields.items()}
    logger.info("The %s data: %s.", split, "; ".join(f"{name}s from {origin}" for name, origin in origins.items()))
    return _check_empty(pairs, split, origins, needs_target, drop_empty)


def autoencode_pairs(texts: Dataset) -> Dataset:
    """
    Makes pairs of which the target is the source itself.

    Args:
        texts (`Dataset`): Data with a column `source` or `text`; other columns are left out.
    """
    column = SOURCE if SOURCE in texts.column_names else "text"
    return texts.map(
        _repeat,
        batched=True,
        remove_columns=texts.column_names,
        fn_kwargs={"column": column},
        features=Features({SOURCE: Value("string"), TARGET: Value("string")}),
        desc="Pairing texts with themselves",
    )


def _read_line_files(
    source_file: Path, target_file: str | Path | None, split: str, needs_target: bool, encoding: str
) -> dict[str, list[str]] | None:
    """Reads files that have a text in each line; `None` if the ending of the first says that it has columns."""
    suffixes = [suffix.lower() for suffix in source_file.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in COLUMN_FILE_ENDINGS:
        return None
    sources = read_lines(source_file, encoding)
    if target_file is None:
        if needs_target:
            raise InputError(
                f"The file {str(source_file)!r} has a text in each line but no targets. Pass the targets, one in each "
                f"line, as --{split}_target_file, or a file that has columns: {', '.join(COLUMN_FILE_ENDINGS)}."
            )
        return {SOURCE: sources}
    targets = read_lines(target_file, encoding)
    if len(sources) != len(targets):
        raise InputError(
            f"The file {str(source_file)!r} has {len(sources)} lines but {str(target_file)!r} has {len(targets)}. A "
            "line of one belongs to the same line of the other, so that they must have as many; a blank line counts."
        )
    return {SOURCE: sources, TARGET: targets}


def _repeat(rows: dict[str, list[str]], column: str) -> dict[str, list[str]]:
    return {SOURCE: rows[column], TARGET: rows[column]}


def _check_empty(pairs: Dataset, split: str, origins: dict[str, str], needs_target: bool, drop_empty: bool) -> Dataset:
    """Counts pairs with an empty side: an error if there are no others, else one warning."""
    empty = {name: _is_empty(pairs, name) for name in pairs.column_names}
    if not needs_target and TARGET in empty and empty.pop(TARGET).all():
        pairs = pairs.remove_columns(TARGET)
    for name, mask in empty.items():
        if mask.all():
            raise InputError(
                f"All {len(mask)} {name}s of the {split} data ({origins[name]}) are empty. Give data with text, or "
                f"name another column with --{name}_column_name."
            )
    has_empty = np.logical_or.reduce(list(empty.values()))
    if has_empty.all():
        raise InputError(
            f"Each of the {len(pairs)} pairs of the {split} data has an empty source or target: {origins[SOURCE]} and "
            f"{origins[TARGET]}. Are they aligned?"
        )
    if not has_empty.any():
        return pairs
    rows = np.flatnonzero(has_empty)
    logger.warning(
        "%d of %d pairs of the %s data have an empty %s and are %s: rows %s.",
        len(rows),
        len(pairs),
        split,
        " or ".join(empty),
        "left out" if drop_empty else "kept",
        listing((rows + 1).tolist(), 5),
    )
    return pairs.select(np.flatnonzero(~has_empty)) if drop_empty else pairs


def _is_empty(pairs: Dataset, column: str) -> np.ndarray:
    lengths = compute.utf8_length(compute.utf8_trim_whitespace(pairs.data.column(column)))
    return np.asarray(lengths.to_numpy() == 0)


def _name(data: str | Path | Dataset) -> str:
    return "the data set" if isinstance(data, Dataset) else repr(str(data))
