"""`hf-lstm train`: trains a model as the training tasks do, with their own arguments."""

import argparse

from ..data.flags import CONFIG_SUFFIXES, UsageError, is_config_file
from .parser import CommandParser

TASKS = ("classification", "seq2seq")
_DESCRIPTION = """\
Trains a model, scores it, and writes it with a report and a model card to --output_dir.

Every task has arguments of its own, which `hf-lstm train TASK --help` shows. They may stand in a YAML or JSON file,
named by --config or right after the task; flags override it."""
_EXAMPLES = """\
examples:
  hf-lstm train classification --train_file reviews.csv --output_dir my_classifier
  hf-lstm train seq2seq --task translation --train_file train.de --train_target_file train.en \\
      --output_dir my_translator
  hf-lstm train classification --config recipe.yaml --seed 2"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "train", help="Train a model on your own data.", description=_DESCRIPTION, epilog=_EXAMPLES
    )
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=f"What to learn: {' or '.join(TASKS)}.")
    parser.add_argument("flags", nargs=argparse.REMAINDER, metavar="...", help="The task's arguments.")
    parser.takes_rest = True
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains."""
    from ..training.processes import leave_processes

    flags = _config_first(arguments.flags)
    if arguments.task == "classification":
        from ..training.tasks.sequence_classification import main
    else:
        from ..training.tasks.seq2seq import main
    main(flags)
    leave_processes()


def _config_first(flags: list[str]) -> list[str]:
    """Moves the file that `--config` names to the front, where the tasks look for it."""
    parser = CommandParser(add_help=False)
    parser.add_argument("--config")
    known, others = parser.parse_known_args(flags)
    if known.config is None:
        return flags
    if not is_config_file(known.config):
        raise UsageError(f"--config is {known.config!r}, but must end in {', '.join(CONFIG_SUFFIXES)}.")
    return [known.config, *others]
