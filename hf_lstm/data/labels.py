"""Labels of text classification: what kind they are, their names, and their numbers."""

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from datasets import ClassLabel, Dataset, LargeList, List

from .checks import InputError, listing, nearest_name

logger = logging.getLogger(__name__)

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)

# In these signs alone: +1 is a class of many data sets, 2021_01 or 1e2 a name.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
# A name, a float, a list of names, or None where the label is missing.
RawLabel = Any


@dataclass(frozen=True)
class LabelScheme:
    """
    The kind of the labels and the order of their names.

    Args:
        problem_type (`str`): One of `PROBLEM_TYPES`, as in `config.problem_type`.
        names (`tuple[str, ...]`): Names of the classes; a class's number is its place. Empty for a regression.
    """

    problem_type: str
    names: tuple[str, ...] = ()

    @property
    def num_labels(self) -> int:
        """The number of the model's outputs."""
        return max(len(self.names), 1)

    def label_maps(self) -> dict[str, Any]:
        """Returns a configuration's `id2label` and `label2id`; nothing for a regression, which has no names."""
        if not self.names:
            return {}
        numbers = {name: number for number, name in enumerate(self.names)}
        return {"id2label": dict(enumerate(self.names)), "label2id": numbers}

    def encode(self, labels: Sequence[RawLabel], split: str) -> list[Any]:
        """
        Turns labels into what the model's loss reads.

        Args:
            labels (`Sequence`): As `read_labels` gives them.
            split (`str`): What the data is called in messages.

        Returns:
            `list`: A class number (`int`), a value for every class (`list[float]`, 1 for those that apply) or a
            `float` for each row.

        Raises:
            InputError: If a label is missing, not a number for a regression, or not among the names, or if lists of
                labels stand where single ones must, or the reverse.
        """
        _check_missing(labels, split)
        if self.problem_type == REGRESSION:
            return _as_numbers(labels, split)
        self._check_kind(labels, split)
        numbers = {name: number for number, name in enumerate(self.names)}
        self._check_known(labels, split)
        if self.problem_type == SINGLE_LABEL:
            return [numbers[label] for label in labels]
        return [[float(name in label) for name in self.names] for label in map(set, labels)]

    def _check_kind(self, labels: Sequence[RawLabel], split: str) -> None:
        several = self.problem_type == MULTI_LABEL
        odd = [(row, label) for row, label in enumerate(labels, start=1) if isinstance(label, list) != several]
        if odd:
            row, label = odd[0]
            fix = (
                "Give lists of labels, or say what separates labels in a cell with --label_delimiter."
                if several
                else "Give one label for each row, and leave --label_delimiter out."
            )
            raise InputError(
                f"The label of row {row} of the {split} data is {label!r}, but a row has "
                f"{'a list of labels' if several else 'one label'} in '{self.problem_type}'. {fix}"
            )

    def _check_known(self, labels: Sequence[RawLabel], split: str) -> None:
        known = set(self.names)
        unknown = Counter(label for label in _single_labels(labels) if label not in known)
        if unknown:
            shown = sorted(unknown, key=str)
            counts = ", ".join(f"{label!r} ({unknown[label]} rows)" for label in shown[:10])
            more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
            hint = nearest_name(str(shown[0]), self.names)
            raise InputError(
                f"The {split} data has labels that are absent from training: {counts}{more}. Training knows "
                f"{listing(self.names)}.{hint} Correct them, add training rows with these labels, or drop these rows."
            )


def read_labels(dataset: Dataset, column: str, delimiter: str | None = None) -> list[RawLabel]:
    """
    Reads a label column as names (integers become their digits), lists of names or floats; `None` where missing.

    Args:
        dataset (`Dataset`): The data.
        column (`str`): Its label column: integers, strings, floats, a `ClassLabel`, or lists of them.
        delimiter (`str`, *optional*): What separates several labels within one string, for multi-label data in csv. A
            row to which no label applies has an empty list, or the delimiter alone; an empty cell of csv is missing.

    Raises:
        InputError: If a label is anything else, such as bytes, a point in time, or a list within a list.
    """
    return name_labels(dataset[column][:], dataset.features[column], delimiter)


def name_labels(values: Sequence[Any], feature: Any, delimiter: str | None = None) -> list[RawLabel]:
    """Reads the values of a label column, of which `feature` is the type, as `read_labels` does."""
    _check_types(values)
    names = getattr(_inner(feature), "names", None)
    if delimiter is not None and not any(isinstance(value, list) for value in values):
        return [_split_label(value, names, delimiter) for value in values]
    # By the values, for json may hold lists in some rows only.
    return [
        [_label_name(one, names) for one in value] if isinstance(value, list) else _label_name(value, names)
        for value in values
    ]


