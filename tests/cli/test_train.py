import json

import pytest
from accelerate import PartialState

from hf_lstm.training.tasks import seq2seq, sequence_classification

REVIEWS = [
    f"A {text}, number {n}.,{kind}" for n in range(9) for kind, text in (("good", "fun film"), ("bad", "dull film"))
]
TINY = [
    "--num_train_epochs",
    "1",
    "--embedding_size",
    "5",
    "--hidden_size",
    "6",
    "--use_cpu",
    "--disable_tqdm",
    "true",
]


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(
        "text,label\n" + "".join(f'"{row.rpartition(",")[0]}",{row.rpartition(",")[2]}\n' for row in REVIEWS)
    )
    return path


def test_classifier_is_trained_and_can_be_used(run, reviews, tmp_path):
    folder, output = tmp_path / "model", tmp_path / "labels.jsonl"
    files = ("--train_file", reviews, "--cache_dir", tmp_path / "cache", "--output_dir", folder)
    code, _, err = run("train", "classification", *files, *TINY)
    assert code == 0, err
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 6
    assert run("predict", folder, "--input", reviews, "--output", output)[0] == 0
    assert {json.loads(line)["label"] for line in output.read_text().splitlines()} <= {"good", "bad"}
    assert run("evaluate", folder, "--test_file", reviews)[0] == 0


@pytest.mark.parametrize(
    ("task", "module"),
    [("classification", sequence_classification), ("seq2seq", seq2seq)],
    ids=["classifier", "seq2seq"],
)
def test_arguments_go_to_the_task_with_the_config_file_first(run, monkeypatch, task, module):
    given = []
    monkeypatch.setattr(module, "main", given.append)
    assert run("train", task, "recipe.yaml", "--seed", 2)[0] == 0
    assert run("train", task, "--seed", 2, "--config", "recipe.yaml", "--names", "a", "b")[0] == 0
    assert run("train", task, "--config=recipe.json")[0] == 0
    assert run("train", task)[0] == 0
    assert given == [
        ["recipe.yaml", "--seed", "2"],
        ["recipe.yaml", "--seed", "2", "--names", "a", "b"],
        ["recipe.json"],
        [],
    ]


def test_processes_part_once_training_is_done(run, monkeypatch):
    done = []
    monkeypatch.setattr(sequence_classification, "main", lambda flags: done.append("trained"))
    monkeypatch.setattr(PartialState, "destroy_process_group", lambda state: done.append("parted"))
    assert run("train", "classification")[0] == 0
    assert done == ["trained", "parted"]


def test_config_file_is_read_and_flags_override_it(run, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"train_file: {tmp_path / 'none.csv'}\noutput_dir: {tmp_path / 'model'}\n")
    code, _, err = run("train", "classification", "--config", recipe)
    assert code == 1 and "none.csv' does not exist" in err
    code, _, err = run("train", "classification", recipe, "--train_file", tmp_path / "other.csv")
    assert code == 1 and "other.csv' does not exist" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["classification", "--hiden_size", "6"], 2, "no argument --hiden_size. Did you mean 'hidden_size'?"),
        (["classification", "--hidden_size", "six"], 2, "invalid int value: 'six'"),
        (["classification", "--config", "recipe.txt"], 2, "--config is 'recipe.txt', but must end in .yaml"),
        (["classification", "--config"], 2, "--config: expected one argument"),
        (["classification", "--config="], 2, "--config is '', but must end in .yaml"),
        (["seq2seq", "--train_file", "a.csv"], 1, "Pass --output_dir"),
        (["sequence"], 2, "'sequence' is none of 'classification', 'seq2seq'"),
    ],
)
def test_wrong_arguments_are_errors(run, args, code, message):
    found, _, err = run("train", *args)
    assert found == code and message in err


def test_misspelt_key_of_a_config_file_names_the_nearest(run, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("encoder_layer: 2\n")
    code, _, err = run("train", "seq2seq", "--config", recipe)
    assert code == 2 and "Did you mean 'encoder_layers'?" in err


def test_help_of_a_task_lists_its_arguments(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("train", "seq2seq", "--help")
    assert stop.value.code == 0 and "--source_lang" in capsys.readouterr().out
