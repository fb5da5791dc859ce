"""The tokenizer of a training: loaded, or trained on the training texts, and shared with all processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ...data.checks import InputError, describe_error
from ...models.tokenization_lstm import LstmTokenizer
from ..processes import from_main_process


class TokenizerArguments(Protocol):
    """What every program's arguments say about a new tokenizer."""

    min_frequency: int
    normalization: Literal["nfkc", "none"]


def load_tokenizer(name: str, cache_dir: str | None, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Loads a tokenizer from a folder or the Hub; what goes wrong is an `InputError`."""
    try:
        options = {"revision": revision or "main", "cache_dir": cache_dir}
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except Exception as error:  # a damaged file may fail anywhere in the libraries below
        raise InputError(
            f"No tokenizer can be loaded from {name!r}: {describe_error(error)} Name another with "
            "--tokenizer_name_or_path."
        ) from error


def train_tokenizer(texts: Any, arguments: TokenizerArguments, **options: Any) -> LstmTokenizer:
    """Trains a tokenizer as the arguments say; `options` are further ones of `LstmTokenizer.train_from_iterator`."""
    try:
        return LstmTokenizer.train_from_iterator(
            texts,
            min_frequency=arguments.min_frequency,
            normalization=None if arguments.normalization == "none" else arguments.normalization,
            **options,
        )
    except ValueError as error:
        raise InputError(f"No tokenizer can be trained on the training texts. {error}") from error


def share_tokenizer(prepare: Callable[[], PreTrainedTokenizerBase], output_dir: Path) -> PreTrainedTokenizerBase:
    """Prepares the tokenizer in the main process, which saves it, and hands it to all the others."""

    def prepare_and_save() -> PreTrainedTokenizerBase:
        tokenizer = prepare()
        tokenizer.save_pretrained(output_dir)
        return tokenizer

    return from_main_process(prepare_and_save)
