"""Pairs of source and target texts: loading them in any form, checking them, and tokenising them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as compute
from datasets import Dataset, Features, Translation, Value
from transformers import PreTrainedTokenizerBase

from .cache import make_fingerprint, map_tokenizer
from .checks import InputError, check_room, listing, nearest_name
from .columns import check_text_column, find_column, write_value
from .loading import load_file
from .text_files import read_lines

logger = logging.getLogger(__name__)

SOURCE, TARGET, TRANSLATION = "source", "target", "translation"
# Looked for in this order.
PAIR_COLUMN_NAMES = (
    ("source", "target"),
    ("src", "tgt"),
    ("input", "output"),
    ("input_text", "target_text"),
    ("document", "summary"),
    ("article", "highlights"),
    ("article", "summary"),
    ("dialogue", "summary"),
    ("text", "summary"),
    ("text", "headline"),
    ("text", "title"),
    ("text", "target"),
    ("text", "label_text"),
    ("content", "title"),
    ("email_body", "subject_line"),
    ("question", "answer"),
)
# Files of any other ending hold a text in each line.
COLUMN_FILE_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class PairField:
    """Where one side of the pairs stands: in a column, or under a language of the column `translation`."""

    column: str
    language: str | None = None

    def __str__(self) -> str:
        return f"column {self.column!r}" + (f", language {self.language!r}" if self.language else "")


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


def tokenize_pairs(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_source_length: int,
    max_target_length: int,
    split: str,
    source_prefix: str = "",
    num_workers: int | None = None,
    overwrite_cache: bool = False,
) -> Dataset:
    """
    Tokenises pairs, cuts texts that are too long, and logs how many were. The end token stays when a text is cut.

    Args:
        dataset (`Dataset`): Data with a column `source` and, unless it is to be predicted, `target`.
        tokenizer (`PreTrainedTokenizerBase`): Tokenises the targets as its `text_target`.
        max_source_length (`int`): Tokens that are kept of a source, special ones included.
        max_target_length (`int`): Tokens that are kept of a target, special ones included.
        split (`str`): What the data is called in messages.
        source_prefix (`str`, *optional*): Put before every source.
        num_workers (`int`, *optional*): Processes to tokenise with.
        overwrite_cache (`bool`, defaults to `False`): Whether to ignore what was tokenised before.

    Returns:
        `Dataset`: Columns `input_ids` and, if there are targets, `labels` in place of the texts; others are kept.

    Raises:
        InputError: If a limit leaves no room for a token, or the tokenizer ends no target.
    """
    limits = {"text": max_source_length}
    if TARGET in dataset.column_names:
        limits["text_target"] = max_target_length
        _check_end(tokenizer)
    for key, flag in (("text", "max_source_length"), ("text_target", "max_target_length")):
        if key in limits:
            check_room(flag, limits[key], len(tokenizer(**{key: ""})["input_ids"]))
    tokenized = map_tokenizer(
        dataset,
        encode_pairs,
        tokenizer,
        {"limits": limits, "source_prefix": source_prefix},
        remove_columns=[name for name in (SOURCE, TARGET) if name in dataset.column_names],
        num_workers=num_workers,
        overwrite_cache=overwrite_cache,
        description=f"Tokenising the {split} pairs",
    )
    _warn_about_cuts(tokenized, limits, split)
    return tokenized.remove_columns([name for name in tokenized.column_names if name.startswith("is_cut_")])


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


def find_fields(
    dataset: Dataset,
    split: str,
    columns: tuple[str | None, str | None],
    languages: tuple[str | None, str | None],
    needs_target: bool,
) -> dict[str, PairField]:
    """Finds the source and, if there is one, the target."""
    if not needs_target and columns[1] not in dataset.column_names:
        columns = (columns[0], None)
    names = dataset.column_names
    if columns != (None, None):
        found = _named_columns(dataset, split, columns, needs_target)
    elif TRANSLATION in names and not isinstance(dataset.features[TRANSLATION], Value):
        return _translation_fields(dataset, split, languages, needs_target)
    elif languages[0] in names or languages[1] in names:
        found = _language_columns(dataset, split, languages, needs_target)
    else:
        found = _usual_columns(dataset, split, needs_target)
    if found[0] == found[1]:
        raise InputError(
            f"The column {found[0]!r} of the {split} data is both source and target, which must differ. To reproduce "
            "texts, pass --task autoencode to a program that has it, such as train_seq2seq.py."
        )
    fields = {side: PairField(name) for side, name in zip((SOURCE, TARGET), found, strict=True) if name is not None}
    for side, field in fields.items():
        check_text_column(dataset, field.column, f"{side}_column_name", split)
    return fields


def _named_columns(
    dataset: Dataset, split: str, columns: tuple[str | None, str | None], needs_target: bool
) -> tuple[str | None, str | None]:
    """Takes the columns that the user named; of one alone, the partner by its usual name or as the only other text."""
    for name, side in zip(columns, (SOURCE, TARGET), strict=True):
        if name is not None:
            find_column(dataset, name, (), f"{side}_column_name", split)
    if None not in columns:
        return columns
    missing = columns.index(None)
    given = columns[1 - missing]
    names = dataset.column_names
    usual = [pair[missing] for pair in PAIR_COLUMN_NAMES if pair[1 - missing] == given and pair[missing] in names]
    others = [name for name in _text_columns(dataset) if name != given]
    partner = usual[0] if usual else others[0] if len(others) == 1 else None
    if partner is None and (missing == 0 or needs_target):
        flag = f"{(SOURCE, TARGET)[missing]}_column_name"
        raise InputError(
            f"It is not clear which column of the {split} data goes with {given!r}: there are {listing(names)}. "
            f"Name it with --{flag}."
        )
    return (partner, given) if missing == 0 else (given, partner)


def _language_columns(
    dataset: Dataset, split: str, languages: tuple[str | None, str | None], needs_target: bool
) -> tuple[str | None, str | None]:
    """Takes the columns that are called by the languages; one alone would leave the direction to chance."""
    if not needs_target and languages[1] not in dataset.column_names:
        return languages[0], None
    for language, side in zip(languages, (SOURCE, TARGET), strict=True):
        if language is None:
            raise InputError(
                f"The {split} data has columns called by a language, so say which one is the {side} with "
                f"--{side}_lang."
            )
        find_column(dataset, language, (), f"{side}_lang", split)
    return languages


def _usual_columns(dataset: Dataset, split: str, needs_target: bool) -> tuple[str, str | None]:
    names, texts = dataset.column_names, _text_columns(dataset)
    for source, target in PAIR_COLUMN_NAMES:
        if source in names and target in names:
            return source, target
    if not needs_target:
        for source, _ in PAIR_COLUMN_NAMES:
            if source in names:
                return source, None
        if len(texts) == 1:
            return texts[0], None
    if len(texts) == 2:
        return texts[0], texts[1]
    raise InputError(
        f"It is not clear which columns of the {split} data hold sources and targets: there are {listing(names)}. "
        "Name them with --source_column_name and --target_column_name."
    )


def _translation_fields(
    dataset: Dataset, split: str, languages: tuple[str | None, str | None], needs_target: bool
) -> dict[str, PairField]:
    known = _languages(dataset, split)
    fields = {}
    for side, language in zip((SOURCE, TARGET), languages, strict=True):
        if side == TARGET and not needs_target and language not in known:
            continue
        if language is None:
            raise InputError(
                f"The column {TRANSLATION!r} of the {split} data holds {listing(known)}. Say which one is the {side} "
                f"with --{side}_lang."
            )
        if language not in known:
            raise InputError(
                f"The column {TRANSLATION!r} of the {split} data has no language {language!r}, only {listing(known)}."
                f"{nearest_name(language, known)} Name the right one with --{side}_lang."
            )
        fields[side] = PairField(TRANSLATION, language)
    return fields


def _languages(dataset: Dataset, split: str) -> list[str]:
    """Lists the languages of the column `translation`; json files whose rows differ in them have no type for it."""
    feature = dataset.features[TRANSLATION]
    if isinstance(feature, dict):
        return list(feature)
    if isinstance(feature, Translation):
        return list(feature.languages)
    found: dict[str, None] = {}
    for batch in dataset.select_columns([TRANSLATION]).iter(1000):
        for value in batch[TRANSLATION]:
            if value is not None and not isinstance(value, dict):
                raise InputError(
                    f"The column {TRANSLATION!r} of the {split} data holds {value!r}, but must hold a text for each "
                    "language, such as {'de': 'Hallo', 'en': 'Hello'}. Or name other columns with "
                    "--source_column_name and --target_column_name."
                )
            found |= dict.fromkeys(value or ())
    return list(found)


def _text_columns(dataset: Dataset) -> list[str]:
    return [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]


def read_fields(rows: dict[str, list[Any]], fields: dict[str, PairField]) -> dict[str, list[str]]:
    """Reads sources and targets, as `find_fields` found them, from columns of rows."""
    texts = {}
    for side, field in fields.items():
        values = rows[field.column]
        if field.language is not None:
            values = [(value or {}).get(field.language) for value in values]
        wrong = next((value for value in values if isinstance(value, (dict, list, bytes))), None)
        if wrong is not None:
            raise InputError(f"The {side} in {field} is {wrong!r}, but must be a text.")
        texts[side] = [write_value(value) for value in values]
    return texts


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


def _check_end(tokenizer: PreTrainedTokenizerBase) -> None:
    empty = tokenizer(text_target="")["input_ids"]
    if not empty or empty[-1] not in tokenizer.all_special_ids:
        raise InputError(
            f"The tokenizer {tokenizer.name_or_path!r} puts no end token after a target, so that a model would never "
            "learn to stop. Train it with add_eos=True, or set tokenizer.add_eos_token = True."
        )


def encode_pairs(
    rows: dict[str, list[str]], tokenizer: PreTrainedTokenizerBase, limits: dict[str, int], source_prefix: str
) -> dict[str, list[Any]]:
    """Tokenises the columns `source` and `target`, and tells in `is_cut_*` which texts were too long."""
    texts = {"text": [source_prefix + text for text in rows[SOURCE]], "text_target": rows.get(TARGET)}
    names = {"text": ("input_ids", "is_cut_source"), "text_target": ("labels", "is_cut_target")}
    columns: dict[str, list[Any]] = {}
    for key, limit in limits.items():
        ids_name, cut_name = names[key]
        columns[ids_name], columns[cut_name] = _encode(tokenizer, key, texts[key] or [], limit)
    return columns


def _encode(
    tokenizer: PreTrainedTokenizerBase, key: str, texts: list[str], limit: int
) -> tuple[list[list[int]], list[bool]]:
    """Tokenises texts whole, and those that are too long once more, with the tokenizer's own way to cut."""
    if not texts:  # of which transformers cannot make a batch
        return [], []
    ids = tokenizer(**{key: texts}, truncation=False, verbose=False)["input_ids"]
    is_cut = [len(row) > limit for row in ids]
    if any(is_cut):
        long = [text for text, cut in zip(texts, is_cut, strict=True) if cut]
        shortened = iter(tokenizer(**{key: long}, truncation=True, max_length=limit)["input_ids"])
        ids = [next(shortened) if cut else row for row, cut in zip(ids, is_cut, strict=True)]
    return ids, is_cut


def _warn_about_cuts(tokenized: Dataset, limits: dict[str, int], split: str) -> None:
    parts = []
    for key, side in (("text", SOURCE), ("text_target", TARGET)):
        num_cut = int(np.sum(tokenized[f"is_cut_{side}"][:])) if key in limits else 0
        if num_cut:
            share = 100 * num_cut / len(tokenized)
            parts.append(f"{num_cut} {side}s ({share:.1f} %) to {limits[key]} tokens (raise --max_{side}_length)")
    if parts:
        logger.warning("Of %d pairs of the %s data were cut: %s.", len(tokenized), split, " and ".join(parts))


def _name(data: str | Path | Dataset) -> str:
    return "the data set" if isinstance(data, Dataset) else repr(str(data))
