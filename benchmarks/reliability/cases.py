"""The faults, each of which hits a run a number of times."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from benchmarks.reliability.processes import PATIENCE, Process, sleep_beside, start_server, wait_until
from benchmarks.reliability.runs import Run
from hf_lstm.training.checkpoints import find_last_checkpoint, list_checkpoints
from hf_lstm.training.stopping import TERMINATED


@dataclass(frozen=True)
class Outcome:
    """How often a fault hit a task, how often nothing was lost by it, and what was seen besides."""

    fault: str
    task: str
    injected: int
    survived: int
    seen: str


@dataclass
class Reference:
    """
    The undisturbed run of a task: its weights, and how long its parts take, by which the moments of faults are drawn.

    Args:
        task (`str`): Which of `TASKS`.
        folder (`Path`): Folder of all runs of the task.
        ranks (`int`, defaults to 1): Processes of the run.
    """

    task: str
    folder: Path
    ranks: int = 1
    weights: bytes = field(init=False, repr=False)
    loss: float = field(init=False)
    startup: float = field(init=False)  # seconds to the first checkpoint
    interval: float = field(init=False)  # seconds from one checkpoint to the next
    ending: float = field(init=False)  # seconds from the last checkpoint to the end

    def __post_init__(self) -> None:
        run = self.run("undisturbed")
        start_server()
        started, process = time.monotonic(), run.start()
        seen: dict[str, float] = {}

        def note_checkpoints() -> bool:
            for name in run.checkpoint_names():
                seen.setdefault(name, time.monotonic() - started)
            return False

        wait_until(note_checkpoints, process)
        if process.returncode != 0:
            raise RuntimeError(f"The undisturbed run fails with code {process.returncode}: see {run.log}.")
        moments = sorted(seen.values())
        self.startup, self.interval = moments[0], (moments[-1] - moments[0]) / (len(moments) - 1)
        self.ending = time.monotonic() - started - moments[-1]
        self.weights, self.loss = run.weights(), run.loss()

    @cached_property
    def pair(self) -> "Reference":
        """The same for two processes, whose sums have another order and so other last bits."""
        return Reference(self.task, self.folder, ranks=2)

    def run(self, name: str, output: Path | None = None, max_restarts: int = 0) -> Run:
        """Returns a run that, undisturbed, is the same as this one."""
        return Run(self.task, self.folder / f"{name}-{self.ranks}", output, self.ranks, max_restarts)

    def equals(self, run: Run) -> bool:
        """Tells whether a run ended with the same weights, bit by bit, and the same loss."""
        return run.weights() == self.weights and run.loss() == self.loss

    def judge(self, fault: str, run: Run, injected: int, seen: str) -> Outcome:
        """Returns what became of faults which all hit one run."""
        return Outcome(fault, self.task, injected, injected if self.equals(run) else 0, seen)


def kill(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Kills the run by SIGKILL, by turns at any moment and while it writes a checkpoint; then a new one."""
    run = reference.run("sigkill")
    num_half = num_killed = 0
    are_equal = []
    while num_killed < count:
        process = run.start()
        if num_killed % 2:
            wait_for_new_checkpoint(run, process)
            time.sleep(generator.uniform(0, 0.03))
        else:
            sleep_beside(process, generator.uniform(0, reference.startup + 2 * reference.interval))
        if is_killed(process):
            num_killed += 1
            num_half += run.has_half_checkpoint()
        else:
            are_equal.append(reference.equals(run))
            shutil.rmtree(run.output)
    run.finish()
    are_equal.append(reference.equals(run))
    seen = f"{num_half} left a half-written checkpoint; {len(are_equal)} run(s) to the end"
    survived = count if all(are_equal) else 0
    return Outcome("SIGKILL at any moment, and while saving", reference.task, count, survived, seen)


