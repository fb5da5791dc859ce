"""The built-in demonstration data: names from the Unicode CLDR in some thirty languages, labelled by language."""

import datetime
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from .checks import InputError, listing, nearest_name

logger = logging.getLogger(__name__)

# Locale by label; babel carries the CLDR, https://cldr.unicode.org.
LANGUAGES = {
    "Arabic": "ar",
    "Bulgarian": "bg",
    "Chinese": "zh",
    "Czech": "cs",
    "Danish": "da",
    "Dutch": "nl",
    "English": "en",
    "Finnish": "fi",
    "French": "fr",
    "German": "de",
    "Greek": "el",
    "Hebrew": "he",
    "Hindi": "hi",
    "Hungarian": "hu",
    "Indonesian": "id",
    "Italian": "it",
    "Japanese": "ja",
    "Korean": "ko",
    "Norwegian": "nb",
    "Persian": "fa",
    "Polish": "pl",
    "Portuguese": "pt",
    "Romanian": "ro",
    "Russian": "ru",
    "Spanish": "es",
    "Swedish": "sv",
    "Thai": "th",
    "Turkish": "tr",
    "Ukrainian": "uk",
    "Vietnamese": "vi",
}
SPLITS = ("train", "validation", "test")
# Hundredths of the entities in the validation and in the test split.
_VALIDATION_SHARE, _TEST_SHARE = 10, 20


def load_cldr(languages: Sequence[str] = tuple(LANGUAGES)) -> DatasetDict:
    """
    Loads names of languages, scripts, territories, currencies, units, months, days and dates in many languages.

    The splits are fixed: all the names of one entity, in whatever language, are in the split that a hash of the entity
    picks. Texts that occur in more than one language or in more than one split are left out.

    Args:
        languages (`Sequence[str]`, defaults to all of `LANGUAGES`): The labels to have.

    Returns:
        `DatasetDict`: Splits `train`, `validation` and `test` with columns `text` and `label` (a `ClassLabel`).

    Raises:
        ImportError: If babel is not installed.
        InputError: If a language is not one of `LANGUAGES`.
    """
    for language in languages:
        if language not in LANGUAGES:
            raise InputError(
                f"The demonstration data have no language {language!r}.{nearest_name(language, LANGUAGES)} They have "
                f"{listing(list(LANGUAGES), limit=len(LANGUAGES))}."
            )
    rows = _collect(languages)
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(languages))})
    splits = {
        split: Dataset.from_list([{"text": text, "label": label} for text, label in rows[split]], features=features)
        for split in SPLITS
    }
    logger.info("CLDR names: %s.", ", ".join(f"{len(dataset)} {split}" for split, dataset in splits.items()))
    return DatasetDict(splits)


def pick_split(entity: str) -> str:
    """
    Picks the split of an entity, the same on every machine and in every run.

    Args:
        entity (`str`): Identifier such as `"territories/JP"`, the same in all languages.
    """
    hundredth = int(hashlib.md5(entity.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    if hundredth < _VALIDATION_SHARE:
        return "validation"
    return "test" if hundredth < _VALIDATION_SHARE + _TEST_SHARE else "train"


def _collect(languages: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Returns the texts and their languages by split, sorted, without any that two languages or splits share."""
    # A language that is not asked for still makes a text ambiguous, so that the rows of the others never change.
    names = {language: list(_name_entities(code)) for language, code in LANGUAGES.items()}
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for language, entities in names.items():
        for entity, text in entities:
            # Letter case alone tells no language from another.
            owners[text.casefold()].add((language, pick_split(entity)))
    rows: dict[str, dict[str, tuple[str, str]]] = {split: {} for split in SPLITS}
    for language in languages:
        for entity, text in names[language]:
            if len(owners[text.casefold()]) == 1:
                rows[pick_split(entity)].setdefault(text.casefold(), (text, language))
    return {split: sorted(texts.values()) for split, texts in rows.items()}


def _name_entities(code: str) -> Iterator[tuple[str, str]]:
    """Yields identifiers of entities and their names in the language of a locale."""
    locale = load_locale(code)
    for kind in ("languages", "scripts", "territories", "currencies"):
        for identifier, name in getattr(locale, kind).items():
            yield from _keep(f"{kind}/{identifier}", name)
    for identifier, widths in locale._data["unit_display_names"].items():
        yield from _keep(f"unit/{identifier}", widths.get("long"))
    for number, name in locale.months["format"]["wide"].items():
        yield from _keep(f"month/{number}", name)
        # Dates of one month are alike, so that they belong to the month's entity and share its split.
        for day in (1, 9, 17, 25):
            yield from _keep(f"month/{number}", _write_date(locale, number, day))
    for number, name in locale.days["format"]["wide"].items():
        yield from _keep(f"day/{number}", name)


def _keep(entity: str, name: Any) -> Iterator[tuple[str, str]]:
    # A few entries are codes such as "001" or "BAM" that were never translated: no letter, or no language.
    if isinstance(name, str) and any(letter.isalpha() for letter in name) and name != entity.rpartition("/")[2]:
        yield entity, " ".join(name.split())


def _write_date(locale: Any, month: int, day: int) -> str:
    from babel.dates import format_date

    return format_date(datetime.date(1990 + day, month, day), format="long", locale=locale)


def load_locale(code: str) -> Any:
    """
    Loads what the CLDR knows of a language.

    Args:
        code (`str`): A value of `LANGUAGES`, such as `"pt"`.

    Returns:
        `babel.Locale`: Its names and date patterns.

    Raises:
        ImportError: If babel is not installed.
    """
    try:
        from babel import Locale
    except ImportError as error:
        raise ImportError(
            "The demonstration data need babel, which is not installed. Run: pip install 'hf_lstm[demo]'"
        ) from error
    return Locale.parse(code)
