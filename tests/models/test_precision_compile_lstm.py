"""Reduced precision, compiled training steps and exported programs."""

import pytest
import torch

from hf_lstm import LstmForCausalLM, LstmForSequenceClassification, LstmForTokenClassification, LstmModel
from tests.models.factories import ADAPTIVE, MASK, make_input_ids, make_labels, make_model

HEAD_VARIANTS = [
    (
        LstmForSequenceClassification,
        {
            "bidirectional": True,
            "ngram_orders": [2],
            "classifier_ngram_orders": [1, 2],
            "classifier_pooling": "attention",
            "classifier_shortcut": True,
            "layer_norm": True,
        },
    ),
    (LstmForTokenClassification, {"bidirectional": True, "residual_connections": True}),
    (LstmForCausalLM, {"tie_word_embeddings": True}),
    (LstmForCausalLM, ADAPTIVE | {"embedding_rank": 3}),
]


def run(model, mask=MASK) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Returns the loss and the gradients of one training step."""
    input_ids = make_input_ids()
    model.zero_grad()
    result = model(input_ids, attention_mask=mask, labels=make_labels(model, input_ids))
    result.loss.backward()
    return result.loss.detach().float(), [parameter.grad.float() for parameter in model.parameters()]


@pytest.mark.parametrize("mask", [MASK, None])
@pytest.mark.parametrize(("model_class", "variant"), HEAD_VARIANTS)
@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_bfloat16_is_near_float32(way, model_class, variant, mask):
    expected_loss, expected = run(make_model(model_class, **variant).train(), mask)
    model = make_model(model_class, **variant).train()
    if way == "weights":
        loss, gradients = run(model.to(torch.bfloat16), mask)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            loss, gradients = run(model, mask)
    torch.testing.assert_close(loss, expected_loss, rtol=0.03, atol=0.03)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() <= 0.05 * theirs.norm() + 0.01


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_bfloat16_ignores_padding_exactly(way, bidirectional):
    model = make_model(bidirectional=bidirectional)
    input_ids = make_input_ids()
    if way == "weights":
        model.to(torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        batch = model(input_ids, attention_mask=MASK)
        for row, is_token in enumerate(MASK.bool()):
            if is_token.sum() > 1:  # a single token goes through the cell
                alone = model(input_ids[row, is_token].unsqueeze(0))
                ours, theirs = batch.last_hidden_state[row, is_token], alone.last_hidden_state[0]
                torch.testing.assert_close(ours.float(), theirs.float(), rtol=0, atol=2e-2)


@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_bfloat16_steps_from_a_state_follow_the_whole_sequence(way):
    model = make_model()
    input_ids = make_input_ids()
    if way == "weights":
        model.to(torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        whole = model(input_ids, attention_mask=MASK).cache
        cache = None
        for step in range(7):
            cache = model(input_ids[:, [step]], attention_mask=MASK[:, [step]], cache=cache).cache
    for ours, theirs in zip(cache.to_torch(), whole.to_torch(), strict=True):
        assert ours.dtype == theirs.dtype == model.dtype
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("length", [1, 7])
def test_training_in_float16_on_the_cpu_says_what_to_take(length):
    input_ids = make_input_ids(2, length)
    with pytest.raises(ValueError, match=r"float16 on a CPU. Take bfloat16 \(`bf16=True`\) or float32"):
        make_model().half().train()(input_ids)
    with torch.autocast("cpu", torch.float16), pytest.raises(ValueError, match="bfloat16"):
        make_model().train()(input_ids)


def test_inference_in_float16_on_the_cpu_is_near_float32():
    input_ids = make_input_ids()
    with torch.no_grad():
        expected = make_model(bidirectional=True)(input_ids, attention_mask=MASK).last_hidden_state
        ours = make_model(bidirectional=True).half()(input_ids, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(ours.float(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("model_class", "variant"), HEAD_VARIANTS)
def test_compiled_training_step_gives_the_same_loss_and_gradients(model_class, variant):
    """The backend that only traces: what the compiler sees is right, without the minutes its C++ takes."""
    torch.compiler.reset()
    expected_loss, expected = run(make_model(model_class, **variant).train())
    model = make_model(model_class, **variant).train()
    model.forward = torch.compile(model.forward, backend="aot_eager")
    for mask in (MASK, MASK.flip(1), MASK):
        loss, gradients = run(model, mask)
    torch.testing.assert_close(loss, expected_loss)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mask", "others"), [(None, 0), (MASK, 1)])
def test_graph_breaks_at_each_lstm_layer_and_where_a_mask_is_read(mask, others):
    model = make_model(LstmForSequenceClassification, num_hidden_layers=3).eval()
    torch.compiler.reset()
    explanation = torch._dynamo.explain(model)(make_input_ids(), attention_mask=mask)
    assert explanation.graph_break_count == 3 + others
    assert sum("run_lstm" in reason.reason for reason in explanation.break_reasons) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_training_step_by_the_default_backend():
    torch.compiler.reset()
    model_class, variant = HEAD_VARIANTS[0]
    expected_loss, expected = run(make_model(model_class, **variant).train())
    model = make_model(model_class, **variant).train()
    model.compile()
    loss, gradients = run(model)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_very_long_memories_are_exact_in_float32():
    """With open forget gates the cell adds up over hundreds of steps, and padding must not make it leak."""
    model = make_model(LstmModel, num_hidden_layers=1)
    layer = model.layers[0]
    with torch.no_grad():
        layer.bias_ih_l0[6:12] = 6.0
    input_ids = make_input_ids(2, 600)
    padded = torch.cat([input_ids, torch.zeros(2, 300, dtype=torch.long)], dim=1)
    with torch.no_grad():
        expected = model(input_ids).cache.to_torch()
        ours = model(padded, attention_mask=(padded > 0).long()).cache.to_torch()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
