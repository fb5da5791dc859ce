"""What the data of all training tasks share: their splits, those of a data set, and how many rows are used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from ...data.loading import load_hub_dataset
from ...data.splits import select_split
from ...data.streams import read_rows
from ..common_arguments import CommonDataArguments
from .streaming import RowStream


@dataclass
class CommonData:
    """
    The splits of the data, `None` where there is none; their columns are those of the task.

    Args:
        train (`Dataset`, *optional*): What is trained on; the first rows of it if it is streamed.
        validation (`Dataset`, *optional*): What the best checkpoint is picked by.
        test (`Dataset`, *optional*): What is scored at the end.
        predict (`Dataset`, *optional*): What is predicted at the end; may come without labels or targets.
        stream (`RowStream`, *optional*): All of the training data, if it is streamed.
    """

    train: Dataset | None = None
    validation: Dataset | None = None
    test: Dataset | None = None
    predict: Dataset | None = None
    stream: RowStream | None = None

    def splits(self) -> dict[str, Dataset]:
        """Returns the splits that there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test, "predict": self.predict}
        return {name: split for name, split in splits.items() if split is not None}


def load_splits(arguments: CommonDataArguments) -> dict[str, Dataset]:
    """
    Returns the splits of the data set that the arguments name, `train`, `validation` and `test`, as they are.

    With `streaming`, they come without `train`, and the others are read into memory, their first `max_eval_samples`.
    """
    if arguments.dataset_name is None:
        return {}
    source = (arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision)
    splits = load_hub_dataset(*source, arguments.cache_dir, arguments.streaming)
    for name in arguments.remove_splits or ():
        select_split(splits, name, name)
        del splits[name]
    names = ("train", "validation", "test")
    chosen = {name: select_split(splits, getattr(arguments, f"{name}_split_name"), name) for name in names}
    found = {name: split for name, split in chosen.items() if split is not None}
    if not arguments.streaming:
        return found
    return {name: read_rows(split, arguments.max_eval_samples) for name, split in found.items() if name != "train"}


def limit_rows(dataset: Dataset, name: str, arguments: CommonDataArguments) -> Dataset:
    """Draws at most max_*_samples rows; of the rows to predict, the first ones are taken."""
    kind = "eval" if name in ("validation", "test") else name
    limit = getattr(arguments, f"max_{kind}_samples")
    if limit is None or limit >= len(dataset):
        return dataset
    if name == "predict":
        return dataset.select(range(limit))
    order = np.random.default_rng(arguments.sample_seed).permutation(len(dataset))
    return dataset.select(np.sort(order[:limit]))


def count_samples(tokenized: dict[str, Dataset], arguments: CommonDataArguments) -> dict[str, Any]:
    """Returns the number of rows of each split as metrics; of a stream only those that were looked at are known."""
    metrics: dict[str, Any] = {f"num_{name}_samples": len(split) for name, split in tokenized.items()}
    if arguments.streaming and "train" in tokenized:
        metrics["num_sampled_rows"] = metrics.pop("num_train_samples")
    return metrics
