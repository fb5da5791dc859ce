"""Checkpoints on disk: which are whole, which one training resumes from, and what they were trained with."""

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState

from ..data.checks import InputError, listing

logger = logging.getLogger(__name__)

SETTINGS_NAME = "run_settings.json"
FILE_SIZES_NAME = "file_sizes.json"
_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")


def find_last_checkpoint(output_dir: str | Path) -> Path | None:
    """
    Finds the latest whole checkpoint of a training run; a half-written one is passed over with a warning.

    Args:
        output_dir (`str` or `Path`): Folder that holds `checkpoint-<step>` folders, or none.

    Returns:
        `Path` or `None`: The checkpoint's folder.
    """
    for path in reversed(list_checkpoints(output_dir)):
        problem = _find_damage(path)
        if problem is None:
            return path
        logger.warning("%s is not a whole checkpoint and is passed over: %s", path, problem)
    return None


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """Lists the checkpoint folders in the order of their steps."""
    output_dir = Path(output_dir)
    entries = output_dir.iterdir() if output_dir.is_dir() else ()
    steps = {path: match for path in entries if (match := _CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir()}
    return sorted(steps, key=lambda path: int(steps[path].group(1)))


def remove_checkpoints(output_dir: str | Path) -> None:
    """Deletes every checkpoint folder in an output folder."""
    for path in list_checkpoints(output_dir):
        logger.warning("Deleting %s to start anew.", path)
        shutil.rmtree(path)


def record_file_sizes(checkpoint: str | Path) -> None:
    """
    Notes the files of a checkpoint and their sizes, so that it can be told later whether it is whole.

    The trainer's state is left out: it is what a save writes last, and shows by itself whether it is whole.
    """
    checkpoint = Path(checkpoint)
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
    for name in (FILE_SIZES_NAME, TRAINER_STATE_NAME):
        sizes.pop(name, None)
    _write_json(checkpoint / FILE_SIZES_NAME, sizes)


def check_same_settings(
    output_dir: str | Path,
    settings: dict[str, Any],
    advice: str = "Pass another --output_dir, or --restart to delete these checkpoints and start anew.",
) -> None:
    """
    Makes sure that the checkpoints in a folder come from a run with the same settings.

    Args:
        output_dir (`str` or `Path`): The folder, in which `save_settings` left the earlier run's settings.
        settings (`dict[str, Any]`): This run's settings.
        advice (`str`, *optional*): What the user can do, for the message.

    Raises:
        InputError: If a setting differs, naming both values.
    """
    path = Path(output_dir) / SETTINGS_NAME
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{str(path)!r}, the settings of the checkpoints beside it, cannot be read: {error}. Delete it if they "
            "are this run's, or pass --restart to delete the checkpoints and start anew."
        ) from error
    changed = sorted(name for name in earlier.keys() & settings.keys() if earlier[name] != settings[name])
    if changed:
        changes = "; ".join(f"`{name}` was {earlier[name]!r} and is {settings[name]!r}" for name in changed[:5])
        raise InputError(f"{str(output_dir)!r} holds checkpoints of a run with other settings: {changes}. {advice}")


def save_settings(output_dir: str | Path, settings: dict[str, Any]) -> None:
    """Writes a run's settings for `check_same_settings`."""
    _write_json(Path(output_dir) / SETTINGS_NAME, settings)


def check_model_folder(path: str | Path, model_type: str) -> None:
    """
    Makes sure that a local folder holds a whole model of one architecture.

    Args:
        path (`str` or `Path`): The folder.
        model_type (`str`): The `model_type` which its configuration must have.

    Raises:
        InputError: If the configuration is missing or of another architecture, or a weight file is missing or damaged.
    """
    path = Path(path)
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"The model folder {str(path)!r} has no readable config.json: {error}.") from error
    if found != model_type:
        raise InputError(
            f"The model in {str(path)!r} is of the architecture {found!r}, but must be {model_type!r}. Pass a folder "
            "that this package saved, or leave --model_name_or_path out to train a new model."
        )
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        names = listing(sorted(entry.name for entry in path.iterdir()))
        raise InputError(f"The model folder {str(path)!r} holds no .safetensors file, only {names}.")
    for file in weights:
        problem = _find_safetensors_damage(file)
        if problem is not None:
            raise InputError(f"The weights {str(file)!r} are damaged: {problem}. Copy or download the file again.")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file that is whole wherever it exists, also if the process is killed."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _find_damage(checkpoint: Path) -> str | None:
    """Says what a checkpoint lacks; the trainer's state is what a save writes last."""
    try:
        TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    except (OSError, ValueError, TypeError) as error:
        return f"trainer_state.json cannot be read ({error})"
    problem = _find_wrong_size(checkpoint)
    if problem is not None:
        return problem
    weights = list(checkpoint.glob("*.safetensors"))
    if not weights:
        return "it has no .safetensors file"
    return next((problem for problem in map(_find_safetensors_damage, weights) if problem), None)


def _find_wrong_size(checkpoint: Path) -> str | None:
    path = checkpoint / FILE_SIZES_NAME
    if not path.exists():
        return None  # saved by another trainer, or without what training needs to go on
    try:
        sizes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{FILE_SIZES_NAME} cannot be read ({error})"
    for name, size in sizes.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, but was saved with {size}"
    return None


def _find_safetensors_damage(file: Path) -> str | None:
    try:
        with safe_open(file, framework="pt"):
            return None
    except (SafetensorError, OSError) as error:
        return str(error)
