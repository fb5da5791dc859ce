"""Saved models, and a way to run commands as a user would, but within this process."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_lstm.cli.main import main
from tests.cli.saved_models import save_classifier, save_language_model, save_translator


@pytest.fixture
def run(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command, and returns its exit code and what it printed to standard output and to standard error."""

    def run_command(*args: object) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.fixture
def type_in(monkeypatch) -> Callable[[bytes | str], None]:
    """Puts text into standard input."""

    def replace(content: bytes | str) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return replace


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    """A classifier with random weights and three labels."""
    return save_classifier(tmp_path_factory.mktemp("classifier") / "model")


@pytest.fixture(scope="session")
def translator(tmp_path_factory) -> Path:
    """An encoder–decoder with random weights and two vocabularies."""
    return save_translator(tmp_path_factory.mktemp("translator") / "model")


@pytest.fixture(scope="session")
def language_model(tmp_path_factory) -> Path:
    """A language model with random weights, whose tokenizer puts an end token after each text."""
    return save_language_model(tmp_path_factory.mktemp("language_model") / "model")
