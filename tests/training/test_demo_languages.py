"""Tests of the demonstration's first part that need no training."""

from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value

from hf_lstm.training.demo_languages import LanguagesPart, pick_examples


def test_examples_are_the_middle_texts_of_spread_labels():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c", "d"])})
    rows = [{"text": f"{label}{number}", "label": label} for label in "abcd" for number in (2, 0, 1)]
    dataset = Dataset.from_list(rows, features=features)
    assert pick_examples(dataset, 2) == (["a1", "c1"], ["a", "c"])
    assert pick_examples(dataset, 9) == (["a1", "b1", "c1", "d1"], ["a", "b", "c", "d"])


def test_summary_tells_what_a_wrong_label_should_be():
    metrics = {"num_test_samples": 7, "test_accuracy": 0.5, "baseline_test_accuracy": 0.25, "demo_minutes": 1.25}
    row = {"text": "yen", "label": "Thai", "score": 0.75, "right_label": "Greek"}
    summary = LanguagesPart(Path("folder"), metrics, [row, row | {"text": "euro", "right_label": "Thai"}]).summary()
    assert " 75.0 %  Thai         yen  (is Greek)\n" in summary
    assert " 75.0 %  Thai         euro\n" in summary
