import shutil
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from hf_lstm.data.checks import InputError
from hf_lstm.hub.model_card import write_model_card
from hf_lstm.training.checkpoints import find_last_checkpoint
from tests.training.factories import StopAt, make_model, make_trainer


@pytest.mark.parametrize("victim", ["optimizer.pt", "model.safetensors", "trainer_state.json"])
def test_full_disk_while_saving_leaves_no_checkpoint_behind(tmp_path, tokenizer, victim, monkeypatch):
    make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)]).train()
    trainer = make_trainer(tmp_path, tokenizer, callbacks=[StopAt(5)])

    def fail(path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    if victim == "optimizer.pt":
        monkeypatch.setattr(trainer, "_save_optimizer_and_scheduler", lambda folder: fail(Path(folder) / victim))
    elif victim == "model.safetensors":
        monkeypatch.setattr(trainer.model, "save_pretrained", lambda folder, **kwargs: fail(Path(folder) / victim))
    else:
        monkeypatch.setattr("transformers.trainer.TrainerState.save_to_json", lambda self, path: fail(path))
    with pytest.raises(
        OSError, match=r"checkpoint-5.* failed: .*No space left on device.*resume from the last"
    ) as told:
        trainer.train()
    assert str(told.value).count("failed") == 1

    assert not (tmp_path / "checkpoint-5").exists()
    assert find_last_checkpoint(tmp_path).name == "checkpoint-3"


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("PytorchStreamWriter failed writing file data/0: file write failed", True),
        ("[enforce fail at inline_container.cc:672] . unexpected pos 2638144 vs 2638032", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_full_disk_is_told_as_torch_reports_it(tmp_path, tokenizer, message, is_told, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)])

    def fail(folder):
        raise RuntimeError(message)

    monkeypatch.setattr(trainer, "_save_optimizer_and_scheduler", fail)
    with pytest.raises((OSError, RuntimeError)) as caught:
        trainer.train()
    assert isinstance(caught.value, OSError) == is_told
    assert (tmp_path / "checkpoint-3").exists() != is_told


def test_full_disk_while_saving_keeps_the_model_that_was_there(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer)
    trainer.save_model(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def fail(folder, **kwargs):
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer.model, "save_pretrained", fail)
    with pytest.raises(OSError, match="Nothing half-written is left"):
        trainer.save_model(tmp_path)

    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".saving-*"))


def test_upload_that_fails_is_not_told_as_a_full_disk(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer)
    trainer.args.push_to_hub = True
    error = OSError("403 Forbidden")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(trainer, "push_to_hub", fail)
    with pytest.raises(OSError, match="403 Forbidden") as caught:
        trainer.save_model()
    assert caught.value is error and (tmp_path / "model.safetensors").exists()


def test_checkpoint_that_cannot_be_uploaded_is_kept(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)])
    monkeypatch.setattr(trainer, "init_hf_repo", lambda *args, **kwargs: None)
    error = OSError(28, "No space left on device")

    def fail(folder):
        raise error

    monkeypatch.setattr(trainer, "_push_from_checkpoint", fail)
    trainer.args.push_to_hub = True
    with pytest.raises(OSError, match="No space left") as caught:
        trainer.train()
    assert caught.value is error and find_last_checkpoint(tmp_path).name == "checkpoint-3"


def test_saved_folder_replaces_an_earlier_one(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer)
    for name in ("earlier", "later"):

        def save(folder, name=name, **kwargs):
            (Path(folder) / "part").mkdir()
            (Path(folder) / "part" / name).touch()

        monkeypatch.setattr(trainer.model, "save_pretrained", save)
        trainer.save_model()
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["later"]


def test_remains_of_a_killed_save_are_cleared_away(tmp_path, tokenizer):
    remains = tmp_path / ".saving-killed"
    remains.mkdir()
    (remains / "model.safetensors").write_bytes(b"half")
    make_trainer(tmp_path, tokenizer).save_model(tmp_path)
    assert not list(tmp_path.glob(".saving-*")) and (tmp_path / "model.safetensors").stat().st_size > 4


