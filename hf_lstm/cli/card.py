"""`hf-lstm card`: writes the model card of a saved folder from what its training recorded."""

import argparse
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..data.checks import InputError
from .parser import CommandParser, add_command, required

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from .inference.saved_model import SavedModel

logger = logging.getLogger(__name__)

TRAINING_ARGUMENTS_NAME = "training_args.bin"
_DESCRIPTION = """\
Writes the model card README.md of a saved folder anew: from the settings, the figures and the curve that its training
recorded there, the model itself, its measured latency, and what is said here."""
_EXAMPLES = """\
  hf-lstm card my_classifier --license_name apache-2.0 --languages en
  hf-lstm card my_translator --hub_id user/my_translator --dataset_name Multi30k --dataset_id bentrevett/multi30k
  hf-lstm card my_classifier --config card.yaml"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "card", run, "Write a saved model's card.", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="Folder of a saved model.")
    parser.add_argument("--hub_id", help="Where the model is to be found on the Hub, such as user/my_model.")
    parser.add_argument("--model_name", help="What the model is called; the folder's name by default.")
    parser.add_argument("--license_name", help="The weights' licence, such as apache-2.0.")
    parser.add_argument("--languages", nargs="*", help="ISO 639 codes of the texts, such as en zh.")
    parser.add_argument("--dataset_name", help="What the training data is called.")
    parser.add_argument("--dataset_id", help="The training data's name on the Hub, such as stanfordnlp/sst2.")
    parser.add_argument("--data_notes", help="More about the training data.")
    parser.add_argument("--base_model", help="The model on the Hub that training began with.")
    parser.add_argument("--limits", nargs="*", help="Further limits of the model, a sentence each.")
    parser.add_argument("--example_text", help="A text for the usage example.")


def run(arguments: argparse.Namespace) -> None:
    """Writes the card."""
    from ..hub.latency import measure_latency
    from ..hub.model_card import write_model_card
    from .inference.saved_model import CAUSAL, CLASSIFIER, SEQ2SEQ, load_saved_model

    folder = Path(required(arguments, "folder", "FOLDER, a saved model's,"))
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder. Name the folder of a saved model, such as my_model.")
    saved = load_saved_model(str(folder), "card", (CLASSIFIER, SEQ2SEQ, CAUSAL), device="cpu")
    said = {
        name: value
        for name, value in vars(arguments).items()
        if value is not None and name not in ("run", "config", "folder")
    }
    facts = collect_facts(folder, saved) | said
    if "dataset_name" not in facts:
        raise InputError(
            f"{str(folder)!r} has no record of what the model was trained on. Say what the data is called with "
            "--dataset_name."
        )
    example_text = facts.get("example_text")
    if example_text is not None:
        prefix = getattr(saved.model.config, "prefix", None) or ""
        facts["latency"] = measure_latency(saved.model, saved.tokenizer, prefix + example_text, facts["max_length"])
    try:
        path = write_model_card(folder, model=saved.model, **facts)
    except ValueError as error:
        raise InputError(str(error)) from error
    print(f"Wrote {path}.")


def collect_facts(folder: Path, saved: "SavedModel") -> dict[str, Any]:
    """
    Collects what a folder's records, and the card that it has, say about the model.

    Args:
        folder (`Path`): The folder.
        saved (`SavedModel`): The model in it.

    Returns:
        `dict[str, Any]`: Arguments of `write_model_card`.

    Raises:
        InputError: If a record cannot be read.
    """
    from ..training.checkpoints import SETTINGS_NAME
    from ..training.report import METRICS_NAME
    from ..training.tasks.common import TIMINGS, describe_data

    settings, report = _read_json(folder / SETTINGS_NAME), _read_json(folder / METRICS_NAME)
    metrics = report.get("metrics", {})
    split, prefix = ("test", "test_") if any(name.startswith("test_") for name in metrics) else ("validation", "eval_")
    figures = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    no_scores = (*TIMINGS, "generated_length")
    facts = {
        "task": settings.get("task"),
        "metrics": {k: v for k, v in figures.items() if k not in no_scores and isinstance(v, float)},
        "hyper_parameters": _hyper_parameters(folder, saved),
        "label_names": list(report.get("label_names", {}).values()),
        "split_name": split,
        "num_train_rows": metrics.get("num_train_samples"),
        "num_evaluation_rows": metrics.get(f"num_{split}_samples"),
        "max_length": settings.get("max_length") or settings.get("max_source_length"),
        "example_text": _find_example(report),
        "log_history": report.get("log_history", []),
        **_earlier_metadata(folder),
    }
    if settings:
        names = ("dataset_name", "train_file")
        data_arguments: Any = SimpleNamespace(**{name: settings.get(name) for name in names}, test_file=None)
        facts |= describe_data(data_arguments)
    given = {name: settings.get(name) for name in ("languages", "license_name")}
    return facts | {name: value for name, value in given.items() if value}


def _find_example(report: dict[str, Any]) -> str | None:
    """Returns the first text of the report that is more than blank."""
    texts = (example.get("text") or example.get("source") or "" for example in report.get("examples", []))
    return next((text for text in texts if text.strip()), None)


def _earlier_metadata(folder: Path) -> dict[str, Any]:
    """Returns what only the card itself records: languages that training made out, and what was added since."""
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    if not path.exists():
        return {}
    try:
        data = ModelCard.load(path).data
    except ValueError as error:
        raise InputError(f"The card {str(path)!r} cannot be read: {error}. Mend it, or delete it.") from error
    languages = [data.language] if isinstance(data.language, str) else data.language
    return {
        "languages": languages or (),
        "license_name": data.license,
        "base_model": data.base_model,
        "dataset_id": (data.datasets or [None])[0],
    }


def _hyper_parameters(folder: Path, saved: "SavedModel") -> dict[str, Any]:
    from ..training.tasks.common import (
        SHOWN_ARGUMENTS,
        SHOWN_CLASSIFICATION_ARGUMENTS,
        SHOWN_SEQ2SEQ_ARGUMENTS,
        plain,
    )
    from .inference.saved_model import CLASSIFIER, SEQ2SEQ

    training_arguments = _read_training_arguments(folder / TRAINING_ARGUMENTS_NAME)
    if training_arguments is None:
        return {}
    shown = {CLASSIFIER: SHOWN_CLASSIFICATION_ARGUMENTS, SEQ2SEQ: SHOWN_SEQ2SEQ_ARGUMENTS}
    names = shown.get(saved.kind, SHOWN_ARGUMENTS)
    values = {name: plain(getattr(training_arguments, name)) for name in names if hasattr(training_arguments, name)}
    if saved.kind == SEQ2SEQ:
        generation_config = saved.model.generation_config
        values |= {name: getattr(generation_config, name) for name in ("num_beams", "length_penalty", "max_length")}
    return values


def _read_training_arguments(path: Path) -> "TrainingArguments | None":
    """Reads the arguments that the trainer saved, without running code that a pickle may hold."""
    import pickle

    import torch
    from accelerate import DistributedType, PartialState
    from transformers.trainer_pt_utils import AcceleratorConfig
    from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy, SchedulerType
    from transformers.training_args import OptimizerNames

    from ..training.arguments import LstmTrainingArguments
    from ..training.seq2seq_arguments import LstmSeq2SeqTrainingArguments

    if not path.exists():
        return None
    classes = (LstmTrainingArguments, LstmSeq2SeqTrainingArguments, AcceleratorConfig, PartialState, DistributedType)
    enumerations = (HubStrategy, IntervalStrategy, SaveStrategy, SchedulerType, OptimizerNames)
    try:
        with torch.serialization.safe_globals([*classes, *enumerations]):
            return torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        logger.warning("%s is left out of the card, for it cannot be read: %s", path, str(error).partition("\n")[0])
        return None


def _read_json(path: Path) -> dict[str, Any]:
    """Reads a record; one that is missing says nothing."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}. Mend it, or delete it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{str(path)!r} must hold names and values. Mend it, or delete it.")
    return content
