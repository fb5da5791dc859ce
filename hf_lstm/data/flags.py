"""Flags of a command line and of a config file: reading the file, and errors that name the nearest valid flag."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .checks import InputError, listing, nearest_name
from .text_files import check_readable_file

CONFIG_SUFFIXES = (".yaml", ".yml", ".json")


class UsageError(InputError):
    """Says that a flag or a config file's key does not exist, is missing, or has a value of the wrong kind."""


def is_config_file(path: str) -> bool:
    """Tells by a name's ending whether it is that of a config file."""
    return path.lower().endswith(CONFIG_SUFFIXES)


def read_config(path: str | Path, names: Collection[str]) -> dict[str, Any]:
    """
    Reads a YAML or JSON file that holds arguments.

    Args:
        path (`str` or `Path`): The file.
        names (`Collection[str]`): The arguments that there are.

    Returns:
        `dict[str, Any]`: The values by name.

    Raises:
        InputError: If the file cannot be read, or names an argument that does not exist.
    """
    path = Path(path)
    values = _read_mapping(path)
    for name in values:
        if name not in names:
            raise UsageError(
                f"{str(path)!r} sets {name!r}, but there is no such argument.{nearest_name(str(name), names)} "
                "Pass --help to see every argument."
            )
    return values


def as_flags(name: str, value: Any) -> list[str]:
    """Writes a config file's value as a flag, so that it goes through the same checks."""
    if isinstance(value, list):
        return [f"--{name}", *(str(item) for item in value)]
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={value}"]


def unknown_argument(unknown: Sequence[str], names: Collection[str]) -> UsageError:
    """
    Makes the error for what belongs to no argument.

    Args:
        unknown (`Sequence[str]`): What is left over of a command line.
        names (`Collection[str]`): The flags that there are, without `--`.
    """
    flags = [item.split("=")[0].removeprefix("--").replace("-", "_") for item in unknown if item.startswith("--")]
    if not flags:
        return UsageError(f"{listing(unknown)} belongs to no argument. Pass --help to see every argument.")
    return UsageError(
        f"There is no argument --{flags[0]}.{nearest_name(flags[0], names)} Pass --help to see every argument."
    )


def _read_mapping(path: Path) -> dict[Any, Any]:
    # Only here, for the command line's own help has no need of it.
    import yaml

    check_readable_file(path)
    try:
        content = path.read_text(encoding="utf-8")
        values = json.loads(content) if path.suffix.lower() == ".json" else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"The config file {str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"The config file {str(path)!r} must hold names and values, such as `learning_rate: 0.001`.")
    return values
