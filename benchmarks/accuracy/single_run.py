"""
One training run, or one linear baseline, in a process of its own. `run.py` starts it with a file that says what to do.

    python benchmarks/accuracy/single_run.py DIRECTORY

`DIRECTORY/job.json` holds the job; the figures are written to `DIRECTORY/result.json` once they are all there.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from sklearn.metrics import accuracy_score, f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import read_rows
from benchmarks.common.jobs import JOB, RESULT, read_json, write_json


def read_examples(path: str | Path) -> tuple[list[str], list[str]]:
    """Reads the texts and the labels, as names, of a prepared file."""
    rows = read_rows(Path(path))
    return [row["text"] for row in rows], [str(row["label"]) for row in rows]


def score(labels: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Returns accuracy and macro-F1 in percent."""
    return {
        "accuracy": 100 * float(accuracy_score(labels, predictions)),
        "macro_f1": 100 * float(f1_score(labels, predictions, average="macro")),
    }


def score_test(test_file: str, unseen_file: str | None, predictions: Sequence[str]) -> dict[str, float]:
    """
    Scores the predictions for a test file.

    Args:
        test_file (`str`): The test examples, in the order of the predictions.
        unseen_file (`str`, *optional*): Those of the test examples whose texts are not in the training data.
        predictions (`Sequence[str]`): The predicted label names.
    """
    texts, labels = read_examples(test_file)
    if len(labels) != len(predictions):
        raise ValueError(f"There are {len(predictions)} predictions for the {len(labels)} rows of {test_file}.")
    scores = score(labels, predictions)
    if unseen_file is not None:
        unseen = set(read_examples(unseen_file)[0])
        rows = [row for row, text in enumerate(texts) if text in unseen]
        partial = score([labels[row] for row in rows], [predictions[row] for row in rows])
        scores |= {f"unseen_{name}": value for name, value in partial.items()}
    return scores


def train_lstm(job: dict[str, Any], directory: Path) -> dict[str, float]:
    """Trains the recipe's model with one seed and scores it; `minutes` covers all but the imports."""
    from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
    from hf_lstm.training.parsing import ArgumentReader
    from hf_lstm.training.tasks.sequence_classification import run

    recipe_file = directory / "recipe.yaml"
    recipe_file.write_text(yaml.safe_dump(job["recipe"], allow_unicode=True, sort_keys=False), encoding="utf-8")
    model_directory = directory / "model"
    reader = ArgumentReader((ModelArguments, DataArguments, LstmTrainingArguments))
    # An interrupted run starts over, because its minutes are measured too.
    arguments = reader.read(
        [str(recipe_file), f"--output_dir={model_directory}", f"--seed={job['seed']}", "--restart"]
    )
    start = time.perf_counter()
    result = run(*arguments)
    minutes = (time.perf_counter() - start) / 60
    scores = {"minutes": minutes, "dev_accuracy": 100 * result.metrics["eval_accuracy"]}
    test_file = job["recipe"].get("test_file")
    if test_file is not None:
        scores |= score_test(test_file, job["unseen_file"], [str(label) for label in result.predictions["test"]])
    # The report stays, the weights go: thirty runs of a model with many n-gram embeddings would fill a disk.
    for checkpoint in model_directory.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    (model_directory / "model.safetensors").unlink()
    return scores


def fit_baseline(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Fits TF-IDF with a linear model on the same files, its C chosen on dev, and scores it."""
    from hf_lstm.training.baseline import fit_linear_baseline

    recipe = job["recipe"]
    start = time.perf_counter()
    baseline = fit_linear_baseline(*read_examples(recipe["train_file"]), *read_examples(recipe["validation_file"]))
    scores: dict[str, Any] = {"dev_accuracy": 100 * baseline.dev_accuracy, "settings": baseline.settings}
    test_file = recipe.get("test_file")
    if test_file is not None:
        predictions = [str(label) for label in baseline.predict(read_examples(test_file)[0])]
        scores |= score_test(test_file, job["unseen_file"], predictions)
    return scores | {"minutes": (time.perf_counter() - start) / 60}


def main(directory: Path) -> None:
    """Does the job in a directory."""
    job = read_json(directory / JOB)
    figures = fit_baseline(job, directory) if job["seed"] is None else train_lstm(job, directory)
    write_json(directory / RESULT, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
