"""Tokenizer and model of a text classification: new ones for the data, or pretrained ones that fit it."""

import logging
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...data.checks import InputError, listing
from ...data.labels import REGRESSION, SINGLE_LABEL, LabelScheme
from ...data.tokenization import check_padding_token, choose_algorithm, iterate_texts
from ...models.configuration_lstm import LstmConfig
from ...models.modeling_lstm import LstmForSequenceClassification
from ..arguments import DataArguments, ModelArguments
from .classification_data import LABELS, ClassificationData
from .common import build_config
from .tokenizers import load_tokenizer, train_tokenizer

logger = logging.getLogger(__name__)

# What a new classifier takes where the user sets nothing; `LstmConfig`'s defaults serve every kind of model.
CONFIG_DEFAULTS: dict[str, Any] = {
    "embedding_size": 128,
    "hidden_size": 256,
    "bidirectional": True,
    "classifier_pooling": "max",
    "input_dropout": 0.5,
    "classifier_dropout": 0.5,
    "classifier_ngram_orders": [1, 2, 3],
    "classifier_ngram_dropout": 0.3,
}
# What is made new in a pretrained model for other labels, and what else may be added before it is trained on.
_HEADS = ("classifier.", "ngram_classifier.", "pooler.")
_ADDED = (*_HEADS, "model.embed_ngrams.")


def trained_scheme(config: LstmConfig | None) -> LabelScheme | None:
    """Returns the labels that a pretrained classifier knows, `None` if it is no classifier yet."""
    if config is None or "LstmForSequenceClassification" not in (config.architectures or ()):
        return None
    if config.problem_type == REGRESSION:
        return LabelScheme(REGRESSION)
    names = tuple(config.id2label[number] for number in sorted(config.id2label))
    return LabelScheme(config.problem_type or SINGLE_LABEL, names)


def prepare_tokenizer(
    model_arguments: ModelArguments, data_arguments: DataArguments, data: ClassificationData, source: str | None
) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of this run, of the user's choice or of the model, or else trains one on the texts."""
    name = source or model_arguments.tokenizer_name_or_path or model_arguments.model_name_or_path
    if name is not None:
        tokenizer = load_tokenizer(name, data_arguments.cache_dir, model_arguments.revision_of(name))
        if data.train is not None:
            tokenizer.model_max_length = data_arguments.max_length  # to which the texts are cut from now on
        return tokenizer
    assert data.train is not None  # without training there is a pretrained model, which has a tokenizer
    algorithm: str = model_arguments.tokenizer_algorithm
    if algorithm == "auto":
        algorithm = choose_algorithm(data.train["text"])
    tokenizer = train_tokenizer(
        iterate_texts(data.train),
        model_arguments,
        vocab_size=model_arguments.vocab_size,
        algorithm=algorithm,
        lowercase=model_arguments.lowercase,
        add_bos=model_arguments.add_bos,
        add_eos=model_arguments.add_eos,
        model_max_length=data_arguments.max_length,
        length=len(data.train) * sum(name != LABELS for name in data.train.column_names),
    )
    logger.info("Trained a %s tokenizer: %d tokens.", algorithm, len(tokenizer))
    return tokenizer


def prepare_model(
    model_arguments: ModelArguments,
    tokenizer: PreTrainedTokenizerBase,
    scheme: LabelScheme,
    trained_config: LstmConfig | None,
    do_train: bool = True,
) -> LstmForSequenceClassification:
    """
    Builds a new model for the tokenizer and the labels, or loads the pretrained one with a head for the labels.

    Raises:
        InputError: If the pretrained weights lack some that the model needs. To train, heads and n-gram embeddings
            may be new; without training, nothing may.
    """
    check_padding_token(tokenizer)
    maps = scheme.label_maps() or {"num_labels": scheme.num_labels}
    labels = {"problem_type": scheme.problem_type, **maps}
    if trained_config is not None:
        return _load_model(model_arguments, tokenizer, trained_config, labels, do_train)
    token_ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    values = CONFIG_DEFAULTS | model_arguments.config_values()
    config = build_config(LstmConfig, {"vocab_size": len(tokenizer)} | token_ids | values | labels)
    return LstmForSequenceClassification(config)


def _load_model(
    model_arguments: ModelArguments,
    tokenizer: PreTrainedTokenizerBase,
    config: LstmConfig,
    labels: dict[str, Any],
    do_train: bool,
) -> LstmForSequenceClassification:
    name = model_arguments.model_name_or_path
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"The tokenizer has {len(tokenizer)} tokens, but the model {name!r} knows only {config.vocab_size}. Leave "
            "--tokenizer_name_or_path out to take the model's own."
        )
    for key, value in labels.items():
        setattr(config, key, value)
    model, info = LstmForSequenceClassification.from_pretrained(
        name,
        config=config,
        revision=model_arguments.model_revision or "main",
        use_safetensors=True,  # the older format is a pickle
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    replaced, added = (_HEADS, _ADDED) if do_train else ((), ())
    unfit = sorted(str(key[0]) for key in info["mismatched_keys"] if not str(key[0]).startswith(replaced))
    if unfit:
        raise InputError(
            f"The weights of {name!r} do not fit the sizes asked for: {', '.join(unfit[:5])}. Leave out the flags "
            "that change its sizes."
        )
    missing = sorted(str(key) for key in info["missing_keys"] if not str(key).startswith(added))
    if missing:
        raise InputError(
            f"The weights of {name!r} are not whole: {listing(missing, 5)} is missing. Leave out the flags that "
            "change the architecture, or save the model again."
        )
    return model
