"""Long texts: chunks give the logits of one pass, in memory that does not grow; windows are averaged."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from hf_lstm import LstmForSequenceClassification
from hf_lstm.models.chunks_lstm import LongTexts
from hf_lstm.models.configuration_lstm import CLASSIFIER_POOLINGS
from hf_lstm.models.padding_lstm import Padding
from tests.models.factories import HIDDEN_SIZE, MASK, make_input_ids, make_model, randomize

LENGTH = 17
DIRECTIONS = {
    "one": {"num_hidden_layers": 1},
    "deep": {"num_hidden_layers": 3, "last_hidden_size": 4},
    "both": {"num_hidden_layers": 1, "bidirectional": True},
}
RESIDUAL = {"residual_connections": True, "embedding_size": HIDDEN_SIZE}
FEATURES = {
    "plain": {},
    "layer_norm": {"layer_norm": True},
    "residual": RESIDUAL,
    "residual and layer_norm": RESIDUAL | {"layer_norm": True},
    "ngrams": {"ngram_orders": [4, 2], "classifier_shortcut": True},
    "ngram_classifier": {"classifier_ngram_orders": [3, 1], "classifier_shortcut": True},
}


def make_mask(kind: str) -> torch.Tensor | None:
    """Returns a mask for 6 rows, at least one of them long; all but the full ones have a row without tokens."""
    lengths = torch.tensor([LENGTH, 1, 5, 0, 12, LENGTH - 1])
    right = (torch.arange(LENGTH) < lengths.unsqueeze(1)).long()
    if kind == "random":
        mask = (torch.rand(6, LENGTH) < torch.tensor([0.9, 0.1, 0.5, 0, 0.7, 0.3]).unsqueeze(1)).long()
        mask[5, 3:11] = 0  # a hole longer than a chunk
        return mask
    return {"none": None, "right": right, "left": right.flip(1), "empty": torch.zeros(6, LENGTH)}[kind]


def make_classifier(**overrides) -> LstmForSequenceClassification:
    return make_model(LstmForSequenceClassification, **overrides)


def classify(model: LstmForSequenceClassification, input_ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids, attention_mask=mask).logits


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("padding", ["none", "right", "left", "random"])
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_chunks_give_the_logits_of_one_pass(pooling, directions, features, padding):
    model = make_classifier(classifier_pooling=pooling, **DIRECTIONS[directions], **FEATURES[features])
    input_ids, mask = make_input_ids(6, LENGTH), make_mask(padding)
    expected = classify(model, input_ids, mask)
    for chunk_length in (1, 3, LENGTH - 1, LENGTH + 4):
        result = model.classify_in_chunks(input_ids, mask, chunk_length=chunk_length)
        assert_same(result.logits, expected)
        assert list(result) == ["logits"]
        assert not result.logits.requires_grad


def test_chunks_of_one_bidirectional_layer_of_another_width_give_the_logits_of_one_pass():
    model = make_classifier(**DIRECTIONS["both"], last_hidden_size=4)
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("right")
    assert_same(model.classify_in_chunks(input_ids, mask, chunk_length=3).logits, classify(model, input_ids, mask))


@pytest.mark.parametrize("seed", range(12))
def test_chunks_give_the_logits_of_one_pass_with_any_mask(seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(100, (4,), generator=generator).tolist()
    length, chunk_length = 2 + drawn[0] % 30, 1 + drawn[1] % 9
    model = make_classifier(
        classifier_pooling=CLASSIFIER_POOLINGS[seed % 5],
        **list(DIRECTIONS.values())[drawn[2] % 3],
        **list(FEATURES.values())[drawn[3] % 6],
    )
    shares = torch.rand(5, 1, generator=generator)
    mask = torch.rand(5, length, generator=generator) < shares
    input_ids = make_input_ids(5, length, seed)
    result = model.classify_in_chunks(input_ids, mask, chunk_length)
    assert_same(result.logits, classify(model, input_ids, mask))


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
def test_what_stands_at_padding_changes_nothing(pooling, directions):
    model = make_classifier(classifier_pooling=pooling, **DIRECTIONS[directions], **FEATURES["ngrams"])
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("random")
    others = torch.where(mask == 1, input_ids, make_input_ids(6, LENGTH, seed=1))
    expected = model.classify_in_chunks(input_ids, mask, chunk_length=4).logits
    assert torch.equal(model.classify_in_chunks(others, mask, chunk_length=4).logits, expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0)])
@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_texts_of_no_length_are_classified(method, shape):
    model = make_classifier(classifier_shortcut=True, classifier_ngram_orders=[1, 2], num_hidden_layers=1).double()
    input_ids = torch.zeros(shape, dtype=torch.long)
    mask = torch.ones(shape)
    assert_same(getattr(model, method)(input_ids, mask).logits, classify(model, input_ids, mask))


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_texts_without_tokens_are_classified(method):
    model = make_classifier(num_hidden_layers=1, **FEATURES["ngram_classifier"])
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("empty")
    assert_same(getattr(model, method)(input_ids, mask, 2).logits, classify(model, input_ids, mask))


def test_each_direction_is_swept_once_unless_both_are_needed_side_by_side(monkeypatch):
    for pooling, expected in (("concat", 2 * LENGTH), ("attention", 3 * LENGTH)):
        model = make_classifier(classifier_pooling=pooling, **DIRECTIONS["both"])
        steps = []
        layer = model.model.layers[0]
        run = layer.forward

        def count(inputs: torch.Tensor, padding: Padding | None, *states, run=run, steps=steps, direction=None):
            steps.append(inputs.shape[1] * (2 if direction is None else 1))
            return run(inputs, padding, *states, direction=direction)

        monkeypatch.setattr(layer, "forward", count)
        model.classify_in_chunks(make_input_ids(2, LENGTH), chunk_length=5)
        assert sum(steps) == expected


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_no_layer_reads_more_than_a_chunk(directions, monkeypatch):
    model = make_classifier(classifier_pooling="attention", **DIRECTIONS[directions])
    lengths = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    model.classify_in_chunks(make_input_ids(6, LENGTH), make_mask("left"), chunk_length=5)
    assert set(lengths) == {5, 2}


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_half_precision_is_added_up_in_float32(pooling):
    """A sum of bfloat16 numbers stops growing after a few hundred of them."""
    model = make_classifier(classifier_pooling=pooling, num_hidden_layers=1)
    input_ids = torch.tensor([[5] * 600 + [9] * 2400])
    expected = classify(model, input_ids, None)
    logits = model.to(torch.bfloat16).classify_in_chunks(input_ids, chunk_length=1).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("pooling", ["last", "attention"])
@pytest.mark.parametrize("directions", DIRECTIONS)
def test_half_precision_is_read_in_chunks(directions, pooling):
    model = make_classifier(classifier_pooling=pooling, **DIRECTIONS[directions]).to(torch.bfloat16)
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("left")
    logits = model.classify_in_chunks(input_ids, mask, chunk_length=5).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits, classify(model, input_ids, mask), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_chunks_respect_adapters(pooling):
    model = make_classifier(classifier_pooling=pooling, classifier_ngram_orders=[1, 2], **DIRECTIONS["both"])
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("right")
    before = classify(model, input_ids, mask)
    parameters = ["layers.0.weight_ih_l0", "layers.0.weight_hh_l0_reverse"]
    adapter = LoraConfig(
        r=2, target_parameters=parameters, target_modules=[], modules_to_save=["classifier", "ngram_classifier"]
    )
    tuned = randomize(get_peft_model(model, adapter)).eval()
    expected = classify(tuned, input_ids, mask)
    assert not torch.allclose(expected, before, atol=1e-2)
    assert_same(tuned.classify_in_chunks(input_ids, mask, chunk_length=5).logits, expected)


def test_chunks_work_under_autocast():
    model = make_classifier(**DIRECTIONS["both"])
    input_ids = make_input_ids(6, LENGTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.classify_in_chunks(input_ids, make_mask("right"), chunk_length=5).logits
    torch.testing.assert_close(logits.float(), classify(model, input_ids, make_mask("right")), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("classify", {}),
        ("classify_in_chunks", {"chunk_length": 3}),
        ("classify_in_chunks", {"chunk_length": LENGTH}),
        ("classify_in_windows", {"window_length": LENGTH}),
    ],
)
def test_models_that_return_tuples_classify_long_texts(method, arguments):
    model = make_classifier(num_hidden_layers=1, return_dict=False)
    input_ids = make_input_ids(6, LENGTH)
    result = getattr(model, method)(input_ids, **arguments)
    assert_same(result if method == "classify" else result.logits, model(input_ids)[0].detach())


def test_chunks_leave_the_texts_as_they_are():
    model = make_classifier(**DIRECTIONS["both"], **FEATURES["ngrams"])
    input_ids, mask = make_input_ids(6, LENGTH), make_mask("left")
    before = input_ids.clone(), mask.clone()
    model.classify_in_chunks(input_ids, mask, chunk_length=5)
    model.classify_in_windows(input_ids, mask, window_length=5)
    assert torch.equal(input_ids, before[0])
    assert torch.equal(mask, before[1])


def test_several_bidirectional_layers_are_refused_and_offered_windows():
    model = make_classifier(bidirectional=True)
    assert not model.can_classify_in_chunks
    with pytest.raises(ValueError, match=r"`num_hidden_layers` is 2.*Take `classify_in_windows`"):
        model.classify_in_chunks(make_input_ids())
    assert model.classify_in_windows(make_input_ids(), MASK, window_length=3).logits.shape == (6, 4)


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_all_other_models_can_classify_in_chunks(directions):
    assert make_classifier(**DIRECTIONS[directions]).can_classify_in_chunks


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_a_model_in_training_is_refused(method):
    with pytest.raises(ValueError, match=r"training mode.*`model.eval\(\)`.*truncate"):
        getattr(make_classifier().train(), method)(make_input_ids())


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("classify_in_chunks", {"chunk_length": 0}, "`chunk_length` is 0, but must be at least 1"),
        ("classify_in_windows", {"window_length": 0}, "`window_length` is 0, but must be at least 1"),
        ("classify_in_windows", {"batch_size": 0}, "`batch_size` is 0, but must be at least 1"),
        (
            "classify_in_windows",
            {"window_length": 3, "overlap": 3},
            "`overlap` is 3, but must be below",
        ),
        ("classify_in_windows", {"overlap": -1}, "`overlap` is -1, but must be at least 0"),
        ("classify_in_windows", {"overlap": 1.5}, "`overlap` is 1.5, but must be a whole number"),
        ("classify_in_chunks", {"chunk_length": 500.5}, "`chunk_length` is 500.5, but must be a whole number"),
    ],
)
def test_a_length_that_makes_no_sense_is_refused(method, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(make_classifier(), method)(make_input_ids(), **arguments)


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_a_length_may_be_a_number_of_numpy(method):
    model, input_ids = make_classifier(), make_input_ids()
    assert torch.equal(*(getattr(model, method)(input_ids, None, length).logits for length in (3, np.int64(3))))


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_texts_and_mask_of_other_shapes_are_refused(method):
    model = make_classifier()
    with pytest.raises(ValueError, match=r"shape \(6, 7\) and `attention_mask` of \(6, 5\)"):
        getattr(model, method)(make_input_ids(), MASK[:, :5])
    with pytest.raises(ValueError, match=r"shape \(7,\) and `attention_mask` of None"):
        getattr(model, method)(make_input_ids()[0])


@pytest.mark.parametrize(
    ("num_tokens", "length", "overlap", "starts"),
    [
        (7, 3, 0, [0, 2, 4]),
        (9, 3, 0, [0, 3, 6]),
        (9, 3, 2, [0, 1, 2, 3, 4, 5, 6]),
        (10, 4, 1, [0, 3, 6]),
        (3, 4, 1, [0]),
        (4, 4, 1, [0]),
        (0, 4, 1, [0]),
    ],
)
def test_windows_cover_the_text_evenly(num_tokens, length, overlap, starts):
    texts = LongTexts(torch.arange(20).view(2, 10), torch.arange(10).expand(2, 10) < num_tokens)
    windows = list(texts.cut_windows(1, length, overlap, batch_size=2))
    assert max(len(batch) for batch in windows) <= 2
    expected = torch.tensor([[10 + start + place for place in range(min(length, num_tokens))] for start in starts])
    assert torch.equal(torch.cat(windows), expected.long().view(len(starts), -1))


@pytest.mark.parametrize("features", ["plain", "ngram_classifier"])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_windows_logits_are_averaged(features, batch_size):
    model = make_classifier(bidirectional=True, **FEATURES[features])
    input_ids = make_input_ids(2, 9)
    mask = torch.ones_like(input_ids)
    mask[1, :3] = 0
    logits = model.classify_in_windows(input_ids, mask, window_length=4, overlap=1, batch_size=batch_size).logits
    assert not logits.requires_grad
    starts = {0: (0, 2, 5), 1: (3, 5)}
    for row, places in starts.items():
        windows = torch.stack([input_ids[row, place : place + 4] for place in places])
        assert_same(logits[row], classify(model, windows, None).mean(dim=0))


@pytest.mark.parametrize("num_tokens", [30, 31])
def test_windows_share_an_eighth_of_their_length_unless_told(num_tokens):
    model, input_ids = make_classifier(), make_input_ids(2, num_tokens)
    logits = model.classify_in_windows(input_ids, window_length=16).logits
    assert torch.equal(logits, model.classify_in_windows(input_ids, window_length=16, overlap=2).logits)


def test_a_text_not_longer_than_a_window_is_classified_in_one_pass():
    model = make_classifier(bidirectional=True)
    logits = model.classify_in_windows(make_input_ids(), MASK, window_length=7).logits
    assert_same(logits, classify(model, make_input_ids(), MASK))


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
def test_padding_without_a_mask_is_warned_of(method, monkeypatch):
    model = make_classifier(num_hidden_layers=1)
    calls = []
    monkeypatch.setattr(
        model.model, "warn_if_padding_and_no_attention_mask", lambda *arguments: calls.append(arguments)
    )
    input_ids = make_input_ids(2, LENGTH)
    getattr(model, method)(input_ids, None, 4)
    assert calls == [(input_ids, None)]


MEASURE_GROWTH = """
import sys, torch
from benchmarks.common.memory import peak_memory, resident_memory, start_peak
from hf_lstm import LstmConfig, LstmForSequenceClassification

