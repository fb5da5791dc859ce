import json
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file
from transformers.trainer_callback import TrainerState

from hf_lstm.data.checks import InputError
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.checkpoints import SETTINGS_NAME, save_settings
from hf_lstm.training.tasks.resumption import prepare_checkpoint

OTHER_VALUES = {
    "lr_scheduler_kwargs": {"last_epoch": -1},  # which every schedule takes
    "optim_args": "beta3=0.9",
    "adam_beta1": 0.8,
    "adam_beta2": 0.9,
    "adam_epsilon": 1e-6,
    "neftune_noise_alpha": 5.0,
    "dataloader_drop_last": True,
    "average_tokens_across_devices": False,
    "metric_for_best_model": "f1",
    "naive_bayes_start": False,
}


@pytest.fixture
def prepare(tmp_path):
    """Looks for the checkpoint of a run in `tmp_path / "run"`, or in another folder of `tmp_path`."""

    def run_prepare(folder="run", settings=None, **options):
        (tmp_path / folder).mkdir(exist_ok=True)
        arguments = LstmTrainingArguments(output_dir=str(tmp_path / folder), **options)
        return prepare_checkpoint(settings or {"hidden_size": 6}, arguments, frozenset({"test_file"}))

    return run_prepare


@pytest.fixture
def checkpoint(tmp_path, prepare):
    """A checkpoint of a run whose settings lie beside it."""
    prepare()
    folder = tmp_path / "run" / "checkpoint-5"
    folder.mkdir()
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    torch.save({}, folder / "rng_state.pth")
    TrainerState(global_step=5, max_steps=9).save_to_json(str(folder / "trainer_state.json"))
    return folder


def read_settings(folder):
    return json.loads((folder / SETTINGS_NAME).read_text())


def test_named_checkpoint_goes_on_in_another_folder_which_gets_its_settings(tmp_path, prepare, checkpoint):
    assert prepare("other", {"hidden_size": 6, "test_file": "t.csv"}, resume_from_checkpoint=str(checkpoint)) == str(
        checkpoint
    )
    assert read_settings(tmp_path / "other") == read_settings(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"hidden_size": 8}, {}, r"run' holds checkpoints of a run with other settings: `hidden_size` was 6 and is 8"),
        (None, {"label_smoothing_factor": 0.3, "seed": 2}, r"`label_smoothing_factor` was 0.0 and is 0.3; `seed` was"),
        (
            None,
            {"learning_rate": 0.5},
            r"`learning_rate` was 0.001 and is 0.5. Give those, or .* --model_name_or_path",
        ),
    ],
)
def test_named_checkpoint_of_other_settings_is_an_error(tmp_path, prepare, checkpoint, settings, options, message):
    with pytest.raises(InputError, match=message):
        prepare("other", settings, resume_from_checkpoint=str(checkpoint), **options)
    assert not (tmp_path / "other" / SETTINGS_NAME).exists()


def test_named_checkpoint_without_settings_is_taken_with_a_warning(tmp_path, prepare, checkpoint, caplog):
    foreign = tmp_path / "foreign" / "checkpoint-5"
    shutil.copytree(checkpoint, foreign)
    assert prepare("other", resume_from_checkpoint=str(foreign), seed=2) == str(foreign)
    assert f"There is no {SETTINGS_NAME} beside {foreign}" in caplog.text
    assert read_settings(tmp_path / "other")["seed"] == 2


def test_named_checkpoint_does_not_mix_with_those_of_the_output_folder(tmp_path, prepare, checkpoint):
    foreign = tmp_path / "foreign" / "checkpoint-3"
    shutil.copytree(checkpoint, foreign)
    with pytest.raises(InputError, match=r"run' holds checkpoints of a run with other settings: `seed`"):
        prepare(resume_from_checkpoint=str(foreign), seed=2)


def test_settings_that_an_earlier_run_did_not_note_are_noted_now(tmp_path, prepare, checkpoint):
    settings = read_settings(tmp_path / "run")
    save_settings(tmp_path / "run", {name: value for name, value in settings.items() if name != "seed"})
    assert prepare() == str(checkpoint)
    assert read_settings(tmp_path / "run") == settings


@pytest.mark.parametrize(("name", "value"), OTHER_VALUES.items())
def test_training_argument_that_changes_the_result_must_be_as_it_was(prepare, checkpoint, name, value):
    with pytest.raises(InputError, match=rf"`{name}` was .* and is {re.escape(repr(value))}"):
        prepare(**{name: value})


def test_training_arguments_are_compared_in_the_form_they_are_noted_in(prepare, checkpoint):
    options = OTHER_VALUES | {"optim": "adamw_torch", "lr_scheduler_type": "cosine"}
    prepare(restart=True, **options)
    checkpoint.mkdir()
    assert prepare(**options) is None


def test_run_that_noted_fewer_settings_is_resumed_with_the_defaults(tmp_path, prepare, checkpoint):
    settings = read_settings(tmp_path / "run")
    earlier = settings.keys() - OTHER_VALUES.keys()
    save_settings(tmp_path / "run", {name: settings[name] for name in earlier})
    assert prepare() == str(checkpoint)
