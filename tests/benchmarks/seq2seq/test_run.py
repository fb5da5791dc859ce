import json
from pathlib import Path

import pytest
import yaml

from benchmarks.common import jobs
from benchmarks.seq2seq import data, prepare, run
from benchmarks.seq2seq.protocols import BLEU_FIGURES, PROTOCOLS

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "benchmarks" / "seq2seq" / "recipes").glob("*.yaml"))
ALIGNED = {
    "source_lang": "de",
    "target_lang": "en",
    "train_file": "multi30k/train.de",
    "train_target_file": "multi30k/train.en",
    "validation_file": "multi30k/val.de",
    "validation_target_file": "multi30k/val.en",
}
EMAILS = {"train_file": "aeslc/train.jsonl", "validation_file": "aeslc/dev.jsonl", "max_source_length": 9}


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A folder with prepared data and two recipes."""
    prepare.prepare(source, tmp_path / "data", ["multi30k", "aeslc"])
    for name, recipe in {"aligned": ALIGNED, "emails": EMAILS}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def measure(folder: Path, name: str, *flags: str) -> None:
    paths = ["--recipe", str(folder / f"{name}.yaml"), "--data", str(folder / "data"), "--output", str(folder / "out")]
    run.main(paths + list(flags))


def pretend(program: Path, directory: Path, slots: object, threads: int) -> bool:
    """Leaves what a finished run leaves."""
    assert program.name == "single_run.py" and program.parent.name == "seq2seq"
    job = json.loads((directory / "job.json").read_text())
    if job["seed"] is None:
        figures: dict = {"minutes": 0.5, "by_name": {}}
    else:
        tests = {} if job["dev_only"] else {"test": {"rougeL": 20.0 + job["seed"]}}
        figures = {"minutes": 2.0, "validation": 30.0, "tests": tests}
    jobs.write_json(directory / "result.json", figures)
    return True


def read_results(folder: Path) -> dict:
    return json.loads((folder / "out" / "results.json").read_text())


def test_seeds_and_baselines_are_collected_and_not_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_job", pretend)
        measure(folder, "emails", "--seeds", "5", "3", "--threads", "1")
    results = read_results(folder)
    assert [entry["seed"] for entry in results["runs"]] == [3, 5]
    assert results["baselines"] == [{"seed": None, "threads": 1, "side_by_side": 1, "minutes": 0.5, "by_name": {}}]
    assert results["protocol"] == "aeslc"
    assert results["overlap"]["test"]["repeated"] == 1
    assert results["machine"]["versions"]["sacrebleu"]
    assert "seed 5, test: rougeL 25.00" in capsys.readouterr().out
    monkeypatch.setattr(jobs.subprocess, "Popen", None)  # a start would fail
    measure(folder, "emails", "--seeds", "3", "5")
    assert read_results(folder)["runs"] == results["runs"]


def test_translation_has_no_baseline_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run_job", pretend)
    measure(folder, "aligned")
    assert sorted(path.name for path in (folder / "out").glob("*/")) == ["seed1", "seed2"]
    job = json.loads((folder / "out" / "seed1" / "job.json").read_text())
    assert Path(job["recipe"]["validation_target_file"]).is_file()
    assert "test_file" not in job["recipe"]


def test_changed_recipe_is_refused_in_the_same_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run_job", pretend)
    measure(folder, "emails")
    (folder / "emails.yaml").write_text(yaml.safe_dump(EMAILS | {"max_source_length": 11}))
    with pytest.raises(SystemExit, match="another recipe"):
        measure(folder, "emails")


def test_dev_only_needs_no_test_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data" / "aeslc" / "test.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"test\.jsonl.*prepare\.py"):
        measure(folder, "emails")
    monkeypatch.setattr(jobs, "run_job", pretend)
    measure(folder, "emails", "--dev_only")
    assert read_results(folder)["runs"][0]["tests"] == {}


def test_missing_training_target_names_the_file_and_the_program(folder: Path) -> None:
    (folder / "data" / "multi30k" / "train.en").unlink()
    with pytest.raises(SystemExit, match=r"train\.en.*prepare\.py"):
        measure(folder, "aligned")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_file": "aeslc/test.jsonl"}, "names a test_file"),
        ({"train_file": "other/train.jsonl"}, "'other', which has no protocol"),
        ({"source_lang": "en"}, "'aeslc_en', which has no protocol"),
        ({"validation_file": None}, "does not name its validation_file"),
    ],
)
def test_unfit_recipe_is_refused(folder: Path, change: dict, message: str) -> None:
    recipe = {name: value for name, value in (EMAILS | change).items() if value is not None}
    (folder / "emails.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(SystemExit, match=message):
        measure(folder, "emails")


def test_rows_are_read_from_columns_and_from_aligned_lines(folder: Path) -> None:
    emails, aligned = (data.resolve(recipe, folder / "data") for recipe in (EMAILS, ALIGNED))
    examples = data.read_examples(emails, data.held_files(emails, "test"))
    assert examples.sources[0] == "Dear all,\nreport 2."
    assert examples.humans is not None and examples.humans[3] == ["x y", "x", "z"]
    examples = data.read_examples(aligned, data.held_files(aligned, "test2017"))
    assert examples.sources[3] == "Satz 3 aus test_2017_flickr\u2028."
    assert examples.targets[3] == "Sentence 3 of test_2017_flickr."
    assert examples.humans is None
    backwards = aligned | {"source_lang": "en", "target_lang": "de"}
    assert data.read_examples(backwards, data.split_files(aligned, "train")).sources[0].startswith("Satz")


def test_columns_are_those_of_the_languages(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path / "data", ["tatoeba"])
    files = {"train_file": "tatoeba/train.jsonl", "validation_file": "tatoeba/dev.jsonl"}
    recipe = data.resolve(files | {"source_lang": "zh", "target_lang": "en"}, tmp_path / "data")
    examples = data.read_examples(recipe, data.split_files(recipe, "train"))
    assert (examples.sources[1], examples.targets[1]) == ("你好。", "Hi.")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_valid_and_belongs_to_a_protocol(path: Path, tmp_path: Path) -> None:
    from hf_lstm import LstmSeq2SeqConfig
    from hf_lstm.training.parsing import ArgumentReader
    from hf_lstm.training.seq2seq_arguments import (
        LstmSeq2SeqTrainingArguments,
        Seq2SeqDataArguments,
        Seq2SeqModelArguments,
    )

    _, protocol = data.read_recipe(path)
    assert protocol.name == path.stem
    reader = ArgumentReader((Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments))
    model_arguments, data_arguments, training_arguments = reader.read([str(path), f"--output_dir={tmp_path}"])
    LstmSeq2SeqConfig(vocab_size=13, **model_arguments.config_values())
    # Checkpoints, beams and baselines are all chosen by one score.
    assert data_arguments.metric_name == protocol.main
    assert data_arguments.task == ("translation" if protocol.main in BLEU_FIGURES else "summarization")
    if protocol.main in BLEU_FIGURES:
        assert data_arguments.bleu_tokenize == protocol.bleu_tokenize
    assert training_arguments.load_best_model_at_end


def test_every_protocol_has_a_recipe() -> None:
    assert {path.stem for path in RECIPES} == set(PROTOCOLS)
