"""What the parts of the demonstration do alike."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from .report import METRICS_NAME


@dataclass
class DemoPart(ABC):
    """
    What one part of the demonstration leaves behind.

    Args:
        output_dir (`Path`): Folder with the model, its tokenizer, the report and the model card.
        metrics (`dict[str, Any]`): All the figures; `demo_minutes` is what the part took.
        predictions (`list[dict[str, Any]]`): What the model, saved and loaded again, makes of a few test texts, beside
            what is right.
    """

    output_dir: Path
    metrics: dict[str, Any]
    predictions: list[dict[str, Any]]

    @abstractmethod
    def summary(self) -> str:
        """Writes the figures and predictions for reading."""

    def add_to_report(self) -> None:
        """Adds the demonstration's own figures and its predictions to the report of the training run."""
        path = self.output_dir / METRICS_NAME
        content = json.loads(path.read_text(encoding="utf-8"))
        content |= {"metrics": self.metrics, "demo_predictions": self.predictions}
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(data: DatasetDict, directory: Path, name: str) -> dict[str, Any]:
    """
    Writes the splits as CSV files, the form in which a user would bring such data.

    Args:
        data (`DatasetDict`): The splits.
        directory (`Path`): The folder, made if needed.
        name (`str`): What the files' names start with.

    Returns:
        `dict[str, Any]`: The paths, named as the training arguments are: `train_file` and so on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = {f"{split}_file": str(directory / f"{name}_{split}.csv") for split in data}
    for split, dataset in data.items():
        dataset.to_csv(paths[f"{split}_file"])
    return paths


def pick_evenly(names: list[str], count: int) -> list[str]:
    """
    Picks names that are spread over a list.

    Args:
        names (`list[str]`): The names.
        count (`int`): How many to pick at most.
    """
    return names[:: max(1, len(names) // count)][:count]
