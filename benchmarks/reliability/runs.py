"""Training runs as a user starts them, which can be disturbed and started again with the same command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.jobs import read_json
from benchmarks.reliability.processes import PATIENCE, ForkedProcess, Process
from benchmarks.reliability.texts import write_pairs, write_reviews
from hf_lstm.training.checkpoints import find_last_checkpoint, list_checkpoints

REPOSITORY = Path(__file__).resolve().parents[2]
_COMMON = ("--disable_tqdm", "true", "--logging_steps", "1", "--use_cpu", "true", "--max_train_samples", "200")


@dataclass(frozen=True)
class Task:
    """A training program, the data it is given, and its arguments."""

    script: str
    write: Callable[[Path, int], Path]
    arguments: tuple[str, ...]


# One saves at the end of epochs, the other within them; both use all that draws random numbers or keeps a state.
TASKS = {
    "classification": Task(
        "scripts/train_sequence_classification.py",
        write_reviews,
        (
            *("--num_train_epochs", "30", "--embedding_size", "64", "--hidden_size", "128", "--word_dropout", "0.1"),
            *("--weight_averaging", "0.9", "--classifier_dropout", "0.2", "--per_device_train_batch_size", "16"),
        ),
    ),
    "seq2seq": Task(
        "scripts/train_seq2seq.py",
        write_pairs,
        (
            *("--max_steps", "123", "--save_strategy", "steps", "--save_steps", "4", "--eval_strategy", "steps"),
            *("--eval_steps", "4", "--per_device_train_batch_size", "16", "--gradient_accumulation_steps", "2"),
            *("--encoder_embedding_size", "32", "--decoder_embedding_size", "32", "--encoder_hidden_size", "64"),
            *("--decoder_hidden_size", "64", "--max_target_length", "12", "--subword_dropout", "0.1"),
            *("--word_dropout", "0.1", "--num_attention_plots", "0"),
        ),
    ),
}


class Run:
    """
    A run of a training program into a folder of its own.

    Args:
        task (`str`): Which of `TASKS`.
        folder (`Path`): Folder for its data, its output and its log.
        output (`Path`, *optional*): Where it writes; `folder / "model"` by default.
        ranks (`int`, defaults to 1): Processes, under `torchrun` if there are several.
        max_restarts (`int`, defaults to 0): How often `torchrun` starts them again.
    """

    def __init__(self, task: str, folder: Path, output: Path | None = None, ranks: int = 1, max_restarts: int = 0):
        self.task, self.folder, self.ranks, self.max_restarts = task, folder, ranks, max_restarts
        self.output = output or folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        self.data = TASKS[task].write(folder / "train.jsonl", 300)

    @property
    def command(self) -> list[str]:
        """The program and its arguments, with which the run starts and with which it goes on."""
        task = TASKS[self.task]
        own = ["--train_file", str(self.data), "--cache_dir", str(self.folder / "cache")]
        own += ["--output_dir", str(self.output)] + (["--ddp_backend", "gloo"] if self.ranks > 1 else [])
        return [str(REPOSITORY / task.script), *own, *_COMMON, *task.arguments]

    def start(self) -> Process:
        """Starts it; it resumes from its last whole checkpoint if there is one."""
        if self.ranks == 1:
            return ForkedProcess(self.command, self.log)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(self.ranks)]
        launcher += ["--max-restarts", str(self.max_restarts)]
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        # Otherwise a process that is started again may be told where one that is dead was listening.
        environment = os.environ | {"PYTHONPATH": path, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        with self.log.open("ab") as log:
            return subprocess.Popen([*launcher, *self.command], env=environment, stdout=log, stderr=subprocess.STDOUT)

    def finish(self) -> None:
        """
        Starts it and waits for its end.

        Raises:
            RuntimeError: If it fails.
        """
        code = self.start().wait(PATIENCE)
        if code != 0:
            raise RuntimeError(f"The run in {self.folder} ended with code {code}: see {self.log}.")

    @property
    def log(self) -> Path:
        """What the program writes."""
        return self.folder / "log.txt"

    def log_text(self) -> str:
        """Returns what the program has written."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def weights(self) -> bytes:
        """Returns the file of the final weights."""
        return (self.output / "model.safetensors").read_bytes()

    def loss(self) -> float:
        """Returns the final loss on the validation data."""
        return read_json(self.output / "metrics.json")["metrics"]["eval_loss"]

    def checkpoint_names(self) -> set[str]:
        """Returns the names of the folders of checkpoints, also of those that are not whole."""
        return {path.name for path in list_checkpoints(self.output)}

    def has_half_checkpoint(self) -> bool:
        """Tells whether the newest checkpoint is not whole."""
        checkpoints = list_checkpoints(self.output)
        return bool(checkpoints) and find_last_checkpoint(self.output) != checkpoints[-1]

    def copy_output(self, target: Path) -> None:
        """Copies what the run has written."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.output, target)

    def restore_output(self, source: Path) -> None:
        """Puts a copy in place of what the run has written."""
        shutil.rmtree(self.output)
        shutil.copytree(source, self.output)
