"""
Writes the tables of results from what `run.py` recorded.

    python benchmarks/seq2seq/report.py --results runs/seq2seq --output docs/results_seq2seq.md --readme README.md

Tasks without results stay in the tables with a dash.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.tables import (
    MISSING,
    command,
    describe_runs,
    format_spread,
    load_results,
    replace_between,
    table,
)
from benchmarks.seq2seq.protocols import BLEU_FIGURES, PROTOCOLS, ROUGE_FIGURES, Held, Protocol

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = "benchmarks/seq2seq/run.py"
README_START, README_END = "<!-- seq2seq results: start -->", "<!-- seq2seq results: end -->"
USUAL_SEEDS = 2
FIGURES = {
    "bleu_lowercase": "BLEU, lower-cased",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}
BASELINES = {"lead": "lead", "nearest": "nearest neighbour"}
PREFIXES = {
    "": "",
    "unseen_": ", unseen sources",
    "each_human_": ", each human",
    "nearest_human_": ", nearest human",
}
INTRODUCTION = """\
# Measured results of generation

This file is written by `benchmarks/seq2seq/report.py`; every figure comes from a run of the command beside it.

All models are trained from scratch on that data set's training pairs alone (CSL: see there). The figures are
those of the test part: the mean over the seeds ± their standard deviation. All settings of the recipes were chosen on
validation data; so were, for each seed after training, the number of beams and the length penalty. Each test file was
then decoded once, unless a note says otherwise. BLEU and chrF are sacreBLEU's, with one reference; the signatures
stand below. *Bar* and *goal* are what the first figure must reach and what is aimed at. *Unseen sources* are the test
rows whose source is not in the training data, case and white space aside, where some are. *Minutes* are those of one
seed: training with that of the tokenizer, the evaluations, the choice of beams, and decoding of the test files.

*Lead* is the beginning of the text: so many words or characters of it, or of its first sentence. *Nearest neighbour*
is the target of the training text that is most similar by TF-IDF of n-grams of words (of characters for Chinese). Both
chose their settings on the same validation data, by the same score as the model its beams.

The data are made by `python benchmarks/seq2seq/prepare.py --source DIR --output data/seq2seq`.
"""
README_CAPTION = """\
Generated texts, mean ± standard deviation over the seeds; BLEU is sacreBLEU's. *Lead* is the beginning of the text,
*nearest* the summary of the most similar training text. [docs/results_seq2seq.md](docs/results_seq2seq.md) has the
protocol and every further figure.

