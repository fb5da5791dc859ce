"""The encoder–decoder in bfloat16 and float16, and compiled."""

import pytest
import torch

from hf_lstm import LstmForConditionalGeneration
from tests.models.factories import COPYING, MASK, TARGET_MASK, make_seq2seq_model, make_source, make_target

RUNS = {
    "at_once": {"attention_type": "luong_dot"},
    "feeding": {"input_feeding": True, "attention_type": "bahdanau"},
    "heads": {"attention_type": "multi_head", "share_embeddings": True},
    "no_attention": {"attention_type": "none"},
    "copying": COPYING,
}


def make_labels() -> torch.Tensor:
    return make_target(seed=3).masked_fill(TARGET_MASK == 0, -100)


def train_step(model: LstmForConditionalGeneration, mask: torch.Tensor = MASK) -> tuple[torch.Tensor, list]:
    loss = model(make_source(), mask, labels=make_labels()).loss
    return loss, list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("run", RUNS)
def test_training_in_bfloat16_autocast_is_near_float32(run):
    model = make_seq2seq_model(**RUNS[run]).train()
    expected, gradients = train_step(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss, ours = train_step(model)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.02)
    for one, other in zip(ours, gradients, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.03)


@pytest.mark.parametrize("run", RUNS)
def test_bfloat16_falls_back_on_processors_without_its_kernels(run, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    model = make_seq2seq_model(**RUNS[run]).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = train_step(model)
    torch.testing.assert_close(loss, train_step(model)[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("way", ["weights", "autocast"])
@pytest.mark.parametrize("run", RUNS)
def test_bfloat16_steps_from_a_state_follow_the_whole_target(run, way):
    model = make_seq2seq_model(**RUNS[run])
    if way == "weights":
        model.to(torch.bfloat16)
    source, target = make_source(), make_target()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        whole = model(source, MASK, target)
        cache, logits = None, []
        for step in range(5):
            part = model(source, MASK, target[:, [step]], cache=cache)
            cache = part.cache
            logits.append(part.logits)
    torch.testing.assert_close(torch.cat(logits, dim=1).float(), whole.logits.float(), rtol=0.05, atol=0.05)
    for layer in cache.layers:
        assert layer.hidden_state.dtype == layer.cell_state.dtype == model.dtype


@pytest.mark.parametrize("run", RUNS)
def test_training_in_float16_on_the_cpu_says_what_to_take(run):
    with pytest.raises(ValueError, match=r"float16 on a CPU. Take bfloat16 \(`bf16=True`\) or float32"):
        train_step(make_seq2seq_model(**RUNS[run]).half().train())
    with torch.autocast("cpu", torch.float16), pytest.raises(ValueError, match="bfloat16"):
        train_step(make_seq2seq_model(**RUNS[run]).train())


@pytest.mark.parametrize("run", RUNS)
def test_inference_in_float16_on_the_cpu_is_near_float32(run):
    model = make_seq2seq_model(**RUNS[run])
    with torch.no_grad():
        expected = model(make_source(), MASK, make_target()).logits
        ours = model.half()(make_source(), MASK, make_target()).logits
    torch.testing.assert_close(ours.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", ["at_once", "feeding"])
def test_compiled_training_step_gives_the_same_loss_and_gradients(run):
    """The backend that only traces: what the compiler sees is right, without the minutes its C++ takes."""
    torch.compiler.reset()
    fields = {"decoder_layers": 1, "encoder_layers": 1, **RUNS[run]}
    model = make_seq2seq_model(**fields).train()
    expected = [train_step(model, mask) for mask in (MASK, MASK.flip(1))]
    model.forward = torch.compile(model.forward, backend="aot_eager")
    for mask, (expected_loss, gradients) in zip((MASK, MASK.flip(1)), expected, strict=True):
        loss, ours = train_step(model, mask)
        torch.testing.assert_close(loss, expected_loss)
        for one, other in zip(ours, gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", ["at_once", "feeding"])
def test_compiled_inference_and_steps_from_a_state_give_the_same_logits(run):
    torch.compiler.reset()
    model = make_seq2seq_model(**{"decoder_layers": 1, "encoder_layers": 1, **RUNS[run]})
    source, target = make_source(), make_target()
    expected = model(source, MASK, target, TARGET_MASK).logits[TARGET_MASK.bool()]
    model.forward = torch.compile(model.forward, backend="aot_eager")
    with torch.no_grad():
        whole = model(source, MASK, target, TARGET_MASK).logits
        torch.testing.assert_close(whole[TARGET_MASK.bool()], expected)
        first = model(source, MASK, target[:, :2], TARGET_MASK[:, :2])
        rest = model(source, MASK, target[:, 2:], TARGET_MASK[:, 2:], cache=first.cache).logits
    torch.testing.assert_close(torch.cat([first.logits, rest], dim=1)[TARGET_MASK.bool()], expected)
