"""
The processes that measure.

Keras knows one backend a process, and the thread pools of JAX, CTranslate2 and PyTorch would get into each other's way
in one. So each has a process of its own, with the same number of threads, pinned to the same processors. Only one
works at a time; the others wait for a message. Threads which spin on after their work get time to stop first.
"""

import gc
import math
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.variants import Runner, Section, Setup, load_sections

LEAST_SECONDS = 0.2  # what one measurement lasts at least, by repetition
SETTLING_SECONDS = 0.3  # OpenMP threads of other processes spin for up to 0.2 seconds after their work


class WorkerError(Exception):
    """Tells that a variant failed."""


def environment(process: str, threads: int, scratch: Path) -> dict[str, str]:
    """Returns the environment variables that give a process its threads and its backend."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    variables = dict.fromkeys(names, str(threads)) | {
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        # JAX takes as many threads as there are processors to be used, which pinning limits.
        "JAX_PLATFORMS": "cpu",
        "KERAS_HOME": str(scratch / "keras"),
    }
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if process.startswith("keras-"):
        variables["KERAS_BACKEND"] = process.removeprefix("keras-")
    return variables


@contextmanager
def changed_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, which processes started inside inherit, and puts back what was there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Worker:
    """
    A process that holds variants and runs them when it is told to.

    Args:
        case (`str`): The case whose sections it builds.
        process (`str`): Its name, as the variants give it.
        setup (`Setup`): What the run is set up with.
    """

    def __init__(self, case: str, process: str, setup: Setup):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, case, setup), daemon=True)
        with changed_environment(environment(process, setup.threads, setup.scratch)):
            self.process.start()
        theirs.close()

    def call(self, command: str, *arguments: Any) -> Any:
        """
        Lets the process do something and waits for the result.

        Raises:
            WorkerError: If it fails.
        """
        self.connection.send((command, arguments))
        try:
            succeeded, result = self.connection.recv()
        except EOFError:
            raise WorkerError("The process ended without an answer; it may have run out of memory.") from None
        if not succeeded:
            raise WorkerError(result)
        return result

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def serve(connection: Connection, case: str, setup: Setup) -> None:
    """Answers messages until the other side is closed."""
    bench = Bench(case, setup)
    while True:
        try:
            command, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, getattr(bench, command)(*arguments)))
        except Exception:
            connection.send((False, traceback.format_exc()))


class Bench:
    """
    What a measuring process can do.

    Args:
        case (`str`): The case whose sections it builds.
        setup (`Setup`): What the run is set up with.
    """

    def __init__(self, case: str, setup: Setup):
        self.case, self.setup = case, setup
        self.sections: dict[str, Section] = {}
        self.runners: dict[tuple[str, str], tuple[Runner, int]] = {}

    def _limit_threads(self) -> None:
        import torch

        torch.set_num_threads(self.setup.threads)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)

    def _make(self, section: str, name: str) -> Runner:
        if not self.sections:
            self._limit_threads()
            self.sections = {entry.name: entry for entry in load_sections(self.case, self.setup)}
        (variant,) = (entry for entry in self.sections[section].variants if entry.name == name)
        return variant.make()

    def peak(self) -> dict[str, float]:
        """Returns the largest number of floating-point operations in a second, by what reached it."""
        from benchmarks.speed.peak import measure_gemm

        self._limit_threads()
        return measure_gemm(512 if self.setup.quick else 2048, 3 if self.setup.quick else 20)

    def prepare(self, section: str, name: str) -> dict[str, Any]:
        """Builds a variant, runs the work of each measured seed, and finds how often to repeat it in a measurement."""
        runner = self._make(section, name)
        seeds = self.setup.seeds[: self.sections[section].most_rounds]
        shortest = min(self._time(runner, seed, 1) for seed in seeds)
        least = 0.0 if self.setup.quick else LEAST_SECONDS
        if shortest < least:
            # Again, for the first time includes what happens once, such as compilation.
            shortest = min(shortest, self._time(runner, seeds[0], 1))
        self.runners[section, name] = runner, max(1, math.ceil(least / shortest))
        outputs = None if runner.outputs is None else runner.outputs(self.setup.seeds[0])
        return {
            "parameters": runner.parameters,
            "settings": runner.settings,
            "describe": runner.describe,
            "outputs": None if outputs is None else {key: np.asarray(value) for key, value in outputs.items()},
        }

    def measure(self, section: str, name: str, seed: int) -> float:
        """Returns the seconds that the work of a seed takes."""
        runner, repeats = self.runners[section, name]
        gc.collect()
        return self._time(runner, seed, repeats)

    @staticmethod
    def _time(runner: Runner, seed: int, repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            runner.run(seed)
        return (time.perf_counter() - start) / repeats

    def memory(self, section: str, name: str) -> float:
        """Returns how many bytes the process grows by at most while it does the work once, the model not counted."""
        runner = self._make(section, name)
        if runner.warm_up is not None:
            runner.warm_up()
        gc.collect()
        before = _resident("VmRSS")
        # Writing 5 there makes the kernel measure the peak again.
        Path("/proc/self/clear_refs").write_text("5")
        runner.run(self.setup.seeds[0])
        return float(max(0, _resident("VmHWM") - before))

    def forget(self) -> None:
        """Lets go of the variants."""
        self.runners.clear()
        gc.collect()


def _resident(field: str) -> int:
    """Reads a size of this process in bytes, as Linux states it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise WorkerError(f"This system does not tell {field}.")