directions, num_tokens = sys.argv[1], int(sys.argv[2])
pooling = "attention" if directions == "side by side" else "concat"
fields = {"bidirectional": True} if directions != "deep" else {"num_hidden_layers": 2}
config = LstmConfig(vocab_size=50, embedding_size=16, hidden_size=32, classifier_pooling=pooling,
    classifier_ngram_orders=[1, 2], classifier_ngram_buckets=1000, **fields)
model = LstmForSequenceClassification(config).eval()
input_ids = torch.randint(4, 50, (1, num_tokens))
model.classify_in_chunks(input_ids[:, :1000], chunk_length=256)
start_peak()
before = resident_memory()
model.classify_in_chunks(input_ids, chunk_length=256)
print(peak_memory() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("directions", ["deep", "both", "side by side"])
def test_memory_does_not_grow_with_the_text(directions):
    def measure(num_tokens: int) -> int:
        command = [sys.executable, "-c", MEASURE_GROWTH, directions, str(num_tokens)]
        root = Path(__file__).parents[2]
        return int(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)

    short, long = measure(50_000), measure(200_000)
    # One pass needs 32 numbers of 4 bytes for each of the 150,000 further tokens, for its last output alone.
    assert long - short < 150_000 * 32 * 4 / 4


@pytest.mark.parametrize("method", ["classify_in_chunks", "classify_in_windows"])
@pytest.mark.parametrize("features", FEATURES)
def test_texts_without_tokens_have_the_logits_of_one_pass(features, method):
    model = make_model(LstmForSequenceClassification, **FEATURES[features])
    nothing = torch.zeros(2, 0, dtype=torch.long)
    torch.testing.assert_close(getattr(model, method)(nothing).logits, model(nothing).logits)
