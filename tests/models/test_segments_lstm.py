"""Segments: where a batch is cut, and that nothing else changes."""

import itertools

import pytest
import torch

from hf_lstm.models import segments_lstm
from hf_lstm.models.kernels_lstm import padded_lstm
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.padding_lstm import find_padding
from hf_lstm.models.segments_lstm import Segment, cut_segments
from tests.models.factories import MASK, randomize
from tests.models.layer_factories import (
    FRONT_MASK,
    SIZE,
    assert_same_results,
    gradients,
    in_one_segment,
    in_pairs_of_steps,
    make_kernel_arguments,
    make_layer,
    weigh,
    with_some_padding,
    without_padding,
)
from tests.models.reference_lstm import reference_layer


@pytest.mark.parametrize("call_cost", [0.0, 10.0, 100.0, 1e9])
@pytest.mark.parametrize("step_cost", [0.5, 3.0])
def test_batch_is_cut_into_the_cheapest_segments(call_cost, step_cost):
    lengths = (700, 250, 250, 90, 40, 38, 3, 1, 0)
    ends = sorted({*lengths} - {0})
    costs = {}
    for chosen in itertools.product([False, True], repeat=len(ends) - 1):
        cuts = [0, *itertools.compress(ends, chosen), ends[-1]]
        rows = [sum(length > cut for length in lengths) for cut in cuts]
        shortest = [min(end for end in ends if end > cut) for cut in cuts[:-1]]
        segments = tuple(map(Segment, cuts, cuts[1:], rows, rows[1:], shortest))
        steps = sum((segment.end - segment.start) * (segment.num_rows + step_cost) for segment in segments)
        costs[segments] = steps + call_cost * len(segments)
    found = cut_segments(lengths, call_cost, step_cost)
    assert costs[found] == min(costs.values())
    assert len(found) == {0.0: len(ends), 1e9: 1}.get(call_cost, len(found))


def test_segments_end_at_multiples():
    lengths = (21, 20, 17, 16, 9, 3, 1, 0)
    expected = (Segment(0, 8, 7, 5, 1), Segment(8, 16, 5, 3, 9), Segment(16, 21, 3, 0, 17))
    assert cut_segments(lengths, 1.0, 1.0, multiple=8) == expected
    assert cut_segments((21, 21), 1.0, 1.0, multiple=8) == (Segment(0, 21, 2, 0, 21),)
    assert cut_segments((5, 4), 1.0, 1.0, multiple=8) == (Segment(0, 5, 2, 0, 4),)


def test_large_segments_are_cut_into_parts():
    expected = (Segment(0, 8, 3, 3, 8), Segment(8, 16, 3, 3, 16), Segment(16, 30, 3, 0, 21))
    assert cut_segments((30, 25, 21), 1e9, 1.0, 8, most_row_steps=25) == expected
    # Half as many more do not make another one, nor do fewer steps than a multiple.
    assert cut_segments((12, 12), 1.0, 1.0, 8, most_row_steps=16) == (Segment(0, 12, 2, 0, 12),)
    assert len(cut_segments((13, 13), 1.0, 1.0, 8, most_row_steps=16)) == 2
    assert len(cut_segments((24, 24), 1.0, 1.0, 8, most_row_steps=1)) == 3
    assert len(cut_segments((3, 3), 1.0, 1.0, 1, most_row_steps=1)) == 3


@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("padded", [True, False])
def test_large_batch_runs_in_parts_with_the_same_result(monkeypatch, padded, bidirectional, has_states, grad_mode):
    # As many as fill the memory that a segment may take, with and without gradients.
    monkeypatch.setattr(segments_lstm, "_MOST_WORKSPACE_BYTES", 16 * SIZE * 9)
    found = []
    monkeypatch.setattr(segments_lstm, "cut_segments", lambda *a: found.append(cut_segments(*a)) or found[-1])
    layer = make_layer(bidirectional)
    _, hidden, cell = make_kernel_arguments(bidirectional) if has_states else (None, None, None)
    inputs = torch.randn(len(MASK), 40, layer.input_size, requires_grad=True)
    lengths = torch.arange(40, 40 - len(MASK), -1)
    mask = torch.arange(40) < lengths.unsqueeze(1) if padded else torch.ones(len(MASK), 40, dtype=torch.bool)
    with grad_mode():
        result = layer(inputs, find_padding(mask), hidden, cell)
    assert len(found[0]) > 3
    start = [torch.zeros(len(MASK), 1 + bidirectional, SIZE) if state is None else state for state in (hidden, cell)]
    expected = reference_layer(inputs, mask, *start, layer.parameter_list())
    result = (result[0], *(state.squeeze(0) for state in result[1:]))
    if grad_mode is torch.enable_grad:
        states = [state for state in (hidden, cell) if state is not None]
        assert_same_results(result, expected, [inputs, *states, *layer.parameters()])
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0)])
def test_batch_without_tokens_has_no_segments(lengths):
    assert cut_segments(lengths, 1.0, 1.0) == ()


