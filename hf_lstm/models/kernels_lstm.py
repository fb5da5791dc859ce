"""One LSTM layer over a batch with padding, exactly: the ways to run it, and the choice among them."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


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


# Kernels: one LSTM layer over a batch whose tokens stand at the front.
#
# Each takes the input (batch_size, sequence_length, input_size), the padding, the initial hidden and cell state
# (batch_size, num_directions, size) or None for zeros, and the parameters as `nn.LSTM` lists them (weight_ih,
# weight_hh, bias_ih, bias_hh, then again for the reverse direction). Each returns the output
# (batch_size, sequence_length, num_directions * size), zero at padding, with the states after the last token,
# (1, batch_size, num_directions, size). A row without tokens keeps its initial state.

LstmParameters = list[torch.Tensor]
KernelResult = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

# Gate pre-activations (input, forget, cell, output) under which a step keeps the cell, exactly, and outputs zero.
_HOLD_GATES = (-1e4, 1e4, 0.0, -1e4)


def _initial_states(
    inputs: torch.Tensor, hidden: torch.Tensor | None, cell: torch.Tensor | None, parameters: LstmParameters
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the given states, or zeros, as `(batch_size, num_directions, size)` in the type of `inputs`."""
    if hidden is None or cell is None:
        zeros = inputs.new_zeros(inputs.shape[0], len(parameters) // 4, parameters[1].shape[1])
        return zeros, zeros
    return hidden.to(inputs.dtype), cell.to(inputs.dtype)


def _torch_lstm(
    inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, parameters: LstmParameters, training: bool
) -> KernelResult:
    """Runs torch's own LSTM over a batch without padding."""
    states = (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous())
    bidirectional = len(parameters) == 8
    output, hidden, cell = torch.lstm(inputs, states, parameters, True, 1, 0.0, training, bidirectional, True)
    return output, hidden.transpose(0, 1).unsqueeze(0), cell.transpose(0, 1).unsqueeze(0)


def padded_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
    held: LstmParameters | None = None,
) -> KernelResult:
    """
    Runs torch's LSTM over the padded batch and makes it exact, for CPUs, where packed batches miss the fast kernel.

    An input column that is 1 on padding drives the gates so that the cell is kept and the hidden state is zero there.

    Args:
        held (`LstmParameters`, *optional*): `hold_padding(parameters)`, where it is known already.
    """
    initial_hidden, initial_cell = _initial_states(inputs, hidden, cell, parameters)
    if padding is None:
        return _torch_lstm(inputs, initial_hidden, initial_cell, parameters, training)
    if len(parameters) == 8 and hidden is not None:
        # The reverse direction would meet the padding first, and lose its initial hidden state there.
        return _padded_lstm_by_direction(inputs, padding, initial_hidden, initial_cell, parameters, training, held)
    held = hold_padding(parameters) if held is None else held
    pad = ~padding.mask.unsqueeze(-1)
    # masked_fill and not a product: padding may hold NaN.
    inputs = torch.cat([inputs.masked_fill(pad, 0), pad.to(inputs.dtype)], dim=-1)
    output, last_hidden, last_cell = _torch_lstm(inputs, initial_hidden, initial_cell, held, training)
    # The forward hidden state is zero after padding; the one after the last token is in the output.
    size = parameters[1].shape[1]
    last = (padding.lengths - 1).clamp(min=0).view(-1, 1)
    last_hidden = torch.cat([take_positions(output[..., :size], last), last_hidden[0, :, 1:]], dim=1)
    is_empty = (padding.lengths == 0).view(-1, 1, 1)
    last_hidden = torch.where(is_empty, initial_hidden, last_hidden)
    return output, last_hidden.unsqueeze(0), last_cell


