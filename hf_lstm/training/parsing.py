"""Reading of arguments from flags and from a YAML or JSON file."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from ..data.checks import InputError, check_readable_file, listing, nearest_name

CONFIG_SUFFIXES = (".yaml", ".yml", ".json")


class ArgumentReader(HfArgumentParser):
    """
    Fills dataclasses from flags, and from a config file named before them; flags override the file.

    Every misspelt or unfit name or value is an `InputError` that names the nearest valid one.
    """

    def __init__(self, dataclass_types: Sequence[type], **kwargs: Any):
        super().__init__(dataclass_types, allow_abbrev=False, **kwargs)
        for action in self._actions:
            if action.nargs == "+":
                action.nargs = "*"  # so that a list can be emptied: `--ngram_orders`
        self._argument_names = [
            field.name
            for dataclass_type in dataclass_types
            for field in dataclasses.fields(dataclass_type)
            if field.init
        ]

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong, where argparse would print all flags and leave."""
        raise InputError(f"{message[0].upper()}{message[1:]}. Pass --help to see every argument.")

    def read(self, args: Sequence[str]) -> tuple[Any, ...]:
        """
        Reads the arguments.

        Args:
            args (`Sequence[str]`): Flags, after the path of a YAML or JSON file if there is one.

        Returns:
            `tuple`: One object for each dataclass.

        Raises:
            InputError: If the file cannot be read, or a name or a value is not valid.
        """
        flags = list(args)
        if flags and flags[0].lower().endswith(CONFIG_SUFFIXES):
            flags = self._config_flags(Path(flags[0])) + flags[1:]
        _, unknown = self.parse_known_args(flags)
        if unknown:
            self._raise_unknown(unknown)
        try:
            return self.parse_args_into_dataclasses(flags)
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error

    def _config_flags(self, path: Path) -> list[str]:
        """Writes a config file's values as flags, so that they go through the same checks."""
        flags = []
        for name, value in _read_mapping(path).items():
            if name not in self._argument_names:
                raise InputError(
                    f"{str(path)!r} sets {name!r}, but there is no such argument."
                    f"{nearest_name(str(name), self._argument_names)} Pass --help to see every argument."
                )
            if value is None:
                self.set_defaults(**{name: None})
            elif isinstance(value, list):
                flags += [f"--{name}", *(str(item) for item in value)]
            elif isinstance(value, dict):
                flags.append(f"--{name}={json.dumps(value)}")
            else:
                flags.append(f"--{name}={value}")
        return flags

    def _raise_unknown(self, unknown: list[str]) -> NoReturn:
        flags = [item.split("=")[0].removeprefix("--").replace("-", "_") for item in unknown if item.startswith("--")]
        if not flags:
            raise InputError(f"{listing(unknown)} belongs to no argument. Pass --help to see every argument.")
        raise InputError(
            f"There is no argument --{flags[0]}.{nearest_name(flags[0], self._argument_names)} "
            "Pass --help to see every argument."
        )


def _read_mapping(path: Path) -> dict[str, Any]:
    check_readable_file(path)
    try:
        content = path.read_text(encoding="utf-8")
        values = json.loads(content) if path.suffix.lower() == ".json" else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"The config file {str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"The config file {str(path)!r} must hold names and values, such as `learning_rate: 0.001`.")
    return values
