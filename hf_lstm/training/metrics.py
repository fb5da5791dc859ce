"""Scores of classifiers and regressions as `evaluate` metrics that need no network."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as SequenceFeature
from transformers import EvalPrediction

from ..data.checks import InputError, listing, nearest_name
from ..data.labels import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL

AVERAGES = ("macro", "micro", "weighted")
_IGNORED = -100
# Words in the names of errors, such as those of https://huggingface.co/evaluate-metric; "character" only by itself.
_LOWER_IS_BETTER = (
    *("error", "loss", "mse", "mae", "rmse", "mape", "smape", "mase", "wer", "cer", "ter", "perplexity", "brier"),
    *("charcut", "distance", "mahalanobis"),
)


class LocalMetric(evaluate.Metric):
    """
    The base of the metrics below, which keep the predictions in memory and read nothing from the Hub.

    What has the reference -100 does not count, as in the losses.

    Args:
        config_name (`str`, *optional*): `"multilabel"` where each row holds a 0 or 1 for every class.
        keep_in_memory (`bool`, *optional*): By default where there is one process.
        kwargs: As for `evaluate.Metric`.
    """

    inputs = "int64"

    def __init__(self, config_name: str | None = None, keep_in_memory: bool | None = None, **kwargs: Any):
        if config_name not in (None, "default", "multilabel"):
            raise ValueError(f"`config_name` is {config_name!r}, but must be 'multilabel' or left out.")
        if keep_in_memory is None:
            keep_in_memory = kwargs.get("num_process", 1) == 1
        super().__init__(config_name, keep_in_memory=keep_in_memory, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        value: Any = Value(self.inputs)
        if self.config_name == "multilabel":
            value = SequenceFeature(value)
        return evaluate.MetricInfo(
            description=str(type(self).__doc__),
            citation="",
            features=Features({"predictions": value, "references": value}),
            inputs_description="predictions: what the model says. references: what is right.",
        )

    def _compute(self, predictions: Any, references: Any, **kwargs: Any) -> dict[str, float]:
        predicted, expected = np.asarray(predictions), np.asarray(references)
        if predicted.shape != expected.shape or not (has_label := _has_label(expected)).any():
            raise ValueError(
                f"{type(self).__name__} needs as many predictions as references, and one at least that is not -100, "
                f"but their shapes are {predicted.shape} and {expected.shape}."
            )
        predicted, expected = predicted[has_label], expected[has_label]
        # Within a row too, what has no label must not look like a difference.
        predicted = np.where(expected == _IGNORED, expected, predicted)
        return {name: float(value) for name, value in self.score(predicted, expected, **kwargs).items()}

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        """
        Computes the scores.

        Args:
            predicted (`np.ndarray` of shape `(num_rows,)` or `(num_rows, num_labels)`): What the model says.
            expected (`np.ndarray` of the same shape): What is right. Where it is -100 for some labels of a row, so is
                `predicted`.
        """
        raise NotImplementedError


class Accuracy(LocalMetric):
    """The share of rows that are right; of multi-label rows, in every class."""

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        is_right = predicted == expected
        return {"accuracy": is_right.reshape(len(is_right), -1).all(axis=1).mean()}


class _ClassMetric(LocalMetric):
    """
    Averages a score of single classes.

    `average` is `"macro"` for the plain mean over the classes (those that occur in predictions or references; all
    columns where each row may have several labels), `"weighted"` for the mean weighted by how often they occur in the
    references, or `"micro"` for the score over all decisions together. A class whose score would be a division by zero
    counts as 0.

    Args:
        average (`str`, defaults to `"macro"`): The default average.
        kwargs: As for `LocalMetric`.
    """

    key: str

    def __init__(self, config_name: str | None = None, average: str = "macro", **kwargs: Any):
        super().__init__(config_name, **kwargs)
        self.average = _check_average(average)

    def score(self, predicted: np.ndarray, expected: np.ndarray, average: str | None = None) -> dict[str, float]:
        average = _check_average(average or self.average)
        hits, num_predicted, num_expected = _count_by_class(predicted, expected)
        if average == "micro":
            totals = hits.sum(keepdims=True), num_predicted.sum(keepdims=True), num_expected.sum(keepdims=True)
            return {self.key: self.class_scores(*totals)[0]}
        scores = self.class_scores(hits, num_predicted, num_expected)
        if average == "macro":
            return {self.key: scores.mean()}
        return {self.key: _divide((scores * num_expected).sum(), num_expected.sum())}

    @staticmethod
    def class_scores(hits: np.ndarray, num_predicted: np.ndarray, num_expected: np.ndarray) -> np.ndarray:
        """Computes each class's score from counts of shape `(num_classes,)`."""
        raise NotImplementedError


class F1(_ClassMetric):
    """The harmonic mean of precision and recall, averaged over the classes: macro, micro or weighted."""

    key = "f1"

    @staticmethod
    def class_scores(hits: np.ndarray, num_predicted: np.ndarray, num_expected: np.ndarray) -> np.ndarray:
        return _divide(2 * hits, num_predicted + num_expected)