def hold_padding(parameters: LstmParameters) -> LstmParameters:
    """Returns the parameters with a further input column, under which a step keeps the cell and outputs zero."""
    gates = parameters[0].new_tensor(_HOLD_GATES).repeat_interleave(parameters[0].shape[0] // 4).unsqueeze(1)
    return [torch.cat([p, gates], dim=1) if place % 4 == 0 else p for place, p in enumerate(parameters)]


def _padded_lstm_by_direction(
    inputs: torch.Tensor,
    padding: Padding,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    parameters: LstmParameters,
    training: bool,
    held: LstmParameters | None,
) -> KernelResult:
    """Runs the reverse direction forwards over each row's tokens in reverse order."""
    halves = (None, None) if held is None else (held[:4], held[4:])
    positions = torch.arange(inputs.shape[1], device=inputs.device)
    mirrored = padding.lengths.unsqueeze(1) - 1 - positions
    mirrored = torch.where(padding.mask, mirrored, positions)
    forward = padded_lstm(inputs, padding, hidden[:, :1], cell[:, :1], parameters[:4], training, halves[0])
    mirrored_inputs = take_positions(inputs, mirrored)
    output, *states = padded_lstm(
        mirrored_inputs, padding, hidden[:, 1:], cell[:, 1:], parameters[4:], training, halves[1]
    )
    reverse = (take_positions(output, mirrored), *states)
    output, hidden, cell = (torch.cat(pair, dim=-1 if pair[0].dim() == 3 else 2) for pair in zip(forward, reverse))
    return output, hidden, cell


# What one more group costs, in steps of one row, as measured with 32 to 512 features: torch's preparations, which take
# longer with more weights as a step does, cost 30 of these; our own take a fixed time, that of 6 million
# multiplications with a weight. A step itself costs as much as one more row where gradients are computed, else as two.
_GROUP_STEPS, _GROUP_WEIGHT_STEPS = 30, 6_000_000
_STEP_ROWS = {True: 1, False: 2}


@functools.lru_cache(maxsize=1024)
def group_rows(lengths: tuple[int, ...], num_weights: int, needs_gradients: bool) -> list[tuple[list[int], int]]:
    """
    Divides the rows of a batch into groups of similar lengths, so that the least time is spent on padding.

    Each step of a group costs as much as its rows and some more; a group has costs of its own. The cheapest division
    of the rows in the order of their lengths is found by dynamic programming.

    Args:
        lengths (`tuple[int, ...]`): Tokens of each row; empty rows count as one token.
        num_weights (`int`): Weights that a step of a row is multiplied by, in each direction.
        needs_gradients (`bool`): Whether gradients will be computed.

    Returns:
        `list[tuple[list[int], int]]`: The rows of each group and the length of its longest, from long to short.
    """
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        by_length.setdefault(max(length, 1), []).append(row)
    sizes = sorted(by_length, reverse=True)
    group_cost = _GROUP_STEPS + _GROUP_WEIGHT_STEPS / num_weights
    # The least cost of the rows with the longest `end` lengths, and where the last group of that division starts.
    costs, starts = [0.0], [0]
    for end in range(1, len(sizes) + 1):
        num_rows, best = _STEP_ROWS[needs_gradients], (math.inf, 0)
        for start in reversed(range(end)):
            num_rows += len(by_length[sizes[start]])
            best = min(best, (costs[start] + group_cost + sizes[start] * num_rows, start))
        costs.append(best[0])
        starts.append(best[1])
    groups, end = [], len(sizes)
    while end:
        rows = [row for size in sizes[starts[end] : end] for row in by_length[size]]
        groups.append((rows, sizes[starts[end]]))
        end = starts[end]
    return groups[::-1]


class _SplitRows(torch.autograd.Function):
    """Takes the beginnings of some rows at a time, `(num_rows, length, size)`, from `(batch_size, length, size)`."""

    @staticmethod
    def forward(inputs: torch.Tensor, rows: list[torch.Tensor], lengths: list[int]) -> tuple[torch.Tensor, ...]:
        return tuple(inputs[row, :length] for row, length in zip(rows, lengths))

    @staticmethod
    def setup_context(context: Any, arguments: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        inputs, rows, lengths = arguments
        context.shape, context.places = inputs.shape, list(zip(rows, lengths))

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient = gradients[0].new_zeros(context.shape)
        for (row, length), part in zip(context.places, gradients):
            gradient[row, :length] = part
        return gradient, None, None


class _JoinRows(torch.autograd.Function):
    """Undoes `_SplitRows`, with zeros in the rest of each row."""

    @staticmethod
    def forward(shape: tuple[int, ...], rows: list[torch.Tensor], *parts: torch.Tensor) -> torch.Tensor:
        joined = parts[0].new_zeros(shape)
        for row, part in zip(rows, parts):
            joined[row, : part.shape[1]] = part
        return joined

    @staticmethod
    def setup_context(context: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> None:
        _, rows, *parts = arguments
        context.places = [(row, part.shape[1]) for row, part in zip(rows, parts)]

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, *(gradient[row, :length] for row, length in context.places)


def grouped_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
) -> KernelResult:
    """
    Runs `padded_lstm` on rows of similar lengths at a time, each group as far as its longest row reaches.

    The result is that of the whole batch at once; what padding costs is saved.
    """
    if padding is None or torch.compiler.is_compiling():  # an exported program must hold for any lengths
        return padded_lstm(inputs, padding, hidden, cell, parameters, training)
    num_weights = parameters[0].numel() + parameters[1].numel()
    groups = group_rows(tuple(padding.lengths.tolist()), num_weights, torch.is_grad_enabled())
    if len(groups) == 1:
        return padded_lstm(inputs, padding, hidden, cell, parameters, training)
    rows = [torch.tensor(group) for group, _ in groups]
    parts = _SplitRows.apply(inputs, rows, [length for _, length in groups])
    held = hold_padding(parameters)
    results = []
    for row, part in zip(rows, parts):
        row_hidden, row_cell = (None if state is None else state[row] for state in (hidden, cell))
        row_padding = _padding_of(padding, row, part.shape[1])
        results.append(padded_lstm(part, row_padding, row_hidden, row_cell, parameters, training, held))
    outputs, *last_states = zip(*results)
    output = _JoinRows.apply((*inputs.shape[:2], outputs[0].shape[2]), rows, *outputs)
    places = torch.cat(rows).argsort()
    last_hidden, last_cell = (torch.cat(states, dim=1).index_select(1, places) for states in last_states)
    return output, last_hidden, last_cell


def _padding_of(padding: Padding, rows: torch.Tensor, length: int) -> Padding | None:
    """Describes the padding of some rows up to a length, `None` where they have none."""
    lengths, mask = padding.lengths[rows], padding.mask[rows, :length]
    return None if bool((lengths == length).all()) else Padding(mask, lengths, None, None, mask)


def packed_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
) -> KernelResult:
    """Runs torch's LSTM over the packed batch, for CUDA, where cuDNN is made for it."""
    initial_hidden, initial_cell = _initial_states(inputs, hidden, cell, parameters)
    if padding is None:
        return _torch_lstm(inputs, initial_hidden, initial_cell, parameters, training)
    pad = ~padding.mask.unsqueeze(-1)
    lengths = padding.lengths.clamp(min=1).cpu()
    packed = pack_padded_sequence(inputs.masked_fill(pad, 0), lengths, batch_first=True, enforce_sorted=False)
    states = tuple(s[packed.sorted_indices].transpose(0, 1).contiguous() for s in (initial_hidden, initial_cell))
    bidirectional = len(parameters) == 8
    data, last_hidden, last_cell = torch.lstm(
        packed.data, packed.batch_sizes, states, parameters, True, 1, 0.0, training, bidirectional
    )
    packed = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    output, _ = pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])
    last_hidden, last_cell = (state.transpose(0, 1)[packed.unsorted_indices] for state in (last_hidden, last_cell))
    # Packing knows no empty rows: they were run as one token.
    is_empty = (padding.lengths == 0).view(-1, 1, 1)
    last_hidden = torch.where(is_empty, initial_hidden, last_hidden)
    last_cell = torch.where(is_empty, initial_cell, last_cell)
    return output.masked_fill(pad, 0), last_hidden.unsqueeze(0), last_cell.unsqueeze(0)


