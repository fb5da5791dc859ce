"""What models are given: numbers, token ids, embeddings, masks and states, checked before they are read."""

import numbers
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from .cache_lstm import LstmCache


def check_count(name: str, count: Any, least: int = 1) -> None:
    """Raises a `ValueError` for what is no whole number, or below `least`."""
    if isinstance(count, bool) or not isinstance(count, numbers.Integral):
        raise ValueError(f"`{name}` is {count!r}, but must be a whole number.")
    if count < least:
        raise ValueError(f"`{name}` is {count}, but must be at least {least}.")


def look_up_embeddings(
    embedding: nn.Embedding, input_ids: torch.Tensor, dropout: float, name: str = "input_ids"
) -> torch.Tensor:
    """
    Looks up the embeddings of tokens.

    Args:
        embedding (`nn.Embedding`): The embeddings.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
        dropout (`float`): Probability that all occurrences of a token lose their embedding, 0 outside of training.
        name (`str`, defaults to `"input_ids"`): What the tokens are called in messages.

    Raises:
        IndexError: If a token id is not below the size of the vocabulary (checked on the CPU).
    """
    # Wrappers of a table, such as adapters, have its `weight`, but not its `num_embeddings`.
    num_embeddings = embedding.weight.shape[0]
    check_input_ids(input_ids, num_embeddings, name)
    embeddings = embedding(input_ids)
    if dropout:
        kept = F.dropout(embeddings.new_ones(num_embeddings, 1), dropout)
        embeddings = embeddings * kept[input_ids]
    return embeddings


def check_input_ids(input_ids: torch.Tensor, vocab_size: int, name: str) -> None:
    """
    Checks tokens, on the CPU.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
        vocab_size (`int`): The size of the vocabulary.
        name (`str`): What they are called in messages.

    Raises:
        IndexError: If a token id is not from 0 to below the size of the vocabulary.
    """
    # Elsewhere than on the CPU, looking at the values would stall the device; there the lookup itself fails.
    if input_ids.device.type != "cpu" or torch.compiler.is_compiling() or input_ids.numel() == 0:
        return
    lowest, highest = (int(bound) for bound in input_ids.aminmax())
    if lowest < 0 or highest >= vocab_size:
        raise IndexError(
            f"`{name}` holds the token id {lowest if lowest < 0 else highest}, but the model knows ids from 0 "
            f"to {vocab_size - 1}. Use the tokenizer saved with the model, or call "
            "`model.resize_token_embeddings(len(tokenizer))`."
        )


def check_labels(labels: torch.Tensor | None, config: PreTrainedConfig, size: str, name: str = "labels") -> None:
    """
    Checks the classes or tokens that are to be learned, on the CPU.

    Args:
        labels (`torch.LongTensor`, *optional*): The labels, of any shape; -100 where nothing is to be learned.
        config (`PreTrainedConfig`): The model's configuration.
        size (`str`): Which of its fields holds their number: `"num_labels"` or `"vocab_size"`.
        name (`str`, defaults to `"labels"`): What they are called in messages.

    Raises:
        IndexError: If a label is neither -100 nor from 0 to below that number.
    """
    if labels is None or labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    num_labels = getattr(config, size)
    is_wrong = ((labels < 0) & (labels != -100)) | (labels >= num_labels)
    if is_wrong.any():
        raise IndexError(
            f"`{name}` holds {labels[is_wrong][0]}, but `{size}` is {num_labels}: labels are from 0 to "
            f"{num_labels - 1}, or -100 where nothing is to be learned. Number them so, or make a model with a larger "
            f"`{size}`."
        )


