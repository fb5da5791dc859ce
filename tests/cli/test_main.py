import argparse
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hf_lstm_cli
from hf_lstm.cli import main as program
from hf_lstm.cli.parser import CommandParser
from hf_lstm.data.checks import InputError

REPOSITORY = Path(__file__).parents[2]
COMMANDS = ["train", "evaluate", "predict", "generate", "tokenizer", "tokenizer train", "card", "push", "env"]
HEAVY = {"torch", "transformers", "datasets", "numpy", "tokenizers", "huggingface_hub", "tqdm", "yaml"}


def leaves(parser: CommandParser, name: str = "") -> list[tuple[str, CommandParser]]:
    found = [] if parser.commands else [(name, parser)]
    for command, child in parser.commands.items():
        found += leaves(child, f"{name} {command}".strip())
    return found


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""
import contextlib, io, sys
import hf_lstm_cli
for command in {["", *COMMANDS]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            hf_lstm_cli.main([*command.split(), "--help"])
        except SystemExit as stop:
            assert stop.code == 0
    assert printed.getvalue().startswith(f"usage: hf-lstm {{command}}".rstrip()), printed.getvalue()
found = {HEAVY!r} & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_program_runs_a_command_and_registers_the_models():
    code = """
import sys, hf_lstm_cli
assert hf_lstm_cli.main(["env", "--json"]) == 0
import hf_lstm
from transformers import AutoConfig
assert AutoConfig.for_model("hf_lstm").model_type == hf_lstm.LstmConfig.model_type
assert sys.modules["hf_lstm.cli.main"].__package__ == "hf_lstm.cli"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"packages"' in done.stdout


def test_module_of_the_program_runs_a_command():
    command = [sys.executable, "-m", "hf_lstm.cli.main", "env", "--no_such_flag"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == program.WRONG_USAGE and "no_such_flag" in done.stderr


def test_program_reads_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hf-lstm", "predict", "--no_such_flag"])
    assert hf_lstm_cli.main() == 2
    assert "no_such_flag" in capsys.readouterr().err


def test_help_of_every_command_ends_with_examples_that_can_be_read():
    for name, parser in leaves(program.build_parser()):
        examples = parser.format_help().partition("examples:\n")[2].replace("\\\n", " ")
        lines = [line.strip() for line in examples.splitlines() if line.strip()]
        assert len(lines) >= 2, name
        assert any(f"hf-lstm {name} " in f"{line} " for line in lines), name


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], r"'trian' is none of 'train', .*Did you mean 'train'\?"),
        ([], r"required: COMMAND"),
        (["tokenizer", "trian"], r"Did you mean 'train'\?"),
        (["train", "seq2sek"], r"Did you mean 'seq2seq'\?"),
        (["predict", "model", "--batchsize", "3"], r"no argument --batchsize. Did you mean 'batch_size'\?"),
        (["predict", "model", "--batch-size=3", "--batch-sise", "3"], r"no argument --batch_size"),
        (["predict", "model", "--batch_size", "0"], r"--batch_size: '0' must be a whole number of at least 1"),
        (["predict", "model", "--batch_size", "many"], r"'many' must be a whole number"),
        (["predict", "model", "stray"], r"'stray' belongs to no argument"),
        (["predict"], r"MODEL, a folder or a name on the Hub, is missing"),
        (["generate", "model", "text", "--top_p", "1.5"], r"'1.5' must be above 0 and at most 1"),
        (["generate", "model", "text", "--top_p", "0"], r"'0' must be above 0 and at most 1"),
        (["generate", "model", "text", "--temperature", "nan"], r"'nan' must be a number above 0"),
        (["generate", "model", "text", "--temperature", "inf"], r"'inf' must be a number above 0"),
        (["tokenizer", "train", "a.txt", "--algorithm", "wrod"], r"--algorithm: 'wrod' is none of .*mean 'word'\?"),
        (["evaluate", "model"], r"--test_file, the labelled data, is missing"),
        (["push", "folder"], r"REPOSITORY, .* is missing"),
        (["card"], r"FOLDER, .* is missing"),
        (["push", "", "user/model"], r"FOLDER, .* is missing"),
        (["predict", ""], r"MODEL, .* is missing"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(run, args, message):
    code, out, err = run(*args)
    assert code == 2 and out == ""
    assert len(err.splitlines()) == 1 and err.startswith("error: ")
    assert re.search(message, err), err


def test_input_that_cannot_be_used_is_one_line_and_code_1(run, tmp_path):
    code, out, err = run("predict", tmp_path / "nowhere", "--input", tmp_path / "none.csv")
    assert code == 1 and out == ""
    assert len(err.splitlines()) == 1 and err.startswith("error: The model ") and "nowhere" in err


def test_what_is_printed_is_utf_8_whatever_the_locale(monkeypatch):
    printed, complained = (
        io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors) for errors in ("strict", "backslashreplace")
    )
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(sys, "stderr", complained)

    def write(arguments: argparse.Namespace) -> None:
        print("日本")
        raise InputError("Käse \udce9")

    monkeypatch.setattr("hf_lstm.cli.env.run", write)
    assert program.main(["env"]) == 1
    for stream in (printed, complained):
        stream.flush()
    assert printed.buffer.getvalue().decode() == "日本\n"
    assert complained.buffer.getvalue().decode() == "error: Käse \\udce9\n"


def test_output_that_has_no_encoding_is_left_as_it_is(monkeypatch):
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr("hf_lstm.cli.env.run", lambda arguments: print("日本"))
    assert program.main(["env"]) == 0 and printed.getvalue() == "日本\n"


def run_instead(monkeypatch, error):
    def fail(arguments: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr("hf_lstm.cli.env.run", fail)
    return program.main(["env"])


def test_message_of_several_lines_becomes_one(monkeypatch, capsys):
    assert run_instead(monkeypatch, InputError("first\n  second")) == 1
    assert capsys.readouterr().err == "error: first second\n"


def test_missing_optional_package_is_one_line_but_a_broken_import_is_not_hidden(monkeypatch, capsys):
    assert run_instead(monkeypatch, ImportError("Run: pip install 'hf_lstm[train]'")) == 1
    assert capsys.readouterr().err == "error: Run: pip install 'hf_lstm[train]'\n"
    with pytest.raises(ImportError, match="no module"):
        run_instead(monkeypatch, ImportError("no module"))


def test_other_errors_are_not_hidden_and_an_interruption_is_quiet(monkeypatch):
    with pytest.raises(KeyError):
        run_instead(monkeypatch, KeyError("a bug"))
    assert run_instead(monkeypatch, KeyboardInterrupt()) == program.INTERRUPTED


def test_output_whose_reader_has_left_ends_the_command_quietly(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("hf_lstm.cli.env.run", lambda arguments: print("too late"))
    with open(writer, "w") as printed:  # which writes what is left at its end
        monkeypatch.setattr(sys, "stdout", printed)
        assert program.main(["env"]) == program.FAILED
    assert capsys.readouterr().err == ""
