"""Access tokens and local folders stay out of everything that is written, printed or pushed."""

import copy
import io
import json
import logging

import pytest
import torch
from transformers import TrainingArguments

from hf_lstm import LstmForSequenceClassification
from hf_lstm.cli.main import main as run_cli
from hf_lstm.training.common_arguments import UnsavedToken
from hf_lstm.training.tasks.sequence_classification import main as train
from hf_lstm.training.trainer import LstmTrainer
from tests.cli.saved_models import load, save_classifier

TOKEN = "hf_planted_token"
TINY = ["--embedding_size=5", "--hidden_size=6", "--num_train_epochs=1", "--disable_tqdm=true", "--use_cpu=true"]


@pytest.fixture
def reviews(tmp_path):
    folder = tmp_path / "private_project"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\n" + "a dog ran,bad\nthe cat sat,good\n" * 8)
    return folder / "train.csv"


def files_with(folder, text):
    """Names the files that hold a text, as it is or within a pickle of torch."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_token_is_in_nothing_that_training_writes_or_logs(reviews, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    output_dir = tmp_path / "model"
    arguments = ["--train_file", str(reviews), "--output_dir", str(output_dir), "--hub_token", TOKEN, *TINY]
    with caplog.at_level(logging.DEBUG, logger="hf_lstm"):
        train([*arguments, "--log_level", "debug"])
    assert run_cli(["card", str(output_dir), "--dataset_name", "d"]) == 0
    assert run_cli(["env"]) == 0
    printed = capfd.readouterr()
    assert {"training_args.bin", "run_settings.json", "README.md"} <= {path.name for path in output_dir.iterdir()}
    assert list(output_dir.glob("checkpoint-*/training_args.bin"))
    assert files_with(output_dir, TOKEN) == []
    assert TOKEN not in caplog.text + printed.out + printed.err


def test_nothing_private_is_in_what_is_pushed_while_training(hub, reviews, tmp_path):
    folder, texts = tmp_path / "home_of_alice" / "model", tmp_path / "new.txt"
    texts.write_text("a secret dog\n")
    arguments = ["--train_file", str(reviews), "--predict_file", str(texts), "--output_dir", str(folder), *TINY]
    arguments += ["--hub_always_push", "true", "--hub_strategy", "every_save"]
    train([*arguments, "--push_to_hub", "true", "--hub_model_id", "alice/model", "--hub_token", "hf_alice"])
    commits = hub.repositories["model", "alice/model"].history()
    assert {"Training in progress, epoch 1", "End of training"} < {commit.message for commit in commits}
    for commit in commits[1:]:
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(commit.files)
        for private in (b"hf_alice", b"home_of_alice", b"private_project", b"a secret dog"):
            assert [name for name, content in commit.files.items() if private in bytes(content)] == []
    assert (folder / "predictions.csv").exists() and (folder / "training_args.bin").exists()


def test_card_of_a_pushed_model_names_its_owner(hub, reviews, tmp_path):
    arguments = ["--train_file", str(reviews), "--output_dir", str(tmp_path / "model"), *TINY, "--push_to_hub", "true"]
    train([*arguments, "--hub_model_id", "my-critic"])
    card = bytes(hub.repositories["model", "alice/my-critic"].refs["main"].files["README.md"]).decode()
    assert "model='alice/my-critic')" in card


def test_plain_arguments_are_saved_without_their_token_too(tmp_path):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "saved"))
    arguments = TrainingArguments(output_dir=str(tmp_path / "out"), hub_token=TOKEN, report_to="none", use_cpu=True)
    trainer = LstmTrainer(model, arguments, processing_class=tokenizer)
    trainer.save_model()
    assert trainer.args.hub_token == TOKEN
    assert files_with(tmp_path / "out", TOKEN) == []
    saved = torch.load(tmp_path / "out" / "training_args.bin", weights_only=False)
    assert saved.hub_token == ""


def test_token_is_kept_by_copies_but_not_by_files():
    token = UnsavedToken(TOKEN)
    assert copy.deepcopy(token) == copy.copy(token) == TOKEN
    file = io.BytesIO()
    torch.save({"token": token}, file)
    assert TOKEN.encode() not in file.getvalue()


def test_settings_name_files_but_not_their_folders(reviews, tmp_path):
    output_dir = tmp_path / "model"
    arguments = ["--train_file", str(reviews), "--output_dir", str(output_dir), "--cache_dir", str(tmp_path / "c")]
    train([*arguments, *TINY])
    settings = json.loads((output_dir / "run_settings.json").read_text())
    assert settings["train_file"].endswith("/train.csv")
    assert files_with(output_dir, "private_project") == []
    train([*arguments, *TINY])  # the same settings are known again
    moved = tmp_path / "train.csv"
    moved.write_bytes(reviews.read_bytes())
    arguments[1] = str(moved)
    with pytest.raises(ValueError, match="holds checkpoints of a run with other settings: `train_file`"):
        train([*arguments, *TINY])
