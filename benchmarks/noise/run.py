"""
Measures how the accuracy of saved classifiers falls with noise on the texts, beside TF-IDF with a linear model.

    python benchmarks/noise/run.py --recipe benchmarks/accuracy/recipes/sst2.yaml --output runs/noise/sst2 \
        --models LSTM=runs/sst2/seed1 LSTM=runs/sst2/seed2 "LSTM, noise=runs/sst2_noise/seed1"

Models of one name are averaged. TF-IDF is trained twice on the recipe's training file: as it is, and with noise up to
`--train_noise_rate`, as models are by `--noise_rate`. All read the same disturbed test texts. `results.json`,
`table.md` and `noise.png` are written to the output folder.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.accuracy.run import read_recipe, resolve
from benchmarks.accuracy.single_run import read_examples
from benchmarks.common.jobs import RESULTS, write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import table
from hf_lstm.cli.inference.predictor import Classifier
from hf_lstm.cli.inference.saved_model import CLASSIFIER, load_saved_model
from hf_lstm.data.text_noise import KINDS, TextNoise
from hf_lstm.training.baseline import fit_linear_baseline
from hf_lstm.training.fonts import save_figure
from hf_lstm.training.noise_curve import RATES, draw_noise_curves, measure_noise_curves

Curves = dict[str, list[float]]
Predict = Callable[[list[dict[str, str]]], Sequence[Any]]


def load_lstm(folder: str) -> Predict:
    """Returns what labels rows by a saved classifier."""
    classifier = Classifier(load_saved_model(folder, "evaluate", (CLASSIFIER,), None, "cpu"), batch_size=64)
    return lambda rows: [row["label"] for row in classifier.predict(rows, lambda number: None)]


def fit_tfidf(recipe: Mapping[str, Any], rate: float) -> Predict:
    """Returns what labels rows by TF-IDF with a linear model, trained on texts with noise up to a rate."""
    texts, labels = read_examples(recipe["train_file"])
    noise = TextNoise("mixed", texts)
    if rate > 0:
        texts = [noise(text, Random(row).uniform(0, rate), row) for row, text in enumerate(texts)]
    baseline = fit_linear_baseline(texts, labels, *read_examples(recipe["validation_file"]))
    return lambda rows: baseline.predict([row["text"] for row in rows])


def measure(predict: Predict, recipe: Mapping[str, Any], options: argparse.Namespace) -> Curves:
    """Returns the accuracy in percent on the test file, by kind and rate of noise."""
    texts, labels = read_examples(recipe["test_file"])
    rows = [{"text": text} for text in texts[: options.max_rows]]
    right = np.asarray(labels[: options.max_rows])

    def score(noisy: list[dict[str, str]]) -> float:
        return 100 * float((np.asarray([str(label) for label in predict(noisy)]) == right).mean())

    return measure_noise_curves(rows, score, options.kinds, options.rates)


def average(curves: Sequence[Curves]) -> Curves:
    """Returns the mean of several models' curves."""
    return {kind: np.mean([curve[kind] for curve in curves], axis=0).round(2).tolist() for kind in curves[0]}


def write_table(means: Mapping[str, Curves], rates: Sequence[float]) -> str:
    """Writes a Markdown table with a line for each kind of noise and model."""
    headings = ["noise", "model", *(f"{100 * rate:g} %" for rate in rates)]
    kinds = next(iter(means.values()))
    lines = [
        [kind, name, *(f"{score:.1f}" for score in curves[kind])] for kind in kinds for name, curves in means.items()
    ]
    return table(headings, lines)


def parse_options(args: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Measures accuracy against noise, beside TF-IDF.")
    parser.add_argument("--recipe", type=Path, required=True, help="recipe in benchmarks/accuracy that names the data")
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=FOLDER", help="saved classifiers")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--data", type=Path, default=Path("data/accuracy"), help="folder of the prepared data")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="kinds of noise")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="shares of characters")
    parser.add_argument("--train_noise_rate", type=float, default=0.3, help="noise that TF-IDF is also trained with")
    parser.add_argument("--max_rows", type=int, help="test on the first rows only")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Measures the models named on the command line."""
    options = parse_options(args)
    recipe, _ = read_recipe(options.recipe)
    recipe = resolve(recipe, options.data, None, dev_only=False)
    found: dict[str, list[Curves]] = defaultdict(list)
    for name, folder in (model.rsplit("=", 1) for model in options.models):
        found[name].append(measure(load_lstm(folder), recipe, options))
        print(f"{name} ({folder}): {found[name][-1]}", flush=True)
    for name, rate in (("TF-IDF", 0.0), ("TF-IDF, noise", options.train_noise_rate)):
        found[name].append(measure(fit_tfidf(recipe, rate), recipe, options))
    means = {name: average(curves) for name, curves in found.items()}
    options.output.mkdir(parents=True, exist_ok=True)
    results = {"rates": options.rates, "curves": found, "recipe": options.recipe.as_posix(), "rows": options.max_rows}
    write_json(options.output / RESULTS, results | {"machine": describe_machine()})
    written = write_table(means, options.rates)
    (options.output / "table.md").write_text(written, encoding="utf-8")
    panels = {kind: {name: curves[kind] for name, curves in means.items()} for kind in options.kinds}
    save_figure(draw_noise_curves(panels, options.rates, "accuracy, in percent"), options.output / "noise.png")
    print(written)


if __name__ == "__main__":
    main()
