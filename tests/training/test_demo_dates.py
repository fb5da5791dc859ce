"""Tests of the demonstration's second part that need no training."""

from pathlib import Path

from datasets import Dataset

from hf_lstm.training.demo_dates import DatesPart, pick_dates, score_by_format

SEEN = {"B": (True, False, False, False), "A": (True, True, True), "C": (False,)}
ROWS = [
    {"source": f"{language}{number}", "target": f"t{number}", "language": language, "format": "d", "seen_format": seen}
    for language, kinds in SEEN.items()
    for number, seen in reversed(list(enumerate(kinds)))
]


def test_scores_are_told_apart_by_format():
    predictions = [row["target"] if row["source"] in ("B1", "B2", "A1", "C0") else "" for row in ROWS]
    assert score_by_format(Dataset.from_list(ROWS), predictions) == {
        "test_exact_match_seen_formats": 1 / 4,
        "num_test_seen_formats": 4,
        "test_exact_match_new_formats": 3 / 4,
        "num_test_new_formats": 4,
    }


def test_scores_leave_out_a_kind_without_rows():
    rows = [row for row in ROWS if row["language"] == "A"]
    scores = score_by_format(Dataset.from_list(rows), [row["target"] for row in rows])
    assert scores == {"test_exact_match_seen_formats": 1.0, "num_test_seen_formats": 3}


def test_examples_are_the_middle_dates_of_new_formats_where_there_are_any():
    picked = pick_dates(Dataset.from_list(ROWS), 3)
    assert [row["source"] for row in picked] == ["A1", "B2", "C0"]
    assert picked[1] == {"source": "B2", "target": "t2", "language": "B", "format": "d"}
    assert [row["language"] for row in pick_dates(Dataset.from_list(ROWS), 2)] == ["A", "B"]


def test_summary_shows_what_there_is_and_what_a_wrong_date_should_be():
    metrics = {"num_test_samples": 3, "test_exact_match": 0.5, "demo_minutes": 1.25}
    metrics |= {"test_exact_match_seen_formats": 0.25, "num_test_seen_formats": 3}
    row = {"source": "7.3.26", "target": "2026-03-07", "language": "German", "format": "d.M.y"}
    rows = [row | {"prediction": "2026-07-03"}, row | {"source": "7. 3. 26", "prediction": "2026-03-07"}]
    summary = DatesPart(Path("folder"), metrics, rows).summary()
    assert "50.00 %\n" in summary and "25.00 % of 3\n" in summary and "never had  " not in summary
    assert "2026-07-03   German       7.3.26  (is 2026-03-07)\n" in summary
    assert "2026-03-07   German       7. 3. 26\n" in summary
    assert str(Path("folder") / "attention_1.png") in summary
