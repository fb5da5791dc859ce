"""Columns of pairs of texts: finding those that hold the sources and the targets, and reading them."""

from dataclasses import dataclass
from typing import Any

from datasets import Dataset, Translation, Value

from .checks import InputError, listing, nearest_name
from .columns import check_text_column, find_column, write_value

SOURCE, TARGET, TRANSLATION = "source", "target", "translation"
# Looked for in this order.
PAIR_COLUMN_NAMES = (
    ("source", "target"),
    ("src", "tgt"),
    ("input", "output"),
    ("input_text", "target_text"),
    ("document", "summary"),
    ("article", "highlights"),
    ("article", "summary"),
    ("dialogue", "summary"),
    ("text", "summary"),
    ("text", "headline"),
    ("text", "title"),
    ("text", "target"),
    ("text", "label_text"),
    ("content", "title"),
    ("email_body", "subject_line"),
    ("question", "answer"),
)


@dataclass(frozen=True)
class PairField:
    """Where one side of the pairs stands: in a column, or under a language of the column `translation`."""

    column: str
    language: str | None = None

    def __str__(self) -> str:
        return f"column {self.column!r}" + (f", language {self.language!r}" if self.language else "")


def find_fields(
    dataset: Dataset,
    split: str,
    columns: tuple[str | None, str | None],
    languages: tuple[str | None, str | None],
    needs_target: bool,
) -> dict[str, PairField]:
    """
    Finds the source and, if there is one, the target, in the order that `load_pairs` says.

    Args:
        dataset (`Dataset`): The data.
        split (`str`): What the data is called in messages.
        columns (`tuple[str | None, str | None]`): The user's names for the columns of the sources and the targets.
        languages (`tuple[str | None, str | None]`): Languages of the sources and the targets.
        needs_target (`bool`): `False` where there may be no target.

    Returns:
        `dict[str, PairField]`: Where they stand, by `"source"` and `"target"`.

    Raises:
        InputError: If a column or language is missing, holds no text, or cannot be told.
    """
    if not needs_target and columns[1] not in dataset.column_names:
        columns = (columns[0], None)
    names = dataset.column_names
    if columns != (None, None):
        found = _named_columns(dataset, split, columns, needs_target)
    elif TRANSLATION in names and not isinstance(dataset.features[TRANSLATION], Value):
        return _translation_fields(dataset, split, languages, needs_target)
    elif languages[0] in names or languages[1] in names:
        found = _language_columns(dataset, split, languages, needs_target)
    else:
        found = _usual_columns(dataset, split, needs_target)
    if found[0] == found[1]:
        raise InputError(
            f"The column {found[0]!r} of the {split} data is both source and target, which must differ. To reproduce "
            "texts, pass --task autoencode to a program that has it, such as train_seq2seq.py."
        )
    fields = {side: PairField(name) for side, name in zip((SOURCE, TARGET), found, strict=True) if name is not None}
    for side, field in fields.items():
        check_text_column(dataset, field.column, f"{side}_column_name", split)
    return fields


def read_fields(rows: dict[str, list[Any]], fields: dict[str, PairField]) -> dict[str, list[str]]:
    """Reads sources and targets, as `find_fields` found them, from columns of rows."""
    texts = {}
    for side, field in fields.items():
        values = rows[field.column]
        if field.language is not None:
            values = [(value or {}).get(field.language) for value in values]
        wrong = next((value for value in values if isinstance(value, (dict, list, bytes))), None)
        if wrong is not None:
            raise InputError(f"The {side} in {field} is {wrong!r}, but must be a text.")
        texts[side] = [write_value(value) for value in values]
    return texts


