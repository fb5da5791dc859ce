import numpy as np
import pytest

from benchmarks.seq2seq import neighbours
from benchmarks.seq2seq.neighbours import Neighbours, put_before

pytest.importorskip("sklearn")

TEXTS = ["gas price", "a meeting on monday", "gas price", "gas lunch"]


def test_the_most_similar_come_first_and_the_earlier_of_equals() -> None:
    places, cosines = Neighbours(TEXTS, "word", (1, 1)).find(["gas price", "monday lunch"], 3)
    assert places[0].tolist() == [0, 2, 3]
    assert places[1].tolist() == [3, 1, 0]
    assert cosines[0, :2].tolist() == pytest.approx([1, 1])
    assert np.all(np.diff(cosines, axis=1) <= 0)


def test_a_known_text_is_no_neighbour_of_itself_in_any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS_AT_ONCE", 3)
    places, cosines = Neighbours(TEXTS, "word", (1, 1)).find(TEXTS, 3, known=True)
    assert places.tolist() == [[2, 3, 1], [0, 2, 3], [0, 3, 1], [0, 2, 1]]
    assert cosines[0, 0] == pytest.approx(1)
    assert cosines[1].tolist() == [0, 0, 0]


def test_targets_stand_in_the_line_before_the_text_with_how_similar_they_are() -> None:
    assert put_before("a\nb", ["Gas\nprice", "Lunch"], [1.0, 0.099]) == "[9] Gas price | [0] Lunch |\na\nb"
