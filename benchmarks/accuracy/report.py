"""
Writes the table of results from what `run.py` recorded.

    python benchmarks/accuracy/report.py --results runs/accuracy --output docs/results.md --readme README.md

Data sets without results stay in the table with a dash.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from protocols import PROTOCOLS, Protocol

MISSING = "–"
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


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """
    Reads every `results.json` in the folders below `folder`, by protocol.

    Raises:
        SystemExit: If two folders hold results of one protocol.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/results.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        if results["dev_only"]:
            continue
        name = results["protocol"]
        if name in found:
            raise SystemExit(f"Both {found[name]['path']} and {path} hold results of {name}. Leave one of them there.")
        found[name] = results | {"path": path}
    return found


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


def format_spread(values: list[float]) -> str:
    """Writes mean ± standard deviation, and how many seeds there were where they are not three."""
    if not values:
        return MISSING
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    seeds = "" if len(values) == 3 else f" ({len(values)} seeds)"
    return f"{mean(values):.1f} ± {stdev(values):.1f}{seeds}"


def baseline_mean(results: dict[str, Any], protocol: Protocol, figure: str = "accuracy") -> str:
    """Writes a figure of the linear baseline, the mean over the folds."""
    by_fold = {baseline["fold"]: baseline[figure] for baseline in results["baselines"]}
    if set(by_fold) != expected_folds(protocol):
        return MISSING
    return f"{mean(by_fold.values()):.1f}"


def command(results: dict[str, Any]) -> str:
    """Writes the command that gives these results."""
    run = results["runs"][0]
    seeds = " ".join(str(seed) for seed in sorted({run["seed"] for run in results["runs"]}))
    return (
        f"python benchmarks/accuracy/run.py --recipe {results['recipe']} --seeds {seeds} "
        f"--jobs {run['side_by_side']} --threads {run['threads']} --output runs/accuracy/{results['protocol']}"
    )


def table(headings: list[str], rows: Iterable[list[str]]) -> str:
    """Writes a Markdown table, its first column to the left and the others to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


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
    machine, run = results["machine"], results["runs"][0]
    versions = ", ".join(f"{package} {release}" for package, release in machine["versions"].items())
    return (
        f"## {protocol.title}\n\n"
        f"Protocol: {protocol.rule}. Recipe: [`{results['recipe']}`](../{results['recipe']}).\n\n"
        f"{table(['', 'mean ± sd', 'each seed', 'linear'], rows)}\n"
        f"```bash\n{command(results)}\n```\n\n"
        f"Each run had {run['threads']} threads, {run['side_by_side']} at a time, on {machine['processor']} "
        f"({machine['processors']} processors, {machine['memory_gib']} GiB; {machine['system']}, Python "
        f"{machine['python']}; {versions}).\n"
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


def replace_between(text: str, start: str, end: str, make: Callable[[], str]) -> str:
    """
    Replaces what stands between two marks.

    Raises:
        SystemExit: If one of the marks is not there.
    """
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise SystemExit(f"The README does not hold the marks {start} and {end}.")
    return f"{before}{start}\n{make()}{end}{after}"


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
