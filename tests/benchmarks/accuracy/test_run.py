import json
from pathlib import Path

import pytest
import yaml

from benchmarks.accuracy import run, single_run
from benchmarks.accuracy.protocols import PROTOCOLS
from benchmarks.common import jobs

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "benchmarks" / "accuracy" / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe on prepared TNEWS files of two rows."""
    folder = tmp_path / "data" / "tnews"
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test", "test_unseen"):
        (folder / f"{split}.jsonl").write_text('{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n')
    files = {"train_file": "train", "validation_file": "dev", "test_file": "test"}
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({name: f"tnews/{split}.jsonl" for name, split in files.items()} | {"max_length": 9})
    )
    return path


def measure(recipe: Path, *flags: str) -> None:
    folder = recipe.parent
    run.main(["--recipe", str(recipe), "--data", str(folder / "data"), "--output", str(folder / "output"), *flags])


def finish(directory: Path, **figures: float) -> None:
    """Leaves what a finished run leaves."""
    (directory / "result.json").write_text(json.dumps(figures))


def test_finished_runs_are_collected_and_not_repeated(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def pretend(program: Path, directory: Path, slots: object, threads: int) -> bool:
        started.append(directory.name)
        finish(directory, accuracy=50.0, threads_given=threads)
        return True

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_job", pretend)
        measure(recipe, "--seeds", "3", "5", "--threads", "1")
    results = json.loads((recipe.parent / "output" / "results.json").read_text())
    assert started == ["baseline", "seed3", "seed5"]
    assert [entry["seed"] for entry in results["runs"]] == [3, 5]
    assert results["baselines"][0]["accuracy"] == 50.0
    assert results["protocol"] == "tnews"
    assert results["machine"]["versions"]["torch"]
    # All three are there now, so that nothing is started: a start would need the packages of the real run.
    monkeypatch.setattr(jobs.subprocess, "Popen", None)
    measure(recipe, "--seeds", "3", "5")
    assert [
        entry["threads"] for entry in json.loads((recipe.parent / "output" / "results.json").read_text())["runs"]
    ] == [1, 1]


def test_changed_recipe_is_refused_in_the_same_output(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run_job", lambda *arguments: True)
    measure(recipe)
    recipe.write_text(recipe.read_text().replace("9", "11"))
    with pytest.raises(SystemExit, match="another recipe"):
        measure(recipe)


def test_failed_run_is_reported_and_leaves_no_result(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    recipe.write_text(recipe.read_text() + "no_such_argument: 1\n")
    with pytest.raises(SystemExit, match="1 of 2 runs failed"):
        finish_baseline_then_measure(recipe)
    assert "log.txt" in capsys.readouterr().out
    assert not (recipe.parent / "output" / "seed4" / "result.json").exists()


def finish_baseline_then_measure(recipe: Path) -> None:
    directory = recipe.parent / "output" / "baseline"
    directory.mkdir(parents=True)
    finish(directory, accuracy=1.0)
    job = {"seed": None, "fold": None, "threads": 1, "side_by_side": 1}
    (directory / "job.json").write_text(json.dumps(job))
    measure(recipe, "--seeds", "4")


def test_dev_only_leaves_the_test_file_alone(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run_job", lambda *arguments: True)
    measure(recipe, "--dev_only")
    job = json.loads((recipe.parent / "output" / "seed1" / "job.json").read_text())
    assert "test_file" not in job["recipe"]
    assert job["recipe"]["validation_file"].endswith("dev.jsonl")


def test_missing_data_names_the_file_and_the_program(recipe: Path) -> None:
    (recipe.parent / "data" / "tnews" / "dev.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"dev\.jsonl.*prepare\.py"):
        measure(recipe)


def test_test_scores_count_all_and_unseen_rows(tmp_path: Path) -> None:
    rows = [("a", 0), ("b", 1), ("c", 1), ("d", 1)]
    for name, chosen in (("test", rows), ("unseen", rows[2:])):
        lines = [json.dumps({"text": text, "label": label}) for text, label in chosen]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    scores = single_run.score_test(str(tmp_path / "test"), str(tmp_path / "unseen"), ["0", "1", "1", "0"])
    assert scores["accuracy"] == pytest.approx(75.0)
    assert scores["macro_f1"] == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    assert scores["unseen_accuracy"] == pytest.approx(50.0)


def test_predictions_of_another_length_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test").write_text('{"text": "a", "label": 0}\n')
    with pytest.raises(ValueError, match="2 predictions for the 1 rows"):
        single_run.score_test(str(tmp_path / "test"), None, ["0", "1"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_valid_and_belongs_to_a_protocol(path: Path, tmp_path: Path) -> None:
    from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
    from hf_lstm.training.parsing import ArgumentReader

    recipe, protocol = run.read_recipe(path)
    assert protocol.name == path.stem
    assert ("{fold}" in recipe["train_file"]) == bool(protocol.folds)
    reader = ArgumentReader((ModelArguments, DataArguments, LstmTrainingArguments))
    _, data_arguments, training_arguments = reader.read([str(path), f"--output_dir={tmp_path}"])
    assert data_arguments.metric_name == "accuracy"
    assert training_arguments.load_best_model_at_end


def test_every_protocol_has_a_recipe() -> None:
    assert {path.stem for path in RECIPES} == set(PROTOCOLS)
