"""Training and evaluation shared by processes, beside the same in one process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.distributed.cases import CASES, NUM_EVALUATED, make_rows, run_case
from tests.distributed.launch import WORKERS, launch

# The fourth step is the first one of the second epoch.
QUICK = ("classifier_uneven", "classifier_uneven:4", "classifier_accumulated", "language_model", "seq2seq")


def train(directory: Path, num_processes: int, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Trains cases in several processes, and returns what each of them has got."""
    launch(WORKERS / "train_cases.py", directory, num_processes, *names, num_processes=num_processes)
    paths = [directory / f"results_{rank}.pt" for rank in range(num_processes)]
    return [torch.load(path, weights_only=False) for path in paths]


def check_alike(name: str, results: list[dict[str, Any]], directory: Path) -> None:
    """Makes sure that every process has what one process gets that trains on the whole batches."""
    expected = run_case(name.partition(":")[0], directory, num_processes=1)
    for result in results:
        found = result[name]
        assert len(found["losses"]) == len(expected["losses"]) > 2
        np.testing.assert_allclose(found["losses"], expected["losses"], atol=1e-5)
        assert found["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-5)
        for key, weight in expected["weights"].items():
            torch.testing.assert_close(found["weights"][key], weight, atol=1e-5, rtol=1e-5)
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return train(tmp_path_factory.mktemp("two"), 2, QUICK)


@pytest.mark.parametrize("name", QUICK)
def test_two_processes_train_as_one(name, of_two, tmp_path):
    check_alike(name, of_two, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_train_every_case_as_one(num_processes, tmp_path):
    results = train(tmp_path, num_processes, tuple(CASES))
    for name in CASES:
        check_alike(name, results, tmp_path / "alone" / name)


def test_every_example_is_evaluated_once_and_in_order(of_two, tmp_path):
    name = "classifier_uneven"
    expected = run_case(name, tmp_path, num_processes=1)
    labels = make_rows(CASES[name][0], NUM_EVALUATED, seed=5)["labels"][:]
    for result in of_two:
        assert result[name]["labels"].tolist() == labels
        np.testing.assert_allclose(result[name]["predictions"], expected["predictions"], atol=1e-5)


def test_every_text_is_written_once_and_in_order(of_two, tmp_path):
    expected = run_case("seq2seq", tmp_path, num_processes=1)["predictions"]
    assert expected.shape[0] == NUM_EVALUATED and len(np.unique(expected, axis=0)) > 1
    for result in of_two:
        assert result["seq2seq"]["predictions"].tolist() == expected.tolist()


def test_each_process_draws_its_own_dropout_and_reads_its_share_of_the_rows(tmp_path):
    launch(WORKERS / "draw_dropout.py", tmp_path)
