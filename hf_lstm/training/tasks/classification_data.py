"""Data of a text classification: its splits with texts and encoded labels, from what `DataArguments` name."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from datasets import Dataset, List, Value

from ...data.checks import InputError
from ...data.columns import LABEL_COLUMN_NAMES, find_column, find_text_columns, join_columns, select_texts
from ...data.labels import MULTI_LABEL, SINGLE_LABEL, LabelScheme, RawLabel, learn_scheme, name_labels, read_labels
from ...data.loading import load_file
from ...data.outliers import WRONG_LABELS, Finding, drop_rows, find_leaked, find_outliers, log_findings
from ...data.splits import split_off_validation
from ...data.streams import Columns
from ..arguments import DataArguments
from ..wrong_labels import find_wrong_labels
from .common_data import CommonData, limit_rows, load_splits
from .streaming import RowStream, check_validation, open_train_stream, sample_stream

logger = logging.getLogger(__name__)

LABELS = "labels"


@dataclass
class ClassificationData(CommonData):
    """
    Texts (`text`, and `text_pair` for pairs) and encoded `labels` of every split; `predict` has no `labels`.

    Args:
        scheme (`LabelScheme`): Kind and names of the labels.
    """

    scheme: LabelScheme = field(kw_only=True)


def load_classification_data(
    arguments: DataArguments, do_train: bool = True, scheme: LabelScheme | None = None
) -> ClassificationData:
    """
    Loads, checks and encodes all the data that a run needs.

    Args:
        arguments (`DataArguments`): What to load.
        do_train (`bool`, defaults to `True`): Whether there must be training data, from which validation data is split
            off where there is none.
        scheme (`LabelScheme`, *optional*): The labels of a trained model; learned from the training data by default.

    Raises:
        InputError: If any of the data cannot be used as it is.
    """
    raw = _load_raw(arguments)
    rows = open_train_stream(arguments) if arguments.streaming and do_train else None
    if rows is not None:
        check_validation("validation" in raw, arguments)
        raw["train"] = sample_stream(rows, arguments)
    if do_train and "train" not in raw:
        raise InputError("There is no training data. Pass --train_file, or --dataset_name with a split train.")
    if not do_train:
        raw.pop("train", None)
    labels = {name: _read_split_labels(dataset, name, arguments) for name, dataset in raw.items() if name != "predict"}
    # Data sets of the Hub often come with a test split whose labels are kept secret.
    if arguments.test_file is None and "test" in raw and all(label is None for label in labels["test"]):
        del raw["test"], labels["test"]
    if do_train:
        feature = raw["train"].features[_label_column(raw["train"], "train", arguments)]
        learned = learn_scheme(labels["train"], arguments.problem_type, feature)
        scheme = _reconcile(learned, scheme)
    if scheme is None:
        raise InputError(
            "Without training, the labels come from a trained model: pass its folder as --model_name_or_path."
        )
    stream = None if rows is None else RowStream(rows, _row_reader(raw["train"], scheme, arguments))
    splits = {name: _texts(dataset, name, arguments) for name, dataset in raw.items()}
    for name, values in labels.items():
        splits[name] = _add_labels(splits[name], scheme, values, name)
    if do_train and rows is None:
        held_out = {name: split for name, split in splits.items() if name in ("validation", "test")}
        splits["train"] = inspect_training_rows(splits["train"], held_out, scheme, arguments)
    if do_train and "validation" not in splits and arguments.validation_split_percentage > 0:
        splits["train"], splits["validation"] = _split_train(splits["train"], scheme, arguments)
    limited = {name: limit_rows(split, name, arguments) for name, split in splits.items()}
    return ClassificationData(**limited, stream=stream, scheme=scheme)


def inspect_training_rows(
    train: Dataset, held_out: Mapping[str, Dataset], scheme: LabelScheme, arguments: DataArguments
) -> Dataset:
    """
    Says what is odd about the training rows, and leaves out those that `drop_rows` names.

    Args:
        train (`Dataset`): The training data with its labels.
        held_out (`Mapping[str, Dataset]`): Validation and test data, which stay as they are.
        scheme (`LabelScheme`): Kind and names of the labels.
        arguments (`DataArguments`): What to drop, and whether to look for wrong labels.

    Raises:
        InputError: If no row is left, or if wrong labels cannot be looked for.
    """
    kinds = arguments.drop_rows or []
    findings = find_outliers(train, held_out, scheme, LABELS)
    kept, places = drop_rows(train, findings, kinds)
    if arguments.find_wrong_labels or WRONG_LABELS in kinds:
        if scheme.problem_type != SINGLE_LABEL:
            raise InputError(
                "Wrong labels can only be looked for in single-label data. Leave `find_wrong_labels` out."
            )
        # Among the rows that are left: a copy of a text would tell its label.
        rows = find_wrong_labels(joined_texts(kept), kept[LABELS][:])
        suspected = Finding(WRONG_LABELS, "a linear model is sure of another label", rows)
        findings.append(replace(suspected, rows=places[rows]))
        kept, _ = drop_rows(kept, [suspected], kinds)
    log_findings(findings, len(train))
    return kept


def joined_texts(dataset: Dataset) -> list[str]:
    """Returns each text, that of a pair as one."""
    texts = dataset["text"][:]
    if "text_pair" not in dataset.column_names:
        return texts
    return [f"{first} {second}" for first, second in zip(texts, dataset["text_pair"][:], strict=True)]


def _load_raw(arguments: DataArguments) -> dict[str, Dataset]:
    raw = load_splits(arguments)
    for name in ("train", "validation", "test", "predict"):
        path = getattr(arguments, f"{name}_file")
        if path is not None and not (name == "train" and arguments.streaming):
            raw[name] = load_file(path, arguments.file_encoding, arguments.cache_dir)
    return raw


def _label_column(dataset: Dataset, split: str, arguments: DataArguments) -> str:
    return find_column(dataset, arguments.label_column_name, LABEL_COLUMN_NAMES, "label_column_name", split)


def _read_split_labels(dataset: Dataset, name: str, arguments: DataArguments) -> list[RawLabel]:
    label_column = _label_column(dataset, name, arguments)
    _check_distinct(dataset, name, label_column, arguments)
    return read_labels(dataset, label_column, arguments.label_delimiter)


def _check_distinct(dataset: Dataset, split: str, label_column: str, arguments: DataArguments) -> None:
    """Refuses texts that hold the label, and pairs of a text with itself."""
    sources = find_text_columns(dataset, split, arguments.text_column_names, arguments.text_pair_column_name)
    columns = [("text", name) for name in set(sources["text"])]
    columns += [("second text", name) for name in sources.get("text_pair", ())]
    roles: dict[str, str] = {}
    for role, name in [*columns, ("label", label_column)]:
        if name in roles:
            raise InputError(
                f"The column {name!r} of the {split} data is both {roles[name]} and {role}, which must differ. Name "
                "another one with --text_column_names, --text_pair_column_name or --label_column_name."
            )
        roles[name] = role


def _texts(dataset: Dataset, name: str, arguments: DataArguments) -> Dataset:
    return select_texts(
        dataset,
        name,
        arguments.text_column_names,
        arguments.text_pair_column_name,
        arguments.text_column_delimiter,
    )


def _row_reader(sample: Dataset, scheme: LabelScheme, arguments: DataArguments) -> Callable[[Columns], Columns]:
    """Returns what makes texts and encoded labels of rows like those of a sample."""
    sources = find_text_columns(sample, "train", arguments.text_column_names, arguments.text_pair_column_name)
    label_column = _label_column(sample, "train", arguments)
    feature = sample.features[label_column]

    def read(columns: Columns) -> Columns:
        texts = join_columns(columns, sources, arguments.text_column_delimiter)
        labels = name_labels(columns[label_column], feature, arguments.label_delimiter)
        return texts | {LABELS: scheme.encode(labels, "current window of streamed training")}

    return read


def _add_labels(texts: Dataset, scheme: LabelScheme, labels: Sequence[RawLabel], split: str) -> Dataset:
    feature = {SINGLE_LABEL: Value("int64"), MULTI_LABEL: List(Value("float32"))}.get(
        scheme.problem_type, Value("float32")
    )
    return texts.add_column(LABELS, scheme.encode(labels, split), feature=feature)


def _reconcile(learned: LabelScheme, trained: LabelScheme | None) -> LabelScheme:
    """Keeps the order of a pretrained classifier's labels where it knows the same ones."""
    if trained is None or trained.problem_type != learned.problem_type:
        return learned
    return trained if set(trained.names) >= set(learned.names) else learned


def _split_train(train: Dataset, scheme: LabelScheme, arguments: DataArguments) -> tuple[Dataset, Dataset]:
    """Splits validation data off, and leaves out training rows with the same texts if `drop_rows` says so."""
    train, validation = split_off_validation(
        train,
        arguments.validation_split_percentage,
        arguments.validation_split_method,
        arguments.validation_split_seed,
        hashed_columns=[name for name in train.column_names if name != LABELS],
        strata=train[LABELS][:] if scheme.problem_type == SINGLE_LABEL else None,
    )
    leaked = find_leaked(train, {"validation": validation})
    num_leaked = sum(len(finding.rows) for finding in leaked)
    if num_leaked:
        logger.warning(
            "%d of %d rows of the training data have a text that is also in the validation data split off, so that "
            "the score flatters; --validation_split_method md5 keeps equal texts together, --drop_rows leaked leaves "
            "these rows out of training.",
            num_leaked,
            len(train),
        )
    return drop_rows(train, leaked, arguments.drop_rows or [])[0], validation
