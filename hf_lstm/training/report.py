"""A folder that shows how a training run went: its figures, its curve and its confusion matrix."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..hub.card_facts import write_json
from ..hub.model_card import CURVE_NAME
from .fonts import find_fonts, import_matplotlib, save_figure, shorten_text, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

METRICS_NAME = "metrics.json"
CONFUSION_NAME = "confusion_matrix.png"
_MAX_NAME_LENGTH = 18
_MAX_CELLS_WITH_NUMBERS = 40
_LOSS_COLOR, _EVAL_COLOR, _METRIC_COLOR = "#9aa5b1", "#1f4e79", "#c2571a"


def write_report(
    directory: str | Path,
    *,
    metrics: dict[str, Any],
    log_history: Sequence[dict[str, float]],
    metric_name: str,
    labels: Sequence[int] | np.ndarray | None = None,
    predictions: Sequence[int] | np.ndarray | None = None,
    label_names: Sequence[str] = (),
    examples: Sequence[dict[str, Any]] = (),
) -> list[Path]:
    """
    Writes a report of a training run.

    `metrics.json` holds the figures, the log, the label names by number and the examples. `training_curve.png` shows
    the losses and the metric by epoch if there is a log, and `confusion_matrix.png` which labels are taken for
    which if there are predictions of single labels.

    Args:
        directory (`str` or `Path`): The folder, made if needed.
        metrics (`dict[str, Any]`): The figures.
        log_history (`Sequence[dict[str, float]]`): `trainer.state.log_history`; empty if nothing was trained.
        metric_name (`str`): The metric that picks the best checkpoint, without `eval_`.
        labels (`Sequence[int]` of shape `(num_rows,)`, *optional*): The right classes.
        predictions (`Sequence[int]` of shape `(num_rows,)`, *optional*): The predicted classes.
        label_names (`Sequence[str]`): Names of the classes.
        examples (`Sequence[dict]`): Some texts with their right and predicted labels.

    Returns:
        `list[Path]`: The files written.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import_matplotlib()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "metrics": metrics,
        "label_names": dict(enumerate(label_names)),
        "examples": list(examples),
        "log_history": list(log_history),
    }
    written = [directory / METRICS_NAME]
    write_json(written[0], content)
    if any("loss" in entry or "eval_loss" in entry for entry in log_history):
        written.append(directory / CURVE_NAME)
        save_figure(draw_training_curve(log_history, metric_name), written[-1])
    if labels is not None and predictions is not None and len(label_names) > 1:
        counts = count_confusions(np.asarray(labels), np.asarray(predictions), len(label_names))
        written.append(directory / CONFUSION_NAME)
        save_figure(draw_confusion_matrix(counts, label_names), written[-1])
    return written


def count_confusions(labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> np.ndarray:
    """
    Counts how often each class (row) is taken for each class (column).

    Args:
        labels (`np.ndarray` of shape `(num_rows,)`): The right classes; rows with -100 do not count.
        predictions (`np.ndarray` of shape `(num_rows,)`): The predicted classes.
        num_labels (`int`): Number of classes.

    Returns:
        `np.ndarray` of shape `(num_labels, num_labels)`: The counts.
    """
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            f"A confusion matrix needs one class per row, but labels are of shape {labels.shape} and predictions of "
            f"shape {predictions.shape}."
        )
    pairs = (labels * num_labels + predictions)[labels != -100]
    return np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)


def draw_training_curve(log_history: Sequence[dict[str, float]], metric_name: str) -> "Figure":
    """
    Draws the training and evaluation losses on the left axis and the metric on the right one, by epoch.

    Args:
        log_history (`Sequence[dict[str, float]]`): `trainer.state.log_history`.
        metric_name (`str`): The metric, without `eval_`.
    """
    _, figure_class, _ = import_matplotlib()
    figure = figure_class(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    lines = [
        *_plot(axes, log_history, "loss", label="training loss", color=_LOSS_COLOR, linewidth=1.2),
        *_plot(axes, log_history, "eval_loss", label="validation loss", color=_EVAL_COLOR, marker="o", markersize=4),
    ]
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e7eb")
    key = f"eval_{metric_name}"
    if metric_name != "loss" and any(key in entry for entry in log_history):
        right = axes.twinx()
        right.set_ylabel(f"validation {metric_name}")
        lines += _plot(right, log_history, key, label=f"validation {metric_name}", color=_METRIC_COLOR, marker="s")
    for side in figure.axes:
        side.spines[["top"]].set_visible(False)
        side.set_axisbelow(True)
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False)
    return figure


def draw_confusion_matrix(counts: np.ndarray, label_names: Sequence[str]) -> "Figure":
    """
    Draws which classes are taken for which, shaded by the share of the right class's rows.

    Where no installed font has the letters of a name, the class's number stands in its place.

    Args:
        counts (`np.ndarray` of shape `(num_labels, num_labels)`): Rows are right classes, columns predicted ones.
        label_names (`Sequence[str]`): Names of the classes.
    """
    _, figure_class, _ = import_matplotlib()
    num_labels = len(label_names)
    size = min(max(4.5, 2.5 + 0.42 * num_labels), 20)
    figure = figure_class(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, fraction=0.04, label="share of the right label's rows")
    fonts, missing = find_fonts(label_names)
    names = [
        f"label {number}" if missing & set(name) else shorten_text(name, _MAX_NAME_LENGTH)
        for number, name in enumerate(map(str, label_names))
    ]
    if missing:
        logger.warning(
            "No installed font has the letters %s: labels with them appear by number, as listed in %s.",
            "".join(sorted(missing)[:10]),
            METRICS_NAME,
        )
    style: dict[str, Any] = {"fontfamily": fonts, "fontsize": 10 if num_labels <= 20 else 9, "parse_math": False}
    is_upright = num_labels <= 4 or max(map(text_width, names)) <= 3
    rotation: dict[str, Any] = (
        {"rotation": 0} if is_upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    )
    axes.set_xticks(range(num_labels), names, **rotation, **style)
    axes.set_yticks(range(num_labels), names, **style)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    if num_labels <= _MAX_CELLS_WITH_NUMBERS:
        _write_counts(axes, counts, shares)
    return figure


def _plot(axes: "Axes", log_history: Sequence[dict[str, float]], key: str, **style: Any) -> list[Any]:
    points = [(entry["epoch"], entry[key]) for entry in log_history if key in entry and "epoch" in entry]
    return axes.plot(*zip(*points, strict=True), **style) if points else []


def _write_counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    # Cells get no wider than 0.42 inch; a number's digits must fit into that.
    digits = len(str(counts.max()))
    size = min(9.0, 24 / max(digits, 2)) if len(counts) > 4 else 12
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.55 else "#1f2933"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=size)
