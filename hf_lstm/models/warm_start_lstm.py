"""Starting an encoder–decoder from a saved encoder and a saved language model."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_lstm import ENCODER_FIELDS, LstmConfig, LstmSeq2SeqConfig
from .modeling_lstm import LstmForCausalLM, LstmModel, LstmPreTrainedModel
from .quantization_lstm import check_is_not_int8

_SHARED_FIELDS = (*ENCODER_FIELDS, "output_dropout")
_WEIGHT_FIELDS = ("residual_connections", "layer_norm", "layer_norm_eps", "pad_token_id")


def build_from_parts(
    model_class: type[PreTrainedModel],
    encoder: str | Path | LstmModel | None,
    decoder: str | Path | LstmForCausalLM | None,
    changes: dict[str, Any],
) -> Any:
    """
    Does what `LstmForConditionalGeneration.from_encoder_decoder_pretrained` says.

    Args:
        model_class (`type`): `LstmForConditionalGeneration`, or a class derived from it.
        encoder (`str`, `Path` or `LstmModel`, *optional*): The encoder, or where it was saved.
        decoder (`str`, `Path` or `LstmForCausalLM`, *optional*): The language model, or where it was saved.
        changes (`dict[str, Any]`): Further fields of `LstmSeq2SeqConfig`.

    Returns:
        `LstmForConditionalGeneration`: The model.

    Raises:
        ValueError: If none is given, they do not go together, or they have what this model has not.
    """
    if encoder is None and decoder is None:
        raise ValueError("Give an `encoder`, a `decoder`, or both to start from.")
    reader = load_start(encoder, LstmModel, "encoder")
    writer = load_start(decoder, LstmForCausalLM, "decoder")
    unknown = [name for name in changes if not hasattr(LstmSeq2SeqConfig(), name)]
    if unknown:
        raise ValueError(f"LstmSeq2SeqConfig has no field `{unknown[0]}`: look for a misspelling.")
    fields = merge_configs(None if reader is None else reader.config, None if writer is None else writer.config)
    config = LstmSeq2SeqConfig(**fields | changes)
    if writer is not None and config.tie_word_embeddings and not writer.config.tie_word_embeddings:
        raise ValueError(
            "`tie_word_embeddings` is True, but the decoder's output layer has weights of its own, which would "
            "replace its embeddings: leave it out."
        )
    given = [part for part in (reader, writer) if part is not None]
    tables = (part.get_input_embeddings().weight.double() for part in (given[0], given[-1]))
    if config.share_embeddings and not torch.equal(*tables):
        raise ValueError(
            "`share_embeddings` is True, but the encoder's and the decoder's embeddings differ, of which only one "
            "could stay: leave it out."
        )
    model: Any = model_class(config)
    if reader is not None:
        copy_weights(reader, model.model.encoder, "encoder")
    if writer is not None:
        copy_weights(writer.model.embed_tokens, model.model.decoder.embed_tokens, "decoder")
        copy_weights(writer.model.layers, model.model.decoder.layers, "decoder")
        copy_weights(writer.lm_head, model.lm_head, "decoder")
        readout = model.model.decoder.readout
        if writer.lm_projection is not None and readout is not None and model.model.decoder.attention is None:
            copy_weights(writer.lm_projection, readout, "decoder")
    model.tie_weights()
    return model


def load_start(start: Any, kind: type[LstmPreTrainedModel], name: str) -> Any:
    """
    Loads what a model starts from, unless it is there already.

    Args:
        start (`str`, `Path` or `PreTrainedModel`, *optional*): The model, or where it was saved.
        kind (`type`): The class it must be of.
        name (`str`): The argument's name in messages.

    Raises:
        ValueError: If it is of another class, in int8, or saved without some of the weights that it needs.
    """
    if isinstance(start, (str, Path)):
        folder = start
        start, info = kind.from_pretrained(folder, output_loading_info=True)
        if info["missing_keys"]:
            raise ValueError(
                f"`{name}` is {str(folder)!r}, but what was saved there lacks {sorted(info['missing_keys'])}, which a "
                f"{kind.__name__} has: give the folder of one."
            )
    check_is_not_int8(start, f"the `{name}` that a model starts from")
    if start is not None and not isinstance(start, kind):
        raise ValueError(
            f"`{name}` is of class {type(start).__name__}, but must be of {kind.__name__}. Save it with "
            "`save_pretrained` and give the folder."
        )
    return start


def merge_configs(encoder: LstmConfig | None, decoder: LstmConfig | None) -> dict[str, Any]:
    """
    Returns the fields of `LstmSeq2SeqConfig` that an encoder's and a language model's configuration determine.

    Args:
        encoder (`LstmConfig`, *optional*): The encoder's configuration.
        decoder (`LstmConfig`, *optional*): The language model's configuration.

    Raises:
        ValueError: If they do not go together, or one has what an encoder–decoder has not.
    """
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
    if fields["bos_token_id"] is not None:
        # What a language model has learned to go on from.
        fields["decoder_start_token_id"] = fields["bos_token_id"]
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
    """
    Copies all weights of a module.

    Args:
        source (`nn.Module`): The module that has them.
        target (`nn.Module`): The module that gets them.
        side (`str`): `"encoder"` or `"decoder"`, for messages.

    Raises:
        ValueError: If a weight is missing, is of another shape, or has no place.
    """
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