def stepwise_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
    every_step: bool = False,
) -> KernelResult:
    """
    Runs one LSTM cell call per token: the fast way for a single token, and the plain way for any device.

    Args:
        every_step (`bool`, defaults to `False`):
            Whether to return the states after each token, `(sequence_length, batch_size, num_directions, size)`.
    """
    initial_hidden, initial_cell = _initial_states(inputs, hidden, cell, parameters)
    if padding is not None:
        # Padding may hold NaN, which `where` below would keep out of the result, but not out of the gradients.
        inputs = inputs.masked_fill(~padding.mask.unsqueeze(-1), 0)
    results = []
    for direction in range(len(parameters) // 4):
        steps = range(inputs.shape[1]) if direction == 0 else reversed(range(inputs.shape[1]))
        state: tuple[torch.Tensor, ...] = (initial_hidden[:, direction], initial_cell[:, direction])
        outputs, states = [], []
        for step in steps:
            result = torch.lstm_cell(inputs[:, step], state, *parameters[4 * direction : 4 * direction + 4])
            new_state = tuple(new.to(old.dtype) for new, old in zip(result, state))
            if padding is not None:
                is_token = padding.mask[:, step].unsqueeze(1)
                outputs.append(new_state[0].masked_fill(~is_token, 0))
                new_state = tuple(torch.where(is_token, new, old) for new, old in zip(new_state, state))
            else:
                outputs.append(new_state[0])
            state = new_state
            states.append(state)
        if direction == 1:
            outputs.reverse()
        states = states if every_step else states[-1:]
        hidden_states, cell_states = (torch.stack(side) for side in zip(*states))
        results.append((torch.stack(outputs, dim=1), hidden_states.unsqueeze(2), cell_states.unsqueeze(2)))
    by_direction = list(zip(*results))
    return torch.cat(by_direction[0], dim=-1), torch.cat(by_direction[1], dim=2), torch.cat(by_direction[2], dim=2)


KERNELS: dict[str, Callable[..., KernelResult]] = {"cpu": grouped_lstm, "cuda": packed_lstm}


def _check_shapes(
    inputs: torch.Tensor, hidden: torch.Tensor | None, cell: torch.Tensor | None, parameters: LstmParameters
) -> None:
    """Raises a `ValueError` for shapes that do not fit: torch's LSTM checks none, and reads what lies behind."""
    width, size = parameters[0].shape[1], parameters[1].shape[1]
    if inputs.dim() != 3 or inputs.shape[2] != width:
        raise ValueError(
            f"The input of an LSTM layer is of shape {tuple(inputs.shape)}, but must be (batch_size, sequence_length, "
            f"{width})."
        )
    state_shape = (inputs.shape[0], len(parameters) // 4, size)
    for name, state in (("hidden", hidden), ("cell", cell)):
        if state is not None and state.shape != state_shape:
            raise ValueError(
                f"The {name} state of an LSTM layer is of shape {tuple(state.shape)}, but must be {state_shape}."
            )


@torch.compiler.disable
def run_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
    every_step: bool = False,
) -> KernelResult:
    """
    Runs one LSTM layer with the kernel that suits the device.

    `torch.compile` leaves this call alone: a graph break costs less than tracing the loop over time.

    Raises:
        ValueError: If a shape does not fit the parameters, or gradients are to be computed in float16 on a CPU.
    """
    _check_shapes(inputs, hidden, cell, parameters)
    device = inputs.device.type
    cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == "cpu" and torch.float16 in (inputs.dtype, cast) and torch.is_grad_enabled():
        raise ValueError(
            "torch cannot compute gradients of an LSTM in float16 on a CPU. Take bfloat16 (`bf16=True`) or float32; "
            "or call the model under `torch.no_grad()`, if it is only to be read."
        )
    lacks_bf16 = cast == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if device == "cpu" and (lacks_bf16 or cast == torch.float16):
        # Under autocast torch takes oneDNN's kernel even on processors that have none for this type, and fails.
        with torch.autocast(device, enabled=False):
            parameters = [parameter.to(cast) for parameter in parameters]
            return run_lstm(inputs.to(cast), padding, hidden, cell, parameters, training, every_step)
    if inputs.shape[1] == 0:
        # torch refuses sequences without any position; like rows without tokens, they keep their state.
        hidden, cell = _initial_states(inputs, hidden, cell, parameters)
        output = inputs.new_zeros(inputs.shape[0], 0, hidden.shape[1] * hidden.shape[2])
        return output, hidden.unsqueeze(0), cell.unsqueeze(0)
    if every_step:
        return stepwise_lstm(inputs, padding, hidden, cell, parameters, training, every_step=True)
    kernel = stepwise_lstm if inputs.shape[1] == 1 else KERNELS.get(device, stepwise_lstm)
    return kernel(inputs, padding, hidden, cell, parameters, training)
