from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.speed import measure, session, variants, workers
from benchmarks.speed.variants import Runner, Section, Setup, Variant


class FakeWorker:
    """Does what a worker does, in this process; its seconds are those that a test lays down."""

    started: list[str] = []
    seconds: dict[str, float] = {"ours": 1.0, "peer": 4.0, "wrong": 1.0, "broken": 1.0}

    def __init__(self, case: str, process: str, setup: Setup):
        self.bench = workers.Bench(case, setup)
        self.started.append(process)

    def call(self, command: str, *arguments: Any) -> Any:
        if command == "measure":
            return self.seconds[arguments[1]]
        if command == "memory":
            return 2048.0
        try:
            return getattr(self.bench, command)(*arguments)
        except Exception as error:
            raise workers.WorkerError(f"Traceback\n  File\nValueError: {error}\n") from None

    def close(self) -> None:
        pass


def make(value: float) -> Callable[[], Runner]:
    return lambda: Runner(lambda seed: None, 5, lambda seed: {"y": np.full(3, value)}, describe="of random weights")


def fail() -> Runner:
    raise ValueError("no memory")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, quick_setup: Setup) -> Callable[..., dict[str, dict[str, Any]]]:
    """Runs a case that holds one section of the given variants, and returns its rows by name."""

    def run_case(*made: Variant, **others: Any) -> dict[str, dict[str, Any]]:
        section = Section("s", "units", lambda seed: 8.0 * seed, made, flops_per_unit=3.0, **others)
        for module in (session, workers):
            monkeypatch.setattr(module, "load_sections", lambda case, setup: [section])
        monkeypatch.setattr(session, "reason_to_skip", lambda case: None)
        monkeypatch.setattr(session, "Worker", FakeWorker)
        monkeypatch.setattr(FakeWorker, "started", [])
        return {row["variant"]: row for row in session.Session("encoder", quick_setup).run()}

    return run_case


def test_rows_hold_rates_ratios_and_the_check(run: Callable[..., dict[str, dict[str, Any]]]) -> None:
    rows = run(
        Variant("ours", make(1.0), reference="peer"),
        Variant("peer", make(1.0), settings="of its own", process="jax", remark="the reference"),
        memory=True,
    )
    assert rows["ours"]["rates"] == [8.0, 16.0] and rows["peer"]["rates"] == [2.0, 4.0]
    assert rows["peer"]["ratio"]["median"] == 4.0 and rows["ours"]["ratio"]["median"] == 1.0
    assert rows["ours"]["flops"] == 3.0 * rows["ours"]["rate"]["median"]
    assert rows["ours"]["differences"] == {"y": 0.0} and "equals peer" in rows["ours"]["check"]
    assert rows["peer"]["check"] == "the reference" and rows["peer"]["settings"] == "of its own"
    assert rows["ours"]["parameters"] == 5 and rows["ours"]["memory"] == 2048.0
    assert FakeWorker.started == ["torch", "jax", "torch", "jax"]  # memory is measured in fresh processes


def test_unequal_outputs_fail_and_are_not_measured(run: Callable[..., dict[str, dict[str, Any]]]) -> None:
    rows = run(Variant("ours", make(1.0)), Variant("wrong", make(1.1), reference="ours"))
    assert rows["wrong"]["status"].startswith("failed: outputs differ from ours: wrong: y differs by 0.1")
    assert "rates" not in rows["wrong"] and "rates" in rows["ours"]


def test_variant_that_breaks_is_marked_and_the_others_go_on(run: Callable[..., dict[str, dict[str, Any]]]) -> None:
    rows = run(Variant("ours", make(1.0)), Variant("broken", fail))
    assert rows["broken"]["status"] == "failed: ValueError: no memory"
    assert "rates" in rows["ours"]


def test_missing_package_is_one_line_that_says_what_to_install(
    run: Callable[..., dict[str, dict[str, Any]]], capsys: pytest.CaptureFixture
) -> None:
    rows = run(Variant("ours", make(1.0)), Variant("peer", fail, packages=("no_such_module",), process="absent"))
    expected = "not run: no_such_module not installed: pip install 'hf_lstm[bench]'"
    assert rows["peer"]["status"] == expected
    assert capsys.readouterr().out.count(expected) == 1
    assert FakeWorker.started == ["torch"]


