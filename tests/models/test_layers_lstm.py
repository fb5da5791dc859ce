"""The LSTM layer against the reference and torch's, its residual, directions and dropouts."""

import pytest
import torch
from torch import nn

from hf_lstm.models.kernels_lstm import padded_lstm
from hf_lstm.models.layers_lstm import LockedDropout, LstmLayer
from hf_lstm.models.padding_lstm import find_padding
from tests.models.factories import MASK, randomize
from tests.models.layer_factories import (
    FRONT_MASK,
    INPUT_SIZE,
    SIZE,
    gradients,
    make_kernel_arguments,
    make_layer,
    weigh,
)
from tests.models.reference_lstm import reference_layer


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_layer_holds_for_other_lengths():
    layer = make_layer(bidirectional=True).requires_grad_(False)

    def read(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return layer(inputs, find_padding(mask))[0]

    inputs = make_kernel_arguments(True)[0].detach()
    traced = torch.jit.trace(read, (inputs[1:3, :5], FRONT_MASK[1:3, :5]), check_trace=False)
    torch.testing.assert_close(traced(inputs, FRONT_MASK), read(inputs, FRONT_MASK))


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
