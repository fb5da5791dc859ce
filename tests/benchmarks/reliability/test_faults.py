import random
import resource
from dataclasses import replace

import pytest

from benchmarks.reliability import runs
from benchmarks.reliability.cases import Reference, kill, kill_at_end, step_of, terminate
from benchmarks.reliability.faults import write_table
from benchmarks.reliability.processes import ForkedProcess, sleep_beside, wait_until
from hf_lstm.training.checkpoints import find_last_checkpoint, list_checkpoints

# Given after a task's own arguments, so that a run takes a second once its libraries are there.
QUICK = {
    "classification": ("--num_train_epochs", "8", "--embedding_size", "14", "--hidden_size", "20"),
    "seq2seq": ("--max_steps", "22", "--no_predict_with_generate", "--encoder_layers", "1"),
}


@pytest.fixture
def make_reference(tmp_path, monkeypatch):
    """Makes the undisturbed run of a task, much smaller than in the benchmark."""

    def make(task):
        small = replace(runs.TASKS[task], arguments=(*runs.TASKS[task].arguments, *QUICK[task]))
        monkeypatch.setitem(runs.TASKS, task, small)
        return Reference(task, tmp_path)

    return make


@pytest.mark.parametrize("task", runs.TASKS)
def test_killed_and_terminated_run_ends_with_the_bits_of_the_undisturbed_one(make_reference, task):
    reference = make_reference(task)
    outcome = kill(reference, 2, random.Random(0))
    assert (outcome.injected, outcome.survived) == (2, 2)
    outcome = terminate(reference, 1, random.Random(0))
    assert (outcome.injected, outcome.survived) == (1, 1), outcome.seen


def test_run_killed_after_its_last_step_ends_with_the_same_bits(make_reference, monkeypatch):
    reference = make_reference("classification")
    start, has_checkpoints = runs.Run.start, []
    monkeypatch.setattr(
        runs.Run, "start", lambda run: (has_checkpoints.append(bool(run.checkpoint_names())), start(run))[1]
    )
    run = reference.run("undisturbed")
    run.copy_output(reference.run("sigkill_at_end").output)  # as after an earlier kill
    outcome = kill_at_end(reference, 1, random.Random(0))
    assert (outcome.injected, outcome.survived) == (1, 1)
    # Each try is started again; the last one was killed in time, and is gone on with.
    assert has_checkpoints == [False] * (len(has_checkpoints) - 1) + [True]
    (run.output / "model.safetensors").write_bytes(reference.weights[:-1] + bytes([reference.weights[-1] ^ 1]))
    assert reference.judge("none", run, 3, "").survived == 0  # as any other result is


def test_file_that_cannot_grow_leaves_the_last_whole_checkpoint(make_reference, monkeypatch):
    """A limit on the size of files fails as a full disk does, and needs no privilege."""
    reference = make_reference("classification")
    run = reference.run("full")
    process = run.start()
    wait_until(lambda: len(list_checkpoints(run.output)) > 1, process)
    process.kill()
    process.wait()
    last = find_last_checkpoint(run.output)
    limited = run.start()
    weights = (last / "model.safetensors").stat().st_size
    resource.prlimit(limited.pid, resource.RLIMIT_FSIZE, (weights + 1, weights + 1))
    assert limited.wait(60) == 1 and "Make room, then resume from the last checkpoint" in run.log_text()
    assert step_of(find_last_checkpoint(run.output)) >= step_of(last) and not run.has_half_checkpoint()
    run.finish()
    assert reference.equals(run)


def test_processes_end_as_programs_do(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys, time\nprint('here', sys.argv[1:], flush=True)\ntime.sleep(float(sys.argv[1]))\n")
    quick = ForkedProcess([str(program), "0"], tmp_path / "log.txt")
    assert quick.wait(60) == 0 and not sleep_beside(quick, 60)
    slow = ForkedProcess([str(program), "600"], tmp_path / "log.txt")
    assert wait_until(lambda: "here ['600']" in (tmp_path / "log.txt").read_text(), slow)
    with pytest.raises(TimeoutError):
        slow.wait(0.01)
    slow.terminate()
    assert slow.wait(60) == -15
    assert (tmp_path / "log.txt").read_text().splitlines() == ["here ['0']", "here ['600']"]


def test_table_counts_what_was_lost():
    result = {"fault": "SIGKILL", "task": "seq2seq", "injected": 5, "survived": 3, "seen": "much"}
    assert write_table([result]).splitlines()[-1] == "| SIGKILL | seq2seq | 5 | 3 | 2 | much |"
