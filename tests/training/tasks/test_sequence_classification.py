import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    pipeline,
)

from hf_lstm.data.checks import InputError
from hf_lstm.data.labels import MULTI_LABEL, REGRESSION, SINGLE_LABEL, LabelScheme
from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
from hf_lstm.training.tasks.sequence_classification import decode_predictions, main, run
from hf_lstm.training.trainer import LstmTrainer

SCRIPT = Path(__file__).parents[3] / "scripts" / "train_sequence_classification.py"
GOOD, BAD = ["great", "lovely", "superb"], ["awful", "dull", "poor"]
ROWS = "text,label\n" + "a,1\nb,2\n" * 9
FILLER = ["the", "film", "was", "a", "story", "with", "music"]
TINY = ["--embedding_size", "12", "--hidden_size", "20", "--learning_rate", "0.02", "--disable_tqdm", "true"]


def review(generator, words):
    text = generator.choices(FILLER, k=generator.randint(2, 6))
    text.insert(generator.randint(0, len(text)), generator.choice(words))
    return " ".join(text)


def write_reviews(path, num_rows, seed=0):
    generator = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(num_rows):
            label = generator.choice(["pos", "neg"])
            writer.writerow([review(generator, GOOD if label == "pos" else BAD), label])
    return path


def read_facts(folder):
    return json.loads((folder / "card_facts.json").read_text())


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    write_reviews(folder / "train.csv", 240)
    write_reviews(folder / "test.csv", 34, seed=1)
    (folder / "new.txt").write_text("the film was superb\n\na dull story\n")
    return folder


@pytest.fixture
def train(tmp_path):
    """Runs the task into a folder of its own; later arguments override the tiny sizes."""

    def run_main(*args, output_dir=tmp_path / "model"):
        return main([*TINY, "--cache_dir", str(tmp_path / "cache"), "--output_dir", str(output_dir), *map(str, args)])

    return run_main


@pytest.fixture(scope="module")
def trained(reviews, tmp_path_factory):
    """A complete run: its folder and its metrics."""
    folder = tmp_path_factory.mktemp("trained")
    metrics = main(
        [
            *TINY,
            *("--train_file", str(reviews / "train.csv"), "--test_file", str(reviews / "test.csv")),
            *("--predict_file", str(reviews / "new.txt"), "--output_dir", str(folder / "model")),
            *("--num_train_epochs", "4", "--linear_baseline", "--cache_dir", str(folder / "cache")),
        ]
    )
    return folder / "model", metrics


def test_first_run_learns_and_scores_every_split(trained):
    _, metrics = trained
    assert metrics["test_accuracy"] > 0.95 and metrics["eval_accuracy"] > 0.9
    assert metrics["num_train_samples"] == 216 and metrics["num_validation_samples"] == 24
    assert metrics["total_minutes"] > 0


def test_linear_baseline_is_scored_on_the_same_data(trained):
    _, metrics = trained
    assert metrics["baseline_test_accuracy"] > 0.95 and metrics["baseline_eval_accuracy"] > 0.95


def test_result_loads_through_the_auto_classes_and_predicts(trained):
    folder, _ = trained
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "neg", 1: "pos"} and model.config.problem_type == SINGLE_LABEL
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    assert [answer["label"] for answer in classify(["a superb film", "dull music"])] == ["pos", "neg"]


def test_labelled_texts_are_written_with_their_scores(trained):
    folder, _ = trained
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["the film was superb", "", "a dull story"]
    assert (rows[0]["label"], rows[2]["label"]) == ("pos", "neg")
    assert all(0.5 <= float(row["score"]) <= 1 for row in rows)


def test_report_and_model_card_are_written(trained):
    folder, metrics = trained
    written = json.loads((folder / "metrics.json").read_text())
    assert written["metrics"]["test_accuracy"] == metrics["test_accuracy"]
    for name in ("training_curve.png", "confusion_matrix.png", "README.md"):
        assert (folder / name).stat().st_size > 0