def fit_mask(
    attention_mask: torch.Tensor | None, inputs: torch.Tensor, name: str = "attention_mask"
) -> torch.Tensor | None:
    """
    Returns the part of a mask that belongs to `inputs`: its end, where it also covers the tokens before.

    Args:
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)` or longer, *optional*): The mask.
        inputs (`torch.Tensor` of shape `(batch_size, sequence_length, ...)`): The tokens or embeddings.
        name (`str`, defaults to `"attention_mask"`): What the mask is called in messages.

    Raises:
        ValueError: If the shapes do not go together.
    """
    if attention_mask is None:
        return None
    batch_size, sequence_length = inputs.shape[:2]
    if attention_mask.dim() != 2 or attention_mask.shape[0] != batch_size or attention_mask.shape[1] < sequence_length:
        raise ValueError(
            f"`{name}` is of shape {tuple(attention_mask.shape)}, but must be (batch_size, "
            f"sequence_length), here ({batch_size}, {sequence_length}), or longer by the tokens before."
        )
    num_before = attention_mask.shape[1] - sequence_length
    # Not a view of the whole, for which `torch.compile` would compile some parts twice.
    return attention_mask[:, num_before:] if num_before else attention_mask


def check_inputs(
    input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, embedding_size: int, prefix: str = ""
) -> torch.Tensor:
    """
    Returns which of tokens and embeddings is given.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): The tokens.
        inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
            Embeddings instead.
        embedding_size (`int`): How wide embeddings must be.
        prefix (`str`, defaults to `""`): Stands before the names in messages.

    Raises:
        ValueError: If not exactly one of them is given, or it is of another shape.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError(f"Give exactly one of `{prefix}input_ids` and `{prefix}inputs_embeds`.")
    if inputs_embeds is not None:
        if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != embedding_size:
            raise ValueError(
                f"`{prefix}inputs_embeds` is of shape {tuple(inputs_embeds.shape)}, but must be (batch_size, "
                f"sequence_length, {embedding_size}), as wide as the embeddings of tokens."
            )
        return inputs_embeds
    assert input_ids is not None
    if input_ids.dim() != 2:
        raise ValueError(
            f"`{prefix}input_ids` is of shape {tuple(input_ids.shape)}, but must be (batch_size, sequence_length): "
            "of a single sequence, give `input_ids.unsqueeze(0)`."
        )
    return input_ids


def check_cache(cache: LstmCache | None, shapes: list[tuple[int, int]], batch_size: int) -> None:
    """
    Raises a `ValueError` for a cache that another model or another batch has left.

    Args:
        cache (`LstmCache`, *optional*): The cache.
        shapes (`list[tuple[int, int]]`): Number of directions and width of each layer's state.
        batch_size (`int`): Number of sequences.
    """
    if cache is None:
        return
    if not isinstance(cache, LstmCache) or len(cache) != len(shapes):
        raise ValueError(
            f"`cache` is a {type(cache).__name__} of {len(cache)} layers, but must be an LstmCache of "
            f"{len(shapes)}, as the model returns it."
        )
    found = [None if layer.hidden_state is None else tuple(layer.hidden_state.shape[1:]) for layer in cache.layers]
    if any(shape is not None and shape != wanted for shape, wanted in zip(found, shapes)):
        raise ValueError(
            f"`cache` holds states of {found} directions and features, but this model's are of {shapes}: "
            "give what this model returned."
        )
    if cache.layers[0].batch_size not in (-1, batch_size):
        raise ValueError(
            f"`cache` holds the states of {cache.layers[0].batch_size} sequences, but the batch has "
            f"{batch_size}. Repeat or select states with its `batch_repeat_interleave` or `batch_select_indices`."
        )


def check_unread(length: int, past_length: int, name: str) -> None:
    """
    Raises a `ValueError` where `generate` is given a cache that has read all the tokens that are given, or more.

    Args:
        length (`int`): Number of tokens given, those that were read among them.
        past_length (`int`): Number of tokens that the cache has read.
        name (`str`): What the tokens are called in messages.
    """
    if 0 < past_length >= length:
        raise ValueError(
            f"`{name}` holds {length} tokens, but `cache` has read {past_length} already: give the whole "
            "sequence so far, with at least one token more."
        )
