"""
Runs commands of `hf-lstm` and training tasks in processes of which only the first may write: DIRECTORY NUM_PROCESSES.

`DIRECTORY/commands.json` lists them as `[program, arguments]`; they write below `DIRECTORY/output`. What the first
process prints of command number N goes to `DIRECTORY/N.txt`.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import distributed

from hf_lstm.cli import generate, predict
from hf_lstm.cli.main import main as run_cli
from hf_lstm.training.tasks import seq2seq, sequence_classification
from tests.distributed.splitting import split_on_processors

PROGRAMS = {"cli": run_cli, "classification": sequence_classification.main, "seq2seq": seq2seq.main}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
RANK = int(os.environ["RANK"])


def watch_writes(directory: Path) -> list[str]:
    """
    Collects the files below a folder that this process writes, makes, renames or deletes from here on.

    In checkpoints, every process leaves the state of its random numbers.
    """
    written: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        is_written = (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)) or (
            event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
        )
        if not is_written or not isinstance(arguments[0], str | Path) or "/checkpoint-" in str(arguments[0]):
            return
        if directory in Path(arguments[0]).absolute().parents:
            written.append(f"{event} {arguments[0]}")

    sys.addaudithook(note)
    return written


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        split_on_processors()
    PartialState.destroy_process_group = lambda state: None  # torch cannot make another one beside this launcher
    predict.PIECE_SIZE = generate._PIECE_SIZE = 7  # or else one piece would hold all of a test
    directory, num_processes = Path(sys.argv[1]), int(sys.argv[2])
    commands = json.loads((directory / "commands.json").read_text())
    printed = [(directory / f"{number}.txt").open("w") if RANK == 0 else None for number in range(len(commands))]
    written = watch_writes(directory / "output")
    for (program, arguments), file in zip(commands, printed, strict=True):
        with contextlib.redirect_stdout(file or sys.stdout):
            outcome = PROGRAMS[program](arguments)
        assert program != "cli" or outcome == 0, arguments
        assert PartialState().num_processes == num_processes
    distributed.destroy_process_group()
    assert RANK == 0 or not written, written
    assert RANK != 0 or written  # or else it would watch nothing
