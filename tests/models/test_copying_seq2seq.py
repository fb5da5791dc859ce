"""Copying of source tokens against its formula, and what it is for."""

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from hf_lstm import LstmForConditionalGeneration
from hf_lstm.models.attention_lstm import LstmCopying
from tests.models.factories import (
    COPYING,
    MASK,
    TARGET_MASK,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
    randomize,
)

RUNS = [{**COPYING, "attention_type": kind} for kind in ("luong_dot", "multi_head")] + [
    {**COPYING, "input_feeding": True, "tie_word_embeddings": False}
]


@pytest.mark.parametrize("fields", RUNS)
def test_probabilities_are_the_mixture_of_writing_and_copying(fields):
    model, source, target = make_seq2seq_model(**fields), make_source(), make_target()
    with torch.no_grad():
        result = model(source, MASK, target, TARGET_MASK, output_attentions=True)
        hidden_states = model.model(source, MASK, target, TARGET_MASK).last_hidden_state
        written = model.lm_head(hidden_states).softmax(dim=-1)
        gates = model.copying.gate(hidden_states).sigmoid().squeeze(-1)
    weights = result.cross_attentions[0].mean(dim=1)
    for row in range(len(source) - 1):
        for step in range(target.shape[1]):
            expected = (1 - gates[row, step]) * written[row, step]
            for place, token in enumerate(source[row].tolist()):
                expected[token] += gates[row, step] * weights[row, step, place]
            torch.testing.assert_close(result.logits[row, step].exp(), expected)
    assert gates.min() > 0.05 and gates.max() < 0.95
    torch.testing.assert_close(result.logits[:-1].exp().sum(dim=-1), torch.ones(5, 5))


def test_gradients_of_a_double_model_are_those_of_its_loss():
    model, source, target = make_seq2seq_model(**COPYING).double(), make_source(2), make_target(2)

    def compute_loss(*weights):
        return model(source, labels=target).loss

    assert torch.autograd.gradcheck(compute_loss, [model.copying.gate.weight, model.copying.gate.bias])


@pytest.mark.parametrize("bias", [0.0, 20.0, -20.0])  # float16 holds no probability as small as that of -20
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixture_of_narrow_numbers_is_computed_in_float32_and_rounded_once(dtype, bias):
    config = make_seq2seq_config(**COPYING)
    copying = randomize(LstmCopying(config)).to(dtype)
    sizes = (config.decoder_output_size, config.vocab_size)
    hidden_states, scores = (torch.randn(2, 5, size, dtype=dtype) * 4 for size in sizes)
    weights, tokens = torch.rand(2, 5, 7).softmax(dim=-1).to(dtype), make_source(2)[:, None].expand(2, 5, 7)
    with torch.no_grad():
        copying.gate.bias.fill_(bias)
        result = copying(hidden_states, scores, weights, tokens)
        gate = copying.gate(hidden_states).float()
    copied = torch.zeros(2, 5, 23).scatter_add(-1, tokens, weights.float())
    expected = ((-gate).sigmoid() * scores.float().softmax(dim=-1) + gate.sigmoid() * copied).log()
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.parametrize("given", ["encoder_outputs", "cache", "both"])
def test_tokens_come_from_what_is_known_of_the_source(given):
    model, source, target = make_seq2seq_model(**COPYING), make_source(2), make_target(2)
    with torch.no_grad():
        expected = model(source, None, target).logits[:, 2:]
        outputs = model.get_encoder()(source)
        first = model(encoder_outputs=outputs, decoder_input_ids=target[:, :2])
        arguments = {"cache": first.cache, "decoder_input_ids": target[:, 2:]}
        if given == "encoder_outputs":
            result = model(encoder_outputs=outputs, decoder_input_ids=target).logits[:, 2:]
        elif given == "cache":
            result = model(**arguments).logits
        else:
            result = model(encoder_outputs=outputs, **arguments).logits
    torch.testing.assert_close(result, expected)


def test_a_source_without_tokens_is_refused():
    model, source = make_seq2seq_model(**COPYING), make_source(2)
    outputs = model.get_encoder()(source)
    states = BaseModelOutput(outputs.last_hidden_state)
    states["states"] = outputs.states
    embeddings = model.get_encoder().embed_tokens(source)
    for arguments in (
        {"inputs_embeds": embeddings},
        {"encoder_outputs": states},
        {"encoder_outputs": (*states.values(),)},
    ):
        with pytest.raises(ValueError, match="`copy_attention` copies source tokens.*give `input_ids`"):
            model(decoder_input_ids=make_target(2), **arguments)


def test_extreme_scores_give_finite_losses_and_gradients():
    model = make_seq2seq_model(**COPYING).train()
    with torch.no_grad():
        model.lm_head.bias[5] = 1e4
        model.copying.gate.bias.fill_(200.0)
    loss = model(make_source(), MASK, labels=make_target()).loss
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_source_vocabulary_is_not_resized_alone():
    model = make_seq2seq_model(**COPYING)
    with pytest.raises(ValueError, match="share their vocabulary .`copy_attention`."):
        model.get_encoder().resize_token_embeddings(30)
    model.resize_token_embeddings(30)
    assert model(torch.tensor([[29]]), decoder_input_ids=torch.tensor([[2]])).logits.shape == (1, 1, 30)


def test_tokens_never_seen_in_training_are_copied():
    """Trained to repeat sequences of half of the vocabulary, the model repeats those of the other half."""
    torch.manual_seed(0)
    fields = {"residual_connections": True, "encoder_embedding_size": 24, "encoder_hidden_size": 24}
    sides = {"decoder_embedding_size": 24, "decoder_hidden_size": 24, "encoder_layers": 1, "decoder_layers": 1}
    fields |= {**sides, "share_embeddings": True, "attention_type": "luong_dot", "vocab_size": 60}
    accuracy = {}
    for copies in (False, True):
        model = LstmForConditionalGeneration(make_seq2seq_config(copy_attention=copies, **fields))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(200):
            source = torch.randint(4, 32, (32, 5))
            model(source, labels=source).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        source = torch.randint(32, 60, (64, 5))
        with torch.no_grad():
            found = model.eval()(source, labels=source).logits.argmax(dim=-1)
        accuracy[copies] = (found == source).float().mean().item()
    assert accuracy[True] > 0.5 > 0.1 > accuracy[False], accuracy
