"""`hf-lstm card`: writes the model card of a saved folder from what its training recorded."""

import argparse
import logging
import reprlib
from pathlib import Path
from typing import Any

from ..data.checks import InputError
from .parser import CommandParser, add_command, required

logger = logging.getLogger(__name__)

# Fields of an earlier card's metadata that are kept, by the flag that says otherwise.
_REPLACED = {
    "languages": ("language",),
    "license_name": ("license", "license_name", "license_link"),
    "dataset_id": ("datasets",),
    "base_model": ("base_model",),
}
_TEST_DATA = "test data in a file of its own"
_DESCRIPTION = """\
Rewrites the model card README.md of a saved folder: from what its training recorded in card_facts.json, the model
itself, its measured latency, the languages, licence, data and base model that the card there names, and what is said
here, which comes first."""
_EXAMPLES = """\
  hf-lstm card my_classifier --license_name apache-2.0 --languages en
  hf-lstm card my_translator --hub_model_id user/my_translator --dataset_name Multi30k --dataset_id bentrevett/multi30k
  hf-lstm card my_classifier --config card.yaml"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "card", run, "Write a saved model's card.", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="Folder of a saved model.")
    parser.add_argument("--hub_model_id", help="Where the model is to be found on the Hub, such as user/my_model.")
    parser.add_argument("--model_name", help="What the model is called; the folder's name by default.")
    parser.add_argument("--license_name", help="The weights' licence, such as apache-2.0.")
    parser.add_argument("--languages", nargs="*", help="ISO 639 codes of the texts, such as en zh.")
    parser.add_argument("--dataset_name", help="What the training data is called.")
    parser.add_argument("--dataset_id", help="The training data's name on the Hub, such as stanfordnlp/sst2.")
    parser.add_argument(
        "--evaluation_dataset_name", help="What the data of the scores is called, if it is other than the training's."
    )
    parser.add_argument("--data_notes", help="More about the training data.")
    parser.add_argument("--base_model", help="The model on the Hub that training began with.")
    parser.add_argument("--limits", nargs="*", help="Further limits of the model, a sentence each.")
    parser.add_argument("--example_text", help="A text for the usage example.")
    parser.add_argument("--example_text_pair", help="The second text of a pair for the usage example.")


def run(arguments: argparse.Namespace) -> None:
    """Writes the card."""
    from ..hub.model_card import write_model_card
    from .inference.saved_model import CAUSAL, CLASSIFIER, SEQ2SEQ, TOKENS, load_saved_model

    folder = Path(required(arguments, "folder", "FOLDER, a saved model's,"))
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder. Name the folder of a saved model, such as my_model.")
    said = {
        name: value
        for name, value in vars(arguments).items()
        if value is not None and name not in ("run", "config", "folder")
    }
    if "evaluation_dataset_name" in said:
        said["evaluation_dataset_id"] = None
    try:
        metadata = read_metadata(folder)
        for name in said:
            for field in _REPLACED.get(name, ()):
                metadata.pop(field, None)
        facts = collect_facts(folder) | stated_facts(metadata) | said
        if "dataset_name" not in facts:
            raise InputError(
                f"{str(folder)!r} has no record of what the model was trained on. Say what the data is called with "
                "--dataset_name."
            )
        saved = load_saved_model(str(folder), "card", (CLASSIFIER, SEQ2SEQ, CAUSAL, TOKENS), device="cpu")
        path = write_model_card(folder, model=saved.model, tokenizer=saved.tokenizer, metadata=metadata, **facts)
    except ValueError as error:
        raise InputError(str(error)) from error
    print(f"Wrote {path}.")


def collect_facts(folder: Path) -> dict[str, Any]:
    """
    Collects what is known of a model besides what it itself tells: what its training recorded, or else what the
    trainer left there.

    Args:
        folder (`Path`): The model's folder.

    Returns:
        `dict[str, Any]`: Fields of `CardFacts`.

    Raises:
        ValueError: If a record cannot be read.
    """
    from ..hub.card_facts import FACTS_NAME, load_facts

    recorded = load_facts(folder)
    if recorded is not None:
        return dict(vars(recorded))
    logger.warning(
        "%s has no %s, which `hf-lstm train` writes: the card is made of what else is there, without the training's "
        "hyper-parameters.",
        folder,
        FACTS_NAME,
    )
    return _trainer_facts(folder)


def _trainer_facts(folder: Path) -> dict[str, Any]:
    """Reads the report of a training, or else what `Trainer` saves by itself."""
    from ..hub.card_facts import read_curve
    from ..training.checkpoints import SETTINGS_NAME
    from ..training.report import METRICS_NAME
    from ..training.tasks.card import describe_base, describe_data, pick_scores
    from ..training.tasks.seq2seq_outputs import describe_languages

    names = ("dataset_name", "train_file", "validation_file", "model_name_or_path", "source_lang", "target_lang")
    settings = _read_record(folder / SETTINGS_NAME, **dict.fromkeys(names, str))
    report = _read_record(folder / METRICS_NAME, metrics=dict, log_history=list, examples=list)
    metrics = report["metrics"] or _read_record(folder / "all_results.json")
    log_history = report["log_history"] or _read_record(folder / "trainer_state.json", log_history=list)["log_history"]
    split, scores = pick_scores(metrics)
    texts = [example.get("text") or example.get("source") for example in report["examples"]]
    facts = {
        "metrics": scores,
        "split_name": split,
        "has_macro_means": bool(report["metrics"]),
        "num_train_rows": metrics.get("num_train_samples"),
        "num_evaluation_rows": metrics.get(f"num_{split}_samples"),
        "curve": read_curve(log_history),
        "example_text": next((text for text in texts if isinstance(text, str) and text.strip()), None),
        "max_length": settings.get("max_length") or settings.get("max_source_length"),
        "reads_pairs": settings.get("text_pair_column_name") is not None,
        "task": settings.get("task"),
        **describe_languages(settings.get("languages"), settings["source_lang"], settings["target_lang"]),
        "license_name": settings.get("license_name"),
    }
    source = (settings["dataset_name"], settings["train_file"])
    if any(source):
        facts |= describe_data(*source) | describe_base(settings["model_name_or_path"] or None)
    if settings["train_file"]:
        # The name of a test file is not among the settings that a resumed run must have.
        file = _TEST_DATA if split == "test" else settings["validation_file"]
        facts["evaluation_dataset_name"] = Path(file).name or None
    return facts


def read_metadata(folder: Path) -> dict[str, Any]:
    """
    Reads what the card that is there says of languages, licence, data and base model, and is kept as it is.

    Args:
        folder (`Path`): The model's folder.

    Returns:
        `dict[str, Any]`: Fields of the metadata.

    Raises:
        InputError: If the card cannot be read.
    """
    import yaml
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    if not path.exists():
        return {}
    try:
        data = ModelCard.load(path).data
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"The card {str(path)!r} cannot be read: {error}. Mend it, or delete it.") from error
    found = {name: data.get(name) for names in _REPLACED.values() for name in names}
    # What YAML takes for "false" is Norwegian.
    languages = ["no" if language is False else language for language in _listed(found["language"])]
    found["language"] = languages if isinstance(found["language"], list) else (languages or [None])[0]
    return {name: value for name, value in found.items() if value}


def stated_facts(metadata: dict[str, Any]) -> dict[str, Any]:
    """
    Finds the facts that an earlier card's metadata states, where they are such as a card can tell in words.

    Args:
        metadata (`dict[str, Any]`): What `read_metadata` returns.

    Returns:
        `dict[str, Any]`: Fields of `CardFacts`.
    """
    from ..hub.card_facts import build_facts

    sources = _listed(metadata.get("datasets"))
    stated = {
        "languages": _listed(metadata.get("language")),
        "base_model": metadata.get("base_model"),
        "dataset_id": sources[0] if len(sources) == 1 else None,
    }
    for name, value in stated.items():
        try:
            build_facts(dataset_name="", **{name: value})
        except ValueError:
            stated[name] = [] if name == "languages" else None
    # No language, unlike what was recorded, if those of the card are no codes.
    return {name: value for name, value in stated.items() if value or (name == "languages" and "language" in metadata)}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _read_record(path: Path, **kinds: type[Any]) -> dict[str, Any]:
    """Reads a file of JSON, in which some values must be of a kind; what is missing is empty."""
    from ..hub.card_facts import read_json

    content = read_json(path)
    for name, kind in kinds.items():
        value: Any = kind() if content.get(name) is None else content[name]
        if not isinstance(value, kind) or (kind is list and not all(isinstance(item, dict) for item in value)):
            what = "a list of records" if kind is list else f"a {kind.__name__}"
            raise InputError(
                f"{str(path)!r} has {reprlib.repr(value)} as {name!r}, which must be {what}. Mend it, or delete it."
            )
        content[name] = value
    return content
