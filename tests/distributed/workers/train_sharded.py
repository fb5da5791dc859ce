"""
Trains cases whose weights FSDP splits over the processes, and saves what came out: DIRECTORY NUM_PROCESSES CASE ...

accelerate splits weights over accelerators alone. It is told here that the processors are such.
"""

import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch import distributed
from torch.distributed.tensor import DTensor

from tests.distributed.cases import make_trainer

if __name__ == "__main__":
    PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    distributed.init_process_group("gloo")
    directory, num_processes = Path(sys.argv[1]), int(sys.argv[2])
    results = {}
    for name in sys.argv[3:]:
        trainer = make_trainer(
            name,
            directory / name,
            num_processes,
            save_strategy="epoch",
            fsdp=True,
            fsdp_config={"version": 2, "transformer_layer_cls_to_wrap": ["LstmLayer"]},
        )
        trainer.train()
        assert trainer.is_fsdp_enabled
        kinds = {type(weight) for weight in trainer.model.parameters()}
        assert kinds == {DTensor}, kinds
        trainer.save_model()
        results[name] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert distributed.get_world_size() == num_processes
    torch.save(results, directory / f"results_{distributed.get_rank()}.pt")
    distributed.destroy_process_group()
