"""Tokenising of pairs of texts, with a count of those that are cut."""

import logging
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .cache import map_tokenizer
from .checks import InputError, check_room
from .pair_columns import SOURCE, TARGET

logger = logging.getLogger(__name__)


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


def _check_end(tokenizer: PreTrainedTokenizerBase) -> None:
    empty = tokenizer(text_target="")["input_ids"]
    if not empty or empty[-1] not in tokenizer.all_special_ids:
        raise InputError(
            f"The tokenizer {tokenizer.name_or_path!r} puts no end token after a target, so that a model would never "
            "learn to stop. Train it with add_eos=True, or set tokenizer.add_eos_token = True."
        )


def _warn_about_cuts(tokenized: Dataset, limits: dict[str, int], split: str) -> None:
    parts = []
    for key, side in (("text", SOURCE), ("text_target", TARGET)):
        num_cut = int(np.sum(tokenized[f"is_cut_{side}"][:])) if key in limits else 0
        if num_cut:
            share = 100 * num_cut / len(tokenized)
            parts.append(f"{num_cut} {side}s ({share:.1f} %) to {limits[key]} tokens (raise --max_{side}_length)")
    if parts:
        logger.warning("Of %d pairs of the %s data were cut: %s.", len(tokenized), split, " and ".join(parts))
