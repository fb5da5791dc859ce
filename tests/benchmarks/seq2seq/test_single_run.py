import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.seq2seq import data, decoding, prepare, single_run
from benchmarks.seq2seq.decoding import Decoding

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")

EMAILS = {"train_file": "aeslc/train.jsonl", "validation_file": "aeslc/dev.jsonl"}
# Given to the recipe on top, so that a training takes a second.
TINY = {
    "task": "summarization",
    "metric_name": "rougeL",
    "tokenizer_algorithm": "word",
    "min_frequency": 1,
    "max_target_length": 6,
    "encoder_embedding_size": 5,
    "decoder_embedding_size": 5,
    "encoder_hidden_size": 6,
    "decoder_hidden_size": 6,
    "num_train_epochs": 2,
    "num_attention_plots": 0,
    "use_cpu": True,
}


class Echo:
    """Stands for a generator: says the words of the source, as many as it has beams, and writes down what it read."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], Decoding]] = []

    def generate(self, sources: list[str], settings: Decoding) -> list[str]:
        self.asked.append((tuple(sources), settings))
        return [" ".join(source.split()[2 : 2 + settings.num_beams]) for source in sources]


@pytest.fixture
def job(source: Path, tmp_path: Path) -> dict[str, Any]:
    prepare.prepare(source, tmp_path / "data", ["aeslc"])
    recipe = data.resolve(EMAILS, tmp_path / "data")
    return {"recipe": recipe, "protocol": "aeslc", "seed": 3, "dev_only": False, "threads": 1, "side_by_side": 1}


def do(job: dict[str, Any], directory: Path) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    (directory / "job.json").write_text(json.dumps(job))
    single_run.main(directory)
    return json.loads((directory / "result.json").read_text())


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    stand_in = Echo()
    monkeypatch.setattr(single_run, "read_arguments", lambda job, directory: (None, None, None))
    monkeypatch.setattr(single_run, "train", lambda arguments, directory: {"training_minutes": 7.0, "curve": []})
    monkeypatch.setattr(single_run, "load_generator", lambda directory, arguments: stand_in)
    return stand_in


def test_each_test_file_is_decoded_once_with_what_validation_chose(
    job: dict[str, Any], echo: Echo, tmp_path: Path
) -> None:
    result = do(job, tmp_path / "seed3")
    sources = ("Dear all,\nreport 2.", "Dear all,\nreport 3.", "A new one.", "A new one.")
    assert [settings for asked, settings in echo.asked if asked == sources] == [Decoding(5, 0.6)]
    assert [settings for _, settings in echo.asked[:-1]] == list(decoding.GRID)
    assert result["decoding"] == {"num_beams": 5, "length_penalty": 0.6}
    assert result["validation"] == pytest.approx(100)
    assert result["minutes"] == pytest.approx(7 + result["decoding_minutes"])
    assert (tmp_path / "seed3" / "test.txt").read_text() == "report 2.\nreport 3.\none.\none.\n"
    figures = result["tests"]["test"]
    assert figures["rouge1"] == pytest.approx(50)
    # Of the four, two are in the training data.
    assert (figures["unseen_rows"], figures["unseen_rouge1"]) == (2, 0)
    assert figures["each_human_rouge1"] == 0


def test_dev_only_leaves_the_test_file_alone(job: dict[str, Any], echo: Echo, tmp_path: Path) -> None:
    Path(job["recipe"]["validation_file"]).with_name("test.jsonl").unlink()
    result = do(job | {"dev_only": True}, tmp_path / "seed3")
    assert result["tests"] == {}
    assert len(echo.asked) == len(decoding.GRID)


def test_baselines_write_their_hypotheses(job: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    result = do(job | {"seed": None}, tmp_path / "baseline")
    assert list(result["by_name"]) == ["lead", "nearest"]
    lines = (tmp_path / "baseline" / "nearest.test.txt").read_text().splitlines()
    assert lines[:2] == ["Report 2", "Report 3"] and len(lines) == 4


def test_a_model_reads_its_column_and_all_else_the_released_texts(
    job: dict[str, Any], echo: Echo, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    job["recipe"]["source_column_name"] = "source_after_neighbours"
    result = do(job, tmp_path / "seed3")
    assert (tmp_path / "seed3" / "test.txt").read_text().splitlines()[2] == "0"
    # By what the model reads, no row would be known from training: its neighbours differ.
    assert result["tests"]["test"]["unseen_rows"] == 2
    do(job | {"seed": None}, tmp_path / "baseline")
    assert (tmp_path / "baseline" / "lead.test.txt").read_text().splitlines()[2] == "A new one."


def test_curve_holds_the_figures_of_each_evaluation() -> None:
    history = [
        {"epoch": 0.5, "loss": 3.0},
        {"epoch": 1.0, "eval_loss": 2.0, "eval_bleu": 5.0, "eval_runtime": 9.0, "eval_samples_per_second": 3.0},
        {"epoch": 1.0, "train_runtime": 3.0},
    ]
    assert single_run.read_curve(history) == [{"epoch": 1.0, "loss": 2.0, "bleu": 5.0}]


def test_trained_model_is_measured_and_not_trained_again(
    job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hf_lstm.training.tasks import seq2seq

    job["recipe"] |= TINY
    result = do(job, tmp_path / "seed3")
    assert result["training_minutes"] > 0 and result["num_parameters"] > 0
    assert [point["epoch"] for point in result["curve"]] == [1, 2]
    assert {"loss", "rougeL"} <= set(result["curve"][0])
    assert set(result["tests"]["test"]) >= {"rouge1", "each_human_rougeL", "nearest_human_rouge2"}
    assert len((tmp_path / "seed3" / "test.txt").read_text().splitlines()) == 4
    assert not list((tmp_path / "seed3" / "model").glob("checkpoint-*"))
    # A second start after training goes on from the saved model, and so comes to the same texts.
    monkeypatch.setattr(seq2seq, "run", lambda *arguments: pytest.fail("It was trained again."))
    again = do(job, tmp_path / "seed3")
    assert again["tests"] == result["tests"]
    assert again["training_minutes"] == result["training_minutes"]


def test_trained_file_is_written_after_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_lstm.training.tasks import seq2seq

    def fail(*arguments: Any) -> SimpleNamespace:
        raise RuntimeError("stopped")

    monkeypatch.setattr(seq2seq, "run", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        single_run.train((None, None, None), tmp_path)
    assert not (tmp_path / single_run.TRAINED).exists()
