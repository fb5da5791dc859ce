"""`hf-lstm evaluate`: scores a saved model on labelled data by the metrics of its task."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.checks import InputError, check_output_file
from ..data.text_noise import KINDS, TextNoise
from .parser import (
    GENERATION_FLAGS,
    CommandParser,
    add_batch_flags,
    add_command,
    add_generation_flags,
    add_model_flags,
    reject_flags,
    required,
)

if TYPE_CHECKING:
    from .inference.saved_model import SavedModel

TASKS = ("translation", "summarization", "text2text", "autoencode")
_DATA_FLAGS = (
    "text_column_names",
    "text_column_delimiter",
    "text_pair_column_name",
    "label_column_name",
    "label_delimiter",
)
_CLASSIFIER_FLAGS = (*_DATA_FLAGS, "noise_kinds", "noise_rates", "noise_plot")
_SEQ2SEQ_FLAGS = (
    "task",
    "test_target_file",
    "source_column_name",
    "target_column_name",
    "source_lang",
    "target_lang",
    "bleu_tokenize",
)
_DESCRIPTION = """\
Scores a saved model on labelled data, by the metrics that its training reports.

A classifier gets accuracy, F1 and others, or the errors of a regression; an encoder-decoder BLEU, ROUGE or the exact
match, by its task. The figures are printed as a table; --output writes them as JSON. --noise_kinds scores a
classifier on ever more disturbed texts as well."""
_EXAMPLES = """\
  hf-lstm evaluate my_classifier --test_file test.csv
  hf-lstm evaluate my_translator --test_file test.de --test_target_file test.en --num_beams 5
  hf-lstm evaluate my_classifier --test_file test.csv --metric_name f1_weighted --output scores.json
  hf-lstm evaluate my_classifier --test_file test.csv --noise_kinds typo ocr --noise_plot noise.png"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "evaluate", run, "Score a model on labelled data.", _DESCRIPTION, _EXAMPLES)
    add_model_flags(parser)
    parser.add_argument("--test_file", metavar="FILE", help="Labelled data: csv, tsv, json, jsonl, parquet or lines.")
    parser.add_argument("--metric_name", help="A further metric, such as f1_weighted or rougeL.")
    parser.add_argument("--output", metavar="FILE", help="Where to write the figures as JSON.")
    add_batch_flags(parser)
    group = parser.add_argument_group("data of a classifier")
    group.add_argument("--text_column_names", nargs="*", help="Joined to the text; text or sentence by default.")
    group.add_argument("--text_column_delimiter", help="Written between joined columns; a space by default.")
    group.add_argument("--text_pair_column_name", help="Column of the second text, for pairs.")
    group.add_argument("--label_column_name", help="Column of the label; label by default.")
    group.add_argument("--label_delimiter", help="What separates several labels in one cell.")
    group = parser.add_argument_group("noise on the texts of a classifier")
    group.add_argument(
        "--noise_kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; nothing after it for all."
    )
    group.add_argument(
        "--noise_rates", nargs="*", help="Shares of characters to disturb; 0 0.05 0.1 0.2 0.3 by default."
    )
    group.add_argument("--noise_plot", metavar="FILE", help="Where to draw the scores against the noise (png).")
    group = parser.add_argument_group("data of an encoder-decoder")
    group.add_argument("--task", choices=TASKS, help="Chooses the metrics; by default what the model was trained for.")
    group.add_argument("--test_target_file", metavar="FILE", help="Targets, one in each line.")
    group.add_argument("--source_column_name", help="Column of the sources.")
    group.add_argument("--target_column_name", help="Column of the targets.")
    group.add_argument("--source_lang", help="Key of the sources in a column `translation`, such as de.")
    group.add_argument("--target_lang", help="Key of the targets, such as en.")
    group.add_argument("--bleu_tokenize", help="sacreBLEU's tokenizer; zh for Chinese, char for Japanese, else 13a.")
    add_generation_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the scores."""
    num_processes = os.environ.get("WORLD_SIZE", "1")
    if num_processes != "1":
        raise InputError(
            f"`hf-lstm evaluate` was started in {num_processes} processes, but runs in one. Start it without torchrun "
            "or accelerate launch."
        )
    from .inference.saved_model import CLASSIFIER, SEQ2SEQ, load_saved_model

    name = required(arguments, "model", "MODEL, a folder or a name on the Hub,")
    required(arguments, "test_file", "--test_file, the labelled data,")
    if arguments.metric_name in ("loss", "eval_loss"):
        raise InputError(
            f"`metric_name` is {arguments.metric_name!r}, but this command scores what a model says, without a loss. "
            "Name a metric such as f1_weighted, or leave it out."
        )
    _check_outputs(arguments)
    saved = load_saved_model(name, "evaluate", (CLASSIFIER, SEQ2SEQ), arguments.revision, arguments.device)
    if saved.kind == CLASSIFIER:
        reject_flags(arguments, (*_SEQ2SEQ_FLAGS, *GENERATION_FLAGS), f"{name!r} is a classifier")
        noise_rates = _read_noise_rates(arguments)
        results = _evaluate_classifier(saved, arguments, noise_rates)
    else:
        reject_flags(arguments, _CLASSIFIER_FLAGS, f"{name!r} is an encoder–decoder")
        results = _evaluate_writer(saved, arguments)
    results = {"model": name, "test_file": arguments.test_file, **results}
    if arguments.output is not None:
        _write_json(Path(arguments.output), results)
    print(format_table({"num_rows": results["num_rows"], **results["metrics"]}))
    if "noise" in results:
        _show_noise(results["noise"], arguments.noise_plot)


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Makes sure that what is written has files of its own, and can be written, before time is spent on it."""
    from .inference.rows import check_output

    flags = [flag for flag in ("output", "noise_plot") if getattr(arguments, flag) is not None]
    for flag in flags:
        for source in (arguments.test_file, arguments.test_target_file):
            if source is not None:
                check_output(getattr(arguments, flag), source)
        check_output_file(getattr(arguments, flag), flag)
    if len({Path(getattr(arguments, flag)).resolve() for flag in flags}) < len(flags):
        raise InputError(
            f"--output and --noise_plot are both {arguments.output!r}, but must be two files. Name another one."
        )


