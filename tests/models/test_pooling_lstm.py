"""The pooling of a classifier against that of each row alone."""

import math

import pytest
import torch

from hf_lstm.models.configuration_lstm import CLASSIFIER_POOLINGS
from hf_lstm.models.pooling_lstm import LstmPooler
from tests.models.factories import MASK, randomize


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
    # To maxima, it must be finite.
    filler = torch.finfo(torch.float32).max if pooling in ("max", "concat") else math.nan
    spoilt = hidden_states.masked_fill(MASK.unsqueeze(-1) == 0, filler)
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


@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_pooling_in_float16_holds_the_sum_over_a_long_text(pooling):
    pooler = randomize(LstmPooler(pooling, 6, True)).half()
    hidden_states = torch.full((1, 3000, 6), 40.0, dtype=torch.float16)
    pooled = pooler(hidden_states, None)
    assert pooled.dtype == torch.float16
    torch.testing.assert_close(
        pooled, torch.full((1, pooler.output_size), 40.0, dtype=torch.float16), rtol=0.01, atol=0
    )