def test_bfloat16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    variant = Variant("ours", fail, precision="bf16")
    for is_supported in (True, False):
        monkeypatch.setattr(variants, "has_onednn_kernel", lambda dtype, found=is_supported: found)
        assert (variant.missing() is None) == is_supported
        assert replace(variant, on_gpu=True).missing() is None


def test_skipped_case_leaves_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch, quick_setup: Setup) -> None:
    monkeypatch.setattr(session, "reason_to_skip", lambda case: "there is no device")
    (row,) = session.Session("cuda", quick_setup).run()
    assert row["status"] == "skipped: there is no device" and row["case"] == "cuda"


def test_cuda_case_is_skipped_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device" in str(variants.reason_to_skip("cuda"))
    assert variants.reason_to_skip("encoder") is None


def test_environment_limits_threads_and_is_put_back(monkeypatch: pytest.MonkeyPatch, quick_setup: Setup) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    with workers.changed_environment(workers.environment("keras-jax", 1, quick_setup.scratch)):
        assert workers.os.environ["OMP_NUM_THREADS"] == "1"
        assert workers.os.environ["KERAS_BACKEND"] == "jax"
    assert workers.os.environ["OMP_NUM_THREADS"] == "7"
    assert "KERAS_BACKEND" not in workers.os.environ


def test_process_measures_a_variant_and_its_memory(quick_setup: Setup) -> None:
    worker = workers.Worker("encoder", "torch", quick_setup)
    try:
        section = "training, grouped by length"
        ready = worker.call("prepare", section, "ours")
        assert set(ready["outputs"]) == {"output", "gradients", "input gradients"}
        assert ready["parameters"] == 2 * 4 * 8 * (12 + 8 + 2)
        assert worker.call("measure", section, "ours", 2) > 0
        assert worker.call("memory", section, "ours") >= 0
        with pytest.raises(workers.WorkerError, match="KeyError"):
            worker.call("prepare", "no such section", "ours")
    finally:
        worker.close()


def test_row_whose_reference_failed_is_measured_but_marked(run: Callable[..., dict[str, dict[str, Any]]]) -> None:
    rows = run(Variant("ours", make(1.0), reference="broken"), Variant("broken", fail))
    assert rows["ours"]["status"] == "measured" and rows["ours"]["is_unchecked"]
    assert rows["ours"]["check"] == "not compared: no outputs of broken"


def test_documents_compare_predict_with_the_pipeline(monkeypatch: pytest.MonkeyPatch, quick_setup: Setup) -> None:
    from transformers import pipeline

    from hf_lstm import LstmForSequenceClassification

    def predict(model: Any, texts: list[str], tokenizer: Any, batch_size: int = 4, progress_bar: bool = True) -> Any:
        assert not progress_bar
        classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
        return classify(texts, batch_size=batch_size)

    monkeypatch.setattr(LstmForSequenceClassification, "predict", predict, raising=False)
    bench = workers.Bench("documents", quick_setup)
    monkeypatch.setattr(bench, "_limit_threads", lambda: None)
    ours = bench.prepare("throughput", "ours, predict")
    theirs = bench.prepare("throughput", "ours, pipeline")
    assert ours["describe"] == "classifier: random weights, shape of sst2.yaml"
    assert ours["outputs"]["label"].shape == (8,)
    assert max(measure.difference(ours["outputs"], theirs["outputs"]).values()) < 1e-4
    tuned = bench.prepare("one at a time", "bert-tiny, bf16, best")
    assert tuned["settings"].startswith("sorted batches of 1, ")
    assert bench.measure("one at a time", "bert-tiny, bf16, best", 2) > 0


def test_plain_loop_and_ours_have_the_same_loss_and_gradients(
    monkeypatch: pytest.MonkeyPatch, quick_setup: Setup
) -> None:
    bench = workers.Bench("seq2seq_training", quick_setup)
    monkeypatch.setattr(bench, "_limit_threads", lambda: None)
    ours = bench.prepare("random order", "ours")["outputs"]
    theirs = bench.prepare("random order", "plain PyTorch, packed")["outputs"]
    assert set(ours) == {"loss", "gradients"}
    assert max(measure.difference(ours, theirs).values()) < 1e-4
