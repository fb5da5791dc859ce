"""Trains with dropout in two processes, in two orders of the data, and from a checkpoint: DIRECTORY."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from tests.distributed.cases import make_trainer

CASE, NUM_ROWS, STEPS_OF_EPOCH = "classifier", 48, 3


def make_recorded_trainer(directory: Path, **changes: Any) -> tuple[Any, list[Any], list[Any]]:
    """Makes a trainer of a model with dropout before its classifier, and lists of its masks and of its rows."""
    trainer = make_trainer(CASE, directory, 2, **changes)
    dropout, masks, rows = nn.Dropout(0.5), [], []

    def drop(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        if not trainer.model.training:
            return None
        masks.append(dropout(torch.ones_like(inputs[0])).tolist())
        return (inputs[0] * torch.tensor(masks[-1]),)

    def note_rows(module: nn.Module, inputs: Any, keywords: dict[str, Any]) -> None:
        rows.extend(tuple(row[row > 0].tolist()) for row in keywords["input_ids"])

    trainer.model.classifier.register_forward_pre_hook(drop)
    trainer.model.register_forward_pre_hook(note_rows, with_kwargs=True)
    return trainer, masks, rows


def gather(value: Any) -> list[Any]:
    """Returns what both processes hold."""
    found = [None, None]
    distributed.all_gather_object(found, value)
    return found


def check_epochs(trainer: Any, masks: list[Any], rows: list[Any]) -> None:
    """Each process has drawn its own dropout, and both together have read every row once in each epoch."""
    first, second = gather(masks)
    assert len(first) == len(second) == 2 * STEPS_OF_EPOCH
    assert not any(mask == other for mask, other in zip(first, second, strict=True))
    expected = sorted(tuple(row) for row in trainer.train_dataset["input_ids"][:])
    for start in range(0, NUM_ROWS, NUM_ROWS // 2):
        read = [row for of_rank in gather(rows) for row in of_rank[start : start + NUM_ROWS // 2]]
        assert sorted(read) == expected


def weights_of(trainer: Any) -> list[Any]:
    return [weight.tolist() for weight in trainer.model.parameters()]


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    for order in ("group_by_length", "random"):
        saving = {"save_strategy": "steps", "save_steps": 2, "train_sampling_strategy": order}
        trainer, masks, rows = make_recorded_trainer(directory / order, **saving)
        trainer.train()
        check_epochs(trainer, masks, rows)
        undisturbed = weights_of(trainer)
        assert gather(undisturbed) == [undisturbed] * 2
        resumed, *_ = make_recorded_trainer(directory / order, train_sampling_strategy=order)
        resumed.train(resume_from_checkpoint=str(directory / order / "checkpoint-4"))
        assert weights_of(resumed) == undisturbed
        masks.clear(), rows.clear()
        trainer.train()  # once more, where the random numbers were left
        check_epochs(trainer, masks, rows)
    distributed.destroy_process_group()
