import json
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

from tests.training.tasks.seq2seq.factories import NO_DROPOUT, TINY, make_pairs, read_json, write_json


def test_every_split_is_counted_and_scored(translator):
    _, metrics, _ = translator
    counts = [metrics[f"num_{name}_samples"] for name in ("train", "validation", "test", "predict")]
    assert counts == [90, 22, 17, 3]
    for prefix in ("eval", "test"):
        assert {f"{prefix}_{name}" for name in ("loss", "bleu", "chrf", "bleu_lowercase")} <= metrics.keys()
    assert metrics["vocab_size"] == 4 + 8 + 8 + 2 and metrics["epoch"] == 2
    assert not {"predict_loss", "predict_bleu"} & metrics.keys()


def test_scores_are_those_of_the_written_texts(translator):
    from sacrebleu import BLEU

    folder, metrics, _ = translator
    rows = read_json(folder / "test_predictions.jsonl")
    scorer = BLEU()
    expected = scorer.corpus_score([row["prediction"] for row in rows], [[row["target"] for row in rows]]).score
    assert metrics["test_bleu"] == pytest.approx(expected)
    assert metrics["test_bleu_signature"] == str(scorer.get_signature())


def test_greedy_search_evaluates_and_beams_give_the_result(translator):
    _, _, num_beams = translator
    # Two evaluations, three splits at the end, then heat-maps and the latency by the model's own settings.
    assert num_beams[:5] == [1, 1, 3, 3, 3]
    assert len(num_beams) > 8 and set(num_beams[5:]) == {None}


def test_mean_length_of_beams_counts_no_filling(translator):
    folder, metrics, _ = translator
    texts = [row["prediction"] for row in read_json(folder / "test_predictions.jsonl")]
    lengths = [min(len(text.split()) + 1, TINY["max_target_length"]) for text in texts]
    assert metrics["test_generated_length"] == pytest.approx(sum(lengths) / len(lengths))


def test_predictions_stand_beside_their_sources(translator, files):
    folder, _, _ = translator
    predicted = read_json(folder / "predictions.jsonl")
    assert [row["source"] for row in predicted] == ["a b c", "", "d e"]
    assert all(row.keys() == {"source", "prediction"} for row in predicted)
    for name, split in (("val", "validation"), ("test", "test")):
        rows = read_json(folder / f"{split}_predictions.jsonl")
        assert [(row["source"], row["target"]) for row in rows] == [
            (row["source"], row["target"]) for row in read_json(files / f"{name}.jsonl")
        ]


def test_pipeline_of_the_saved_model_writes_the_same_texts(translator):
    folder, _, _ = translator
    translate = pipeline("lstm-translation", model=str(folder))
    rows = read_json(folder / "test_predictions.jsonl")
    written = translate([row["source"] for row in rows])
    assert translate.prefix == "turn: "
    assert [text["translation_text"] for text in written] == [row["prediction"] for row in rows]
    translate.prefix = ""
    assert [text["translation_text"] for text in translate([row["source"] for row in rows])] != [
        row["prediction"] for row in rows
    ]


def test_saved_generation_settings_are_those_asked_for(translator):
    values = json.loads((translator[0] / "generation_config.json").read_text())
    del values["transformers_version"]
    # Otherwise `generate` would make it again from the configuration.
    assert values.pop("_from_model_config") is False
    assert values == {
        "bos_token_id": 2,
        "decoder_start_token_id": 2,
        "eos_token_id": 3,
        "length_penalty": 0.8,
        "max_length": 10,
        "no_repeat_ngram_size": 3,
        "num_beams": 3,
        "output_attentions": False,
        "output_hidden_states": False,
        "pad_token_id": 0,
        "use_cache": True,
    }


def test_saved_model_returns_its_state_and_stops_at_its_limit(translator):
    folder, _, _ = translator
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    model.generation_config.eos_token_id = None
    inputs = tokenizer(["a b"], return_tensors="pt")
    assert model.generate(**inputs).shape == (1, TINY["max_target_length"] + 1)
    assert model.config.use_cache
    assert model(**inputs, decoder_input_ids=torch.tensor([[2]])).cache is not None


def test_report_has_figures_signature_examples_and_heat_maps(translator):
    folder, metrics, _ = translator
    written = json.loads((folder / "metrics.json").read_text())
    assert written["metrics"]["test_bleu"] == metrics["test_bleu"]
    assert written["metrics"]["test_bleu_signature"].startswith("nrefs:1|case:mixed")
    assert written["examples"][0].keys() == {"source", "target", "prediction"} and len(written["examples"]) == 17
    assert {path.name for path in folder.glob("*.png")} == {"training_curve.png", "attention_1.png", "attention_2.png"}
    assert all(path.stat().st_size > 1000 for path in folder.glob("*.png"))


def test_model_card_is_complete_and_its_example_runs(translator, monkeypatch):
    folder, metrics, _ = translator
    facts = json.loads((folder / "card_facts.json").read_text())
    assert (facts["task"], facts["languages"], facts["split_name"]) == ("translation", ["de", "en"], "test")
    assert "subword_dropout" in facts["hyper_parameters"] and str(folder.parent) not in str(facts)
    assert (facts["source_language"], facts["target_language"]) == ("de", "en")
    card = ModelCard.load(folder / "README.md")
    assert "It reads de and writes en" in card.text and "Measured on test.de (17 rows)" in card.text
    assert card.data.pipeline_tag == "translation" and card.data.language == ["de", "en"]
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == {
        title: round(metrics[f"test_{name}"], 6)
        for name, title in (("bleu", "BLEU"), ("chrf", "chrF"), ("bleu_lowercase", "BLEU (without case)"))
    }
    assert "An LSTM encoder–decoder with attention that translates texts" in card.text
    snippet = card.text.split("```python\n")[1].split("```")[0]
    # The pipeline puts the prefix there.
    assert "turn:" not in snippet
    monkeypatch.chdir(folder.parent)
    with redirect_stdout(StringIO()) as output:
        exec(snippet, {})
    first = read_json(folder / "test_predictions.jsonl")[0]
    assert output.getvalue().strip() == str([{"translation_text": first["prediction"]}])


def test_short_texts_are_learned_to_be_turned_round(train, tmp_path):
    for name, num_rows, seed in (("train", 1000, 5), ("val", 60, 6)):
        rows = [{"source": source, "target": target} for source, target in make_pairs(num_rows, seed, longest=4)]
        write_json(tmp_path / f"{name}.jsonl", rows)
    metrics = train(
        *("--train_file", tmp_path / "train.jsonl", "--validation_file", tmp_path / "val.jsonl", *NO_DROPOUT),
        *("--encoder_embedding_size", 24, "--decoder_embedding_size", 24, "--encoder_hidden_size", 48),
        *("--decoder_hidden_size", 48, "--num_train_epochs", 12, "--learning_rate", 0.01, "--eval_strategy", "no"),
        *("--save_strategy", "no", "--load_best_model_at_end", "false"),
    )
    assert metrics["eval_exact_match"] > 0.9, metrics