def test_batch_of_unlike_lengths_runs_in_segments_with_the_same_result(monkeypatch):
    torch.manual_seed(0)
    lengths = torch.tensor([300, 2, 310, 1, 3, 290])
    layer = randomize(LstmLayer(64, 128, bidirectional=True)).double()
    inputs = torch.randn(len(lengths), 310, 64, dtype=torch.float64, requires_grad=True)
    padding = find_padding(torch.arange(310) < lengths.unsqueeze(1))
    found = []
    monkeypatch.setattr(segments_lstm, "cut_segments", lambda *a: found.append(cut_segments(*a)) or found[-1])
    result = layer(inputs, padding)
    assert found == [(Segment(0, 8, 6, 3, 1), Segment(8, 310, 3, 0, 290))]
    expected = padded_lstm(inputs, padding, None, None, layer.parameter_list(), False)
    assert_same_results(result, expected, [inputs, *layer.parameters()])


@pytest.fixture
def spoilt_memory():
    """Fills memory that has not been written to with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kernel", [without_padding, with_some_padding, in_pairs_of_steps, in_one_segment])
def test_segments_leave_zeros_beyond_the_longest_row(kernel, bidirectional, spoilt_memory):
    assert torch.empty(3).isnan().all()
    inputs, hidden, cell = make_kernel_arguments(bidirectional)
    parameters = make_layer(bidirectional).parameter_list()
    mask = FRONT_MASK.masked_fill(torch.arange(7) > 4, 0)
    output, *states = kernel(inputs, find_padding(mask), hidden, cell, parameters, True)
    assert not output[mask == 0].any()
    expected = reference_layer(inputs, mask.bool(), hidden, cell, parameters)
    tensors = [inputs, hidden, cell, *parameters]
    assert_same_results((output, *(state.squeeze(0) for state in states)), expected, tensors)


@pytest.mark.parametrize("call_cost", [0.0, 5.0])
def test_gradients_over_segments_have_gradients(monkeypatch, call_cost):
    monkeypatch.setattr(segments_lstm, "cut_segments", lambda lengths, *_: cut_segments(lengths, call_cost, 1.0))
    layer, inputs = make_layer(bidirectional=True), make_kernel_arguments(True)[0]

    def differentiate_twice(run) -> torch.Tensor:
        first = torch.autograd.grad(weigh(*run()), inputs, create_graph=True)[0]
        return gradients(weigh(first.square()), [inputs])[0]

    zeros = torch.zeros(len(MASK), 2, SIZE)
    expected = differentiate_twice(lambda: reference_layer(inputs, MASK.bool(), zeros, zeros, layer.parameter_list()))
    found = differentiate_twice(lambda: layer(inputs, find_padding(MASK)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("call_cost", [0.0, 5.0])
def test_torch_func_gives_the_gradients_of_backward_over_segments(monkeypatch, call_cost):
    monkeypatch.setattr(segments_lstm, "cut_segments", lambda lengths, *_: cut_segments(lengths, call_cost, 1.0))
    layer, inputs = make_layer(bidirectional=True), make_kernel_arguments(True)[0]
    expected = gradients(weigh(*layer(inputs, find_padding(MASK))), [inputs])[0]
    found = torch.func.grad(lambda inputs: weigh(*layer(inputs, find_padding(MASK))))(inputs.detach())
    torch.testing.assert_close(found, expected)
