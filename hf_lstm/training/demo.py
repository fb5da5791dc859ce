"""The demonstration: names in thirty languages, told apart by an LSTM beside a linear model."""

import argparse
import json
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from ..data.cldr import LANGUAGES, load_cldr
from .arguments import DataArguments, LstmTrainingArguments, ModelArguments
from .baseline import fit_linear_baseline
from .report import METRICS_NAME
from .tasks.sequence_classification import run

logger = logging.getLogger(__name__)

NUM_EXAMPLES = 8


@dataclass
class DemoResult:
    """
    What the demonstration leaves behind.

    Args:
        output_dir (`Path`): Folder with the model, its tokenizer, the report and the model card.
        metrics (`dict[str, Any]`): All the figures, `baseline_test_accuracy` and `test_accuracy` among them.
        predictions (`list[dict[str, Any]]`): `text`, `label` and `score` of a few test texts by the reloaded model,
            and the `right_label`.
    """

    output_dir: Path
    metrics: dict[str, Any]
    predictions: list[dict[str, Any]]

    def summary(self) -> str:
        """Writes the figures and predictions for reading."""
        metrics = self.metrics
        lines = [
            f"Test accuracy over {metrics['num_test_samples']} names that were never seen in any language:",
            f"  LSTM          {100 * metrics['test_accuracy']:.1f} %",
            f"  linear model  {100 * metrics['baseline_test_accuracy']:.1f} % (TF-IDF of character n-grams)",
            "Predictions of the model, saved and loaded again through the auto classes:",
        ]
        for row in self.predictions:
            remark = "" if row["label"] == row["right_label"] else f"  (is {row['right_label']})"
            lines.append(f"  {100 * row['score']:5.1f} %  {row['label']:<12} {row['text']}{remark}")
        lines.append(f"Took {metrics['demo_minutes']:.1f} minutes. Model, report and model card: {self.output_dir}")
        return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> DemoResult:
    """
    Trains, evaluates, saves and reloads a classifier on the built-in data.

    Args:
        args (`Sequence[str]`, *optional*): Flags; those of the process by default.

    Returns:
        `DemoResult`: The figures and a few predictions.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(logging.INFO)
    started = time.perf_counter()
    options = _parse(args)
    output_dir = Path(options.output_dir)
    data = load_cldr(options.languages)
    if options.max_train_samples is not None:
        data["train"] = data["train"].shuffle(seed=0).select(range(min(options.max_train_samples, len(data["train"]))))
    data_arguments = _write_files(data, output_dir / "data")
    baseline = _score_baseline(data)
    result = run(_model_arguments(), data_arguments, _training_arguments(output_dir, options.num_train_epochs))
    texts, right_labels = pick_examples(data["test"])
    rows = zip(classify(output_dir, texts), right_labels, strict=True)
    predictions = [row | {"right_label": label} for row, label in rows]
    metrics = result.metrics | baseline | {"demo_minutes": round((time.perf_counter() - started) / 60, 2)}
    _add_to_report(output_dir / METRICS_NAME, metrics, predictions)
    return DemoResult(output_dir, metrics, predictions)


def pick_examples(dataset: Dataset, num_examples: int = NUM_EXAMPLES) -> tuple[list[str], list[str]]:
    """
    Picks texts of different labels, always the same ones and without a look at how well they are labelled.

    Args:
        dataset (`Dataset`): Data with columns `text` and `label`, sorted or not.
        num_examples (`int`, defaults to 8): How many; no more than there are labels.

    Returns:
        `tuple[list[str], list[str]]`: The texts and the names of their labels.
    """
    feature, texts_by_label = dataset.features["label"], defaultdict(list)
    for text, label in zip(dataset["text"][:], dataset["label"][:], strict=True):
        texts_by_label[label].append(text)
    labels = sorted(texts_by_label)
    step = max(1, len(labels) // num_examples)
    picked = labels[::step][:num_examples]
    texts = [sorted(texts_by_label[label])[len(texts_by_label[label]) // 2] for label in picked]
    return texts, feature.int2str(picked)


def classify(model_dir: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """
    Labels texts by a saved model, as its user would.

    Args:
        model_dir (`Path`): The model's folder.
        texts (`Sequence[str]`): The texts.

    Returns:
        `list[dict[str, Any]]`: `text`, `label` and `score` of each.
    """
    model = AutoModelForSequenceClassification.from_pretrained(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return [{"text": text, **found} for text, found in zip(texts, classifier(list(texts)), strict=True)]


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train and try a classifier on built-in data: names in many languages."
    )
    parser.add_argument("--output_dir", default="demo_output", help="folder for the model and its report")
    parser.add_argument("--num_train_epochs", type=float, default=6, help="passes over the training data")
    parser.add_argument("--max_train_samples", type=int, help="train on this many names at most")
    parser.add_argument(
        "--languages", nargs="+", default=list(LANGUAGES), metavar="LANGUAGE", help="languages to tell apart"
    )
    return parser.parse_args(args)


def _write_files(data: DatasetDict, directory: Path) -> DataArguments:
    """Writes the splits as CSV files of texts and labels, the form in which a user would bring such data."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / f"cldr_names_{name}.csv" for name in data}
    for name, split in data.items():
        labels = split.features["label"].int2str(split["label"][:])
        split.remove_columns("label").add_column("label", labels).to_csv(paths[name])
    return DataArguments(
        train_file=str(paths["train"]),
        validation_file=str(paths["validation"]),
        test_file=str(paths["test"]),
        languages=[LANGUAGES[label] for label in data["train"].features["label"].names],
    )


def _score_baseline(data: DatasetDict) -> dict[str, Any]:
    train, validation = data["train"], data["validation"]
    baseline = fit_linear_baseline(
        train["text"][:], train["label"][:], validation["text"][:], validation["label"][:], analyzer="char"
    )
    found = baseline.predict(data["test"]["text"][:])
    right = sum(label == guess for label, guess in zip(data["test"]["label"][:], found, strict=True))
    return {
        "baseline_settings": baseline.settings,
        "baseline_eval_accuracy": baseline.dev_accuracy,
        "baseline_test_accuracy": right / len(found),
    }


def _model_arguments() -> ModelArguments:
    # Case and single characters tell languages apart, and the model sees n-grams of them as the linear one does.
    return ModelArguments(
        tokenizer_algorithm="char",
        lowercase=False,
        embedding_size=64,
        hidden_size=128,
        ngram_orders=[2, 3, 4],
        ngram_buckets=60_000,
        ngram_dropout=0.3,
        classifier_ngram_orders=[1, 2, 3, 4],
        classifier_ngram_buckets=131_072,
        classifier_ngram_dropout=0.0,
        input_dropout=0.2,
    )


def _training_arguments(output_dir: Path, num_train_epochs: float) -> LstmTrainingArguments:
    return LstmTrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=num_train_epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=256,
        learning_rate=3e-3,
        restart=True,
    )


def _add_to_report(path: Path, metrics: dict[str, Any], predictions: list[dict[str, Any]]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"metrics": metrics, "demo_predictions": predictions}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
