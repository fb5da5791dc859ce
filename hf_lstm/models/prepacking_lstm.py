"""
Parameters as kernels are given them: prepacked, and for oneDNN's LSTMs with a column that holds states at padding.

`torch.lstm` lays weights out for the kernel in each call, and products with few rows are slow with weights that are
not laid out. Where a layer makes many calls with the same weights, that is time lost, so it is done once for all of
them here, as torch's own compiler does for "frozen" models.
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

# Steps gain by prepacking from about here on: smaller weights stay in the processor's cache.
_LEAST_STEP_WEIGHTS = 2**19
_MOST_STEP_ROWS = 256  # more are as fast without


def hold_padding(parameters: LstmParameters) -> LstmParameters:
    """Returns the parameters with a further input column, under which a step keeps the cell and outputs zero."""
    gates = parameters[0].new_tensor(_HOLD_GATES).repeat_interleave(parameters[0].shape[0] // 4).unsqueeze(1)
    return [torch.cat([p, gates], dim=1) if place % 4 == 0 else p for place, p in enumerate(parameters)]


@functools.cache
def has_operator(name: str) -> bool:
    """Tells whether this version of torch has an operator that it does not promise to keep."""
    library, operator = name.split("::")
    return hasattr(getattr(torch.ops, library), operator)


def is_x86() -> bool:
    """Tells whether the processor is one of those that what calls oneDNN directly was tested on."""
    return platform.machine().lower() in ("x86_64", "amd64")


def is_made_for_bfloat16() -> bool:
    """Tells whether the processor is of the x86 kind and has instructions for products in bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def has_onednn_kernel(dtype: torch.dtype) -> bool:
    """Tells whether oneDNN has a kernel of this type that the processor is made for, with gradients, too."""
    if not torch.backends.mkldnn.is_available() or not torch._C._get_mkldnn_enabled():
        return False
    if dtype != torch.bfloat16:
        return dtype == torch.float32
    # On x86 processors that have AVX-512 alone, oneDNN imitates the type, which takes longer than float32.
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and (is_made_for_bfloat16() or not is_x86())


def is_faster_in_float32(dtype: torch.dtype) -> bool:
    """Tells whether a CPU that reads in oneDNN's kernel has none of this narrower type, in which torch is slow."""
    is_narrow = dtype in (torch.bfloat16, torch.float16)
    return is_narrow and not has_onednn_kernel(dtype) and has_onednn_kernel(torch.float32)


def takes_onednn(inputs: torch.Tensor, parameters: LstmParameters) -> bool:
    """Tells whether oneDNN's kernel, which checks next to nothing, may be called without `torch.lstm` before it."""
    kinds = {(tensor.dtype, tensor.device) for tensor in (inputs, *parameters)}
    return len(kinds) == 1 and has_onednn_kernel(inputs.dtype) and has_operator("aten::mkldnn_rnn_layer")


def is_prepackable(*tensors: torch.Tensor) -> bool:
    """Tells whether oneDNN's kernel may be given prepacked weights: no gradients or transformations are wanted."""
    return (
        is_x86()
        and has_operator("mkldnn::_reorder_mkldnn_rnn_layer_weight")
        and all(type(tensor) in (torch.Tensor, torch.nn.Parameter) for tensor in tensors)
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
        and not torch._C._are_functorch_transforms_active()
    )


def _are_products_exact() -> bool:
    """Tells whether oneDNN may not multiply numbers in float32 with a lower precision."""
    return torch.backends.mkldnn.matmul.fp32_precision in ("none", "ieee")  # type: ignore[attr-defined]


def is_prepackable_step(inputs: torch.Tensor, parameters: LstmParameters, *states: torch.Tensor) -> bool:
    """
    Tells whether a layer that reads one token of each sequence is faster with prepacked weights, and may have them.

    Args:
        inputs (`torch.Tensor` of shape `(batch_size, ..., input_size)`): The input.
        parameters (`LstmParameters`): The layer's parameters.
        states (`torch.Tensor` of shape `(batch_size, size)`): The state before, if it has one.
    """
    if torch.compiler.is_compiling() or _checked_in_scope() is None:
        return False
    tensors, num_rows = [*parameters, *states], inputs.numel() // inputs.shape[-1]
    is_float32 = inputs.dtype == torch.float32
    return (
        0 < num_rows <= _MOST_STEP_ROWS
        and (num_rows == 1 or len(inputs) > 1)  # several tokens of one sequence come once a request
        and (is_float32 or inputs.dtype == torch.bfloat16)
        and inputs.device.type == "cpu"
        and sum(parameter.numel() for parameter in parameters) >= _LEAST_STEP_WEIGHTS
        # In float32, a lower precision of products is faster yet.
        and (not is_float32 or _are_products_exact() or not has_onednn_kernel(torch.bfloat16))
        and not torch.is_autocast_enabled("cpu")
        and has_operator("mkldnn::_linear_pointwise")
        and takes_onednn(inputs, tensors)
        and is_prepackable(inputs, *tensors)
    )


def reads_columns(inputs: torch.Tensor) -> bool:
    """
    Tells whether a prepackable step is the fastest with weights that lie in memory column by column.

    That is so for a single row in float32, and with one thread, for such products leave further ones idle.
    """
    return inputs.numel() == inputs.shape[-1] and inputs.dtype == torch.float32 and torch.get_num_threads() == 1


