import sys

import numpy as np
import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training.baseline import C_VALUES, fit_linear_baseline

ENGLISH = [f"{word} film number {number}" for number in range(12) for word in ("good", "bad")]
CHINESE = [f"{word}电影第{number}部" for number in range(12) for word in ("很好看的", "很难看的")]
LABELS = ["positive", "negative"] * 12


@pytest.mark.parametrize(
    ("texts", "analyzer", "ngrams"), [(ENGLISH, "word", [1, 2]), (CHINESE, "char", [1, 3])], ids=["en", "zh"]
)
def test_baseline_fits_and_picks_its_analyzer(texts, analyzer, ngrams):
    baseline = fit_linear_baseline(texts[:16], LABELS[:16], texts[16:], LABELS[16:])

    assert baseline.predict(texts[16:]) == LABELS[16:]
    assert baseline.dev_accuracy == 1.0
    assert (baseline.settings["analyzer"], baseline.settings["ngram_range"]) == (analyzer, ngrams)
    assert baseline.settings["num_features"] > 10


def test_penalty_is_the_best_on_development_texts():
    generator = np.random.default_rng(3)
    texts = [" ".join(f"w{number}" for number in generator.integers(0, 30, 6)) for _ in range(120)]
    labels = [int("w1 " in text or generator.random() < 0.3) for text in texts]
    parts = texts[:80], labels[:80], texts[80:], labels[80:]
    baseline = fit_linear_baseline(*parts)

    assert baseline.settings["C"] in C_VALUES
    assert baseline.dev_accuracy == np.mean(np.array(baseline.predict(parts[2])) == parts[3])


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match=r"scikit-learn.*pip install 'hf_lstm\[train\]'"):
        fit_linear_baseline(ENGLISH, LABELS, ENGLISH, LABELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ENGLISH, ["a"] * 24, ENGLISH, LABELS), "of two labels and one development text, but there are 1 and 24"),
        ((ENGLISH, LABELS, [], []), "there are 2 and 0"),
        ((ENGLISH, LABELS, ENGLISH, LABELS, "subword"), "`analyzer` is 'subword'"),
        (([" "] * 24, LABELS, ENGLISH, LABELS), "hold no words"),
    ],
)
def test_unfit_input_raises(arguments, message):
    with pytest.raises(InputError, match=message):
        fit_linear_baseline(*arguments)
