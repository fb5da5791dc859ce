"""Trains cases whose weights FSDP splits over processes, and saves what came out: DIRECTORY NUM_PROCESSES CASE ..."""

import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from hf_lstm.data.checks import InputError
from hf_lstm.training.trainer import LstmTrainer
from tests.distributed.cases import make_trainer
from tests.distributed.splitting import split_on_processors


def make_sharded(name: str, directory: Path, num_processes: int) -> LstmTrainer:
    """Makes the trainer of a case, as `configs/accelerate/fsdp.yaml` sets it up."""
    sharding = {"version": 2, "transformer_layer_cls_to_wrap": ["LstmLayer"]}
    trainer = make_trainer(name, directory, num_processes, save_strategy="epoch", fsdp=True, fsdp_config=sharding)
    assert trainer.is_fsdp_enabled
    return trainer


if __name__ == "__main__":
    split_on_processors()
    directory, num_processes = Path(sys.argv[1]), int(sys.argv[2])
    assert distributed.get_world_size() == num_processes
    results = {}
    for name in sys.argv[3:]:
        trainer = make_sharded(name, directory / name, num_processes)
        trainer.train()
        assert {type(weight) for weight in trainer.model.parameters()} == {DTensor}
        trainer.save_model()
        results[name] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    with pytest.raises(InputError, match="`share_embeddings` is True, but FSDP"):
        make_sharded("seq2seq", directory / "shared", num_processes)
    torch.save(results, directory / f"results_{distributed.get_rank()}.pt")
    distributed.destroy_process_group()