def _prepack(parameters: LstmParameters) -> LstmParameters:
    """Returns the parameters of a layer with the weights laid out for oneDNN."""
    prepacked = []
    for start in range(0, len(parameters), 4):
        # Contiguous, for oneDNN is not told of strides.
        weight_ih, weight_hh, *biases = (p.detach().contiguous() for p in parameters[start : start + 4])
        prepacked += torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
            weight_ih, weight_hh, weight_hh.shape[1], start > 0, True, False
        )
        prepacked += [bias.clone() for bias in biases]  # whose storage others may write to
    return prepacked


def _are_same(tensors: LstmParameters, others: LstmParameters) -> bool:
    """Tells whether tensors hold the same; numpy is twice as fast at it as torch, the faster the wider its items."""
    pairs = list(zip(tensors, others, strict=True))
    are_alike = all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return are_alike and all((_view_bytes(a) == _view_bytes(b)).all() for a, b in pairs)


def _view_bytes(tensor: torch.Tensor) -> Any:
    """Returns what a tensor holds as a numpy array of integers, of 64 bits where they fit and else of 16."""
    array = tensor.detach().flatten().view(torch.int16).numpy()
    return array if array.size % 4 else array.view("int64")


# What is prepacked, by type and kind: "plain", "holding" with the column that holds states at padding, or "columns".
_Prepacked = dict[tuple[torch.dtype, str], LstmParameters]


class _FixedScope:
    """A `with fixed_parameters(model)` block. A task that is started inside inherits it, and may outlive it."""

    def __init__(self, owner: Any) -> None:
        self.owner, self.is_over = owner, False
        self.checked: dict[int, _Prepacked] = {}  # by id of a Prepacking: what it made of the parameters as they are


_scope: ContextVar[_FixedScope | None] = ContextVar("scope", default=None)


@contextmanager
def fixed_parameters(owner: Any = None) -> Iterator[None]:
    """
    Promises that parameters do not change inside, so that prepacked copies are checked once and not in each call.

    Args:
        owner (`nn.Module`, *optional*): The model that is called. A block for another model within this one checks
            that model's parameters again.
    """
    outer = _scope.get()
    if outer is not None and not outer.is_over and outer.owner is owner:
        yield
        return
    scope = _FixedScope(owner)
    token = _scope.set(scope)
    try:
        yield
    finally:
        scope.is_over, scope.owner = True, None
        _scope.reset(token)


def _checked_in_scope() -> dict[int, _Prepacked] | None:
    """Returns what was checked within the current block; `None` outside of one."""
    scope = _scope.get()
    return None if scope is None or scope.is_over else scope.checked


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
        self._kept: tuple[LstmParameters, _Prepacked] = ([], {})  # of a copy

    @property
    def looks_each_time(self) -> bool:
        """Whether the parameters are compared with the copy in each call, as they may have changed."""
        return not self._are_fixed and _checked_in_scope() is None

    def of(self, parameters: LstmParameters, holds_padding: bool) -> LstmParameters:
        """Returns an LSTM layer's parameters prepacked, with the column that holds states at padding or without."""
        prepacked, dtype = self._of_same(parameters), parameters[0].dtype
        kind, other_kind = ("holding", "plain") if holds_padding else ("plain", "holding")
        if (dtype, kind) not in prepacked:
            found = _prepack(hold_padding(parameters) if holds_padding else parameters)
            other = prepacked.get((dtype, other_kind), found)
            # Only the input's weights differ, by the column.
            prepacked[dtype, kind] = [b if place % 4 else a for place, (a, b) in enumerate(zip(found, other))]
        return prepacked[dtype, kind]

    def of_linear(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns a linear layer's weights prepacked."""
        prepacked, key = self._of_same([weight]), (weight.dtype, "plain")
        if key not in prepacked:
            prepacked[key] = [torch.ops.mkldnn._reorder_linear_weight(weight.detach())]
        return prepacked[key][0]

    def by_columns(self, parameters: LstmParameters) -> LstmParameters:
        """Returns parameters whose matrices lie in memory column by column, as `reads_columns` asks for them."""
        prepacked, key = self._of_same(parameters), (parameters[0].dtype, "columns")
        if key not in prepacked:
            clones = [p.detach().t().clone(memory_format=torch.contiguous_format) for p in parameters]
            prepacked[key] = [clone.t() for clone in clones]
        return prepacked[key]

    def _of_same(self, parameters: LstmParameters) -> _Prepacked:
        """Returns what has been prepacked of these parameters, to be added to; nothing if they have changed."""
        (copies, prepacked), seen = self._kept, _checked_in_scope()
        need_no_look = self._are_fixed or (seen is not None and seen.get(id(self)) is prepacked)
        if not prepacked or not (need_no_look or _are_same(parameters, copies)):
            copies = [] if self._are_fixed else [parameter.detach().clone() for parameter in parameters]
            prepacked = {}
        if seen is not None:
            seen[id(self)] = prepacked
        self._kept = (copies, prepacked)
        return prepacked

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and files hold nothing: torch can neither copy nor store what is prepacked.
        return Prepacking, (self._are_fixed,)
