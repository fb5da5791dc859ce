import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from hf_lstm import LstmForSequenceClassification
from hf_lstm.data.checks import InputError
from hf_lstm.models.tokenization_lstm import LstmSeq2SeqTokenizer, LstmTokenizer
from hf_lstm.training.seq2seq_arguments import (
    LstmSeq2SeqTrainingArguments,
    Seq2SeqDataArguments,
    Seq2SeqModelArguments,
)
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from hf_lstm.training.tasks.seq2seq import run
from hf_lstm.training.tasks.sequence_classification import main as classify
from tests.training.tasks.seq2seq.factories import LETTERS, flags, make_pairs, read_json, write_lines


def test_trained_model_is_scored_without_training(translator, files, train, tmp_path):
    folder, expected, _ = translator
    metrics = train(
        *("--no_do_train", "--model_name_or_path", folder, "--test_file", files / "test.de", "--task", "translation"),
        *("--test_target_file", files / "test.en.gz", "--num_beams", 3, "--length_penalty", 0.8),
        *("--no_repeat_ngram_size", 3),
    )
    # With the prefix, too, which the model knows.
    assert metrics["test_bleu"] == expected["test_bleu"] and metrics["test_chrf"] == expected["test_chrf"]
    assert "train_loss" not in metrics and "eval_loss" not in metrics
    assert json.loads((tmp_path / "model" / "config.json").read_text())["prefix"] == "turn: "


def test_arguments_of_the_caller_stay_as_they_are(translator, files, tmp_path):
    data = Seq2SeqDataArguments(test_file=str(files / "test.jsonl"), num_attention_plots=0)
    model = Seq2SeqModelArguments(model_name_or_path=str(translator[0]))
    training = LstmSeq2SeqTrainingArguments(output_dir=str(tmp_path), do_train=False, disable_tqdm=True)
    before = asdict(data)
    run(model, data, training)
    assert asdict(data) == before and before["source_prefix"] == ""


def test_model_may_be_scored_in_its_own_folder(copy_of_translator, files, train):
    before = load_file(copy_of_translator / "model.safetensors")
    before = {name: weight.clone() for name, weight in before.items()}
    own = json.loads((copy_of_translator / "generation_config.json").read_text())
    train(
        *("--no_do_train", "--model_name_or_path", copy_of_translator, "--test_file", files / "test.jsonl"),
        output_dir=copy_of_translator,
    )
    after = load_file(copy_of_translator / "model.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    values = json.loads((copy_of_translator / "generation_config.json").read_text())
    names = ("num_beams", "length_penalty", "no_repeat_ngram_size")
    assert {name: values.get(name) for name in names} == {name: own.get(name) for name in names}
    assert own["num_beams"] == 3


def test_trained_model_is_trained_on_with_its_tokenizer_and_prefix(translator, files, train, tmp_path):
    folder, _, _ = translator
    metrics = train(
        *("--model_name_or_path", folder, "--train_file", files / "train.jsonl", "--max_train_samples", 16),
        *("--learning_rate", 1e-9, "--hidden_dropout", 0.25, "--validation_split_percentage", 0),
    )
    assert metrics["num_train_samples"] == 16 and "eval_loss" not in metrics
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["hidden_dropout"] == 0.25 and config["prefix"] == "turn: "
    assert AutoTokenizer.from_pretrained(tmp_path / "model").get_vocab() == (
        AutoTokenizer.from_pretrained(folder).get_vocab()
    )


def test_two_vocabularies_are_learned_and_saved(two_vocabularies):
    tokenizer = AutoTokenizer.from_pretrained(two_vocabularies)
    model = AutoModelForSeq2SeqLM.from_pretrained(two_vocabularies)
    assert isinstance(tokenizer, LstmSeq2SeqTokenizer)
    assert (model.config.encoder_vocab_size, model.config.vocab_size) == (12, 9)
    assert set(tokenizer.target_tokenizer.get_vocab()) < {"<pad>", "<unk>", "<s>", "</s>", *LETTERS.upper()}
    letters = " ".join(sorted(set(tokenizer.target_tokenizer.get_vocab()) & set(LETTERS.upper())))
    ids = tokenizer(text_target=[letters])["input_ids"]
    assert len(letters.split()) == 5 and tokenizer.batch_decode(ids, skip_special_tokens=True) == [letters]


def test_validation_data_is_split_off(two_vocabularies):
    metrics = json.loads((two_vocabularies / "metrics.json").read_text())["metrics"]
    assert (metrics["num_train_samples"], metrics["num_validation_samples"]) == (81, 9)
    assert {"eval_exact_match", "eval_chrf", "eval_loss"} <= metrics.keys()
    assert "Measured on the validation split of train.jsonl (9 rows)" in (two_vocabularies / "README.md").read_text()


def test_tokenizer_of_two_vocabularies_needs_no_flag(two_vocabularies, files, train, tmp_path):
    train(
        "--train_file", files / "train.jsonl", "--tokenizer_name_or_path", two_vocabularies, "--max_train_samples", 8
    )
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["encoder_vocab_size"], config["vocab_size"], config["share_embeddings"]) == (12, 9, False)


