import random
import sys

import numpy as np
import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training.wrong_labels import find_wrong_labels

WORDS = [["great", "lovely", "superb"], ["awful", "dull", "poor"]]


def make_reviews(num_rows=200, num_wrong=12):
    generator = random.Random(1)
    right = [generator.randrange(2) for _ in range(num_rows)]
    texts = [" ".join(generator.choices([*WORDS[label], "film", "the"], k=6)) for label in right]
    wrong = sorted(generator.sample(range(num_rows), num_wrong))
    labels = [1 - label if row in wrong else label for row, label in enumerate(right)]
    return texts, labels, wrong


def test_most_wrong_labels_are_found_and_few_others():
    texts, labels, wrong = make_reviews()
    found = set(find_wrong_labels(texts, labels).tolist())
    assert len(found & set(wrong)) >= 10
    assert len(found - set(wrong)) <= 4


def test_rows_come_in_order_and_the_same_each_time():
    texts, labels, _ = make_reviews()
    found = find_wrong_labels(texts, labels)
    assert np.array_equal(found, np.sort(found)) and np.array_equal(found, find_wrong_labels(texts, labels))


def test_class_numbers_may_have_gaps_and_a_class_may_be_rare():
    texts, labels, wrong = make_reviews()
    labels = [7 * label + 2 for label in labels]
    found = find_wrong_labels([*texts, "something else"], [*labels, 5])
    assert len(set(found.tolist()) & set(wrong)) >= 10


@pytest.mark.parametrize("counts", [(2,), (9,), (4, 4), (6, 1), (1, 9, 1)])
def test_too_few_texts_are_refused(counts):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    found = ", ".join(map(str, sorted(counts, reverse=True)))
    message = f"5 texts and another at least 2, but there are {sum(counts)} texts of {len(counts)} labels.* {found} "
    with pytest.raises(InputError, match=f"{message}texts each. .*leave `find_wrong_labels` out"):
        find_wrong_labels([f"word{label} {row}" for row, label in enumerate(labels)], labels)


def test_just_enough_texts_are_searched():
    assert find_wrong_labels(["a b"] * 5 + ["c d"] * 2, [0] * 5 + [1] * 2).tolist() == []


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(ImportError, match=r"pip install 'hf_lstm\[train\]'"):
        find_wrong_labels(["a"] * 6 + ["b"] * 6, [0] * 6 + [1] * 6)
