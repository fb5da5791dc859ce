"""Reading of a command's arguments, and the flags that several commands share. Nothing here imports torch."""

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from ..data.checks import listing, nearest_name
from ..data.flags import UsageError, as_flags, read_config, unknown_argument

# What `add_generation_flags` adds, as `generate` calls it; those of the second line only change how tokens are drawn.
SEARCH_FLAGS = ("num_beams", "length_penalty", "no_repeat_ngram_size", "repetition_penalty", "max_new_tokens")
SAMPLING_FLAGS = ("temperature", "top_k", "top_p")
GENERATION_FLAGS = (*SEARCH_FLAGS, "do_sample", *SAMPLING_FLAGS, "seed")
# A flag without a value; `None` where it is not given.
SWITCH: dict[str, Any] = {"action": "store_true", "default": None}
# Of whole numbers: what seeds and the lengths of tokenizers can hold.
_LARGEST = 2**32 - 1


class CommandParser(argparse.ArgumentParser):
    """
    Reads the arguments of a command, or finds which one of its commands is meant.

    Whatever is wrong is a `UsageError` that names the nearest valid name. Flags may stand between other arguments.

    Args:
        kwargs: As for `argparse.ArgumentParser`.
    """

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)
        self.commands: dict[str, CommandParser] = {}
        # Whether a positional argument takes everything that follows it, as it is.
        self.takes_rest = False

    def add_commands(self) -> "argparse._SubParsersAction[CommandParser]":
        """Makes this a parser that has commands of its own, which `add_command` adds."""
        action = self.add_subparsers(title="commands", metavar="COMMAND", required=True)
        self.commands = action.choices  # filled by each command that is added
        return action

    def read(self, args: Sequence[str]) -> argparse.Namespace:
        """
        Reads the arguments; those of the file that `--config` names come before those of the command line.

        Args:
            args (`Sequence[str]`): What stands after the command's name.

        Raises:
            UsageError: If an argument does not exist, is missing, or has a value of the wrong kind.
            InputError: If the config file cannot be read.
        """
        if args and args[0] in self.commands:
            return self.commands[args[0]].read(args[1:])
        if self.commands or self.takes_rest:
            return self.parse_args(args)
        known, unknown = self.parse_known_intermixed_args(args)
        if unknown:
            raise unknown_argument(unknown, self._flag_names())
        if getattr(known, "config", None) is None:
            return known
        return self.parse_intermixed_args([*self._config_flags(known.config), *args])

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong, where argparse would print the usage and leave."""
        sentence = f"{message[0].upper()}{message[1:]}" + ("" if message.endswith("?") else ".")
        raise UsageError(f"{sentence} Pass --help to see every argument.")

    def _config_flags(self, path: str) -> list[str]:
        """Writes a config file's values as flags; switches, lists and positional arguments get them as defaults."""
        actions = {action.dest: action for action in self._actions if action.dest not in ("help", "config")}
        flags: list[str] = []
        for name, value in read_config(path, actions).items():
            action = actions[name]
            if value is None:
                # As if it were not there; but a choice may be to have none, as of --normalization.
                if action.choices is not None:
                    self.set_defaults(**{name: None})
                continue
            if action.nargs == "*":
                # As a flag, a list would take the positional arguments that follow it for its own.
                value = [str(item) for item in (value if isinstance(value, list) else [value])]
            elif action.nargs == 0:
                if not isinstance(value, bool):
                    raise UsageError(f"{path!r} sets {name!r} to {value!r}, but it must be true or false.")
            elif isinstance(value, list):
                raise UsageError(f"{path!r} sets {name!r} to a list, {value!r}, but it must be one value.")
            elif action.option_strings:
                flags += as_flags(name, value)
                continue
            self.set_defaults(**{name: str(value) if action.nargs == "?" else value})
        return flags

    def _flag_names(self) -> list[str]:
        options = [option for action in self._get_optional_actions() for option in action.option_strings]
        return [option.removeprefix("--") for option in options]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own message has no hint at the nearest name.
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = nearest_name(str(value), names)
            raise argparse.ArgumentError(action, f"{value!r} is none of {listing(names, 20)}.{hint}".removesuffix("."))