"""


def is_translation(protocol: Protocol) -> bool:
    """Tells whether a task is scored by BLEU."""
    return protocol.main in BLEU_FIGURES


def values_of(results: dict[str, Any] | None, test: Held, figure: str) -> list[float]:
    """Returns a figure of each seed."""
    runs = results["runs"] if results else []
    return [run["tests"][test.name][figure] for run in runs if figure in run["tests"][test.name]]


def spread(values: Sequence[float]) -> str:
    """Writes mean ± standard deviation."""
    return format_spread(values, USUAL_SEEDS)


def baseline_of(results: dict[str, Any] | None, name: str, test: Held, figure: str) -> str:
    """Writes a figure of a baseline."""
    for job in results["baselines"] if results else []:
        if name in job["by_name"]:
            value = job["by_name"][name]["tests"][test.name].get(figure)
            return MISSING if value is None else f"{value:.1f}"
    return MISSING


def minutes_of(results: dict[str, Any] | None) -> str:
    """Writes the mean minutes of a run."""
    minutes = [run["minutes"] for run in results["runs"]] if results else []
    return f"{mean(minutes):.1f}" if minutes else MISSING


def number(value: float | None) -> str:
    """Writes a bar or a goal, if there is one."""
    return MISSING if value is None else f"{value:.1f}"


def translation_table(results: dict[str, dict[str, Any]]) -> str:
    """Writes the summary of the translation tasks, a line for each test file."""
    rows = []
    for name, protocol in PROTOCOLS.items():
        if is_translation(protocol):
            own = results.get(name)
            for test in protocol.tests:
                figures = [spread(values_of(own, test, figure)) for figure in BLEU_FIGURES]
                title = f"{protocol.title}, {test.title}"
                rows.append([title, *figures, number(test.bar), number(test.goal), minutes_of(own)])
    return table(["data", *(FIGURES[name] for name in BLEU_FIGURES), "bar", "goal", "minutes"], rows)


def summary_table(results: dict[str, dict[str, Any]]) -> str:
    """Writes the summary of the summarisation tasks, a line for each figure."""
    rows = []
    for name, protocol in PROTOCOLS.items():
        if not is_translation(protocol):
            own, test = results.get(name), protocol.tests[0]
            for figure in ROUGE_FIGURES:
                baselines = [baseline_of(own, baseline, test, figure) for baseline in BASELINES]
                model = spread(values_of(own, test, figure))
                rows.append([f"{protocol.title}, {FIGURES[figure]}", model, *baselines, minutes_of(own)])
    return table(["data", "hf_lstm", *BASELINES.values(), "minutes"], rows)


def figures_table(protocol: Protocol, test: Held, results: dict[str, Any]) -> str:
    """Writes every figure of a test file: the mean, each seed's, and those of the baselines."""
    rows = []
    for prefix, addition in PREFIXES.items():
        for name in protocol.figures:
            figure = f"{prefix}{name}"
            values = values_of(results, test, figure)
            if values:
                seeds = ", ".join(f"{value:.2f}" for value in values)
                baselines = [baseline_of(results, baseline, test, figure) for baseline in protocol.baselines]
                rows.append([f"{FIGURES[name]}{addition}", spread(values), seeds, *baselines])
    headings = ["", "mean ± sd", "each seed", *(BASELINES[name] for name in protocol.baselines)]
    return table(headings, rows)


def describe_overlap(overlap: dict[str, dict[str, int]]) -> str:
    """Writes what the splits share."""
    parts = [
        f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
        for name, counts in overlap.items()
    ]
    return "What the splits share, case and white space aside. " + "; ".join(parts) + ".\n"


def decoding_table(protocol: Protocol, results: dict[str, Any]) -> str:
    """Writes the validation score of every way to decode that was tried, the chosen ones in bold."""
    runs = results["runs"]
    rows = []
    for row, trial in enumerate(runs[0]["trials"]):
        setting = {name: value for name, value in trial.items() if name != "score"}
        penalty = f", length penalty {setting['length_penalty']:.1f}" if setting["num_beams"] > 1 else ""
        cells = []
        for run in runs:
            mark = "**" if run["decoding"] == setting else ""
            cells.append(f"{mark}{run['trials'][row]['score']:.2f}{mark}")
        rows.append([f"beams {setting['num_beams']}{penalty}", *cells])
    return table([f"{FIGURES[protocol.main]} on validation", *(f"seed {run['seed']}" for run in runs)], rows)


def curve_table(results: dict[str, Any]) -> str:
    """Writes the validation figure and loss after each epoch of training, as training itself decodes."""
    name = results["settings"]["metric_name"]
    curves = [{round(point["epoch"], 2): point for point in run["curve"]} for run in results["runs"]]
    rows = []
    for epoch in sorted(set().union(*curves)):
        points = [curve.get(epoch) for curve in curves]
        cells = [MISSING if point is None else f"{point[name]:.1f} ({point['loss']:.3f})" for point in points]
        rows.append([f"{epoch:g}", *cells])
    heading = f"epoch: {FIGURES[name]} (loss) on validation"
    return table([heading, *(f"seed {run['seed']}" for run in results["runs"])], rows)


