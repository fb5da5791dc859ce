"""
The built-in data of the demonstration's second part: dates as thirty languages write them, and the same in ISO 8601.

Each row is a Gregorian day of the years 1900 to 2099 in a language (`"sobota, 7 marca 2026"`) and its target
(`"2026-03-07"`). A format is a date pattern of the Unicode CLDR, https://unicode.org/reports/tr35/tr35-dates.html: the
short, medium, long and full ones and those of its skeletons that have day, month and year, each also with the other
width of its month and weekday names and with or without leading zeros in its numbers, the way section "Matching
Skeletons" derives formats that a language does not list. The digits are Western ones in all languages.

What the training data never hold:

- Days. A hash puts each day into one split, for all languages and formats together.
- Formats. In each language up to two layouts are held out, with and without leading zeros in their numbers, and only
  the test split has them (`seen_format` is `False`). Whatever they are made of occurs in other formats of the same
  language: the month names, the weekday names, the words in between and the order of the numbers, only never put
  together like that. No training text, of whatever language, is like one of these test texts except for its digits.
  `list_formats` lists them. (Norwegian has none of its own, because most of its dates could be Danish.)

What no split holds, so that every text has one right answer:

- Years of two digits.
- Three numbers in the order month, day, year, as English has them: most other languages put the day first.
- Texts that two formats, of whatever languages, read as two different days.
"""

import datetime
import hashlib
import itertools
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value

from .checks import InputError, listing, nearest_name
from .cldr import LANGUAGES, SPLITS, load_locale, pick_split

logger = logging.getLogger(__name__)

FIRST_YEAR, LAST_YEAR = 1900, 2099
NUM_HELD_OUT = 2  # layouts per language
# Rows per language; the test split has rows of seen and of held-out formats.
NUM_VALIDATION, NUM_TEST_SEEN, NUM_TEST_HELD_OUT = 30, 60, 30

_FEATURES = Features(
    {
        "source": Value("string"),
        "target": Value("string"),
        "language": Value("string"),
        "format": Value("string"),
        "seen_format": Value("bool"),
    }
)
# How a part of a pattern is written: ("chars", " de ") or ("field", ("M", 4)), as babel splits it.
_Token = tuple[str, Any]


@dataclass(frozen=True)
class DateFormat:
    """
    One way in which a language writes dates.

    Args:
        language (`str`): One of `LANGUAGES`.
        pattern (`str`): The pattern in the letters of the CLDR, such as `"d. MMMM y"`.
        held_out (`bool`): Whether the training data lack it.
    """

    language: str
    pattern: str
    held_out: bool


@dataclass(frozen=True)
class _Reading:
    """
    How the dates of one format, month (if it has a name) and weekday (if it is written) are read.

    Args:
        layout (`str`): The text with `#` for each number.
        numbers (`tuple[str, ...]`): What each number is: `"y"`, `"M"`, `"MM"`, `"d"`, `"dd"`, or itself where it is
            part of a name.
        month (`int`, *optional*): The month, if it has a name.
    """

    layout: str
    numbers: tuple[str, ...]
    month: int | None


def load_dates(languages: Sequence[str] = tuple(LANGUAGES), seed: int = 0, num_train: int = 24_000) -> DatasetDict:
    """
    Writes dates in many languages, and in ISO 8601.

    The validation and the test rows of a language never change. See the module's text for what is held out.

    Args:
        languages (`Sequence[str]`, defaults to all of `LANGUAGES`): The languages to have.
        seed (`int`, defaults to 0): Which training rows are drawn.
        num_train (`int`, defaults to 24000): Number of training rows, spread evenly over the languages.

    Returns:
        `DatasetDict`: Splits `train`, `validation` and `test` with columns `source`, `target`, `language`, `format`
        (the CLDR's pattern) and `seen_format`.

    Raises:
        ImportError: If babel is not installed.
        InputError: If a language is not one of `LANGUAGES`, or `num_train` is out of range.
    """
    days = _split_days()
    _check_arguments(languages, num_train, max_rows=len(days["train"]))
    formats = {language: list_formats([language]) for language in languages}
    seen = {language: [each for each in listed if not each.held_out] for language, listed in formats.items()}
    held_out = {
        language: [each for each in listed if each.held_out]
        for language, listed in formats.items()
        if any(each.held_out for each in listed)
    }
    rows = {
        "train": _draw_rows(f"train/{seed}", days["train"], seen, num_train),
        "validation": _draw_rows("validation", days["validation"], seen, NUM_VALIDATION * len(seen)),
        "test": _draw_rows("test/seen", days["test"], seen, NUM_TEST_SEEN * len(seen))
        + _draw_rows("test/held_out", days["test"], held_out, NUM_TEST_HELD_OUT * len(held_out)),
    }
    data = DatasetDict({split: Dataset.from_list(rows[split], features=_FEATURES) for split in SPLITS})
    logger.info("CLDR dates: %s.", ", ".join(f"{len(dataset)} {split}" for split, dataset in data.items()))
    return data


