"""
Trains cases, and saves what came out in each process: DIRECTORY NUM_PROCESSES CASE ...

What follows a colon in the name of a case is the step from whose checkpoint it is trained a second time.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from tests.distributed.cases import run_case

if __name__ == "__main__":
    directory, num_processes = Path(sys.argv[1]), int(sys.argv[2])
    results = {}
    for case in sys.argv[3:]:
        name, _, step = case.partition(":")
        results[case] = run_case(name, directory / case, num_processes, int(step) if step else None)
    assert distributed.get_world_size() == num_processes
    torch.save(results, directory / f"results_{distributed.get_rank()}.pt")
    distributed.destroy_process_group()