def describe_baselines(protocol: Protocol, results: dict[str, Any]) -> str:
    """Writes the settings that the baselines chose."""
    parts = []
    for job in results["baselines"]:
        for name in protocol.baselines:
            settings = ", ".join(f"{key} {value}" for key, value in job["by_name"][name]["settings"].items())
            parts.append(f"{BASELINES[name]}: {settings}")
    return f"Settings of the baselines: {'; '.join(parts)}.\n" if parts else ""


def recipe_note(path: Path) -> str:
    """Writes the comment that a recipe begins with."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return f"Note: {' '.join(line.removeprefix('#').strip() for line in lines)}\n"


def details(protocol: Protocol, results: dict[str, Any]) -> str:
    """Writes one task's section: rule, note, every figure, the choice of beams, the curve, command and machine."""
    signatures = "; ".join(
        f"{FIGURES[name]} `{signature}`" for name, signature in results["runs"][0]["signatures"].items()
    )
    tests = [
        f"### {protocol.title}, {test.title}\n\n{figures_table(protocol, test, results)}" for test in protocol.tests
    ]
    parameters = results["runs"][0]["num_parameters"] / 1e6
    output = f"runs/seq2seq/{protocol.name}"
    parts = [
        f"## {protocol.title}\n",
        f"Protocol: {protocol.rule}. Recipe: [`{results['recipe']}`](../{results['recipe']}), {parameters:.1f} "
        "million parameters.\n",
        recipe_note(REPOSITORY / results["recipe"]),
        *tests,
        f"sacreBLEU's signatures: {signatures}.\n" if signatures else "",
        describe_overlap(results["overlap"]),
        describe_baselines(protocol, results),
        decoding_table(protocol, results),
        curve_table(results),
        f"```bash\n{command(PROGRAM, results, output)}\n```\n",
        describe_runs(results),
    ]
    return "\n".join(part for part in parts if part)


def write_results(results: dict[str, dict[str, Any]]) -> str:
    """Writes the whole of `docs/results_seq2seq.md`."""
    sections = [details(PROTOCOLS[name], results[name]) for name in PROTOCOLS if results.get(name, {}).get("runs")]
    return "\n".join([INTRODUCTION, translation_table(results), summary_table(results), *sections])


def write_readme_table(results: dict[str, dict[str, Any]]) -> str:
    """Writes the README's short table, of tasks with results: each test's main figure, or the three of a summary."""
    rows = []
    for name, protocol in PROTOCOLS.items():
        if name not in results:
            continue
        own = results[name]
        figures = [protocol.main] if is_translation(protocol) else list(protocol.figures)
        score = " / ".join(FIGURES[figure] for figure in figures).replace(" / ROUGE-", " / ")
        for test in protocol.tests:
            cells = []
            for values in [
                [spread(values_of(own, test, figure)) for figure in figures],
                *([baseline_of(own, baseline, test, figure) for figure in figures] for baseline in BASELINES),
            ]:
                cells.append(MISSING if set(values) == {MISSING} else " / ".join(values))
            title = protocol.title if len(protocol.tests) == 1 else f"{protocol.title}, {test.title}"
            rows.append([title, score, *cells, minutes_of(own)])
    return README_CAPTION + table(["data", "score", "hf_lstm", *BASELINES, "minutes"], rows)


def main(args: list[str] | None = None) -> None:
    """Writes the tables."""
    parser = argparse.ArgumentParser(description="Writes the tables of results from what run.py recorded.")
    parser.add_argument("--results", type=Path, default=Path("runs/seq2seq"), help="folder of run.py's outputs")
    parser.add_argument("--output", type=Path, default=Path("docs/results_seq2seq.md"), help="file to write")
    parser.add_argument("--readme", type=Path, help="README whose table to replace as well")
    options = parser.parse_args(args)
    results = load_results(options.results)
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        text = replace_between(text, README_START, README_END, lambda: write_readme_table(results))
        options.readme.write_text(text, encoding="utf-8")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(write_results(results), encoding="utf-8")
    print(f"Wrote {options.output}: {len(results)} of {len(PROTOCOLS)} tasks have results")


if __name__ == "__main__":
    main()