def add_command(
    commands: "argparse._SubParsersAction[CommandParser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    description: str,
    examples: str,
) -> CommandParser:
    """
    Adds a command with `--config` and examples in its help.

    Args:
        commands (`argparse._SubParsersAction`): Where to add it.
        name (`str`): What it is called.
        run (`Callable`): Does what the arguments say.
        summary (`str`): What it does, in the list of commands.
        description (`str`): What it does, at the top of its help.
        examples (`str`): Command lines, at the end of its help.
    """
    parser = commands.add_parser(name, help=summary, description=description, epilog=f"examples:\n{examples}")
    parser.add_argument("--config", metavar="FILE", help="YAML or JSON file of arguments; flags override it.")
    parser.set_defaults(run=run)
    return parser


def add_model_flags(parser: CommandParser) -> None:
    """Adds the saved model that a command runs, and how it runs."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="Folder of a saved model, or its name on the Hub.")
    parser.add_argument("--revision", help="Branch, tag or commit of a model on the Hub.")
    parser.add_argument("--device", help="Where to run, such as cpu or cuda:1; an accelerator by default, if any.")


def add_batch_flags(parser: CommandParser) -> None:
    """Adds how texts are read and put together."""
    parser.add_argument("--file_encoding", default="utf-8", help="How text is written in the files (utf-8).")
    parser.add_argument("--batch_size", type=whole_number(1), default=64, help="Texts that run at a time (64).")
    parser.add_argument(
        "--max_length",
        type=whole_number(1),
        help="Tokens of a text that are read; the rest is cut off. By default what the tokenizer is made for.",
    )
    parser.add_argument("--disable_tqdm", **SWITCH, help="Whether to show no progress bar.")


def add_generation_flags(parser: CommandParser) -> None:
    """Adds how text is generated; what is left out is as the model says."""
    group = parser.add_argument_group("generation", "Of models that generate; by default as saved with the model.")
    group.add_argument("--num_beams", type=whole_number(1), help="Hypotheses kept at each step; 1 for none but one.")
    group.add_argument("--max_new_tokens", type=whole_number(1), help="Tokens that are generated at most.")
    group.add_argument(
        "--length_penalty", type=finite_number, help="Exponent of the length that divides a beam's score."
    )
    group.add_argument(
        "--no_repeat_ngram_size", type=whole_number(0), help="N-grams of this length come once; 0: no limit."
    )
    group.add_argument("--repetition_penalty", type=positive_number, help="Above 1 for fewer repeated tokens.")
    group.add_argument("--do_sample", **SWITCH, help="Whether tokens are drawn by chance.")
    group.add_argument("--temperature", type=positive_number, help="Below 1 for likelier tokens, above for others.")
    group.add_argument("--top_k", type=whole_number(0), help="Draws from this many of the likeliest tokens; 0: all.")
    group.add_argument("--top_p", type=share, help="Draws from the likeliest tokens of this probability together.")
    group.add_argument("--seed", type=whole_number(0), help="Seed of what is drawn (0).")


def required(arguments: argparse.Namespace, name: str, what: str) -> Any:
    """Returns an argument that must be given, on the command line or in the config file."""
    value = getattr(arguments, name)
    if value in (None, [], ""):  # empty where a variable of the shell is; as a folder it would be the current one
        raise UsageError(f"{what} is missing. Pass --help to see every argument.")
    return value


def reject_flags(arguments: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Raises a `UsageError` if one of these arguments is given, and says why it cannot be."""
    given = [name for name in names if getattr(arguments, name) is not None]
    if given:
        raise UsageError(f"--{given[0]} is given, but {reason}. Leave it out.")


def whole_number(smallest: int) -> Callable[[str], int]:
    """Makes what reads whole numbers that are not below the smallest, and fit into 32 bits."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = smallest - 1
        if number < smallest:
            raise argparse.ArgumentTypeError(f"{value!r} must be a whole number of at least {smallest}")
        if number > _LARGEST:
            raise argparse.ArgumentTypeError(f"{value!r} must be a whole number of at most {_LARGEST}")
        return number

    return read


def numbered_seed(seed: int | None, number: int) -> int:
    """Returns the seed of the text or piece of this number; after the largest one comes 0."""
    return ((seed or 0) + number) % (_LARGEST + 1)


def finite_number(value: str) -> float:
    """Reads a number that is neither infinite nor none at all."""
    number = _number(value)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{value!r} must be a finite number")
    return number


def positive_number(value: str) -> float:
    """Reads a number above 0."""
    number = _number(value)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r} must be a number above 0")
    return number


def share(value: str) -> float:
    """Reads a number above 0 and at most 1."""
    number = _number(value)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{value!r} must be above 0 and at most 1")
    return number


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")
