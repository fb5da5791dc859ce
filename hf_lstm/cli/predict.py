"""`hf-lstm predict`: labels texts, or writes a text for each, and goes on where a stopped run left off."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..data.checks import check_output_file
from .parser import (
    GENERATION_FLAGS,
    SWITCH,
    CommandParser,
    add_batch_flags,
    add_command,
    add_generation_flags,
    add_model_flags,
    numbered_seed,
    reject_flags,
    required,
)

if TYPE_CHECKING:
    from .inference.predictor import Predictor, Row
    from .inference.processes import SharedWork
    from .inference.rows import RowSource
    from .inference.saved_model import SavedModel

# Rows that are sorted and written together. A run that goes on does so at a piece, so that it gives the same results.
PIECE_SIZE = 2048
_TEXT_FLAGS = ("text_column_names", "text_column_delimiter", "text_pair_column_name")
_SOURCE_FLAGS = ("source_column_name", "source_lang")
_DESCRIPTION = """\
Labels texts with a classifier, or writes a text for each with an encoder-decoder.

Texts come from --input or, a text in each line, from standard input. Results are JSON lines in the order of the texts:
`text`, `label`, `score` and `scores` of a classifier, `source` and `prediction` of an encoder-decoder.

With --output, a run that was stopped goes on after the rows it has written when it is started again. What they were
made with is kept beside the output, in a file that ends in .settings.json; another model or input is refused.

