import json
import logging
import re

import pytest
import torch
from safetensors.torch import save_file
from transformers.trainer_callback import TrainerState

from hf_lstm.data.checks import InputError
from hf_lstm.training.checkpoints import (
    FILE_SIZES_NAME,
    SETTINGS_NAME,
    check_checkpoint,
    check_model_folder,
    check_same_settings,
    find_last_checkpoint,
    list_checkpoints,
    record_file_sizes,
    remove_checkpoints,
    save_settings,
)


def write_checkpoint(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    save_file({"weight": torch.ones(3, 5)}, path / "model.safetensors")
    TrainerState(global_step=step).save_to_json(str(path / "trainer_state.json"))
    return path


def truncate(path, num_bytes):
    path.write_bytes(path.read_bytes()[:-num_bytes])


def test_last_checkpoint_is_the_one_of_the_highest_step(tmp_path):
    for step in (9, 100, 20):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-200").touch()
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-20", "checkpoint-100"]


def test_no_checkpoint_is_found_in_an_empty_or_missing_folder(tmp_path):
    assert find_last_checkpoint(tmp_path) is None
    assert find_last_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize("damage", ["weights cut", "weights missing", "state cut", "state missing"])
def test_half_written_checkpoint_is_passed_over(tmp_path, caplog, damage):
    write_checkpoint(tmp_path, 10)
    path = write_checkpoint(tmp_path, 20)
    file = path / ("model.safetensors" if damage.startswith("weights") else "trainer_state.json")
    truncate(file, 7) if damage.endswith("cut") else file.unlink()
    with caplog.at_level(logging.WARNING):
        assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert "checkpoint-20 is not a whole checkpoint and is passed over" in caplog.text


@pytest.mark.parametrize("name", ["optimizer.pt", "rng/rank_1.pth", "model.safetensors", "trainer_state.json"])
@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "missing"])
def test_checkpoint_that_lacks_part_of_any_file_is_passed_over(tmp_path, name, is_cut):
    for step in (10, 20):
        path = write_checkpoint(tmp_path, step)
        (path / "rng").mkdir()
        for other in ("optimizer.pt", "rng/rank_1.pth"):
            torch.save({"step": step}, path / other)
        record_file_sizes(path)
        assert find_last_checkpoint(tmp_path) == path
    truncate(path / name, 3) if is_cut else (path / name).unlink()
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_state_that_cannot_be_read_is_damage_whatever_its_size(tmp_path, name, caplog):
    path = write_checkpoint(tmp_path, 10)
    (path / name).write_bytes(bytes(99))
    record_file_sizes(path)
    assert find_last_checkpoint(tmp_path) is None and f"{name} holds no plain data" in caplog.text


def test_file_longer_than_it_was_saved_is_damage(tmp_path, caplog):
    path = write_checkpoint(tmp_path, 10)
    (path / "vocab.txt").write_text("a")
    record_file_sizes(path)
    (path / "vocab.txt").write_text("ab")
    assert find_last_checkpoint(tmp_path) is None and "vocab.txt has 2 bytes, but was saved with 1" in caplog.text


@pytest.mark.parametrize("content", ["[]", "null", "[" * 100_000], ids=["list", "null", "nested"])
def test_state_of_another_shape_is_damage(tmp_path, content, caplog):
    (write_checkpoint(tmp_path, 10) / "trainer_state.json").write_text(content)
    assert find_last_checkpoint(tmp_path) is None and "trainer_state.json cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["rng_state.pth", "rng_state_0.pth"])
def test_unfinished_training_goes_on_from_states_of_one_process_or_several(tmp_path, name):
    path = write_checkpoint(tmp_path, 10)
    TrainerState(global_step=10, max_steps=20).save_to_json(str(path / "trainer_state.json"))
    torch.save({"step": 10}, path / name)
    assert find_last_checkpoint(tmp_path) == check_checkpoint(path) == path


def test_recorded_sizes_are_damage_if_cut_and_may_be_missing(tmp_path, caplog):
    path = write_checkpoint(tmp_path, 10)
    record_file_sizes(path)
    record_file_sizes(path)  # again, as where a step is saved twice
    assert set(json.loads((path / FILE_SIZES_NAME).read_text())) == {"model.safetensors"}
    truncate(path / FILE_SIZES_NAME, 3)
    assert find_last_checkpoint(tmp_path) is None and "file_sizes.json cannot be read" in caplog.text
    (path / FILE_SIZES_NAME).write_text("[]")
    assert find_last_checkpoint(tmp_path) is None and "must hold names and values" in caplog.text
    (path / FILE_SIZES_NAME).unlink()
    assert find_last_checkpoint(tmp_path) == path


