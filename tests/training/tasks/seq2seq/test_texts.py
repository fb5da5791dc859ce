import csv
import json

import pytest
from huggingface_hub import ModelCard

from tests.training.tasks.seq2seq.factories import make_pairs, read_json, write_json, write_lines


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
