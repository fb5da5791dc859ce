"""
A batch of sequences in segments: stretches of steps, each with the rows that have tokens there.

```
step     0 1 2 3 4 5 6 7
row 0    a a a a b b c c       From long to short, as segments have the rows. Rows that end within a segment
row 1    a a a a b b           have padding there; at its end, those that go on hand their state to the next one.
row 2    a a a a b
row 3    a a a
```
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch


class Segment(NamedTuple):
    """
    Some steps of the longest rows.

    Attributes:
        start (`int`): The first step.
        end (`int`): The first step after it.
        num_rows (`int`): Rows with tokens in it.
        num_left (`int`): Rows with tokens after it.
        padding_start (`int`): Where its first row ends: `end` if it has no padding.
    """

    start: int
    end: int
    num_rows: int
    num_left: int
    padding_start: int

    @property
    def has_padding(self) -> bool:
        return self.padding_start < self.end


class _Costs(NamedTuple):
    """
    What running in segments costs besides the rows' own steps, in units of one step of one row of a direction.

    Attributes:
        call_steps (`float`): Fixed cost of a segment, as far as it grows with the weights, as a step's cost does.
        call_multiplications (`float`): Fixed cost of a segment, as far as it does not: preparations for a shape that
            is new to oneDNN. In multiplications of a step, which has one for each weight.
        step_rows (`float`): Fixed cost of a step, in rows.
    """

    call_steps: float
    call_multiplications: float
    step_rows: float


# With gradients and without: about the fastest for 64 to 512 features on an AMD EPYC, with shapes old and new.
_COSTS = {True: _Costs(50.0, 2e6, 2.5), False: _Costs(8.0, 6e6, 1.0)}
_STEPS_MULTIPLE = 8  # fewer shapes are worth more than the padding that it brings

# oneDNN's workspace, in bytes for each step of a row and feature of the state, with gradients and without; and how
# much of it a segment should take. glibc returns blocks of 32 MiB and more to the system at once, so segments, which
# may be half as large again as this, stay below.
_WORKSPACE_BYTES = {True: 64, False: 16}
_MOST_WORKSPACE_BYTES = 20 * 2**20


def find_most_row_steps(size: int, needs_gradients: bool) -> int:
    """Returns how many steps of one row a segment should hold at most, for memory to be used again."""
    return _MOST_WORKSPACE_BYTES // (_WORKSPACE_BYTES[needs_gradients] * size)


def find_segments(
    lengths: torch.Tensor,
    num_weights: int,
    needs_gradients: bool,
    has_reverse_states: bool,
    most_row_steps: int,
) -> tuple[Segment, ...]:
    """
    Finds the segments that take the least time, by the costs that are known of torch's LSTM.

    Args:
        lengths (`torch.LongTensor` of shape `(batch_size,)`): Tokens of each row, from long to short.
        num_weights (`int`): Weights of one direction.
        needs_gradients (`bool`): Whether gradients may be computed.
        has_reverse_states (`bool`): Whether there is a reverse direction that starts from given states.
        most_row_steps (`int`): As `cut_segments` takes it.
    """
    costs = _COSTS[needs_gradients]
    call_cost, multiple = costs.call_steps + costs.call_multiplications / num_weights, _STEPS_MULTIPLE
    if has_reverse_states:
        # Without padding, which the reverse direction would meet first, and lose its states there.
        call_cost, multiple = 0.0, 1
    return cut_segments(tuple(lengths.tolist()), call_cost, costs.step_rows, multiple, most_row_steps)


@functools.lru_cache(maxsize=1024)
def cut_segments(
    lengths: tuple[int, ...], call_cost: float, step_cost: float, multiple: int = 1, most_row_steps: int | None = None
) -> tuple[Segment, ...]:
    """
    Cuts a batch into the segments that take the least time together.

    Each step of a segment costs as much as its rows and `step_cost` more, each segment `call_cost` besides. The
    cheapest cuts are found by dynamic programming, among those at which a row has just ended: others would only add
    segments. What is then larger than `most_row_steps` is cut into parts.

    Args:
        lengths (`tuple[int, ...]`): Tokens of each row, from long to short.
        call_cost (`float`):
            Cost of a segment, in steps of one row; 0, and `multiple` at 1, for segments without padding.
        step_cost (`float`): Cost of a step, in rows.
        multiple (`int`, defaults to 1):
            What the steps of all segments but the last are a multiple of, so that segments come in few shapes.
        most_row_steps (`int`, *optional*):
            Largest number of steps of one row in a segment; up to half as many again are tolerated.
    """
    # Where segments may end, and how many rows go on from there.
    ends, rows_left = [0], [sum(length > 0 for length in lengths)]
    for row in reversed(range(rows_left[0])):
        end = min(math.ceil(lengths[row] / multiple) * multiple, lengths[0])
        if end > ends[-1]:
            ends.append(end)
            rows_left.append(row)
        rows_left[-1] = row
    # The least cost of all steps up to an end, and where the last segment of that starts.
    costs, starts = [0.0], [0]
    for place in range(1, len(ends)):
        best = (math.inf, 0)
        for start in reversed(range(place)):
            cost = costs[start] + call_cost + (ends[place] - ends[start]) * (rows_left[start] + step_cost)
            best = min(best, (cost, start))
        costs.append(best[0])
        starts.append(best[1])
    segments, place = [], len(ends) - 1
    while place:
        start = starts[place]
        first_end = lengths[rows_left[start] - 1]
        segments.append(
            Segment(ends[start], ends[place], rows_left[start], rows_left[place], min(first_end, ends[place]))
        )
        place = start
    if most_row_steps is None:
        return tuple(segments[::-1])
    return tuple(part for segment in segments[::-1] for part in _cut_parts(segment, most_row_steps, multiple))


def _cut_parts(segment: Segment, most_row_steps: int, multiple: int) -> list[Segment]:
    """Cuts parts without padding off a segment while it is too large."""
    num_steps = max(multiple, most_row_steps // segment.num_rows // multiple * multiple)
    most_steps = max(num_steps, most_row_steps * 3 // 2 // segment.num_rows)
    parts = []
    while segment.padding_start - segment.start > most_steps:
        end = segment.start + num_steps
        parts.append(segment._replace(end=end, num_left=segment.num_rows, padding_start=end))
        segment = segment._replace(start=end)
    return [*parts, segment]


def _index_rows(rows: torch.Tensor | None, start: int | None, end: int | None) -> torch.Tensor | slice:
    """Returns the index of rows by their place, from long to short: `rows`, or all in order if that is `None`."""
    return slice(start, end) if rows is None else rows[start:end]


class SplitSegments(torch.autograd.Function):
    """
    Takes segments, `(num_steps, num_rows, size)`, out of `inputs` of shape `(batch_size, sequence_length, size)`.

    Given the `lengths` of the rows from long to short, padding is zero, whatever it was, and a further feature is 1
    there and 0 elsewhere.
    """

    @staticmethod
    def forward(
        inputs: torch.Tensor, rows: torch.Tensor | None, segments: Sequence[Segment], lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        size, parts = inputs.shape[2], []
        for segment in segments:
            start, end, num_rows, num_left, padding_start = segment
            part = inputs.new_empty(end - start, num_rows, size + (lengths is not None))
            part[..., :size] = inputs[_index_rows(rows, None, num_rows), start:end].transpose(0, 1)
            if lengths is not None:
                part[..., size] = 0
            if lengths is not None and segment.has_padding:
                ending = part[padding_start - start :, num_left:]
                steps = torch.arange(padding_start, end, device=lengths.device).unsqueeze(1)
                padding = steps >= lengths[num_left:num_rows]
                ending[..., :size].masked_fill_(padding.unsqueeze(2), 0)
                ending[..., size] = padding
            parts.append(part)
        return tuple(parts)

    @staticmethod
    def setup_context(context: Any, arguments: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        inputs, context.rows, context.segments, _ = arguments
        context.shape = inputs.shape

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient = gradients[0].new_zeros(context.shape)
        for segment, part in zip(context.segments, gradients):
            # It is zero at padding, since no gate minds what stands there.
            part = part[..., : context.shape[2]].transpose(0, 1)
            gradient[_index_rows(context.rows, None, segment.num_rows), segment.start : segment.end] = part
        return gradient, None, None, None


class JoinSegments(torch.autograd.Function):
    """Undoes `SplitSegments`: puts the directions side by side, with zeros where no segment has a step."""

    @staticmethod
    def forward(
        shape: torch.Size, rows: torch.Tensor | None, segments: Sequence[Segment], *parts: torch.Tensor
    ) -> torch.Tensor:
        num_directions, size = len(parts) // len(segments), parts[0].shape[2]
        joined = parts[0].new_empty(*shape, num_directions * size)
        for number, segment in enumerate(segments):
            steps = slice(segment.start, segment.end)
            for direction, part in enumerate(parts[number :: len(segments)]):
                features = slice(direction * size, (direction + 1) * size)
                joined[_index_rows(rows, None, segment.num_rows), steps, features] = part.transpose(0, 1)
            if segment.num_rows < shape[0]:
                joined[_index_rows(rows, segment.num_rows, None), steps] = 0
        joined[:, segments[-1].end :] = 0
        return joined

    @staticmethod
    def setup_context(context: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> None:
        _, context.rows, context.segments, *parts = arguments
        context.size = parts[0].shape[2]

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        parts = []
        for features in gradient.split(context.size, dim=2):
            for segment in context.segments:
                rows = _index_rows(context.rows, None, segment.num_rows)
                parts.append(features[rows, segment.start : segment.end].transpose(0, 1))
        return None, None, None, *parts
