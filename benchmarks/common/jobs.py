"""
Runs in processes of their own, each with a fixed share of the processor.

Each run has a folder, in which `job.json` says what to do and `result.json` holds the figures once they are all there.
A program that does jobs takes the folder as its only argument.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

JOB, RESULT, SETTINGS, RESULTS = "job.json", "result.json", "settings.json", "results.json"
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file under another name first, so that a file which exists is whole."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_json(path: Path) -> Any:
    """Reads a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_jobs(output: Path, jobs: Mapping[str, dict[str, Any]], settings: dict[str, Any]) -> list[Path]:
    """
    Writes what each run has to do into its folder, unless it is done already.

    Args:
        output (`Path`): Folder of all runs.
        jobs (`Mapping[str, dict[str, Any]]`): What to do, by the name of the run's folder.
        settings (`dict[str, Any]`): What all runs of a folder have in common, so that they may be averaged.

    Returns:
        `list[Path]`: The folder of each run.

    Raises:
        SystemExit: If the folder holds runs with other settings.
    """
    settings_file = output / SETTINGS
    if settings_file.exists() and read_json(settings_file) != settings:
        raise SystemExit(f"{output} holds runs of another recipe. Take another --output, or delete that folder.")
    output.mkdir(parents=True, exist_ok=True)
    write_json(settings_file, settings)
    directories = []
    for name, job in jobs.items():
        directory = output / name
        directory.mkdir(exist_ok=True)
        if not (directory / RESULT).exists():
            write_json(directory / JOB, job)
        directories.append(directory)
    return directories


def run_jobs(program: Path, directories: Sequence[Path], side_by_side: int, threads: int) -> list[bool]:
    """
    Does jobs, some at a time.

    Args:
        program (`Path`): The program that does one job.
        directories (`Sequence[Path]`): Folders of the jobs.
        side_by_side (`int`): How many run at a time.
        threads (`int`): Threads that each may use.

    Returns:
        `list[bool]`: Whether there is a result, for each job.
    """
    slots = processor_slots(side_by_side, threads)
    with ThreadPoolExecutor(side_by_side) as pool:
        return list(pool.map(lambda directory: run_job(program, directory, slots, threads), directories))


def run_job(program: Path, directory: Path, slots: SimpleQueue[list[int]], threads: int) -> bool:
    """
    Does one job in a process with a fixed share of the processor.

    Args:
        program (`Path`): The program that does it.
        directory (`Path`): Folder of the job.
        slots (`SimpleQueue[list[int]]`): The processors that are free, in groups of one job's size.
        threads (`int`): Threads that the process may use.

    Returns:
        `bool`: Whether there is a result.
    """
    if (directory / RESULT).exists():
        print(f"{directory}: finished before")
        return True
    processors = slots.get()
    limits = {name: str(threads) for name in _THREAD_LIMITS}
    try:
        with (directory / "log.txt").open("w", encoding="utf-8") as log:
            command = [sys.executable, str(program), str(directory)]
            process = subprocess.Popen(command, env=os.environ | limits, stdout=log, stderr=subprocess.STDOUT)
            pin(process.pid, processors)
            process.wait()
    finally:
        slots.put(processors)
    if process.returncode != 0:
        print(f"{directory}: failed, see {directory / 'log.txt'}")
        return False
    figures = read_json(directory / RESULT)
    shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items() if isinstance(value, float))
    print(f"{directory}: {shown}", flush=True)
    return True


def pin(process_id: int, processors: list[int]) -> None:
    """Keeps a process on its processors, on systems that can: otherwise only the number of its threads is limited."""
    process = psutil.Process(process_id)
    if processors and hasattr(process, "cpu_affinity"):
        process.cpu_affinity(processors)


def processor_slots(jobs: int, threads: int) -> SimpleQueue[list[int]]:
    """Shares the processors out among the jobs; empty groups where there are too few to give each job its own."""
    process = psutil.Process()
    available = process.cpu_affinity() if hasattr(process, "cpu_affinity") else []
    slots: SimpleQueue[list[int]] = SimpleQueue()
    enough = jobs * threads <= len(available)
    for job in range(jobs):
        slots.put(available[job * threads : (job + 1) * threads] if enough else [])
    return slots


def collect(output: Path, kept: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """
    Gathers the figures of all finished runs and baselines in a folder, by seed and fold.

    Args:
        output (`Path`): Folder of all runs.
        kept (`Sequence[str]`): What to keep of each job beside its figures. A job without a `seed` is a baseline.
    """
    collected: dict[str, list[dict[str, Any]]] = {"runs": [], "baselines": []}
    for result_file in output.glob(f"*/{RESULT}"):
        job = read_json(result_file.with_name(JOB))
        how = {name: job[name] for name in kept}
        collected["baselines" if job["seed"] is None else "runs"].append(how | read_json(result_file))
    for entries in collected.values():
        entries.sort(key=lambda entry: (entry.get("fold") or 0, entry["seed"] or 0))
    return collected
