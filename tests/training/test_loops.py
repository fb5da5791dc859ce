"""What the custom loops share: rows that count once, steps, and what is refused before a run starts."""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import prepare_data_loader
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset
from safetensors.torch import save_file
from torch.utils.data import default_collate
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from hf_lstm.data.checks import InputError
from hf_lstm.training.checkpoints import record_file_sizes, save_settings
from hf_lstm.training.loops import (
    PROGRESS_NAME,
    SCHEDULES,
    LoopArguments,
    Progress,
    make_loader,
    make_scheduler,
    prepare_tokenizer,
    real_batches,
    save_run,
    split_rows,
    start_run,
)
from tests.security.payloads import write_pickles


@pytest.fixture(autouse=True)
def new_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def arguments(tmp_path: Path) -> LoopArguments:
    file = tmp_path / "train.csv"
    file.write_text("text,label\na,b\n", encoding="utf-8")
    return LoopArguments(train_file=str(file), output_dir=str(tmp_path / "output"), cpu=True)


def test_figures_that_are_no_numbers_are_null(arguments: LoopArguments) -> None:
    unsaved = SimpleNamespace(save_pretrained=lambda folder: Path(folder).mkdir(exist_ok=True))
    accelerator = SimpleNamespace(
        is_main_process=True, wait_for_everyone=lambda: None, unwrap_model=lambda model: model
    )
    save_run(
        accelerator, arguments, unsaved, unsaved, {"eval_loss": float("nan"), "eval_f1": 0.5, "epoch": float("inf")}
    )
    text = (Path(arguments.output_dir) / "all_results.json").read_text()
    assert json.loads(text) == {"eval_loss": None, "eval_f1": 0.5, "epoch": None}