def list_formats(languages: Sequence[str] = tuple(LANGUAGES)) -> list[DateFormat]:
    """
    Lists the formats of some languages, those that the training data lack too.

    Args:
        languages (`Sequence[str]`, defaults to all of `LANGUAGES`): The languages.
    """
    return [entry for entry in _read_formats()[0] if entry.language in languages]


def _check_arguments(languages: Sequence[str], num_train: int, max_rows: int) -> None:
    if not languages or isinstance(languages, str):
        raise InputError(f"`languages` is {languages!r}, but must be a list of one or more, such as ['German'].")
    if len(set(languages)) < len(languages):
        raise InputError(f"`languages` is {list(languages)!r}, but must name each language once.")
    for language in languages:
        if language not in LANGUAGES:
            raise InputError(
                f"The dates have no language {language!r}.{nearest_name(language, LANGUAGES)} They have "
                f"{listing(list(LANGUAGES), limit=len(LANGUAGES))}."
            )
    if not len(languages) <= num_train <= len(languages) * max_rows:
        raise InputError(
            f"`num_train` is {num_train}, but {len(languages)} languages need {len(languages)} rows or more, and have "
            f"no more than {len(languages) * max_rows}."
        )


def _split_days() -> dict[str, list[datetime.date]]:
    first, last = datetime.date(FIRST_YEAR, 1, 1), datetime.date(LAST_YEAR, 12, 31)
    days: dict[str, list[datetime.date]] = {split: [] for split in SPLITS}
    for number in range(first.toordinal(), last.toordinal() + 1):
        day = datetime.date.fromordinal(number)
        days[pick_split(f"date/{day.isoformat()}")].append(day)
    return days


def _draw_rows(
    key: str, days: Sequence[datetime.date], formats: dict[str, list[DateFormat]], num_rows: int
) -> list[dict[str, Any]]:
    """
    Draws rows, one of each language in turn, so that the first rows have all languages.

    Args:
        key (`str`): Names the draw.
        days (`Sequence[datetime.date]`): The days to draw from.
        formats (`dict[str, list[DateFormat]]`): The formats to draw from, by language.
        num_rows (`int`): How many rows.
    """
    drawn = []
    for place, (language, choices) in enumerate(formats.items()):
        count = len(range(place, num_rows, len(formats)))
        drawn.append(_draw_texts(f"{key}/{language}", days, choices, count))
    return [row for turn in itertools.zip_longest(*drawn) for row in turn if row is not None]


def _draw_texts(
    key: str, days: Sequence[datetime.date], formats: Sequence[DateFormat], count: int
) -> list[dict[str, Any]]:
    """Draws rows of different texts, the same ones for the same key on every machine."""
    _, meanings = _read_formats()
    rows: dict[str, dict[str, Any]] = {}
    for number in itertools.count():
        if len(rows) == count:
            break
        digest = int(hashlib.md5(f"{key}/{number}".encode(), usedforsecurity=False).hexdigest(), 16)
        digest, place = divmod(digest, len(formats))
        picked, day = formats[place], days[digest % len(days)]
        text = write_date(day, picked)
        is_seen = picked.held_out and meanings.is_like_training(text)
        if len(meanings.of(text)) == 1 and not is_seen and text not in rows:
            rows[text] = {
                "source": text,
                "target": day.isoformat(),
                "language": picked.language,
                "format": picked.pattern,
                "seen_format": not picked.held_out,
            }
    return list(rows.values())


