"""From texts to token ids: the choice of a tokenizer's algorithm, its training texts, and tokenising a data set."""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .cache import map_tokenizer
from .checks import InputError, check_room
from .spaceless import SPACELESS_SCRIPTS

logger = logging.getLogger(__name__)

_NUM_SAMPLED_TEXTS = 2000
_LETTERS = re.compile(r"[^\W\d_]")


def iterate_texts(dataset: Dataset, batch_size: int = 1000) -> Iterator[str]:
    """Yields every text of a data set, and the second one of a pair after the first."""
    columns = [name for name in ("text", "text_pair") if name in dataset.column_names]
    for batch in dataset.select_columns(columns).iter(batch_size):
        for row in zip(*(batch[name] for name in columns), strict=True):
            yield from row


def check_padding_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises an `InputError` for a tokenizer that cannot pad."""
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"The tokenizer {tokenizer.name_or_path!r} has no padding token, which batches need. Add one with "
            "tokenizer.add_special_tokens({'pad_token': '<pad>'})."
        )


def choose_algorithm(texts: Sequence[str]) -> str:
    """
    Chooses how a tokenizer, or the linear baseline, should cut these texts.

    Args:
        texts (`Sequence[str]`): The texts, of which some are looked at, evenly spread.

    Returns:
        `str`: `"char"` if at least three tenths of the letters are of scripts without spaces, else `"word"`.
    """
    rows = np.linspace(0, len(texts) - 1, min(_NUM_SAMPLED_TEXTS, len(texts))).astype(int)
    sample = "\n".join(texts[int(row)][:1000] for row in rows)
    letters = len(_LETTERS.findall(sample))
    return "char" if letters and len(SPACELESS_SCRIPTS.findall(sample)) >= 0.3 * letters else "word"


def tokenize(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    split: str,
    num_workers: int | None = None,
    overwrite_cache: bool = False,
) -> Dataset:
    """
    Tokenises the texts of a data set, cuts those that are too long, and logs how many were.

    Args:
        dataset (`Dataset`): Data with a column `text`, and `text_pair` for pairs; other columns are kept.
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer.
        max_length (`int`): Tokens that are kept of a text, or of a pair together.
        split (`str`): What the data is called in messages.
        num_workers (`int`, *optional*): Processes to tokenise with.
        overwrite_cache (`bool`, defaults to `False`): Whether to ignore what was tokenised before.

    Returns:
        `Dataset`: A column `input_ids` in place of the texts. A collator makes the attention mask.

    Raises:
        InputError: If the limit leaves no room for a token.
    """
    columns = [name for name in ("text", "text_pair") if name in dataset.column_names]
    check_room("max_length", max_length, tokenizer.num_special_tokens_to_add(pair="text_pair" in columns))
    tokenized = map_tokenizer(
        dataset,
        encode_texts,
        tokenizer,
        {"max_length": max_length},
        remove_columns=columns,
        num_workers=num_workers,
        overwrite_cache=overwrite_cache,
        description=f"Tokenising the {split} texts",
    )
    num_cut = int(np.sum(tokenized["is_cut"][:]))
    if num_cut:
        share = 100 * num_cut / len(tokenized)
        logger.warning(
            "%d of %d texts of the %s data (%.1f %%) were cut to %d tokens; raise --max_length to read more.",
            num_cut,
            len(tokenized),
            split,
            share,
            max_length,
        )
    return tokenized.remove_columns("is_cut")


def encode_texts(
    rows: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list[Any]]:
    """Tokenises the columns `text` and `text_pair`, and tells in `is_cut` which texts were too long."""
    encoded = tokenizer(rows["text"], rows.get("text_pair"), truncation=True, max_length=max_length)
    return {
        "input_ids": encoded["input_ids"],
        "is_cut": [bool(encoding.overflowing) for encoding in encoded.encodings],
    }
