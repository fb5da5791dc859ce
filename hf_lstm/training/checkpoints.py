"""Checkpoints on disk: which are whole, which one training resumes from, and what they were trained with."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_pt_utils import safe_globals
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME
from transformers.utils.peft_utils import find_adapter_config_file

from ..data.checks import InputError, describe_error, listing
from ..hub.card_facts import read_json, write_json

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

    Raises:
        InputError: If it holds weights alone, and training was not at its end.
    """
    for path in reversed(list_checkpoints(output_dir)):
        problem = find_damage(path)
        if problem is None:
            _check_resumable(path)
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
        logger.warning("Deleting %s to start over.", path)
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
    write_json(checkpoint / FILE_SIZES_NAME, sizes)


def find_damage(checkpoint: Path) -> str | None:
    """Says what a trainer's checkpoint lacks; `None` if it is whole. Its state is what a save writes last."""
    try:
        TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return f"trainer_state.json cannot be read ({error})"
    return _find_damaged_file(checkpoint, ("*.pt", "*.pth"))


def find_loop_damage(checkpoint: Path) -> str | None:
    """Says what a checkpoint of a custom loop lacks; `None` if it is whole."""
    for name in (SETTINGS_NAME, FILE_SIZES_NAME):
        if not (checkpoint / name).is_file():
            return f"it has no {name}"
    try:
        read_json(checkpoint / SETTINGS_NAME, advice="")
    except ValueError as error:
        return f"{SETTINGS_NAME} cannot be read ({error})"
    return _find_damaged_file(checkpoint, ("*.bin", "random_states_*.pkl"))


def check_same_settings(
    output_dir: str | Path,
    settings: dict[str, Any],
    advice: str = "Pass another --output_dir, or --restart to delete these checkpoints and start over.",
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
    try:
        earlier = read_json(path, advice)
    except ValueError as error:
        raise InputError(str(error)) from error
    given, settings = settings, {name: _without_folder(name, value) for name, value in settings.items()}
    # Earlier runs left relative paths as they were.
    changed = sorted(
        name for name in earlier.keys() & settings.keys() if earlier[name] not in (settings[name], given[name])
    )
    if changed:
        changes = "; ".join(f"`{name}` was {earlier[name]!r} and is {settings[name]!r}" for name in changed[:5])
        raise InputError(f"{str(output_dir)!r} holds checkpoints of a run with other settings: {changes}. {advice}")


def save_settings(output_dir: str | Path, settings: dict[str, Any]) -> None:
    """
    Writes a run's settings for `check_same_settings`.

    They may be pushed along with the model, so that a file's own name stands there, but its folder only as a hash.
    """
    settings = {name: _without_folder(name, value) for name, value in settings.items()}
    write_json(Path(output_dir) / SETTINGS_NAME, dict(sorted(settings.items())))


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
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"The model folder {str(path)!r} has no readable config.json: {error}.") from error
    if found != model_type:
        raise InputError(
            f"The model in {str(path)!r} is of the architecture {found!r}, but must be {model_type!r}. Pass a folder "
            "that this package saved, or leave --model_name_or_path out to train a new model."
        )
    check_no_adapter(str(path))
    _check_shards(path)
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        names = listing(sorted(entry.name for entry in path.iterdir()))
        raise InputError(f"The model folder {str(path)!r} holds no .safetensors file, only {names}.")
    for file in weights:
        problem = _find_safetensors_damage(file)
        if problem is not None:
            raise InputError(f"The weights {str(file)!r} are damaged: {problem}. Copy or download the file again.")


def check_no_adapter(name: str, revision: str | None = None, cache_dir: str | None = None) -> None:
    """
    Makes sure that a model is no adapter, which transformers would put on whatever other model it names.

    Args:
        name (`str`): A folder, or a name on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        cache_dir (`str`, *optional*): Where files of the Hub are kept.

    Raises:
        InputError: If it holds an `adapter_config.json`.
    """
    if find_adapter_config_file(name, cache_dir=cache_dir, revision=revision) is not None:
        raise InputError(
            f"The model {name!r} holds an adapter, which transformers puts on whatever other model its "
            "adapter_config.json names. Merge the two with `merge_and_unload()` and save the result."
        )