@pytest.mark.parametrize(("step", "is_refused"), [(10, True), (20, False)])
def test_weights_alone_are_refused_before_the_end_of_training(tmp_path, step, is_refused):
    path = write_checkpoint(tmp_path, step)
    TrainerState(global_step=step, max_steps=20).save_to_json(str(path / "trainer_state.json"))
    if not is_refused:
        assert find_last_checkpoint(tmp_path) == check_checkpoint(path) == path
        return
    for find in (lambda: find_last_checkpoint(tmp_path), lambda: check_checkpoint(path)):
        with pytest.raises(InputError, match=r"`save_only_model`.*step 10 of 20.*--restart"):
            find()


def test_remove_checkpoints_leaves_everything_else(tmp_path):
    write_checkpoint(tmp_path, 10)
    (tmp_path / "metrics.json").write_text("{}")
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_half_written_settings_are_an_error_that_says_what_to_do(tmp_path):
    save_settings(tmp_path, {"hidden_size": 6})
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS_NAME]
    truncate(tmp_path / SETTINGS_NAME, 3)
    with pytest.raises(InputError, match=r"run_settings.json' cannot be read: .*--restart"):
        check_same_settings(tmp_path, {"hidden_size": 6})
    with pytest.raises(InputError, match=r"run_settings.json' cannot be read: [^.]*\. Take another\.$"):
        check_same_settings(tmp_path, {"hidden_size": 6}, advice="Take another.")


def test_changed_setting_is_an_error_that_names_both_values(tmp_path):
    save_settings(tmp_path, {"hidden_size": 6, "train_file": "a.csv"})
    check_same_settings(tmp_path, {"hidden_size": 6, "train_file": "a.csv", "new_setting": 1})
    with pytest.raises(InputError, match=r"other settings: `hidden_size` was 6 and is 8. .*--restart"):
        check_same_settings(tmp_path, {"hidden_size": 8, "train_file": "a.csv"})


def test_folders_of_settings_are_hashed_and_still_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("clinic/reviews", "base", "out"):
        (tmp_path / folder).mkdir(parents=True)
    settings = {
        "train_file": "clinic/train.csv",
        "test_file": "test.csv",
        "dataset_name": "clinic/reviews",
        "model_name_or_path": "base",
        "tokenizer_name_or_path": "user/tokenizer",
        "text_column_delimiter": " / ",
        "text_column": "base",  # as a folder that happens to be there
        "cache_dir": str(tmp_path / "clinic"),
        "validation_file": "hf://datasets/user/data/val.csv",
    }
    save_settings("out", settings)
    saved = json.loads((tmp_path / "out" / SETTINGS_NAME).read_text())
    kept = ("test_file", "tokenizer_name_or_path", "text_column_delimiter", "text_column", "validation_file")
    assert {name: saved[name] for name in kept} == {name: settings[name] for name in kept}
    assert re.fullmatch("local/[0-9a-f]{12}/train.csv", saved["train_file"])
    assert re.fullmatch("local/[0-9a-f]{12}/base", saved["model_name_or_path"])
    assert "clinic" not in str({name: value for name, value in saved.items() if name != "cache_dir"})
    check_same_settings("out", settings)
    (tmp_path / "out" / SETTINGS_NAME).write_text(json.dumps(settings))  # as earlier runs left them
    check_same_settings("out", settings)
    save_settings("out", settings)
    with pytest.raises(InputError, match="`train_file` was 'local/.*/train.csv' and is 'local/.*/train.csv'"):
        check_same_settings("out", settings | {"train_file": "hospital/train.csv"})


@pytest.fixture
def model_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hf_lstm"}))
    save_file({"weight": torch.ones(3, 5)}, tmp_path / "model.safetensors")
    return tmp_path


def test_whole_model_folder_is_accepted(model_folder):
    check_model_folder(model_folder, "hf_lstm")


def test_model_of_another_architecture_is_an_error(model_folder):
    (model_folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        InputError, match=r"is of the architecture 'bert', but must be 'hf_lstm'. .*--model_name_or_path"
    ):
        check_model_folder(model_folder, "hf_lstm")


@pytest.mark.parametrize("num_bytes", [1, 60, 110])
def test_truncated_weights_are_an_error(model_folder, num_bytes):
    truncate(model_folder / "model.safetensors", num_bytes)
    with pytest.raises(InputError, match=r"model.safetensors' are damaged: .*Copy or download the file again"):
        check_model_folder(model_folder, "hf_lstm")


def test_folder_without_weights_is_an_error(model_folder):
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds no .safetensors file, only 'config.json'"):
        check_model_folder(model_folder, "hf_lstm")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_folder_without_a_configuration_is_an_error(model_folder, content):
    if content is None:
        (model_folder / "config.json").unlink()
    else:
        (model_folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"has no readable config.json"):
        check_model_folder(model_folder, "hf_lstm")
