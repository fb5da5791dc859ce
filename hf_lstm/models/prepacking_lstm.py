"""
Parameters of LSTM layers as oneDNN's kernel is given them: prepacked, and with a column that holds states at padding.

`torch.lstm` lays weights out for the kernel in each call. Where a layer makes many calls with the same weights, that
is time lost, so it is done once for all of them here, as torch's own compiler does for "frozen" models.
"""

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

LstmParameters = list[torch.Tensor]

# Gate pre-activations (input, forget, cell, output) under which a step keeps the cell, exactly, and outputs zero.
_HOLD_GATES = (-1e4, 1e4, 0.0, -1e4)


def hold_padding(parameters: LstmParameters) -> LstmParameters:
    """Returns the parameters with a further input column, under which a step keeps the cell and outputs zero."""
    gates = parameters[0].new_tensor(_HOLD_GATES).repeat_interleave(parameters[0].shape[0] // 4).unsqueeze(1)
    return [torch.cat([p, gates], dim=1) if place % 4 == 0 else p for place, p in enumerate(parameters)]


@functools.cache
def _has_operator(name: str) -> bool:
    """Tells whether this version of torch has an operator that it does not promise to keep."""
    library, operator = name.split("::")
    return hasattr(getattr(torch.ops, library), operator)


def has_onednn_kernel(dtype: torch.dtype) -> bool:
    """Tells whether oneDNN has a kernel of this type for the processor, with gradients, too."""
    if not torch.backends.mkldnn.is_available() or not torch._C._get_mkldnn_enabled():
        return False
    is_bf16 = dtype == torch.bfloat16
    return dtype == torch.float32 or (is_bf16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def is_faster_in_float32(dtype: torch.dtype) -> bool:
    """Tells whether a CPU that reads in oneDNN's kernel has none of this narrower type, in which torch is slow."""
    is_narrow = dtype in (torch.bfloat16, torch.float16)
    return is_narrow and not has_onednn_kernel(dtype) and has_onednn_kernel(torch.float32)


def takes_onednn(inputs: torch.Tensor, parameters: LstmParameters) -> bool:
    """Tells whether oneDNN's kernel, which checks next to nothing, may be called without `torch.lstm` before it."""
    kinds = {(tensor.dtype, tensor.device) for tensor in (inputs, *parameters)}
    return len(kinds) == 1 and has_onednn_kernel(inputs.dtype) and _has_operator("aten::mkldnn_rnn_layer")


def is_prepackable(*tensors: torch.Tensor) -> bool:
    """Tells whether oneDNN's kernel may be given prepacked weights: no gradients or transformations are wanted."""
    return (
        platform.machine().lower() in ("x86_64", "amd64")  # what it was tested on
        and _has_operator("mkldnn::_reorder_mkldnn_rnn_layer_weight")
        and all(type(tensor) in (torch.Tensor, torch.nn.Parameter) for tensor in tensors)
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
        and not torch._C._are_functorch_transforms_active()
    )


def _prepack(parameters: LstmParameters) -> LstmParameters:
    """Returns the parameters of a layer with the weights laid out for oneDNN."""
    prepacked = []
    for start in range(0, len(parameters), 4):
        weight_ih, weight_hh, *biases = (parameter.detach() for parameter in parameters[start : start + 4])
        prepacked += torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
            weight_ih, weight_hh, weight_hh.shape[1], start > 0, True, False
        )
        prepacked += biases
    return prepacked


def _are_same(tensors: LstmParameters, others: LstmParameters) -> bool:
    """Tells whether tensors hold the same; numpy is four times as fast at it as torch."""
    sides = [[tensor.detach().flatten().view(torch.int16) for tensor in side] for side in (tensors, others)]
    pairs = list(zip(*sides, strict=True))
    return all(a.shape == b.shape for a, b in pairs) and all((a.numpy() == b.numpy()).all() for a, b in pairs)


_reader: ContextVar[object | None] = ContextVar("reader", default=None)


@contextmanager
def fixed_parameters() -> Iterator[None]:
    """Within it, parameters must not change: prepacked ones are looked at once, and not in each call."""
    token = _reader.set(object())
    try:
        yield
    finally:
        _reader.reset(token)


class Prepacking:
    """
    Keeps the parameters of a layer prepacked for as long as they stay the same.

    They are compared with a copy in each call, so that no change goes unseen, be it written to the `.data` of one:
    that takes a fraction of the time that prepacking does.

    Args:
        are_fixed (`bool`, defaults to `False`): Whether the parameters never change, so that there need be no copy.
    """

    def __init__(self, are_fixed: bool = False) -> None:
        self._are_fixed = are_fixed
        self.clear()

    def clear(self) -> None:
        """Frees the memory."""
        # The copy; what is prepacked, by type and whether the column that holds states at padding is there; reader.
        self._kept: tuple[LstmParameters, dict[tuple[torch.dtype, bool], LstmParameters], object | None]
        self._kept = ([], {}, None)

    @property
    def looks_each_time(self) -> bool:
        """Whether the parameters are compared with the copy in each call, as they may have changed."""
        return not self._are_fixed and _reader.get() is None

    def of(self, parameters: LstmParameters, holds_padding: bool) -> LstmParameters:
        """Returns parameters prepacked, with the column that holds states at padding or without."""
        (copies, prepacked, last_reader), reader = self._kept, _reader.get()
        need_no_look = self._are_fixed or (reader is not None and reader is last_reader)
        if not prepacked or not (need_no_look or _are_same(parameters, copies)):
            copies = [] if self._are_fixed else [parameter.detach().clone() for parameter in parameters]
            prepacked = {}
        dtype = parameters[0].dtype
        if (dtype, holds_padding) not in prepacked:
            found = _prepack(hold_padding(parameters) if holds_padding else parameters)
            other = prepacked.get((dtype, not holds_padding), found)
            # Only the input's weights differ, by the column.
            prepacked[dtype, holds_padding] = [b if place % 4 else a for place, (a, b) in enumerate(zip(found, other))]
        self._kept = (copies, prepacked, reader)
        return prepacked[dtype, holds_padding]

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and files hold nothing: torch can neither copy nor store what is prepacked.
        return Prepacking, (self._are_fixed,)


__all__ = [
    "LstmParameters",
    "Prepacking",
    "fixed_parameters",
    "has_onednn_kernel",
    "hold_padding",
    "is_faster_in_float32",
    "is_prepackable",
    "takes_onednn",
]
