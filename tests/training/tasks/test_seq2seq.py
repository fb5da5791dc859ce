import csv
import gzip
import json
import random
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline

from hf_lstm import LstmForConditionalGeneration, LstmForSequenceClassification, LstmSeq2SeqConfig
from hf_lstm.data.checks import InputError
from hf_lstm.models.tokenization_lstm import LstmSeq2SeqTokenizer, LstmTokenizer
from hf_lstm.training.seq2seq_arguments import (
    LstmSeq2SeqTrainingArguments,
    Seq2SeqDataArguments,
    Seq2SeqModelArguments,
)
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from hf_lstm.training.tasks.seq2seq import main, run
from hf_lstm.training.tasks.sequence_classification import main as classify

SCRIPT = Path(__file__).parents[3] / "scripts" / "train_seq2seq.py"
TINY = {
    "encoder_embedding_size": 10,
    "decoder_embedding_size": 10,
    "encoder_hidden_size": 14,
    "decoder_hidden_size": 14,
    "tokenizer_algorithm": "word",
    "target_tokenizer_algorithm": "word",
    "min_frequency": 1,
    "max_source_length": 12,
    "max_target_length": 9,
    "num_train_epochs": 1,
    "learning_rate": 0.02,
    "disable_tqdm": "true",
    "num_attention_plots": 0,
}
NO_DROPOUT = ("--input_dropout", 0, "--output_dropout", 0)
LETTERS = "abcdefgh"


def make_pairs(num_rows, seed=0, longest=6):
    """Returns sequences of letters, and the same in capitals from the last to the first."""
    generator = random.Random(seed)
    rows = [generator.choices(LETTERS, k=generator.randint(2, longest)) for _ in range(num_rows)]
    return [(" ".join(row), " ".join(reversed(row)).upper()) for row in rows]


