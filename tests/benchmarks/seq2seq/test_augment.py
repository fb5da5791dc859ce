import random

import pytest

from benchmarks.seq2seq import augment
from benchmarks.seq2seq.augment import CLAUSE_MARK, COPY_MARK, Renamer, likeness, shorten, split_clauses

# 的 is the commonest character; of the others those that occur twice can be exchanged.
TEXTS = ["的的的的山水火土", "山水火土木A", "的BB"]
ROW = {"source": "网络很慢,提出快速路由算法。实验有效;结论可靠。", "target": "快速路由算法"}


def test_clauses_end_behind_punctuation() -> None:
    assert split_clauses("甲乙,丙。丁!?戊") == ["甲乙,", "丙。", "丁!?", "戊"]
    assert split_clauses("。") == ["。"]


@pytest.mark.parametrize(
    ("first", "second", "expected"), [("甲乙丙丁", "甲丙", 4 / 6), ("丙甲", "甲丙", 0.5), ("甲", "乙", 0), ("", "", 0)]
)
def test_likeness_is_of_the_common_subsequence(first: str, second: str, expected: float) -> None:
    assert likeness(first, second) == pytest.approx(expected)


def test_renaming_exchanges_all_but_the_commonest_and_the_single_ones() -> None:
    renamer = Renamer(TEXTS, common=1)
    table = renamer.draw(1.0, random.Random(5))
    chinese = {chr(old): new for old, new in table.items() if not chr(old).isascii()}
    assert sorted(chinese) == sorted(chinese.values()) == sorted("山水火土")
    letters = {chr(old): new for old, new in table.items() if chr(old).isascii()}
    assert len(letters) == 26 and sorted(letters) == sorted(letters.values()) != list(letters.values())


def test_share_says_how_many_are_renamed() -> None:
    renamer = Renamer(TEXTS, common=1)
    assert renamer.draw(0.0, random.Random(5)) == {}
    assert 5 < len(renamer.draw(0.5, random.Random(5))) < 25


def test_shortening_never_drops_the_kept_clause() -> None:
    clauses = ["甲,", "乙。", "丙。"]
    assert shorten(clauses, 1, 1.0, random.Random(3)) == "乙。"
    assert shorten(clauses, 1, 0.0, random.Random(3)) == "甲,乙。丙。"


def test_each_row_is_followed_by_what_is_made_of_it() -> None:
    other = {"source": "研究火山监测。", "target": "火山"}
    rows = list(augment.augment([ROW, other], summaries=3, clauses=2, copies=1, length=99))
    assert [rows[0], rows[7]] == [ROW, other] and len(rows) == 14
    summaries, clauses, copies = rows[1:4], rows[4:6], rows[6:7]
    assert all(row["target"] in row["source"] for row in summaries + clauses + copies)
    assert [len(row["target"]) for row in summaries] == [6] * 3
    assert [len(row["target"]) for row in clauses] == [8] * 2  # the clause without its full stop
    assert all(row["source"].startswith(CLAUSE_MARK) for row in clauses)
    assert copies[0]["source"] == COPY_MARK + copies[0]["target"]


def test_variants_are_made_of_the_beginning() -> None:
    rows = list(augment.augment([ROW], summaries=9, clauses=0, copies=0, length=14))
    assert all("实验" not in row["source"] for row in rows[1:])


def test_pieces_are_of_words() -> None:
    source = " ".join(f"w{number}" for number in range(40))
    pieces = [augment.cut_piece(source, "word", random.Random(seed)).split() for seed in range(50)]
    assert {len(piece) for piece in pieces} == set(range(3, 13))
    assert len({piece[0] for piece in pieces}) > 20
    assert augment.cut_piece("a\nb", "word", random.Random(0)) == "a b"


def test_copies_follow_their_rows_but_not_empty_ones() -> None:
    rows = [{"source": "one two", "target": "x", "annotations": []}, {"source": " ", "target": "y"}]
    assert list(augment.add_copies(rows)) == [
        {"source": "one two", "target": "x"},
        {"source": f"{COPY_MARK} one two", "target": "one two"},
        {"source": " ", "target": "y"},
    ]


def test_same_seed_gives_the_same_rows() -> None:
    first, second, third = (
        list(augment.augment([ROW], summaries=3, clauses=2, copies=1, length=99, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == second != third
