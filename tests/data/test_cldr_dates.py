"""Tests of the built-in dates of the demonstration's second part."""

import datetime
import re
import sys
from collections import Counter, defaultdict

import pytest

from hf_lstm.data import cldr_dates
from hf_lstm.data.checks import InputError
from hf_lstm.data.cldr import LANGUAGES
from hf_lstm.data.cldr_dates import DateFormat, _Meanings, _Reading, list_formats, load_dates, write_date

DAY = datetime.date(2026, 3, 7)


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("babel")
    return load_dates(num_train=6000)


def rows_of(data, *splits: str) -> list[dict]:
    return [row for split in splits for row in data[split].to_list()]


def mask(text: str) -> str:
    return re.sub("[0-9]+", "#", text)


def patterns_of(language: str, held_out: bool) -> set[str]:
    return {entry.pattern for entry in list_formats([language]) if entry.held_out == held_out}


def test_splits_have_their_sizes_and_columns(data):
    assert list(data) == ["train", "validation", "test"]
    for split in data.values():
        assert split.column_names == ["source", "target", "language", "format", "seen_format"]
    assert len(data["train"]) == 6000
    assert set(Counter(data["train"]["language"][:]).values()) == {200}
    assert set(Counter(data["validation"]["language"][:]).values()) == {30}
    counts = Counter(zip(data["test"]["language"][:], data["test"]["seen_format"][:], strict=True))
    assert [counts[language, True] for language in LANGUAGES] == [60] * 30
    assert sum(counts[language, False] == 30 for language in LANGUAGES) >= 28


def test_first_rows_have_all_languages(data):
    assert data["train"]["language"][:30] == data["test"]["language"][:30] == list(LANGUAGES)


def test_targets_are_the_days_of_two_centuries(data):
    for row in rows_of(data, *data):
        day = datetime.date.fromisoformat(row["target"])
        assert 1900 <= day.year <= 2099
        assert row["target"] == day.isoformat()
        assert row["target"][:4] in row["source"]
    years = {target[:4] for target in data["train"]["target"][:]}
    assert len(years) == 200


def test_no_day_is_in_two_splits(data):
    days = [set(split["target"][:]) for split in data.values()]
    assert not days[0] & days[1] and not days[0] & days[2] and not days[1] & days[2]


def test_sources_are_short_clean_and_differ(data):
    for split in data.values():
        for text in split["source"][:]:
            assert text == " ".join(text.split())
            assert 8 <= len(text) <= 45
    texts = [(row["language"], row["source"]) for row in rows_of(data, *data)]
    assert len(texts) == len(set(texts))


def test_no_text_stands_for_two_days(data):
    targets = defaultdict(set)
    for row in rows_of(data, *data):
        targets[row["source"]].add(row["target"])
    assert all(len(found) == 1 for found in targets.values())


def test_numbers_alone_have_the_year_first_or_the_day(data):
    for row in rows_of(data, *data):
        year, month, day = (int(number) for number in row["target"].split("-"))
        if not any(letter.isalpha() for letter in row["source"]):
            numbers = [int(number) for number in re.findall("[0-9]+", row["source"])]
            assert numbers in ([year, month, day], [day, month, year])


def test_known_texts_are_read_right():
    texts = {
        ("German", "d. MMMM y"): "7. März 2026",
        ("Chinese", "y年M月d日"): "2026年3月7日",
        ("Japanese", "y/M/d(EEEE)"): "2026/3/7(土曜日)",
        ("Polish", "EEEE, d MMMM y"): "sobota, 7 marca 2026",
        # The Gregorian calendar and Western digits, in Thailand and Iran too.
        ("Thai", "d MMMM G y"): "7 มีนาคม ค.ศ. 2026",
        ("Persian", "y/M/d"): "2026/3/7",
    }
    listed = {(entry.language, entry.pattern): entry for entry in list_formats()}
    for key, text in texts.items():
        assert write_date(DAY, listed[key]) == text


def test_formats_are_many_and_write_full_years():
    formats = list_formats()
    counts = Counter(entry.language for entry in formats)
    assert set(counts) == set(LANGUAGES) and min(counts.values()) >= 6
    assert len(set(formats)) == len(formats) > 350
    for entry in formats:
        text = write_date(datetime.date(1907, 10, 25), entry)
        assert "1907" in text and "25" in text
    assert "M/d/y" not in patterns_of("English", False) | patterns_of("English", True)
    # Arabic months have no shorter names, which would be the same format again.
    assert {"d. MMM y", "d. MMMM y"} <= patterns_of("Norwegian", False)
    assert "d MMMM y" not in patterns_of("Arabic", False) | patterns_of("Arabic", True)


def test_held_out_formats_are_in_the_test_split_only(data):
    held_out = {(entry.language, entry.pattern) for entry in list_formats() if entry.held_out}
    used = {name: {(row["language"], row["format"]) for row in rows_of(data, name)} for name in data}

    assert not held_out & (used["train"] | used["validation"])
    assert held_out <= used["test"]
    for row in rows_of(data, *data):
        assert row["seen_format"] == ((row["language"], row["format"]) not in held_out)