def test_validation_data_are_split_off_by_the_seed(arguments: LoopArguments) -> None:
    rows = {"training": Dataset.from_dict({"number": list(range(40))})}
    splits = [split_rows(replace(arguments, seed=seed), rows)[1]["number"][:] for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_new_tokenizer_is_no_larger_than_it_may_be(arguments: LoopArguments) -> None:
    start_run(arguments)
    sizes = [
        len(prepare_tokenizer(replace(arguments, vocab_size=size), None, ["a b c d e f"] * 2, "word"))
        for size in (8, 9)
    ]
    assert sizes == [8, 9]


def write_checkpoint(arguments: LoopArguments, step: int, num_processes: int = 1) -> Path:
    checkpoint = Path(arguments.output_dir) / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    save_settings(checkpoint, arguments.settings(num_processes))
    save_file({"weight": torch.ones(3, 5)}, checkpoint / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl", "random_states_1.pkl", "streams_1.bin"):
        torch.save({"step": step}, checkpoint / name)
    (checkpoint / PROGRESS_NAME).write_text('{"step": 3, "loss_sum": 4.5}', encoding="utf-8")
    record_file_sizes(checkpoint)
    return checkpoint


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


def make_progress(
    accelerator: Accelerator, arguments: LoopArguments, rows: Sequence[Any] = (), size: int = 1
) -> Progress:
    tokenizer: Any = None
    loader = accelerator.prepare(make_loader(list(rows) or [{"labels": 1}], size, default_collate))
    return Progress(accelerator, loader, arguments, tokenizer)


def test_steps_hold_the_batches_and_labels_of_the_loader(arguments: LoopArguments) -> None:
    accelerator, _ = start_run(replace(arguments, gradient_accumulation_steps=2))
    rows = [{"labels": torch.tensor([row, -100])} for row in range(8)]
    progress = make_progress(accelerator, arguments, rows, 3)
    assert (progress.steps_per_epoch, progress.num_steps, progress.loss_scale) == (2, 20, 2)
    counted = [([batch["labels"][:, 0].tolist() for batch in step], int(number)) for step, number in progress.steps(0)]
    assert counted == [([[0, 1, 2], [3, 4, 5]], 6), ([[6, 7]], 2)]
    progress.step = 3
    assert list(progress.epochs()) == list(range(1, 10))
    assert [int(number) for _, number in progress.steps(1)] == [2]


def test_labels_of_a_step_count_as_one_where_there_are_none(arguments: LoopArguments) -> None:
    accelerator, _ = start_run(arguments)
    progress = make_progress(accelerator, arguments, [{"labels": -100}] * 3, 2)
    assert [int(number) for _, number in progress.steps(0)] == [1, 1]


def test_losses_are_printed_at_every_so_many_steps(arguments: LoopArguments, caplog: pytest.LogCaptureFixture) -> None:
    progress = make_progress(start_run(arguments)[0], replace(arguments, logging_steps=2))
    for loss in (0.5, 1.5, 2.5):
        progress.count_step(torch.tensor(loss))
    assert [message for message in caplog.messages if message.startswith("Step")] == ["Step 2: loss 1.5000."]


@pytest.mark.parametrize(("num_made", "steps"), [(0, [3, 1]), (2, [1, 1]), (3, [1]), (4, [0])])
def test_steps_end_with_the_run(arguments: LoopArguments, num_made: int, steps: list[int]) -> None:
    """Also those of a run that is resumed from its very end."""
    accelerator, _ = start_run(arguments)
    progress = make_progress(accelerator, replace(arguments, max_train_steps=4), [{"labels": 1}] * 5, 2)
    assert (progress.steps_per_epoch, progress.num_steps) == (3, 4)
    progress.step, made = num_made, []
    for epoch in progress.epochs():
        before = progress.step
        for _ in progress.steps(epoch):
            progress.count_step(torch.tensor(0.5))
        made.append(progress.step - before)
    assert made == steps


def test_loader_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert len(list(make_loader([1, 2, 3], 2))) == 2
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train_epochs": 0}, "`num_train_epochs` is 0, but must be at least 1"),
        ({"max_grad_norm": float("nan")}, "`max_grad_norm` is nan"),
        ({"learning_rate": float("nan")}, "`learning_rate` is nan, but must be at least 0 and finite"),
        ({"learning_rate": float("inf")}, "`learning_rate` is inf, but must be at least 0 and finite"),
        ({"learning_rate": -1.0}, "`learning_rate` is -1.0, but"),
        ({"weight_decay": float("inf")}, "`weight_decay` is inf, but"),
        ({"weight_decay": float("nan")}, "`weight_decay` is nan, but"),
        ({"warmup_ratio": 2.0}, "`warmup_ratio` is 2.0, but must be at least 0 and at most 1"),
        ({"seed": -1}, "`seed` is -1, but must be at least 0 and at most 4294967295"),
        ({"seed": 2**32}, "`seed` is 4294967296, but"),
        ({"validation_split_percentage": float("nan")}, "`validation_split_percentage` is nan, but must be above 0"),
        ({"validation_split_percentage": 0.0}, "`validation_split_percentage` is 0.0, but must be above 0"),
        ({"file_encoding": "utf-9"}, "`file_encoding` is 'utf-9', which Python does not know"),
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
    with pytest.raises(
        InputError, match="checkpoint-3' is not a whole checkpoint of a custom loop: it has no run_set"
    ):
        start_run(replace(arguments, resume_from_checkpoint=str(checkpoint)))
    write_checkpoint(arguments, 3)
    assert start_run(last)[1] == checkpoint
    assert start_run(replace(last, checkpointing_steps=4, save_total_limit=7, logging_steps=3))[1] == checkpoint
    with pytest.raises(InputError, match="`seed` was 42 and is 7. Pass the same settings"):
        start_run(replace(last, seed=7))
    write_checkpoint(arguments, 3, num_processes=2)
    with pytest.raises(InputError, match="`num_processes` was 2 and is 1"):
        start_run(last)


FILES = ("run_settings.json", "file_sizes.json", "progress.json", "model.safetensors", "optimizer.bin")
FILES += ("scheduler.bin", "random_states_0.pkl", "random_states_1.pkl", "streams_1.bin")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "cut", "overwritten"])
def test_damaged_checkpoint_is_passed_over_or_refused(
    arguments: LoopArguments, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, damaged = write_checkpoint(arguments, 3), write_checkpoint(arguments, 6)
    last, named = (replace(arguments, resume_from_checkpoint=value) for value in ("last", str(damaged)))
    assert start_run(last)[1] == start_run(named)[1] == damaged
    file = damaged / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-3])
    else:
        file.write_bytes(bytes(len(content)))
    with pytest.raises(InputError, match=f"checkpoint-6' is not a whole checkpoint.*{name}") as refusal:
        start_run(named)
    assert not re.search("--restart|delete", str(refusal.value))  # which would not help
    with caplog.at_level(logging.WARNING):
        assert start_run(last)[1] == whole
    assert "checkpoint-6 is not a whole checkpoint and is passed over" in caplog.text


