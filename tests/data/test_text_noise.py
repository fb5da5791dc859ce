import sys
from random import Random
from string import ascii_lowercase

import pytest

from hf_lstm.data import text_noise
from hf_lstm.data.checks import InputError
from hf_lstm.data.text_noise import KINDS, TextNoise

ENGLISH = "The quick brown fox jumps over the lazy dog near 27 old houses of stone"
CHINESE = "上海迪士尼乐园门票价格调整网友这个价格能接受吗今天天气很好"
STRANGE = ["", " ", "a", "👩‍👩‍👧 🏳️‍🌈", "\ud800\udfff", "\ud83d", "ß Ǆ İ", "e\u0301\u0301", "\x00\x07", "สวัสดี", "\n\t"]


def changed_share(text, noisy):
    return sum(old != new for old, new in zip(text, noisy, strict=True)) / len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_depends_on_its_key_alone(kind):
    text = f"{ENGLISH} {CHINESE}"
    noise, again = TextNoise(kind, [text]), TextNoise(kind, [text])
    assert noise(text, 0.4, 3, 5) == again(text, 0.4, 3, 5) != text
    assert len({noise(text, 0.4, 3, number) for number in range(5)}) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_rate_zero_changes_nothing_and_any_text_can_be_disturbed(kind):
    noise = TextNoise(kind, [ENGLISH, CHINESE, *STRANGE])
    for text in [ENGLISH, CHINESE, *STRANGE]:
        assert noise(text, 0.0, 1) == text
        for seed in range(9):
            noise(text, 1.0, seed)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("case", "abcdefgh" * 500),
        ("keyboard", "q1aszxcp" * 500),
        ("ocr", "0158bgqu" * 500),
        ("homophone", CHINESE * 150),
        ("swap", "abcdefgh" * 500),
    ],
)
def test_rate_is_the_share_of_characters_that_change(kind, text):
    for rate in (0.05, 0.3):
        assert changed_share(text, TextNoise(kind, [text])(text, rate, 7)) == pytest.approx(rate, abs=0.02)


def test_fewer_characters_of_short_words_are_swapped():
    text = f"{ENGLISH} " * 200
    share = changed_share(text.replace(" ", ""), TextNoise("swap", [])(text, 0.1, 1).replace(" ", ""))
    assert share == pytest.approx(0.07, abs=0.01)


def test_rate_is_the_share_of_lost_characters():
    text = "abcdefgh " * 500
    noisy = TextNoise("delete", [text])(text, 0.2, 7)
    assert noisy.count(" ") == 500
    assert 1 - (len(noisy) - 500) / 4000 == pytest.approx(0.2, abs=0.02)


def test_rate_is_the_share_of_words_or_spaceless_characters_with_an_inserted_token():
    text = "ab cde f " * 500
    noisy = TextNoise("token", ["XX YY"])(text, 0.2, 7).split()
    assert sum(word in ("XX", "YY") for word in noisy) / 1500 == pytest.approx(0.2, abs=0.03)
    assert [word for word in noisy if word not in ("XX", "YY")] == text.split()
    noisy = TextNoise("token", ["好吗"])("门票" * 700, 0.2, 7)
    assert sum(sign in "好吗" for sign in noisy) / 1400 == pytest.approx(0.2, abs=0.03)


def test_misspellings_are_one_edit_each():
    outcomes = {TextNoise("typo", [])("w", 1.0, seed) for seed in range(999)}
    assert outcomes == {"", *ascii_lowercase, *(f"w{letter}" for letter in ascii_lowercase)}
    pairs = {TextNoise("typo", [])("wz", 1.0, seed) for seed in range(999)}
    assert "zw" in pairs and {len(noisy) for noisy in pairs} == {0, 1, 2, 3, 4}
    letters = "".join(chr(0x100 + 2 * number) for number in range(40))  # of no alphabet that is known
    noisy = TextNoise("typo", [])(letters, 0.2, 1)
    assert noisy != letters and set(noisy) <= set(letters)


def test_letters_of_other_alphabets_are_misspelt_with_letters_of_the_text():
    noise, text = TextNoise("typo", []), "привет мир 27"
    for seed in range(200):
        assert noise(text, 0.5, seed).count(" ") == 2
    assert {text_noise._substitute("мама 2", 0, Random(seed)) for seed in range(20)} == {("а", 1)}
    assert text_noise._substitute("м 2", 0, Random(1)) == ("м", 1)


def test_signs_that_are_no_letters_are_not_misspelt_with_white_space():
    noise, text = TextNoise("typo", []), "हिन्दी में\nलिखा है।"
    for seed in range(200):
        noisy = noise(text, 0.5, seed)
        assert [sign for sign in noisy if sign.isspace()] == [" ", "\n", " "] and set(noisy) <= set(text)


def test_neighbours_are_those_of_the_keyboard():
    for key, neighbours in {"s": "weadzx", "p": "0ol", "1": "2q"}.items():
        assert {TextNoise("keyboard", [])(key, 1.0, seed) for seed in range(99)} == set(neighbours)
    assert TextNoise("keyboard", [])("S", 1.0, 1).isupper()


def test_homophones_share_the_syllable():
    from pypinyin import lazy_pinyin

    noisy = TextNoise("homophone", [])(CHINESE, 1.0, 4)
    assert changed_share(CHINESE, noisy) > 0.9
    same = [lazy_pinyin(old) == lazy_pinyin(new) for old, new in zip(CHINESE, noisy, strict=True)]
    assert all(same)


def test_kinds_leave_what_they_cannot_change():
    assert TextNoise("homophone", [])(ENGLISH, 1.0, 1) == ENGLISH
    assert TextNoise("keyboard", [])(CHINESE, 1.0, 1) == CHINESE
    assert TextNoise("case", [])(CHINESE, 1.0, 1) == CHINESE
    assert TextNoise("token", [])(ENGLISH, 1.0, 1) == ENGLISH


def test_character_before_the_same_one_is_not_swapped():
    assert TextNoise("swap", [])("aab", 1.0, 1) == "aba"


def test_tokens_are_inserted_at_the_ends_of_words_and_come_from_texts_anywhere():
    assert TextNoise("token", ["X"])("ab门 c", 1.0, 1) == "ab X门X c X"
    assert set(TextNoise("token", ["a"] * 2000 + ["b"] * 2000).words) == {"a", "b"}


def test_sequences_are_misread_together():
    assert {TextNoise("ocr", [])("rn", 1.0, seed) for seed in range(9)} == {"m"}
    assert {TextNoise("ocr", [])("cl", 1.0, seed) for seed in range(9)} == {"d"}
    assert "rn" in {TextNoise("ocr", [])("m", 1.0, seed) for seed in range(30)}


def test_wrong_kind_and_rate_are_named():
    with pytest.raises(InputError, match="'tipo'.*'typo'"):
        TextNoise("tipo", [])
    with pytest.raises(InputError, match="1.5, but must be at least 0"):
        TextNoise("typo", [])("a", 1.5)


def test_missing_pypinyin_is_named_where_there_is_chinese(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    text_noise.find_homophones.cache_clear()
    TextNoise("mixed", [ENGLISH])
    with pytest.raises(ImportError, match=r"pip install 'hf_lstm\[train\]'"):
        TextNoise("mixed", [CHINESE])
    with pytest.raises(ImportError, match="pypinyin"):
        TextNoise("homophone", [ENGLISH])
