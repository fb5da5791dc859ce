"""Starts worker programs in several processes, as `torchrun` does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WORKERS = Path(__file__).parent / "workers"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]
TIMEOUT = 590


def launch(*program: object, num_processes: int = 2, flags: tuple[object, ...] = ("--standalone",)) -> str:
    """
    Runs a program in several processes of this computer, and returns what they printed.

    Args:
        program: A file below `tests/distributed/workers` or another program, and its arguments.
        num_processes (`int`, defaults to 2): How many processes.
        flags (`tuple`): Further flags of `torchrun`.

    Raises:
        AssertionError: If it fails in any process, with what was printed.
    """
    command = [*TORCHRUN, "--nproc_per_node", num_processes, *flags, *program]
    return finish(start(command))


def start(command: list[object], **environment: str) -> "subprocess.Popen[str]":
    """Starts a command that imports this package."""
    paths = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Waits for a process to succeed, and returns what it printed."""
    try:
        printed, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its own processes
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def free_port() -> int:
    """Returns a port of this computer that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
