"""What all tests share: no network, few threads, and the same random numbers in whatever order they run."""

import os
import tempfile

from tests.hub.loopback import HUB, LoopbackHub

# Read when these libraries are imported, so set before any test module imports them.
os.environ["HF_ENDPOINT"] = HUB.url
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf_lstm-tests-")
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
os.environ.pop("HF_TOKEN", None)
os.environ.pop("HF_HUB_CACHE", None)
os.environ.pop("HF_DATASETS_CACHE", None)
os.environ.pop("HF_MODULES_CACHE", None)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import errno
import ipaddress
import logging
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import set_seed

HOME = os.environ["HF_HOME"]  # of what the libraries cache: not the user's, and not that of another worker
REACHED: list[str] = []  # hosts outside of this computer, since the last test


def is_here(host: Any) -> bool:
    """Returns whether a host is this computer."""
    if host in (None, "", b"", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Lets Python's sockets and look-ups of names reach this computer only, and notes what they tried besides."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a file, for sockets between processes
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        host = arguments[0] if event != "socket.sendto" else arguments[1][0]
    else:
        return
    if not is_here(host):
        REACHED.append(str(host))
        raise OSError(errno.ENETUNREACH, f"Tests run without a network, but this one reaches for {host}")


sys.addaudithook(refuse_network)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def reached() -> Iterator[list[str]]:
    """Fails the test if anything reached out, also where the code that did so went on after the error."""
    yield REACHED
    hosts = REACHED.copy()
    REACHED.clear()
    assert not hosts, f"Tests run without a network, but this one reached for {hosts}."


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty Hub on this computer, which `HF_ENDPOINT` names, with the user "alice" logged in."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    # It would ask another server what the data set holds.
    monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    HUB.reset()
    yield HUB
    HUB.reset()


@pytest.fixture(scope="session", autouse=True)
def limit_threads() -> None:
    """The models here are too small to gain from threads, and the workers share the processors."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """A function that sets the number of torch's threads until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fix_seed() -> None:
    set_seed(0)


@pytest.fixture(autouse=True)
def reset_log_level() -> None:
    """Undoes what training programs, also those in fixtures, set for the whole process."""
    logging.getLogger("hf_lstm").setLevel(logging.NOTSET)
