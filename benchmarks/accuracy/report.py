"""
Writes the table of results from what `run.py` recorded.

    python benchmarks/accuracy/report.py --results runs/accuracy --output docs/results.md --readme README.md

Data sets without results stay in the table with a dash.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.accuracy.protocols import PROTOCOLS, Protocol
from benchmarks.common.tables import (
    MISSING,
    command,
    describe_runs,
    format_spread,
    load_results,
    replace_between,
    table,
)

PROGRAM = "benchmarks/accuracy/run.py"
README_START, README_END = "<!-- results: start -->", "<!-- results: end -->"
INTRODUCTION = """\
# Measured results

This file is written by `benchmarks/accuracy/report.py`; every figure comes from a run of the command beside it.

Accuracy on the test part in percent, trained from scratch on that data set alone: the mean over the seeds ± their
standard deviation. All settings were chosen on dev data. *Linear* is TF-IDF of word 1–2-grams (of character 1–3-grams
for Chinese) with a linear support vector machine whose C was chosen on the same dev data, in the same run. *Naive
LSTM* is one bidirectional layer with max pooling and dropout 0.5 (one seed). *Bar* is what the model must reach and
*goal* what is aimed at. *Minutes* are those of one seed (of one fold, where there are folds), with training of the
tokenizer and evaluation.

The data are made by `python benchmarks/accuracy/prepare.py --source DIR --output data/accuracy`.
"""


def expected_folds(protocol: Protocol) -> set[int | None]:
    """Returns the folds that a complete result has; `None` stands for the one fixed split."""
    return {*protocol.folds} if protocol.folds else {None}


def seed_means(results: dict[str, Any], protocol: Protocol, figure: str) -> list[float]:
    """
    Returns a figure of each seed, averaged over the folds; a seed with missing folds is left out.

    Args:
        results (`dict[str, Any]`): What `run.py` recorded.
        protocol (`Protocol`): The protocol, whose folds count.
        figure (`str`): Which figure.
    """
    folds = expected_folds(protocol)
    by_seed: dict[int, dict[int | None, float]] = {}
    for run in results["runs"]:
        by_seed.setdefault(run["seed"], {})[run["fold"]] = run[figure]
    return [mean(values.values()) for _, values in sorted(by_seed.items()) if set(values) == folds]


def baseline_mean(results: dict[str, Any], protocol: Protocol, figure: str = "accuracy") -> str:
    """Writes a figure of the linear baseline, the mean over the folds."""
    by_fold = {baseline["fold"]: baseline[figure] for baseline in results["baselines"]}
    if set(by_fold) != expected_folds(protocol):
        return MISSING
    return f"{mean(by_fold.values()):.1f}"


def summary_row(protocol: Protocol, results: dict[str, Any] | None) -> list[str]:
    """Writes one data set's line of the summary."""
    naive = MISSING if protocol.naive_lstm is None else f"{protocol.naive_lstm:.1f}"
    against = [naive, f"{protocol.bar:.1f}", f"{protocol.goal:.1f}"]
    if results is None:
        return [protocol.title, MISSING, MISSING, *against, MISSING]
    minutes = [run["minutes"] for run in results["runs"]]
    return [
        protocol.title,
        format_spread(seed_means(results, protocol, "accuracy")),
        baseline_mean(results, protocol),
        *against,
        f"{mean(minutes):.1f}" if minutes else MISSING,
    ]


def details(protocol: Protocol, results: dict[str, Any]) -> str:
    """Writes one data set's section: rule, further figures, seeds, command, and what it was measured on."""
    figures: dict[str, str] = {"accuracy": "accuracy", "macro_f1": "macro-F1", "dev_accuracy": "dev accuracy"}
    if protocol.unseen:
        figures |= {"unseen_accuracy": "accuracy, unseen texts", "unseen_macro_f1": "macro-F1, unseen texts"}
    rows = []
    for figure, title in figures.items():
        values = seed_means(results, protocol, figure)
        seeds = ", ".join(f"{value:.2f}" for value in values) or MISSING
        rows.append([title, format_spread(values), seeds, baseline_mean(results, protocol, figure)])
    output = f"runs/accuracy/{protocol.name}"
    return (
        f"## {protocol.title}\n\n"
        f"Protocol: {protocol.rule}. Recipe: [`{results['recipe']}`](../{results['recipe']}).\n\n"
        f"{table(['', 'mean ± sd', 'each seed', 'linear'], rows)}\n"
        f"```bash\n{command(PROGRAM, results, output)}\n```\n\n"
        f"{describe_runs(results)}"
    )


def write_results(results: dict[str, dict[str, Any]]) -> str:
    """Writes the whole of `docs/results.md`."""
    headings = ["data", "hf_lstm", "linear", "naive LSTM", "bar", "goal", "minutes"]
    rows = [summary_row(protocol, results.get(name)) for name, protocol in PROTOCOLS.items()]
    sections = [details(PROTOCOLS[name], results[name]) for name in PROTOCOLS if results.get(name, {}).get("runs")]
    return "\n".join([INTRODUCTION, table(headings, rows), *sections])


def write_readme_table(results: dict[str, dict[str, Any]]) -> str:
    """Writes the short table of the README."""
    rows = []
    for name, protocol in PROTOCOLS.items():
        title, accuracy, linear, *_, minutes = summary_row(protocol, results.get(name))
        rows.append([title, accuracy, linear, minutes])
    return table(["data", "hf_lstm", "TF-IDF + linear", "minutes"], rows)


def main(args: list[str] | None = None) -> None:
    """Writes the tables."""
    parser = argparse.ArgumentParser(description="Writes the table of results from what run.py recorded.")
    parser.add_argument("--results", type=Path, default=Path("runs/accuracy"), help="folder of run.py's outputs")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"), help="file to write")
    parser.add_argument("--readme", type=Path, help="README whose table to replace as well")
    options = parser.parse_args(args)
    results = load_results(options.results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(write_results(results), encoding="utf-8")
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        text = replace_between(text, README_START, README_END, lambda: write_readme_table(results))
        options.readme.write_text(text, encoding="utf-8")
    print(f"Wrote {options.output}: {len(results)} of {len(PROTOCOLS)} data sets have results")


if __name__ == "__main__":
    main()
