"""What all tests share: no network, few threads, and the same random numbers in whatever order they run."""

import os

# Read when these libraries are imported, so set before any test module imports them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import set_seed


@pytest.fixture(scope="session", autouse=True)
def limit_threads() -> None:
    """The models here are too small to gain from threads, and the workers share the processors."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True)
def fix_seed() -> None:
    set_seed(0)


@pytest.fixture(autouse=True)
def reset_log_level() -> None:
    """Undoes what training programs, also those in fixtures, set for the whole process."""
    logging.getLogger("hf_lstm").setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what the libraries cache out of the home folder, and one worker's out of another's way."""
    import datasets

    folder: Path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets")
        yield
