"""Bulk prediction gives what the pipelines give, in the order of the texts."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import pipeline

from hf_lstm import LstmForConditionalGeneration, LstmForSequenceClassification
from hf_lstm.models import prediction_lstm, prepacking_lstm
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.prediction_lstm import pad_right, read_sorted, sorted_batches
from hf_lstm.models.prepacking_lstm import is_prepackable
from tests.cli.saved_models import TEXTS, load, save_classifier, save_translator

# Of many lengths, out of order.
MANY = [TEXTS[0], "dog", *TEXTS[1:], "a a a a a a a a", "the film sang", "home rain"]


def test_batches_hold_so_many_rows_and_tokens_the_longest_first():
    assert list(sorted_batches([2, 12, 4, 5, 1, 2, 2], 3, 10)) == [[1], [3, 2], [0, 5, 6], [4]]
    assert list(sorted_batches([2, 12, 4, 5, 1, 2, 2], 4, 100)) == [[1, 3, 2, 0], [5, 6, 4]]
    assert list(sorted_batches([3, 11, 2, 8, 3, 1, 13], 3, 24)) == [[6], [1, 3], [0, 4, 2], [5]]
    assert list(sorted_batches([], 3, 10)) == []


def test_rows_are_padded_on_the_right():
    batch = pad_right([[5, 6], [], [7, 0, 9]], 3)
    assert batch["input_ids"].tolist() == [[5, 6, 3], [3, 3, 3], [7, 0, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    empty = pad_right([[], []], 3)["input_ids"]
    assert empty.shape == (2, 0) and empty.dtype == torch.long


def test_something_must_be_read_of_each_row():
    with pytest.raises(ValueError, match="shorter"):
        read_sorted([[5], [6, 7]], lambda batch: ["one"], pad_token_id=3, batch_size=2)


ONE_LABEL = {"problem_type": None, "id2label": {0: "good"}, "label2id": {"good": 0}}
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression", None)


@pytest.fixture(params=[*({"problem_type": problem} for problem in PROBLEMS), ONE_LABEL])
def classifier(request, tmp_path):
    return load(LstmForSequenceClassification, save_classifier(tmp_path / "model", **request.param))


def assert_alike(ours, theirs) -> None:
    assert [row["label"] for row in ours] == [row["label"] for row in theirs]
    assert [row["score"] for row in ours] == pytest.approx([row["score"] for row in theirs], abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_classifier_predicts_what_the_pipeline_says(classifier, batch_size, monkeypatch):
    monkeypatch.setattr(prediction_lstm, "_PIECE_SIZE", 4)
    model, tokenizer = classifier
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert_alike(model.predict(MANY, tokenizer, batch_size=batch_size), classify(MANY))
    every = model.predict(MANY, tokenizer, top_k=None, batch_size=batch_size)
    for ours, theirs in zip(every, classify(MANY, top_k=None), strict=True):
        assert_alike(ours, theirs)
    assert model.predict(MANY, tokenizer, top_k=99, batch_size=batch_size) == every


def test_weights_are_looked_at_once_while_texts_are_predicted(tmp_path, monkeypatch):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    layers = [module for module in model.modules() if isinstance(module, LstmLayer)]
    looks, prepackings, prepack = [], [], prepacking_lstm._prepack
    monkeypatch.setattr(prepacking_lstm, "_prepack", lambda *a: prepackings.append(1) or prepack(*a))
    monkeypatch.setattr(prepacking_lstm, "_are_same", lambda *a: looks.append(1) or True)
    for _ in range(2):
        model.predict(MANY, tokenizer, batch_size=3)
    can_prepack = is_prepackable(torch.zeros(1))
    assert len(looks) == len(layers) * can_prepack
    # With the column for padding and without.
    assert len(layers) * can_prepack <= len(prepackings) <= 2 * len(layers)


def test_classifier_reads_so_many_tokens_and_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_lstm, "_PIECE_SIZE", 4)
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    cut = model.predict([MANY[5]], tokenizer, top_k=None, max_length=4)
    ids = tokenizer(MANY[5], truncation=True, max_length=4, return_tensors="pt")
    with torch.no_grad():
        assert_alike(
            sorted(cut[0], key=lambda row: row["label"]),
            [
                {"label": name, "score": score}
                for name, score in zip(["bad", "fair", "good"], model(**ids).logits.softmax(-1)[0].tolist())
            ],
        )
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    pairs = [{"text": first, "text_pair": second} for first, second in zip(MANY, reversed(MANY))]
    assert_alike(
        model.predict(MANY, tokenizer, text_pairs=MANY[::-1]), [classify(pair, truncation=True) for pair in pairs]
    )


@pytest.mark.parametrize("num_layers", [1, 2])
def test_very_long_texts_are_read_in_chunks_where_that_is_exact(tmp_path, monkeypatch, num_layers):
    folder = save_classifier(tmp_path / "model", bidirectional=True, num_hidden_layers=num_layers)
    model, tokenizer = load(LstmForSequenceClassification, folder)
    expected, lengths = model.predict(MANY, tokenizer), []
    monkeypatch.setattr("hf_lstm.models.chunks_lstm.MAX_BATCH_TOKENS", 4)
    whole = model.classify_in_chunks
    monkeypatch.setattr(
        model,
        "classify_in_chunks",
        lambda input_ids, mask: lengths.append(input_ids.shape[1]) or whole(input_ids, mask, chunk_length=2),
        raising=False,
    )
    assert_alike(model.predict(MANY, tokenizer, batch_size=1), expected)
    assert lengths == ([] if num_layers == 2 else [8, 6])


def test_prediction_leaves_the_mode_and_shows_its_progress(tmp_path, capsys):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model", classifier_dropout=0.9))
    capsys.readouterr()
    expected = model.eval().predict(MANY, tokenizer)
    assert capsys.readouterr().err == ""
    assert model.train().predict(MANY, tokenizer, progress_bar=True) == expected
    assert model.training
    assert f"{len(MANY)}/{len(MANY)}" in capsys.readouterr().err
    assert model.predict([], tokenizer) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "a dog"}, "single text"),
        ({"texts": ["a", None]}, "None of type NoneType"),
        ({"texts": ["a"], "text_pairs": []}, "0 `text_pairs` for 1"),
        ({"texts": ["a", "b"], "text_pairs": "ab"}, "`text_pairs` is a single text"),
        ({"texts": ["a"], "text_pairs": [3]}, "`text_pairs` holds 3 of type int"),
        ({"texts": {"text": ["a"]}}, "`texts` is of type dict, but must be a list"),
        ({"texts": {"a", "b"}}, "`texts` is of type set, but must be a list"),
        ({"texts": None}, "`texts` is of type NoneType, but must be a list"),
        ({"texts": ["a"], "batch_size": 0}, "`batch_size` is 0"),
        ({"texts": ["a"], "batch_size": 1.5}, "`batch_size` is 1.5, but must be a whole number"),
        ({"texts": ["a"], "batch_size": None}, "`batch_size` is None, but must be a whole number"),
        ({"texts": ["a"], "max_length": -1}, "`max_length` is -1"),
        ({"texts": ["a"], "max_length": "5"}, "`max_length` is '5', but must be a whole number"),
        (
            {"texts": ["a"], "text_pairs": ["a"], "max_length": 1},
            "`max_length` is 1, but must be at least 2",
        ),
        ({"texts": ["a"], "top_k": 0}, "`top_k` is 0"),
        ({"texts": ["a"], "top_k": True}, "`top_k` is True, but must be a whole number"),
    ],
)
def test_prediction_refuses_what_does_not_go_together(tmp_path, arguments, message):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    with pytest.raises(ValueError, match=message):
        model.predict(tokenizer=tokenizer, **arguments)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        model.predict(["a"], tokenizer)


@pytest.mark.parametrize("own_limit", [5, 11])
def test_prediction_keeps_to_a_limit_above_that_of_the_tokenizer(tmp_path, monkeypatch, own_limit):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    tokenizer.model_max_length = own_limit
    monkeypatch.setattr(prediction_lstm, "_NO_LIMIT", 4)  # as small as the texts here
    read, classify = [], model.classify
    monkeypatch.setattr(model, "classify", lambda **batch: read.append(batch["input_ids"]) or classify(**batch))
    model.predict(["a a a a a a a a"], tokenizer, max_length=6)
    assert [batch.shape for batch in read] == [(1, 6)]


def test_prediction_puts_the_mode_of_each_module_back(tmp_path):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    model.train()
    model.model.eval()  # as one that is frozen
    modes = [module.training for module in model.modules()]
    model.predict(MANY, tokenizer)
    assert [module.training for module in model.modules()] == modes


def test_prediction_needs_room_for_what_the_tokenizer_adds(tmp_path):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    tokenizer.model_max_length = 1
    with pytest.raises(ValueError, match="`max_length` is 1, but must be at least 2"):
        model.predict(["a"], tokenizer, text_pairs=["a"])


def test_prediction_that_fails_puts_the_mode_back(tmp_path):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    model.train().classify = None
    with pytest.raises(TypeError):
        model.predict(MANY, tokenizer)
    assert model.training and not prediction_lstm._readers


def test_threads_share_a_tokenizer_one_after_the_other(tmp_path, monkeypatch):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model"))
    in_use, encode = threading.Lock(), type(tokenizer).__call__

    def encode_alone(*args, **kwargs):
        assert in_use.acquire(blocking=False)
        time.sleep(0.1)  # seconds, for another thread to come
        in_use.release()
        return encode(*args, **kwargs)

    monkeypatch.setattr(type(tokenizer), "__call__", encode_alone)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: model.predict(MANY, tokenizer), range(2))
    assert first == second


def test_threads_predict_alike_whatever_mode_and_limit_they_find(tmp_path, monkeypatch):
    model, tokenizer = load(LstmForSequenceClassification, save_classifier(tmp_path / "model", classifier_dropout=0.9))
    expected = {limit: model.predict(MANY, tokenizer, max_length=limit) for limit in (2, 5)}
    both_read, classify = threading.Barrier(2, timeout=60), model.classify

    def wait_and_classify(**batch):
        both_read.wait()
        assert not model.training
        return classify(**batch)

    monkeypatch.setattr(model.train(), "classify", wait_and_classify)
    with ThreadPoolExecutor(2) as pool:
        running = {
            limit: pool.submit(model.predict, MANY, tokenizer, max_length=limit, batch_size=1) for limit in (2, 5)
        }
        found = {limit: future.result() for limit, future in running.items()}
    for limit, rows in expected.items():
        assert_alike(found[limit], rows)
    assert model.training and not prediction_lstm._readers


@pytest.mark.parametrize("prefix", [None, "the "])
def test_translator_predicts_what_it_generates(tmp_path, prefix):
    model, tokenizer = load(LstmForConditionalGeneration, save_translator(tmp_path / "model"))
    model.config.prefix = prefix
    written = model.predict(MANY, tokenizer, batch_size=3, num_beams=2, max_new_tokens=6)
    for text, ours in zip(MANY, written, strict=True):
        ids = tokenizer([(prefix or "") + text], return_tensors="pt")
        tokens = model.generate(**ids, num_beams=2, max_new_tokens=6)
        assert ours == tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]
    assert len(set(written)) > 1
    assert model.predict([], tokenizer) == []
    spaced = model.predict(["", MANY[0], " \n", MANY[1]], tokenizer, num_beams=2, max_new_tokens=6)
    assert spaced == ["", written[0], "", written[1]]
    with pytest.raises(ValueError, match="None of type NoneType"):
        model.predict(["a", None], tokenizer)


def test_translator_predicts_one_text_for_each_whatever_it_was_saved_to_return(tmp_path):
    model, tokenizer = load(LstmForConditionalGeneration, save_translator(tmp_path / "model"))
    expected = model.predict(iter(MANY), tokenizer, num_beams=3)
    model.generation_config.update(num_return_sequences=2, num_beams=3, return_dict_in_generate=True)
    assert model.predict(MANY, tokenizer) == expected
    with pytest.raises(ValueError, match="`num_return_sequences` is 2, but `predict` gives one text"):
        model.predict(MANY, tokenizer, num_return_sequences=2)


def test_stop_strings_are_looked_for_in_what_the_target_tokenizer_writes(tmp_path, monkeypatch):
    model, tokenizer = load(LstmForConditionalGeneration, save_translator(tmp_path / "model"))
    given, generate = [], model.generate

    def record(*args, stop_strings=None, tokenizer=None, **kwargs):
        given.append((stop_strings, tokenizer))
        return generate(*args, **kwargs)

    monkeypatch.setattr(model, "generate", record)
    model.predict(["a dog"], tokenizer, stop_strings=["x"])
    assert given == [(["x"], tokenizer.target_tokenizer)]
