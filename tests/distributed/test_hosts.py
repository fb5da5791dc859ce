"""Training on two computers: network namespaces with a cable between them or, where not permitted, nodes of one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.distributed.launch import TORCHRUN, WORKERS, finish, free_port, start
from tests.distributed.test_training import check_alike

CASE = "classifier_uneven"
NUM_HOSTS = 2


def run_ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[list[str] | None]:
    """Two network namespaces, each with an end of a virtual cable: 10.199.0.1 and 10.199.0.2. `None` if forbidden."""
    names = [f"hf_lstm_{os.getpid()}_{number}" for number in range(1, NUM_HOSTS + 1)]
    made: list[str] = []
    try:
        for name in names:
            run_ip("netns", "add", name)
            made.append(name)
        first, second = names
        run_ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "name", "cable", "netns", second)
        for number, name in enumerate(names, start=1):
            run_ip("-n", name, "addr", "add", f"10.199.0.{number}/24", "dev", "cable")
            run_ip("-n", name, "link", "set", "cable", "up")
            run_ip("-n", name, "link", "set", "lo", "up")
        yield names
    except (OSError, subprocess.CalledProcessError):
        yield None
    finally:
        for name in made:
            run_ip("netns", "delete", name)


def train_on_hosts(directory: Path, prefixes: list[list[object]], address: str, port: int, interface: str) -> None:
    """Starts a node on each host, which has one process, and checks what they have trained together."""
    processes = []
    for number, prefix in enumerate(prefixes):
        node = ["--nnodes", NUM_HOSTS, "--node_rank", number, "--nproc_per_node", 1]
        node += ["--master_addr", address, "--master_port", port]
        command = [*prefix, *TORCHRUN, *node, WORKERS / "train_cases.py", directory, NUM_HOSTS, CASE]
        processes.append(start(command, GLOO_SOCKET_IFNAME=interface))
    for process in processes:
        finish(process)
    results = [torch.load(directory / f"results_{rank}.pt", weights_only=False) for rank in range(NUM_HOSTS)]
    check_alike(CASE, results, directory / "alone")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_network_namespaces_train_as_one_process(namespaces, tmp_path):
    if namespaces is None:
        pytest.skip("network namespaces are not permitted here: two nodes of this computer are tested instead")
    prefixes: list[list[object]] = [["ip", "netns", "exec", name] for name in namespaces]
    for prefix in prefixes:
        links = subprocess.run([*map(str, prefix), "ip", "-o", "link"], check=True, capture_output=True, text=True)
        assert len(links.stdout.splitlines()) == 2  # the cable, and the loopback interface, which leads nowhere else
    train_on_hosts(tmp_path, prefixes, "10.199.0.1", 29500, "cable")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_of_this_computer_train_as_one_process(namespaces, tmp_path):
    if namespaces is not None:
        pytest.skip("two network namespaces are tested instead")
    train_on_hosts(tmp_path, [[], []], "127.0.0.1", free_port(), "lo")
