"""The scripts as the documentation starts them: by accelerate, and by the batch file with a SLURM of two lines."""

import json
import math
import os
import sys
from pathlib import Path

import pytest

from tests.distributed.launch import ACCELERATE, REPOSITORY, WORKERS, finish, launch, start

SCRIPT = REPOSITORY / "scripts" / "train_sequence_classification.py"
NUM_EPOCHS, BATCH_SIZE = 2, 4
FLAGS = [f"--num_train_epochs={NUM_EPOCHS}", f"--per_device_train_batch_size={BATCH_SIZE}", "--disable_tqdm=true"]
SIZES = ["--embedding_size=6", "--hidden_size=6"]
# Every node runs what `srun` is given after its own flag.
SRUN = """#!/bin/bash
shift
for node in $(seq "$SLURM_JOB_NUM_NODES"); do "$@" & nodes+=($!); done
for node in "${nodes[@]}"; do wait "$node" || exit 1; done
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    rows = [f"a {word} film of {number},{label}" for number in range(12) for word, label in (("fine", 1), ("dull", 0))]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    files = ["--train_file", str(tmp_path / "train.csv"), "--output_dir", str(tmp_path / "model")]
    return [str(SCRIPT), *files, "--cache_dir", str(tmp_path / "cache"), *FLAGS, *SIZES]


def check_two_processes(folder: Path) -> None:
    """Makes sure that a step took the batches of two processes."""
    num_rows = json.loads((folder / "metrics.json").read_text())["metrics"]["num_train_samples"]
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == NUM_EPOCHS * math.ceil(num_rows / (2 * BATCH_SIZE))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_accelerate_starts_two_processes_on_the_cpu(arguments, tmp_path):
    config = REPOSITORY / "configs" / "accelerate" / "cpu.yaml"
    finish(start([*ACCELERATE, "--config_file", config, *arguments, "--use_cpu"]))
    check_two_processes(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_part_once_the_model_is_gone(arguments, tmp_path):
    launch(WORKERS / "watch_parting.py", *arguments, "--use_cpu", "--ddp_backend=gloo")
    check_two_processes(tmp_path / "model")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_batch_file_starts_a_process_on_each_node(arguments, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, content in (("srun", SRUN), ("scontrol", "#!/bin/bash\necho localhost\n")):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)
    (programs / "torchrun").write_text(f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n')
    (programs / "torchrun").chmod(0o755)
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "nodes[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    job |= {"SLURM_GPUS_ON_NODE": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    finish(start(["bash", REPOSITORY / "configs" / "slurm" / "train.sbatch", *arguments, "--use_cpu"], **job))
    check_two_processes(tmp_path / "model")
