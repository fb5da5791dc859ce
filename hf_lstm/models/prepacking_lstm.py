"""
Parameters of LSTM layers as oneDNN's kernel is given them: prepacked, and with a column that holds states at padding.

`torch.lstm` lays weights out for the kernel in each call. Where a layer makes many calls with the same weights, that
is time lost, so it is done once for all of them here, as torch's own compiler does for "frozen" models.
"""

import functools
import platform
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


class Prepacking:
    """
    Keeps the parameters of a layer prepacked while they stay the same.

    What is written to the `.data` of one goes unseen.
    """

    def __init__(self) -> None:
        # The parameters, so that no others can come to stand where these are; their versions; and what is prepacked,
        # with the column that holds states at padding and without.
        self._kept: tuple[LstmParameters, list[tuple[int, int]], dict[bool, LstmParameters]] = ([], [], {})

    def of(self, parameters: LstmParameters, holds_padding: bool) -> LstmParameters:
        """Returns parameters prepacked, with the column that holds states at padding or without."""
        if any(parameter.is_inference() for parameter in parameters):  # torch does not count their changes
            return _prepack(hold_padding(parameters) if holds_padding else parameters)
        versions = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
        if self._kept[1] != versions:
            self._kept = ([parameter.detach() for parameter in parameters], versions, {})
        kept = self._kept[2]
        if holds_padding not in kept:
            prepacked = _prepack(hold_padding(parameters) if holds_padding else parameters)
            other = kept.get(not holds_padding, prepacked)
            # Only the input's weights differ, by the column.
            kept[holds_padding] = [b if place % 4 else a for place, (a, b) in enumerate(zip(prepacked, other))]
        return kept[holds_padding]

    def __reduce__(self) -> tuple[Any, ...]:
        return Prepacking, ()  # copies and files hold none: torch can neither copy nor store what is prepacked


__all__ = ["LstmParameters", "Prepacking", "has_onednn_kernel", "hold_padding", "is_prepackable", "takes_onednn"]
