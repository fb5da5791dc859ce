"""Tokenizer and model of an encoder–decoder: new ones for the data, or pretrained ones that fit it."""

import logging
from collections.abc import Iterator
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ...data.checks import InputError
from ...data.pair_columns import SOURCE, TARGET
from ...data.tokenization import check_padding_token, choose_algorithm
from ...models.configuration_lstm import LstmSeq2SeqConfig
from ...models.modeling_lstm_seq2seq import LstmForConditionalGeneration
from ...models.tokenization_lstm import LstmSeq2SeqTokenizer, LstmTokenizer, find_target_tokenizer
from ..seq2seq_arguments import Seq2SeqDataArguments, Seq2SeqModelArguments
from .common import build_config
from .tokenizers import load_tokenizer, train_tokenizer

logger = logging.getLogger(__name__)

# What a new model takes where the user sets nothing; `LstmSeq2SeqConfig`'s defaults train without any dropout.
CONFIG_DEFAULTS: dict[str, Any] = {"input_dropout": 0.3, "output_dropout": 0.3}


def prepare_tokenizer(
    model_arguments: Seq2SeqModelArguments, arguments: Seq2SeqDataArguments, train: Dataset | None, source: str | None
) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of this run, of the user's choice or of the model, or else trains one on the texts."""
    name = source or model_arguments.tokenizer_name_or_path or model_arguments.model_name_or_path
    if name is not None:
        tokenizer = load_tokenizer(name, arguments.cache_dir, model_arguments.revision_of(name))
        if train is not None:
            _set_limits(tokenizer, arguments)
        return tokenizer
    if train is None:
        raise InputError("Without training, the tokenizer comes from a trained model: pass --model_name_or_path.")
    size = model_arguments.vocab_size
    if model_arguments.shared_vocabulary:
        columns = (SOURCE,) if arguments.task == "autoencode" else (SOURCE, TARGET)
        return _train_tokenizer(model_arguments, arguments, train, columns, size)
    return LstmSeq2SeqTokenizer.from_tokenizers(
        _train_tokenizer(model_arguments, arguments, train, (SOURCE,), size),
        _train_tokenizer(model_arguments, arguments, train, (TARGET,), model_arguments.target_vocab_size or size),
    )


def _set_limits(tokenizer: PreTrainedTokenizerBase, arguments: Seq2SeqDataArguments) -> None:
    """Makes a tokenizer cut texts to what the model is trained on."""
    target_tokenizer = find_target_tokenizer(tokenizer)
    tokenizer.model_max_length = arguments.max_source_length
    if target_tokenizer is tokenizer:
        tokenizer.model_max_length = max(arguments.max_source_length, arguments.max_target_length)
    else:
        target_tokenizer.model_max_length = arguments.max_target_length


def _train_tokenizer(
    model_arguments: Seq2SeqModelArguments,
    arguments: Seq2SeqDataArguments,
    train: Dataset,
    columns: tuple[str, ...],
    vocab_size: int,
) -> LstmTokenizer:
    side = "target_" if columns == (TARGET,) else ""
    algorithm = getattr(model_arguments, f"{side}tokenizer_algorithm")
    if algorithm == "auto":
        # Where one side alone is without spaces, its longer pieces are worth having.
        chosen = {choose_algorithm(train[column]) for column in columns}
        algorithm = "char" if chosen == {"char"} else "bpe"
    limits = {SOURCE: arguments.max_source_length, TARGET: arguments.max_target_length}
    tokenizer = train_tokenizer(
        _iterate_texts(train, columns, arguments.source_prefix),
        model_arguments,
        vocab_size=vocab_size,
        algorithm=algorithm,
        lowercase=model_arguments.lowercase,
        add_eos=True,
        model_max_length=max(limits[column] for column in columns),
        length=len(train) * len(columns),
    )
    logger.info("Trained a %s tokenizer for %s: %d tokens.", algorithm, " and ".join(columns), len(tokenizer))
    return tokenizer


def _iterate_texts(train: Dataset, columns: tuple[str, ...], source_prefix: str) -> Iterator[str]:
    for batch in train.select_columns(list(columns)).iter(1000):
        for column in columns:
            prefix = source_prefix if column == SOURCE else ""
            yield from (prefix + text for text in batch[column])


def prepare_model(
    model_arguments: Seq2SeqModelArguments,
    arguments: Seq2SeqDataArguments,
    tokenizer: PreTrainedTokenizerBase,
    trained_config: LstmSeq2SeqConfig | None,
) -> LstmForConditionalGeneration:
    """Builds a new model for the tokenizer, or loads the pretrained one, and sets how it generates."""
    check_padding_token(tokenizer)
    target_tokenizer = find_target_tokenizer(tokenizer)
    source_size, target_size = len(tokenizer), len(target_tokenizer)
    if trained_config is None:
        shared = model_arguments.shared_vocabulary and target_tokenizer is tokenizer
        model = _build_model(model_arguments, target_tokenizer, source_size, target_size, shared)
    else:
        model = _load_model(model_arguments, trained_config, source_size, target_size)
    if arguments.source_prefix:
        model.config.prefix = arguments.source_prefix  # where pipelines look for it
    arguments.set_generation(model.generation_config)
    model.generation_config._from_model_config = False  # it has settings of its own now
    return model


def _build_model(
    model_arguments: Seq2SeqModelArguments,
    tokenizer: PreTrainedTokenizerBase,
    source_size: int,
    target_size: int,
    shared: bool,
) -> LstmForConditionalGeneration:
    token_ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    for name, token_id in token_ids.items():
        if token_id is None:
            raise InputError(
                f"The target vocabulary has no {name.removesuffix('_id').replace('_', ' ')}, which the decoder needs. "
                "Train a tokenizer with this script, or name another with --tokenizer_name_or_path."
            )
    fields = {
        "vocab_size": target_size,
        "encoder_vocab_size": None if shared else source_size,
        "share_embeddings": shared,
        "decoder_start_token_id": token_ids["bos_token_id"],
    }
    values = CONFIG_DEFAULTS | model_arguments.config_values()
    return LstmForConditionalGeneration(build_config(LstmSeq2SeqConfig, fields | token_ids | values))


def _load_model(
    model_arguments: Seq2SeqModelArguments, config: LstmSeq2SeqConfig, source_size: int, target_size: int
) -> LstmForConditionalGeneration:
    name = model_arguments.model_name_or_path
    for side, size, known in (
        ("source", source_size, config.source_vocab_size),
        ("target", target_size, config.vocab_size),
    ):
        if size > known:
            raise InputError(
                f"The tokenizer has {size} {side} tokens, but the model {name!r} knows only {known}. Leave "
                "--tokenizer_name_or_path out to take the model's own."
            )
    model, info = LstmForConditionalGeneration.from_pretrained(
        name,
        config=config,
        revision=model_arguments.model_revision or "main",
        use_safetensors=True,  # the older format is a pickle
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    unfit = sorted([*(str(key[0]) for key in info["mismatched_keys"]), *map(str, info["missing_keys"])])
    if unfit:
        raise InputError(
            f"The weights of {name!r} do not fit the architecture asked for: {', '.join(unfit[:5])}. Leave out the "
            "flags that change it."
        )
    return model
