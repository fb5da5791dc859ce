"""The command line `hf-lstm`: finds the command, reads its arguments, runs it, and says what went wrong in a line."""

import io
import os
import sys
from collections.abc import Callable, Sequence

from ..data.checks import InputError
from ..data.flags import UsageError
from . import card, env, evaluate, generate, predict, push, tokenizer, train
from .parser import CommandParser

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
# In the order of the help.
_COMMANDS = (train, evaluate, predict, generate, tokenizer, card, push, env)


def main(args: Sequence[str] | None = None, before_run: Callable[[], None] | None = None) -> int:
    """
    Runs a command.

    Args:
        args (`Sequence[str]`, *optional*): The command and its arguments; those of the process by default.
        before_run (`Callable`, *optional*): Called once the arguments are read.

    Returns:
        `int`: The exit code: 0 if all went well, 1 if something given cannot be used, 2 if an argument is wrong.
    """
    _write_utf8()
    try:
        arguments = build_parser().read(sys.argv[1:] if args is None else args)
        if before_run is not None:
            before_run()
        arguments.run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        return _complain(error, WRONG_USAGE)
    except InputError as error:
        return _complain(error, FAILED)
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        return _complain(error, FAILED)  # of an optional package, which says how to install it
    except BrokenPipeError:
        # Whoever read the output has left, as `head` does. Nothing may be written when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def build_parser() -> CommandParser:
    """Builds the parser of all commands."""
    parser = CommandParser(
        prog="hf-lstm",
        description="Trains, evaluates and uses LSTM models.",
        epilog="`hf-lstm COMMAND --help` shows a command's arguments and examples.",
    )
    commands = parser.add_commands()
    for command in _COMMANDS:
        command.register(commands)
    return parser


def _write_utf8() -> None:
    """Makes whatever is printed UTF-8, which texts of any language need, also where the system's locale is another."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=stream.errors)


def _complain(error: Exception, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