class Precision(_ClassMetric):
    """The share of a class's predictions that are right, averaged over the classes as by `F1`."""

    key = "precision"

    @staticmethod
    def class_scores(hits: np.ndarray, num_predicted: np.ndarray, num_expected: np.ndarray) -> np.ndarray:
        return _divide(hits, num_predicted)


class Recall(_ClassMetric):
    """The share of a class's rows that are found, averaged over the classes as by `F1`."""

    key = "recall"

    @staticmethod
    def class_scores(hits: np.ndarray, num_predicted: np.ndarray, num_expected: np.ndarray) -> np.ndarray:
        return _divide(hits, num_expected)


class MatthewsCorrelation(LocalMetric):
    """
    The correlation of predicted and right classes, 0 for chance; also where all predictions are the same.

    For several classes it is Gorodkin's R_K (https://doi.org/10.1016/j.compbiolchem.2004.09.006). Multi-label rows
    count as one decision for each class.
    """

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        predicted, expected = predicted[expected != _IGNORED], expected[expected != _IGNORED]
        hits, num_predicted, num_expected = _count_by_class(predicted, expected)
        num_rows = float(len(predicted))
        covariance = hits.sum() * num_rows - num_predicted @ num_expected
        variances = (num_rows**2 - num_predicted @ num_predicted) * (num_rows**2 - num_expected @ num_expected)
        return {"matthews_correlation": _divide(covariance, np.sqrt(variances))}


class MeanSquaredError(LocalMetric):
    """The mean squared difference of numbers."""

    inputs = "float64"

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        return {"mse": np.square(predicted - expected)[expected != _IGNORED].mean()}


class PearsonCorrelation(LocalMetric):
    """The linear correlation of numbers; 0 where either are all the same."""

    inputs = "float64"

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        return {"pearsonr": _correlate(predicted, expected)}