def kill_at_end(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Kills runs after their last step, while results are computed and written; then goes on with each to its end."""
    run = reference.run("sigkill_at_end")
    last = max(list_checkpoints(reference.run("undisturbed").output), key=step_of).name
    num_killed = num_survived = num_with_weights = 0
    while num_killed < count:
        # Beside the checkpoints of an earlier start, the last step would seem to be over at once.
        shutil.rmtree(run.output, ignore_errors=True)
        process = run.start()
        wait_until(lambda: last in run.checkpoint_names(), process)
        sleep_beside(process, generator.uniform(0, reference.ending))
        if is_killed(process):
            num_killed += 1
            num_with_weights += (run.output / "model.safetensors").exists()
            run.finish()
            num_survived += reference.equals(run)
    seen = f"{num_with_weights} after the final weights were there"
    return Outcome("SIGKILL after the last step", reference.task, count, num_survived, seen)


def kill_rank(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Kills one of two processes under `torchrun`, which starts both again."""
    return hit_rank(reference, count, generator, "SIGKILL of one rank of two", psutil.Process.kill)


def terminate_rank(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Sends SIGTERM to one of two processes under `torchrun`; both save and end, and are started again."""
    return hit_rank(reference, count, generator, "SIGTERM to one rank of two", psutil.Process.terminate)


def hit_rank(
    reference: Reference, count: int, generator: random.Random, fault: str, hit: Callable[[psutil.Process], None]
) -> Outcome:
    """Does something to a process under `torchrun` each time that there is a new checkpoint."""
    pair = reference.pair
    run = pair.run(hit.__name__, max_restarts=count)
    agent = run.start()
    victims: list[int] = []
    for _ in range(count):
        wait_for_new_checkpoint(run, agent)
        if not sleep_beside(agent, generator.uniform(0, 1.5 * pair.interval)):
            break
        victims.append(generator.randrange(pair.ranks))
        hit(rank_process(agent, victims[-1]))
    code = agent.wait(PATIENCE)
    seen = f"ranks {', '.join(map(str, victims))}; exit code {code}; loss {run.loss():.6f} beside {pair.loss:.6f}"
    return pair.judge(fault, run, len(victims), seen)


def damage(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Deletes and cuts each file of the newest checkpoint; `count` of the runs are gone on with to their ends."""
    run = reference.run("damage")
    run.finish()
    whole = run.folder / "whole"
    run.copy_output(whole)
    before, newest = list_checkpoints(run.output)
    harms = [(file, cut) for file in sorted(newest.iterdir()) if file.is_file() for cut in (True, False)]
    followed = set(generator.sample(range(len(harms)), count))
    survived = 0
    for number, (file, cut) in enumerate(harms):
        run.restore_output(whole)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]) if cut else file.unlink()
        is_known = find_last_checkpoint(run.output) == before
        if number in followed or not is_known:
            run.finish()
            survived += reference.equals(run)
        else:
            survived += 1
    seen = f"{len({file for file, _ in harms})} files, cut in half and deleted; {count} of these runs gone on with"
    return Outcome("file of a checkpoint damaged", reference.task, len(harms), survived, seen)


def terminate(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """Sends SIGTERM to the run while it trains."""
    run = reference.run("sigterm")
    codes: list[int] = []
    seconds: list[float] = []
    num_whole = 0
    while len(codes) < count:
        process = run.start()
        wait_for_new_checkpoint(run, process)
        if not sleep_beside(process, generator.uniform(0, 2 * reference.interval)):
            break
        process.terminate()
        started = time.monotonic()
        codes.append(process.wait(PATIENCE))
        seconds.append(time.monotonic() - started)
        num_whole += not run.has_half_checkpoint()
    run.finish()
    is_clean = all(code == TERMINATED for code in codes) and num_whole == len(codes)
    seen = f"exit codes {sorted(set(codes))}, after at most {max(seconds):.1f} s; {num_whole} whole checkpoints"
    survived = len(codes) if is_clean and reference.equals(run) else 0
    return Outcome("SIGTERM while training", reference.task, len(codes), survived, seen)


def is_killed(process: Process) -> bool:
    """Kills a process, and tells whether it had not ended by itself."""
    process.kill()
    return process.wait() == -signal.SIGKILL


def wait_for_new_checkpoint(run: Run, process: Process) -> bool:
    """Waits until the run begins to write another checkpoint, and tells whether it is running."""
    known = run.checkpoint_names()
    # Often enough to come while it is written.
    return wait_until(lambda: bool(run.checkpoint_names() - known), process, poll=0.005)


def step_of(checkpoint: Path) -> int:
    """Returns the step of which a folder is the checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def rank_process(agent: Process, rank: int) -> psutil.Process:
    """
    Finds a process that `torchrun` has started.

    Raises:
        RuntimeError: If there is none.
    """
    for process in psutil.Process(agent.pid).children():
        if process.environ().get("RANK") == str(rank):
            return process
    raise RuntimeError(f"torchrun (process {agent.pid}) runs no rank {rank}.")
