from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import peak, settings
from benchmarks.speed.cases import cost, cuda, documents, encoder, generation, overhead
from benchmarks.speed.lstm_peers import make_torch_lstm
from benchmarks.speed.measure import difference
from benchmarks.speed.models import load_classifier, load_translator
from benchmarks.speed.peak import find_products, multiply
from benchmarks.speed.variants import Runner, Setup


def outputs_of(runner: Runner) -> dict[str, np.ndarray]:
    runner.run(1)
    assert runner.outputs is not None
    return dict(runner.outputs(1))


@pytest.mark.parametrize("grouped", [False, True])
def test_padded_layer_is_inexact_and_ours_is_not(quick_setup: Setup, grouped: bool) -> None:
    work = encoder.Work(quick_setup, encoder.QUICK, grouped, training=True)
    packed = outputs_of(encoder.make_torch(work, packed=True))
    assert max(difference(outputs_of(encoder.make_ours(work)), packed).values()) < 1e-4
    assert max(difference(outputs_of(encoder.make_torch(work, packed=False)), packed).values()) > 1e-4


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("chosen", ["enforce_sorted False", "enforce_sorted True"])
def test_packed_layer_at_its_best_may_rely_on_sorted_batches(
    quick_setup: Setup, monkeypatch: pytest.MonkeyPatch, training: bool, chosen: str
) -> None:
    pick = settings.pick_fastest
    monkeypatch.setattr(
        encoder, "pick_fastest", lambda runs, seed: chosen if chosen in runs else pick(runs, seed, repeats=1)
    )
    work = encoder.Work(quick_setup, encoder.QUICK, True, training)
    packed, best = (outputs_of(runner := encoder.make_torch(work, True, best)) for best in (False, True))
    assert runner.settings.endswith(chosen) and runner.settings.startswith("matmul precision ")
    assert max(difference(best, packed).values()) < 2e-2
    unsorted = encoder.make_torch(encoder.Work(quick_setup, encoder.QUICK, False, training), True, best=True)
    assert "enforce_sorted" not in unsorted.settings


@pytest.mark.parametrize("training", [False, True])
def test_layers_in_bf16_come_close_to_the_reference(quick_setup: Setup, training: bool) -> None:
    work = encoder.Work(quick_setup, encoder.QUICK, False, training)
    packed = outputs_of(encoder.make_torch(work, packed=True))
    for runner in (encoder.make_ours(work, bf16=True), encoder.make_torch(work, packed=True, bf16=True)):
        assert runner.settings in ("autocast", "weights in bfloat16")
        assert 1e-4 < max(difference(outputs_of(runner), packed).values()) < 0.1


def test_classifier_in_bf16_leaves_the_other_rows_their_model(quick_setup: Setup) -> None:
    texts = documents.Documents(quick_setup, single=False)
    whole = outputs_of(documents.make_ours_predict(texts))
    rounded = outputs_of(documents.make_ours_predict(texts, best=True, bf16=True))
    assert not np.array_equal(rounded["score"], whole["score"])
    assert np.array_equal(outputs_of(documents.make_ours_predict(texts))["score"], whole["score"])


