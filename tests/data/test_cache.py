import itertools
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
import pytest

from hf_lstm import LstmSeq2SeqTokenizer, LstmTokenizer
from hf_lstm.data import cache
from hf_lstm.data.cache import FOLDER, describe_tokenizer, map_tokenizer
from hf_lstm.data.columns import select_texts
from hf_lstm.data.loading import load_file
from hf_lstm.data.pair_tokenization import tokenize_pairs
from hf_lstm.data.pairs import load_pairs
from hf_lstm.data.tokenization import tokenize

CORPUS = ["one two three", "four five six seven"]


def train_tokenizer(corpus=CORPUS, **options):
    return LstmTokenizer.train_from_iterator(corpus, algorithm="word", min_frequency=1, show_progress=False, **options)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "train.txt").write_text("one two\nseven six five four\nthree\n" * 7)
    return select_texts(load_file(tmp_path / "train.txt", cache_dir=str(tmp_path / "cache")), "train")


@pytest.fixture
def pairs(tmp_path):
    (tmp_path / "train.de").write_text("one two\nthree four five\n" * 5)
    (tmp_path / "train.en").write_text("six\nseven one\n" * 5)
    return load_pairs(tmp_path / "train.de", "train", tmp_path / "train.en")


@pytest.fixture
def refuse_to_tokenize(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("Texts were tokenised again.")

    return lambda: monkeypatch.setattr(LstmTokenizer, "__call__", refuse)


def test_second_run_reads_the_file_of_the_first(texts, refuse_to_tokenize):
    first = tokenize(texts, train_tokenizer(), 5, "train")
    refuse_to_tokenize()
    second = tokenize(texts, train_tokenizer(), 5, "train")
    assert second["input_ids"][:] == first["input_ids"][:]
    assert [file["filename"] for file in second.cache_files] == [file["filename"] for file in first.cache_files]


def test_what_several_processes_wrote_is_found_by_one(texts, refuse_to_tokenize):
    first = tokenize(texts, train_tokenizer(), 5, "train", num_workers=2)
    assert len(first.cache_files) == 2
    refuse_to_tokenize()
    assert tokenize(texts, train_tokenizer(), 5, "train")["input_ids"][:] == first["input_ids"][:]


def test_another_process_finds_the_file(texts, tmp_path):
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (file,) = (Path(file["filename"]) for file in tokenize(texts, tokenizer, 5, "train").cache_files)
    written = file.stat().st_mtime_ns
    program = (
        "import sys\n"
        "from hf_lstm import LstmTokenizer\n"
        "from hf_lstm.data.columns import select_texts\n"
        "from hf_lstm.data.loading import load_file\n"
        "from hf_lstm.data.tokenization import tokenize\n"
        "texts = select_texts(load_file(sys.argv[1], cache_dir=sys.argv[2]), 'train')\n"
        "print(tokenize(texts, LstmTokenizer.from_pretrained(sys.argv[3]), 5, 'train').cache_files[0]['filename'])\n"
    )
    paths = [str(tmp_path / name) for name in ("train.txt", "cache", "tokenizer")]
    found = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()) == file and file.stat().st_mtime_ns == written


def test_another_tokenizer_or_length_is_another_file(texts):
    results = [
        tokenize(texts, tokenizer, max_length, "train")["input_ids"][:]
        for tokenizer, max_length in [
            (train_tokenizer(), 5),
            (train_tokenizer(), 2),
            (train_tokenizer(add_eos=True), 5),
            (train_tokenizer(["one two", "seven"]), 5),
        ]
    ]
    assert all(first != second for first, second in itertools.combinations(results, 2))


def test_result_with_other_columns_is_another_file(texts):
    def count(batch, tokenizer):
        return {"length": [len(text) for text in batch["text"]]}

    for removed, kept in ((["text"], ["length"]), ([], ["text", "length"])):
        assert map_tokenizer(texts, count, train_tokenizer(), {}, remove_columns=removed).column_names == kept


def test_cache_is_written_anew_when_asked(texts, refuse_to_tokenize):
    tokenize(texts, train_tokenizer(), 5, "train")
    refuse_to_tokenize()
    with pytest.raises(AssertionError, match="tokenised again"):
        tokenize(texts, train_tokenizer(), 5, "train", overwrite_cache=True)


def test_pairs_of_line_files_are_cached_too(pairs, refuse_to_tokenize):
    first = tokenize_pairs(pairs, train_tokenizer(add_eos=True), 5, 4, "train")
    (file,) = (Path(file["filename"]) for file in first.cache_files)
    assert file.parent == Path(datasets.config.HF_DATASETS_CACHE) / FOLDER
    written = file.stat().st_mtime_ns
    second = tokenize_pairs(pairs, train_tokenizer(add_eos=True), 5, 4, "train")
    assert second["labels"][:] == first["labels"][:]
    assert file.stat().st_mtime_ns == written


def test_pairs_of_line_files_are_kept_nowhere_without_caching(pairs, monkeypatch):
    monkeypatch.setattr(datasets, "is_caching_enabled", lambda: False)
    result = tokenize_pairs(pairs, train_tokenizer(add_eos=True), 5, 4, "train")
    assert len(result) == len(pairs) and not result.cache_files


def test_tokenizer_is_described_by_what_it_does(tmp_path):
    tokenizer = train_tokenizer()
    before = describe_tokenizer(tokenizer)
    tokenizer(["one two", "three"], truncation=True, max_length=1, padding="max_length")
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = LstmTokenizer.from_pretrained(tmp_path / "saved")
    assert before == describe_tokenizer(tokenizer) == describe_tokenizer(loaded)
    assert before != describe_tokenizer(train_tokenizer(["one two", "seven"]))


@pytest.mark.parametrize(("name", "value"), [("split_special_tokens", True), ("truncation_side", "left")])
@pytest.mark.parametrize("side", ["source", "target"])
def test_settings_of_both_sides_of_a_tokenizer_are_described(side, name, value):
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(train_tokenizer(), train_tokenizer(["one two"]))
    before = describe_tokenizer(tokenizer)
    setattr(tokenizer if side == "source" else tokenizer.target_tokenizer, name, value)
    assert describe_tokenizer(tokenizer) != before


@pytest.mark.parametrize("package", ["datasets", "tokenizers", "transformers", "hf_lstm"])
def test_another_version_of_a_package_is_another_file(texts, monkeypatch, tmp_path, package):
    def fingerprints():
        read = select_texts(load_file(tmp_path / "train.txt", cache_dir=str(tmp_path / "cache")), "train")
        made = [read, tokenize(texts, train_tokenizer(), 5, "train")]
        return [dataset._fingerprint for dataset in made]

    before = fingerprints()
    assert fingerprints() == before
    monkeypatch.setattr(cache, "version", lambda name: "0.0.1" if name == package else version(name))
    assert all(first != second for first, second in zip(before, fingerprints(), strict=True))


def test_both_sides_of_a_tokenizer_are_described():
    one, other = train_tokenizer(), train_tokenizer(["one two", "seven"])
    described = [
        describe_tokenizer(LstmSeq2SeqTokenizer.from_tokenizers(*sides)) for sides in ((one, one), (one, other))
    ]
    assert described[0] != described[1]