def test_texts_of_held_out_formats_look_like_no_training_text(data):
    known = {mask(row["source"]) for row in rows_of(data, "train", "validation")}
    unseen = [row["source"] for row in data["test"] if not row["seen_format"]]
    assert len(unseen) > 800
    assert not known & {mask(text) for text in unseen}


def test_whatever_held_out_formats_are_made_of_occurs_in_training(data):
    fields = re.compile("E+|c+|M+|d+|G+")
    for language in LANGUAGES:
        seen = " ".join(patterns_of(language, held_out=False))
        for pattern in patterns_of(language, held_out=True):
            assert set(fields.findall(pattern)) <= set(fields.findall(seen))
    letters = set("".join(data["train"]["source"][:]))
    assert set("".join(data["test"]["source"][:])) <= letters


def test_two_readings_of_a_text_are_two_meanings():
    readings = {
        DateFormat("A", "d/M/y", False): frozenset({_Reading("#/#/#", ("d", "M", "y"), None)}),
        DateFormat("B", "M/d/y", True): frozenset({_Reading("#/#/#", ("M", "d", "y"), None)}),
        DateFormat("C", "d MMM, y", True): frozenset(
            {_Reading("# m#, #", ("d", "3", "y"), 3), _Reading("# m#, #", ("d", "12", "y"), 12)}
        ),
        DateFormat("D", "MM.dd.y", True): frozenset({_Reading("#.#.#", ("MM", "dd", "y"), None)}),
    }
    meanings = _Meanings(readings)

    assert meanings.of("7/3/2026") == {DAY, datetime.date(2026, 7, 3)}
    # The same day either way, no such month, no such day, no such year, numbers that a pattern does not write.
    assert meanings.of("3/3/2026") == {datetime.date(2026, 3, 3)}
    assert meanings.of("25/3/2026") == {datetime.date(2026, 3, 25)}
    assert meanings.of("30/2/2026") == set()
    assert meanings.of("7/3/1899") == meanings.of("07/03/2026") == meanings.of("3.07.2026") == set()
    assert meanings.of("7 m3, 2026") == {DAY} and meanings.of("7 m4, 2026") == set()
    assert meanings.of("03.07.2026") == {DAY}
    assert meanings.of("7-3-2026") == set()
    assert meanings.is_like_training("11/12/1950") and not meanings.is_like_training("7 m3, 2026")


def test_every_text_has_its_one_meaning(data):
    _, meanings = cldr_dates._read_formats()
    for row in rows_of(data, "validation", "test"):
        assert meanings.of(row["source"]) == {datetime.date.fromisoformat(row["target"])}


def test_draw_never_changes():
    formats = [DateFormat("German", "dd.MM.y", False), DateFormat("German", "d. MMMM y", False)]
    days = [DAY, datetime.date(1999, 12, 31), datetime.date(1950, 5, 20)]
    rows = cldr_dates._draw_texts("key", days, formats, 4)

    assert [row["source"] for row in rows] == ["7. März 2026", "31. Dezember 1999", "20. Mai 1950", "20.05.1950"]


def test_seed_changes_the_training_rows_only(data):
    again, other = load_dates(num_train=6000), load_dates(num_train=6000, seed=1)
    assert all(again[name].to_dict() == split.to_dict() for name, split in data.items())
    assert other["train"]["source"][:] != data["train"]["source"][:]
    for name in ("validation", "test"):
        assert other[name].to_dict() == data[name].to_dict()


def test_more_rows_begin_with_the_same(data):
    assert load_dates(num_train=90)["train"]["source"][:] == data["train"]["source"][:90]


def test_fewer_languages_keep_their_rows(data):
    few = load_dates(["Korean", "Czech"], num_train=5)
    assert few["train"]["language"][:] == ["Korean", "Czech", "Korean", "Czech", "Korean"]
    for name in ("validation", "test"):
        kept = [row for row in data[name] if row["language"] in ("Korean", "Czech")]
        assert sorted(few[name], key=str) == sorted(kept, key=str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"languages": ["Grman"]}, r"no language 'Grman'\. Did you mean 'German'\?"),
        ({"languages": []}, r"`languages` is \[\], but must be a list of one or more"),
        ({"languages": "German"}, r"`languages` is 'German', but must be a list"),
        ({"languages": ["German", "German"]}, "must name each language once"),
        ({"num_train": 29}, r"`num_train` is 29, but 30 languages need 30 rows or more"),
        ({"languages": ["German"], "num_train": 10**6}, r"`num_train` is 1000000.*no more than 5\d{4}"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        load_dates(**arguments)


def test_missing_babel_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel", None)
    cldr_dates._read_formats.cache_clear()
    with pytest.raises(ImportError, match=r"babel, which is not installed\. Run: pip install 'hf_lstm\[demo\]'"):
        load_dates(num_train=30)