@pytest.mark.parametrize("single", [False, True])
def test_classifiers_at_their_best_are_checked_by_what_is_timed(
    quick_setup: Setup, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hf_lstm import LstmForSequenceClassification

    texts, predict = documents.Documents(quick_setup, single), LstmForSequenceClassification.predict
    reference = outputs_of(documents.make_ours_predict(texts))
    assert max(difference(outputs_of(documents.make_ours_predict(texts, best=True)), reference).values()) < 2e-2

    def predict_wrongly(model: object, *arguments: object, **given: object) -> list[dict[str, object]]:
        found = predict(model, *arguments, **given)  # type: ignore[arg-type]
        return [prediction | {"score": 2.0} for prediction in found] if "batch_size" in given else found

    monkeypatch.setattr(LstmForSequenceClassification, "predict", predict_wrongly)
    assert (outputs_of(documents.make_ours_predict(texts, best=True))["score"] == 2.0).all()


@pytest.mark.parametrize("name", ["ours", "Marian"])
def test_translators_at_their_best_are_checked_by_what_is_timed(
    quick_setup: Setup, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = generation.Work(quick_setup, 3, 1, 1, 5)
    plain = generation.with_precision
    monkeypatch.setattr(
        generation, "with_precision", lambda precision, generate: plain(precision, lambda *given: generate(*given) + 1)
    )
    make = generation.make_ours if name == "ours" else partial(generation.make_transformer, name="Marian")
    tokens = outputs_of(make(work, best=False))["tokens"]
    assert (outputs_of(make(work, best=True))["tokens"] == tokens + 1).all()


def test_settings_of_long_outputs_are_chosen_by_a_trial_of_few_tokens(
    quick_setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[str, int]] = []
    candidates = {
        name: lambda sentences, length=0, name=name: lengths.append((name, length)) for name in ("fast", "slow")
    }
    monkeypatch.setattr(
        settings, "_time", lambda run, seed: (run(seed), {"fast": 1.0, "slow": 9.0}[lengths[-1][0]])[1]
    )
    runner = generation.Work(quick_setup, 1, 1, 1, 50).make_tuned(candidates, 5, lambda generate: dict)
    assert runner.settings == "fast, chosen at 20 tokens"
    assert {length for _, length in lengths} == {20} and {name for name, _ in lengths} == {"fast", "slow"}
    runner.run(1)
    assert lengths[-1] == ("fast", 50)


def test_work_counts_real_tokens_only(quick_setup: Setup) -> None:
    work = encoder.Work(quick_setup, encoder.QUICK, False, False)
    masks = [batch.mask for batch in work.batches(1)]
    assert work.count(1) == sum(mask.sum() for mask in masks) < sum(mask.size for mask in masks)


def test_products_alone_do_as_many_operations_as_the_layer(quick_setup: Setup) -> None:
    work = encoder.Work(quick_setup, encoder.QUICK, False, training=True)
    size, rows = 16, []
    multiply(lambda inputs: rows.append(len(inputs)), torch.randn(size, size), work.count(1) * work.flops_per_token())
    weights = [parameter for parameter in make_torch_lstm(12, 8).parameters() if parameter.dim() == 2]
    flops = 3 * 2 * sum(parameter.numel() for parameter in weights) * work.count(1)
    assert sum(rows) * 2 * size**2 == pytest.approx(flops, abs=2 * size**2)
    assert max(rows) == size and len(rows) > 1


def test_peak_is_sought_among_products_that_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    products, inputs = find_products(64), torch.randn(8, 64)
    for product in products.values():
        assert product(inputs).shape == (8, 64)
    assert "nn.Linear, highest" in products
    monkeypatch.setattr(peak, "LARGEST_ERROR", -1.0)
    assert find_products(64) == {}


def test_chunks_and_one_pass_read_a_document_alike(quick_setup: Setup) -> None:
    chunks = outputs_of(cost.make_ours(quick_setup, 50, chunk=7))
    assert max(difference(chunks, outputs_of(cost.make_torch(quick_setup, 50, chunk=None))).values()) < 1e-4
    assert max(difference(chunks, outputs_of(cost.make_torch(quick_setup, 49, chunk=None))).values()) > 1e-2


def test_generate_and_bare_steps_write_the_same_tokens_of_fixed_number(quick_setup: Setup) -> None:
    work = generation.Work(quick_setup, 3, 2, 1, 5)
    tokens = outputs_of(generation.make_ours(work))["tokens"]
    assert tokens.shape == (3, 5) and work.count(1) == 3 * 2 * 5
    assert (tokens == outputs_of(overhead.make_bare_generation(work))["tokens"]).all()


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_leave_the_other_rows_their_model(quick_setup: Setup, precision: str) -> None:
    work = generation.Work(quick_setup, 3, 1, 1, 5)
    whole = generation.make_ours(work)
    assert outputs_of(generation.make_ours(work, precision))["tokens"].shape == (3, 5)
    best = generation.make_ours(work, best=True)
    assert best.settings.startswith("inference mode, matmul precision ")
    assert (outputs_of(best)["tokens"] == outputs_of(whole)["tokens"]).all()
    assert "inference mode" in generation.make_ours(work, precision, best=True).settings
    assert generation.make_ours(work).parameters == whole.parameters > 0


@pytest.mark.parametrize("name", ["Marian", "T5-small"])
def test_transformers_write_the_same_number_of_tokens(quick_setup: Setup, name: str) -> None:
    work = generation.Work(quick_setup, 3, 1, 2, 5)
    assert outputs_of(generation.make_transformer(work, name, best=False))["tokens"].shape == (3, 5)


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_ctranslate2_translates_with_the_weights_of_marian(quick_setup: Setup, compute_type: str) -> None:
    pytest.importorskip("ctranslate2")
    work = generation.Work(quick_setup, 3, 1, 1, 5)
    tokens = outputs_of(generation.make_ctranslate2(work, compute_type, best=False))["tokens"]
    assert tokens.shape == (3, 5)
    if compute_type == "float32":
        assert (tokens == outputs_of(generation.make_transformer(work, "Marian", best=False))["tokens"]).all()


def test_trainer_and_bare_loop_come_to_the_same_weights(quick_setup: Setup) -> None:
    ours, bare = outputs_of(overhead.make_trainer(quick_setup)), outputs_of(overhead.make_bare_training(quick_setup))
    assert max(difference(ours, bare).values()) < 1e-4
    initial = overhead.Training(quick_setup).model.state_dict()
    untrained = torch.cat([weights.flatten() for weights in initial.values()]).numpy()
    assert max(difference({"trained weights": untrained}, bare).values()) > 1e-3


def test_gpu_case_compares_as_the_encoder_does(quick_setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    work = encoder.Work(quick_setup, encoder.QUICK, False, training=True)
    reference = outputs_of(cuda.make_torch(work, "fp32"))
    assert max(difference(outputs_of(cuda.make_ours(work, "fp32")), reference).values()) < 1e-4
    assert max(difference(outputs_of(cuda.make_ours(work, "bf16")), reference).values()) < 5e-2


def test_saved_models_are_measured_where_their_folders_are_given(quick_setup: Setup, tmp_path: Path) -> None:
    from dataclasses import replace

    for name, load in (("classifier", load_classifier), ("translator", load_translator)):
        built = load(quick_setup)
        assert built.origin.startswith("random weights")
        built.model.save_pretrained(tmp_path / name)
        built.tokenizer.save_pretrained(tmp_path / name)
        loaded = load(replace(quick_setup, **{name: tmp_path / name}))
        assert loaded.origin == "trained weights"
        assert loaded.tokenizer("de fi")["input_ids"] == built.tokenizer("de fi")["input_ids"]
        ours, theirs = loaded.model.state_dict(), built.model.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_fastest_settings_are_chosen_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(settings.time, "perf_counter", lambda: clock[0])
    seen = []

    def take(seconds: float) -> None:
        seen.append(torch.get_float32_matmul_precision())
        clock[0] += seconds

    before = torch.get_float32_matmul_precision()
    candidates = {
        "slow": lambda seed: take(2.0),
        "fast": settings.with_precision("medium", lambda seed: take(1.0)),
    }
    assert settings.pick_fastest(candidates, seed=1) == "fast"
    assert seen == [before] * 3 + ["medium"] * 3
    assert torch.get_float32_matmul_precision() == before
