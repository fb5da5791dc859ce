"""Follows the documents: Python blocks are executed, commands run on tiny files or checked against the programs."""

import dataclasses
import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_lstm import (
    LstmConfig,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmSeq2SeqConfig,
    LstmTokenizer,
)
from hf_lstm.cli.main import build_parser
from hf_lstm.cli.main import main as run_cli
from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
from hf_lstm.training.loops import LoopArguments
from hf_lstm.training.parsing import ArgumentReader
from hf_lstm.training.seq2seq_arguments import (
    LstmSeq2SeqTrainingArguments,
    Seq2SeqDataArguments,
    Seq2SeqModelArguments,
)
from hf_lstm.training.tasks import seq2seq, sequence_classification

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TRAINING_SCRIPT = "scripts/train_sequence_classification.py"
SEQ2SEQ_SCRIPT = "scripts/train_seq2seq.py"
LOOP_ENDING = "_no_trainer.py"
CLI_SOURCES = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "hf_lstm" / "cli").glob("*.py")]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]+)")
# Given after a command's own arguments, so that a run takes seconds.
QUICK = ["--num_train_epochs=1", "--report_to=none", "--use_cpu=true"]
QUICK_CLASSIFIER = [*QUICK, "--embedding_size=7", "--hidden_size=6"]
SIDES = [f"--{side}_{size}" for side in ("encoder", "decoder") for size in ("embedding_size=6", "hidden_size=6")]
QUICK_SEQ2SEQ = [*QUICK, *SIDES, "--vocab_size=300", "--max_target_length=9", "--num_attention_plots=1"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a document: its language, its text, and the line it starts on."""

    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def read_blocks(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text[: found.start()].count("\n") + 1) for found in FENCE.finditer(text)]


def training_reader() -> ArgumentReader:
    return ArgumentReader((ModelArguments, DataArguments, LstmTrainingArguments))


def seq2seq_reader() -> ArgumentReader:
    return ArgumentReader((Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments))


# Programs that start others in several processes, and what reads the flags of those that they start.
LAUNCHERS = ("accelerate", "torchrun", "sbatch")
LAUNCHED: dict[str, Callable[[], Any]] = {
    TRAINING_SCRIPT: training_reader,
    SEQ2SEQ_SCRIPT: seq2seq_reader,
    "hf_lstm_cli": build_parser,
}


def write_reviews(path: Path) -> None:
    kinds = [("good", "warm funny film"), ("bad", "dull long film")]
    rows = [f'"A {text}, number {number}.",{label}' for number in range(30) for label, text in kinds]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")


def save_demo_model(path: Path) -> None:
    tokenizer = LstmTokenizer.train_from_iterator(
        ["Schweizer Franken", "日本円"], min_frequency=1, show_progress=False
    )
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, num_labels=3)
    LstmForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    dates = LstmTokenizer.train_from_iterator(
        ["2026年3月7日", "7. März 2026"], algorithm="char", min_frequency=1, add_eos=True, show_progress=False
    )
    sizes = {f"{side}_{size}": 6 for side in ("encoder", "decoder") for size in ("embedding_size", "hidden_size")}
    LstmForConditionalGeneration(LstmSeq2SeqConfig(vocab_size=len(dates), **sizes)).save_pretrained(path / "dates")
    dates.save_pretrained(path / "dates")


def follow_python(block: Block, namespace: dict[str, Any], document: Path) -> None:
    """Runs a block: those of a guide go on from one another, while the README's are copied one by one."""
    if document.name == "README.md":
        namespace.clear()
        namespace["__name__"] = "__main__"
    is_registered = "hf_lstm" in block.text or "trust_remote_code" in block.text
    assert is_registered or "from transformers" not in block.text, f"{document.name}:{block.line} knows no LSTM"
    # The empty lines give a traceback the document's own line numbers.
    code = compile("\n" * block.line + block.text, str(document), "exec")
    exec(code, namespace)


def follow_training(arguments: list[str]) -> None:
    if any(argument.startswith("--dataset_name") for argument in arguments):
        training_reader().read(arguments)  # there is no network to load it from
    else:
        # A pretrained model keeps its own sizes.
        is_new = "--model_name_or_path" not in arguments
        metrics = sequence_classification.main(arguments + (QUICK_CLASSIFIER if is_new else QUICK))
        assert 0 <= metrics["eval_accuracy"] <= 1


def follow_cli(arguments: list[str]) -> None:
    if arguments[0] == "push":
        build_parser().read(arguments)  # there is no network to send it to
        return
    quick = {"classification": QUICK_CLASSIFIER, "seq2seq": QUICK_SEQ2SEQ}
    is_training = arguments[0] == "train"
    assert run_cli(arguments + (quick[arguments[1]] if is_training else [])) == 0


def follow_loop(program: str, arguments: list[str]) -> None:
    """Runs a custom loop in this process, also one that `torchrun` is to start."""
    script = next(argument for argument in arguments if argument.endswith(LOOP_ENDING))
    spec = importlib.util.spec_from_file_location(Path(script).stem, REPOSITORY / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flags = arguments[arguments.index(script) + 1 :]
    quick = ["--num_train_epochs=1", "--embedding_size=7", "--hidden_size=6", "--cpu=true"]
    assert module.main(flags + quick)["eval_loss"] > 0
    assert program == "torchrun" or arguments[0] == script


def follow_command(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "hf-lstm":
        follow_cli(arguments)
    elif any(argument.endswith(LOOP_ENDING) for argument in arguments):
        follow_loop(program, arguments)
    elif program in LAUNCHERS:
        check_launch(arguments)
    elif program == "source":
        assert f"{Path(*arguments).parent}/python" in make_commands(), f"{command!r} is not what the Makefile makes"
    elif program == "make":
        assert set(arguments) <= set(make_targets()), command
    elif program == "python" and arguments[0] == TRAINING_SCRIPT:
        follow_training(arguments[1:])
    elif program == "python" and arguments[0] == SEQ2SEQ_SCRIPT:
        metrics = seq2seq.main(arguments[1:] + QUICK_SEQ2SEQ)
        assert metrics["eval_loss"] > 0
    elif program == "python" and arguments[0].startswith("benchmarks/"):
        source = (REPOSITORY / arguments[0]).read_text(encoding="utf-8")
        missing = [flag for flag in FLAG.findall(command) if f'"--{flag}"' not in source]
        assert missing == [], command
    else:
        assert command in make_commands(), f"{command!r} is not what the Makefile does"


def check_launch(arguments: list[str]) -> None:
    """Reads the flags of a program that is started in several processes, and looks for the files of the launcher."""
    files = [argument for argument in arguments if argument.startswith("configs/")]
    assert [file for file in files if not (REPOSITORY / file).exists()] == []
    number, program = next((n, argument) for n, argument in enumerate(arguments) if argument in LAUNCHED)
    LAUNCHED[program]().read(arguments[number + 1 :])


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def make_commands() -> str:
    """Everything that the targets run, as make would print it in a fresh clone."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "-n", "-B", "--no-print-directory", "demo", "test"]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds what the README's commands need to be there."""
    write_reviews(tmp_path / "reviews.csv")
    for language, text in (("de", "Ein Hund, Nummer {}."), ("en", "A dog, number {}.")):
        lines = [text.format(number) for number in range(30)]
        (tmp_path / f"train.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_demo_model(tmp_path / "demo_output")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_can_be_followed(document: Path, workplace: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    followers: dict[str, Callable[[Block], object]] = {
        "python": lambda block: follow_python(block, namespace, document),
        "bash": lambda block: [follow_command(command) for command in block.commands],
        "yaml": lambda block: (workplace / block.text.split()[1]).write_text(block.text, encoding="utf-8"),
        "csv": lambda block: check_columns(block, workplace / "reviews.csv"),
    }
    torch.manual_seed(0)
    for block in read_blocks(document):
        assert block.language in followers, f"{document.name}:{block.line} is a {block.language} block, untested"
        followers[block.language](block)


def check_columns(block: Block, file: Path) -> None:
    assert block.text.splitlines()[0] == file.read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_flags_in_the_text_exist(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    actions = [*training_reader()._actions, *seq2seq_reader()._actions]
    known = {option.removeprefix("--") for action in actions for option in action.option_strings}
    known |= {field.name for field in dataclasses.fields(LoopArguments)}
    sources = ("benchmarks/accuracy/prepare.py", "hf_lstm/training/demo.py", "tests/fuzz/run.py", *CLI_SOURCES)
    for program in sources:
        known |= set(FLAG.findall((REPOSITORY / program).read_text(encoding="utf-8")))
    assert set(FLAG.findall(text)) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert missing == []


def test_plain_lines_are_those_of_make() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for line in ("-m pip install torch==2.13.0", "-m pip install -c constraints.txt -e '.[train,demo,dev]'"):
        assert f".venv/bin/python {line}" in make_commands()
        assert f".venv/bin/python {line}" in text
    for program in ("scripts/demo.py", "-m pytest -n 2"):
        assert f".venv/bin/python {program}" in make_commands()
        assert f"`.venv/bin/python {program}`" in text


def test_torch_is_the_same_release_everywhere() -> None:
    pattern = re.compile(r"torch==([\d.]+\d)")
    releases = {
        name: pattern.findall((REPOSITORY / name).read_text(encoding="utf-8"))
        for name in ("Makefile", "README.md", "constraints.txt")
    }
    assert len({release for found in releases.values() for release in found}) == 1
    assert all(releases.values())


def test_blocks_are_found_with_their_lines() -> None:
    blocks = read_blocks(REPOSITORY / "README.md")
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert {"python", "bash"} <= {block.language for block in blocks}
    assert all(lines[block.line - 1] == f"```{block.language}" for block in blocks)


def test_wrong_command_is_found() -> None:
    with pytest.raises(AssertionError):
        follow_command("python benchmarks/accuracy/run.py --no_such_flag 1")
    with pytest.raises(AssertionError):
        follow_command("make nothing-of-the-kind")
