import json
from pathlib import Path

import numpy as np
import pytest

from hf_lstm.hub.card_facts import FACTS_NAME, CardFacts, build_facts, load_facts, read_curve

FACTS = {
    "dataset_name": "电影",
    "metrics": {"accuracy": 0.75, "count": 3},
    "hyper_parameters": {"learning_rate": 0.001, "class_weights": [0.5, 2.0], "optim": "adamw", "other": None},
    "curve": [{"epoch": 1.0, "eval_loss": 0.5}],
    "languages": ["en", "zh"],
    "max_length": 7,
}


def test_facts_read_back_as_they_were_saved(tmp_path):
    facts = CardFacts(**FACTS)
    facts.save(tmp_path)
    assert load_facts(tmp_path) == facts
    assert [path.name for path in tmp_path.iterdir()] == [FACTS_NAME]
    assert "电影" in (tmp_path / FACTS_NAME).read_text(encoding="utf-8")


def test_facts_stay_where_new_ones_cannot_be_written_whole(tmp_path, monkeypatch):
    facts = CardFacts(**FACTS)
    facts.save(tmp_path)

    def write_half(path, text, **options):
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        CardFacts(dataset_name="b").save(tmp_path)
    assert load_facts(tmp_path) == facts


def test_figures_that_json_does_not_know_read_back_as_none(tmp_path):
    CardFacts(
        dataset_name="a", metrics={"f1": float("nan"), "mse": np.float64(0.5)}, curve=[{"loss": float("inf")}]
    ).save(tmp_path)
    text = (tmp_path / FACTS_NAME).read_text()
    assert "NaN" not in text and "Infinity" not in text
    facts = load_facts(tmp_path)
    assert facts is not None and (facts.metrics, facts.curve) == ({"f1": None, "mse": 0.5}, [{"loss": None}])


def test_folder_without_facts_has_none(tmp_path):
    assert load_facts(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": "long"}, "'max_length' with value 'long' doesn't match"),
        ({"max_length": True}, "'max_length' with value True"),
        ({"max_length": 0}, "`max_length` is 0, but must be at least 1"),
        ({"num_train_rows": -1}, "`num_train_rows` is -1, but must be at least 0"),
        ({"num_evaluation_rows": -1}, "`num_evaluation_rows` is -1, but must be at least 0"),
        ({"metrics": ["accuracy"]}, "'metrics' expected a dict, got list"),
        ({"metrics": {"accuracy": "high"}}, r"metrics\['accuracy'\]' with value 'high'"),
        ({"curve": [{"epoch": []}]}, r"curve\[0\]\['epoch'\]' with value \[\]"),
        ({"hyper_parameters": {"seed": {"a": 1}}}, r"hyper_parameters\['seed'\]'"),
        ({"languages": ["English"]}, r"`languages` has \['English'\]"),
        ({"source_language": "German"}, r"`languages` has \['German'\]"),
        ({"dataset_id": "my data"}, "`dataset_id` is 'my data'"),
        ({"evaluation_dataset_id": "my data"}, "`evaluation_dataset_id` is 'my data'"),
        ({"hub_model_id": "a/b/c"}, "`hub_model_id` is 'a/b/c'"),
        ({"hub_model_id": "model"}, "`hub_model_id` is 'model', but must be a name on the Hub, such as 'user/model'"),
        ({"model_name": "a\n# b"}, r"`model_name` is 'a\\n# b', but must be a single line"),
        ({"base_model": ["a/b", "c\n# d"]}, r"`base_model` is \['a/b', 'c\\n# d'\], but must be a single line"),
        ({"dataset_name": None}, "'dataset_name' expected str"),
        ({"lisence": "mit"}, "`lisence` is no fact of a card, which are dataset_name, "),
    ],
)
def test_facts_that_break_a_rule_raise(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build_facts(**FACTS | changes)
    (tmp_path / FACTS_NAME).write_text(json.dumps(FACTS | changes))
    with pytest.raises(ValueError, match=rf"{FACTS_NAME}' cannot be used: .*{message}.* Mend it"):
        load_facts(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"dataset_name": "a", "max_length": 1234567890123456}', "whole ones have at most 15 digits"),
        (b'{"dataset_name": "\\ud800"}', "surrogates not allowed"),
        (b"[]", "must hold names and values"),
        (b"{}", "`dataset_name` is missing"),
    ],
)
def test_damaged_file_raises(tmp_path, content, message):
    (tmp_path / FACTS_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{FACTS_NAME}' .*{message}.*Mend it"):
        load_facts(tmp_path)


def test_curve_has_the_evaluations_with_the_last_training_loss():
    log = [
        {"eval_loss": 0.9, "epoch": 0.0},
        {"loss": 0.8, "epoch": 0.5, "grad_norm": 1.5},
        {"loss": 0.7, "epoch": 1.0},
        {"eval_loss": 0.6, "eval_accuracy": 0.5, "eval_signature": "a", "epoch": 1.0, "step": 3},
        {"train_loss": 0.7, "epoch": 1.0},
    ]
    assert read_curve(log) == [
        {"eval_loss": 0.9, "epoch": 0.0},
        {"loss": 0.7, "eval_loss": 0.6, "eval_accuracy": 0.5, "epoch": 1.0},
    ]
