"""Tests of the demonstration as a whole, on a small part of its data."""

import json
import logging

import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training import demo as demo_module
from hf_lstm.training.demo import DemoResult, main

pytest.importorskip("babel")

LANGUAGES = ["Greek", "Korean", "Thai"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> DemoResult:
    output_dir = tmp_path_factory.mktemp("demo") / "output"
    arguments = ["--output_dir", str(output_dir), "--languages", *LANGUAGES]
    return main([*arguments, "--num_train_epochs", "2", "--max_train_samples", "700"])


@pytest.fixture
def parts(monkeypatch) -> list[tuple]:
    """The arguments that the parts were run with, of which none trains."""
    calls: list[tuple] = []
    for name in ("languages", "dates"):
        monkeypatch.setattr(demo_module, f"run_{name}", lambda *args, name=name: calls.append((name, *args)))
    return calls


def test_classifier_learns_to_tell_languages_apart(demo):
    metrics = demo.languages.metrics
    assert metrics["num_train_samples"] == 700
    assert metrics["test_accuracy"] > 0.9
    assert metrics["baseline_test_accuracy"] > 0.9
    assert metrics["baseline_settings"]["analyzer"] == "char"


def test_classifier_predicts_when_loaded_again(demo):
    assert [row["right_label"] for row in demo.languages.predictions] == LANGUAGES
    for row in demo.languages.predictions:
        assert row["label"] == row["right_label"]
        assert 1 / 3 < row["score"] <= 1


def test_decoder_is_scored_on_seen_and_on_new_formats(demo):
    metrics = demo.dates.metrics
    assert metrics["num_train_samples"] == 700
    assert (metrics["num_test_seen_formats"], metrics["num_test_new_formats"]) == (180, 90)
    shares = [metrics[f"test_exact_match_{kind}_formats"] for kind in ("seen", "new")]
    assert metrics["test_exact_match"] == pytest.approx((180 * shares[0] + 90 * shares[1]) / 270)


def test_decoder_writes_when_loaded_again(demo):
    assert [row["language"] for row in demo.dates.predictions] == LANGUAGES
    lines = (demo.dates.output_dir / "test_predictions.jsonl").read_text(encoding="utf-8").splitlines()
    written = {row["source"]: row for row in map(json.loads, lines)}
    for row in demo.dates.predictions:
        assert row["prediction"]
        assert row["prediction"] == written[row["source"]]["prediction"]
        assert row["target"] == written[row["source"]]["target"]


def test_each_part_leaves_model_report_and_card(demo):
    assert demo.dates.output_dir == demo.languages.output_dir / "dates"
    pictures = {"languages": {"confusion_matrix.png"}, "dates": {f"attention_{number}.png" for number in (1, 2, 3, 4)}}
    for name, expected in pictures.items():
        part = getattr(demo, name)
        names = {path.name for path in part.output_dir.iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
        assert {"metrics.json", "training_curve.png"} | expected <= names
        content = json.loads((part.output_dir / "metrics.json").read_text(encoding="utf-8"))
        assert content["metrics"] == part.metrics
        assert content["demo_predictions"] == part.predictions


def test_summary_shows_scores_and_predictions_of_both_parts(demo):
    summary, metrics = demo.summary(), demo.languages.metrics | demo.dates.metrics
    assert f"LSTM          {100 * metrics['test_accuracy']:.1f} %" in summary
    assert f"linear model  {100 * metrics['baseline_test_accuracy']:.1f} %" in summary
    assert f"{100 * metrics['test_exact_match_seen_formats']:.2f} % of 180" in summary
    assert f"{100 * metrics['test_exact_match_new_formats']:.2f} % of 90" in summary
    assert all(row["text"] in summary for row in demo.languages.predictions)
    assert all(row["source"] in summary for row in demo.dates.predictions)
    assert f"card: {demo.languages.output_dir}\n" in summary and f"card: {demo.dates.output_dir}\n" in summary
    assert summary.endswith(f"{demo.minutes:.1f} minutes.")


def test_running_a_part_again_starts_anew(demo, caplog):
    arguments = [
        "--output_dir",
        str(demo.languages.output_dir),
        "--languages",
        "Greek",
        "Thai",
        "--parts",
        "languages",
    ]
    with caplog.at_level(logging.WARNING):
        again = main([*arguments, "--num_train_epochs", "1", "--max_train_samples", "300"])
    assert "Resuming" not in caplog.text
    assert again.languages.metrics["num_train_samples"] == 300
    assert again.dates is None


def test_parts_have_their_own_epochs_and_samples(parts, tmp_path):
    main(["--output_dir", str(tmp_path), "--languages", "Thai"])
    assert parts == [
        ("languages", tmp_path, ["Thai"], 6.0, None),
        ("dates", tmp_path / "dates", ["Thai"], 5.0, 24_000),
    ]


def test_flags_reach_the_parts_asked_for(parts, tmp_path):
    arguments = ["--output_dir", str(tmp_path), "--languages", "Thai", "--num_train_epochs", "0.5"]
    main([*arguments, "--max_train_samples", "50000", "--parts", "dates"])
    main([*arguments, "--max_train_samples", "70", "--parts", "dates", "languages"])
    assert parts == [
        ("dates", tmp_path / "dates", ["Thai"], 0.5, 24_000),
        ("languages", tmp_path, ["Thai"], 0.5, 70),
        ("dates", tmp_path / "dates", ["Thai"], 0.5, 70),
    ]


def test_no_training_data_is_an_error(parts):
    with pytest.raises(InputError, match="`max_train_samples` is 0, but must be at least 1"):
        main(["--max_train_samples", "0"])
    assert parts == []
