"""What a text classification leaves behind beside the model: predictions, the baseline's score, report and card."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedTokenizerBase

from ...data.checks import InputError
from ...data.labels import MULTI_LABEL, REGRESSION, SINGLE_LABEL, LabelScheme
from ...models.modeling_lstm import LstmForSequenceClassification
from ..arguments import DataArguments, LstmTrainingArguments, ModelArguments
from ..baseline import fit_linear_baseline
from ..report import write_report
from .card import pick_scores, write_card
from .classification_data import LABELS, ClassificationData, joined_texts

NUM_EXAMPLES = 20


def decode_predictions(logits: np.ndarray, scheme: LabelScheme) -> tuple[list[Any], list[Any]]:
    """
    Turns a model's outputs into label names and scores.

    Args:
        logits (`np.ndarray` of shape `(num_rows, num_labels)`): The outputs.
        scheme (`LabelScheme`): Kind and names of the labels.

    Returns:
        `tuple[list, list]`: For each row the label's name and its probability; for multi-label data lists of them,
        those above one half; for a regression the number and `None`.
    """
    if scheme.problem_type == REGRESSION:
        return logits.astype(np.float64).reshape(-1).tolist(), [None] * len(logits)
    probabilities = label_probabilities(logits, scheme)
    if scheme.problem_type == MULTI_LABEL:
        chosen = [np.flatnonzero(row > 0.5) for row in probabilities]
        names = [[scheme.names[number] for number in numbers] for numbers in chosen]
        return names, [row[numbers].tolist() for row, numbers in zip(probabilities, chosen, strict=True)]
    best = probabilities.argmax(axis=-1)
    return [scheme.names[number] for number in best], probabilities[np.arange(len(best)), best].tolist()


def label_probabilities(logits: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    """
    Computes the probability of each label, also of an only one, as a classifier's `predict` does.

    Args:
        logits (`np.ndarray` of shape `(num_rows, num_labels)`): The outputs.
        scheme (`LabelScheme`): Kind and names of the labels, which are those of no regression.
    """
    logits = logits.astype(np.float64)
    if scheme.problem_type == MULTI_LABEL or scheme.num_labels == 1:
        return np.exp(-np.logaddexp(0, -logits))  # the sigmoid, without overflow
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def score_linear_baseline(
    data: ClassificationData, compute_metrics: Callable[[EvalPrediction], dict[str, float]]
) -> dict[str, Any]:
    """
    Scores a linear model over TF-IDF, tuned on the validation data, by the same metrics.

    Args:
        data (`ClassificationData`): Single-label data with training and validation data.
        compute_metrics (`Callable`): The trainer's metrics.

    Returns:
        `dict[str, Any]`: `baseline_eval_*` and, if there is test data, `baseline_test_*`.

    Raises:
        InputError: If the data is not single-label or lacks a split.
    """
    if data.scheme.problem_type != SINGLE_LABEL or data.train is None or data.validation is None:
        raise InputError("`linear_baseline` needs single-label data with training and validation texts. Leave it out.")
    baseline = fit_linear_baseline(
        joined_texts(data.train), data.train[LABELS][:], joined_texts(data.validation), data.validation[LABELS][:]
    )
    metrics: dict[str, Any] = {"baseline_settings": baseline.settings}
    for name, split in (("eval", data.validation), ("test", data.test)):
        if split is not None:
            scores = np.eye(data.scheme.num_labels)[np.asarray(baseline.predict(joined_texts(split)))]
            figures = compute_metrics(EvalPrediction(predictions=scores, label_ids=np.asarray(split[LABELS][:])))
            metrics |= {f"baseline_{name}_{metric}": value for metric, value in figures.items()}
    return metrics


def write_predictions(path: Path, dataset: Dataset, names: list[Any], scores: list[Any]) -> None:
    """Writes a csv with each text, its label (several joined by `|`) and the label's probability."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "score"])
        for text, name, score in zip(joined_texts(dataset), names, scores, strict=True):
            several = isinstance(name, list)
            shown = "|".join(f"{value:.4f}" for value in score) if several else "" if score is None else f"{score:.4f}"
            writer.writerow([text, "|".join(name) if several else name, shown])


def document_run(
    output_dir: Path,
    model: LstmForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    data: ClassificationData,
    metrics: dict[str, Any],
    logits: dict[str, np.ndarray],
    log_history: list[dict[str, float]],
    data_arguments: DataArguments,
    training_arguments: LstmTrainingArguments,
    model_arguments: ModelArguments,
) -> None:
    """
    Writes the report and the model card, on the test data or else on the validation data.

    Args:
        output_dir (`Path`): The model's folder.
        model (`LstmForSequenceClassification`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        data (`ClassificationData`): What it was trained and scored on.
        metrics (`dict[str, Any]`): All the figures.
        logits (`dict[str, np.ndarray]`): The model's outputs of each split.
        log_history (`list[dict]`): The trainer's log.
        data_arguments (`DataArguments`): Where the data came from.
        training_arguments (`LstmTrainingArguments`): How the model was trained.
        model_arguments (`ModelArguments`): What training began with.
    """
    name, _ = pick_scores(metrics)
    split = data.splits().get(name)
    labels = split[LABELS][:] if split is not None and data.scheme.problem_type == SINGLE_LABEL else None
    write_report(
        output_dir,
        metrics=metrics,
        log_history=log_history,
        metric_name=training_arguments.metric_for_best_model.removeprefix("eval_"),
        labels=labels,
        predictions=None if labels is None else logits[name].argmax(axis=-1),
        label_names=data.scheme.names,
        examples=[] if split is None else _examples(split, logits[name], data.scheme),
    )
    write_card(
        output_dir,
        model,
        tokenizer,
        data.splits(),
        "text",
        metrics,
        log_history,
        data_arguments,
        training_arguments,
        model_arguments,
        max_length=data_arguments.max_length,
    )


def _examples(split: Dataset, logits: np.ndarray, scheme: LabelScheme) -> list[dict[str, Any]]:
    """Lists the first texts with their right and predicted labels."""
    rows = split.select(range(min(NUM_EXAMPLES, len(split))))
    names, scores = decode_predictions(logits[: len(rows)], scheme)
    right: list[Any] = rows[LABELS][:]
    if scheme.problem_type == SINGLE_LABEL:
        right = [scheme.names[number] for number in right]
    if scheme.problem_type == MULTI_LABEL:
        right = [[name for name, applies in zip(scheme.names, row, strict=True) if applies] for row in right]
    columns = zip(joined_texts(rows), right, names, scores, strict=True)
    return [
        {"text": text[:300], "label": label, "prediction": name, "score": score}
        for text, label, name, score in columns
    ]
