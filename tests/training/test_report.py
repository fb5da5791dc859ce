import json
import subprocess
import sys

import numpy as np
import pytest

from hf_lstm.training import report
from hf_lstm.training.fonts import save_figure
from hf_lstm.training.report import (
    CONFUSION_NAME,
    CURVE_NAME,
    METRICS_NAME,
    count_confusions,
    draw_confusion_matrix,
    draw_training_curve,
    write_report,
)

LOG = [
    {"loss": 0.9, "epoch": 0.5},
    {"loss": 0.7, "epoch": 1.0},
    {"eval_loss": 0.8, "eval_accuracy": 0.6, "epoch": 1.0},
    {"eval_loss": 0.6, "eval_accuracy": 0.7, "epoch": 2.0},
    {"train_runtime": 3.0, "epoch": 2.0},
]
PNG = b"\x89PNG\r\n"


def test_report_writes_figures_curve_and_matrix(tmp_path):
    written = write_report(
        tmp_path / "report",
        metrics={"accuracy": np.float32(0.5), "loss": float("nan")},
        log_history=LOG,
        metric_name="accuracy",
        labels=[0, 1, 1],
        predictions=[0, 1, 0],
        label_names=["好", "bad"],
        examples=[{"text": "电影", "score": np.float64(0.25)}],
    )
    content = json.loads((tmp_path / "report" / METRICS_NAME).read_text(encoding="utf-8"))

    assert [path.name for path in written] == [METRICS_NAME, CURVE_NAME, CONFUSION_NAME]
    assert all(path.read_bytes().startswith(PNG) for path in written[1:])
    assert content["metrics"] == {"accuracy": 0.5, "loss": None}
    assert content["label_names"] == {"0": "好", "1": "bad"}
    assert content["examples"] == [{"text": "电影", "score": 0.25}]


def test_report_without_log_or_classes_writes_figures_only(tmp_path):
    written = write_report(tmp_path, metrics={"mse": 1.5}, log_history=[], metric_name="mse")

    assert [path.name for path in written] == [METRICS_NAME]
    assert sorted(path.name for path in tmp_path.iterdir()) == [METRICS_NAME]


def test_report_leaves_matplotlib_settings_and_pyplot_alone(tmp_path):
    script = (
        "import sys, matplotlib; matplotlib.use('svg')\n"
        "before = dict(matplotlib.rcParams)\n"
        "from hf_lstm.training.report import write_report\n"
        f"write_report({str(tmp_path)!r}, metrics={{}}, log_history={LOG}, metric_name='accuracy',\n"
        "             labels=[0, 1], predictions=[1, 1], label_names=['a', 'b'])\n"
        "assert dict(matplotlib.rcParams) == before and matplotlib.get_backend() == 'svg'\n"
        "import matplotlib.pyplot as plt; assert plt.get_fignums() == []\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / CURVE_NAME).read_bytes().startswith(PNG)


def test_curve_shows_losses_and_metric_on_two_axes():
    left, right = draw_training_curve(LOG, "accuracy").axes

    assert [list(line.get_ydata()) for line in left.lines] == [[0.9, 0.7], [0.8, 0.6]]
    assert [list(line.get_ydata()) for line in right.lines] == [[0.6, 0.7]]
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "validation accuracy")


def test_curve_of_loss_as_metric_has_one_axis():
    assert len(draw_training_curve(LOG, "loss").axes) == 1


def test_confusions_count_right_rows_and_predicted_columns():
    counts = count_confusions(np.array([0, 2, 2, -100, 1]), np.array([0, 1, 1, 2, 1]), 3)

    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match=r"shape \(2,\) and predictions of shape \(3,\)"):
        count_confusions(np.array([0, 1]), np.array([0, 1, 1]), 2)


@pytest.mark.parametrize("num_labels", [2, 15, 40])
def test_matrix_is_drawn_without_overlapping_numbers(num_labels, tmp_path):
    counts = np.full((num_labels, num_labels), 1234)
    figure = draw_confusion_matrix(counts, [f"a long label name {number}" for number in range(num_labels)])
    save_figure(figure, tmp_path / "matrix.png")
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts[:num_labels]]
    ticks = [label.get_window_extent() for label in axes.get_yticklabels()]

    assert len(axes.texts) == num_labels**2
    assert all(first.x1 < second.x0 for first, second in zip(boxes, boxes[1:], strict=False))
    assert all(first.y0 >= second.y1 or second.y0 >= first.y1 for first, second in zip(ticks, ticks[1:], strict=False))


def test_letters_without_font_appear_by_number(monkeypatch, caplog):
    monkeypatch.setattr(report, "find_fonts", lambda texts: (["DejaVu Sans"], {"好"}))
    axes = draw_confusion_matrix(np.eye(3, dtype=int), ["很好", "bad", "x" * 40]).axes[0]

    assert [label.get_text() for label in axes.get_yticklabels()] == ["label 0", "bad", "x" * 18 + "…"]
    assert "No installed font has the letters 好" in caplog.text


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib.*pip install 'hf_lstm\[train\]'"):
        write_report(tmp_path, metrics={}, log_history=[], metric_name="accuracy")


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    figure = draw_confusion_matrix(np.eye(2, dtype=int), ["$x_$", "from $5 to $9"])
    save_figure(figure, tmp_path / "matrix.png")
    ticks = [*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()]
    assert not any(tick.get_parse_math() for tick in ticks)