def check_checkpoint(path: str | Path) -> Path:
    """
    Makes sure that training can resume from a folder.

    Raises:
        InputError: If it is no whole checkpoint, holds more than plain data, or weights alone before training's end.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"The checkpoint {str(path)!r} is no folder. Name one such as my_model/checkpoint-500.")
    problem = find_damage(path)
    if problem is not None:
        raise InputError(f"{str(path)!r} is not a whole checkpoint: {problem}. Resume from another one.")
    _check_resumable(path)
    return path


def _without_folder(setting: str, value: Any) -> Any:
    """Replaces the folder of a local path, which may name people and projects, by a hash."""
    if not isinstance(value, str) or not Path(value).name or not _is_local(setting, value):
        return value
    folder, name = Path(value).parent, Path(value).name
    return f"local/{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}/{name}"


def _is_local(setting: str, value: str) -> bool:
    """Returns whether a setting names a place on this computer, other than a file of the working folder."""
    if setting.endswith("_file") and not Path(value).is_absolute():
        return len(Path(value).parts) > 1 and "://" not in value
    may_be_a_folder = setting == "dataset_name" or setting.endswith("_name_or_path")
    return Path(value).is_absolute() or (may_be_a_folder and Path(value).exists())


def _check_shards(folder: Path) -> None:
    """Makes sure that all parts of the weights are files of the folder: transformers would follow any path."""
    path = folder / SAFE_WEIGHTS_INDEX_NAME
    try:
        names = set(read_json(path).get("weight_map", {}).values())
        foreign = sorted(name for name in names if Path(name).name != name)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"The list of weight files {str(path)!r} cannot be used: {error}. Save it again.") from error
    if foreign:
        raise InputError(
            f"{str(path)!r} names {listing(foreign, 5)}, but the weights must be files beside it. Copy them there, "
            "and leave their folders out of the list."
        )


def _find_damaged_file(checkpoint: Path, pickles: Sequence[str]) -> str | None:
    """Says which of the recorded files, the weights and the states (patterns `pickles`) is missing or damaged."""
    problem = _find_wrong_size(checkpoint)
    if problem is not None:
        return problem
    weights = sorted(checkpoint.glob("*.safetensors"))
    if not weights:
        return "it has no .safetensors file"
    states = [path for pattern in pickles for path in sorted(checkpoint.glob(pattern))]
    for file in weights:
        problem = _find_safetensors_damage(file)
        if problem is not None:
            return f"{file.name} is damaged ({problem})"
    return next((problem for problem in map(_find_pickle_damage, states) if problem), None)


def _check_resumable(checkpoint: Path) -> None:
    """Refuses a checkpoint of unfinished training with weights alone, from which it would come to another result."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    if state.global_step < state.max_steps and not any(checkpoint.glob("rng_state*.pth")):
        raise InputError(
            f"{str(checkpoint)!r} holds weights, but no states of the optimizer and of the random numbers "
            "(`save_only_model`): training cannot go on from step "
            f"{state.global_step} of {state.max_steps} as it would have. Pass --restart to start over, or train from "
            "these weights with --model_name_or_path and another --output_dir."
        )


def _find_pickle_damage(file: Path) -> str | None:
    """Reads a state of the optimizer, the schedule or the random numbers, as Trainer does: plain data only."""
    try:
        with safe_globals():
            torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged archive makes of it
        return f"{file.name} holds no plain data ({describe_error(error).splitlines()[0]})"
    return None


def _find_wrong_size(checkpoint: Path) -> str | None:
    path = checkpoint / FILE_SIZES_NAME
    if not path.exists():
        return None  # saved by another trainer, or without what training needs to go on
    try:
        sizes = read_json(path, advice="")
    except ValueError as error:
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