def write_lines(path, lines):
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_json(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_json(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def flags(values):
    return [item for name, value in values.items() for item in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for name, num_rows, seed in (("train", 90, 0), ("val", 22, 1), ("test", 17, 2)):
        sources, targets = zip(*make_pairs(num_rows, seed))
        write_lines(folder / f"{name}.de", sources)
        write_lines(folder / f"{name}.en.gz", targets)
        rows = [{"id": row, "source": s, "target": t} for row, (s, t) in enumerate(zip(sources, targets))]
        write_json(folder / f"{name}.jsonl", rows)
    (folder / "new.txt").write_text("a b c\n\nd e\n")
    return folder


@pytest.fixture
def train(tmp_path):
    """Runs the task into a folder of its own; later arguments override the tiny sizes."""

    def run_main(*args, output_dir=tmp_path / "model"):
        own = {"cache_dir": tmp_path / "cache", "output_dir": output_dir}
        return main([*flags(TINY | own), *map(str, args)])

    return run_main


@pytest.fixture(scope="module")
def translator(files, tmp_path_factory):
    """A complete run on line-aligned files, with one vocabulary: its folder and its metrics."""
    folder = tmp_path_factory.mktemp("translator")
    own = {
        "task": "translation",
        "train_file": files / "train.de",
        "train_target_file": files / "train.en.gz",
        "validation_file": files / "val.de",
        "validation_target_file": files / "val.en.gz",
        "test_file": files / "test.de",
        "test_target_file": files / "test.en.gz",
        "predict_file": files / "new.txt",
        "source_lang": "de_DE",
        "target_lang": "en",
        "source_prefix": "turn: ",
        "num_beams": 3,
        "length_penalty": 0.8,
        "no_repeat_ngram_size": 3,
        "num_attention_plots": 2,
        "num_train_epochs": 2,
        "cache_dir": folder / "cache",
        "output_dir": folder / "model",
    }
    num_beams = []
    with pytest.MonkeyPatch.context() as patch:
        generate = LstmForConditionalGeneration.generate

        def note_beams(self, *args, **kwargs):
            num_beams.append(kwargs.get("num_beams"))
            return generate(self, *args, **kwargs)

        patch.setattr(LstmForConditionalGeneration, "generate", note_beams)
        metrics = main(flags(TINY | own))
    return folder / "model", metrics, num_beams


@pytest.fixture
def copy_of_translator(translator, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in translator[0].iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def two_vocabularies(files, tmp_path_factory):
    """A run with two vocabularies, on columns: its folder."""
    folder = tmp_path_factory.mktemp("two")
    own = {"train_file": files / "train.jsonl", "cache_dir": folder / "cache", "output_dir": folder / "model"}
    main([*flags(TINY | own), "--no_shared_vocabulary", "--target_vocab_size", "9", "--share_embeddings", "false"])
    return folder / "model"


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
    assert model(**inputs, decoder_input_ids=torch.tensor([[2]])).past_key_values is not None


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


def test_named_columns_limits_and_a_predict_file_with_columns(train, tmp_path):
    for name, seed in (("train", 0), ("test", 1)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = [(target, 3, source) for source, target in make_pairs(24, seed)]
            csv.writer(file).writerows([("good", "n", "bad"), *rows])
    write_json(tmp_path / "new.jsonl", [{"bad": source, "n": 1} for source, _ in make_pairs(5, seed=3)])
    metrics = train(
        *(
            "--train_file",
            tmp_path / "train.csv",
            "--predict_file",
            tmp_path / "new.jsonl",
            "--max_predict_samples",
            4,
        ),
        *("--source_column_name", "bad", "--target_column_name", "good", "--max_train_samples", 13),
        *("--validation_file", tmp_path / "test.csv", "--test_file", tmp_path / "test.csv", "--max_eval_samples", 6),
        *("--metric_name", "bleu", "--lowercase", "true"),
    )
    counts = [metrics[f"num_{name}_samples"] for name in ("train", "validation", "test", "predict")]
    assert counts == [13, 6, 6, 4]
    predicted = read_json(tmp_path / "model" / "predictions.jsonl")
    assert [row["source"] for row in predicted] == [source for source, _ in make_pairs(5, seed=3)][:4]
    # The chosen metric, too, is against the targets as they are, in capitals.
    assert metrics["test_bleu"] == 0 and metrics["test_bleu_signature"].startswith("nrefs:1|case:mixed")


def test_column_of_translations_gives_either_direction(train, tmp_path):
    rows = [{"translation": {"de": source, "en": target}} for source, target in make_pairs(24)]
    write_json(tmp_path / "train.jsonl", rows)
    train(
        *("--train_file", tmp_path / "train.jsonl", "--task", "translation", "--source_lang", "en"),
        *("--target_lang", "de", "--attention_type", "none", "--num_attention_plots", 3),
    )
    folder = tmp_path / "model"
    assert all(
        row["source"].isupper() and row["target"].islower()
        for row in read_json(folder / "validation_predictions.jsonl")
    )
    assert not list(folder.glob("attention_*.png"))
    assert "An LSTM encoder–decoder that translates texts" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("task", "names", "tag"),
    [
        ("summarization", {"rouge1", "rouge2", "rougeL"}, "summarization"),
        ("text2text", {"exact_match", "chrf"}, "text2text-generation"),
    ],
)
def test_each_task_has_its_metrics_and_its_pipeline(train, files, tmp_path, task, names, tag):
    metrics = train("--task", task, "--train_file", files / "train.jsonl", "--max_train_samples", 16)
    of_no_task = {"loss", "generated_length", "runtime", "samples_per_second", "steps_per_second"}
    found = {name.removeprefix("eval_") for name in metrics if name.startswith("eval_")}
    assert found - of_no_task == names
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.pipeline_tag == tag and set(card.data.metrics) == names


def test_long_texts_are_cut_with_one_warning(train, tmp_path, caplog):
    pairs = [("a b c d e f", "A B"), ("a b", "A B C D E"), ("a", "B")] * 6
    write_json(tmp_path / "train.jsonl", [{"source": source, "target": target} for source, target in pairs])
    with caplog.at_level("WARNING", logger="hf_lstm"):
        train(
            *("--train_file", tmp_path / "train.jsonl", "--validation_split_percentage", 0),
            *("--max_source_length", 5, "--max_target_length", 4),
        )
    assert [record.getMessage() for record in caplog.records if "cut" in record.getMessage()] == [
        "Of 18 pairs of the train data were cut: 6 sources (33.3 %) to 5 tokens (raise --max_source_length) and 6 "
        "targets (33.3 %) to 4 tokens (raise --max_target_length)."
    ]
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text())["max_length"] == 5


def test_empty_lines_are_left_out_with_one_warning(train, tmp_path, caplog):
    write_lines(tmp_path / "train.de", ["a b", "", "c", "d"] * 4)
    write_lines(tmp_path / "train.en", ["A", "B", " ", "D"] * 4)
    with caplog.at_level("WARNING", logger="hf_lstm"):
        metrics = train(
            *("--train_file", tmp_path / "train.de", "--train_target_file", tmp_path / "train.en"),
            *("--validation_split_percentage", 0),
        )
    assert metrics["num_train_samples"] == 8
    assert [record.getMessage() for record in caplog.records] == [
        "8 of 16 pairs of the train data have an empty source or target and are left out: rows 2, 3, 6, 7, 10 and 3 "
        "more."
    ]


def test_first_text_may_be_empty_and_none_may_be_fit_for_a_heat_map(train, tmp_path):
    write_json(tmp_path / "train.jsonl", [{"source": "a", "target": "A"}] * 4)
    write_json(tmp_path / "val.jsonl", [{"source": source, "target": "A"} for source in ("", "a")])
    train(
        *("--train_file", tmp_path / "train.jsonl", "--validation_file", tmp_path / "val.jsonl"),
        *("--num_attention_plots", 2, "--task", "summarization"),
    )
    folder = tmp_path / "model"
    assert "print(predict('a'))" in (folder / "README.md").read_text()
    assert not list(folder.glob("attention_*.png"))


def test_training_stops_early_without_a_better_metric(train, files):
    metrics = train(
        *("--train_file", files / "train.jsonl", "--max_train_samples", 16, "--learning_rate", 1e-9),
        *("--num_train_epochs", 6, "--early_stopping_patience", 2, "--metric_name", "loss", "--save_strategy", "no"),
        *("--load_best_model_at_end", "false"),
    )
    assert 3 <= metrics["epoch"] < 6


def test_evaluation_without_generation_computes_the_loss_alone(train, files, tmp_path):
    metrics = train("--train_file", files / "train.jsonl", "--no_predict_with_generate", "--max_train_samples", 16)
    assert {name for name in metrics if name.startswith("eval_")} == {
        *("eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    }
    assert not list((tmp_path / "model").glob("*_predictions.jsonl"))
    assert "has not been evaluated" in (tmp_path / "model" / "README.md").read_text()


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


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(LstmSeq2SeqTrainer, "train", fail)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num_beams", "0"], "`num_beams` is 0, but must be at least 1"),
        (["--generation_num_beams", "0"], "`generation_num_beams` is 0, but must be at least 1"),
        (["--bridge_type", "copy", "--encoder_layers", "2"], r"`bridge_type` 'copy' .* are \(14, 2\), .* \(14, 1\)"),
        (["--attention_type", "luong_dott"], "`attention_type` is 'luong_dott'"),
        (["--encoder_hidden_sise", "8"], "no argument --encoder_hidden_sise. Did you mean 'encoder_hidden_size'"),
        (["--metric_name", "bluu"], "There is no metric 'bluu'. Did you mean 'bleu'"),
        (["--bleu_tokenize", "zhh"], "`bleu_tokenize` is 'zhh'"),
        (["--task", "translate"], "translate"),
        (["--validation_target_file", "x.en"], "--validation_target_file is given without --validation_file"),
        (["--train_target_file", "{files}/train.en.gz"], "--train_target_file goes with a file of the sources"),
        (["--fp16", "true"], "`fp16` is set, but PyTorch's LSTM cannot be trained in fp16 on the CPU"),
        (["--generation_max_length", "20"], "pass --max_target_length instead"),
        (["--max_target_length", "1"], "`max_target_length` is 1, but must be at least 2"),
        (["--max_source_length", "1"], "`max_source_length` is 1, but must be at least 2"),
        (["--target_column_name", "targte"], "no column 'targte'.*Did you mean 'target'"),
        (["--model_name_or_path", "no/where"], "The model 'no/where' cannot be loaded"),
        (["--tokenizer_name_or_path", "no/where"], "No tokenizer can be loaded"),
        (["--predict_file", "{files}/new.txt", "--no_predict_with_generate"], "--predict_file is given, but --no_"),
        (["--no_do_train"], "Without training, the tokenizer comes from a trained model"),
        (["--min_frequency", "999"], "No tokenizer can be trained"),
        (["--early_stopping_patience", "2", "--validation_split_percentage", "0"], "no validation data"),
    ],
)  # fmt: skip
def test_bad_argument_is_an_error_before_training(train, files, no_training, args, message):
    args = [arg.format(files=files) for arg in args]
    with pytest.raises(InputError, match=message):
        train("--train_file", files / "train.jsonl", *args)


def test_files_of_unequal_length_are_an_error(train, files, tmp_path, no_training):
    shorter = write_lines(tmp_path / "short.en", ["A"] * 89)
    with pytest.raises(InputError, match=r"train\.de' has 90 lines but .*short\.en' has 89"):
        train("--train_file", files / "train.de", "--train_target_file", shorter)


def test_wrong_language_key_is_an_error(train, tmp_path, no_training):
    path = write_json(tmp_path / "train.jsonl", [{"translation": {"de": "a", "en": "b"}}] * 9)
    with pytest.raises(InputError, match="has no language 'dee', only 'de', 'en'. Did you mean 'de'"):
        train("--train_file", path, "--source_lang", "dee", "--target_lang", "en")


@pytest.mark.parametrize("lacking", ["pad", "bos"])
def test_vocabulary_without_a_special_token_is_an_error(
    train, files, two_vocabularies, tmp_path, no_training, lacking
):
    tokenizer = LstmTokenizer.train_from_iterator(
        ["a A"], algorithm="word", min_frequency=1, add_eos=True, show_progress=False
    )
    setattr(tokenizer, f"{lacking}_token", None)
    if lacking == "bos":
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        values = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
        assert values.get("bos_token") is None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(InputError, match=f"has no {'padding' if lacking == 'pad' else lacking} token"):
        train("--train_file", files / "train.jsonl", "--tokenizer_name_or_path", tmp_path / "tokenizer")


def test_target_vocabulary_that_lacks_a_special_token_is_an_error(
    train, files, two_vocabularies, tmp_path, no_training
):
    folder = tmp_path / "tokenizer"
    AutoTokenizer.from_pretrained(two_vocabularies).save_pretrained(folder)
    file = folder / "target_tokenizer.json"
    file.write_text(file.read_text().replace("</s>", "<end>"))
    with pytest.raises(InputError, match="target.*</s>"):
        train("--train_file", files / "train.jsonl", "--tokenizer_name_or_path", folder)


def test_model_of_another_architecture_is_an_error(train, files, tmp_path, no_training):
    config = BertConfig(vocab_size=13, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match=r"is of the architecture 'bert', but must be 'hf_lstm_seq2seq'"):
        train("--train_file", files / "train.jsonl", "--model_name_or_path", tmp_path / "bert")


def test_size_that_does_not_fit_the_trained_weights_is_an_error(translator, train, files, no_training):
    with pytest.raises(InputError, match=r"do not fit the architecture asked for: "):
        train(
            *("--train_file", files / "train.jsonl", "--model_name_or_path", translator[0]),
            *("--decoder_hidden_size", 16, "--encoder_hidden_size", 16),
        )


def test_tokenizer_beyond_the_trained_vocabulary_is_an_error(translator, train, files, tmp_path, no_training):
    tokenizer = AutoTokenizer.from_pretrained(translator[0])
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(tmp_path / "larger")
    with pytest.raises(InputError, match=r"The tokenizer has 23 source tokens, but the model .* knows only 22"):
        train(
            *("--train_file", files / "train.jsonl", "--model_name_or_path", translator[0]),
            *("--tokenizer_name_or_path", tmp_path / "larger"),
        )


def test_generating_with_no_beams_is_an_error(translator):
    model = AutoModelForSeq2SeqLM.from_pretrained(translator[0])
    with pytest.raises(ValueError, match="`num_beams` is 0, but must be at least 1"):
        model.generate(torch.tensor([[5]]), num_beams=0)


def test_generating_without_a_limit_stops_after_twenty_tokens_with_a_warning():
    sizes = {"encoder_hidden_size": 4, "encoder_embedding_size": 3, "decoder_hidden_size": 4}
    config = LstmSeq2SeqConfig(vocab_size=13, eos_token_id=None, decoder_embedding_size=3, **sizes)
    with pytest.warns(UserWarning, match="`max_new_tokens`"):
        ids = LstmForConditionalGeneration(config).generate(torch.tensor([[5, 6]]))
    assert ids.shape == (1, 21)


def test_script_prints_one_line_for_bad_input(tmp_path):
    command = [sys.executable, str(SCRIPT), "--train_file", str(tmp_path / "none.de"), "--output_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: The file ") and "Traceback" not in done.stderr


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