def test_facts_of_the_card_are_recorded_without_what_is_private(trained, reviews):
    folder, metrics = trained
    text = (folder / "card_facts.json").read_text()
    facts = json.loads(text)
    assert (facts["dataset_name"], facts["dataset_id"], facts["split_name"]) == ("train.csv", None, "test")
    assert (facts["evaluation_dataset_name"], facts["is_fine_tuned"]) == ("test.csv", False)
    assert facts["metrics"]["accuracy"] == metrics["test_accuracy"] and "runtime" not in facts["metrics"]
    assert facts["num_train_rows"] == metrics["num_train_samples"]
    assert facts["hyper_parameters"].keys() >= {"learning_rate", "optim", "class_weights"}
    assert facts["curve"][-1]["eval_accuracy"] is not None and facts["example_text"]
    for private in (folder, reviews, "token", "processing", "examples"):
        assert str(private) not in text


def test_script_prints_one_line_for_bad_input(tmp_path):
    command = [sys.executable, str(SCRIPT), "--train_file", str(tmp_path / "none.csv"), "--output_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: The file ") and "Traceback" not in done.stderr


def test_config_file_is_overridden_by_flags(reviews, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"train_file: {reviews / 'train.csv'}\noutput_dir: {tmp_path / 'model'}\nnum_train_epochs: 9\nhidden_size: 8\n"
        f"embedding_size: 6\nclassifier_pooling: mean\nmax_train_samples: 40\ncache_dir: {tmp_path / 'cache'}\n"
        "learning_rate: 1e-2\ndisable_tqdm: true\n"
    )
    metrics = main([str(recipe), "--num_train_epochs", "1", "--hidden_size", "10"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["hidden_size"], config["embedding_size"], config["classifier_pooling"]) == (10, 6, "mean")
    assert metrics["epoch"] == 1


def test_multi_label_data_is_learned(train, tmp_path):
    generator = random.Random(3)
    rows = []
    for _ in range(200):
        labels = [name for name in ("good", "bad") if generator.random() < 0.5]
        words = generator.choices(FILLER, k=3)
        words += [generator.choice(GOOD)] * ("good" in labels) + [generator.choice(BAD)] * ("bad" in labels)
        generator.shuffle(words)
        rows.append({"text": " ".join(words), "label": labels})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "new.jsonl").write_text('{"text": "a superb film but dull"}\n{"text": "the story"}\n')
    metrics = train(
        *("--train_file", tmp_path / "train.jsonl", "--predict_file", tmp_path / "new.jsonl", "--num_train_epochs", 8)
    )
    assert metrics["eval_f1_micro"] > 0.9
    with (tmp_path / "model" / "predictions.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["bad|good", ""]


def test_regression_is_learned(train, tmp_path):
    generator = random.Random(4)
    rows = [generator.choices(["up", "down", "flat"], k=5) for _ in range(200)]
    lines = [f"{' '.join(words)},{words.count('up') - words.count('down') + 0.5}" for words in rows]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    metrics = train(
        *("--train_file", tmp_path / "train.csv", "--problem_type", "regression", "--num_train_epochs", 8),
        *("--classifier_dropout", 0, "--input_dropout", 0, "--classifier_pooling", "mean"),
    )
    assert metrics["eval_pearsonr"] > 0.9
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["problem_type"] == REGRESSION and len(config["id2label"]) == 1


def test_pairs_are_read_as_pairs(train, tmp_path):
    rows = [{"a": a, "b": b, "label": int(a == b)} for a in ("x y", "y z", "z") for b in ("x y", "y z", "z")] * 5
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(
        *("--train_file", tmp_path / "train.jsonl", "--text_column_names", "a", "--text_pair_column_name", "b"),
        *("--num_train_epochs", 1),
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(tokenizer) == 4 + 3
    facts = read_facts(tmp_path / "model")
    assert facts["reads_pairs"] and facts["example_text_pair"] in ("x y", "y z", "z")
    assert f"text_pairs=['{facts['example_text_pair']}']" in (tmp_path / "model" / "README.md").read_text()


def test_chinese_text_gets_a_character_tokenizer(train, tmp_path):
    rows = [{"text": text, "label": label} for text, label in (("股市大涨", "财经"), ("球队大胜", "体育"))] * 10
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train("--train_file", tmp_path / "train.jsonl", "--num_train_epochs", 1)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").tokenize("股胜") == ["股", "胜"]


def checkpoint_names(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def test_interrupted_run_resumes_from_its_last_whole_checkpoint(reviews, train, tmp_path, caplog, monkeypatch):
    args = ["--train_file", reviews / "train.csv", "--num_train_epochs", 3]
    expected = train(*args, output_dir=tmp_path / "straight")
    save_checkpoint = LstmTrainer._save_checkpoint

    def save_half_of_the_second(self, model, trial):
        save_checkpoint(self, model, trial)
        if self.state.global_step == 14:
            weights = Path(self.args.output_dir) / "checkpoint-14" / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-100])
            raise KeyboardInterrupt

    monkeypatch.setattr(LstmTrainer, "_save_checkpoint", save_half_of_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(*args)
    monkeypatch.setattr(LstmTrainer, "_save_checkpoint", save_checkpoint)
    with caplog.at_level("WARNING", logger="hf_lstm"):
        metrics = train(*args)
    assert "checkpoint-14 is not a whole checkpoint" in caplog.text
    assert "Resuming from" in caplog.text and "checkpoint-7" in caplog.text
    assert metrics["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-6)


def test_run_with_other_settings_in_the_same_folder_is_an_error(reviews, train, tmp_path):
    args = ["--train_file", reviews / "train.csv", "--max_train_samples", 64, "--num_train_epochs", 1]
    train(*args)
    with pytest.raises(InputError, match=r"`hidden_size` was 20 and is 24.*--restart"):
        train(*args, "--hidden_size", 24)
    with pytest.raises(InputError, match=r"`batch_size` was 32 and is 64; `noise_rate` was 0.0 and is 0.4"):
        train(*args, "--gradient_accumulation_steps", 2, "--noise_rate", 0.4)
    train(*args, "--hidden_size", 24, "--restart")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["hidden_size"] == 24
    assert checkpoint_names(tmp_path / "model") == ["checkpoint-2"]


def test_run_with_the_same_arguments_again_makes_no_further_step(reviews, tmp_path):
    training = LstmTrainingArguments(output_dir=str(tmp_path), num_train_epochs=1, disable_tqdm=True)
    data = DataArguments(train_file=str(reviews / "train.csv"), max_train_samples=64)
    model = ModelArguments(embedding_size=6, hidden_size=8)
    losses = [run(model, data, training).metrics["eval_loss"] for _ in range(2)]
    assert losses[0] == losses[1] and checkpoint_names(tmp_path) == ["checkpoint-2"]


def test_training_stops_early_without_a_better_metric(reviews, train):
    args = ["--train_file", reviews / "train.csv", "--max_train_samples", 64, "--learning_rate", 1e-9]
    metrics = train(*args, "--num_train_epochs", 6, "--early_stopping_patience", 2)
    assert metrics["epoch"] == 3


def test_training_without_validation_data_keeps_the_last_weights(reviews, train, tmp_path):
    args = ["--train_file", reviews / "train.csv", "--max_train_samples", 64, "--num_train_epochs", 1]
    metrics = train(*args, "--validation_split_percentage", 0)
    assert "eval_loss" not in metrics and (tmp_path / "model" / "model.safetensors").exists()


def test_trained_model_is_scored_without_training(trained, reviews, train, tmp_path):
    folder, expected = trained
    metrics = train("--no_do_train", "--model_name_or_path", folder, "--test_file", reviews / "test.csv")
    assert metrics["test_accuracy"] == expected["test_accuracy"] and "train_loss" not in metrics
    facts, earlier = (read_facts(path) for path in (tmp_path / "model", folder))
    for name in ("hyper_parameters", "num_train_rows", "curve"):
        assert facts[name] == earlier[name] != {}


def test_card_of_a_run_without_training_keeps_what_the_training_was(reviews, train, tmp_path):
    folder, other = tmp_path / "trained", tmp_path / "other.csv"
    other.write_bytes((reviews / "test.csv").read_bytes())
    flags = ["--train_file", reviews / "train.csv", "--max_train_samples", 64, "--num_train_epochs", 1]
    train(*flags, "--max_length", 16, "--license_name", "mit", "--languages", "de", output_dir=folder)
    train("--no_do_train", "--model_name_or_path", folder, "--test_file", other)
    facts, earlier = read_facts(tmp_path / "model"), read_facts(folder)
    changed = {name for name in facts if facts[name] != earlier[name]}
    assert changed == {"metrics", "split_name", "num_evaluation_rows", "evaluation_dataset_name", "example_text"}
    text = (tmp_path / "model" / "README.md").read_text()
    assert "Measured on other.csv (34 rows)." in text and "\ntrain.csv: 64 rows." in text
    assert "first 16 tokens" in text and "data above alone" in text and "license: mit" in text

    (folder / "card_facts.json").unlink()
    train("--no_do_train", "--model_name_or_path", folder, "--test_file", other, output_dir=tmp_path / "again")
    text = (tmp_path / "again" / "README.md").read_text()
    assert "Measured on other.csv (34 rows)." in text and "\ndata that is not recorded." in text
    assert "It was trained on" not in text and "| learning_rate |" not in text


def test_card_says_what_the_training_began_with(trained, reviews, train, tmp_path):
    assert "was trained on the data above alone" in (trained[0] / "README.md").read_text()
    flags = ["--train_file", reviews / "train.csv", "--max_train_samples", 32, "--num_train_epochs", 1]
    train(*flags, "--model_name_or_path", trained[0])
    assert read_facts(tmp_path / "model")["is_fine_tuned"] is True
    assert "began with a local model and went on" in (tmp_path / "model" / "README.md").read_text()


def test_trained_model_is_trained_on_with_its_tokenizer_and_labels(trained, reviews, train, tmp_path):
    folder, _ = trained
    metrics = train(
        *("--model_name_or_path", folder, "--train_file", reviews / "train.csv", "--max_train_samples", 32),
        *("--num_train_epochs", 1, "--learning_rate", 1e-6, "--embedding_size", 12, "--hidden_size", 20),
        *("--classifier_dropout", 0.25),
    )
    assert metrics["eval_accuracy"] > 0.9
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["classifier_dropout"] == 0.25 and config["id2label"] == {"0": "neg", "1": "pos"}


def test_tokenizer_is_of_the_revision_of_the_model(hub, trained, reviews, train, tmp_path):
    api, earlier = HfApi(), AutoTokenizer.from_pretrained(trained[0])
    api.create_repo("alice/base")
    api.create_branch("alice/base", branch="v1")
    api.upload_folder(repo_id="alice/base", folder_path=trained[0], revision="v1", ignore_patterns="checkpoint-*")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "train.csv").write_text("text,label\n" + "ein Hund,pos\ndie Katze,neg\n" * 9)
    train("--train_file", tmp_path / "new" / "train.csv", "--num_train_epochs", 1)
    api.upload_folder(repo_id="alice/base", folder_path=tmp_path / "model", ignore_patterns="checkpoint-*")
    flags = ["--train_file", reviews / "train.csv", "--max_train_samples", 32, "--num_train_epochs", 1]
    train(*flags, "--model_name_or_path", "alice/base", "--model_revision", "v1", output_dir=tmp_path / "trained_on")
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "trained_on").get_vocab()
    assert vocabulary == earlier.get_vocab()
    facts = read_facts(tmp_path / "trained_on")
    assert (facts["base_model"], facts["is_fine_tuned"]) == ("alice/base", True)
    assert vocabulary != AutoTokenizer.from_pretrained("alice/base").get_vocab()


def test_loss_picks_the_best_checkpoint_where_it_is_asked_for(reviews, train, tmp_path):
    args = ["--train_file", reviews / "train.csv", "--max_train_samples", 64, "--num_train_epochs", 1]
    train(*args, "--metric_for_best_model", "loss")
    state = json.loads((tmp_path / "model" / "trainer_state.json").read_text())
    assert state["best_metric"] == next(row["eval_loss"] for row in state["log_history"] if "eval_loss" in row)


def test_tokenizer_keeps_the_length_that_a_model_is_trained_on_with(trained, reviews, train, tmp_path):
    folder, _ = trained
    args = ["--model_name_or_path", folder, "--max_train_samples", 32, "--num_train_epochs", 1, "--max_length", 6]
    train(*args, "--train_file", reviews / "train.csv")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length == 6


def test_trained_model_gets_a_new_head_for_other_labels(trained, train, tmp_path):
    folder, _ = trained
    (tmp_path / "train.csv").write_text("text,label\n" + "great,1\nfilm,2\ndull,3\n" * 9)
    train("--model_name_or_path", folder, "--train_file", tmp_path / "train.csv", "--num_train_epochs", 1)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert model.config.id2label == {0: "1", 1: "2", 2: "3"} and model.classifier.out_features == 3


def test_text_of_a_million_tokens_trains(train, tmp_path):
    lines = ["text,label", f"{'word ' * 1_000_000},a", *["some word,b", "word,a"] * 8]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    metrics = train("--train_file", tmp_path / "train.csv", "--num_train_epochs", 1, "--max_length", 50)
    assert np.isfinite(metrics["eval_loss"])


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(LstmTrainer, "train", fail)


@pytest.mark.parametrize(
    ("content", "args", "message"),
    [
        ("txet,label\na,1\nb,2\n", [], r"no column 'text', only 'txet', 'label'. Did you mean 'txet'\?"),
        ("text,label\na,1\nb,2\n", ["--label_column_name", "lable"], r"no column 'lable'.*Did you mean 'label'\?"),
        ("", [], "is empty"),
        ("text,label\n,1\n,2\n", [], "All 2 texts of the train data"),
        ("text,label\na,0.5\nb,1.5\n", [], "The labels are floats"),
        ("text,label\na,1\nb,\n", [], "1 of 2 rows of the training data have no label"),
        ("text,label\na,1\nb,1\n", [], "All 2 training rows have the label '1'"),
        ("text,label\na,high\nb,1\n", ["--problem_type", "regression"], "a regression needs a finite number"),
        (ROWS, ["--hidden_size", "7"], "`hidden_size` is 7, but must be even"),
        (ROWS, ["--input_dropout", "1.5"], "`input_dropout` is 1.5"),
        (ROWS, ["--classifier_pooling", "maximum"], "`classifier_pooling` is 'maximum'"),
        (ROWS, ["--min_frequency", "99"], "No tokenizer can be trained .*min_frequency=99.*lower `min_frequency`"),
        (ROWS, ["--class_weights", "1", "2", "3"], "`class_weights` has 3 values, but there are 2"),
        (ROWS, ["--metric_name", "acuracy"], r"acuracy.*Did you mean 'accuracy'\?"),
        (ROWS, ["--early_stopping_patience", "2", "--validation_split_percentage", "0"], "no validation data"),
        (ROWS, ["--model_name_or_path", "no/where/here"], "The model 'no/where/here' cannot be loaded"),
        (ROWS, ["--tokenizer_name_or_path", "no/where/here"], "No tokenizer can be loaded"),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_before_training(train, tmp_path, no_training, content, args, message):
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        train("--train_file", tmp_path / "train.csv", *args)


def test_wrong_encoding_is_an_error_before_training(train, tmp_path, no_training):
    (tmp_path / "train.csv").write_bytes("text,label\n新闻,1\n旧闻,2\n".encode("gb18030"))
    with pytest.raises(InputError, match=r"not written in utf-8.*--file_encoding"):
        train("--train_file", tmp_path / "train.csv")


def test_unwritable_output_folder_is_an_error_before_training(reviews, train, tmp_path, no_training):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write to the output folder"):
        train("--train_file", reviews / "train.csv", output_dir=tmp_path / "file" / "model")


def test_model_of_another_architecture_is_an_error_before_training(reviews, train, tmp_path, no_training):
    config = BertConfig(vocab_size=13, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match=r"is of the architecture 'bert', but must be 'hf_lstm'"):
        train("--train_file", reviews / "train.csv", "--model_name_or_path", tmp_path / "bert")


@pytest.fixture
def copy_of_trained(trained, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in trained[0].iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_truncated_weights_are_an_error_before_training(copy_of_trained, reviews, train, no_training):
    weights = copy_of_trained / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"model.safetensors' are damaged"):
        train("--train_file", reviews / "train.csv", "--model_name_or_path", copy_of_trained)


def test_size_that_does_not_fit_the_trained_weights_is_an_error(copy_of_trained, reviews, train, no_training):
    with pytest.raises(InputError, match=r"do not fit the sizes asked for: model"):
        train("--train_file", reviews / "train.csv", "--model_name_or_path", copy_of_trained, "--hidden_size", 22)


@pytest.fixture
def without_layers(copy_of_trained):
    weights = load_file(copy_of_trained / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layers." not in name}
    save_file(kept, copy_of_trained / "model.safetensors", metadata={"format": "pt"})
    return copy_of_trained


@pytest.mark.parametrize("is_trained", [True, False])
def test_weights_that_lack_layers_are_an_error(without_layers, reviews, train, tmp_path, no_training, is_trained):
    data = ["--train_file", reviews / "train.csv"]
    if not is_trained:
        data = ["--no_do_train", "--predict_file", reviews / "new.txt"]
    with pytest.raises(InputError, match=r"are not whole: 'model.layers.0.bias_hh_l0'"):
        train("--model_name_or_path", without_layers, *data)
    assert not (tmp_path / "model" / "predictions.csv").exists()


def test_layers_that_were_never_trained_are_an_error(copy_of_trained, reviews, train, no_training):
    with pytest.raises(InputError, match=r"are not whole: 'model.layers.1.* Leave out the flags that change the arch"):
        train("--train_file", reviews / "train.csv", "--model_name_or_path", copy_of_trained, "--num_hidden_layers", 3)


def test_parts_that_are_new_are_trained_but_not_scored(copy_of_trained, reviews, train):
    flags = ["--model_name_or_path", copy_of_trained, "--ngram_orders", 2, "--ngram_buckets", 50]
    with pytest.raises(InputError, match=r"are not whole: 'model.embed_ngrams.weight'"):
        train("--no_do_train", "--test_file", reviews / "test.csv", *flags)
    data = ["--train_file", reviews / "train.csv", "--max_train_samples", 32, "--num_train_epochs", 1]
    assert "eval_accuracy" in train(*data, *flags)


def test_tokenizer_beyond_the_trained_vocabulary_is_an_error(copy_of_trained, reviews, train, tmp_path, no_training):
    tokenizer = AutoTokenizer.from_pretrained(copy_of_trained)
    tokenizer.add_tokens([f"extra{number}" for number in range(7)])
    tokenizer.save_pretrained(tmp_path / "larger")
    with pytest.raises(InputError, match=r"The tokenizer has \d+ tokens, but the model .* knows only \d+"):
        train(
            *("--train_file", reviews / "train.csv", "--model_name_or_path", copy_of_trained),
            *("--tokenizer_name_or_path", tmp_path / "larger"),
        )


def test_decoded_predictions_are_names_with_probabilities():
    logits = np.array([[0.0, 2.0, -1.0], [3.0, 0.0, 0.0]], dtype=np.float32)
    names, scores = decode_predictions(logits, LabelScheme(SINGLE_LABEL, ("a", "b", "c")))
    assert names == ["b", "a"]
    assert scores == pytest.approx(torch.tensor(logits).softmax(-1).max(-1).values.tolist())
    names, scores = decode_predictions(logits, LabelScheme(MULTI_LABEL, ("a", "b", "c")))
    assert names == [["b"], ["a"]] and scores[0] == pytest.approx([0.880797])
    assert decode_predictions(np.array([[0.5], [-2.0]]), LabelScheme(REGRESSION)) == ([0.5, -2.0], [None, None])


def test_noise_is_the_same_in_a_run_that_is_resumed(reviews, train, tmp_path):
    flags = ("--train_file", reviews / "train.csv", "--noise_rate", "0.4", "--seed", "5", "--num_train_epochs", "2")
    flags += ("--save_strategy", "steps", "--save_steps", "3", "--save_total_limit", "9", "--eval_strategy", "no")
    flags += ("--load_best_model_at_end", "false")
    whole = train(*flags)
    checkpoints = {int(path.name.split("-")[1]): path for path in (tmp_path / "model").glob("checkpoint-*")}
    assert set(checkpoints) >= {3, 9}
    for step in (3, 9):  # within the first and the second epoch of 7 steps
        resumed = train(*flags, "--resume_from_checkpoint", checkpoints[step], output_dir=tmp_path / f"from{step}")
        assert resumed["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-6)
        assert resumed["eval_loss"] == pytest.approx(whole["eval_loss"], abs=1e-6)
    clean = train(*flags, "--noise_rate", "0", output_dir=tmp_path / "clean")
    assert clean["eval_loss"] != pytest.approx(whole["eval_loss"], abs=1e-4)


def test_wrong_noise_is_refused_before_anything_is_read(train):
    with pytest.raises(InputError, match="`noise_rate` is 1.5"):
        train("--train_file", "missing.csv", "--noise_rate", "1.5")
    with pytest.raises(InputError, match="'tipo'.*Did you mean 'typo'"):
        train("--train_file", "missing.csv", "--noise_rate", "0.1", "--noise_kind", "tipo")
