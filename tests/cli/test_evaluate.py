import json
import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from hf_lstm.data.labels import MULTI_LABEL, REGRESSION
from hf_lstm.data.text_noise import KINDS
from hf_lstm.training.generation_metrics import score_texts
from tests.cli.saved_models import TARGETS, TEXTS, save_classifier, save_translator


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def predict(run, model, path, *flags):
    return [json.loads(line) for line in run("predict", model, "--input", path, *flags)[1].splitlines()]


def table_of(out):
    return dict(line.split(None, 1) for line in out.splitlines())


@pytest.fixture
def labelled(tmp_path):
    labels = ["good", "good", "bad", "fair", "bad"]
    return write_rows(tmp_path / "test.jsonl", [{"text": t, "label": label} for t, label in zip(TEXTS, labels)])


def test_classifier_is_scored_on_what_it_predicts(run, classifier, labelled, tmp_path):
    output = tmp_path / "scores.json"
    flags = ("--output", output, "--batch_size", 2, "--metric_name", "f1_weighted")
    code, out, err = run("evaluate", classifier, "--test_file", labelled, *flags)
    assert code == 0, err
    right = [json.loads(line)["label"] for line in labelled.read_text().splitlines()]
    found = [row["label"] for row in predict(run, classifier, labelled)]
    written = json.loads(output.read_text())
    metrics = written["metrics"]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(right, found)) and 0 < metrics["accuracy"] < 1
    assert metrics["f1_weighted"] == pytest.approx(f1_score(right, found, average="weighted"))
    assert (written["model"], written["test_file"]) == (str(classifier), str(labelled))
    assert written["num_rows"] == len(TEXTS)
    assert table_of(out) == {"num_rows": "5", **{name: f"{value:.4f}" for name, value in metrics.items()}}
    assert "5/5" in err


def test_multi_label_rows_and_regressions_are_scored(run, tmp_path):
    several = save_classifier(tmp_path / "several", seed=3, problem_type=MULTI_LABEL)
    rows = [{"text": text, "tags": tags} for text, tags in zip(TEXTS, ["bad|good", "fair", "good", "", "bad"])]
    file = write_rows(tmp_path / "tags.jsonl", rows)
    code, out, err = run(
        *("evaluate", several, "--test_file", file, "--label_column_name", "tags", "--label_delimiter", "|")
    )
    assert code == 0, err
    found = [set(row["label"]) for row in predict(run, several, file)]
    right = [set(filter(None, row["tags"].split("|"))) for row in rows]
    hits = sum(len(a & b) for a, b in zip(found, right))
    f1_micro = 2 * hits / sum(len(a) + len(b) for a, b in zip(found, right))
    assert table_of(out)["f1_micro"] == f"{f1_micro:.4f}"

    number = save_classifier(tmp_path / "number", problem_type=REGRESSION)
    file = write_rows(tmp_path / "numbers.jsonl", [{"text": t, "label": n / 2} for n, t in enumerate(TEXTS)])
    code, out, err = run("evaluate", number, "--test_file", file)
    assert code == 0, err
    errors = [(row["label"] - n / 2) ** 2 for n, row in enumerate(predict(run, number, file))]
    assert table_of(out)["mse"] == f"{sum(errors) / 5:.4f}"


@pytest.mark.parametrize("task", ["translation", "summarization", "text2text"])
def test_encoder_decoder_is_scored_by_the_metrics_of_its_task(run, translator, tmp_path, task):
    sources, targets = tmp_path / "test.en", tmp_path / "test.de"
    sources.write_text("\n".join(TEXTS) + "\n")
    targets.write_text("\n".join(TARGETS) + "\n")
    output, flags = tmp_path / "scores.json", ("--num_beams", 2, "--batch_size", 2)
    code, _, err = run(
        *("evaluate", translator, "--test_file", sources, "--test_target_file", targets, "--task", task),
        *("--output", output, *flags),
    )
    assert code == 0, err
    texts = [row["prediction"] for row in predict(run, translator, sources, *flags)]
    written = json.loads(output.read_text())
    names = {"translation": ["bleu", "chrf", "bleu_lowercase"], "summarization": ["rougeL", "rouge1", "rouge2"]}
    expected = score_texts(names.get(task, ["exact_match", "chrf"]), texts, TARGETS)
    signatures = {name: written["metrics"].pop(f"{name}_signature", "") for name in ("bleu", "bleu_lowercase")}
    assert written["metrics"] == pytest.approx(expected) and any(expected.values())
    for name, case in (("bleu", "case:mixed"), ("bleu_lowercase", "case:lc")):
        assert (case in signatures[name] and "tok:13a" in signatures[name]) == (task == "translation"), signatures
    assert written["task"] == task and written["num_rows"] == 5