def write_date(day: datetime.date, date_format: DateFormat) -> str:
    """Writes a day in a format."""
    from babel.dates import format_date

    text = format_date(day, date_format.pattern, locale=load_locale(LANGUAGES[date_format.language]))
    return " ".join(text.split())


class _Meanings:
    """
    Tells which days a text stands for in any of the formats.

    Args:
        readings (`dict[DateFormat, frozenset[_Reading]]`): How each format is read.
    """

    def __init__(self, readings: dict[DateFormat, frozenset[_Reading]]) -> None:
        self._by_layout: dict[str, set[_Reading]] = defaultdict(set)
        self._seen_layouts: set[str] = set()
        for date_format, found in readings.items():
            for reading in found:
                self._by_layout[reading.layout].add(reading)
            if not date_format.held_out:
                self._seen_layouts |= {reading.layout for reading in found}

    def of(self, text: str) -> set[datetime.date]:
        """Returns the days; whether the weekday is theirs does not count."""
        numbers = re.findall("[0-9]+", text)
        days = (_understand(numbers, reading) for reading in self._by_layout.get(_mask(text), ()))
        return {day for day in days if day is not None}

    def is_like_training(self, text: str) -> bool:
        """Tells whether a text of the training data may be like this one except for its digits."""
        return _mask(text) in self._seen_layouts


def _understand(numbers: Sequence[str], reading: _Reading) -> datetime.date | None:
    """Returns the day that a text's numbers stand for, `None` if the reading does not write such numbers."""
    parts: dict[str, int] = {} if reading.month is None else {"M": reading.month}
    for number, kind in zip(numbers, reading.numbers, strict=True):
        if kind[0] not in "yMd":
            if number != kind:
                return None
        elif number != f"{int(number):0{4 if kind == 'y' else len(kind)}d}":
            return None
        else:
            parts[kind[0]] = int(number)
    if not FIRST_YEAR <= parts["y"] <= LAST_YEAR:
        return None
    try:
        return datetime.date(parts["y"], parts["M"], parts["d"])
    except ValueError:
        # There is no such day: another reading is meant.
        return None


def _mask(text: str) -> str:
    return re.sub("[0-9]+", "#", text)


@cache
def _read_formats() -> tuple[list[DateFormat], _Meanings]:
    """Lists the formats of all languages, because those not asked for count when texts are compared too."""
    readings = {language: _read_patterns(code) for language, code in LANGUAGES.items()}
    owners: dict[str, set[str]] = defaultdict(set)
    for language, patterns in readings.items():
        for found in patterns.values():
            for reading in found:
                owners[reading.layout].add(language)
    shared = {layout for layout, languages in owners.items() if len(languages) > 1}
    formats: dict[DateFormat, frozenset[_Reading]] = {}
    for language, patterns in readings.items():
        held_out = _pick_held_out(language, patterns, shared)
        for pattern, found in patterns.items():
            formats[DateFormat(language, pattern, pattern in held_out)] = found
    return list(formats), _Meanings(formats)


def _pick_held_out(language: str, patterns: dict[str, frozenset[_Reading]], shared: set[str]) -> set[str]:
    """
    Picks the patterns of a language that training does not see.

    Args:
        language (`str`): The language.
        patterns (`dict[str, frozenset[_Reading]]`): Its patterns and how they are read.
        shared (`set[str]`): Layouts that other languages have as well.
    """
    groups: dict[frozenset[str], set[str]] = defaultdict(set)
    for pattern, found in patterns.items():
        groups[frozenset(reading.layout for reading in found)].add(pattern)
    ranked = sorted(
        groups.items(),
        key=lambda group: hashlib.md5(f"{language}/{min(group[1])}".encode(), usedforsecurity=False).hexdigest(),
    )
    held_out: set[str] = set()
    num_held_out = 0
    for layouts, group in ranked:
        if num_held_out == NUM_HELD_OUT:
            break
        rest = set(patterns) - held_out - group
        known = shared.union(*(layout for layout, others in groups.items() if others <= rest))
        parts = set().union(*map(_parts, rest)) if rest else set()
        is_new = 2 * len(layouts - known) > len(layouts)
        if is_new and all(_parts(pattern) <= parts for pattern in held_out | group):
            held_out |= group
            num_held_out += 1
    return held_out


