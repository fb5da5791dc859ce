"""The cache of tokenised data: Arrow files, mapped into memory, which a later run with the same content finds."""

import json
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset
from datasets.fingerprint import Hasher
from transformers import PreTrainedTokenizerBase

FOLDER = "hf_lstm-tokenized"


def map_tokenizer(
    dataset: Dataset,
    encode: Callable[..., dict[str, list[Any]]],
    tokenizer: PreTrainedTokenizerBase,
    options: dict[str, Any],
    *,
    remove_columns: Sequence[str],
    num_workers: int | None = None,
    overwrite_cache: bool = False,
    description: str | None = None,
) -> Dataset:
    """
    Applies a function with a tokenizer to a data set, unless a file of the cache holds the result.

    The key is made of the data, the function, the options, what the tokenizer does, and the versions of the packages;
    not of where the tokenizer was loaded from, nor of the number of processes. Data in memory is cached, too, in a
    folder of its own.

    Args:
        dataset (`Dataset`): The data.
        encode (`Callable`): Makes columns of the columns of a batch; takes `tokenizer` and the options.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer.
        options (`dict[str, Any]`): Further arguments of `encode`.
        remove_columns (`Sequence[str]`): Columns to leave out of the result.
        num_workers (`int`, *optional*): Processes to work with.
        overwrite_cache (`bool`, defaults to `False`): Whether to ignore what is in the cache.
        description (`str`, *optional*): What the progress bar says.

    Returns:
        `Dataset`: The result, read from its file as it is needed.
    """
    removed = list(remove_columns)
    key = make_fingerprint(dataset, encode, describe_tokenizer(tokenizer), options, removed)
    file = None
    if not dataset.cache_files and datasets.is_caching_enabled():
        folder = Path(datasets.config.HF_DATASETS_CACHE) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        file = str(folder / f"{key}.arrow")
    return dataset.map(
        encode,
        batched=True,
        remove_columns=removed,
        fn_kwargs={"tokenizer": tokenizer} | options,
        num_proc=num_workers,
        load_from_cache_file=not overwrite_cache,
        cache_file_name=file,
        new_fingerprint=key,
        desc=description,
    )


def make_fingerprint(dataset: Dataset, function: Callable[..., Any], *arguments: Any) -> str:
    """Returns the key of what a function makes of data; functions are told apart by their names and the versions."""
    versions = [_version(name) for name in ("hf_lstm", "transformers", "tokenizers", "datasets")]
    return Hasher.hash([dataset._fingerprint, function, versions, *arguments])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # of this package, where it is not installed but lies on the path
        return None


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Any:
    """
    Returns what a tokenizer does, as equal values for equal tokenizers.

    How it last cut and padded texts, which it remembers, is not part of it.
    """
    parts = [getattr(tokenizer, f"{side}_tokenizer", tokenizer) for side in ("source", "target")]
    if not all(hasattr(part, "backend_tokenizer") for part in parts):
        return tokenizer
    settings = [
        json.loads(part.backend_tokenizer.to_str())
        | {"truncation": part.truncation_side, "padding": None, "split_special_tokens": part.split_special_tokens}
        for part in parts
    ]
    return type(tokenizer).__name__, json.dumps(settings, sort_keys=True)
