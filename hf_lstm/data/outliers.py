"""Finds training rows to look at before training: repeated, leaked, contradictory, empty, odd or rare ones."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from datasets import Dataset

from .checks import InputError
from .labels import SINGLE_LABEL, LabelScheme

logger = logging.getLogger(__name__)

# A label is rare if another one is this many times as frequent.
IMBALANCE = 100
# A text is gigantic if it is this many times as long as the median one, and has this many characters.
GIGANTIC_RATIO, GIGANTIC_LENGTH = 20, 1000
# Kinds of rows that can be dropped.
DUPLICATES, CONFLICTS, LEAKED, EMPTY, WRONG_LABELS = "duplicates", "conflicts", "leaked", "empty", "wrong_labels"
DROPPABLE = (DUPLICATES, CONFLICTS, LEAKED, EMPTY, WRONG_LABELS)
_NUM_SHOWN = 5
_SEPARATOR = "\x1f"  # joins the two texts of a pair; no text holds it by chance


@dataclass(frozen=True)
class Finding:
    """
    A set of training rows with something in common that one should know of.

    Args:
        kind (`str`): What they are called; one of `DROPPABLE` if they can be dropped.
        meaning (`str`): What they have in common.
        rows (`np.ndarray` of shape `(num_found,)`): Their places in the training data, from 0 on, in order.
        advice (`str`, *optional*): What to do about rows that cannot be dropped.
    """

    kind: str
    meaning: str
    rows: np.ndarray
    advice: str = ""


def find_outliers(
    train: Dataset, held_out: Mapping[str, Dataset], scheme: LabelScheme, labels_column: str = "labels"
) -> list[Finding]:
    """
    Finds what is odd about training data, in a time that grows with the number of rows.

    Two texts are the same if they are equal except for white space at their ends; of pairs both texts must be.

    Args:
        train (`Dataset`): Texts in `text` (and `text_pair`), and encoded labels.
        held_out (`Mapping[str, Dataset]`): Validation and test data by their names, whose texts may have leaked.
        scheme (`LabelScheme`): Kind and names of the labels.
        labels_column (`str`, defaults to `"labels"`): Where the labels are.

    Returns:
        `list[Finding]`: Those with any rows, and a label that has none.
    """
    columns = [name for name in ("text", "text_pair") if name in train.column_names]
    train_texts = _trimmed_texts(train, columns)
    codes = _number_texts([train_texts, *(_trimmed_texts(split, columns) for split in held_out.values())])
    labels = np.asarray(train[labels_column][:])
    lengths = compute.utf8_length(_trimmed_texts(train, ["text"])).to_numpy()
    is_empty = lengths == 0
    findings = [
        *_find_repeated(codes[0], labels, ~is_empty),
        *_find_leaked(codes[0], dict(zip(held_out, codes[1:], strict=True)), ~is_empty),
        Finding(EMPTY, "no text", np.flatnonzero(is_empty)),
        _find_gigantic(lengths),
    ]
    if scheme.problem_type == SINGLE_LABEL:
        findings += _find_rare(labels, scheme.names)
    return [finding for finding in findings if len(finding.rows) or finding.kind == "rare label"]


def find_leaked(train: Dataset, held_out: Mapping[str, Dataset]) -> list[Finding]:
    """Finds training rows whose text is also in validation or test data, as `find_outliers` does."""
    columns = [name for name in ("text", "text_pair") if name in train.column_names]
    codes = _number_texts([_trimmed_texts(split, columns) for split in (train, *held_out.values())])
    is_filled = compute.utf8_length(_trimmed_texts(train, ["text"])).to_numpy() > 0
    return _find_leaked(codes[0], dict(zip(held_out, codes[1:], strict=True)), is_filled)


def log_findings(findings: Sequence[Finding], num_rows: int) -> None:
    """Logs a table of what was found: how many rows, the numbers of the first ones from 1 on, and what to do."""
    if not findings:
        return
    lines = []
    for finding in findings:
        shown = ", ".join(str(row + 1) for row in finding.rows[:_NUM_SHOWN].tolist())
        more = ", …" if len(finding.rows) > _NUM_SHOWN else ""
        places = f"rows {shown}{more}" if shown else "no rows"
        advice = finding.advice or f"--drop_rows {finding.kind} leaves them out"
        lines.append(
            f"  {finding.kind:<12} {len(finding.rows):>7} ({len(finding.rows) / num_rows:6.2%})  {finding.meaning}: "
            f"{places}; {advice}"
        )
    logger.warning("Look at these of the %d rows of the training data:\n%s", num_rows, "\n".join(lines))


def drop_rows(train: Dataset, findings: Sequence[Finding], kinds: Collection[str]) -> tuple[Dataset, np.ndarray]:
    """
    Leaves out the rows of some kinds of findings.

    Args:
        train (`Dataset`): The training data.
        findings (`Sequence[Finding]`): What was found in it.
        kinds (`Collection[str]`): Kinds of `DROPPABLE`.

    Returns:
        `tuple[Dataset, np.ndarray]`: The rows that are left, and their places in the data as it was.

    Raises:
        InputError: If no row is left.
    """
    is_kept = np.ones(len(train), dtype=bool)
    for finding in findings:
        if finding.kind in kinds:
            is_kept[finding.rows] = False
    kept = np.flatnonzero(is_kept)
    if len(kept) == len(train):
        return train, kept
    if len(kept) == 0:
        raise InputError(
            f"`drop_rows` is {sorted(kinds)}, which leaves none of the {len(train)} training rows. Name fewer kinds, "
            "or correct the texts and labels of these rows."
        )
    logger.warning("%d of %d rows of the training data are left out.", len(train) - len(kept), len(train))
    return train.select(kept), kept


def _trimmed_texts(dataset: Dataset, columns: Sequence[str]) -> pa.Array:
    table = dataset.select_columns(list(columns)).with_format("arrow")[:]
    texts = [compute.utf8_trim_whitespace(table[name].cast(pa.large_string())) for name in columns]
    joined = (
        texts[0]
        if len(texts) == 1
        else compute.binary_join_element_wise(*texts, pa.scalar(_SEPARATOR, pa.large_string()))
    )
    return joined.combine_chunks()


def _number_texts(texts: Sequence[pa.Array]) -> list[np.ndarray]:
    """Gives each text a number, equal ones the same."""
    numbers = pa.chunked_array(texts).combine_chunks().dictionary_encode().indices.to_numpy()
    return np.split(numbers, np.cumsum([len(part) for part in texts])[:-1])


def _find_repeated(texts: np.ndarray, labels: np.ndarray, is_considered: np.ndarray) -> list[Finding]:
    rows = np.flatnonzero(is_considered)
    label_numbers = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    num_labels = int(label_numbers.max(initial=0)) + 1
    # In 64 bits, for the numbers of texts come in 32.
    keys = texts[rows].astype(np.int64) * num_labels + label_numbers[rows]
    distinct, first = np.unique(keys, return_index=True)
    duplicates = np.delete(rows, first)
    # A text with two labels is in two distinct keys.
    labels_of_text = np.bincount(distinct // num_labels, minlength=1)
    conflicts = rows[labels_of_text[texts[rows]] > 1]
    return [
        Finding(DUPLICATES, "text and label of an earlier row", duplicates),
        Finding(CONFLICTS, "text of a row with another label", conflicts),
    ]


def _find_leaked(texts: np.ndarray, held_out: Mapping[str, np.ndarray], is_considered: np.ndarray) -> list[Finding]:
    return [
        Finding(LEAKED, f"text of a row of the {name} data", np.flatnonzero(is_considered & np.isin(texts, numbers)))
        for name, numbers in held_out.items()
    ]


def _find_gigantic(lengths: np.ndarray) -> Finding:
    bound = max(GIGANTIC_RATIO * float(np.median(lengths)), GIGANTIC_LENGTH)
    rows = np.flatnonzero(lengths > bound)
    return Finding("gigantic", f"over {bound:.0f} characters", rows, "--max_length cuts them")


def _find_rare(labels: np.ndarray, names: Sequence[str]) -> list[Finding]:
    counts = np.bincount(labels, minlength=len(names))
    rare = np.flatnonzero(counts * IMBALANCE < counts.max(initial=0))
    advice = "--class_weights balanced weighs them up"
    return [
        Finding("rare label", repr(names[number]), np.flatnonzero(labels == number), advice)
        for number in rare.tolist()
    ]