def test_autoencoder_needs_no_targets_and_counts_tokens(run, tmp_path):
    folder = save_translator(tmp_path / "model", same_vocabulary=True)
    file = write_rows(tmp_path / "test.jsonl", [{"text": text} for text in TEXTS])
    code, out, err = run("evaluate", folder, "--test_file", file, "--task", "autoencode")
    assert code == 0, err
    assert set(table_of(out)) == {"num_rows", "exact_match", "token_accuracy", "bleu", "bleu_signature"}
    found = [row["prediction"].split() for row in predict(run, folder, file)]
    pairs = [([*text.split(), "end"], [*words, "end"]) for text, words in zip(TEXTS, found)]
    hits = sum(a == b for right, written in pairs for a, b in zip(right, written))
    assert table_of(out)["token_accuracy"] == f"{hits / sum(len(right) for right, _ in pairs):.4f}"


def test_task_is_the_one_that_the_model_was_trained_for(run, tmp_path):
    rows = [{"source": s, "target": t} for s, t in zip(TEXTS, TARGETS)]
    file = write_rows(tmp_path / "test.jsonl", rows)
    pipelines = {"lstm-summarization": {"impl": "pipelines_lstm.LstmSummarizationPipeline", "pt": []}}
    folder = save_translator(tmp_path / "model", custom_pipelines=pipelines)
    assert "rougeL" in run("evaluate", folder, "--test_file", file)[1]
    (folder / "run_settings.json").write_text('{"task": "translation"}')
    assert "bleu_signature" in run("evaluate", folder, "--test_file", file)[1]
    (folder / "run_settings.json").write_text('{"task": "something"}')
    assert "rougeL" in run("evaluate", folder, "--test_file", file)[1]
    (folder / "run_settings.json").write_text("broken")
    code, _, err = run("evaluate", folder, "--test_file", file)
    assert code == 1 and "run_settings.json' cannot be read" in err
    (folder / "run_settings.json").unlink()
    (folder / "run_settings.json").mkdir()
    code, _, err = run("evaluate", folder, "--test_file", file)
    assert code == 1 and "run_settings.json' cannot be read" in err


def test_further_bleu_has_its_signature_beside_it(run, translator, tmp_path):
    file = write_rows(tmp_path / "test.jsonl", [{"source": s, "target": t} for s, t in zip(TEXTS, TARGETS)])
    command = ("evaluate", translator, "--test_file", file, "--task", "text2text", "--metric_name", "bleu_lowercase")
    figures = table_of(run(*command)[1])
    assert "case:lc" in figures["bleu_lowercase_signature"] and "bleu_signature" not in figures


@pytest.mark.parametrize(
    ("model", "args", "code", "message"),
    [
        ("classifier", ["--task", "translation"], 2, "--task is given, but"),
        ("classifier", ["--num_beams", "2"], 2, "is a classifier"),
        ("classifier", ["--label_column_name", "lable"], 1, "no column 'lable'"),
        ("classifier", ["--output", "no/folder/scores.json"], 1, "Cannot write 'no/folder/scores.json'"),
        ("classifier", ["--metric_name", "loss"], 1, "scores what a model says, without a loss"),
        ("translator", ["--label_delimiter", "|"], 2, "is an encoder–decoder"),
        ("translator", ["--metric_name", "blue"], 1, "Did you mean 'bleu'?"),
        ("language_model", [], 1, "`hf-lstm evaluate` needs LstmForSequenceClassification or"),
    ],
)
def test_what_cannot_be_scored_is_an_error(run, request, labelled, model, args, code, message):
    found, out, err = run("evaluate", request.getfixturevalue(model), "--test_file", labelled, *args)
    assert (found, out) == (code, "") and message in err


def fail_to_load(*args, **options):
    raise AssertionError("The model is loaded.")


