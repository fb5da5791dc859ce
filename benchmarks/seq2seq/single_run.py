"""
One training run, or the baselines, in a process of its own. `run.py` starts it with a file that says what to do.

    python benchmarks/seq2seq/single_run.py DIRECTORY

`DIRECTORY/job.json` holds the job; the figures are written to `DIRECTORY/result.json` once they are all there, and the
hypotheses for each test file to `DIRECTORY/<test>.txt`. A run that was stopped after training goes on with the trained
model.
"""

import logging
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import write_lines
from benchmarks.common.jobs import JOB, RESULT, read_json, write_json
from benchmarks.seq2seq.data import as_released, held_files, read_examples, split_files
from benchmarks.seq2seq.protocols import PROTOCOLS, Protocol
from benchmarks.seq2seq.scores import Examples, comparable, score, score_unseen, signatures

if TYPE_CHECKING:
    from benchmarks.seq2seq.decoding import Decoding, Generator

TRAINED = "trained.json"


def read_arguments(job: dict[str, Any], directory: Path) -> tuple[Any, ...]:
    """Reads the recipe as the training script does; an interrupted training starts over, for its minutes count."""
    from hf_lstm.training.parsing import ArgumentReader
    from hf_lstm.training.seq2seq_arguments import (
        LstmSeq2SeqTrainingArguments,
        Seq2SeqDataArguments,
        Seq2SeqModelArguments,
    )

    recipe_file = directory / "recipe.yaml"
    recipe_file.write_text(yaml.safe_dump(job["recipe"], allow_unicode=True, sort_keys=False), encoding="utf-8")
    reader = ArgumentReader((Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments))
    return reader.read([str(recipe_file), f"--output_dir={directory / 'model'}", f"--seed={job['seed']}", "--restart"])


def train(arguments: tuple[Any, ...], directory: Path) -> dict[str, Any]:
    """
    Trains a model, unless that is done already.

    Args:
        arguments (`tuple`): Those of the training task.
        directory (`Path`): Folder of the run.

    Returns:
        `dict[str, Any]`: `training_minutes`, which cover all but the imports, `num_parameters`, and the `curve`: the
        figures of each evaluation.
    """
    from hf_lstm.training.tasks.seq2seq import run

    if (directory / TRAINED).exists():
        return read_json(directory / TRAINED)
    start = time.perf_counter()
    result = run(*arguments)
    trained = {"training_minutes": (time.perf_counter() - start) / 60, "num_parameters": result.model.num_parameters()}
    for checkpoint in result.output_dir.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    trained["curve"] = read_curve(read_json(result.output_dir / "metrics.json")["log_history"])
    write_json(directory / TRAINED, trained)
    return trained


def read_curve(log_history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Returns the figures of each evaluation, without how long it took."""
    return [
        {
            name.removeprefix("eval_"): value
            for name, value in entry.items()
            if name == "epoch" or (name.startswith("eval_") and not name.endswith(("runtime", "per_second")))
        }
        for entry in log_history
        if "eval_loss" in entry
    ]


def load_generator(model_directory: Path, data_arguments: Any) -> "Generator":
    """Loads the trained model in the way that anybody would."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    import hf_lstm  # noqa: F401  # makes the model known to the auto classes
    from benchmarks.seq2seq.decoding import Generator

    return Generator(
        AutoModelForSeq2SeqLM.from_pretrained(model_directory),
        AutoTokenizer.from_pretrained(model_directory),
        data_arguments.max_source_length,
        data_arguments.source_prefix,
    )


def measure_model(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Trains the recipe's model, chooses how to decode on validation data, and decodes each test file once."""
    from benchmarks.seq2seq.decoding import choose_decoding

    protocol = PROTOCOLS[job["protocol"]]
    arguments = read_arguments(job, directory)
    trained = train(arguments, directory)
    generator = load_generator(directory / "model", arguments[1])
    validation = read_examples(job["recipe"], split_files(job["recipe"], "validation"))
    start = time.perf_counter()
    # What other people said plays no part in the choice.
    own = Examples(validation.sources, validation.targets)
    decoding, trials = choose_decoding(
        generator, own.sources, lambda hypotheses: score(protocol, hypotheses, own)[protocol.main]
    )
    tests = {} if job["dev_only"] else measure_tests(job["recipe"], protocol, generator, decoding, directory)
    decoding_minutes = (time.perf_counter() - start) / 60
    return {
        "minutes": trained["training_minutes"] + decoding_minutes,
        "decoding_minutes": decoding_minutes,
        "decoding": asdict(decoding),
        "trials": trials,
        "validation": max(trial["score"] for trial in trials),
        "tests": tests,
        "signatures": signatures(protocol, own),
    } | trained


def measure_tests(
    recipe: dict[str, Any], protocol: Protocol, generator: "Generator", decoding: "Decoding", directory: Path
) -> dict[str, dict[str, float]]:
    """Decodes each test file, writes the hypotheses and returns their figures."""
    released = as_released(recipe)
    train_sources = read_examples(released, split_files(recipe, "train")).sources
    known = {comparable(source) for source in train_sources}
    figures = {}
    for test in protocol.tests:
        files = held_files(recipe, test.name)
        hypotheses = generator.generate(read_examples(recipe, files).sources, decoding)
        examples = read_examples(released, files)
        write_lines(directory / f"{test.name}.txt", hypotheses)
        unseen = score_unseen(protocol, hypotheses, examples, known)
        figures[test.name] = score(protocol, hypotheses, examples) | unseen
    return figures


def measure_baselines(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Measures the protocol's baselines on the same files, and writes their hypotheses."""
    from benchmarks.seq2seq import baselines

    recipe, protocol = as_released(job["recipe"]), PROTOCOLS[job["protocol"]]
    start = time.perf_counter()
    # The released training pairs, whatever else a model trains on.
    train_examples = read_examples(recipe, held_files(recipe, "train"))
    validation = read_examples(recipe, split_files(recipe, "validation"))
    held = () if job["dev_only"] else protocol.tests
    tests = {test.name: read_examples(recipe, held_files(recipe, test.name)) for test in held}
    figures, hypotheses = baselines.measure_baselines(protocol, train_examples, validation, tests)
    for name, by_test in hypotheses.items():
        for test, lines in by_test.items():
            write_lines(directory / f"{name}.{test}.txt", lines)
    return {"minutes": (time.perf_counter() - start) / 60, "by_name": figures}


def main(directory: Path) -> None:
    """Does the job in a directory."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for name in ("hf_lstm", "benchmarks"):
        logging.getLogger(name).setLevel(logging.INFO)
    job = read_json(directory / JOB)
    figures = measure_baselines(job, directory) if job["seed"] is None else measure_model(job, directory)
    write_json(directory / RESULT, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