def test_checkpoint_that_replaces_another_is_not_whole_while_it_is_written(tmp_path, tokenizer, monkeypatch):
    make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)]).train()
    assert find_last_checkpoint(tmp_path).name == "checkpoint-3"
    trainer = make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)])
    seen = []
    monkeypatch.setattr(trainer, "_save_scaler", lambda folder: seen.append(find_last_checkpoint(tmp_path)))
    trainer.train()
    assert seen == [None] and find_last_checkpoint(tmp_path).name == "checkpoint-3"


def test_checkpoint_that_replaces_another_has_none_of_its_states(tmp_path, tokenizer):
    make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)]).train()
    assert find_last_checkpoint(tmp_path).name == "checkpoint-3"
    make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)], save_only_model=True, learning_rate=0.1).train()
    with pytest.raises(InputError, match=r"checkpoint-3' holds weights, but no states of the optimizer"):
        find_last_checkpoint(tmp_path)


def test_resuming_starts_from_the_last_checkpoint_that_is_whole(tmp_path, tokenizer):
    for step in (3, 5):
        make_trainer(tmp_path, tokenizer, callbacks=[StopAt(step)]).train()
    (tmp_path / "checkpoint-5" / "optimizer.pt").unlink()
    started = []

    class NoteStart(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            started.append(state.global_step)

    make_trainer(tmp_path, tokenizer, callbacks=[NoteStart(), StopAt(4)]).train(resume_from_checkpoint=True)
    assert started == [3]


def test_resuming_without_a_whole_checkpoint_raises(tmp_path, tokenizer):
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(InputError, match=r"`resume_from_checkpoint` is True, but .* holds no whole checkpoint"):
        make_trainer(tmp_path, tokenizer).train(resume_from_checkpoint=True)


def test_too_little_free_space_raises_before_training(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer, save_strategy="epoch")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    with pytest.raises(InputError, match=r"3 checkpoints need about .* are free at"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize(
    ("arguments", "num_checkpoints", "num_copies"),
    [
        ({}, 3, 3),
        ({"save_total_limit": None}, 3, 3),
        ({"save_total_limit": 1, "metric_for_best_model": None}, 2, 3),
        ({"save_total_limit": 1, "metric_for_best_model": "loss"}, 3, 3),  # the best, the last and the next one
        ({"save_total_limit": 4, "metric_for_best_model": "loss"}, 5, 3),
        ({"save_only_model": True}, 3, 1),
        ({"weight_averaging": 0.9}, 3, 4),
        ({"weight_averaging": 0.9, "save_only_model": True}, 3, 2),  # the average, and what was averaged
    ],
)
def test_room_is_needed_for_all_copies_of_all_checkpoints(
    tmp_path, tokenizer, arguments, num_checkpoints, num_copies, monkeypatch
):
    model = make_model().to(torch.bfloat16)
    needed = 2 * sum(weight.numel() for weight in model.parameters()) * num_copies * num_checkpoints
    trainer = make_trainer(tmp_path, tokenizer, model, save_strategy="epoch", **arguments)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=needed))
    trainer._check_free_space()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(InputError, match=f"^{num_checkpoints} checkpoints need"):
        trainer._check_free_space()


@pytest.mark.parametrize("strategy", ["no", "epoch"])
def test_room_is_needed_only_where_checkpoints_are_saved(tmp_path, tokenizer, strategy, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer, save_strategy=strategy, max_steps=1)
    monkeypatch.setattr(trainer, "_check_free_space", lambda: pytest.fail("looked for room"))
    if strategy == "no":
        assert trainer.train().global_step == 1
        return
    with pytest.raises(pytest.fail.Exception, match="looked for room"):
        trainer.train()


def test_a_model_card_is_drafted_where_there_is_none(tmp_path, tokenizer):
    make_trainer(tmp_path, tokenizer).create_model_card(model_name="reviews")
    assert "reviews" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("wrote_it", [False, True])
def test_a_draft_never_replaces_our_model_card(tmp_path, tokenizer, wrote_it):
    trainer = make_trainer(tmp_path, tokenizer)
    card = tmp_path / "README.md"
    card.write_text("---\ntags:\n- other\n---\nA draft.")
    if wrote_it:
        write_model_card(tmp_path, model=trainer.model, dataset_name="Movie reviews")
    before = card.read_text()
    trainer.create_model_card(model_name="reviews")
    assert (card.read_text() == before) == wrote_it
