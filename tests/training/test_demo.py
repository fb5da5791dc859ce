"""Tests of the demonstration job, on a small part of its data."""

import json
import logging

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_lstm.training.demo import main, pick_examples

pytest.importorskip("babel")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("demo") / "output"
    arguments = ["--output_dir", str(output_dir), "--languages", "Greek", "Korean", "Thai"]
    return main([*arguments, "--num_train_epochs", "2", "--max_train_samples", "700"])


def test_demo_learns_to_tell_languages_apart(demo):
    assert demo.metrics["num_train_samples"] == 700
    assert demo.metrics["test_accuracy"] > 0.9
    assert demo.metrics["baseline_test_accuracy"] > 0.9
    assert demo.metrics["baseline_settings"]["analyzer"] == "char"


def test_demo_writes_model_report_and_card(demo):
    names = {path.name for path in demo.output_dir.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert {"metrics.json", "training_curve.png", "confusion_matrix.png"} <= names
    content = json.loads((demo.output_dir / "metrics.json").read_text(encoding="utf-8"))
    assert content["metrics"]["baseline_test_accuracy"] == demo.metrics["baseline_test_accuracy"]
    assert content["metrics"]["test_accuracy"] == demo.metrics["test_accuracy"]
    assert content["demo_predictions"] == demo.predictions


def test_demo_predicts_with_the_reloaded_model(demo):
    assert [row["right_label"] for row in demo.predictions] == ["Greek", "Korean", "Thai"]
    for row in demo.predictions:
        assert row["label"] == row["right_label"]
        assert 1 / 3 < row["score"] <= 1


def test_summary_shows_both_scores_and_the_predictions(demo):
    summary = demo.summary()
    assert f"LSTM          {100 * demo.metrics['test_accuracy']:.1f} %" in summary
    assert f"linear model  {100 * demo.metrics['baseline_test_accuracy']:.1f} %" in summary
    assert all(row["text"] in summary for row in demo.predictions)
    assert str(demo.output_dir) in summary
    demo.predictions[0]["label"] = "Thai"
    assert f"{demo.predictions[0]['text']}  (is Greek)" in demo.summary()
    demo.predictions[0]["label"] = "Greek"


def test_running_again_starts_anew(demo, caplog):
    arguments = ["--output_dir", str(demo.output_dir), "--languages", "Greek", "Thai"]
    with caplog.at_level(logging.WARNING):
        again = main([*arguments, "--num_train_epochs", "1", "--max_train_samples", "300"])
    assert "Resuming" not in caplog.text
    assert again.metrics["num_train_samples"] == 300


def test_examples_are_the_middle_texts_of_spread_labels():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c", "d"])})
    rows = [{"text": f"{label}{number}", "label": label} for label in "abcd" for number in (2, 0, 1)]
    dataset = Dataset.from_list(rows, features=features)
    assert pick_examples(dataset, 2) == (["a1", "c1"], ["a", "c"])
    assert pick_examples(dataset, 9) == (["a1", "b1", "c1", "d1"], ["a", "b", "c", "d"])