def test_last_of_no_whole_checkpoint_is_refused(arguments: LoopArguments, caplog: pytest.LogCaptureFixture) -> None:
    for step in (3, 6):
        (write_checkpoint(arguments, step) / "random_states_0.pkl").unlink()
    with pytest.raises(InputError, match="output' holds no whole checkpoint.* only 'checkpoint-3', 'checkpoint-6'. L"):
        start_run(replace(arguments, resume_from_checkpoint="last"))
    assert caplog.text.count("is passed over: random_states_0.pkl is missing") == 2


@pytest.mark.parametrize("name", ["custom_checkpoint_0.pkl", "custom_checkpoint_17.pkl"])
def test_checkpoint_with_a_pickle_is_refused(arguments: LoopArguments, name: str, tmp_path: Path) -> None:
    checkpoint, mark = write_checkpoint(arguments, 3), tmp_path / "executed"
    write_pickles(checkpoint, (name,), mark)
    with pytest.raises(InputError, match=f"checkpoint-3' holds '{name}', but must hold no custom_checkpoint_.*delete"):
        start_run(replace(arguments, resume_from_checkpoint="last"))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "progress.json cannot be read"),
        ('{"step": 3, "loss_', "progress.json cannot be read"),
        ("[3, 4.5]", "progress.json cannot be read"),
        ("[" * 100_000, "progress.json cannot be read"),
        ('{"loss_sum": 4.5}', "`step` in progress.json is None, but must be a whole number from 0 to"),
        ('{"step": true, "loss_sum": 4.5}', "`step` in .* is True, but"),
        ('{"step": 3.0, "loss_sum": 4.5}', "`step` in .* is 3.0, but"),
        ('{"step": -3, "loss_sum": 4.5}', "`step` in .* is -3, but"),
        (f'{{"step": 1{"0" * 400}, "loss_sum": 4.5}}', "`step` in .* is 1000.*, but"),
        ('{"step": 3}', "`loss_sum` in progress.json is None, but must be a number with a decimal point"),
        ('{"step": 3, "loss_sum": "4.5"}', "`loss_sum` in .* is '4.5', but"),
    ],
    ids=lambda value: value[:30],
)
def test_damaged_progress_is_refused(arguments: LoopArguments, text: str, message: str) -> None:
    checkpoint = write_checkpoint(arguments, 3)
    (checkpoint / PROGRESS_NAME).write_text(text, encoding="utf-8")
    record_file_sizes(checkpoint)
    with pytest.raises(InputError, match=f"checkpoint-3' is not a whole checkpoint.*{message}"):
        start_run(replace(arguments, resume_from_checkpoint=str(checkpoint)))


@pytest.mark.parametrize("loss", [0.1, float("inf")])
def test_progress_is_kept_as_plain_text(arguments: LoopArguments, loss: float, tmp_path: Path) -> None:
    accelerator: Accelerator = start_run(arguments)[0]
    progress = make_progress(accelerator, arguments)
    progress.count_step(torch.tensor(loss))
    results = progress.results()
    accelerator.save_state(str(tmp_path / "checkpoint"))
    kept = json.loads((tmp_path / "checkpoint" / PROGRESS_NAME).read_text(encoding="utf-8"))
    assert kept == {"step": 1, "loss_sum": progress.loss_sum}
    assert not list(tmp_path.rglob("custom_checkpoint_*"))
    progress.count_step(torch.tensor(2.5))
    accelerator.load_state(str(tmp_path / "checkpoint"))
    assert progress.results() == results


