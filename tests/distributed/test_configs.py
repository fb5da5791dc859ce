"""The configuration files of accelerate and of SLURM."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from tests.distributed.launch import REPOSITORY

FILES = sorted((REPOSITORY / "configs" / "accelerate").glob("*.yaml"))
# The kind of run, and how many processes and computers it has.
RUNS = {
    "cpu": ("MULTI_GPU", 2, 1),
    "deepspeed": ("DEEPSPEED", 2, 1),
    "fsdp": ("FSDP", 2, 1),
    "multi_gpu": ("MULTI_GPU", 2, 1),
    "multi_host": ("MULTI_GPU", 4, 2),
    "one_gpu": ("NO", 1, 1),
}


def test_every_file_is_tested() -> None:
    assert [path.stem for path in FILES] == list(RUNS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_the_file(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert (config.distributed_type, config.num_processes, config.num_machines) == RUNS[path.stem]
    assert config.use_cpu is False  # which accelerate 1.15 would take for one process


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_launcher_takes_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = launch_command_parser().parse_args(["--config_file", str(path), "program.py"])
    found, *_ = _validate_launch_command(arguments)
    kind = RUNS[path.stem][0]
    assert (found.use_fsdp, found.use_deepspeed, found.multi_gpu) == tuple(
        kind == name for name in ("FSDP", "DEEPSPEED", "MULTI_GPU")
    )
    assert found.num_processes == RUNS[path.stem][1]