def learn_scheme(labels: Sequence[RawLabel], problem_type: str | None = None, feature: Any = None) -> LabelScheme:
    """
    Learns from the training labels which kind they are and which names there are.

    Names are in the order of the data set's own `ClassLabel` if it has one, else sorted: by value if all are integers,
    else by spelling.

    Args:
        labels (`Sequence`): The training labels, as `read_labels` gives them.
        problem_type (`str`, *optional*): One of `PROBLEM_TYPES`; found out from the labels by default.
        feature (*optional*): The label column's feature, whose `ClassLabel` order is kept.

    Raises:
        InputError: If labels are missing, do not fit the problem type, or are all the same.
    """
    if problem_type is not None and problem_type not in PROBLEM_TYPES:
        raise InputError(
            f"`problem_type` is {problem_type!r}, but must be one of {listing(PROBLEM_TYPES)}."
            f"{nearest_name(problem_type, PROBLEM_TYPES)}"
        )
    _check_missing(labels, "training")
    several = any(isinstance(label, list) for label in labels)
    if problem_type == REGRESSION:
        _as_numbers(labels, "training")
        return LabelScheme(REGRESSION)
    if several and problem_type == SINGLE_LABEL:
        raise InputError(
            "The labels are lists, but `problem_type` is 'single_label_classification'. Leave it out, or pass "
            "--problem_type multi_label_classification."
        )
    if problem_type == MULTI_LABEL and not several:
        raise InputError(
            f"`problem_type` is 'multi_label_classification', but a label is one value, such as {labels[0]!r}. Give "
            "lists of labels, or say what separates labels in a cell with --label_delimiter."
        )
    seen = set(_single_labels(labels))
    if not several:
        _check_not_floats(seen)
    nameless = [label for label in seen if not isinstance(label, str)]
    if nameless:
        raise InputError(
            f"The labels hold {listing(sorted(nameless, key=str), 3)}, but the names of classes must be integers or "
            "strings. Write all of them as strings."
        )
    inner = _inner(feature)
    names = inner.names if isinstance(inner, ClassLabel) else sorted_names(seen)
    if len(seen) < 2 and not (several and seen):
        raise InputError(
            f"All {len(labels)} training rows have the label {listing(sorted(seen, key=str))}, but a classifier needs "
            "at least two. Check the label column (--label_column_name)."
        )
    return LabelScheme(MULTI_LABEL if several else SINGLE_LABEL, tuple(names))


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sorts label names by value if all of them are integers, else by spelling."""
    names = list(names)
    if all(_is_integer(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _inner(feature: Any) -> Any:
    """Returns the type of the labels in a list, or of a label that is in none."""
    return feature.feature if isinstance(feature, (List, LargeList)) else feature


def _check_types(values: Sequence[Any]) -> None:
    for row, value in enumerate(values, start=1):
        for label in value if isinstance(value, list) else (value,):
            if label is not None and not isinstance(label, (str, int, float, Decimal)):
                is_time = isinstance(label, datetime)
                hint = " Dates in json were taken for points in time: save them as csv, or pass the file itself."
                raise InputError(
                    f"The label of row {row} is {value!r}, but must be an integer, a string, a float, or a list of "
                    "these. Name another column with --label_column_name, or write the labels as strings."
                    f"{hint * is_time}"
                )


def _label_name(value: Any, names: Sequence[str] | None) -> str | float | None:
    if value is None:
        return None
    if names is not None:
        return names[value] if value >= 0 else None
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return str(value).strip() or None


def _split_label(value: Any, names: Sequence[str] | None, delimiter: str) -> list[str] | None:
    text = value if isinstance(value, str) else _label_name(value, names)
    return None if text is None else [part.strip() for part in str(text).split(delimiter) if part.strip()]


def _check_missing(labels: Sequence[RawLabel], split: str) -> None:
    missing = [row for row, label in enumerate(labels, start=1) if label is None]
    if missing:
        several = any(isinstance(label, list) for label in labels)
        hint = " Where none applies, write an empty list, or in csv the delimiter alone." * several
        raise InputError(
            f"{len(missing)} of {len(labels)} rows of the {split} data have no label (NaN or an empty cell): rows "
            f"{listing(missing, 5)}. Fill these labels in, or drop the rows.{hint}"
        )


def _check_not_floats(labels: set[Any]) -> None:
    """Refuses labels all of which are numbers and some of which are no integers."""
    floats = {label for label in labels if isinstance(label, float) or _DECIMAL.fullmatch(label)}
    if floats and all(label in floats or _is_integer(label) for label in labels):
        raise InputError(
            f"The labels are floats, such as {listing(sorted(floats, key=str), 3)}, but classes must be integers or "
            "strings. For a regression pass --problem_type regression, else write the labels as integers."
        )


def _as_numbers(labels: Sequence[Any], split: str) -> list[float]:
    numbers = []
    for row, label in enumerate(labels, start=1):
        try:
            number = float(label)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                f"The label of row {row} of the {split} data is {label!r}, but a regression needs a finite number. "
                "Correct it, or drop the row."
            )
        numbers.append(number)
    return numbers


def _single_labels(labels: Sequence[Any]) -> Iterable[Any]:
    for label in labels:
        if isinstance(label, list):
            yield from label
        else:
            yield label


def _is_integer(name: Any) -> bool:
    return isinstance(name, str) and _INTEGER.fullmatch(name) is not None