@pytest.mark.parametrize("flag", ["--output", "--noise_plot"])
@pytest.mark.parametrize("name", ["test.en", "test.de", "folder/../test.en", "link"])
def test_output_that_is_a_file_of_the_data_is_refused_and_left_as_it_is(run, tmp_path, monkeypatch, flag, name):
    monkeypatch.setattr("hf_lstm.cli.inference.saved_model.load_saved_model", fail_to_load)
    sources, targets = tmp_path / "test.en", tmp_path / "test.de"
    sources.write_text("a dog\n")
    targets.write_text("Ein Hund\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("test.de")
    command = ("evaluate", "model", "--test_file", sources, "--test_target_file", targets)
    code, out, err = run(*command, flag, f"{tmp_path}/{name}")
    assert (code, out) == (1, "") and "is the same file as the input" in err
    assert (sources.read_text(), targets.read_text()) == ("a dog\n", "Ein Hund\n")


def test_outputs_that_cannot_be_written_are_refused_before_the_model_is_loaded(run, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_lstm.cli.inference.saved_model.load_saved_model", fail_to_load)
    command = ("evaluate", "model", "--test_file", labelled)
    for flag in ("--output", "--noise_plot"):
        for path in ("no/folder/file", tmp_path):
            code, out, err = run(*command, flag, path)
            assert (code, out) == (1, "") and f"Cannot write '{path}'" in err and f"Pass another {flag}." in err
    file = tmp_path / "file"
    code, out, err = run(*command, "--output", file, "--noise_plot", f"{tmp_path}/../{tmp_path.name}/file")
    assert (code, out) == (1, "") and "are both" in err and not file.exists()


def test_unknown_label_is_an_error_that_names_it(run, classifier, tmp_path):
    file = write_rows(tmp_path / "test.jsonl", [{"text": "a dog", "label": "goood"}])
    code, _, err = run("evaluate", classifier, "--test_file", file)
    assert code == 1 and "'goood' (1 rows)" in err and "Did you mean 'good'?" in err


def test_several_processes_are_an_error(run, classifier, labelled, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, out, err = run("evaluate", classifier, "--test_file", labelled)
    assert (code, out) == (1, "") and "was started in 2 processes, but runs in one" in err


def test_scores_fall_or_stay_as_asked_under_noise(run, classifier, labelled, tmp_path):
    output, plot = tmp_path / "scores.json", tmp_path / "noise.png"
    flags = ("--noise_kinds", "case", "typo", "--noise_rates", "0", "0.5", "--noise_plot", plot, "--output", output)
    code, out, err = run("evaluate", classifier, "--test_file", labelled, *flags)
    assert code == 0, err
    written = json.loads(output.read_text())
    noise, clean = written["noise"], written["metrics"]["accuracy"]
    assert (noise["metric"], noise["rates"], list(noise["scores"])) == ("accuracy", [0, 0.5], ["case", "typo"])
    assert noise["scores"]["case"] == [clean, clean]  # the tokenizer ignores case
    assert noise["scores"]["typo"][0] == clean
    assert out.splitlines()[-3:] == [
        "noise      0 %     50 %",
        f"case    {clean:.4f}   {clean:.4f}",
        f"typo    {clean:.4f}   {noise['scores']['typo'][1]:.4f}",
    ]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_kinds_and_rates_of_noise_that_are_not_named_are_all_and_the_usual(run, classifier, labelled, tmp_path):
    output = tmp_path / "scores.json"
    code, _, err = run("evaluate", classifier, "--test_file", labelled, "--noise_kinds", "--output", output)
    assert code == 0, err
    noise = json.loads(output.read_text())["noise"]
    assert (list(noise["scores"]), noise["rates"]) == (list(KINDS), [0, 0.05, 0.1, 0.2, 0.3])
    assert any(len(set(scores)) > 1 for scores in noise["scores"].values())
    assert run("evaluate", classifier, "--test_file", labelled, "--noise_kinds", "case", "--noise_rates", 1)[0] == 0


def test_scores_of_sampled_texts_follow_the_seed(run, translator, tmp_path):
    file = write_rows(tmp_path / "test.jsonl", [{"source": s, "target": t} for s, t in zip(TEXTS, TARGETS)])
    command = ("evaluate", translator, "--test_file", file, "--do_sample")
    first, again, other = (run(*command, "--seed", seed)[1] for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--noise_kinds", "tipo"), "Did you mean 'typo'"),
        (("--noise_kinds", "--noise_rates", "2"), "shares between 0 and 1"),
        (("--noise_kinds", "--noise_rates", "much"), "shares between 0 and 1"),
        (("--noise_rates", "0.1"), "there is no --noise_kinds"),
    ],
)
def test_wrong_noise_is_named(run, classifier, labelled, flags, message):
    code, _, err = run("evaluate", classifier, "--test_file", labelled, *flags)
    assert code != 0 and message in err


def test_metric_of_several_figures_is_none_for_noise(run, classifier, labelled, monkeypatch):
    class Figures:
        def compute(self, predictions, references):
            return {"first": 0.5, "second": 0.25}

    monkeypatch.setattr("evaluate.load", lambda *args: Figures())
    command = ("evaluate", classifier, "--test_file", labelled, "--noise_kinds", "case", "--metric_name")
    code, out, err = run(*command, "figures")
    assert (code, out) == (1, "") and "'figures', which --noise_kinds cannot compute. Try 'accuracy'." in err
    assert run(*command, "accuracy")[0] == 0


def test_figures_of_the_hubs_metrics_are_written_whatever_their_type(run, classifier, labelled, tmp_path, monkeypatch):
    class Counts:
        def compute(self, predictions, references):
            counts = {"counts": np.array([[1, 2], [3, 4]]), "share": np.float32(0.5)}
            return counts | {"nothing": math.nan, "names": {"good"}}

    monkeypatch.setattr("evaluate.load", lambda *args: Counts())
    output = tmp_path / "scores.json"
    code, _, err = run("evaluate", classifier, "--test_file", labelled, "--metric_name", "counts", "--output", output)
    assert code == 0, err
    metrics = json.loads(output.read_text())["metrics"]
    assert (metrics["counts"], metrics["share"]) == ([[1, 2], [3, 4]], 0.5)
    assert (metrics["nothing"], metrics["names"]) == (None, "{'good'}")
