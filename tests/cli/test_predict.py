import json
import os
import shutil
import sys

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig, pipeline

from hf_lstm import LstmForSequenceClassification, LstmSeq2SeqTokenizer
from hf_lstm.cli.inference import predictor
from hf_lstm.cli.inference.processes import SharedWork
from hf_lstm.cli.inference.resumption import SETTINGS_SUFFIX
from hf_lstm.data.labels import MULTI_LABEL, REGRESSION
from tests.cli.saved_models import TARGETS, TEXTS, load, make_tokenizer, save_classifier, save_translator

# Of many lengths, out of order, with an empty one.
ROWS = [TEXTS[0], "", "dog", *TEXTS[1:], "a a a a a a a a", "the film sang", "home rain"]


def read_rows(text):
    return [json.loads(line) for line in text.splitlines()]


def write_lines(path, lines=ROWS):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of four rows, so that a few rows make several pieces."""
    monkeypatch.setattr("hf_lstm.cli.predict.PIECE_SIZE", 4)


def expected_scores(folder, texts):
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.no_grad():
        return [model(**tokenizer([text or " a"], return_tensors="pt")).logits[0] for text in texts]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_classifier_labels_every_text_in_the_order_of_the_input(run, classifier, tmp_path, batch_size):
    texts = [text for text in ROWS if text]
    code, out, err = run(
        "predict", classifier, "--input", write_lines(tmp_path / "new.txt", texts), *batches(batch_size)
    )
    assert code == 0, err
    rows = read_rows(out)
    assert [row["text"] for row in rows] == texts
    assert list(rows[0]) == ["text", "label", "score", "scores"]
    for row, logits in zip(rows, expected_scores(classifier, texts), strict=True):
        scores = dict(zip(["bad", "fair", "good"], logits.softmax(0).tolist()))
        assert row["scores"] == pytest.approx(scores, abs=2e-6)
        assert row["label"] == max(scores, key=scores.get) and row["score"] == row["scores"][row["label"]]
    assert len({row["label"] for row in rows}) > 1


def test_very_long_texts_are_classified_in_chunks(run, classifier, tmp_path, monkeypatch):
    file = write_lines(tmp_path / "new.txt", TEXTS)
    _, expected, _ = run("predict", classifier, "--input", file)
    lengths, in_chunks = [], LstmForSequenceClassification.classify_in_chunks
    monkeypatch.setattr("hf_lstm.models.chunks_lstm.MAX_BATCH_TOKENS", 4)
    monkeypatch.setattr(
        LstmForSequenceClassification,
        "classify_in_chunks",
        lambda self, ids, mask: lengths.append(ids.shape[1]) or in_chunks(self, ids, mask, chunk_length=2),
    )
    code, out, _ = run("predict", classifier, "--input", file, *batches(1))
    assert code == 0
    assert lengths == [6]
    assert out == expected


@pytest.mark.parametrize("model", ["classifier", "translator"])
def test_batches_are_as_large_as_asked(run, request, tmp_path, monkeypatch, model):
    kind, sizes = predictor.Classifier if model == "classifier" else predictor.Writer, []
    run_batch = kind.run_batch
    monkeypatch.setattr(
        kind, "run_batch", lambda self, batch: sizes.append(len(batch["input_ids"])) or run_batch(self, batch)
    )
    file = write_lines(tmp_path / "new.txt", TEXTS)
    assert run("predict", request.getfixturevalue(model), "--input", file, *batches(3))[0] == 0
    assert sizes == [3, 2]


def batches(size):
    return ("--batch_size", size)


def test_standard_input_gives_the_same_as_a_file(run, type_in, classifier, tmp_path, small_pieces):
    from_file = run("predict", classifier, "--input", write_lines(tmp_path / "new.txt"))
    type_in("\r\n".join(ROWS) + "\n")
    code, out, err = run("predict", classifier)
    assert code == 0, err
    assert read_rows(out) == read_rows(from_file[1]) and len(read_rows(out)) == len(ROWS)


def test_lines_of_standard_input_and_of_a_file_end_at_line_feeds_only(run, type_in, classifier, tmp_path):
    content, texts = b"a dog\rran\r\nthe cat\n", ["a dog\rran", "the cat"]
    (tmp_path / "new.txt").write_bytes(content)
    type_in(content)
    for flags in ((), ("--input", tmp_path / "new.txt")):
        assert [row["text"] for row in read_rows(run("predict", classifier, *flags)[1])] == texts


def test_standard_input_in_another_encoding_is_an_error_that_says_so(run, type_in, classifier):
    type_in("Käse\n".encode("cp1252"))
    code, _, err = run("predict", classifier)
    assert code == 1 and "Standard input is not written in utf-8" in err and "--file_encoding" in err
    type_in("Käse\n".encode("cp1252"))
    assert read_rows(run("predict", classifier, "--file_encoding", "cp1252")[1])[0]["text"] == "Käse"


def test_standard_input_without_the_mark_of_utf_16_is_an_error(run, type_in, classifier):
    type_in("Käse\n")
    code, _, err = run("predict", classifier, "--file_encoding", "utf-16")
    assert code == 1 and "Standard input is not written in utf-16" in err


def test_byte_order_mark_of_standard_input_is_no_part_of_the_text(run, type_in, classifier):
    type_in(b"\xef\xbb\xbfa dog\nthe cat\n")
    assert [row["text"] for row in read_rows(run("predict", classifier)[1])] == ["a dog", "the cat"]


def test_unknown_encoding_of_standard_input_is_an_error_that_leaves_the_output(run, type_in, classifier, tmp_path):
    type_in("a dog\n")
    output = write_lines(tmp_path / "out.jsonl", ["mine"])
    code, _, err = run("predict", classifier, "--file_encoding", "utf-9", "--output", output, "--overwrite")
    assert code == 1 and "`file_encoding` is 'utf-9', which Python does not know" in err
    assert output.read_text() == "mine\n"


def test_columns_of_a_table_are_joined_and_paired(run, classifier, tmp_path):
    rows = [
        {"title": "a dog", "body": "ran home", "reply": "the cat"},
        {"title": "rain", "body": "fell", "reply": "a"},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "new.parquet")
    code, out, err = run(
        *("predict", classifier, "--input", tmp_path / "new.parquet", "--text_column_names", "title", "body"),
        *("--text_column_delimiter", " the ", "--text_pair_column_name", "reply"),
    )
    assert code == 0, err
    found = read_rows(out)
    assert [(row["text"], row["text_pair"]) for row in found] == [
        ("a dog the ran home", "the cat"),
        ("rain the fell", "a"),
    ]
    joined = run("predict", classifier, "--input", tmp_path / "new.parquet", "--text_column_names", "title", "body")
    assert [row["text"] for row in read_rows(joined[1])] == ["a dog ran home", "rain fell"]
    classify = pipeline("text-classification", model=str(classifier))
    expected = [classify({"text": row["text"], "text_pair": row["text_pair"]}) for row in found]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=2e-6)


def test_limit_leaves_room_beside_what_joins_a_pair(run, classifier, tmp_path):
    (tmp_path / "new.csv").write_text("text,reply\na dog ran,the cat\n")
    command = ("predict", classifier, "--input", tmp_path / "new.csv", "--text_pair_column_name", "reply")
    output = tmp_path / "out.jsonl"
    code, _, err = run(*command, "--max_length", 1, "--output", output)
    assert code == 1 and "`max_length` is 1, but must be at least 2" in err
    code, _, err = run(*command, "--max_length", 2, "--output", output)
    assert code == 0, err


def test_multi_label_rows_have_the_labels_above_one_half(run, tmp_path):
    folder = save_classifier(tmp_path / "model", seed=3, problem_type=MULTI_LABEL)
    code, out, _ = run("predict", folder, "--input", write_lines(tmp_path / "new.txt", TEXTS))
    assert code == 0
    for row, logits in zip(read_rows(out), expected_scores(folder, TEXTS), strict=True):
        assert list(row["scores"].values()) == pytest.approx(logits.sigmoid().tolist(), abs=2e-6)
        assert row["label"] == [name for name, score in row["scores"].items() if score > 0.5]
        assert row["score"] == [row["scores"][name] for name in row["label"]]


def test_only_label_has_the_score_that_the_model_predicts(run, tmp_path):
    folder = save_classifier(tmp_path / "model", problem_type=None, id2label={0: "good"}, label2id={"good": 0})
    code, out, _ = run("predict", folder, "--input", write_lines(tmp_path / "new.txt", TEXTS))
    model, tokenizer = load(LstmForSequenceClassification, folder)
    expected = model.predict(TEXTS, tokenizer)
    found = read_rows(out)
    assert code == 0 and [row["label"] for row in found] == ["good"] * len(TEXTS)
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=2e-6)
    assert all(row["scores"] == {"good": row["score"]} for row in found)


@pytest.mark.parametrize(("problem_type", "label"), [(None, "good"), (MULTI_LABEL, ["good"]), (REGRESSION, 1.5)])
def test_scores_that_are_no_numbers_are_an_error_that_names_the_text(run, tmp_path, problem_type, label):
    folder = save_classifier(tmp_path / "model", problem_type=problem_type)
    model, tokenizer = load(LstmForSequenceClassification, folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("rain")] = torch.nan
    model.save_pretrained(folder)
    file = write_lines(tmp_path / "new.jsonl", [json.dumps({"text": text, "label": label}) for text in TEXTS])
    for command in (("predict", folder, "--input", file), ("evaluate", folder, "--test_file", file)):
        code, out, err = run(*command)
        assert (code, out) == (1, "") and "gives no finite scores for the text 'rain fell'" in err


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"problem_type": "regression"}, "is a regression of 3 numbers, but commands know regressions of one only"),
        ({"id2label": {0: "a", 1: "b", 2: "b"}, "label2id": {"a": 0, "b": 2}}, "gives several classes the label 'b'"),
    ],
)
def test_labels_that_cannot_be_shown_are_an_error(run, tmp_path, fields, message):
    folder, path = save_classifier(tmp_path / "model"), write_lines(tmp_path / "new.txt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    for command in (("predict", folder, "--input", path), ("evaluate", folder, "--test_file", path)):
        code, out, err = run(*command)
        assert (code, out) == (1, "") and message in err


def test_regression_gives_a_number_alone(run, tmp_path):
    folder = save_classifier(tmp_path / "model", problem_type=REGRESSION)
    code, out, _ = run("predict", folder, "--input", write_lines(tmp_path / "new.txt", TEXTS))
    expected = [{"text": text, "label": value.item()} for text, value in zip(TEXTS, expected_scores(folder, TEXTS))]
    assert code == 0
    assert [row["label"] for row in read_rows(out)] == pytest.approx([row["label"] for row in expected], abs=1e-5)
    assert all(set(row) == {"text", "label"} for row in read_rows(out))


def test_encoder_decoder_writes_what_its_pipeline_writes(run, translator, tmp_path):
    lines = write_lines(tmp_path / "new.de", TEXTS)
    code, out, err = run("predict", translator, "--input", lines, "--num_beams", 2, "--max_new_tokens", 5, *batches(2))
    assert code == 0, err
    translate = pipeline("lstm-translation", model=str(translator))
    expected = [
        translate(text, num_beams=2, max_new_tokens=5, max_length=None)[0]["translation_text"] for text in TEXTS
    ]
    assert read_rows(out) == [{"source": s, "prediction": t} for s, t in zip(TEXTS, expected)]
    assert len(set(expected)) > 1


@pytest.mark.parametrize("prefix", [None, "the film "])
def test_prediction_of_a_blank_source_is_blank(run, type_in, tmp_path, prefix):
    folder = save_translator(tmp_path / "model", prefix=prefix)
    lines = ["", TEXTS[0], " \u3000", *TEXTS[1:3]]
    code, out, err = run("predict", folder, "--input", write_lines(tmp_path / "new.txt", lines), *batches(2))
    assert code == 0, err
    found = [row["prediction"] for row in read_rows(out)]
    assert (found[0], found[2]) == ("", "") and all(found[row] for row in (1, 3, 4)) and "5/5" in err
    type_in("\n \n")
    assert [row["prediction"] for row in read_rows(run("predict", folder)[1])] == ["", ""]


@pytest.mark.parametrize("model", ["classifier", "translator"])
def test_empty_texts_of_standard_input_give_a_warning_as_those_of_a_file_do(run, type_in, request, model, caplog):
    folder = request.getfixturevalue(model)
    type_in("a dog\n\nthe cat\n \n")
    assert run("predict", folder)[0] == 0
    assert "2 of 4 texts of standard input are empty: rows 2, 4." in caplog.text
    caplog.clear()
    type_in("a dog\n")
    assert run("predict", folder)[0] == 0 and "empty" not in caplog.text


def test_each_row_gets_one_prediction_whatever_the_model_was_saved_to_return(run, translator, tmp_path):
    lines = write_lines(tmp_path / "new.de", TEXTS)
    _, expected, _ = run("predict", translator, "--input", lines, "--num_beams", 3)
    several = shutil.copytree(translator, tmp_path / "several")
    path = several / "generation_config.json"
    saved = {"num_beams": 3, "num_return_sequences": 2, "return_dict_in_generate": True, "output_scores": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | saved))
    code, out, err = run("predict", several, "--input", lines)
    assert code == 0, err
    assert read_rows(out) == read_rows(expected)


def test_language_of_a_column_translation_is_read(run, translator, tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps({"translation": {"en": text, "de": "x"}}) + "\n" for text in TEXTS))
    code, out, err = run("predict", translator, "--input", path, "--source_lang", "en")
    assert code == 0, err
    assert [row["source"] for row in read_rows(out)] == TEXTS


def test_named_column_of_the_sources_is_read(run, translator, tmp_path):
    path = write_lines(tmp_path / "new.jsonl", [json.dumps({"source": "x", "body": text}) for text in TEXTS])
    code, out, err = run("predict", translator, "--input", path, "--source_column_name", "body")
    assert code == 0, err
    assert [row["source"] for row in read_rows(out)] == TEXTS


@pytest.mark.parametrize(("model", "column"), [("classifier", "text"), ("translator", "source")])
def test_file_in_another_encoding_is_read(run, request, tmp_path, model, column):
    (tmp_path / "new.txt").write_bytes("Käse\n".encode("cp1252"))
    command = ("predict", request.getfixturevalue(model), "--input", tmp_path / "new.txt")
    code, out, err = run(*command, "--file_encoding", "cp1252")
    assert code == 0, err
    assert read_rows(out)[0][column] == "Käse" and "Käse" in out  # as it is, not escaped


def test_prefix_of_the_model_is_read_but_not_shown(run, tmp_path):
    plain = save_translator(tmp_path / "plain")
    prefixed = save_translator(tmp_path / "prefixed", prefix="the film ")
    lines = write_lines(tmp_path / "new.txt", TEXTS)
    told = write_lines(tmp_path / "told.txt", [f"the film {text}" for text in TEXTS])
    found, expected = (
        read_rows(run("predict", *args)[1]) for args in ((prefixed, "--input", lines), (plain, "--input", told))
    )
    assert [row["prediction"] for row in found] == [row["prediction"] for row in expected]
    assert [row["source"] for row in found] == TEXTS


def test_long_texts_are_cut_with_one_warning(run, classifier, tmp_path, caplog, small_pieces):
    lines = write_lines(tmp_path / "new.txt", ["a dog ran", "a dog ran home", "dog", "cat", "the cat sat home"])
    code, out, _ = run("predict", classifier, "--input", lines, "--max_length", 3)
    first, second, *_ = read_rows(out)
    assert code == 0 and first["scores"] == second["scores"]
    assert "2 of 5 texts were cut to 3 tokens" in caplog.text and caplog.text.count("were cut") == 1


# A piece that was half written is read again as a whole.
@pytest.mark.parametrize(("num_written", "expected"), [(4, "1 of 1"), (3, "2 of 5")])
def test_texts_that_an_earlier_run_read_are_not_counted_as_uncut(
    run, classifier, tmp_path, caplog, small_pieces, num_written, expected
):
    lines = write_lines(tmp_path / "new.txt", ["a dog ran", "a dog ran home", "dog", "cat", "the cat sat home"])
    command = ("predict", classifier, "--input", lines, "--max_length", 3, "--output", tmp_path / "out.jsonl")
    run(*command)
    output = tmp_path / "out.jsonl"
    output.write_text("".join(output.read_text().splitlines(keepends=True)[:num_written]))
    caplog.clear()
    assert run(*command)[0] == 0 and f"{expected} texts were cut" in caplog.text


def test_progress_is_shown_on_standard_error(run, classifier, tmp_path):
    lines = write_lines(tmp_path / "new.txt")
    output = ("--output", tmp_path / "out.jsonl")
    code, out, err = run("predict", classifier, "--input", lines, *output)
    assert (code, out) == (0, "") and f"{len(ROWS)}/{len(ROWS)}" in err
    assert f"/{len(ROWS)}" not in run("predict", classifier, "--input", lines, "--disable_tqdm")[2]


class StoppedError(Exception):
    pass


def count_rows(monkeypatch, fail_after=None):
    """Counts the rows that the model runs on; it fails where it has run on that many."""
    counted = []
    run_rows = predictor.Writer.run

    def counting(self, rows, progress):
        if fail_after is not None and len(counted) >= fail_after:
            raise StoppedError
        counted.extend(rows)
        return run_rows(self, rows, progress)

    monkeypatch.setattr(predictor.Writer, "run", counting)
    return counted


@pytest.mark.parametrize("flags", [(), ("--do_sample", "--seed", 5, "--top_k", 7)], ids=["greedy", "sampled"])
def test_stopped_run_goes_on_and_gives_the_same(run, translator, tmp_path, monkeypatch, small_pieces, flags):
    check_stopped_run(run, translator, tmp_path, monkeypatch, flags)


def test_stopped_run_of_a_model_that_was_saved_to_sample_gives_the_same(run, tmp_path, monkeypatch, small_pieces):
    plain, folder = save_translator(tmp_path / "plain"), save_translator(tmp_path / "model")
    GenerationConfig.from_pretrained(folder, do_sample=True, top_k=7).save_pretrained(folder)
    greedy = run("predict", plain, "--input", write_lines(tmp_path / "new.txt"))[1]
    assert greedy and check_stopped_run(run, folder, tmp_path, monkeypatch, ()) != greedy


def test_each_piece_draws_other_tokens(run, translator, tmp_path, small_pieces):
    lines = write_lines(tmp_path / "new.txt", TEXTS[:4] * 2)
    sampling = ("--do_sample", "--seed", 5, "--max_new_tokens", 8)
    rows = read_rows(run("predict", translator, "--input", lines, *sampling)[1])
    assert [row["source"] for row in rows[:4]] == [row["source"] for row in rows[4:]]
    assert [row["prediction"] for row in rows[:4]] != [row["prediction"] for row in rows[4:]]


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("--do_sample", "--seed", 5), 1)], ids=["greedy", "sampled"])
def test_run_that_samples_is_refused_with_another_number_of_processes(
    run, translator, tmp_path, monkeypatch, flags, code
):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    command = ("predict", translator, "--input", lines, "--output", output, *flags)
    with monkeypatch.context() as patch:
        patch.setattr(SharedWork, "num_processes", 2)
        assert run(*command)[0] == 0
    found, _, err = run(*command)
    assert found == code and ("`num_processes` was 2 and is None" in err) == bool(code)


def check_stopped_run(run, translator, tmp_path, monkeypatch, flags):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    command = ("predict", translator, "--input", lines, *flags)
    whole = run(*command)[1]
    with monkeypatch.context() as patch:
        count_rows(patch, fail_after=8)
        with pytest.raises(StoppedError):
            run(*command, "--output", output)
    assert output.read_text().splitlines() == whole.splitlines()[:8]
    # Killed while it wrote the sixth line.
    output.write_bytes("".join(whole.splitlines(keepends=True)[:6]).encode()[:-5])
    with monkeypatch.context() as patch:
        counted = count_rows(patch)
        assert run(*command, "--output", output)[0] == 0
    assert output.read_text() == whole
    assert len(counted) == len(ROWS) - 4  # the first piece was complete
    with monkeypatch.context() as patch:
        counted = count_rows(patch)
        code, _, err = run(*command, "--output", output)
    assert (code, output.read_text(), counted) == (0, whole, []) and f"{len(ROWS)}/{len(ROWS)}" in err
    return whole


def test_stopped_run_from_standard_input_goes_on_where_the_texts_are_the_same(run, type_in, classifier, tmp_path):
    output = tmp_path / "out.jsonl"
    command = ("predict", classifier, "--output", output)
    type_in("\n".join(ROWS[:3]) + "\n")
    assert run(*command)[0] == 0
    type_in("\n".join(ROWS) + "\n")
    assert run(*command)[0] == 0
    assert [row["text"] for row in read_rows(output.read_text())] == ROWS
    before = output.read_text()
    type_in("\n".join([*ROWS[:2], "cat", *ROWS[3:]]) + "\n")
    code, _, err = run(*command)
    assert code == 1 and "Line 3 of" in err and "another text than row 3 of the input" in err
    type_in("\n".join(ROWS[:4]) + "\n")
    code, _, err = run(*command)
    assert code == 1 and f"holds {len(ROWS)} lines, but the input has only 4 rows" in err
    assert output.read_text() == before


def test_run_with_another_model_input_or_option_is_refused(run, classifier, translator, tmp_path):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    command = ("--input", lines, "--output", output)
    assert run("predict", classifier, *command)[0] == 0
    before = output.read_text()
    other = save_classifier(tmp_path / "other", seed=1)
    for args, setting in (
        ((other, *command), "`model` was"),
        ((classifier, *command, "--max_length", 5), "`max_length` was 11 and is 5"),
        ((classifier, "--output", output, "--input", write_lines(tmp_path / "more.txt", TEXTS)), "`input` was"),
    ):
        code, _, err = run("predict", *args)
        assert code == 1 and "holds rows of another run" in err and setting in err
    write_lines(lines, [*ROWS, "more"])
    code, _, err = run("predict", classifier, *command)
    assert code == 1 and "`input` was" in err
    write_lines(lines)
    assert output.read_text() == before
    assert run("predict", other, *command, "--overwrite")[0] == 0
    assert output.read_text() != before and len(read_rows(output.read_text())) == len(ROWS)


@pytest.mark.parametrize(
    ("model", "name", "first", "second"),
    [
        ("classifier", "text_column_names", "text", "other"),
        ("classifier", "file_encoding", "utf-8", "ascii"),
        ("translator", "source_column_name", "text", "other"),
        ("translator", "num_beams", 1, 2),
    ],
)
def test_run_with_another_flag_is_refused_where_the_texts_are_the_same(
    run, request, tmp_path, model, name, first, second
):
    lines = write_lines(tmp_path / "new.jsonl", [json.dumps({"text": text, "other": text}) for text in TEXTS])
    output = ("--output", tmp_path / "out.jsonl")
    command = ("predict", request.getfixturevalue(model), "--input", lines, *output, f"--{name}")
    assert run(*command, first)[0] == 0
    code, _, err = run(*command, second)
    assert code == 1 and f"holds rows of another run: `{name}` was" in err


def test_run_of_a_model_that_writes_in_another_way_now_is_refused(run, tmp_path):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    folder = save_translator(tmp_path / "model")
    assert run("predict", folder, "--input", lines, "--output", output)[0] == 0
    GenerationConfig.from_pretrained(folder, num_beams=3).save_pretrained(folder)
    code, _, err = run("predict", folder, "--input", lines, "--output", output)
    assert code == 1 and "holds rows of another run" in err and "`model` was" in err


def test_run_of_a_model_with_another_tokenizer_of_its_targets_is_refused(run, tmp_path):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    folder = save_translator(tmp_path / "model")
    assert run("predict", folder, "--input", lines, "--output", output)[0] == 0
    targets = make_tokenizer(TARGETS, add_eos=True)  # as many tokens, but in small letters
    LstmSeq2SeqTokenizer.from_tokenizers(make_tokenizer(add_eos=True), targets).save_pretrained(folder)
    code, _, err = run("predict", folder, "--input", lines, "--output", output)
    assert code == 1 and "`model` was" in err


def test_model_or_input_that_was_moved_is_the_same_one(run, tmp_path):
    lines, output = write_lines(tmp_path / "new.txt"), tmp_path / "out.jsonl"
    folder = save_classifier(tmp_path / "model")
    assert run("predict", folder, "--input", lines, "--output", output)[0] == 0
    folder = folder.rename(tmp_path / "moved")
    assert run("predict", folder, "--input", lines, "--output", output)[0] == 0
    assert run("predict", folder, "--input", lines.rename(tmp_path / "moved.txt"), "--output", output)[0] == 0


def test_file_of_unknown_origin_is_not_appended_to(run, classifier, tmp_path):
    lines, output = write_lines(tmp_path / "new.txt"), write_lines(tmp_path / "out.jsonl", ["mine"])
    command = ("predict", classifier, "--input", lines, "--output", output)
    code, _, err = run(*command)
    assert code == 1 and "exists already" in err and "--overwrite" in err and output.read_text() == "mine\n"
    assert run(*command, "--overwrite")[0] == 0
    content = output.read_text().splitlines()
    for line in ("no json", "[1]"):
        output.write_text("\n".join([content[0], line, *content[2:]]) + "\n")
        code, _, err = run(*command)
        assert code == 1 and "Line 2 of" in err and "no JSON object" in err
    output.with_name(output.name + SETTINGS_SUFFIX).write_text("[]")
    assert run(*command)[0] == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_output_that_is_no_file_is_left_as_it_is(run, classifier, tmp_path, flags):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = write_lines(tmp_path / "new.txt", TEXTS)
    code, _, err = run("predict", classifier, "--input", lines, "--output", pipe, *flags)
    assert code == 1 and f"{str(pipe)!r} is no file that a run could go on with" in err
    assert pipe.is_fifo() and sorted(path.name for path in tmp_path.iterdir()) == ["new.txt", "pipe"]


@pytest.mark.parametrize("name", ["new.txt", "./folder/../new.txt", "symbolic.txt", "hard.txt"])
def test_output_that_is_the_input_is_refused_under_every_name(run, classifier, tmp_path, name):
    lines = write_lines(tmp_path / "new.txt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "symbolic.txt").symlink_to("new.txt")
    (tmp_path / "hard.txt").hardlink_to(lines)
    before, output = lines.read_text(), f"{tmp_path}/{name}"
    code, _, err = run("predict", classifier, "--input", lines, "--output", output, "--overwrite")
    assert code == 1 and f"The output, {output!r}, is the same file as the input, {str(lines)!r}" in err
    assert lines.read_text() == before and not list(tmp_path.glob(f"*{SETTINGS_SUFFIX}"))


def test_output_that_is_read_as_standard_input_is_refused(run, classifier, tmp_path, monkeypatch):
    lines = write_lines(tmp_path / "new.txt")
    before = lines.read_text()
    with lines.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, _, err = run("predict", classifier, "--output", lines, "--overwrite")
    assert code == 1 and "is the same file as the input, standard input" in err
    assert lines.read_text() == before


@pytest.mark.parametrize(
    ("model", "args", "code", "message"),
    [
        ("classifier", ["--num_beams", "2"], 2, "--num_beams is given, but"),
        ("classifier", ["--seed", "0"], 2, "--seed is given, but"),
        ("classifier", ["--source_lang", "de"], 2, "is a classifier"),
        ("translator", ["--text_column_names", "a"], 2, "is an encoder–decoder"),
        ("translator", ["--top_k", "3"], 1, "pass --do_sample as well"),
        ("translator", ["--max_length", "1"], 1, "`max_length` is 1, but must be at least 2"),
        ("translator", ["--max_length", "9" * 25], 2, "must be a whole number of at most 4294967295"),
        ("translator", ["--device", "nowhere"], 1, "--device is 'nowhere'"),
        ("language_model", [], 1, "`hf-lstm predict` needs LstmForSequenceClassification or"),
        ("classifier", ["--output", "no/folder/out.jsonl"], 1, "Cannot write 'no/folder/out.jsonl'"),
        ("classifier", ["--output", ""], 1, "Cannot write '.': Is a directory. Pass another --output"),
        ("classifier", ["--overwrite"], 2, "--overwrite is given, but there is no --output"),
        ("classifier", ["--text_column_names", "txet"], 1, "no column 'txet'"),
    ],
)
def test_what_does_not_fit_the_model_is_an_error(run, request, tmp_path, model, args, code, message):
    folder = request.getfixturevalue(model)
    found, out, err = run("predict", folder, "--input", write_lines(tmp_path / "new.txt"), *args)
    assert (found, out) == (code, "") and message in err


@pytest.mark.parametrize(
    ("model", "flag"),
    [("classifier", "text_column_names"), ("classifier", "text_pair_column_name"), ("translator", "source_lang")],
)
def test_columns_of_standard_input_are_refused(run, request, type_in, model, flag):
    type_in("the cat\n")
    code, out, err = run("predict", request.getfixturevalue(model), f"--{flag}", "b")
    assert (code, out) == (2, "") and f"--{flag} is given, but texts of standard input have no columns" in err


@pytest.mark.parametrize("limit", ["long", 11.5, None, 1e30])
def test_limit_of_the_tokenizer_is_a_whole_number_or_none(run, tmp_path, limit):
    folder, lines = save_classifier(tmp_path / "model"), write_lines(tmp_path / "new.txt")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": limit}))
    code, _, err = run("predict", folder, "--input", lines)
    assert code == (1 if limit in ("long", 11.5) else 0)
    assert (f"`model_max_length` {limit!r}, which must be a whole number" in err) == (code == 1)


def test_parts_of_a_model_that_do_not_fit_each_other_are_an_error(run, tmp_path):
    folder, lines = save_translator(tmp_path / "model"), write_lines(tmp_path / "new.txt")
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = GenerationConfig.from_pretrained(folder)
    config.eos_token_id = size
    config.save_pretrained(folder)
    code, out, err = run("predict", folder, "--input", lines)
    assert (code, out) == (1, "") and f"has {size} as `eos_token_id`" in err and f"below {size}" in err

    folder = save_classifier(tmp_path / "classifier")
    tokenizer = make_tokenizer([*TEXTS, "another word"])
    tokenizer.save_pretrained(folder)
    code, out, err = run("predict", folder, "--input", lines)
    assert (code, out) == (1, "") and f"has {len(tokenizer)} tokens, but the model knows only" in err
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    code, out, err = run("predict", folder, "--input", lines)
    assert (code, out) == (1, "") and "has no padding token" in err


def test_weights_that_are_not_whole_are_an_error_that_names_what_is_missing(run, classifier, tmp_path):
    folder = shutil.copytree(classifier, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    code, out, err = run("predict", folder, "--input", write_lines(tmp_path / "new.txt"))
    assert (code, out) == (1, "") and "are not whole: 'classifier.weight' is missing" in err


def test_damaged_or_foreign_folder_is_an_error(run, tmp_path):
    lines = write_lines(tmp_path / "new.txt")
    folder = save_classifier(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer that can be loaded" in run("predict", folder, "--input", lines)[2]
    (folder / "model.safetensors").write_bytes(b"broken")
    assert "are damaged" in run("predict", folder, "--input", lines)[2]
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"], "model_type": "bert"}))
    code, _, err = run("predict", folder, "--input", lines)
    assert code == 1 and "is of the class 'BertForMaskedLM'" in err


def test_processes_part_at_the_end_and_after_an_error(run, classifier, tmp_path, monkeypatch):
    parted = []
    monkeypatch.setattr(PartialState, "destroy_process_group", lambda state: parted.append("parted"))
    assert run("predict", classifier, "--input", write_lines(tmp_path / "new.txt"))[0] == 0
    assert parted == ["parted"]
    assert run("predict", classifier, "--input", tmp_path / "none.txt")[0] == 1
    assert parted == ["parted", "parted"]
