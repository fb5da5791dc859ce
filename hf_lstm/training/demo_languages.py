"""The demonstration's first part: names in thirty languages, told apart by an LSTM beside a linear model."""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from ..data.cldr import LANGUAGES, load_cldr
from .arguments import DataArguments, LstmTrainingArguments, ModelArguments
from .baseline import fit_linear_baseline
from .demo_part import DemoPart, pick_evenly, write_csv
from .tasks.sequence_classification import run

NUM_EXAMPLES = 8
NUM_LANGUAGES_EPOCHS = 6.0


class LanguagesPart(DemoPart):
    """
    The classifier, with `test_accuracy` and `baseline_test_accuracy` among its `metrics`.

    A prediction has `text`, `label`, `score` and `right_label`.
    """

    def summary(self) -> str:
        """Writes the figures and predictions for reading."""
        metrics = self.metrics
        lines = [
            "Which language is it?",
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


def run_languages(
    output_dir: Path,
    languages: Sequence[str] = tuple(LANGUAGES),
    num_train_epochs: float = NUM_LANGUAGES_EPOCHS,
    max_train_samples: int | None = None,
) -> LanguagesPart:
    """
    Trains, evaluates, saves and reloads a classifier of languages.

    Args:
        output_dir (`Path`): Folder for the model and its report.
        languages (`Sequence[str]`, defaults to all of `LANGUAGES`): The languages to tell apart.
        num_train_epochs (`float`, defaults to 6): Passes over the training data.
        max_train_samples (`int`, *optional*): Train on this many names at most.

    Returns:
        `LanguagesPart`: The figures and a few predictions, which are in the folder's report as well.

    Raises:
        ImportError: If babel is not installed.
        InputError: If a language is not one of `LANGUAGES`.
    """
    started = time.perf_counter()
    data = load_cldr(languages)
    if max_train_samples is not None:
        data["train"] = data["train"].shuffle(seed=0).select(range(min(max_train_samples, len(data["train"]))))
    data_arguments = _write_files(data, output_dir / "data")
    baseline = _score_baseline(data)
    result = run(_model_arguments(), data_arguments, _training_arguments(output_dir, num_train_epochs))
    texts, right_labels = pick_examples(data["test"])
    rows = zip(classify(output_dir, texts), right_labels, strict=True)
    predictions = [row | {"right_label": label} for row, label in rows]
    metrics = result.metrics | baseline | {"demo_minutes": round((time.perf_counter() - started) / 60, 2)}
    part = LanguagesPart(output_dir, metrics, predictions)
    part.add_to_report()
    return part


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
    picked = pick_evenly(sorted(texts_by_label), num_examples)
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


def _write_files(data: DatasetDict, directory: Path) -> DataArguments:
    label_names = data["train"].features["label"].names
    named = {}
    for name, split in data.items():
        labels = split.features["label"].int2str(split["label"][:])
        named[name] = split.remove_columns("label").add_column("label", labels)
    paths = write_csv(DatasetDict(named), directory, "cldr_names")
    return DataArguments(**paths, languages=[LANGUAGES[label] for label in label_names])


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
