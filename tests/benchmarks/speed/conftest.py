from pathlib import Path

import pytest

from benchmarks.speed.variants import Setup


@pytest.fixture
def full_setup(tmp_path: Path) -> Setup:
    """A run with all sizes, on made-up texts."""
    return Setup(1, 9, (1, 2, 3), False, tmp_path / "data", tmp_path / "scratch")


@pytest.fixture
def quick_setup(tmp_path: Path) -> Setup:
    """A run with tiny sizes, on made-up texts."""
    return Setup(1, 2, (1, 2), True, tmp_path / "data", tmp_path / "scratch")
