"""The layer and its kernels against the reference, dropouts, n-grams and pooling."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from hf_lstm.models import kernels_lstm, prepacking_lstm, segments_lstm
from hf_lstm.models.configuration_lstm import CLASSIFIER_POOLINGS
from hf_lstm.models.kernels_lstm import (
    KERNELS,
    packed_lstm,
    padded_lstm,
    run_lstm,
    segmented_lstm,
    stepwise_lstm,
)
from hf_lstm.models.layers_lstm import LockedDropout, LstmLayer
from hf_lstm.models.ngrams_lstm import NgramClassifier, hash_ngrams
from hf_lstm.models.padding_lstm import Padding, find_padding
from hf_lstm.models.pooling_lstm import LstmPooler
from hf_lstm.models.prepacking_lstm import (
    Prepacking,
    has_onednn_kernel,
)
from hf_lstm.models.segments_lstm import Segment, cut_segments
from tests.models.factories import MASK, make_input_ids, randomize
from tests.models.reference_lstm import reference_layer

INPUT_SIZE, SIZE = 5, 3
FRONT_MASK = MASK.sort(dim=1, descending=True).values


def make_layer(bidirectional: bool, **arguments) -> LstmLayer:
    return randomize(LstmLayer(INPUT_SIZE, SIZE * (1 + bidirectional), bidirectional, **arguments)).eval()


def make_kernel_arguments(bidirectional: bool, length: int = MASK.shape[1]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(len(MASK), length, INPUT_SIZE, generator=generator)
    states = [torch.randn(len(MASK), 1 + bidirectional, SIZE, generator=generator) for _ in range(2)]
    return [tensor.requires_grad_() for tensor in (inputs, *states)]


def weigh(*tensors: torch.Tensor) -> torch.Tensor:
    """Sums with different weights, so that every element has a gradient of its own."""
    return sum((tensor.flatten() * torch.linspace(-1, 2, tensor.numel())).sum() for tensor in tensors)


def gradients(value: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return torch.autograd.grad(value, tensors)


def assert_same_results(result: tuple, expected: tuple, tensors: list[torch.Tensor]) -> None:
    """Compares outputs, states and the gradients to `tensors` within 1e-5."""
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients(weigh(*result), tensors), gradients(weigh(*expected), tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def segmented(call_cost: float, *arguments, multiple: int = 1) -> tuple:
    """Runs `segmented_lstm` as if a segment cost so much."""

    def cut(
        lengths: tuple[int, ...], cost: float, step_cost: float, given_multiple: int, _: int
    ) -> tuple[Segment, ...]:
        return cut_segments(lengths, call_cost if cost else 0.0, step_cost, min(multiple, given_multiple))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_lstm, "cut_segments", cut)
        return segmented_lstm(*arguments)


def without_padding(*arguments) -> tuple:
    return segmented(0.0, *arguments)


def with_some_padding(*arguments) -> tuple:
    return segmented(5.0, *arguments)


def in_pairs_of_steps(*arguments) -> tuple:
    return segmented(1e-3, *arguments, multiple=2)


def in_one_segment(*arguments) -> tuple:
    return segmented(math.inf, *arguments)


def without_onednn(*arguments) -> tuple:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels_lstm, "takes_onednn", lambda *_: False)
        return with_some_padding(*arguments)


ALL_KERNELS = [
    *(padded_lstm, without_padding, with_some_padding, in_pairs_of_steps, in_one_segment, without_onednn),
    *(packed_lstm, stepwise_lstm),
]


@pytest.mark.parametrize("length", [7, 1])
@pytest.mark.parametrize("has_padding", [True, False])
@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_kernel_agrees_with_reference(kernel, bidirectional, has_states, has_padding, length):
    inputs, hidden, cell = make_kernel_arguments(bidirectional, length)
    parameters = make_layer(bidirectional).parameter_list()
    mask = FRONT_MASK[:, :length] if has_padding else torch.ones(len(MASK), length)
    states = (hidden, cell) if has_states else (None, None)
    output, *new_states = kernel(inputs, find_padding(mask), *states, parameters, True)
    zeros = torch.zeros_like(hidden)
    expected = reference_layer(inputs, mask.bool(), *(states if has_states else (zeros, zeros)), parameters)
    tensors = [inputs, *parameters, *([hidden, cell] if has_states else [])]
    assert_same_results((output, *(state.squeeze(0) for state in new_states)), expected, tensors)


@pytest.mark.parametrize("kernel", ALL_KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("content", [math.nan, math.inf, 1e30])
def test_kernel_ignores_what_stands_at_padding(kernel, bidirectional, content):
    inputs, hidden, cell = make_kernel_arguments(bidirectional)
    inputs = inputs.detach()
    parameters = make_layer(bidirectional).parameter_list()
    spoilt = inputs.masked_fill(FRONT_MASK.unsqueeze(-1) == 0, content)
    padding = find_padding(FRONT_MASK)
    result = kernel(spoilt, padding, hidden, cell, parameters, True)
    expected = kernel(inputs, padding, hidden, cell, parameters, True)
    assert_same_results(result, expected, [hidden, cell, *parameters])


@pytest.mark.parametrize("kernel", ALL_KERNELS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layer_agrees_with_reference_for_padding_anywhere(monkeypatch, kernel, bidirectional):
    monkeypatch.setitem(KERNELS, "cpu", kernel)
    layer = make_layer(bidirectional)
    inputs, hidden, cell = make_kernel_arguments(bidirectional)
    output, *new_states = layer(inputs, find_padding(MASK), hidden, cell)
    expected = reference_layer(inputs, MASK.bool(), hidden, cell, layer.parameter_list())
    tensors = [inputs, hidden, cell, *layer.parameters()]
    assert_same_results((output, *(state.squeeze(0) for state in new_states)), expected, tensors)


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


@pytest.mark.parametrize("bidirectional", [False, True])
def test_parameters_get_gradients_of_a_batch_without_tokens(bidirectional):
    layer = make_layer(bidirectional)
    inputs, hidden, cell = make_kernel_arguments(bidirectional)
    mask = torch.zeros_like(MASK)
    result = layer(inputs, find_padding(mask), hidden, cell)
    expected = reference_layer(inputs, mask.bool(), hidden, cell, layer.parameter_list())
    tensors = [hidden, cell, *layer.parameters()]
    found = gradients(weigh(*result), tensors)
    assert not any(gradient.any() for gradient in found[2:])
    for ours, theirs in zip((result[0], result[1][0], result[2][0]), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(found[:2], gradients(weigh(*expected), [hidden, cell]), strict=True):
        torch.testing.assert_close(ours, theirs)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kernel", [without_padding, with_some_padding, in_one_segment])
@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.enable_grad])
def test_prepacked_weights_change_nothing(kernel, bidirectional, has_states, dtype, grad_mode):
    layer = randomize(LstmLayer(32, 24 * (1 + bidirectional), bidirectional)).to(dtype).requires_grad_(False)
    inputs = torch.randn(*MASK.shape, 32, dtype=dtype)
    states = torch.randn(2, len(MASK), 1 + bidirectional, 24, dtype=dtype) if has_states else (None, None)
    arguments = (inputs, find_padding(FRONT_MASK), *states, layer.parameter_list(), False)
    with torch.no_grad():
        expected = padded_lstm(*arguments)
    # Without oneDNN's kernel, torch rounds each product to the narrow type; segments sum them in another order.
    tolerance = {} if has_onednn_kernel(dtype) else {"rtol": 0.0, "atol": 0.02}
    with grad_mode():
        for kept in (None, Prepacking(), Prepacking(are_fixed=True)):
            for result, other in zip(kernel(*arguments, kept), expected, strict=True):
                torch.testing.assert_close(result, other, **tolerance)
                assert not result.requires_grad


def test_layers_in_int8_may_change_their_type():
    layer, inputs = (
        randomize(LstmLayer(16, 32, bidirectional=True)).eval().requires_grad_(False),
        torch.randn(2, 5, 16),
    )
    layer.quantize_weights()
    layer(inputs)
    for dtype in (torch.float32, torch.bfloat16):
        layer.to(dtype)
        expected = padded_lstm(inputs.to(dtype), None, None, None, layer.parameter_list(), False)[0]
        torch.testing.assert_close(layer(inputs.to(dtype))[0], expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("length", [7, 1])
def test_layer_returns_the_state_after_every_position_when_asked(length):
    layer = make_layer(bidirectional=False)
    inputs, hidden, cell = make_kernel_arguments(False, length)
    mask = MASK[:, :length]
    output, hiddens, cells = layer(inputs, find_padding(mask), hidden, cell, True)
    assert hiddens.shape == cells.shape == (length, len(MASK), 1, SIZE)
    for position in range(length):
        part = slice(0, position + 1)
        expected = reference_layer(inputs[:, part], mask[:, part].bool(), hidden, cell, layer.parameter_list())
        torch.testing.assert_close((output[:, part], hiddens[position], cells[position]), expected)


@pytest.mark.parametrize("has_kernel", [False, True])
@pytest.mark.parametrize("way", ["weights", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layer_returns_the_state_after_every_position_in_narrow_types(monkeypatch, dtype, way, has_kernel):
    layer, inputs = make_layer(bidirectional=False), make_kernel_arguments(False)[0]
    with torch.no_grad():
        expected = layer(inputs, find_padding(MASK), every_step=True)
        if way == "weights":
            layer, inputs = layer.to(dtype), inputs.to(dtype)
        for module in (kernels_lstm, prepacking_lstm):
            monkeypatch.setattr(module, "has_onednn_kernel", lambda given: has_kernel or given == torch.float32)
        with torch.autocast("cpu", dtype, enabled=way == "autocast"):
            results = layer(inputs, find_padding(MASK), every_step=True)
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), other, rtol=0.03, atol=0.03)


def test_processor_without_a_kernel_of_the_type_reads_a_token_outside_of_autocast(monkeypatch):
    monkeypatch.setattr(kernels_lstm, "has_onednn_kernel", lambda dtype: dtype == torch.float32)
    is_on, step = [], kernels_lstm.step_lstm
    monkeypatch.setattr(
        kernels_lstm, "step_lstm", lambda *a: is_on.append(torch.is_autocast_enabled("cpu")) or step(*a)
    )
    layer, inputs = make_layer(bidirectional=True), make_kernel_arguments(True, 1)[0]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = layer(inputs)[0]
    assert is_on == [False, False]
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize("padded", [False, True])
def test_states_keep_their_type_where_steps_are_rounded_to_another(monkeypatch, padded):
    step = kernels_lstm.step_lstm
    monkeypatch.setattr(kernels_lstm, "step_lstm", lambda *a: tuple(state.bfloat16() for state in step(*a)))
    parameters, (inputs, *states) = make_layer(bidirectional=True).parameter_list(), make_kernel_arguments(True)
    results = stepwise_lstm(inputs, find_padding(FRONT_MASK) if padded else None, *states, parameters, False)
    assert {result.dtype for result in results} == {torch.float32}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layer_agrees_with_packed_torch_lstm(bidirectional):
    layer = make_layer(bidirectional)
    lstm = nn.LSTM(INPUT_SIZE, SIZE, batch_first=True, bidirectional=bidirectional)
    lstm.load_state_dict(layer.state_dict())
    inputs, hidden, cell = make_kernel_arguments(bidirectional)
    rows = FRONT_MASK.sum(dim=1) > 0
    lengths = FRONT_MASK[rows].sum(dim=1)
    packed = nn.utils.rnn.pack_padded_sequence(inputs[rows], lengths, batch_first=True, enforce_sorted=False)
    states = tuple(state[rows].transpose(0, 1).contiguous() for state in (hidden, cell))
    expected, expected_states = lstm(packed, states)
    expected, _ = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True, total_length=inputs.shape[1])
    output, *new_states = layer(inputs, find_padding(FRONT_MASK), hidden, cell)
    torch.testing.assert_close(output[rows], expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(new_states, expected_states, strict=True):
        torch.testing.assert_close(ours[0][rows].transpose(0, 1), theirs, rtol=1e-5, atol=1e-5)


def test_layer_takes_a_single_step_through_the_cell(monkeypatch):
    layer = make_layer(bidirectional=False)
    inputs, hidden, cell = make_kernel_arguments(False, 1)
    monkeypatch.setattr(torch, "lstm", None)
    output, *_ = layer(inputs, None, hidden, cell)
    assert output.shape == (len(MASK), 1, SIZE)


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 1), (0, 0)])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("every_step", [False, True])
def test_layer_keeps_the_state_when_there_is_nothing_to_read(shape, bidirectional, every_step):
    layer = make_layer(bidirectional)
    states = torch.randn(2, shape[0], 1 + bidirectional, SIZE)
    mask = torch.ones(shape, dtype=torch.long)
    output, hidden, cell = layer(torch.zeros(*shape, INPUT_SIZE), find_padding(mask), *states, every_step)
    assert output.shape == (*shape, SIZE * (1 + bidirectional))
    torch.testing.assert_close((hidden[-1], cell[-1]), tuple(states))


@pytest.mark.parametrize("residual", [False, True])
def test_layer_runs_one_direction_alone_over_the_order_given(residual):
    layer = randomize(LstmLayer(6, 6, bidirectional=True, residual=residual)).eval()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(*MASK.shape, 6, generator=generator)
    hidden, cell = (torch.randn(len(MASK), 2, 3, generator=generator) for _ in range(2))
    output, *states = layer(inputs, find_padding(MASK), hidden, cell)
    forward, *forward_states = layer(inputs, find_padding(MASK), hidden[:, :1], cell[:, :1], direction=0)
    flipped = inputs.flip(1), find_padding(MASK.flip(1))
    reverse, *reverse_states = layer(*flipped, hidden[:, 1:], cell[:, 1:], direction=1)
    torch.testing.assert_close(torch.cat([forward, reverse.flip(1)], dim=-1), output)
    for ours, *parts in zip(states, forward_states, reverse_states, strict=True):
        torch.testing.assert_close(torch.cat(parts, dim=2), ours)


def test_layer_adds_a_residual_only_where_widths_match():
    same = randomize(LstmLayer(6, 6, residual=True))
    inputs = torch.randn(2, 4, 6)
    plain = LstmLayer(6, 6)
    plain.load_state_dict(same.state_dict())
    torch.testing.assert_close(same(inputs)[0], plain(inputs)[0] + inputs)
    assert not LstmLayer(5, 6, residual=True).residual


def test_layer_refuses_to_train_in_float16_on_the_cpu():
    layer = make_layer(bidirectional=False)
    inputs, _, _ = make_kernel_arguments(False)
    with (
        torch.autocast("cpu", torch.float16),
        pytest.raises(ValueError, match=r"gradients of an LSTM in float16 on a CPU. Take bfloat16"),
    ):
        layer(inputs)
    with pytest.raises(ValueError, match="bfloat16"):
        layer.half()(inputs.half())


@pytest.mark.parametrize("padded", [False, True])
def test_layer_reads_under_autocast_in_float16_on_the_cpu(padded):
    layer = make_layer(bidirectional=True)
    inputs, _, _ = make_kernel_arguments(True)
    padding = find_padding(MASK) if padded else None
    with torch.no_grad():
        expected = layer(inputs, padding)
        with torch.autocast("cpu", torch.float16):
            results = layer(inputs, padding)
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == torch.float16
        torch.testing.assert_close(result.float(), other, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("way", ["weights", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_processor_without_a_kernel_of_the_type_reads_in_float32(monkeypatch, dtype, way, has_states):
    monkeypatch.setattr(prepacking_lstm, "has_onednn_kernel", lambda dtype: dtype == torch.float32)
    layer = make_layer(bidirectional=True).to(dtype)
    inputs, *states = (each.detach().to(dtype) for each in make_kernel_arguments(True))
    arguments = (find_padding(MASK), *(states if has_states else ()))
    wide = copy.deepcopy(layer).float()
    with torch.no_grad():
        expected = wide(inputs.float(), *arguments)
        with torch.autocast("cpu", dtype, enabled=way == "autocast"):
            results = (layer if way == "weights" else wide)(inputs, *arguments)
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == dtype
        assert torch.equal(result, other.to(dtype))


@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_gradients_of_bfloat16_read_in_float32_are_rounded_ones(monkeypatch, way):
    monkeypatch.setattr(prepacking_lstm, "has_onednn_kernel", lambda dtype: dtype == torch.float32)
    layer, inputs = make_layer(bidirectional=True).bfloat16(), make_kernel_arguments(True)[0]
    wide = copy.deepcopy(layer).float()
    rounded = inputs.detach().bfloat16().requires_grad_()
    expected = gradients(weigh(wide(rounded.float(), find_padding(MASK))[0].bfloat16().float()), [rounded])[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        output = (layer if way == "weights" else wide)(rounded, find_padding(MASK))[0]
    torch.testing.assert_close(gradients(weigh(output.float()), [rounded])[0], expected)


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(6, 7, 4)}, r"input of an LSTM layer is of shape \(6, 7, 4\)"),
        ({"inputs": torch.zeros(1, 6, 7, 5)}, r"is of shape \(1, 6, 7, 5\)"),
        (
            {"hidden": torch.zeros(6, 2, 9)},
            r"hidden state of an LSTM layer is of shape \(6, 2, 9\), but must be \(6, ",
        ),
        ({"cell": torch.zeros(5, 2, 3)}, r"cell state of an LSTM layer is of shape \(5, 2, 3\)"),
        ({"cell": None}, "given its hidden state alone: give the hidden and the cell state, or neither"),
        ({"hidden": None}, "given its cell state alone"),
    ],
)
def test_what_does_not_fit_a_layer_is_refused_before_torch_reads_beyond_it(change, message):
    arguments = dict(zip(("inputs", "hidden", "cell"), make_kernel_arguments(True))) | change
    parameters = make_layer(bidirectional=True).parameter_list()
    with pytest.raises(ValueError, match=message):
        run_lstm(padding=None, parameters=parameters, training=False, **arguments)


@pytest.mark.parametrize("length", [7, 1])
def test_autocast_leaves_double_precision_alone(length):
    layer = make_layer(bidirectional=True).double()
    inputs, padding = make_kernel_arguments(True, length)[0].double(), find_padding(FRONT_MASK[:, :length])
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(inputs, padding)[0]
    torch.testing.assert_close(output, layer(inputs, padding)[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_layer_holds_for_other_lengths():
    layer = make_layer(bidirectional=True).requires_grad_(False)

    def read(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return layer(inputs, find_padding(mask))[0]

    inputs = make_kernel_arguments(True)[0].detach()
    traced = torch.jit.trace(read, (inputs[1:3, :5], FRONT_MASK[1:3, :5]), check_trace=False)
    torch.testing.assert_close(traced(inputs, FRONT_MASK), read(inputs, FRONT_MASK))


@pytest.mark.parametrize("mask", [MASK[:3], MASK[:, :4]])
def test_padding_of_another_batch_is_refused(mask):
    layer, inputs = make_layer(bidirectional=False), make_kernel_arguments(False)[0]
    with pytest.raises(
        ValueError, match=r"padding of an LSTM layer is of shape \(\d, \d\), but its input has \(6, 7\)"
    ):
        layer(inputs, Padding(mask.bool(), mask.sum(dim=1), None, None, mask.bool()))


def test_find_padding_sorts_only_where_tokens_do_not_stand_in_front():
    assert find_padding(None) is None
    assert find_padding(torch.ones(2, 3)) is None
    assert find_padding(FRONT_MASK).order is None
    assert find_padding(MASK).order is not None
    assert find_padding(MASK).lengths.tolist() == [7, 4, 5, 4, 1, 0]


def test_weight_dropout_changes_training_only_and_keeps_the_plain_weight():
    layer = make_layer(bidirectional=True, weight_dropout=0.5)
    inputs, _, _ = make_kernel_arguments(False)
    weight = layer.weight_hh_l0.detach().clone()
    assert torch.equal(layer(inputs)[0], layer(inputs)[0])
    layer.train()
    assert not torch.equal(layer(inputs)[0], layer(inputs)[0])
    assert torch.equal(layer.weight_hh_l0, weight)
    assert set(layer.state_dict()) == set(nn.LSTM(2, 3, bidirectional=True).state_dict())
    for place, dropped in enumerate(layer.parameter_list()):
        plain = list(layer.parameters())[place]
        if place % 4 == 1:
            ratio = dropped / plain
            assert set(ratio.flatten().tolist()) == {0.0, 2.0}
        else:
            assert dropped is plain


def test_weight_dropout_gives_gradients_to_kept_weights_only():
    layer = make_layer(bidirectional=False, weight_dropout=0.5).train()
    inputs, _, _ = make_kernel_arguments(False)
    torch.manual_seed(0)
    kept = layer.parameter_list()[1] != 0
    torch.manual_seed(0)
    layer(inputs)[0].sum().backward()
    assert torch.equal(layer.weight_hh_l0.grad != 0, kept)


def test_locked_dropout_uses_one_mask_for_all_positions_and_rescales():
    torch.manual_seed(0)
    dropout = LockedDropout(0.25)
    inputs = torch.ones(40, 3, 50)
    dropped = dropout(inputs)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (dropped[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert dropout.eval()(inputs) is inputs


def test_hash_ngrams_depends_on_all_tokens_of_the_ngram_and_nothing_else():
    first, second = torch.tensor([[4, 5, 6, 7, 8]]), torch.tensor([[9, 5, 6, 7, 4]])
    same = hash_ngrams(first, 2, 10**6) == hash_ngrams(second, 2, 10**6)
    assert same.tolist() == [[False, False, True, True, False]]
    same = hash_ngrams(first, 3, 10**6) == hash_ngrams(second, 3, 10**6)
    assert same.tolist() == [[False, False, False, True, False]]
    assert hash_ngrams(torch.tensor([[4, 5]]), 2, 10**6)[0, 1] != hash_ngrams(torch.tensor([[5, 4]]), 2, 10**6)[0, 1]


def test_hash_ngrams_gives_the_buckets_that_saved_weights_were_trained_with():
    tokens = torch.tensor([[4, 5, 6]])

    assert hash_ngrams(tokens, 1, 1009).tolist() == [[504, 588, 672]]
    assert hash_ngrams(tokens, 3, 1009).tolist() == [[617, 133, 662]]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_hash_ngrams_spreads_over_the_buckets_like_chance(order):
    num_buckets = 2**14
    tokens = torch.randint(0, 200_000, (20_000, order), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    buckets = hash_ngrams(tokens, order, num_buckets)[:, -1]
    assert buckets.min() >= 0
    assert buckets.max() < num_buckets
    by_chance = num_buckets * (1 - math.exp(-len(tokens) / num_buckets))
    assert len(buckets.unique()) == pytest.approx(by_chance, rel=0.03)


def test_ngram_classifier_sums_each_different_ngram_once():
    classifier = randomize(NgramClassifier([1, 2], 10_007, 3))
    scores = classifier(torch.tensor([[7, 8, 7, 8], [7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]))
    buckets = [hash_ngrams(torch.tensor([[7, 8, 7]]), order, 10_007)[0].tolist() for order in (1, 2)]
    unigrams, bigrams = {*buckets[0]}, {*buckets[1]}
    assert (len(unigrams), len(bigrams)) == (2, 3)  # 7, 8; start-7, 7-8, 8-7
    expected = classifier.weight[[*unigrams, *bigrams]].sum(dim=0) / math.sqrt(5) + classifier.bias
    torch.testing.assert_close(scores[0], expected)
    expected = classifier.weight[[*unigrams, *buckets[1][:2]]].sum(dim=0) / math.sqrt(4) + classifier.bias
    torch.testing.assert_close(scores[1], expected)


def test_ngram_classifier_ignores_padding_and_scores_an_empty_row_by_its_bias():
    classifier = randomize(NgramClassifier([1, 2, 3], 500, 3))
    input_ids = make_input_ids()
    scores = classifier(input_ids, MASK)
    for row, is_token in enumerate(MASK.bool()):
        alone = input_ids[row][is_token].unsqueeze(0)
        expected = classifier(alone, None)[0] if is_token.any() else classifier.bias
        torch.testing.assert_close(scores[row], expected)
    torch.testing.assert_close(scores, classifier(input_ids.masked_fill(MASK == 0, 0), MASK))


def test_ngram_classifier_scores_marked_buckets_as_the_text_they_are_from():
    classifier = randomize(NgramClassifier([1, 2], 11, 3)).eval()
    input_ids = make_input_ids()
    buckets, is_new = classifier.find_ngrams(input_ids, MASK)
    seen = torch.stack([torch.isin(torch.arange(11), row[new]) for row, new in zip(buckets, is_new, strict=True)])
    torch.testing.assert_close(classifier.score_buckets(seen), classifier(input_ids, MASK))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_ngram_classifier_scores_in_the_type_of_its_weights(dtype):
    classifier = randomize(NgramClassifier([1, 2], 11, 3)).eval()
    input_ids, seen = make_input_ids(), torch.arange(22).view(2, 11) % 3 == 0
    expected = classifier(input_ids, MASK), classifier.score_buckets(seen)
    classifier.to(dtype)
    for scores, other in zip((classifier(input_ids, MASK), classifier.score_buckets(seen)), expected, strict=True):
        assert scores.dtype == dtype
        torch.testing.assert_close(scores.float(), other, rtol=0.02, atol=0.02)


def test_ngram_classifier_dropout_is_for_training_only():
    classifier = randomize(NgramClassifier([1], 500, 3, dropout=0.5))
    input_ids = make_input_ids()
    assert not torch.equal(classifier(input_ids, None), classifier(input_ids, None))
    classifier.eval()
    assert torch.equal(classifier(input_ids, None), classifier(input_ids, None))


def reference_pool(pooling: str, tokens: torch.Tensor, pooler: LstmPooler) -> torch.Tensor:
    """Pools one row's tokens, of shape `(num_tokens, size)`, without any mask."""
    if len(tokens) == 0:
        return torch.zeros(pooler.output_size)
    if pooling == "mean":
        return sum(tokens) / len(tokens)
    if pooling == "max":
        return tokens.max(dim=0).values
    if pooling == "last":
        if not pooler.bidirectional:
            return tokens[-1]
        half = tokens.shape[1] // 2
        return torch.cat([tokens[-1][:half], tokens[0][half:]])
    if pooling == "concat":
        return torch.cat([reference_pool(name, tokens, pooler) for name in ("last", "max", "mean")])
    scores = torch.stack([torch.tanh(token) @ pooler.attention.weight[0] for token in tokens])
    return (scores.exp() / scores.exp().sum()) @ tokens


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_pooling_reads_the_tokens_only_wherever_padding_stands(pooling, bidirectional):
    pooler = randomize(LstmPooler(pooling, 6, bidirectional))
    hidden_states = torch.randn(*MASK.shape, 6, generator=torch.Generator().manual_seed(0)) - 2
    spoilt = hidden_states.masked_fill(MASK.unsqueeze(-1) == 0, math.nan)
    pooled = pooler(spoilt, MASK)
    assert pooled.shape == (len(MASK), pooler.output_size)
    for row, is_token in enumerate(MASK.bool()):
        torch.testing.assert_close(pooled[row], reference_pool(pooling, hidden_states[row][is_token], pooler))
    torch.testing.assert_close(pooler(hidden_states, None), pooler(hidden_states, torch.ones_like(MASK)))


@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_pooling_takes_any_number_but_zero_for_a_token(pooling):
    pooler = randomize(LstmPooler(pooling, 6, True))
    hidden_states = torch.randn(*MASK.shape, 6)
    expected = pooler(hidden_states, MASK)
    for number in (2, -1, 0.5):
        torch.testing.assert_close(pooler(hidden_states, MASK * number), expected)


def test_pooling_scores_without_a_bias_which_would_change_nothing():
    assert list(LstmPooler("attention", 6, True).state_dict()) == ["attention.weight"]


@pytest.mark.parametrize("shape", [(3, 0), (0, 4)])
@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_pooling_gives_zeros_for_sequences_of_no_length(pooling, shape):
    pooler = LstmPooler(pooling, 6, True)
    assert torch.equal(pooler(torch.zeros(*shape, 6), None), torch.zeros(shape[0], pooler.output_size))
