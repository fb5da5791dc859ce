"""
Starts training programs quickly.

The programs take seconds to import their libraries, which is the same each time. A server that has imported them
forks a process for each start, which then is a process of its own like any other: what kills it harms nobody else.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

PATIENCE = 900.0  # seconds until a process is given up
POLL = 0.05  # seconds between two looks
_PRELOADED = ["hf_lstm.training.tasks.sequence_classification", "hf_lstm.training.tasks.seq2seq", __name__]


class Process(Protocol):
    """What forked processes and those of `subprocess` have in common."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """How the process ended, `None` if that is not known."""

    def poll(self) -> int | None:
        """Returns how the process ended, `None` while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end, and returns how it ended."""

    def kill(self) -> None:
        """Ends it at once."""

    def terminate(self) -> None:
        """Asks it to end."""


class ForkedProcess:
    """
    Runs a Python program in a process that is forked where its libraries are imported already.

    Args:
        command (`Sequence[str]`): The program's file and its arguments.
        log (`Path`): File to which it appends what it writes.
    """

    def __init__(self, command: Sequence[str], log: Path):
        self.process = _fork(_run_program, list(command), log)
        self.pid = self.process.pid or 0
        self.kill, self.terminate = self.process.kill, self.process.terminate

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise TimeoutError(f"Process {self.pid} has not ended in {timeout} seconds.")
        return self.process.exitcode


def start_server() -> None:
    """Imports the libraries, so that the first program starts as quickly as all others."""
    _fork(_do_nothing).join()


def _fork(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def _do_nothing() -> None:
    pass


def _run_program(command: list[str], log: Path) -> None:
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    # As in a process that a shell starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


def wait_until(condition: Callable[[], bool], process: Process, poll: float = POLL) -> bool:
    """
    Waits for a condition, and tells whether it came true while a process was running.

    Args:
        condition (`Callable`): Tells whether it is so.
        process (`Process`): The process.
        poll (`float`): Seconds between two looks, each of which takes time from the process.

    Raises:
        TimeoutError: If neither happens.
    """
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        if condition():
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(f"Process {process.pid} did not get to what was waited for in {PATIENCE} seconds.")
        time.sleep(poll)
    return False


def sleep_beside(process: Process, seconds: float) -> bool:
    """Waits for some time, and tells whether the process is running then."""
    deadline = time.monotonic() + seconds
    return wait_until(lambda: time.monotonic() >= deadline, process)