def format_table(figures: dict[str, Any]) -> str:
    """Writes figures below each other, with their names before them."""
    width = max(map(len, figures))
    cells = {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in figures.items()}
    return "\n".join(f"{name:<{width}}  {cell}" for name, cell in cells.items())


def _evaluate_classifier(
    saved: "SavedModel", arguments: argparse.Namespace, noise_rates: list[float]
) -> dict[str, Any]:
    import numpy as np
    from transformers import EvalPrediction

    from ..training.arguments import DataArguments
    from ..training.metrics import classification_metrics
    from ..training.noise_curve import measure_noise_curves
    from ..training.tasks.classification_data import LABELS, load_classification_data
    from .inference.predictor import Classifier

    has_pairs = arguments.text_pair_column_name is not None
    classifier = Classifier(saved, arguments.batch_size, arguments.max_length, has_pairs)
    scheme = classifier.scheme
    compute_metrics, metric_name, _ = classification_metrics(
        scheme.problem_type, scheme.num_labels, arguments.metric_name
    )
    given = {name: getattr(arguments, name) for name in _DATA_FLAGS if getattr(arguments, name) is not None}
    data_arguments = DataArguments(test_file=arguments.test_file, file_encoding=arguments.file_encoding, **given)
    test = load_classification_data(data_arguments, do_train=False, scheme=scheme).test
    assert test is not None  # it was asked for
    rows = test.remove_columns(LABELS).to_list()
    labels = np.asarray(test[LABELS][:])

    def score(rows: list[dict[str, str]]) -> dict[str, float]:
        with _progress_bar(len(rows), arguments) as bar:
            logits = classifier.logits(rows, bar.update)
        return compute_metrics(EvalPrediction(predictions=logits, label_ids=labels))

    results: dict[str, Any] = {"num_rows": len(rows), "metrics": score(rows)}
    if arguments.noise_kinds is not None:
        if metric_name not in results["metrics"]:
            raise InputError(f"`metric_name` is {metric_name!r}, which --noise_kinds cannot compute. Try 'accuracy'.")
        kinds = arguments.noise_kinds or KINDS
        curves = measure_noise_curves(rows, lambda noisy: score(noisy)[metric_name], kinds, noise_rates)
        results["noise"] = {"metric": metric_name, "rates": noise_rates, "scores": curves}
    return results


def _read_noise_rates(arguments: argparse.Namespace) -> list[float]:
    """Returns the rates of noise, and makes sure that all that is said about noise can be done."""
    if arguments.noise_kinds is None:
        reject_flags(arguments, ("noise_rates", "noise_plot"), "there is no --noise_kinds")
        return []
    from ..training.fonts import import_matplotlib
    from ..training.noise_curve import RATES

    for kind in arguments.noise_kinds:
        TextNoise(kind, [])
    if arguments.noise_plot is not None:
        import_matplotlib()
    try:
        rates = [float(rate) for rate in arguments.noise_rates or RATES]
    except ValueError:
        rates = [-1.0]
    if not all(0 <= rate <= 1 for rate in rates):
        raise InputError(
            f"`noise_rates` is {arguments.noise_rates!r}, but must be shares between 0 and 1, such as 0 0.1 0.2."
        )
    return rates


