"""Data of an encoder–decoder: the splits with source and target texts, from what `Seq2SeqDataArguments` name."""

from collections.abc import Callable

from datasets import Dataset

from ...data.checks import InputError
from ...data.pair_columns import SOURCE, TARGET, find_fields, read_fields
from ...data.pairs import autoencode_pairs, load_pairs
from ...data.splits import split_off_validation
from ...data.streams import Columns
from ..seq2seq_arguments import Seq2SeqDataArguments
from .common_data import CommonData, limit_rows, load_splits
from .streaming import RowStream, check_validation, open_train_stream, sample_stream


class Seq2SeqData(CommonData):
    """Texts (`source` and `target`) of every split; `predict` may have no `target`."""


def load_seq2seq_data(arguments: Seq2SeqDataArguments, do_train: bool = True) -> Seq2SeqData:
    """
    Loads and checks all the data that a run needs.

    Args:
        arguments (`Seq2SeqDataArguments`): What to load.
        do_train (`bool`, defaults to `True`): Whether there must be training data, from which validation data is split
            off where there is none.

    Raises:
        InputError: If any of the data cannot be used as it is.
    """
    sources: dict[str, str | Dataset] = dict(load_splits(arguments))
    for name in ("train", "validation", "test", "predict"):
        path = getattr(arguments, f"{name}_file")
        if path is not None:
            sources[name] = path
    stream = None
    if arguments.streaming and do_train:
        if arguments.train_target_file is not None:
            raise InputError(
                "--train_target_file is given, but --streaming reads source and target from the columns of one file. "
                "Pass a csv, tsv, jsonl or parquet file as --train_file."
            )
        check_validation("validation" in sources, arguments)
        rows = open_train_stream(arguments)
        sources["train"] = sample_stream(rows, arguments)
        stream = RowStream(rows, _row_reader(sources["train"], arguments))
    if not do_train:
        sources.pop("train", None)
    elif "train" not in sources:
        raise InputError("There is no training data. Pass --train_file, or --dataset_name with a split train.")
    splits = {name: _load_split(data, name, arguments) for name, data in sources.items()}
    if do_train and "validation" not in splits and arguments.validation_split_percentage > 0:
        splits["train"], splits["validation"] = split_off_validation(
            splits["train"],
            arguments.validation_split_percentage,
            arguments.validation_split_method,
            arguments.validation_split_seed,
            hashed_columns=(SOURCE, TARGET),
        )
    limited = {name: limit_rows(split, name, arguments) for name, split in splits.items()}
    return Seq2SeqData(**limited, stream=stream)


def _row_reader(sample: Dataset, arguments: Seq2SeqDataArguments) -> Callable[[Columns], Columns]:
    """Returns what makes pairs of rows like those of a sample, without pairs of which a side is empty."""
    reproduces = arguments.task == "autoencode"
    columns = (arguments.source_column_name, arguments.target_column_name)
    languages = (arguments.source_lang, arguments.target_lang)
    fields = find_fields(sample, "train", columns, languages, needs_target=not reproduces)

    def read(rows: Columns) -> Columns:
        pairs = read_fields(rows, fields)
        sources = pairs[SOURCE]
        targets = sources if reproduces else pairs[TARGET]
        kept = [pair for pair in zip(sources, targets, strict=True) if pair[0].strip() and pair[1].strip()]
        return {SOURCE: [source for source, _ in kept], TARGET: [target for _, target in kept]}

    return read


def _load_split(data: str | Dataset, name: str, arguments: Seq2SeqDataArguments) -> Dataset:
    reproduces = arguments.task == "autoencode"
    pairs = load_pairs(
        data,
        name,
        None if name == "predict" else getattr(arguments, f"{name}_target_file"),
        source_column=arguments.source_column_name,
        target_column=arguments.target_column_name,
        source_lang=arguments.source_lang,
        target_lang=arguments.target_lang,
        needs_target=name != "predict" and not reproduces,
        drop_empty=name == "train",
        encoding=arguments.file_encoding,
        cache_dir=arguments.cache_dir,
    )
    return autoencode_pairs(pairs) if reproduces else pairs