class SpearmanCorrelation(LocalMetric):
    """The linear correlation of the numbers' ranks; 0 where either are all the same."""

    inputs = "float64"

    def score(self, predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
        return {"spearmanr": _correlate(_rank(predicted), _rank(expected))}


LOCAL_METRICS: dict[str, type[LocalMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "precision": Precision,
    "recall": Recall,
    "matthews_correlation": MatthewsCorrelation,
    "mse": MeanSquaredError,
    "pearsonr": PearsonCorrelation,
    "spearmanr": SpearmanCorrelation,
}
_AVERAGED = {f"{name}_{average}": (name, average) for name in ("f1", "precision", "recall") for average in AVERAGES}
_REPORTED = {
    SINGLE_LABEL: ("accuracy", "f1", "f1_micro", "precision", "recall", "matthews_correlation"),
    MULTI_LABEL: ("f1_micro", "f1", "accuracy", "precision", "recall"),
    REGRESSION: ("mse", "pearsonr", "spearmanr"),
}


def load_metric(name: str, config_name: str | None = None) -> evaluate.EvaluationModule:
    """
    Loads a metric, from this package if it has it and else one of Hugging Face's own on the Hub.

    The code of anyone else, on the Hub or in a folder, is not run.

    Args:
        name (`str`): One of `LOCAL_METRICS`, one such as `"f1_micro"`, or one of https://huggingface.co/evaluate-metric.
        config_name (`str`, *optional*): `"multilabel"`, or what the metric on the Hub takes.

    Raises:
        InputError: If there is no such metric, or it cannot be loaded without a network.
    """
    if name in _AVERAGED:
        base, average = _AVERAGED[name]
        return LOCAL_METRICS[base](config_name, average=average)
    if name in LOCAL_METRICS:
        return LOCAL_METRICS[name](config_name)
    # `evaluate.load` would run whatever file or repository the name leads to.
    if {"/", "\\"} & set(name) or Path(name).exists():
        raise InputError(
            f"The metric {name!r} is code of its own, which is not run for a name in a setting. Load it with "
            "`evaluate.load` in a program of yours, and pass `compute_metrics` to LstmTrainer."
        )
    try:
        return evaluate.load(name, config_name)
    except Exception as error:  # whatever a script from the Hub may raise on import
        known = [*LOCAL_METRICS, *_AVERAGED]
        raise InputError(
            f"The metric {name!r} is not one of this package and cannot be loaded from the Hub ({error}). Without a "
            f"network there are {listing(known, limit=20)}.{nearest_name(name, known)}"
        ) from error


def classification_metrics(
    problem_type: str, num_labels: int, metric_name: str | None = None
) -> tuple[Callable[[EvalPrediction], dict[str, float]], str, bool]:
    """
    Makes the metrics of a sequence classifier for Trainer.

    Single labels get accuracy, macro-averaged F1, precision and recall, micro-averaged F1 and Matthews correlation.
    Multi-label rows get F1 of both kinds, exact-match accuracy, precision and recall, where a class applies above a
    probability of one half. A regression gets the mean squared error and, with one output, both correlations. What has
    the label -100 does not count, as in the losses; where nothing has another one, there are no metrics.

    Args:
        problem_type (`str`): The model's `config.problem_type`.
        num_labels (`int`): Number of the model's outputs.
        metric_name (`str`, *optional*):
            A further metric, as for `load_metric`, or `"loss"`; it picks the best checkpoint. By default accuracy,
            micro-averaged F1 or the mean squared error does.

    Returns:
        `tuple[Callable, str, bool]`: What to pass to Trainer as `compute_metrics`, `metric_for_best_model` and
        `greater_is_better`.

    Raises:
        InputError: If the metric cannot be loaded.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"`problem_type` is {problem_type!r}, but must be one of {listing(PROBLEM_TYPES)}.")
    names = list(_REPORTED[problem_type])
    if problem_type == REGRESSION and num_labels > 1:
        names = ["mse"]
    best = metric_name or names[0]
    if best not in (*names, "loss"):
        names.append(best)
    shape = "multilabel" if problem_type == MULTI_LABEL or (problem_type == REGRESSION and num_labels > 1) else None
    metrics = {
        name: load_metric(name, shape if name in LOCAL_METRICS or name in _AVERAGED else None) for name in names
    }

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predictions, references = _decide(prediction, problem_type, num_labels)
        results: dict[str, float] = {}
        for name, metric in metrics.items() if len(references) else ():
            results |= _name_results(name, metric.compute(predictions=predictions, references=references))
        return results

    return compute_metrics, best, is_greater_better(best)


def is_greater_better(metric_name: str) -> bool:
    """Tells by its name whether a metric is a score, better if greater, or an error."""
    name = metric_name.lower()
    return name != "character" and not any(word in _LOWER_IS_BETTER for word in re.split(r"[\W_]", name))


def _decide(prediction: EvalPrediction, problem_type: str, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Turns a model's outputs into the classes or numbers that metrics compare, without rows that have no label."""
    outputs = prediction.predictions
    logits = np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)
    references = np.asarray(prediction.label_ids)
    if not np.isfinite(logits).all():
        raise ValueError(
            "The model's outputs have values that are not finite numbers: training has diverged. Lower "
            "`learning_rate` or `max_grad_norm`, or train in a wider number format than fp16."
        )
    if problem_type == SINGLE_LABEL:
        predictions = logits.argmax(axis=-1)
    elif problem_type == MULTI_LABEL:
        predictions, references = (logits > 0).astype(int), references.astype(int)
    else:
        shape = (-1, num_labels) if num_labels > 1 else (-1,)
        predictions, references = logits.reshape(shape).astype(float), references.reshape(shape).astype(float)
    has_label = _has_label(references)
    return predictions[has_label], references[has_label]


def _has_label(references: np.ndarray) -> np.ndarray:
    """Tells which rows have a label other than -100, of shape `(num_rows,)`."""
    return (references != _IGNORED).any(axis=tuple(range(1, references.ndim)))


def _name_results(name: str, results: dict[str, Any]) -> dict[str, float]:
    """Calls a metric's single result by the metric's name, so that `f1` and `f1_micro` can stand side by side."""
    if len(results) == 1:
        return {name: next(iter(results.values()))}
    return results


def _check_average(average: str) -> str:
    if average not in AVERAGES:
        raise ValueError(
            f"`average` is {average!r}, but must be one of {listing(AVERAGES)}.{nearest_name(average, AVERAGES)}"
        )
    return average


def _count_by_class(predicted: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts how often each class is rightly predicted, predicted and expected, each of shape `(num_classes,)`."""
    if predicted.ndim == 2:
        is_predicted, is_expected = predicted > 0, expected > 0
        counts = (is_predicted & is_expected).sum(axis=0), is_predicted.sum(axis=0), is_expected.sum(axis=0)
        return counts[0].astype(float), counts[1].astype(float), counts[2].astype(float)
    classes, indices = np.unique(np.concatenate([predicted, expected]), return_inverse=True)
    predicted_index, expected_index = np.split(indices, 2)

    def count(values: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.bincount(values, minlength=len(classes)).astype(float)

    return count(expected_index[predicted_index == expected_index]), count(predicted_index), count(expected_index)


def _divide(numerator: Any, denominator: Any) -> Any:
    """Divides; a division by zero gives 0."""
    is_zero = np.equal(denominator, 0)
    return np.where(is_zero, 0.0, numerator / np.where(is_zero, 1.0, denominator))


def _correlate(first: np.ndarray, second: np.ndarray) -> float:
    # The mean of equal numbers may be another number, so that something seems to vary.
    if (first == first[0]).all() or (second == second[0]).all():
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    return float(_divide((first * second).sum(), np.sqrt((first**2).sum() * (second**2).sum())))


def _rank(values: np.ndarray) -> np.ndarray:
    """Ranks values; equal ones share the mean of their ranks."""
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[indices]
