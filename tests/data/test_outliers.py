import logging
import time

import numpy as np
import pytest
from datasets import Dataset

from hf_lstm.data.checks import InputError
from hf_lstm.data.labels import MULTI_LABEL, REGRESSION, SINGLE_LABEL, LabelScheme
from hf_lstm.data.outliers import drop_rows, find_leaked, find_outliers, log_findings

SCHEME = LabelScheme(SINGLE_LABEL, ("bad", "good"))


def make(texts, labels=None, **columns):
    return Dataset.from_dict({"text": texts} | columns | ({} if labels is None else {"labels": labels}))


def rows_by_kind(train, scheme=SCHEME, **held_out):
    return {finding.kind: finding.rows.tolist() for finding in find_outliers(train, held_out, scheme)}


def test_clean_rows_are_not_found():
    assert rows_by_kind(make(["a", "b", "c"], [0, 1, 1]), test=make(["d"], [0])) == {}


def test_repeated_contradictory_and_empty_rows_are_found():
    texts = ["a", "b", "a", "c", " a ", "b", "", "  ", "b"]
    found = rows_by_kind(make(texts, [0, 0, 0, 1, 0, 1, 0, 1, 0]))
    assert found == {"duplicates": [2, 4, 8], "conflicts": [1, 5, 8], "empty": [6, 7]}


def test_leaks_are_told_by_split_and_not_for_empty_texts():
    train = make(["a", "b", "", "c", "a"], [0, 1, 0, 1, 1])
    findings = find_outliers(train, {"validation": make(["x", "c"], [0, 1]), "test": make(["a", ""], [0, 0])}, SCHEME)
    leaks = {finding.meaning: finding.rows.tolist() for finding in findings if finding.kind == "leaked"}
    assert leaks == {"text of a row of the validation data": [3], "text of a row of the test data": [0, 4]}


def test_pairs_are_the_same_if_both_texts_are():
    train = make(["a", "a", "b"], [0, 0, 1], text_pair=["x", "y", "x"])
    test = make(["a", "b"], [0, 1], text_pair=["z", "x"])
    assert rows_by_kind(train, test=test) == {"leaked": [2]}


def test_repeated_rows_are_found_among_many_texts_with_as_many_labels():
    num_rows = 47_000  # whose square is beyond 32 bits
    texts, labels = [f"text {number}" for number in range(num_rows)], [number / 8 for number in range(num_rows)]
    found = rows_by_kind(make([*texts, texts[3]], [*labels, labels[3]]), LabelScheme(REGRESSION))
    assert found == {"duplicates": [num_rows]}


def test_rows_that_were_selected_before_are_numbered_as_they_are_now():
    train = make(["z", "a", "z", "b", "a"], [0, 0, 0, 1, 0]).select([4, 3, 1])
    assert rows_by_kind(train) == {"duplicates": [2]}


def test_other_kinds_of_labels_are_compared_as_a_whole():
    several = make(["a", "a", "b", "b"], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = rows_by_kind(several, LabelScheme(MULTI_LABEL, ("bad", "good")))
    assert found == {"duplicates": [1], "conflicts": [2, 3]}
    numbers = make(["a", "a", "b", "b"], [0.5, 0.5, 0.1, 0.2])
    assert rows_by_kind(numbers, LabelScheme(REGRESSION)) == {"duplicates": [1], "conflicts": [2, 3]}


def test_gigantic_texts_and_rare_labels_are_found():
    texts = [f"text {number}" for number in range(402)]
    texts[7], texts[8] = "x" * 1001, "x" * 1000
    labels = [0] * 399 + [1] * 3
    found = rows_by_kind(make(texts, labels), LabelScheme(SINGLE_LABEL, ("bad", "good", "never")))
    assert found["gigantic"] == [7]
    findings = find_outliers(make(texts, labels), {}, LabelScheme(SINGLE_LABEL, ("bad", "good", "never")))
    assert {f.meaning: f.rows.tolist() for f in findings if f.kind == "rare label"} == {
        "'good'": [399, 400, 401],
        "'never'": [],
    }


def test_bounds_of_gigantic_texts_and_rare_labels_follow_from_the_others():
    texts = [f"{number:0100}" for number in range(101)]
    texts[3] = "x" * 1999
    assert rows_by_kind(make(texts, [0] * 100 + [1])) == {}


def test_leaks_alone_are_not_found_for_empty_texts():
    (finding,) = find_leaked(make(["", "a", "b", " "]), {"test": make(["", " b"])})
    assert (finding.kind, finding.rows.tolist()) == ("leaked", [2])


def test_table_counts_rows_from_one_and_shows_the_first(caplog):
    train = make(["a"] * 9 + [""], [0] * 9 + [1])
    with caplog.at_level(logging.WARNING):
        log_findings(find_outliers(train, {}, SCHEME), len(train))
    duplicates, empty = caplog.messages[0].splitlines()[1:]
    assert (
        "8 (80.00%)" in duplicates and "rows 2, 3, 4, 5, 6, …" in duplicates and "--drop_rows duplicates" in duplicates
    )
    assert "1 (10.00%)" in empty and "rows 10;" in empty


def test_only_the_named_kinds_are_dropped():
    train = make(["a", "a", "", "b", "b"], [0, 0, 1, 0, 1])
    findings = find_outliers(train, {}, SCHEME)
    kept, places = drop_rows(train, findings, ["duplicates", "conflicts"])
    assert (kept["text"][:], places.tolist()) == (["a", ""], [0, 2])
    assert drop_rows(train, findings, [])[0] is train
    with pytest.raises(InputError, match="leaves none of the 2 training rows. Name fewer kinds, or correct"):
        drop_rows(make(["", " "], [0, 1]), find_outliers(make(["", " "], [0, 1]), {}, SCHEME), ["empty"])


@pytest.mark.slow
def test_a_million_rows_take_seconds():
    numbers = np.random.default_rng(0).integers(0, 900_000, 1_000_000)
    train = make([f"a text of number {number}" for number in numbers], (numbers % 2).tolist())
    start = time.process_time()
    found = rows_by_kind(train, test=make(["a text of number 5"], [1]))
    assert len(found["duplicates"]) == 1_000_000 - len(np.unique(numbers))
    assert time.process_time() - start < 10