Processes that torchrun or accelerate launch starts share the texts; the first one reads and writes them."""
_EXAMPLES = """\
  hf-lstm predict my_classifier --input new.csv --output labels.jsonl
  hf-lstm predict my_translator --input new.de --output new.jsonl --num_beams 5
  echo "What a film!" | hf-lstm predict my_classifier"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "predict", run, "Label or rewrite texts with a model.", _DESCRIPTION, _EXAMPLES)
    add_model_flags(parser)
    parser.add_argument(
        "--input", metavar="FILE", help="Texts: csv, tsv, json, jsonl, parquet or txt; standard input by default."
    )
    parser.add_argument("--output", metavar="FILE", help="Where to write JSON lines; standard output by default.")
    parser.add_argument("--overwrite", **SWITCH, help="Whether to start over where the output exists.")
    add_batch_flags(parser)
    group = parser.add_argument_group("columns of a classifier's texts")
    group.add_argument("--text_column_names", nargs="*", help="Joined to the text; text or sentence by default.")
    group.add_argument("--text_column_delimiter", help="Written between joined columns; a space by default.")
    group.add_argument("--text_pair_column_name", help="The second text, for pairs.")
    group = parser.add_argument_group("columns of an encoder-decoder's texts")
    group.add_argument("--source_column_name", help="The sources; source, text, document or such by default.")
    group.add_argument("--source_lang", help="Their key in a column `translation`, such as de.")
    add_generation_flags(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes what the model says about each text."""
    from .inference.processes import SharedWork
    from .inference.saved_model import CLASSIFIER, SEQ2SEQ, load_saved_model

    name = required(arguments, "model", "MODEL, a folder or a name on the Hub,")
    if arguments.input is None:
        reject_flags(arguments, (*_TEXT_FLAGS, *_SOURCE_FLAGS), "texts of standard input have no columns")
    if arguments.output is None:
        reject_flags(arguments, ("overwrite",), "there is no --output")
    saved = load_saved_model(name, "predict", (CLASSIFIER, SEQ2SEQ), arguments.revision, arguments.device)
    predictor = make_predictor(saved, arguments)

    def work(rows: "list[Row]", progress: Callable[[int], Any]) -> tuple[list[dict[str, Any]], int]:
        return predictor.predict(rows, progress) if rows else [], predictor.num_cut

    with SharedWork(work) as share:
        if share is not None:
            _read_and_write(saved, predictor, share, arguments)


def _read_and_write(
    saved: "SavedModel", predictor: "Predictor", share: "SharedWork", arguments: argparse.Namespace
) -> None:
    """Goes through the input in the main process, on which all processes work."""
    from .inference.resumption import ResumableOutput
    from .inference.rows import check_output, open_rows

    check_output(arguments.output, arguments.input)
    if arguments.output is not None:
        check_output_file(arguments.output, "output")
    source = open_rows(arguments, saved.kind)
    if arguments.output is None:
        _write_all(predictor, share, source, None, arguments)
        return
    settings = _settings(saved, predictor, source.digest, arguments)
    if _is_sampling(predictor) and share.num_processes > 1:
        settings["num_processes"] = share.num_processes  # by which other tokens are drawn
    output = ResumableOutput(arguments.output, settings, bool(arguments.overwrite))
    try:
        _write_all(predictor, share, source, output, arguments)
    finally:
        output.close()


def make_predictor(saved: "SavedModel", arguments: argparse.Namespace) -> "Predictor":
    """
    Makes what runs the model on rows of text, after checking that the arguments fit it.

    Args:
        saved (`SavedModel`): A classifier or an encoder–decoder.
        arguments (`argparse.Namespace`): With the flags of batches and of generation.
    """
    from .inference.predictor import Classifier, Writer, given_generation, make_generation_config
    from .inference.saved_model import CLASSIFIER

    if saved.kind == CLASSIFIER:
        reject_flags(arguments, (*_SOURCE_FLAGS, *GENERATION_FLAGS), f"{saved.name!r} is a classifier")
        has_pairs = arguments.text_pair_column_name is not None
        return Classifier(saved, arguments.batch_size, arguments.max_length, has_pairs)
    reject_flags(arguments, _TEXT_FLAGS, f"{saved.name!r} is an encoder–decoder")
    config = make_generation_config(saved.model, given_generation(arguments))
    return Writer(saved, arguments.batch_size, arguments.max_length, config)


def _write_all(
    predictor: "Predictor", share: "SharedWork", source: "RowSource", output: Any, arguments: argparse.Namespace
) -> None:
    """Goes through the input piece by piece; `output` is a `ResumableOutput`, or `None` for standard output."""
    import logging

    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers import set_seed

    num_rows = num_cut = 0
    with tqdm(total=source.num_rows, unit=" texts", file=sys.stderr, disable=bool(arguments.disable_tqdm)) as bar:
        for number, rows in enumerate(source.pieces(PIECE_SIZE)):
            num_done = 0 if output is None else output.check_written(rows)
            if num_done == len(rows):
                bar.update(num_done)
                continue
            num_rows += len(rows)
            if _is_sampling(predictor):
                # Each piece has a seed of its own, so that what is drawn does not depend on where a run went on.
                set_seed(numbered_seed(arguments.seed, number))
            outcomes = share(rows, bar.update)
            results = [result for part, _ in outcomes for result in part]
            num_cut = sum(count for _, count in outcomes)
            lines = [
                json.dumps(row | result, ensure_ascii=False)
                for row, result in zip(rows[num_done:], results[num_done:], strict=True)
            ]
            if output is None:
                sys.stdout.writelines(f"{line}\n" for line in lines)
                sys.stdout.flush()
            else:
                output.write(lines)
    if output is not None:
        output.check_end()
    if num_cut:
        logging.getLogger(__name__).warning(
            "%d of %d texts were cut to %d tokens; raise --max_length to read more.",
            num_cut,
            num_rows,
            predictor.max_length,
        )


def _is_sampling(predictor: "Predictor") -> bool:
    """Tells whether tokens are drawn by chance, because it is asked for or because the model was saved so."""
    config = getattr(predictor, "generation_config", None)
    return config is not None and bool(config.do_sample)


def _settings(
    saved: "SavedModel", predictor: "Predictor", digest: str | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Returns what must be the same for a stopped run to go on."""
    from .inference.rows import STANDARD_INPUT

    names = (*_TEXT_FLAGS, *_SOURCE_FLAGS, "file_encoding", *GENERATION_FLAGS)
    return {
        "model": saved.fingerprint(),
        "input": digest or STANDARD_INPUT,
        "max_length": predictor.max_length,
        **{name: getattr(arguments, name) for name in names},
    }
