"""Splits of a data set: picking one by its name, and splitting validation data off the training data."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from .checks import InputError, listing, nearest_name

logger = logging.getLogger(__name__)


def select_split(splits: Mapping[str, Any], wanted: str | None, default: str) -> Any:
    """
    Picks a split by name; the default name may be missing, a name given by the user may not.

    Args:
        splits (`DatasetDict` or `IterableDatasetDict`): What the data set has.
        wanted (`str`, *optional*): The user's name for this split.
        default (`str`): The name to look for otherwise.

    Raises:
        InputError: If `wanted` is missing, naming the nearest.
    """
    if wanted is not None and wanted not in splits:
        raise InputError(
            f"The data set has no split {wanted!r}, only {listing(list(splits))}.{nearest_name(wanted, splits)}"
        )
    return splits.get(wanted or default)


def split_off_validation(
    dataset: Dataset,
    percentage: float,
    method: str = "random",
    seed: int = 42,
    hashed_columns: Sequence[str] = ("text",),
    strata: Sequence[Any] | None = None,
) -> tuple[Dataset, Dataset]:
    """
    Splits a validation part off the training data.

    Args:
        dataset (`Dataset`): The training data.
        percentage (`float`): Share of the rows that become validation data, between 0 and 100.
        method (`str`, defaults to `"random"`): `"random"` draws rows by `seed`, the same share of each stratum;
            `"md5"` takes each row whose text's md5 hash is in the lowest `percentage`, so that equal texts share a
            side and the split survives a change of the rows' order.
        seed (`int`, defaults to 42): Seed of the random split.
        hashed_columns (`Sequence[str]`): Columns whose text is hashed, joined by a tab.
        strata (`Sequence`, *optional*): A class for each row, for the random split.

    Returns:
        `tuple[Dataset, Dataset]`: Training and validation data, both in their original order.

    Raises:
        InputError: If the percentage or the method is not valid, or one side would have no rows.
    """
    if not 0 < percentage < 100:
        raise InputError(f"`validation_split_percentage` is {percentage}, but must be above 0 and below 100. Try 10.")
    if method == "md5":
        in_validation = _md5_mask(dataset, percentage, hashed_columns)
    elif method == "random":
        in_validation = _random_mask(len(dataset), percentage, seed, strata)
    else:
        raise InputError(f"`validation_split_method` is {method!r}, but must be 'random' or 'md5'.")
    if in_validation.all() or not in_validation.any():
        raise InputError(
            f"{percentage} % of {len(dataset)} rows leaves no row for training or none for validation. Give more data "
            "or a --validation_file."
        )
    logger.info("%d of %d rows become validation data (%s).", in_validation.sum(), len(dataset), method)
    return dataset.select(np.flatnonzero(~in_validation)), dataset.select(np.flatnonzero(in_validation))


def _md5_mask(dataset: Dataset, percentage: float, columns: Sequence[str]) -> np.ndarray:
    bound = int(percentage / 100 * 2**32)
    rows = zip(*(dataset[column][:] for column in columns), strict=True)
    digests = (hashlib.md5("\t".join(row).encode(), usedforsecurity=False).digest() for row in rows)
    return np.fromiter((int.from_bytes(digest[:4], "big") < bound for digest in digests), bool, len(dataset))


def _random_mask(num_rows: int, percentage: float, seed: int, strata: Sequence[Any] | None) -> np.ndarray:
    """Marks the first rows of a random order of each stratum, with a share that adds up over the strata."""
    order = np.random.default_rng(seed).permutation(num_rows)
    if strata is not None:
        codes = np.unique(np.asarray(strata, dtype=str), return_inverse=True)[1]
        order = order[np.argsort(codes[order], kind="stable")]
    mask = np.zeros(num_rows, dtype=bool)
    steps = np.floor(np.arange(1, num_rows + 1) * percentage / 100)
    mask[order[np.diff(steps, prepend=0) > 0]] = True
    return mask
