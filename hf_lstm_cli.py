"""
The program `hf-lstm`.

It stands beside the package because whatever is imported from `hf_lstm` first runs `hf_lstm/__init__.py`, which
registers the models with transformers: seconds of importing torch before a line of help is printed. So the package is
put in its place without being run, the modules of `hf_lstm.cli`, which import nothing heavy, read the arguments, and
only then does the package run, ahead of the command.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence

_PACKAGE = "hf_lstm"


def main(args: Sequence[str] | None = None) -> int:
    """
    Runs a command.

    Args:
        args (`Sequence[str]`, *optional*): The command and its arguments; those of the process by default.

    Returns:
        `int`: The exit code.
    """
    run_package = _place_package()
    from hf_lstm.cli.main import main as run_command

    return run_command(args, before_run=run_package)


def _place_package() -> Callable[[], None]:
    """Makes submodules of the package importable, and returns what runs the package itself."""
    if _PACKAGE in sys.modules:
        return lambda: None
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("hf_lstm is not installed: install it as its README says")
    package = importlib.util.module_from_spec(spec)
    loader = spec.loader
    sys.modules[_PACKAGE] = package
    return lambda: loader.exec_module(package)


if __name__ == "__main__":
    sys.exit(main())
