"""The demonstration, at a small size."""

import json

import pytest

from hf_lstm.training.demo import EXAMPLES, classify, main

LANGUAGES = ["Chinese", "Japanese", "Russian", "German"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("demo") / "output"
    arguments = ["--output_dir", str(output_dir), "--num_train_epochs", "1", "--max_train_samples", "300"]
    return main([*arguments, "--languages", *LANGUAGES])


def test_demo_learns_and_scores_beside_linear_model(result):
    # Four scripts are easy to tell apart; chance is one quarter.
    assert result.metrics["test_accuracy"] > 0.6
    assert result.metrics["baseline_test_accuracy"] > 0.6
    assert "linear model" in result.summary()


def test_demo_writes_model_report_and_card(result):
    names = {path.name for path in result.output_dir.iterdir()}
    assert {"model.safetensors", "metrics.json", "training_curve.png", "confusion_matrix.png", "README.md"} <= names
    saved = json.loads((result.output_dir / "metrics.json").read_text(encoding="utf-8"))
    assert saved["metrics"]["test_accuracy"] == result.metrics["test_accuracy"]
    assert [row["text"] for row in saved["demo_predictions"]] == list(EXAMPLES)


def test_demo_predictions_come_from_the_reloaded_model(result):
    again = classify(result.output_dir, EXAMPLES[:2])
    assert [row["label"] for row in again] == [row["label"] for row in result.predictions[:2]]
    assert all(0 <= row["score"] <= 1 for row in again)
