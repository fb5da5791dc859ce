"""LoRA on the LSTM's own parameters (PEFT), and models whose weights wait elsewhere until used (accelerate)."""

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model, init_empty_weights, load_checkpoint_and_dispatch
from peft import LoraConfig, PeftModel, get_peft_model

from hf_lstm import LstmForCausalLM, LstmForSequenceClassification
from tests.models.factories import (
    MASK,
    make_config,
    make_input_ids,
    make_labels,
    make_model,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
)

CLASSIFIER = ["layers.0.weight_ih_l0", "layers.1.weight_hh_l0"]
SEQ2SEQ = ["encoder.layers.0.weight_hh_l0_reverse", "decoder.layers.1.weight_ih_l0"]
KINDS = {
    "classifier": (CLASSIFIER, "SEQ_CLS", ["classifier"]),
    "language_model": (CLASSIFIER, "CAUSAL_LM", None),
    "seq2seq": (SEQ2SEQ, "SEQ_2_SEQ_LM", None),
}


def make(kind: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Returns a model and a batch with labels."""
    if kind == "seq2seq":
        return make_seq2seq_model(), {"input_ids": make_source(), "attention_mask": MASK, "labels": make_target()}
    model = make_model(LstmForCausalLM if kind == "language_model" else LstmForSequenceClassification)
    inputs = {"input_ids": make_input_ids(), "attention_mask": MASK}
    return model, inputs | {"labels": make_labels(model, inputs["input_ids"])}


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch).logits


@pytest.mark.parametrize("kind", KINDS)
def test_lora_on_lstm_parameters_trains_reloads_and_merges(kind, tmp_path):
    parameters, task, modules = KINDS[kind]
    model, batch = make(kind)
    before = logits(model, batch)
    adapter = LoraConfig(
        r=2, lora_alpha=8, target_parameters=parameters, target_modules=[], task_type=task, modules_to_save=modules
    )
    tuned = get_peft_model(model, adapter)
    torch.testing.assert_close(logits(tuned, batch), before)
    trained = {name: tensor for name, tensor in tuned.named_parameters() if tensor.requires_grad}
    assert sum("lora_" in name for name in trained) == 4
    assert len(trained) == 4 + (2 if modules else 0)
    optimizer = torch.optim.Adam(trained.values(), lr=0.05)
    losses = []
    for _ in range(12):
        loss = tuned.train()(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.02
    expected = logits(tuned, batch)
    assert not torch.allclose(expected, before, atol=1e-2)

    tuned.save_pretrained(tmp_path / "adapter")
    reloaded = PeftModel.from_pretrained(make(kind)[0], tmp_path / "adapter")
    torch.testing.assert_close(logits(reloaded, batch), expected)
    merged = reloaded.merge_and_unload()
    torch.testing.assert_close(logits(merged, batch), expected, rtol=1e-4, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    loaded = type(merged).from_pretrained(tmp_path / "merged")
    assert {type(module).__module__.split(".")[0] for module in loaded.modules()} <= {"torch", "hf_lstm"}
    torch.testing.assert_close(logits(loaded, batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_on_the_embeddings_trains(kind):
    model, batch = make(kind)
    before = logits(model, batch)
    adapter = LoraConfig(r=2, target_modules=["embed_tokens"], task_type=KINDS[kind][1])
    tuned = get_peft_model(model, adapter)
    torch.testing.assert_close(logits(tuned, batch), before)
    optimizer = torch.optim.Adam([weight for weight in tuned.parameters() if weight.requires_grad], lr=0.05)
    for _ in range(3):
        tuned.train()(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(logits(tuned, batch), before, atol=1e-3)


@pytest.mark.parametrize("where", ["cpu", "disk"])
@pytest.mark.parametrize("kind", KINDS)
def test_offloaded_weights_give_the_same_results(kind, where, tmp_path):
    model, batch = make(kind)
    expected = logits(model, batch)
    device = torch.device("cpu")
    if where == "cpu":
        cpu_offload(model, execution_device=device)
    else:
        disk_offload(model, tmp_path, execution_device=device)
    assert {tensor.device.type for tensor in model.parameters()} == {"meta"}
    assert torch.equal(logits(model, batch), expected)
    if kind != "classifier":
        batch.pop("labels")
        generated = model.generate(**batch, max_new_tokens=4, eos_token_id=None, pad_token_id=0)
        assert torch.equal(
            generated, make(kind)[0].generate(**batch, max_new_tokens=4, eos_token_id=None, pad_token_id=0)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_is_loaded_part_by_part_into_an_empty_model(kind, tmp_path):
    model, batch = make(kind)
    model.save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    config = make_seq2seq_config() if kind == "seq2seq" else make_config()
    with init_empty_weights():
        empty = type(model)(config)
    empty.tie_weights()
    loaded = load_checkpoint_and_dispatch(empty, str(tmp_path), device_map={"": "cpu"})
    assert torch.equal(logits(loaded, batch), logits(model, batch))


def test_parts_are_spread_by_a_map(tmp_path):
    source, target = make_source(), make_target()
    model = make_seq2seq_model(tie_word_embeddings=False)
    expected = model(source, MASK, target).logits
    dispatch_model(
        model, {"model.encoder": "cpu", "model.decoder": "disk", "lm_head": "cpu"}, "cpu", offload_dir=str(tmp_path)
    )
    assert {tensor.device.type for tensor in model.get_decoder().parameters()} == {"meta"}
    assert {tensor.device.type for tensor in model.get_encoder().parameters()} == {"cpu"}
    with torch.no_grad():
        torch.testing.assert_close(model(source, MASK, target).logits, expected)
