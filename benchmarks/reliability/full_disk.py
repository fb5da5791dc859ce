"""
A disk that runs full while a checkpoint is written.

The disk is a small file system in memory, mounted in a namespace of its own, for which Linux asks no privilege where
user namespaces are on. This file is also the program that runs in there.
"""

import json
import logging
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.reliability.cases import Outcome, Reference
from benchmarks.reliability.processes import wait_until
from benchmarks.reliability.runs import Run
from hf_lstm.training.checkpoints import find_last_checkpoint, list_checkpoints

_SIZE = "64m"
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def fill_disk(reference: Reference, count: int, generator: random.Random) -> Outcome:
    """
    Fills the run's disk while it trains, and empties it again for the next start.

    Raises:
        RuntimeError: If no file system can be mounted here.
    """
    run = reference.run("full_disk")
    arguments = [reference.task, str(run.folder), str(count), str(generator.random())]
    command = [*_NAMESPACE, sys.executable, __file__, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(_NAMESPACE)} failed with code {done.returncode}: is it permitted here?")
    figures = json.loads(done.stdout)
    seen = f"{figures['clean']} failed with a message and left only whole checkpoints; tmpfs of {_SIZE}iB"
    survived = figures["clean"] if reference.equals(run) else 0
    return Outcome("disk full while saving", reference.task, count, survived, seen)


def crowd(disk: Path, run: Run, generator: random.Random) -> bool:
    """Starts a run and fills its disk once there is a new checkpoint; tells whether it fails as it should."""
    last = find_last_checkpoint(run.output)
    filler = disk / "filler"
    process = run.start()
    wait_until(lambda: find_last_checkpoint(run.output) not in (last, None), process)
    newest = list_checkpoints(run.output)[-1]
    room = int(generator.random() * sum(path.stat().st_size for path in newest.iterdir()))

    def take_all_but_room() -> bool:
        with filler.open("ab", buffering=0) as file:
            free = shutil.disk_usage(disk).free
            if free > room:
                file.write(bytes(free - room))
        return False

    wait_until(take_all_but_room, process)
    filler.unlink()
    is_told = "Make room, then resume from the last checkpoint" in run.log_text()
    run.log.unlink()
    return process.returncode == 1 and is_told and not run.has_half_checkpoint()


def main() -> None:
    """Mounts the disk, fills it a number of times, lets the run end, and leaves its results outside."""
    task, folder, count, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    disk = folder / "disk"
    disk.mkdir()
    logging.disable(logging.WARNING)  # that half-written checkpoints are passed over
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(disk)], check=True)
    run, generator = Run(task, folder, disk / "model"), random.Random(seed)
    num_clean = sum(crowd(disk, run, generator) for _ in range(count))
    run.finish()
    run.copy_output(folder / "model")
    print(json.dumps({"clean": num_clean}))


if __name__ == "__main__":
    main()