def test_pretrained_model_of_two_vocabularies_is_trained_on(two_vocabularies, files, train, tmp_path):
    train("--train_file", files / "train.jsonl", "--model_name_or_path", two_vocabularies, "--max_train_samples", 8)
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path / "model"), LstmSeq2SeqTokenizer)


@pytest.mark.parametrize("vocabularies", [(), ("--no_shared_vocabulary", "--share_embeddings", "false")])
def test_classifier_starts_from_the_encoder_of_an_autoencoder(train, tmp_path, vocabularies):
    lines = [source for source, _ in make_pairs(40)]
    write_lines(tmp_path / "train.txt", lines)
    metrics = train(
        *("--task", "autoencode", "--train_file", tmp_path / "train.txt", "--noise_word_dropout", 0.2),
        *("--noise_shuffle_distance", 2, *vocabularies),
    )
    assert {"eval_exact_match", "eval_token_accuracy", "eval_bleu", "eval_bleu_signature"} <= metrics.keys()
    folder = tmp_path / "model"
    rows = read_json(folder / "validation_predictions.jsonl")
    assert rows and all(row["source"] == row["target"] and row["source"] in lines for row in rows)

    whole = load_file(folder / "model.safetensors")
    shared = "model.decoder" if not vocabularies else "model.encoder"
    classifier = LstmForSequenceClassification.from_pretrained(folder / "encoder", num_labels=3)
    weights = classifier.model.state_dict()
    assert torch.equal(weights["embed_tokens.weight"], whole[f"{shared}.embed_tokens.weight"])
    recurrent = [name for name in weights if name.startswith("layers.0.")]
    assert recurrent and all(torch.equal(weights[name], whole[f"model.encoder.{name}"]) for name in recurrent)
    assert type(AutoTokenizer.from_pretrained(folder / "encoder")) is LstmTokenizer
    if vocabularies:
        return
    with (tmp_path / "labelled.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((line, "ab"["a" in line]) for line in lines)])
    classify(
        [
            *("--model_name_or_path", str(folder / "encoder"), "--train_file", str(tmp_path / "labelled.csv")),
            *("--output_dir", str(tmp_path / "classifier"), "--num_train_epochs", "1", "--learning_rate", "1e-9"),
            *("--disable_tqdm", "true", "--cache_dir", str(tmp_path / "cache")),
        ]
    )
    kept = load_file(tmp_path / "classifier" / "model.safetensors")
    assert all(torch.allclose(kept[f"model.{name}"], weights[name], atol=1e-6) for name in recurrent)


DISTURBED = {
    "task": "autoencode",
    "noise_word_dropout": 0.2,
    "noise_shuffle_distance": 2,
    "word_dropout": 0.2,
    "weight_averaging": 0.9,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 6,
    "validation_split_percentage": 0,
}


@pytest.mark.parametrize("vocabularies", [(), ("--no_shared_vocabulary", "--share_embeddings", "false")])
def test_interrupted_run_ends_with_the_same_weights(train, tmp_path, caplog, monkeypatch, vocabularies):
    write_lines(tmp_path / "train.txt", [source for source, _ in make_pairs(27)])
    args = ["--train_file", tmp_path / "train.txt", *flags(DISTURBED), *vocabularies]
    train(*args, output_dir=tmp_path / "straight")
    save_checkpoint = LstmSeq2SeqTrainer._save_checkpoint

    def save_half_of_the_second(self, model, trial):
        save_checkpoint(self, model, trial)
        if self.state.global_step == 10:
            weights = Path(self.args.output_dir) / "checkpoint-10" / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LstmSeq2SeqTrainer, "_save_checkpoint", save_half_of_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(*args)
    with caplog.at_level("WARNING", logger="hf_lstm"):
        train(*args)
    assert "checkpoint-10 is not a whole checkpoint" in caplog.text
    assert f"Resuming from {tmp_path / 'model' / 'checkpoint-5'}" in caplog.text
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "model"))
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_other_settings_are_refused_but_those_of_the_result_are_not(train, files, tmp_path):
    args = ["--train_file", files / "train.jsonl", "--max_train_samples", 16]
    first = train(*args)
    for name, was, value in (
        ("decoder_hidden_size", 14, 16),
        ("max_target_length", 9, 7),
        ("task", "'text2text'", "summarization"),
    ):
        with pytest.raises(InputError, match=rf"`{name}` was {was} and is '?{value}'?\. .*--restart"):
            train(*args, f"--{name}", value)
    second = train(*args, "--num_beams", 2, "--length_penalty", 0.5, "--no_repeat_ngram_size", 2)
    assert second["eval_loss"] == first["eval_loss"]
    values = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert (values["num_beams"], values["length_penalty"], values["no_repeat_ngram_size"]) == (2, 0.5, 2)
