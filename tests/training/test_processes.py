import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate import PartialState
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hf_lstm.data.checks import InputError
from hf_lstm.training.processes import from_main_process, run_script


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_one_process_gets_what_it_makes():
    assert from_main_process(lambda: {"checkpoint": 3}) == {"checkpoint": 3}


def test_error_of_what_is_made_is_raised():
    def fail():
        raise InputError("`file` is missing.")

    with pytest.raises(InputError, match="`file` is missing"):
        from_main_process(fail)


def test_script_parts_from_the_others_once_its_model_is_gone(process_group, monkeypatch):
    leave, made, were_alive = PartialState.destroy_process_group, [], []

    def watch(state, group=None):
        were_alive.extend(model() is not None for model in made)
        leave(state, group)

    def main():
        model = DistributedDataParallel(nn.Linear(2, 2))
        model.itself = [model]  # so that only the garbage collector frees it
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(PartialState, "destroy_process_group", watch)
    run_script(main)
    assert were_alive == [False]
    assert not distributed.is_initialized()


def test_script_tells_bad_input_in_a_line():
    def fail():
        raise InputError("`file` is missing.")

    with pytest.raises(SystemExit, match=r"^error: `file` is missing\.$"):
        run_script(fail)


def test_script_runs_alone():
    done = []
    run_script(lambda: done.append(1))
    assert done == [1]
