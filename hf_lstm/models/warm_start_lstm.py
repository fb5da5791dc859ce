"""Starting an encoder–decoder from a saved encoder and a saved language model."""

from pathlib import Path
from typing import Any

from torch import nn

from .configuration_lstm import LstmConfig
from .modeling_lstm import LstmPreTrainedModel

_SHARED_FIELDS = (
    "residual_connections",
    "layer_norm",
    "layer_norm_eps",
    "embedding_dropout",
    "input_dropout",
    "hidden_dropout",
    "weight_dropout",
    "output_dropout",
    "initializer_range",
    "forget_gate_bias",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
_WEIGHT_FIELDS = ("residual_connections", "layer_norm", "pad_token_id")


def load_start(start: Any, kind: type[LstmPreTrainedModel], name: str) -> Any:
    """Loads what a model starts from, unless it is there already."""
    if isinstance(start, (str, Path)):
        return kind.from_pretrained(start)
    if start is not None and not isinstance(start, kind):
        raise ValueError(
            f"`{name}` is of class {type(start).__name__}, but must be of {kind.__name__}. Save it with "
            "`save_pretrained` and give the folder."
        )
    return start


def merge_configs(encoder: LstmConfig | None, decoder: LstmConfig | None) -> dict[str, Any]:
    """Returns the fields of `LstmSeq2SeqConfig` that an encoder's and a language model's configuration determine."""
    fields: dict[str, Any] = {"share_embeddings": False}
    for side, config in (("encoder", encoder), ("decoder", decoder)):
        if config is None:
            continue
        if config.ngram_orders or config.last_hidden_size not in (None, config.hidden_size):
            raise ValueError(
                f"The {side} has `ngram_orders` {config.ngram_orders} and `last_hidden_size` "
                f"{config.last_hidden_size}, but an encoder–decoder has neither: train it with [] and None."
            )
        cutoffs = config.adaptive_softmax_cutoffs if side == "decoder" else []
        if config.embedding_rank is not None or cutoffs:
            raise ValueError(
                f"The {side} has `embedding_rank` {config.embedding_rank} and `adaptive_softmax_cutoffs` {cutoffs}, "
                "but an encoder–decoder has neither: train it with None and []."
            )
        fields |= {name: getattr(config, name) for name in _SHARED_FIELDS}
        fields |= {
            f"{side}_embedding_size": config.embedding_size,
            f"{side}_hidden_size": config.hidden_size,
            f"{side}_layers": config.num_hidden_layers,
        }
    if encoder is not None:
        fields |= {"encoder_vocab_size": encoder.vocab_size, "encoder_bidirectional": encoder.bidirectional}
    if decoder is None:
        assert encoder is not None
        return fields | {"vocab_size": encoder.vocab_size, "encoder_vocab_size": None}
    fields |= {"vocab_size": decoder.vocab_size, "tie_word_embeddings": decoder.tie_word_embeddings}
    if encoder is None:
        return fields
    different = [name for name in _WEIGHT_FIELDS if getattr(encoder, name) != getattr(decoder, name)]
    if different:
        values = "; ".join(f"`{name}` {getattr(encoder, name)} and {getattr(decoder, name)}" for name in different)
        raise ValueError(
            f"The encoder and the decoder must agree, but have {values}. Train them with the same values."
        )
    return fields


def copy_weights(source: nn.Module, target: nn.Module, side: str) -> None:
    """Copies all weights of a module, or says which do not fit."""
    weights, places = source.state_dict(), target.state_dict()
    given, needed = ({name: tuple(tensor.shape) for name, tensor in part.items()} for part in (weights, places))
    unfit = [name for name in {**needed, **given} if given.get(name) != needed.get(name)]
    if unfit:
        name = unfit[0]
        raise ValueError(
            f"The {side}'s {name!r} is of shape {given.get(name)}, but the model needs {needed.get(name)}: leave out "
            "the arguments that change its parts and sizes, such as `input_feeding`, or start without it."
        )
    target.load_state_dict(weights)


__all__ = ["copy_weights", "load_start", "merge_configs"]