def _show_noise(noise: dict[str, Any], plot: str | None) -> None:
    """Prints the scores against the noise, and draws them where that is asked for."""
    from ..training.fonts import save_figure
    from ..training.noise_curve import draw_noise_curves, format_noise_table

    print(f"\n{noise['metric']} by the share of characters (or tokens) that are disturbed:")
    print(format_noise_table(noise["scores"], noise["rates"]))
    if plot is not None:
        save_figure(draw_noise_curves({"": noise["scores"]}, noise["rates"], noise["metric"]), Path(plot))


def _evaluate_writer(saved: "SavedModel", arguments: argparse.Namespace) -> dict[str, Any]:
    from transformers import EvalPrediction, set_seed

    from ..data.pair_columns import SOURCE, TARGET
    from ..training.generation_metrics import REPORTED, bleu_signatures, generation_metrics, score_texts
    from ..training.seq2seq_arguments import Seq2SeqDataArguments
    from ..training.tasks.seq2seq import NO_TEXT_SCORES
    from ..training.tasks.seq2seq_data import load_seq2seq_data
    from .inference.predictor import Writer, given_generation, make_generation_config

    task: Any = arguments.task or _trained_task(saved)
    metric_name, bleu_tokenize = arguments.metric_name, arguments.bleu_tokenize
    # What is wrong with a metric shows now, not after generation.
    compute_metrics, *_ = generation_metrics(
        task, saved.tokenizer, bleu_tokenize=bleu_tokenize, metric_name=metric_name
    )
    config = make_generation_config(saved.model, given_generation(arguments))
    writer = Writer(saved, arguments.batch_size, arguments.max_length, config)
    names = ("test_target_file", "source_column_name", "target_column_name", "source_lang", "target_lang")
    data_arguments = Seq2SeqDataArguments(
        task=task,
        test_file=arguments.test_file,
        file_encoding=arguments.file_encoding,
        **{name: getattr(arguments, name) for name in names},
    )
    test = load_seq2seq_data(data_arguments, do_train=False).test
    assert test is not None  # it was asked for
    rows, references = test.select_columns([SOURCE]).to_list(), test[TARGET][:]
    set_seed(arguments.seed or 0)
    with _progress_bar(len(rows), arguments) as bar:
        token_ids = writer.run(rows, bar.update)
    texts = saved.tokenizer.batch_decode(token_ids, skip_special_tokens=True)
    chosen = dict.fromkeys((*REPORTED[task], *([metric_name] if metric_name else [])))
    metrics: dict[str, Any] = score_texts(
        [name for name in chosen if name not in NO_TEXT_SCORES], texts, references, bleu_tokenize
    )
    if "token_accuracy" in chosen:
        labels = saved.tokenizer(text_target=references)
        labels = labels["input_ids"] if "labels" not in labels else labels["labels"]
        scores = compute_metrics(EvalPrediction(predictions=_pad(token_ids), label_ids=_pad(labels)))
        metrics["token_accuracy"] = scores["token_accuracy"]
    signatures = bleu_signatures(chosen, references, bleu_tokenize)
    metrics |= {f"{name}_signature": signature for name, signature in signatures.items()}
    return {"task": task, "num_rows": len(rows), "metrics": metrics}


def _trained_task(saved: "SavedModel") -> str:
    """Finds out what an encoder–decoder was trained for: from its run's settings, or else from its pipeline."""
    from ..models.pipelines_lstm import LstmSummarizationPipeline, LstmTranslationPipeline
    from ..training.checkpoints import SETTINGS_NAME

    path = Path(saved.name) / SETTINGS_NAME
    if path.exists():
        try:
            task = json.loads(path.read_text(encoding="utf-8")).get("task")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{str(path)!r} cannot be read: {error}. Name the --task, or mend the file.") from error
        if task in TASKS:
            return task
    # As a list, for the configuration denies those that are registered.
    pipelines = list(getattr(saved.model.config, "custom_pipelines", None) or ())
    names = {LstmTranslationPipeline.task_name: "translation", LstmSummarizationPipeline.task_name: "summarization"}
    return next((task for name, task in names.items() if name in pipelines), "text2text")


def _pad(token_ids: list[list[int]]) -> Any:
    """Makes an array of shape `(num_rows, length)`, padded with -100."""
    import numpy as np

    array = np.full((len(token_ids), max(map(len, token_ids))), -100, dtype=np.int64)
    for row, ids in zip(array, token_ids, strict=True):
        row[: len(ids)] = ids
    return array


def _progress_bar(num_rows: int, arguments: argparse.Namespace) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(total=num_rows, unit=" texts", file=sys.stderr, disable=bool(arguments.disable_tqdm))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    from ..hub.card_facts import format_json

    try:
        path.write_text(format_json(content), encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {str(path)!r}: {error.strerror or error}. Pass another --output.") from error
