"""Nothing that comes with a model, a checkpoint or data is run as code."""

import json
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from hf_lstm import LstmForSequenceClassification
from hf_lstm.cli.main import main as run_cli
from hf_lstm.data.checks import InputError
from hf_lstm.data.loading import load_hub_dataset
from hf_lstm.training.checkpoints import find_last_checkpoint, record_file_sizes
from hf_lstm.training.metrics import load_metric
from hf_lstm.training.tasks.sequence_classification import main as train
from tests.cli.saved_models import save_classifier, save_translator
from tests.security.payloads import Payload, write_code, write_pickles

STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
MODEL_PICKLES = ("pytorch_model.bin", "training_args.bin", "scaler.pt", *STATES)
TINY = ["--embedding_size=5", "--hidden_size=6", "--num_train_epochs=1", "--disable_tqdm=true", "--use_cpu=true"]


@pytest.fixture
def mark(tmp_path):
    """A file that must not appear."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "A payload was executed."


@pytest.fixture
def hostile(tmp_path, mark):
    """A classifier with payloads in every file that might be unpickled or imported."""
    folder = save_classifier(tmp_path / "hostile")
    write_pickles(folder, MODEL_PICKLES, mark)
    write_code(folder, mark)
    return folder


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "a dog ran,bad\nthe cat sat,good\n" * 8)
    return path


def test_payloads_do_run_where_they_are_trusted(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "plain")))
    torch.save({"state": Payload(tmp_path / "torch")}, tmp_path / "file")
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "plain").exists() and (tmp_path / "torch").exists()


def test_loading_runs_nothing(hostile):
    for model_class in (LstmForSequenceClassification, AutoModelForSequenceClassification):
        assert type(model_class.from_pretrained(hostile)) is LstmForSequenceClassification
    AutoTokenizer.from_pretrained(hostile)


@pytest.mark.parametrize(
    ("save", "task"), [(save_classifier, "text-classification"), (save_translator, "lstm-translation")]
)
def test_code_beside_the_weights_is_not_run_even_where_it_is_trusted(tmp_path, mark, save, task):
    """The installed classes are taken for every part: the configuration, the model, the tokenizer, the pipeline."""
    folder = save(tmp_path / "model")
    sources = list(folder.glob("*.py"))
    assert {"configuration_lstm.py", "modeling_lstm.py", "tokenization_lstm.py"} <= {path.name for path in sources}
    for path in sources:
        path.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n{path.read_text(encoding='utf-8')}")
    assert type(AutoTokenizer.from_pretrained(folder, trust_remote_code=True)).__module__.startswith("hf_lstm.")
    loaded = pipeline(task, model=str(folder), trust_remote_code=True)
    assert type(loaded.model).__module__.startswith("hf_lstm.")
    assert type(loaded.tokenizer).__module__.startswith("hf_lstm.")


def test_weights_that_are_a_pickle_are_refused(hostile):
    (hostile / "model.safetensors").unlink()
    with pytest.raises(Exception, match="Weights only load failed"):
        LstmForSequenceClassification.from_pretrained(hostile)
    assert run_cli(["predict", str(hostile)]) == 1


@pytest.mark.parametrize("command", ["predict", "evaluate", "card", "push", "train"])
def test_commands_run_nothing(hostile, data, command, tmp_path, monkeypatch):
    created = SimpleNamespace(repo_id="user/model")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *args, **kwargs: created)
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", lambda self, **kwargs: _Commit)
    training = ["--train_file", data, "--model_name_or_path", hostile, "--output_dir", tmp_path / "out", *TINY[2:]]
    arguments = {
        "predict": [hostile, "--input", data],
        "evaluate": [hostile, "--test_file", data],
        "card": [hostile, "--dataset_name", "d"],
        "push": [hostile, "user/model"],
        "train": ["classification", *training],
    }
    assert run_cli([command, *map(str, arguments[command])]) == 0


class _Commit:
    pr_url, commit_url = None, "https://hub.test"


def test_generate_runs_nothing(tmp_path, mark):
    folder = save_translator(tmp_path / "hostile")
    write_pickles(folder, MODEL_PICKLES, mark)
    write_code(folder, mark)
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "hostile.py", folder / "custom_generate" / "generate.py")
    assert run_cli(["generate", str(folder), "a dog ran"]) == 0


def test_tokenizer_of_an_unknown_class_is_refused_and_its_code_not_run(tmp_path, mark, data):
    folder = save_classifier(tmp_path / "model")
    write_code(folder, mark)
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "Hostile"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    arguments = ["--train_file", data, "--tokenizer_name_or_path", folder, "--output_dir", tmp_path / "out", *TINY]
    with pytest.raises(InputError, match="(?s)No tokenizer can be loaded from .*contains custom code"):
        train([str(argument) for argument in arguments])


@pytest.fixture
def checkpoint(data, tmp_path):
    """The checkpoint of a training run, and the run's arguments."""
    arguments = ["--train_file", str(data), "--output_dir", str(tmp_path / "run"), *TINY]
    train(arguments)
    return find_last_checkpoint(tmp_path / "run"), arguments


@pytest.mark.parametrize("name", STATES)
def test_resuming_runs_nothing(checkpoint, mark, name):
    folder, arguments = checkpoint
    write_pickles(folder, (name,), mark)
    record_file_sizes(folder)  # as whoever changes a file would
    with pytest.raises(InputError, match=f"is not a whole checkpoint: {name} holds no plain data"):
        train([*arguments, "--resume_from_checkpoint", str(folder)])
    train(arguments)  # passes the checkpoint over and starts over
    write_pickles(folder, ("training_args.bin", "pytorch_model.bin"), mark)
    record_file_sizes(folder)
    assert find_last_checkpoint(folder.parent) is not None


def test_own_checkpoint_is_resumed_from(checkpoint):
    folder, arguments = checkpoint
    train([*arguments, "--resume_from_checkpoint", str(folder)])


def test_data_set_with_a_script_is_refused(tmp_path, mark):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "hostile.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_hub_dataset(str(folder))


def test_data_set_of_pickles_is_refused(tmp_path, mark):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "train.pkl").write_bytes(pickle.dumps(Payload(mark)))
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: '*.pkl'\n---\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_hub_dataset(str(folder))


@pytest.mark.parametrize("name", ["{}", "{}/hostile.py", "somebody/metric", "hostile"])
def test_metric_of_foreign_code_is_refused(tmp_path, mark, monkeypatch, name):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "hostile.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is code of its own"):
        load_metric(name.format(folder))


def test_yaml_makes_no_objects(tmp_path, mark, data):
    config = tmp_path / "config.yaml"
    config.write_text(f"train_file: !!python/object/apply:pathlib.Path.touch [{mark}]\n")
    with pytest.raises(InputError, match="could not determine a constructor"):
        train([str(config)])
    card = "---\nlanguage: !!python/object/apply:os.mkdir [{}]\n---\n"
    folder = save_classifier(tmp_path / "model")
    (folder / "README.md").write_text(card.format(mark))
    assert run_cli(["card", str(folder), "--dataset_name", "d"]) == 1
