"""Reading of arguments from flags and from a YAML or JSON file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from transformers import HfArgumentParser

from ..data.checks import InputError
from ..data.flags import UsageError, as_flags, is_config_file, read_config, unknown_argument


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
        raise UsageError(f"{message[0].upper()}{message[1:]}. Pass --help to see every argument.")

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
        if flags and is_config_file(flags[0]):
            flags = self._config_flags(Path(flags[0])) + flags[1:]
        _, unknown = self.parse_known_args(flags)
        if unknown:
            raise unknown_argument(unknown, self._argument_names)
        try:
            return self.parse_args_into_dataclasses(flags)
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error

    def _config_flags(self, path: Path) -> list[str]:
        """Writes a config file's values as flags, so that they go through the same checks."""
        flags = []
        for name, value in read_config(path, self._argument_names).items():
            if value is None:
                self.set_defaults(**{name: None})
            else:
                flags += as_flags(name, value)
        return flags
