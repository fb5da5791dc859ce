"""Tests of the built-in demonstration data."""

import sys

import pytest

from hf_lstm.data import cldr
from hf_lstm.data.checks import InputError
from hf_lstm.data.cldr import LANGUAGES, load_cldr, pick_split


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("babel")
    return load_cldr()


def texts_of(data, language: str) -> set[str]:
    label = data["train"].features["label"].str2int(language)
    return {
        text for split in data.values() for text, found in zip(split["text"][:], split["label"][:]) if found == label
    }


def test_every_split_has_every_language(data):
    assert list(data) == ["train", "validation", "test"]
    assert {"Chinese", "Japanese", "Arabic", "Russian"} < set(LANGUAGES)
    assert len(LANGUAGES) == 30
    for split in data.values():
        assert split.column_names == ["text", "label"]
        assert split.features["label"].names == list(LANGUAGES)
        assert set(split["label"][:]) == set(range(30))
    assert len(data["train"]) > 2 * (len(data["validation"]) + len(data["test"])) > 10_000


def test_no_text_stands_under_two_languages_or_in_two_splits(data):
    texts = [text.casefold() for split in data.values() for text in split["text"][:]]
    assert len(texts) == len(set(texts))


def test_text_is_clean(data):
    for split in data.values():
        for text in split["text"][:]:
            assert text == " ".join(text.split())
            assert any(letter.isalpha() for letter in text)


def test_names_of_every_kind_are_there(data):
    german, chinese = texts_of(data, "German"), texts_of(data, "Chinese")
    assert {"Österreich", "Pfund", "Dienstag"} & german
    assert {"Vereinigte Staaten", "Deutschland", "Griechenland"} <= german
    assert "德国" in chinese
    assert any("년" in text and "일" in text for text in texts_of(data, "Korean"))
    # Dates look alike in Chinese and in Japanese.
    assert not any("月" in text and "日" in text for text in chinese)
    # The French and the English say the same.
    assert "France" not in texts_of(data, "French") | texts_of(data, "English")


def test_same_entity_falls_in_one_split_in_all_languages(data):
    splits = {text: name for name, split in data.items() for text in split["text"][:]}
    for names in [("Deutschland", "Германия", "ألمانيا", "德国"), ("Griechenland", "希腊", "ギリシャ", "그리스")]:
        assert len({splits[name] for name in names if name in splits}) == 1
    march = {name for text, name in splits.items() if text in {"1. März 1991", "9. März 1999", "17 марта 2007 г."}}
    assert len(march) == 1


def test_split_of_an_entity_never_changes():
    entities = ["territories/JP", "currencies/EUR", "languages/de", "unit/length-meter", "month/3", "day/0"]
    assert [pick_split(entity) for entity in entities] == ["train", "validation", "train", "train", "test", "train"]
    shares = [pick_split(f"languages/{number}") for number in range(5000)]
    assert shares.count("test") == pytest.approx(1000, rel=0.15)
    assert shares.count("validation") == pytest.approx(500, rel=0.15)


def test_loading_again_gives_the_same_rows(data):
    again = load_cldr()
    for name, split in data.items():
        assert again[name].to_dict() == split.to_dict()


def test_fewer_languages_keep_their_rows(data):
    few = load_cldr(["Russian", "Danish"])
    assert few["test"].features["label"].names == ["Russian", "Danish"]
    for language in ("Russian", "Danish"):
        assert texts_of(few, language) == texts_of(data, language)


def test_unknown_language_is_named():
    with pytest.raises(InputError, match=r"no language 'Grman'\. Did you mean 'German'\?"):
        load_cldr(["Grman"])


def test_missing_babel_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(ImportError, match=r"babel, which is not installed\. Run: pip install 'hf_lstm\[demo\]'"):
        cldr.load_cldr()
