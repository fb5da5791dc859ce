import pytest

from benchmarks.seq2seq.baselines import fit_nearest, lead, measure_baselines
from benchmarks.seq2seq.protocols import PROTOCOLS
from benchmarks.seq2seq.scores import Examples

pytest.importorskip("rouge_score")
pytest.importorskip("sklearn")


@pytest.mark.parametrize(
    ("text", "unit", "first_sentence", "length", "expected"),
    [
        ("\n \nHi  Ann, the\nreport", "word", True, 2, "Hi Ann,"),
        ("Hi Ann,\nthe report is due", "word", False, 4, "Hi Ann, the report"),
        ("Hi Ann,\nthe report", "word", True, 9, "Hi Ann,"),
        ("提出方法。结果好", "char", True, None, "提出方法"),
        ("提出方法。结果好", "char", True, 3, "提出方"),
        ("提出方法。结果好", "char", False, 6, "提出方法。结"),
        ("。", "char", True, 3, ""),
    ],
)
def test_lead_is_the_beginning(text: str, unit: str, first_sentence: bool, length: int | None, expected: str) -> None:
    assert lead(text, unit, first_sentence, length) == expected


def test_nearest_takes_the_target_of_the_most_similar_text() -> None:
    train = Examples(["the price of gas", "a meeting on monday", "gas gas gas"], ["Gas\nprice", "Meeting", "Gas"])
    summarise = fit_nearest("word", (1, 1), train)
    assert summarise(["meeting moved to monday", "price of gas today"]) == ["Meeting", "Gas price"]


def test_settings_are_chosen_on_validation_and_not_on_the_test_rows() -> None:
    train = Examples(["alpha beta", "gamma delta"], ["first", "second"])
    validation = Examples(["one two three\nfour five six", "red blue green\nnine"], ["one two", "red blue"])
    # Five words would be best here.
    test = Examples(["a b c d e f"], ["a b c d e"], [["a b", "x", "y z"]])
    figures, hypotheses = measure_baselines(PROTOCOLS["aeslc"], train, validation, {"test": test})
    assert figures["lead"]["settings"] == {"first_sentence": True, "words": 2}
    assert figures["lead"]["validation"]["rougeL"] == pytest.approx(100)
    assert hypotheses["lead"] == {"test": ["a b"]}
    assert figures["lead"]["tests"]["test"]["nearest_human_rouge1"] == pytest.approx(100)
    assert hypotheses["nearest"]["test"] in (["first"], ["second"])


def test_nothing_is_measured_without_baselines() -> None:
    empty = Examples([], [])
    assert measure_baselines(PROTOCOLS["tatoeba_en_zh"], empty, empty, {}) == ({}, {})
