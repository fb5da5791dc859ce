"""One LSTM layer over a batch with padding, exactly: the ways to run it, and the choice among them."""

import functools
from collections.abc import Callable

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .padding_lstm import Padding, take_positions
from .prepacking_lstm import (
    LstmParameters,
    Prepacking,
    has_onednn_kernel,
    hold_padding,
    is_faster_in_float32,
    is_prepackable,
    is_prepackable_step,
    reads_columns,
    takes_onednn,
)
from .segments_lstm import JoinSegments, Segment, SplitSegments, find_most_row_steps, find_segments

# Kernels: one LSTM layer over a batch whose tokens stand at the front.
#
# Each takes the input (batch_size, sequence_length, input_size), the padding, the initial hidden and cell state
# (batch_size, num_directions, size) or None for zeros, and the parameters as `nn.LSTM` lists them (weight_ih,
# weight_hh, bias_ih, bias_hh, then again for the reverse direction). Each returns the output
# (batch_size, sequence_length, num_directions * size), zero at padding, with the states after the last token,
# (1, batch_size, num_directions, size). A row without tokens keeps its initial state.

KernelResult = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _initial_states(
    inputs: torch.Tensor, hidden: torch.Tensor | None, cell: torch.Tensor | None, parameters: LstmParameters
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the given states, or zeros, as `(batch_size, num_directions, size)` in the type of `inputs`."""
    if hidden is None or cell is None:  # always both
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
) -> KernelResult:
    """
    Runs torch's LSTM over the padded batch and makes it exact: the plain way on a CPU.

    An input column that is 1 on padding drives the gates so that the cell is kept and the hidden state is zero there.
    """
    initial_hidden, initial_cell = _initial_states(inputs, hidden, cell, parameters)
    if padding is None:
        return _torch_lstm(inputs, initial_hidden, initial_cell, parameters, training)
    if len(parameters) == 8 and hidden is not None:
        # The reverse direction would meet the padding first, and lose its initial hidden state there.
        return _padded_lstm_by_direction(inputs, padding, initial_hidden, initial_cell, parameters, training)
    held = hold_padding(parameters)
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


def _padded_lstm_by_direction(
    inputs: torch.Tensor,
    padding: Padding,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    parameters: LstmParameters,
    training: bool,
) -> KernelResult:
    """Runs the reverse direction forwards over each row's tokens in reverse order."""
    positions = torch.arange(inputs.shape[1], device=inputs.device)
    mirrored = padding.lengths.unsqueeze(1) - 1 - positions
    mirrored = torch.where(padding.mask, mirrored, positions)
    forward = padded_lstm(inputs, padding, hidden[:, :1], cell[:, :1], parameters[:4], training)
    mirrored_inputs = take_positions(inputs, mirrored)
    output, *states = padded_lstm(mirrored_inputs, padding, hidden[:, 1:], cell[:, 1:], parameters[4:], training)
    reverse = (take_positions(output, mirrored), *states)
    output, hidden, cell = (torch.cat(pair, dim=-1 if pair[0].dim() == 3 else 2) for pair in zip(forward, reverse))
    return output, hidden, cell


def _sort_by_length(inputs: torch.Tensor, padding: Padding | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the rows' lengths from long to short, and the rows in that order; `None` if they are in it already."""
    if padding is None:
        return torch.full([len(inputs)], inputs.shape[1]), None
    lengths, rows = padding.lengths.sort(descending=True, stable=True)
    return lengths, None if torch.equal(lengths, padding.lengths) else rows


RunLayer = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def segmented_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
    prepacking: Prepacking | None = None,
) -> KernelResult:
    """
    Runs torch's LSTM over segments of the batch, for CPUs: steps with few rows left are done for these alone.

    The result is that of `padded_lstm`, but little time is spent on padding, or on memory that large batches would
    ask for again at every call.

    Args:
        prepacking (`Prepacking`, *optional*): Keeps the parameters prepacked between calls.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing():  # an exported program must hold for any lengths
        return padded_lstm(inputs, padding, hidden, cell, parameters, training)
    keeps_prepacked = prepacking is not None and not prepacking.looks_each_time
    most_row_steps = find_most_row_steps(parameters[1].shape[1], torch.is_grad_enabled())
    if padding is None and not keeps_prepacked and inputs[..., 0].numel() <= most_row_steps:
        return padded_lstm(inputs, padding, hidden, cell, parameters, training)
    initial = _initial_states(inputs, hidden, cell, parameters)
    is_onednn = takes_onednn(inputs, parameters)
    may_prepack = is_onednn and is_prepackable(inputs, *initial, *parameters)
    lengths, rows = _sort_by_length(inputs, padding)
    needs_gradients = torch.is_grad_enabled() and not may_prepack
    has_reverse_states = len(parameters) == 8 and hidden is not None
    num_weights = parameters[0].numel() + parameters[1].numel()
    segments = find_segments(lengths, num_weights, needs_gradients, has_reverse_states, most_row_steps)
    if not segments:
        return padded_lstm(inputs, padding, hidden, cell, parameters, training)
    holds_padding = any(segment.has_padding for segment in segments)
    if may_prepack and (keeps_prepacked or len(segments) > 1):  # for one, a look would take as long as it gains
        parameters = (prepacking or Prepacking()).of(parameters, holds_padding)
    elif holds_padding:
        parameters = hold_padding(parameters)
    by_length = list(initial) if rows is None else [state[rows] for state in initial]
    # `apply` takes as long as a short segment does, and only prepares for gradients.
    split = SplitSegments.apply if needs_gradients else SplitSegments.forward
    join = JoinSegments.apply if needs_gradients else JoinSegments.forward
    run_layer = _onednn_layer if is_onednn else _torch_layer
    # oneDNN's kernel is a slower one as long as gradients could be wanted.
    with torch.set_grad_enabled(needs_gradients):
        parts = split(inputs, rows, segments, lengths if holds_padding else None)
        outputs, last_hidden, last_cell = _run_directions(run_layer, parameters, parts, segments, lengths, by_length)
        output = join(inputs.shape[:2], rows, segments, *outputs)
    if rows is not None:
        places = rows.argsort()
        last_hidden, last_cell = last_hidden[places], last_cell[places]
    return output, last_hidden.unsqueeze(0), last_cell.unsqueeze(0)


def _run_directions(
    run_layer: RunLayer,
    parameters: LstmParameters,
    parts: tuple[torch.Tensor, ...],
    segments: tuple[Segment, ...],
    lengths: torch.Tensor,
    states: list[torch.Tensor],
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """
    Reads segments in one direction or both.

    Args:
        run_layer (`RunLayer`): `_onednn_layer` or `_torch_layer`.
        parameters (`LstmParameters`): Those of all directions.
        parts (`tuple[torch.Tensor, ...]`): As for `_run_forwards`, like the two after it.
        states (`list[torch.Tensor]`): The initial hidden and cell state, `(batch_size, num_directions, size)`.

    Returns:
        The outputs of each segment in the first direction, then in the other, and the last hidden and cell state.
    """
    outputs, last_states = [], []
    for direction in range(len(parameters) // 4):
        run_direction = functools.partial(run_layer, parameters[4 * direction : 4 * direction + 4])
        initial = [state[:, direction] for state in states]
        if direction == 0:
            direction_outputs, *last = _run_forwards(run_direction, parts, segments, lengths, initial)
        else:
            direction_outputs, *last = _run_backwards(run_direction, parts, segments, initial)
        outputs += direction_outputs
        last_states.append(last)
    last_hidden, last_cell = (torch.stack(last, dim=1) for last in zip(*last_states))
    return outputs, last_hidden, last_cell


def _run_forwards(
    run_layer: RunLayer,
    parts: tuple[torch.Tensor, ...],
    segments: tuple[Segment, ...],
    lengths: torch.Tensor,
    states: list[torch.Tensor],
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """
    Reads segments from first to last.

    Args:
        run_layer (`RunLayer`): Reads a segment: `_onednn_layer` or `_torch_layer` with its weights.
        parts (`tuple[torch.Tensor, ...]`): The inputs of the segments, as `SplitSegments` gives them.
        segments (`tuple[Segment, ...]`): Where they are.
        lengths (`torch.LongTensor` of shape `(batch_size,)`): Tokens of each row, from long to short.
        states (`list[torch.Tensor]`): The initial hidden and cell state, `(batch_size, size)`.

    Returns:
        The outputs of each segment, `(num_steps, num_rows, size)`, and the last hidden and cell state.
    """
    hidden, cell = states
    outputs, ended = [], [[state[segments[0].num_rows :] for state in states]]
    for segment, part in zip(segments, parts):
        num_rows, num_left = segment.num_rows, segment.num_left
        output, hidden, cell = run_layer(part, hidden[:num_rows], cell[:num_rows], is_reverse=False)
        outputs.append(output)
        ended_hidden = hidden[num_left:]
        if segment.has_padding:
            # The hidden state is zero after padding; the one after the last token is in the output.
            last = lengths[num_left:num_rows] - 1 - segment.start
            ended_hidden = output[last, torch.arange(num_left, num_rows, device=lengths.device)]
        ended.append([ended_hidden, cell[num_left:]])
    last_hidden, last_cell = (torch.cat(states) for states in zip(*ended[::-1]))
    return outputs, last_hidden, last_cell


def _run_backwards(
    run_layer: RunLayer, parts: tuple[torch.Tensor, ...], segments: tuple[Segment, ...], states: list[torch.Tensor]
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Reads segments from last to first, and each from its end; otherwise as `_run_forwards`."""
    hidden, cell = (state[:0] for state in states)
    outputs = []
    for segment, part in zip(segments[::-1], parts[::-1]):
        # The rows that are longer have begun already.
        begun = len(hidden)
        hidden, cell = (
            torch.cat([state, initial[begun : segment.num_rows]]) for state, initial in zip((hidden, cell), states)
        )
        output, hidden, cell = run_layer(part, hidden, cell, is_reverse=True)
        outputs.append(output)
    last_hidden, last_cell = (
        torch.cat([state, initial[len(state) :]]) for state, initial in zip((hidden, cell), states)
    )
    return outputs[::-1], last_hidden, last_cell


def _onednn_layer(
    weights: LstmParameters, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, is_reverse: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Reads steps in one direction with the kernel that `torch.lstm` takes.

    Args:
        weights (`LstmParameters`): The parameters of the direction, prepacked or not.
        inputs (`torch.Tensor` of shape `(num_steps, num_rows, input_size)`): The input.
        hidden (`torch.Tensor` of shape `(num_rows, size)`): The initial hidden state.
        cell (`torch.Tensor` of shape `(num_rows, size)`): The initial cell state.
        is_reverse (`bool`): Whether to start from the end.

    Returns:
        The output of shape `(num_steps, num_rows, size)`, and the states.
    """
    tensors = (inputs.contiguous(), *weights, hidden.contiguous(), cell.contiguous())
    kind, num_layers, has_biases, is_bidirectional, is_batch_first = 2, 1, True, False, False  # 2 is an LSTM
    shape = (kind, hidden.shape[1], num_layers, has_biases, is_bidirectional, is_batch_first)
    output, hidden, cell, _ = torch.ops.aten.mkldnn_rnn_layer(
        *tensors, is_reverse, [], *shape, torch.is_grad_enabled()
    )
    return output, hidden, cell


def _torch_layer(
    weights: LstmParameters, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, is_reverse: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Does what `_onednn_layer` does in other types, and where there is no oneDNN."""
    inputs = inputs.flip(0) if is_reverse else inputs
    states = (hidden.unsqueeze(0), cell.unsqueeze(0))
    output, hidden, cell = torch.lstm(inputs, states, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return output.flip(0) if is_reverse else output, hidden[0], cell[0]


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


def step_lstm(
    inputs: torch.Tensor,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    parameters: LstmParameters,
    prepacking: Prepacking | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Does what `torch.lstm_cell` does.

    Args:
        inputs (`torch.Tensor` of shape `(batch_size, input_size)`): The input.
        hidden (`torch.Tensor` of shape `(batch_size, size)`): The hidden state before.
        cell (`torch.Tensor` of shape `(batch_size, size)`): The cell state before.
        parameters (`LstmParameters`): Those of one direction.
        prepacking (`Prepacking`, *optional*): Keeps them prepacked between calls, while they are fixed and that is
            faster.

    Returns:
        The new hidden and cell state.
    """
    if prepacking is None or not is_prepackable_step(inputs, parameters, hidden, cell):
        return torch.lstm_cell(inputs, (hidden, cell), *parameters)
    if reads_columns(inputs):
        return torch.lstm_cell(inputs, (hidden, cell), *prepacking.by_columns(parameters))
    weights = prepacking.of(parameters, holds_padding=False)
    output, _, cell = _onednn_layer(weights, inputs.unsqueeze(0), hidden, cell, is_reverse=False)
    return output[0], cell


def stepwise_lstm(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
    training: bool,
    prepacking: Prepacking | None = None,
    every_step: bool = False,
) -> KernelResult:
    """
    Runs one LSTM cell call per token: the fast way for a single token, and the plain way for any device.

    Args:
        prepacking (`Prepacking`, *optional*): Keeps the parameters of a single direction prepacked between calls.
        every_step (`bool`, defaults to `False`):
            Whether to return the states after each token, `(sequence_length, batch_size, num_directions, size)`.
    """
    initial_hidden, initial_cell = _initial_states(inputs, hidden, cell, parameters)
    if padding is not None:
        # Padding may hold NaN, which `where` below would keep out of the result, but not out of the gradients.
        inputs = inputs.masked_fill(~padding.mask.unsqueeze(-1), 0)
    results, prepacking = [], prepacking if len(parameters) == 4 else None
    for direction in range(len(parameters) // 4):
        weights = parameters[4 * direction : 4 * direction + 4]
        steps = range(inputs.shape[1]) if direction == 0 else reversed(range(inputs.shape[1]))
        state = (initial_hidden[:, direction], initial_cell[:, direction])
        outputs, states = [], []
        for step in steps:
            hidden, cell = step_lstm(inputs[:, step], *state, weights, prepacking)
            new_state = (hidden.to(state[0].dtype), cell.to(state[1].dtype))
            if padding is not None:
                is_token = padding.mask[:, step].unsqueeze(1)
                outputs.append(new_state[0].masked_fill(~is_token, 0))
                hidden, cell = (torch.where(is_token, new, old) for new, old in zip(new_state, state))
                new_state = (hidden, cell)
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


KERNELS: dict[str, Callable[..., KernelResult]] = {"cpu": segmented_lstm, "cuda": packed_lstm}


def _check_arguments(
    inputs: torch.Tensor,
    padding: Padding | None,
    hidden: torch.Tensor | None,
    cell: torch.Tensor | None,
    parameters: LstmParameters,
) -> None:
    """Raises a `ValueError` for what does not fit: torch's LSTM checks no shapes, and reads what lies behind."""
    if (hidden is None) != (cell is None):
        raise ValueError(
            f"An LSTM layer is given its {'cell' if hidden is None else 'hidden'} state alone: give the hidden and "
            "the cell state, or neither, to start from zeros."
        )
    width, size = parameters[0].shape[1], parameters[1].shape[1]
    if inputs.dim() != 3 or inputs.shape[2] != width:
        raise ValueError(
            f"The input of an LSTM layer is of shape {tuple(inputs.shape)}, but must be (batch_size, sequence_length, "
            f"{width})."
        )
    if padding is not None and padding.mask.shape != inputs.shape[:2]:
        raise ValueError(
            f"The padding of an LSTM layer is of shape {tuple(padding.mask.shape)}, but its input has "
            f"{tuple(inputs.shape[:2])} positions."
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
    prepacking: Prepacking | None = None,
) -> KernelResult:
    """
    Runs one LSTM layer with the kernel that suits the device.

    `torch.compile` leaves this call alone: a graph break costs less than tracing the loop over time. CPUs that have no
    instructions for a narrower type read whole sequences in float32, and round what comes of it.

    Args:
        prepacking (`Prepacking`, *optional*): Keeps the parameters prepacked between calls, where no gradients are
            computed.

    Raises:
        ValueError: If a shape does not fit the parameters, a state is given without the other, or gradients are to be
            computed in float16 on a CPU.
    """
    _check_arguments(inputs, padding, hidden, cell, parameters)
    device = inputs.device.type
    is_cast = torch.is_autocast_enabled(device) and inputs.dtype != torch.float64  # which autocast leaves alone
    cast = torch.get_autocast_dtype(device) if is_cast else None
    if device == "cpu" and torch.float16 in (inputs.dtype, cast) and torch.is_grad_enabled():
        raise ValueError(
            "torch cannot compute gradients of an LSTM in float16 on a CPU. Take bfloat16 (`bf16=True`) or float32; "
            "or call the model under `torch.no_grad()`, if it is only to be read."
        )
    dtype = cast or inputs.dtype
    if device == "cpu" and inputs.shape[1] > 1 and not every_step and is_faster_in_float32(dtype):
        with torch.autocast(device, enabled=False):
            parameters = [parameter.float() for parameter in parameters]
            results = run_lstm(inputs.float(), padding, hidden, cell, parameters, training, prepacking=prepacking)
        output, hidden, cell = (result.to(dtype) for result in results)
        return output, hidden, cell
    if device == "cpu" and cast is not None and (inputs.shape[1] > 1 or not has_onednn_kernel(cast)):
        # Once, and not in each call of torch; which, under autocast, takes oneDNN's kernel even on processors that
        # have none for this type, and fails.
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
    kernel: Callable[..., KernelResult] = KERNELS.get(device, stepwise_lstm)
    if inputs.shape[1] == 1:
        kernel = stepwise_lstm
    if prepacking is not None and kernel in (segmented_lstm, stepwise_lstm):
        return kernel(inputs, padding, hidden, cell, parameters, training, prepacking)
    return kernel(inputs, padding, hidden, cell, parameters, training)
