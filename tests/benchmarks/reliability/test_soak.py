import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import soak

PROGRAM = Path(soak.__file__)


def notes(memory, files=8):
    return [
        {"minutes": number, "memory": value, "files": files if number < 20 else files + 1, "threads": 2}
        for number, value in enumerate(memory)
    ]


def test_growth_after_the_warm_up_is_what_counts():
    verdict = soak.judge(notes([500_000 + 100_000 * number for number in range(4)] + [10**6] * 16))
    assert verdict["is_flat"] and verdict["growth"] == 0 and verdict["cycles"] == 20


def test_memory_that_grows_by_more_than_two_percent_is_not_flat():
    assert soak.judge(notes([10**6] * 16 + [1_019_000] * 4))["is_flat"]
    assert not soak.judge(notes([10**6] * 16 + [1_021_000] * 4))["is_flat"]


def test_file_that_stays_open_is_not_flat():
    verdict = soak.judge(notes([10**6] * 25))
    assert verdict["more_files"] == 1 and not verdict["is_flat"]


def test_cycles_leave_no_file_open_and_no_file_behind(tmp_path):
    counts = soak.soak(lambda number: soak.run_cycle(tmp_path / "cycle", number), seconds=0, least_cycles=3)
    assert (
        len(counts) == 3 and counts[1]["files"] == counts[2]["files"] and counts[1]["threads"] == counts[2]["threads"]
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_minutes_leave_memory_flat(tmp_path):
    command = [sys.executable, str(PROGRAM), "--minutes", "2", "--output", str(tmp_path)]
    # Two minutes are too few to fill oneDNN's cache of shapes, whose growth would hide that of anything else.
    caches = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8", "LRU_CACHE_CAPACITY": "8"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | caches)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "soak.json").read_text())["verdict"]["is_flat"]
