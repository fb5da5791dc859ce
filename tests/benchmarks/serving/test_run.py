"""The benchmark of serving: what it scores, times and writes."""

import json
from pathlib import Path

import torch

from benchmarks.common.files import write_rows
from benchmarks.serving.run import score_models, score_table, time_models, time_table
from benchmarks.serving.tasks import SERVED
from hf_lstm import LstmConfig, LstmForSequenceClassification, LstmTokenizer


def save_classifier(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = LstmTokenizer.train_from_iterator(["a warm film", "a dull film"], min_frequency=1, show_progress=False)
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, num_labels=2)
    config.id2label = {0: "0", 1: "1"}
    LstmForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "metrics.json").write_text("{}")


def write_data(folder: Path) -> None:
    for split in ("dev", "test"):
        write_rows(folder / f"accuracy/sst2/{split}.jsonl", [{"text": "a warm film", "label": 1}] * 3)


def test_models_that_are_there_are_scored_once_and_timed(tmp_path):
    save_classifier(tmp_path / "models/sst2_fp32/seed1")
    write_data(tmp_path / "data")
    (tmp_path / "models/sst2_fp32/seed2").mkdir()  # not trained to its end
    output = tmp_path / "scores.json"
    scores = score_models(tmp_path / "models", tmp_path / "data", [1, 2], output)
    assert list(scores) == ["sst2_fp32/seed1"]
    assert list(scores["sst2_fp32/seed1"]) == list(SERVED)
    assert all(value in (0, 100) for value in scores["sst2_fp32/seed1"]["int8"].values())
    known = json.loads(output.read_text()) | {"sst2_fp32/seed2": {}}
    output.write_text(json.dumps(known))
    assert score_models(tmp_path / "models", tmp_path / "data", [1, 2], output) == known
    seconds = time_models(tmp_path / "models", tmp_path / "data", 1, rounds=2)
    assert len(seconds) == 2
    assert all(len(values) == 2 for by_way in seconds.values() for values in by_way.values())


def test_tables_hold_means_differences_and_ratios():
    runs = {
        f"tnews_fp32/seed{seed}": {
            "float32": {"TNEWS test, accuracy": 50.0 + seed},
            "bfloat16": {"TNEWS test, accuracy": 50.0},
            "int8": {"TNEWS test, accuracy": 52.5},
        }
        for seed in (1, 2, 3)
    }
    row = score_table(runs).splitlines()[-1]
    assert row == "| TNEWS test, accuracy | float32 | 3 | 52.00 | 50.00 (-2.00) | 52.50 (+0.50) |"
    seconds = {"work": {"float32": [1.0, 2.0, 4.0], "bfloat16": [0.5, 1.0, 1.0], "int8": [1.0, 1.0, 1.0]}}
    assert time_table(seconds).splitlines()[-1] == "| work | 2.000 | 2.00 | 2.00 |"
