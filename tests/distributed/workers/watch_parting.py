"""Runs a script as a program, and makes sure that it leaves the other processes after its models: SCRIPT ..."""

import gc
import runpy
import sys
from typing import Any

from accelerate import PartialState
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

if __name__ == "__main__":
    leave = PartialState.destroy_process_group
    num_alive: list[int] = []

    def watch(state: PartialState, group: Any = None) -> None:
        num_alive.append(sum(type(thing) is DistributedDataParallel for thing in gc.get_objects()))
        leave(state, group)

    PartialState.destroy_process_group = watch
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
    assert num_alive == [0], f"{num_alive} models were alive when the processes parted"
    assert not distributed.is_initialized()
