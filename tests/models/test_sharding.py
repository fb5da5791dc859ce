"""Models wrapped by FSDP, layer by layer, in a process group of one: the same loss and gradients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from hf_lstm import LstmForCausalLM, LstmForSequenceClassification
from hf_lstm.models.layers_lstm import LstmLayer
from tests.models.factories import MASK, make_input_ids, make_labels, make_model, make_seq2seq_model, make_target


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store: Path = tmp_path_factory.mktemp("store") / "file"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def make(kind: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Returns a model in training and a batch with labels."""
    inputs = {"input_ids": make_input_ids() % 23, "attention_mask": MASK}
    if kind.startswith("seq2seq"):
        model = make_seq2seq_model(input_feeding=kind == "seq2seq_feeding")
        return model.train(), inputs | {"labels": make_target()}
    model = make_model(LstmForCausalLM if kind == "language_model" else LstmForSequenceClassification)
    return model.train(), inputs | {"labels": make_labels(model, inputs["input_ids"])}


@pytest.mark.parametrize("kind", ["classifier", "language_model", "seq2seq", "seq2seq_feeding"])
def test_sharded_model_trains_alike(process_group, kind):
    plain, batch = make(kind)
    loss = plain(**batch).loss
    loss.backward()
    expected = {name: tensor.grad for name, tensor in plain.named_parameters()}

    sharded, _ = make(kind)
    for module in list(sharded.modules()):
        if isinstance(module, LstmLayer):
            fully_shard(module)
    fully_shard(sharded)
    assert sum(isinstance(tensor, DTensor) for tensor in sharded.parameters()) == len(expected)
    result = sharded(**batch).loss
    result.backward()
    torch.testing.assert_close(result, loss)
    for name, tensor in sharded.named_parameters():
        torch.testing.assert_close(
            tensor.grad.full_tensor(), expected[name], msg=lambda text, name=name: f"{name}: {text}"
        )