def _parts(pattern: str) -> set[_Token]:
    """Returns what a reader of a pattern must know: its fields, the words between them and the order of numbers."""
    tokens = _tokenize(pattern)
    known = {(kind, value) for kind, value in tokens if kind == "field" or any(letter.isalpha() for letter in value)}
    numbers = "".join(value[0] for kind, value in tokens if kind == "field" and value[0] in "yMd" and value[1] < 3)
    return known | {("order", numbers)}


def _read_patterns(code: str) -> dict[str, frozenset[_Reading]]:
    """Returns the patterns of a locale, without those that write the same as others, and how they are read."""
    locale = load_locale(code)
    patterns: dict[frozenset[_Reading], str] = {}
    for base in _base_patterns(locale):
        for tokens in _vary(_tokenize(base)):
            found = frozenset(_read_pattern(tokens, code))
            if not _is_month_first(found):
                patterns.setdefault(found, _untokenize(tokens))
    return {pattern: found for found, pattern in patterns.items()}


def _base_patterns(locale: Any) -> Iterator[str]:
    """Yields a locale's own patterns with day, month and a full year."""
    own = [locale.date_formats[width] for width in ("medium", "long", "full", "short")]
    # The skeletons with an era write the same with "AD" added.
    names = sorted(name for name in locale.datetime_skeletons if "G" not in name)
    skeletons = [locale.datetime_skeletons[name] for name in names]
    for pattern in own + skeletons:
        fields = dict(value for kind, value in _tokenize(pattern.pattern) if kind == "field")
        if {"y", "M", "d"} <= set(fields) <= set("yMdEcG") and fields["y"] != 2:
            yield pattern.pattern


def _vary(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """Yields a pattern with each width of its month and weekday names, and its numbers with and without zeros."""
    widths: dict[str, Sequence[int]] = {"E": (1, 4), "c": (3, 4)}
    fields = dict(value for kind, value in tokens if kind == "field")
    own = {field: (1 if field == "E" and width < 4 else width) for field, width in fields.items()}
    names = [field for field in own if field in widths or (field == "M" and own[field] > 2)]
    choices = [widths.get(field, (3, 4)) for field in names]
    zeros = [own] if own["M"] > 2 else [own, own | {"M": 1, "d": 1}, own | {"M": 2, "d": 2}]
    for numeric, picked in itertools.product(zeros, itertools.product(*choices)):
        varied = numeric | dict(zip(names, picked, strict=True))
        yield [(kind, (value[0], varied[value[0]]) if kind == "field" else value) for kind, value in tokens]


def _read_pattern(tokens: Sequence[_Token], code: str) -> Iterator[_Reading]:
    """Yields the readings of a pattern: one for each month that it names and each weekday that it writes."""
    fields = dict(value for kind, value in tokens if kind == "field")
    is_named = fields["M"] > 2
    months = range(1, 13) if is_named else [1]
    weekdays = range(7) if {"E", "c"} & set(fields) else [0]
    for month, weekday in itertools.product(months, weekdays):
        pieces, numbers = [], []
        for kind, value in tokens:
            if kind == "field" and value[0] in "yMd" and value[1] <= 2:
                pieces.append("0")
                numbers.append(value[0] * value[1])
            else:
                pieces.append(value if kind == "chars" else _write_field(code, *value, month, weekday))
                numbers += re.findall("[0-9]+", pieces[-1])
        yield _Reading(_mask(" ".join("".join(pieces).split())), tuple(numbers), month if is_named else None)


@cache
def _write_field(code: str, field: str, width: int, month: int, weekday: int) -> str:
    from babel.dates import format_date

    # A year in which each month has each weekday.
    day = next(
        date for date in (datetime.date(2001, month, number) for number in range(1, 8)) if date.weekday() == weekday
    )
    return format_date(day, field * width, locale=load_locale(code))


def _is_month_first(readings: frozenset[_Reading]) -> bool:
    """Tells whether a format has numbers for the month, the day and the year, in this order."""
    return all([kind[0] for kind in reading.numbers] == ["M", "d", "y"] for reading in readings)


def _tokenize(pattern: str) -> list[_Token]:
    from babel.dates import tokenize_pattern

    return tokenize_pattern(pattern)


def _untokenize(tokens: Sequence[_Token]) -> str:
    from babel.dates import untokenize_pattern

    return untokenize_pattern(tokens)
