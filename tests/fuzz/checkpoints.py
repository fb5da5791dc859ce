"""Target of fuzzing: loading and running saved models whose files are damaged."""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from hf_lstm.cli.inference.predictor import Classifier, Writer, generate_tokens, make_generation_config
from hf_lstm.cli.inference.saved_model import CAUSAL, CLASSIFIER, SEQ2SEQ, SavedModel, load_saved_model
from hf_lstm.data.checks import InputError
from tests.cli.saved_models import save_classifier, save_language_model, save_translator
from tests.fuzz.choices import Choices, damage_bytes, damage_json

KINDS = {CLASSIFIER: save_classifier, SEQ2SEQ: save_translator, CAUSAL: save_language_model}
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "target_tokenizer.json",
)


@functools.cache
def originals() -> dict[str, Path]:
    """Saves a whole model of each kind, once."""
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="hf_lstm-fuzz-"))
    return {kind: save(folder / kind) for kind, save in KINDS.items()}


def seeds() -> list[bytes]:
    """Returns an input for each file of each kind of model."""
    return [bytes((kind, file, *range(8))) for kind in range(len(KINDS)) for file in range(len(FILES))]


def run_input(data: bytes, folder: Path) -> None:
    """
    Loads a model one of whose files is damaged, and runs it on a text.

    Args:
        data (`bytes`): Choices of the model, of its file, and of the damage.
        folder (`Path`): An empty folder.
    """
    choices = Choices(data)
    kind = choices.pick(tuple(KINDS))
    model = folder / "model"
    shutil.copytree(originals()[kind], model)
    damage_file(model, choices)
    use(load_saved_model(str(model), "predict", tuple(KINDS), device="cpu"))


def damage_file(model: Path, choices: Choices) -> None:
    """Damages one of a model's files."""
    path = model / choices.pick([name for name in FILES if (model / name).exists()])
    damage = damage_json if path.suffix == ".json" else damage_bytes
    path.write_bytes(damage(path.read_bytes(), choices))


def use(saved: SavedModel) -> Any:
    """Runs a model on a text."""
    if saved.kind == CLASSIFIER:
        return Classifier(saved, batch_size=2).predict([{"text": "a dog ran"}], lambda number: None)
    config = make_generation_config(saved.model, {"max_new_tokens": 3})
    if saved.kind == SEQ2SEQ:
        return Writer(saved, 2, generation_config=config).predict([{"source": "a dog"}], lambda number: None)
    return generate_tokens(saved.model, **saved.tokenizer(["a dog"], return_tensors="pt"), generation_config=config)


def is_clear(error: BaseException, folder: Path) -> bool:
    """Tells whether an error is one for users."""
    return isinstance(error, InputError)
