import csv
import gzip

import pytest
from transformers import AutoTokenizer

from hf_lstm import LstmTokenizer
from hf_lstm.cli import tokenizer as command
from hf_lstm.models.tokenization_lstm import ALGORITHMS

LINES = ["Ein Hund läuft nach Hause", "Die Katze schläft", "Ein Vogel singt ein langes Lied"] * 3


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "train.de"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_choices_are_those_of_the_tokenizer():
    assert ("auto", *ALGORITHMS) == command.ALGORITHMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_gives_a_tokenizer_that_loads(run, corpus, tmp_path, algorithm):
    folder = tmp_path / "tokenizer"
    code, out, err = run(
        *("tokenizer", "train", corpus, "--output_dir", folder, "--algorithm", algorithm),
        *("--vocab_size", 300, "--add_eos", "--no_lowercase", "--model_max_length", 7),
    )
    assert code == 0, err
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, LstmTokenizer) and tokenizer.model_max_length == 7
    assert f"{algorithm} tokenizer of {len(tokenizer)} tokens" in out
    ids = tokenizer("Ein Hund")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id and tokenizer.bos_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Ein Hund"


def test_texts_of_several_files_and_columns_are_learned(run, corpus, tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["title", "body"], ["Alpha", "beta gamma"], ["Alpha", "delta beta"]])
    zipped = tmp_path / "more.txt.gz"
    zipped.write_bytes(gzip.compress(b"zeta zeta\n"))
    code, out, err = run(
        *("tokenizer", "train", "--min_frequency", 2, table, corpus, zipped, "--text_column_names", "title", "body"),
        *("--output_dir", tmp_path / "tokenizer"),
    )
    assert code == 0, err
    tokens = set(LstmTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab())
    assert {"alpha", "beta", "zeta", "hund"} <= tokens and not {"gamma", "delta", "Hund"} & tokens
    assert f"on {4 + len(LINES) + 1} texts" in out


@pytest.mark.parametrize(
    ("value", "flag", "ignores_case"),
    [("null", None, True), ("true", None, True), ("false", None, False), ("false", "--lowercase", True),
     ("true", "--no_lowercase", False)],
)  # fmt: skip
def test_case_is_ignored_as_the_config_file_says_unless_a_flag_does(run, corpus, tmp_path, value, flag, ignores_case):
    config = tmp_path / "config.yaml"
    config.write_text(f"lowercase: {value}\n")
    flags = [flag] if flag else []
    args = ("tokenizer", "train", corpus, "--output_dir", tmp_path / "tokenizer", "--config", config, *flags)
    assert run(*args, "--min_frequency", 1)[0] == 0
    assert ("hund" in LstmTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()) == ignores_case


@pytest.mark.parametrize("name", ["texts.txt", "texts.csv"])
def test_files_are_read_in_their_encoding_and_normalised_as_asked(run, tmp_path, name):
    (tmp_path / name).write_bytes("text\nKäse²\nKäse²\n".encode("cp1252"))
    command = ("tokenizer", "train", tmp_path / name, "--output_dir", tmp_path / "tokenizer")
    for normalization, word in (("nfkc", "käse2"), ("none", "käse²")):
        code, _, err = run(*command, "--file_encoding", "cp1252", "--normalization", normalization)
        assert code == 0, err
        assert word in LstmTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()


def test_algorithm_is_chosen_by_the_script(run, tmp_path):
    chinese = tmp_path / "zh.txt"
    chinese.write_text("天气很好\n我喜欢猫\n" * 2, encoding="utf-8")
    assert "a char tokenizer" in run("tokenizer", "train", chinese, "--output_dir", tmp_path / "tokenizer")[1]


def test_tokenizer_of_a_model_is_kept(run, corpus, classifier):
    before = (classifier / "tokenizer.json").read_bytes()
    code, out, err = run("tokenizer", "train", corpus, "--output_dir", classifier)
    assert (code, out) == (1, "") and "holds the weights of a model" in err and str(classifier) in err
    assert (classifier / "tokenizer.json").read_bytes() == before


def test_config_file_names_files_and_switches_and_flags_override_it(run, corpus, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"files: [{corpus}]\noutput_dir: {tmp_path / 'first'}\nvocab_size: 9\nadd_bos: true\nnormalization: null\n"
    )
    assert run("tokenizer", "train", "--config", config)[0] == 0
    first = LstmTokenizer.from_pretrained(tmp_path / "first")
    assert len(first) == 9 and first("ein")["input_ids"][0] == first.bos_token_id
    assert (
        run("tokenizer", "train", "--config", config, "--vocab_size", 8, "--output_dir", tmp_path / "second")[0] == 0
    )
    assert len(LstmTokenizer.from_pretrained(tmp_path / "second")) == 8


def test_null_of_a_config_file_leaves_an_argument_as_it_is(run, corpus, tmp_path):
    config, folder = tmp_path / "config.yaml", tmp_path / "tokenizer"
    config.write_text("vocab_size: null\nmin_frequency: null\nfile_encoding: null\n")
    code, out, err = run("tokenizer", "train", corpus, "--output_dir", folder, "--config", config)
    assert code == 0, err
    assert out == run("tokenizer", "train", corpus, "--output_dir", folder)[1]


def test_null_of_a_config_file_is_no_normalization(run, tmp_path):
    texts, config, folder = tmp_path / "texts.txt", tmp_path / "config.yaml", tmp_path / "tokenizer"
    texts.write_text("Käse²\nKäse²\n", encoding="utf-8")
    for content, word in (("{}", "käse2"), ("normalization: null", "käse²")):
        config.write_text(content)
        code, _, err = run("tokenizer", "train", texts, "--output_dir", folder, "--config", config)
        assert code == 0, err
        assert word in LstmTokenizer.from_pretrained(folder).get_vocab()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("vocab_sise: 9", r"sets 'vocab_sise', but there is no such argument. Did you mean 'vocab_size'?"),
        ("add_bos: 3", r"sets 'add_bos' to 3, but it must be true or false"),
        ("vocab_size: [9, 8]", r"sets 'vocab_size' to a list"),
        ("algorithm: wrod", r"Did you mean 'word'?"),
        ("- vocab_size", r"must hold names and values"),
    ],
)
def test_wrong_config_is_an_error(run, corpus, tmp_path, content, message):
    config = tmp_path / "config.yaml"
    config.write_text(content)
    code, _, err = run("tokenizer", "train", corpus, "--output_dir", tmp_path / "out", "--config", config)
    assert code in (1, 2) and message in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "A FILE with texts is missing"),
        (["train.de"], 2, "--output_dir"),
        (["missing.csv", "--output_dir", "out"], 1, "'missing.csv' does not exist"),
        (["train.de", "--output_dir", "out", "--vocab_size", "4"], 1, "raise `vocab_size`"),
        (["train.de", "--output_dir", "out", "--vocab_size", "9" * 25], 2, "whole number of at most 4294967295"),
        (["train.de", "--output_dir", "out", "--min_frequency", "99"], 1, "lower `min_frequency`"),
        (["train.de", "--output_dir", "train.de"], 1, "Cannot write to the output folder"),
    ],
)
def test_what_cannot_be_trained_is_an_error(run, corpus, monkeypatch, args, code, message):
    monkeypatch.chdir(corpus.parent)
    found, out, err = run("tokenizer", "train", *args)
    assert (found, out) == (code, "") and message in err
