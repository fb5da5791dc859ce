"""What the custom loops share: rows that count once, steps, and what is refused before a run starts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import prepare_data_loader
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import default_collate

from hf_lstm.data.checks import InputError
from hf_lstm.training.checkpoints import save_settings
from hf_lstm.training.loops import LoopArguments, Progress, Steps, make_loader, make_scheduler, real_batches, start_run


@pytest.fixture(autouse=True)
def new_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def arguments(tmp_path: Path) -> LoopArguments:
    file = tmp_path / "train.csv"
    file.write_text("text,label\na,b\n", encoding="utf-8")
    return LoopArguments(train_file=str(file), output_dir=str(tmp_path / "output"), cpu=True)


def as_process(rank: int, num_processes: int) -> Any:
    return SimpleNamespace(process_index=rank, num_processes=num_processes, skip_first_batches=skip_first_batches)


@pytest.mark.parametrize("num_rows", [1, 3, 7, 12, 13, 17])
@pytest.mark.parametrize("num_skipped", [0, 1])
def test_each_row_counts_once_over_all_processes(num_rows: int, num_skipped: int) -> None:
    rows = [{"labels": row} for row in range(num_rows)]
    counted = []
    for rank in range(2):
        loader = prepare_data_loader(
            make_loader(rows, 3, default_collate), num_processes=2, process_index=rank, put_on_device=False
        )
        batches = [batch["labels"] for batch in real_batches(as_process(rank, 2), loader, num_skipped)]
        assert len(batches) == -(-num_rows // 6) - num_skipped
        counted += [label for batch in batches for label in batch.tolist() if label != -100]
    assert sorted(counted) == list(range(6 * num_skipped, num_rows))


def test_steps_hold_the_batches_and_labels_of_the_loader(arguments: LoopArguments) -> None:
    accelerator, _ = start_run(replace(arguments, gradient_accumulation_steps=2))
    rows = [{"labels": torch.tensor([row, -100])} for row in range(8)]
    steps = Steps(accelerator, accelerator.prepare(make_loader(rows, 3, default_collate)), arguments)
    assert (steps.per_epoch, steps.total, steps.loss_scale) == (2, 20, 2)
    counted = [([batch["labels"][:, 0].tolist() for batch in step], int(number)) for step, number in steps.of_epoch(0)]
    assert counted == [([[0, 1, 2], [3, 4, 5]], 6), ([[6, 7]], 2)]
    assert [int(number) for _, number in steps.of_epoch(1, num_done=1)] == [2]


def test_steps_take_the_place_of_epochs(arguments: LoopArguments) -> None:
    accelerator, _ = start_run(arguments)
    loader = accelerator.prepare(make_loader([{"labels": 1}] * 5, 2, default_collate))
    steps = Steps(accelerator, loader, replace(arguments, max_train_steps=4))
    assert (steps.per_epoch, steps.total, steps.num_epochs) == (3, 4, 2)


def test_loader_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert len(list(make_loader([1, 2, 3], 2))) == 2
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train_epochs": 0}, "`num_train_epochs` is 0, but must be at least 1"),
        ({"max_grad_norm": float("nan")}, "`max_grad_norm` is nan"),
        ({"train_file": "no_such.csv"}, "'no_such.csv' does not exist"),
        ({"validation_file": "no_such.csv"}, "'no_such.csv' does not exist"),
    ],
)
def test_wrong_argument_is_refused(arguments: LoopArguments, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(arguments, **change)


def test_processes_that_do_not_find_each_other_are_refused(
    arguments: LoopArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes were started.*--cpu"):
        start_run(replace(arguments, cpu=False))


def test_checkpoint_is_found_and_checked(arguments: LoopArguments) -> None:
    checkpoint = Path(arguments.output_dir) / "checkpoint-3"
    last = replace(arguments, resume_from_checkpoint="last")
    with pytest.raises(InputError, match="holds no checkpoint to resume from"):
        start_run(last)
    checkpoint.mkdir()
    with pytest.raises(InputError, match="earlier run, such as 'checkpoint-3'.*--resume_from_checkpoint last"):
        start_run(arguments)
    with pytest.raises(InputError, match="checkpoint-3' is not a checkpoint of a custom loop"):
        start_run(last)
    save_settings(checkpoint, arguments.settings(num_processes=1))
    assert start_run(last)[1] == checkpoint
    with pytest.raises(InputError, match="`seed` was 42 and is 7. Pass the same settings"):
        start_run(replace(last, seed=7))
    save_settings(checkpoint, arguments.settings(num_processes=2))
    with pytest.raises(InputError, match="`num_processes` was 2 and is 1"):
        start_run(last)


def test_unknown_schedule_is_refused(arguments: LoopArguments) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(InputError, match="`lr_scheduler_type` is 'lienar'"):
        make_scheduler(optimizer, replace(arguments, lr_scheduler_type="lienar"), 9)


def test_older_checkpoints_are_deleted(arguments: LoopArguments) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "tokenizer.json").write_text("{}", encoding="utf-8")

    accelerator: Accelerator = start_run(arguments)[0]
    limited: Any = replace(arguments, checkpointing_steps=2, save_total_limit=2)
    tokenizer: Any = Tokenizer()
    progress = Progress(accelerator, limited, tokenizer)
    for _ in range(7):
        progress.count_step(torch.tensor(1.5))
    assert sorted(path.name for path in Path(arguments.output_dir).iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert progress.results() == {"train_loss": 1.5, "num_steps": 7, "num_processes": 1}
