"""Which positions of a batch are real tokens, and how these are brought to the front and back."""

from collections.abc import Callable
from typing import NamedTuple

import torch


class Padding(NamedTuple):
    """
    Describes which positions of a batch are real tokens, and how to bring these to the front.

    Attributes:
        mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at the tokens, once at the front.
        lengths (`torch.LongTensor` of shape `(batch_size,)`): Number of tokens in each row.
        order (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Where each position's content comes from; `None` if the tokens stand at the front already.
        places (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Where each original position's content went.
        original_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at the tokens, as given.
    """

    mask: torch.Tensor
    lengths: torch.Tensor
    order: torch.Tensor | None
    places: torch.Tensor | None
    original_mask: torch.Tensor


def find_padding(attention_mask: torch.Tensor | None) -> Padding | None:
    """
    Returns what `attention_mask` says about padding, or `None` when every position is a token.

    Args:
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
    """
    if attention_mask is None:
        return None
    original_mask = attention_mask.bool()
    # A compiled or exported program must hold for any mask, so it always takes the general way.
    is_eager = not torch.compiler.is_compiling()
    if is_eager and bool(original_mask.all()):
        return None
    lengths = original_mask.sum(dim=1)
    mask = torch.arange(original_mask.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    if is_eager and torch.equal(mask, original_mask):
        return Padding(mask, lengths, None, None, original_mask)
    order = original_mask.int().argsort(dim=1, descending=True, stable=True)
    places = (original_mask.cumsum(dim=1) - 1).clamp(min=0)
    return Padding(mask, lengths, order, places, original_mask)


def take_positions(tensor: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """
    Takes `positions` of shape `(batch_size, new_length)` from `tensor` of shape `(batch_size, length, ...)`.
    """
    index = positions.reshape(*positions.shape, *[1] * (tensor.dim() - 2)).expand(*positions.shape, *tensor.shape[2:])
    return tensor.gather(1, index)


def to_front(tensor: torch.Tensor, padding: Padding | None) -> torch.Tensor:
    """Brings the tokens' entries of `tensor` of shape `(batch_size, sequence_length, ...)` to the front, in order."""
    return tensor if padding is None or padding.order is None else take_positions(tensor, padding.order)


def from_front(tensor: torch.Tensor, padding: Padding | None) -> torch.Tensor:
    """Undoes `to_front` and leaves zeros where there is no token."""
    if padding is None or padding.places is None:
        return tensor
    tensor = take_positions(tensor, padding.places)
    return tensor.masked_fill(~padding.original_mask.reshape(*tensor.shape[:2], *[1] * (tensor.dim() - 2)), 0)


def map_tokens(
    function: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor, padding: Padding | None
) -> torch.Tensor:
    """
    Applies a function of single positions to those of tokens, and leaves zeros elsewhere.

    Args:
        function (`Callable`): Turns `(..., size)` into `(..., new_size)`.
        tensor (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): Its input, the tokens where they were.
        padding (`Padding`, *optional*): Which positions are tokens; all when `None`.
    """
    if padding is None:
        return function(tensor)
    mask = padding.original_mask
    # A compiled or exported program must hold for any number of tokens.
    if torch.compiler.is_compiling():
        return function(tensor).masked_fill(~mask.unsqueeze(-1), 0)
    results = function(tensor[mask])
    return results.new_zeros(*mask.shape, results.shape[-1]).index_put((mask,), results)
