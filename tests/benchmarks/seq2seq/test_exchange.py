import random

import pytest

from benchmarks.seq2seq.exchange import common_stretches, exchange_title, likeness, make_pairs

TEXT = "设备接入带来安全问题,提出一种基于设备指纹的认证方法。首先提取设备指纹;其次给出流程。"
TITLE = "基于设备指纹的认证方法"


class First(random.Random):
    """Draws the smallest number."""

    def randrange(self, *arguments: int) -> int:
        return 0


def test_stretches_are_found_in_order_and_single_characters_are_none() -> None:
    assert common_stretches("提取设备指纹", TITLE) == [(2, 4)]
    assert common_stretches("方法基于", TITLE) in ([(0, 2)], [(2, 2)])
    assert common_stretches("设 备", TITLE) == []


def test_likeness_is_one_for_the_title_and_zero_for_other_texts() -> None:
    assert likeness(TITLE, TITLE) == 1.0
    assert likeness("给出流程", TITLE) == likeness("", "") == 0.0


def test_title_takes_the_place_of_its_traces_in_the_clause_most_like_it() -> None:
    result = exchange_title(TEXT, TITLE, "乡村旅游的发展", First())
    assert result == "乡村接入带来安全问题,提出一种乡村旅游的发展。首先提取乡村旅游;其次给出流程。"


def test_equal_traces_give_way_to_equal_pieces() -> None:
    text = "甲乙。" * 9 + "甲乙丙丁"
    results = {exchange_title(text, "甲乙丙丁", "abcdef", random.Random(seed)) for seed in range(20)}
    assert len(results) > 1
    for result in results:
        *pieces, last = result.split("。")
        assert len(set(pieces)) == 1 and pieces[0] in "abcdef"
        assert last == "abcdef"


def test_a_text_without_traces_loses_its_first_clause() -> None:
    assert exchange_title("天气很好,出门。", TITLE, "海", First()) == "海,出门。"


def test_a_short_title_replaces_longer_traces() -> None:
    assert exchange_title("设备指纹。" + TITLE, TITLE, "海", First()) == "海。海"


@pytest.mark.parametrize("seed", [0, 3])
def test_pairs_are_determined_by_the_seed_and_hold_their_title(seed: int) -> None:
    titles = ["乡村旅游的发展", "谣言研究述评", TITLE]
    pairs = make_pairs([(TEXT, TITLE), ("谣言的传播。", "谣言")], titles, 30, seed)
    assert pairs == make_pairs([(TEXT, TITLE), ("谣言的传播。", "谣言")], titles, 30, seed)
    assert pairs != make_pairs([(TEXT, TITLE), ("谣言的传播。", "谣言")], titles, 30, seed + 1)
    assert {title for _, title in pairs} == set(titles)
    assert all(title in text for text, title in pairs)
