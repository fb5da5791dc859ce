"""The facts of a model card that the model does not tell by itself: what training records, and what a user adds."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError

FACTS_NAME = "card_facts.json"
_MAX_DIGITS = 15
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|multilingual|code")
# The oldest data sets of the Hub have names without an owner.
_HUB_IDS = {
    "dataset_id": (r"([\w.-]+/)?[\w.-]+", "stanfordnlp/sst2"),
    "evaluation_dataset_id": (r"([\w.-]+/)?[\w.-]+", "stanfordnlp/sst2"),
    "hub_model_id": (r"[\w.-]+/[\w.-]+", "user/model"),
}


@strict
@dataclass(kw_only=True)
class CardFacts:
    """
    What a model card shows besides what the model itself tells. A figure that is no finite number is `None`.

    Args:
        dataset_name (`str`): What the training data is called.
        dataset_id (`str`, *optional*): The training data's name on the Hub, such as `"stanfordnlp/sst2"`, if it is
            there.
        task (`str`, *optional*): What an encoder–decoder does: `"translation"`, `"summarization"` or another.
        metrics (`dict[str, float]`): Measured figures by name, such as `{"accuracy": 0.91}`. Names that have no title
            are shown as they are.
        split_name (`str`, defaults to `"test"`): Split that the metrics were measured on.
        evaluation_dataset_name (`str`, *optional*): What the data is called that the metrics were measured on, if it
            is other data than that of the training.
        evaluation_dataset_id (`str`, *optional*): Its name on the Hub, if it is there.
        has_macro_means (`bool`, defaults to `True`): Whether `f1`, `precision` and `recall` are means over the labels,
            as this package computes them; otherwise their titles do not say what they are of.
        num_train_rows (`int`, *optional*): Number of training examples.
        num_evaluation_rows (`int`, *optional*): Number of examples that the metrics were measured on.
        hyper_parameters (`dict[str, Any]`): How it was trained.
        curve (`list[dict[str, float]]`): The evaluations while training, see `read_curve`.
        languages (`list[str]`): ISO 639 codes, such as `["en", "zh"]`, or with more after them, such as `"pt-BR"`.
        source_language (`str`, *optional*): What a translation reads, such as `"de"`.
        target_language (`str`, *optional*): What a translation writes, such as `"en"`.
        license_name (`str`, *optional*): The weights' licence, such as `"apache-2.0"`.
        max_length (`int`, *optional*): Tokens of a text that are read.
        example_text (`str`, *optional*): A text for the usage example.
        reads_pairs (`bool`, defaults to `False`): Whether a classifier reads pairs of texts.
        example_text_pair (`str`, *optional*): The second text of a pair for the usage example.
        hub_model_id (`str`, *optional*): Where the model is to be found on the Hub, such as `"user/model"`; the usage
            example loads it from there, else from the folder.
        model_name (`str`, *optional*): By default the folder's name.
        base_model (`str` or `list[str]`, *optional*): The model on the Hub that training began with, or several.
        is_fine_tuned (`bool`, *optional*): Whether training began with a trained model, on the Hub or elsewhere;
            `None` where that is not known.
        data_notes (`str`): More about the training data.
        limits (`list[str]`): Further limits.
    """

    dataset_name: str
    dataset_id: str | None = None
    task: str | None = None
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    split_name: str = "test"
    evaluation_dataset_name: str | None = None
    evaluation_dataset_id: str | None = None
    has_macro_means: bool = True
    num_train_rows: int | None = None
    num_evaluation_rows: int | None = None
    hyper_parameters: dict[str, str | float | int | bool | list[str | float | int] | None] = field(
        default_factory=dict
    )
    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    source_language: str | None = None
    target_language: str | None = None
    license_name: str | None = None
    max_length: int | None = None
    example_text: str | None = None
    reads_pairs: bool = False
    example_text_pair: str | None = None
    hub_model_id: str | None = None
    model_name: str | None = None
    base_model: str | list[str] | None = None
    is_fine_tuned: bool | None = None
    data_notes: str = ""
    limits: list[str] = field(default_factory=list)

    def validate_texts(self) -> None:
        """Checks languages, names on the Hub, and what stands in a line."""
        named = [language for language in (self.source_language, self.target_language) if language is not None]
        wrong = [language for language in [*self.languages, *named] if not _LANGUAGE.fullmatch(language)]
        if wrong:
            raise ValueError(
                f"`languages` has {wrong}, but must be ISO 639 codes such as 'en' or 'zh', or 'multilingual'."
            )
        for name, (pattern, example) in _HUB_IDS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(pattern, value):
                raise ValueError(
                    f"`{name}` is {value!r}, but must be a name on the Hub, such as {example!r}. Leave it out for "
                    "what is not there."
                )
        lines = ("dataset_name", "evaluation_dataset_name", "split_name", "license_name", "model_name", "base_model")
        for name in lines:
            value = getattr(self, name)
            if any(len(str(text).splitlines()) > 1 for text in (value if isinstance(value, list) else [value])):
                raise ValueError(f"`{name}` is {value!r}, but must be a single line.")

    def validate_numbers(self) -> None:
        """Checks numbers of rows and tokens."""
        for name, minimum in (("num_train_rows", 0), ("num_evaluation_rows", 0), ("max_length", 1)):
            number = getattr(self, name)
            if number is not None and number < minimum:
                raise ValueError(f"`{name}` is {number}, but must be at least {minimum}.")

    def save(self, directory: str | Path) -> None:
        """Writes `card_facts.json`."""
        write_json(Path(directory) / FACTS_NAME, vars(self))


def build_facts(**values: Any) -> CardFacts:
    """
    Makes the facts of a card.

    Args:
        values: The fields of `CardFacts`.

    Raises:
        ValueError: If a value breaks its rule, a name is not a field's, or `dataset_name` is missing.
    """
    names = [item.name for item in fields(CardFacts)]
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"`{unknown[0]}` is no fact of a card, which are {', '.join(names)}.")
    if "dataset_name" not in values:
        raise ValueError("`dataset_name` is missing, but must say what the training data is called.")
    try:
        return CardFacts(**values)
    except StrictDataclassError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ValueError(str(cause).partition(" Errors: ")[0]) from error


def load_facts(directory: str | Path) -> CardFacts | None:
    """
    Reads `card_facts.json`.

    Args:
        directory (`str` or `Path`): The model's folder.

    Returns:
        `CardFacts` or `None`: The facts, `None` if the folder has no such file.

    Raises:
        ValueError: If the file is damaged, or a value in it breaks its rule.
    """
    path = Path(directory) / FACTS_NAME
    if not path.exists():
        return None
    values = read_json(path)
    try:
        return build_facts(**values)
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} cannot be used: {error} Mend it, or delete it to do without what training recorded."
        ) from error


def read_curve(log_history: Sequence[Any]) -> list[dict[str, Any]]:
    """
    Picks the evaluations from a trainer's log, each with the training loss that was logged last.

    Args:
        log_history (`Sequence[dict[str, Any]]`): `trainer.state.log_history`.

    Returns:
        `list[dict[str, Any]]`: `epoch`, `loss` and the figures `eval_*` of each.
    """
    curve: list[dict[str, Any]] = []
    loss: dict[str, Any] = {}
    for entry in log_history:
        loss = {"loss": entry["loss"]} if "loss" in entry else loss
        if "eval_loss" in entry:
            figures = {name: value for name, value in entry.items() if name == "epoch" or name.startswith("eval_")}
            curve.append(loss | {name: value for name, value in figures.items() if isinstance(value, (int, float))})
    return curve


def read_json(path: Path, advice: str = "Mend it, or delete it.") -> dict[str, Any]:
    """Reads a file of JSON with names and values, empty if there is none; raises a `ValueError` for another."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=_read_int) if path.exists() else {}
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # half a surrogate pair could not be written again
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}. {advice}".rstrip()) from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold names and values. {advice}".rstrip())
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file of JSON that is either whole or not there."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(format_json(content), encoding="utf-8")
    os.replace(temporary, path)


def format_json(content: dict[str, Any]) -> str:
    """Returns names and values as JSON, in which numbers that are not finite are null, and what JSON lacks is text."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def _read_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it has the number {digits[:20]}…, but whole ones have at most {_MAX_DIGITS} digits")
    return int(digits)


def _finite(value: Any) -> Any:
    """Makes values fit for JSON, which knows neither numpy's numbers nor infinity."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
