"""Attention and bridge by themselves; `reference_seq2seq` holds their formulas."""

import pytest
import torch

from hf_lstm.models.attention_lstm import LstmAttention, LstmBridge
from tests.models.factories import ATTENTION_TYPES, MASK, make_seq2seq_config, randomize
from tests.models.reference_seq2seq import reference_attention

KINDS = [kind for kind in ATTENTION_TYPES if kind != "none"]


def make_attention(kind: str, **overrides) -> LstmAttention:
    return randomize(LstmAttention(make_seq2seq_config(attention_type=kind, **overrides))).eval()


def make_tensors(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns queries and encoder outputs."""
    generator = torch.Generator().manual_seed(3)
    size = 8 if kind == "luong_dot" else 6
    return torch.randn(6, 5, 8, generator=generator), torch.randn(6, 7, size, generator=generator)


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_contexts_and_weights_agree_with_the_formula(kind, has_mask):
    attention, (queries, states) = make_attention(kind), make_tensors(kind)
    mask = MASK if has_mask else None
    contexts, weights = attention(queries, attention.remember(states, mask))
    assert contexts.shape == (6, 5, attention.context_size)
    assert weights.shape == (6, attention.num_heads, 5, 7)
    for row in range(6):
        places = MASK[row].nonzero().flatten().tolist() if has_mask else list(range(7))
        for step in range(5):
            context, expected = reference_attention(attention, queries[row, step], [states[row, i] for i in places])
            torch.testing.assert_close(contexts[row, step], context)
            torch.testing.assert_close(weights[row, :, step, places], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_zero_at_padding_and_add_up_to_one_elsewhere(kind):
    attention, (queries, states) = make_attention(kind), make_tensors(kind)
    contexts, weights = attention(queries * 50, attention.remember(states * 50, MASK))
    assert (weights[:, :, :, :].masked_select(MASK[:, None, None] == 0) == 0).all()
    expected = MASK.any(dim=1).float()[:, None, None].expand(6, attention.num_heads, 5)
    torch.testing.assert_close(weights.sum(dim=-1), expected)
    assert (contexts[-1] == 0).all()
    assert contexts.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_padding_holds_no_nan(kind):
    attention, (queries, states) = make_attention(kind), make_tensors(kind)
    states = states.masked_fill(MASK[..., None] == 0, torch.nan).requires_grad_()
    memory = attention.remember(states, MASK.float())
    assert memory.source is states
    assert memory.keys.isfinite().all()
    contexts, _ = attention(queries, memory)
    contexts.sum().backward()
    assert contexts.isfinite().all()
    assert states.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_on_the_way_is_nan_where_a_source_has_no_tokens(kind):
    attention, (queries, states) = make_attention(kind), make_tensors(kind)
    with torch.autograd.set_detect_anomaly(True):
        contexts, _ = attention(queries.requires_grad_(), attention.remember(states, MASK))
        contexts.square().sum().backward()
    assert not queries.grad[-1].any()


def test_any_number_but_zero_marks_a_token_of_the_source():
    attention, (queries, states) = make_attention("luong_general"), make_tensors("")
    expected = attention(queries, attention.remember(states, MASK))
    for number in (2, -1, 0.5):
        for result, other in zip(attention(queries, attention.remember(states, MASK * number)), expected, strict=True):
            assert torch.equal(result, other)


@pytest.mark.parametrize("kind", KINDS)
def test_mask_of_a_source_without_padding_is_not_looked_at_again(kind):
    attention, (queries, states) = make_attention(kind), make_tensors(kind)
    memory = attention.remember(states, torch.ones(6, 7))
    assert memory.mask is None
    for result, expected in zip(attention(queries, memory), attention(queries, attention.remember(states, None))):
        assert torch.equal(result, expected)
    assert attention.remember(states, MASK).mask is not None


def test_dropout_falls_on_the_weights_that_are_used_and_not_on_those_returned():
    attention, (queries, states) = make_attention("luong_general", attention_dropout=0.5), make_tensors("")
    memory = attention.remember(states, None)
    contexts, weights = attention(queries, memory)
    dropped, same = attention.train()(queries, memory)
    assert torch.equal(weights, same)
    assert not torch.allclose(contexts, dropped)
    ones = memory._replace(values=torch.eye(7).expand(6, 7, 7))
    ratio = attention(queries, ones)[0] / weights[:, 0]
    assert set(ratio.round(decimals=3).unique().tolist()) == {0.0, 2.0}


def make_bridge(**overrides) -> LstmBridge:
    return randomize(LstmBridge(make_seq2seq_config(**overrides)))


@pytest.mark.parametrize(
    ("encoder_layers", "decoder_layers", "sources"),
    [(2, 2, [0, 1]), (3, 2, [1, 2]), (3, 1, [2]), (1, 3, [0, 0, 0]), (2, 4, [0, 0, 0, 1])],
)
def test_top_layers_meet_where_depths_differ(encoder_layers, decoder_layers, sources):
    bridge = make_bridge(encoder_layers=encoder_layers, decoder_layers=decoder_layers)
    states = torch.randn(4, encoder_layers, 2, 6)
    result = bridge(states)
    assert len(result) == decoder_layers
    for layer, (hidden, cell) in enumerate(result):
        source = states[:, sources[layer]]
        assert hidden.shape == cell.shape == (4, 1, 8)
        torch.testing.assert_close(hidden[:, 0], torch.tanh(bridge.hidden_maps[layer](source[:, 0])))
        torch.testing.assert_close(cell[:, 0], bridge.cell_maps[layer](source[:, 1]))


def test_bridge_copies_or_starts_from_zeros():
    states = torch.randn(4, 3, 2, 8)
    copied = make_bridge(bridge_type="copy", encoder_hidden_size=8, encoder_layers=3)
    assert not list(copied.parameters())
    for layer, (hidden, cell) in enumerate(copied(states)):
        assert torch.equal(hidden[:, 0], states[:, layer, 0])
        assert torch.equal(cell[:, 0], states[:, layer, 1])
    zero = make_bridge(bridge_type="zero")
    assert not list(zero.parameters())
    for dtype in (torch.float32, torch.bfloat16):
        for hidden, cell in zero(torch.randn(4, 2, 2, 6, dtype=dtype)):
            assert hidden.dtype == dtype
            assert torch.equal(hidden, torch.zeros(4, 1, 8, dtype=dtype))
            assert torch.equal(cell, hidden)


def test_parts_say_what_they_are():
    assert "'multi_head', num_heads=2" in repr(make_attention("multi_head"))
    assert "'linear', sources=[0, 0, 1]" in repr(make_bridge())
