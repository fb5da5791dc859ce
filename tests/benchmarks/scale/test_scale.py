import argparse
import glob
import json
from pathlib import Path

import pytest
from transformers import TrainerState

from benchmarks.scale.corpus import LABELS, NUM_SHARDS, write_corpus
from benchmarks.scale.run import measure, plan, summarize, write_report
from benchmarks.scale.training_run import Recorder


def read(pattern):
    return [json.loads(line) for path in sorted(glob.glob(pattern)) for line in Path(path).read_text().splitlines()]


def records(mebibytes_per_step=0.0):
    """
    Ten steps of 10,000 tokens, a tenth of a second each except the first, before which a window is read for a second.

    Memory grows at first or all the time.
    """
    memory = [500.0] + [700.0 + mebibytes_per_step * step for step in range(1, 11)]
    return [
        {
            "tokens": step * 10_000,
            "mebibytes": mebibytes,
            "processor_seconds": 5 + (step > 0) + step / 10,
            "seconds": step,
        }
        for step, mebibytes in enumerate(memory)
    ]


def test_corpus_has_as_many_tokens_as_asked(tmp_path):
    rows = read(write_corpus(tmp_path, 4000, 10))
    assert len(rows) == 400 and {len(row["text"].split()) for row in rows} == {10}
    assert {row["label"] for row in rows} == set(LABELS)


def test_corpus_of_pairs_counts_both_sides(tmp_path):
    pattern = write_corpus(tmp_path, 4000, 10, num_sides=2)
    rows = read(pattern)
    assert len(glob.glob(pattern)) == NUM_SHARDS and len(rows) == 200
    assert all(row["target"] == row["text"].replace("w", "v") for row in rows)


def test_flat_memory_has_no_slope_after_the_warm_up():
    figures = summarize({"records": records()})
    assert figures["mebibytes_per_million_tokens"] == pytest.approx(0, abs=1e-6)
    assert (figures["least_mebibytes"], figures["most_mebibytes"]) == (700, 700)
    assert figures["tokens_per_second"] == pytest.approx(50_000)


def test_growing_memory_is_seen():
    figures = summarize({"records": records(mebibytes_per_step=2)})
    assert figures["mebibytes_per_million_tokens"] == pytest.approx(200)
    assert figures["most_mebibytes"] - figures["least_mebibytes"] == 18


def test_part_of_a_run_is_summarized():
    assert summarize({"records": records()}, upto=45_000)["tokens"] == 40_000


def test_report_has_a_row_for_each_point():
    run = {"length": 128, "num_tokens": 100_000, "records": records()}
    step = {"processor_seconds": 2.5, "seconds": 3.5, "peak_mebibytes": 400.4}
    report = write_report(
        {"classifier": [run], "ranks-2": [run, run], "prepare-1": [{"tokenised": step, "found": step}]}
    )
    assert "| ranks-2, 128 tokens a text | 100,000 | 50,000 | 700 to 700 | +0.0 |" in report
    assert "| prepare-1, found | 2.50 | 3.50 | 400 |" in report


def test_point_that_was_stopped_is_measured_again(tmp_path, monkeypatch):
    path = tmp_path / "result-0.json"
    recorder, state = Recorder(path, {"length": 7}, tokens_per_step=100, interval=1), TrainerState(max_steps=2)

    def train(command, check):
        recorder.on_train_begin()
        for state.global_step in (1, 2):
            recorder.on_step_end(None, state, None)
            assert not path.exists()
        recorder.on_train_end()

    recorder.on_train_begin()  # and is stopped
    recorder.records.clear()
    monkeypatch.setattr("benchmarks.scale.run.subprocess.run", train)
    (result,) = measure(tmp_path, "training_run.py", 1, {"length": 7})
    assert [record["tokens"] for record in result["records"]] == [0, 100, 200]
    monkeypatch.setattr("benchmarks.scale.run.subprocess.run", None)  # it is not measured again
    assert measure(tmp_path, "training_run.py", 1, {"length": 7}) == [result]


def test_every_point_has_a_job(tmp_path):
    points = plan(argparse.Namespace(output=tmp_path, tokens=4800, point_tokens=2000, lengths=[16]))
    assert sorted(points) == [
        *("classifier", "length-16", "prepare-1", "prepare-2", "ranks-1", "ranks-2", "translator"),
    ]
    assert points["ranks-2"][1] == 2
    assert Path(points["prepare-1"][2]["file"]).exists()