@pytest.mark.parametrize("is_main", [True, False])
def test_only_the_main_process_writes_the_progress(
    arguments: LoopArguments, is_main: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator: Accelerator = start_run(arguments)[0]
    make_progress(accelerator, arguments)
    monkeypatch.setattr(Accelerator, "is_main_process", is_main)
    accelerator.save_state(str(tmp_path / "checkpoint"))
    assert (tmp_path / "checkpoint" / PROGRESS_NAME).exists() == is_main


def test_schedules_follow_from_the_step_alone(arguments: LoopArguments) -> None:
    """And all others of transformers do not."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])
    for kind in SchedulerType:
        if kind in SCHEDULES:
            scheduler = make_scheduler(optimizer, replace(arguments, lr_scheduler_type=kind.value), 9)
            optimizer.step()
            scheduler.step()
            continue
        with pytest.raises((TypeError, ValueError), match=r"metrics|min_lr|num_decay_steps"):
            get_scheduler(kind, optimizer, 2, 9).step()
        with pytest.raises(InputError, match=f"`lr_scheduler_type` is '{kind.value}', but must be one of 'linear', "):
            replace(arguments, lr_scheduler_type=kind.value)


def test_misspelt_schedule_is_refused(arguments: LoopArguments) -> None:
    with pytest.raises(InputError, match="`lr_scheduler_type` is 'lienar'.*Did you mean 'linear'"):
        replace(arguments, lr_scheduler_type="lienar")


def test_learning_rate_too_low_for_its_schedule_is_refused(arguments: LoopArguments) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0)
    with pytest.raises(InputError, match="`lr_scheduler_type` is 'polynomial': lr_end"):
        make_scheduler(optimizer, replace(arguments, lr_scheduler_type="polynomial"), 9)


def test_older_checkpoints_are_deleted(arguments: LoopArguments) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "tokenizer.json").write_text("{}", encoding="utf-8")

    accelerator: Accelerator = start_run(arguments)[0]
    limited: Any = replace(arguments, checkpointing_steps=2, save_total_limit=2)
    tokenizer: Any = Tokenizer()
    progress = make_progress(accelerator, limited)
    progress.tokenizer = tokenizer
    (Path(arguments.output_dir) / "checkpoint-8").mkdir()  # which a resumed run has passed over
    for _ in range(7):
        progress.count_step(torch.tensor(1.5))
    names = sorted(path.name for path in Path(arguments.output_dir).iterdir())
    assert names == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]
    assert "progress.json" in json.loads((Path(arguments.output_dir) / "checkpoint-6" / "file_sizes.json").read_text())
    assert progress.results() == {"train_loss": 1.5, "num_steps": 7, "num_processes": 1}


def test_remains_of_a_killed_save_are_no_part_of_the_next_checkpoint(arguments: LoopArguments) -> None:
    accelerator: Accelerator = start_run(replace(arguments, checkpointing_steps=1))[0]
    partial = Path(arguments.output_dir) / "partial_checkpoint"
    partial.mkdir()
    (partial / "random_states_1.pkl").write_bytes(b"half")
    progress = make_progress(accelerator, replace(arguments, checkpointing_steps=1))
    progress.tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)  # type: ignore[assignment]
    progress.count_step(torch.tensor(1.5))
    assert not (Path(arguments.output_dir) / "checkpoint-1" / "random_states_1.pkl").exists()
    assert not partial.exists()


def test_checkpoint_replaces_that_of_a_run_that_went_further(arguments: LoopArguments) -> None:
    checkpoint = write_checkpoint(arguments, 1)
    accelerator: Accelerator = start_run(replace(arguments, resume_from_checkpoint=str(checkpoint)))[0]
    progress = make_progress(accelerator, replace(arguments, checkpointing_steps=1))
    progress.tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)  # type: ignore[assignment]
    progress.count_step(torch.tensor(1.5))
    assert json.loads((checkpoint / PROGRESS_NAME).read_text()) == {"step": 1, "loss_sum": 1.5}
    assert json.loads((checkpoint / "run_settings.json").read_text())["labels"] == []
    assert not (checkpoint / "streams_1.bin").exists()


def test_run_starts_from_its_seed_and_steps_its_schedule_once_a_step(arguments: LoopArguments) -> None:
    accelerator: Accelerator = start_run(replace(arguments, seed=17))[0]
    assert torch.initial_seed() == 17
    assert not accelerator.step_scheduler_with_optimizer


def test_each_epoch_is_told_to_the_loader(arguments: LoopArguments, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = make_progress(start_run(arguments)[0], arguments)
    told: list[int] = []
    monkeypatch.setattr(progress.loader, "set_epoch", told.append)
    list(progress.steps(3))
    assert told[0] == 3  # before the loader begins, and then tells itself


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (0.05, 1), (0.5, 5)])
def test_steps_of_warmup_are_rounded_up(arguments: LoopArguments, ratio: float, expected: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = make_scheduler(optimizer, replace(arguments, warmup_ratio=ratio), 9)
    rates = []
    for _ in range(9):
        rates += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert rates.index(max(rates)) == expected


@pytest.mark.parametrize(("given", "expected"), [("a_tokenizer", "a_tokenizer"), (None, "checkpoint-3")])
def test_tokenizer_of_the_arguments_is_taken_before_that_of_the_checkpoint(
    arguments: LoopArguments, given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Any] = []
    monkeypatch.setattr("hf_lstm.training.loops.load_tokenizer", lambda name, revision: name)
    monkeypatch.setattr("hf_lstm.training.loops.check_padding_token", checked.append)
    name: Any = prepare_tokenizer(replace(arguments, tokenizer_name_or_path=given), Path("checkpoint-3"), (), "word")
    assert name == expected and checked == [expected]
