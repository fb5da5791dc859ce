"""Data of an encoder–decoder: the splits with source and target texts, from what `Seq2SeqDataArguments` name."""

import logging
from dataclasses import dataclass

from datasets import Dataset

from ...data.checks import InputError
from ...data.loading import split_off_validation
from ...data.pairs import SOURCE, TARGET, autoencode_pairs, load_pairs
from ..seq2seq_arguments import Seq2SeqDataArguments
from .common import limit_rows, load_splits

logger = logging.getLogger(__name__)


@dataclass
class Seq2SeqData:
    """
    Texts (`source` and `target`) of every split; `None` where there is none.

    Args:
        train (`Dataset`, *optional*): What is trained on.
        validation (`Dataset`, *optional*): What the best checkpoint is picked by.
        test (`Dataset`, *optional*): What is scored at the end.
        predict (`Dataset`, *optional*): Sources to write targets for; may have no `target`.
    """

    train: Dataset | None = None
    validation: Dataset | None = None
    test: Dataset | None = None
    predict: Dataset | None = None

    def splits(self) -> dict[str, Dataset]:
        """Returns the splits that there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test, "predict": self.predict}
        return {name: split for name, split in splits.items() if split is not None}


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
    return Seq2SeqData(**{name: limit_rows(split, name, arguments) for name, split in splits.items()})


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
