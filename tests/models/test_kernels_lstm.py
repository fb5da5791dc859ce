"""The kernels of an LSTM layer against the reference, in all types, and what they refuse."""

import copy
import math

import pytest
import torch

from hf_lstm.models import kernels_lstm, prepacking_lstm
from hf_lstm.models.kernels_lstm import KERNELS, packed_lstm, padded_lstm, run_lstm, stepwise_lstm
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.padding_lstm import Padding, find_padding
from hf_lstm.models.prepacking_lstm import Prepacking, has_onednn_kernel
from tests.models.factories import MASK, randomize
from tests.models.layer_factories import (
    FRONT_MASK,
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


@pytest.mark.parametrize("mask", [MASK[:3], MASK[:, :4]])
def test_padding_of_another_batch_is_refused(mask):
    layer, inputs = make_layer(bidirectional=False), make_kernel_arguments(False)[0]
    with pytest.raises(
        ValueError, match=r"padding of an LSTM layer is of shape \(\d, \d\), but its input has \(6, 7\)"
    ):
        layer(inputs, Padding(mask.bool(), mask.sum(dim=1), None, None, mask.bool()))
