import sys

import pytest
import torch

from benchmarks.common.memory import peak_memory, resident_memory, start_peak


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_peak_is_that_since_the_start() -> None:
    size = 64 * 2**20
    before = resident_memory()
    block = torch.ones(size, dtype=torch.uint8)
    assert resident_memory() - before > size / 2
    del block
    assert peak_memory() - before > size / 2
    start_peak()
    assert peak_memory() - before < size / 2