def _named_columns(
    dataset: Dataset, split: str, columns: tuple[str | None, str | None], needs_target: bool
) -> tuple[str | None, str | None]:
    """Takes the columns that the user named; of one alone, the partner by its usual name or as the only other text."""
    for name, side in zip(columns, (SOURCE, TARGET), strict=True):
        if name is not None:
            find_column(dataset, name, (), f"{side}_column_name", split)
    if None not in columns:
        return columns
    missing = columns.index(None)
    given = columns[1 - missing]
    names = dataset.column_names
    usual = [pair[missing] for pair in PAIR_COLUMN_NAMES if pair[1 - missing] == given and pair[missing] in names]
    others = [name for name in _text_columns(dataset) if name != given]
    partner = usual[0] if usual else others[0] if len(others) == 1 else None
    if partner is None and (missing == 0 or needs_target):
        flag = f"{(SOURCE, TARGET)[missing]}_column_name"
        raise InputError(
            f"It is not clear which column of the {split} data goes with {given!r}: there are {listing(names)}. "
            f"Name it with --{flag}."
        )
    return (partner, given) if missing == 0 else (given, partner)


def _language_columns(
    dataset: Dataset, split: str, languages: tuple[str | None, str | None], needs_target: bool
) -> tuple[str | None, str | None]:
    """Takes the columns that are called by the languages; one alone would leave the direction to chance."""
    if not needs_target and languages[1] not in dataset.column_names:
        return languages[0], None
    for language, side in zip(languages, (SOURCE, TARGET), strict=True):
        if language is None:
            raise InputError(
                f"The {split} data has columns called by a language, so say which one is the {side} with "
                f"--{side}_lang."
            )
        find_column(dataset, language, (), f"{side}_lang", split)
    return languages


def _usual_columns(dataset: Dataset, split: str, needs_target: bool) -> tuple[str, str | None]:
    names, texts = dataset.column_names, _text_columns(dataset)
    for source, target in PAIR_COLUMN_NAMES:
        if source in names and target in names:
            return source, target
    if not needs_target:
        for source, _ in PAIR_COLUMN_NAMES:
            if source in names:
                return source, None
        if len(texts) == 1:
            return texts[0], None
    if len(texts) == 2:
        return texts[0], texts[1]
    raise InputError(
        f"It is not clear which columns of the {split} data hold sources and targets: there are {listing(names)}. "
        "Name them with --source_column_name and --target_column_name."
    )


def _translation_fields(
    dataset: Dataset, split: str, languages: tuple[str | None, str | None], needs_target: bool
) -> dict[str, PairField]:
    known = _languages(dataset, split)
    fields = {}
    for side, language in zip((SOURCE, TARGET), languages, strict=True):
        if side == TARGET and not needs_target and language not in known:
            continue
        if language is None:
            raise InputError(
                f"The column {TRANSLATION!r} of the {split} data holds {listing(known)}. Say which one is the {side} "
                f"with --{side}_lang."
            )
        if language not in known:
            raise InputError(
                f"The column {TRANSLATION!r} of the {split} data has no language {language!r}, only {listing(known)}."
                f"{nearest_name(language, known)} Name the right one with --{side}_lang."
            )
        fields[side] = PairField(TRANSLATION, language)
    return fields


def _languages(dataset: Dataset, split: str) -> list[str]:
    """Lists the languages of the column `translation`; json files whose rows differ in them have no type for it."""
    feature = dataset.features[TRANSLATION]
    if isinstance(feature, dict):
        return list(feature)
    if isinstance(feature, Translation):
        return list(feature.languages)
    found: dict[str, None] = {}
    for batch in dataset.select_columns([TRANSLATION]).iter(1000):
        for value in batch[TRANSLATION]:
            if value is not None and not isinstance(value, dict):
                raise InputError(
                    f"The column {TRANSLATION!r} of the {split} data holds {value!r}, but must hold a text for each "
                    "language, such as {'de': 'Hallo', 'en': 'Hello'}. Or name other columns with "
                    "--source_column_name and --target_column_name."
                )
            found |= dict.fromkeys(value or ())
    return list(found)


def _text_columns(dataset: Dataset) -> list[str]:
    return [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]
