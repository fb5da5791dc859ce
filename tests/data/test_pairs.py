import gzip
import json
import logging

import pytest
from datasets import Dataset

from hf_lstm.data.checks import InputError
from hf_lstm.data.pairs import autoencode_pairs, load_pairs
from hf_lstm.data.text_files import read_lines

GERMAN, ENGLISH = ["ein Hund", "zwei, drei", "Größe"], ["a dog", "two, three", "size"]
PAIRS = {"source": GERMAN, "target": ENGLISH}


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def write_lines(path, lines, encoding="utf-8", end="\n"):
    content = "".join(line + end for line in lines).encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_json(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffixes", [(".de", ".en"), (".de.gz", ".en"), (".src.txt", ".TXT"), ("", ".gz")])
def test_line_files_of_any_ending_are_aligned(tmp_path, suffixes):
    source, target = (
        write_lines(tmp_path / f"{name}{suffix}", lines)
        for name, suffix, lines in zip("ab", suffixes, (GERMAN, ENGLISH))
    )
    assert load_pairs(source, "train", str(target)).to_dict() == PAIRS


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.json", "a.jsonl", "a.parquet"])
def test_file_with_columns_gives_its_pairs(tmp_path, cache, name):
    rows = [{"source": s, "id": i, "target": t} for i, (s, t) in enumerate(zip(GERMAN, ENGLISH))]
    path = tmp_path / name
    if name.endswith(".parquet"):
        Dataset.from_list(rows).to_parquet(path)
    elif name.endswith("json"):
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif name.endswith("jsonl"):
        write_json(path, rows)
    else:
        separator = "," if name.endswith("csv") else "\t"
        lines = [separator.join(f'"{value}"' for value in row.values()) for row in rows]
        write_lines(path, [separator.join(rows[0]), *lines])
    assert load_pairs(path, "train", cache_dir=cache).to_dict() == PAIRS


def test_lines_are_read_in_their_encoding(tmp_path):
    path = write_lines(tmp_path / "a.zh", ["北京", "", "你好"], encoding="gb18030")
    assert read_lines(path, "gb18030") == ["北京", "", "你好"]
    with pytest.raises(InputError, match="is not written in utf-8.*--file_encoding"):
        load_pairs(path, "train", path)
    wide = write_lines(tmp_path / "b.zh", ["a", "b"], encoding="utf-16-le")
    wide.write_bytes(b"\xff\xfe" + wide.read_bytes())
    assert read_lines(wide, "utf-16") == ["a", "b"]


def test_line_files_of_unequal_length_raise(tmp_path):
    source = write_lines(tmp_path / "a.de", [*GERMAN, ""])
    target = write_lines(tmp_path / "a.en.gz", ENGLISH)
    with pytest.raises(InputError, match=r"a\.de' has 4 lines but '.*a\.en\.gz' has 3\. .*a blank line counts"):
        load_pairs(source, "train", target)


def test_line_file_without_targets_raises_unless_it_is_to_be_predicted(tmp_path):
    source = write_lines(tmp_path / "a.txt", GERMAN)
    with pytest.raises(InputError, match="no targets. Pass the targets, .* as --validation_target_file, or a file"):
        load_pairs(source, "validation")
    assert load_pairs(source, "predict", needs_target=False).to_dict() == {"source": GERMAN}


def test_target_file_beside_a_file_with_columns_raises(tmp_path):
    source = write_json(tmp_path / "a.jsonl", [{"source": "a", "target": "b"}])
    target = write_lines(tmp_path / "a.en", ["b"])
    with pytest.raises(InputError, match=r"--train_target_file goes with a file of the sources, .*a\.jsonl' has col"):
        load_pairs(source, "train", target)
    with pytest.raises(InputError, match="but the data set has columns"):
        load_pairs(Dataset.from_dict(PAIRS), "train", target)


def test_missing_target_file_raises_with_the_nearest_name(tmp_path):
    source = write_lines(tmp_path / "train.de", GERMAN)
    write_lines(tmp_path / "train.en", ENGLISH)
    with pytest.raises(InputError, match="does not exist. Did you mean 'train.en'"):
        load_pairs(source, "train", tmp_path / "trian.en")


def test_blank_line_file_raises(tmp_path):
    source, target = write_lines(tmp_path / "a.de", ["a", "b"]), write_lines(tmp_path / "a.en", ["", " "])
    with pytest.raises(InputError, match="a.en' is empty"):
        load_pairs(source, "train", target)


def test_row_without_a_language_counts_as_empty(tmp_path, cache, caplog):
    rows = [{"translation": {"de": "ein", "en": "one"}}, {"translation": {"de": "zwei"}}, {"translation": None}]
    path = write_json(tmp_path / "a.jsonl", rows)
    languages = {"source_lang": "de", "target_lang": "en"}
    pairs = load_pairs(path, "train", **languages, drop_empty=True, cache_dir=cache)
    assert pairs.to_dict() == {"source": ["ein"], "target": ["one"]}
    assert "2 of 3 pairs of the train data have an empty source or target and are left out: rows 2, 3." in caplog.text


def test_equal_languages_raise():
    with pytest.raises(
        InputError, match="--source_lang and --target_lang are both 'de'.*autoencode to a program that"
    ):
        load_pairs(Dataset.from_dict(PAIRS), "train", source_lang="de", target_lang="de")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["a", "b"], "id": ["x", "y"]}, {"source": ["a", "b"]}),
        ({"n": [1, 2], "q": ["a", "b"]}, {"source": ["a", "b"]}),
        ({"source": ["a", "b"], "target": ["c", ""]}, {"source": ["a", "b"], "target": ["c", ""]}),
        ({"source": ["a", "b"], "target": ["", None]}, {"source": ["a", "b"]}),
    ],
)
def test_texts_to_predict_need_no_target(columns, expected, caplog):
    pairs = load_pairs(Dataset.from_dict(columns), "predict", needs_target=False)
    assert pairs.to_dict() == expected
    assert caplog.text == ""


def test_pairs_with_an_empty_side_are_left_out_of_training(tmp_path, caplog):
    source = write_lines(tmp_path / "a.de", ["a", "", "c", "d", "\u3000\t", "f"])
    target = write_lines(tmp_path / "a.en", ["A", "B", "C", "", "E", "F"])
    with caplog.at_level(logging.WARNING):
        pairs = load_pairs(source, "train", target, drop_empty=True)
    assert pairs.to_dict() == {"source": ["a", "c", "f"], "target": ["A", "C", "F"]}
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 6 pairs of the train data have an empty source or target and are left out: rows 2, 4, 5."
    ]


def test_pairs_with_an_empty_side_are_kept_otherwise(caplog):
    dataset = Dataset.from_dict({"source": ["a", None, *"cdefgh"], "target": ["A", "B", *[""] * 6]})
    pairs = load_pairs(dataset, "test")
    assert pairs["source"][:3] == ["a", "", "c"] and len(pairs) == 8
    assert [record.getMessage() for record in caplog.records] == [
        "7 of 8 pairs of the test data have an empty source or target and are kept: rows 2, 3, 4, 5, 6 and 2 more."
    ]


def test_empty_sources_to_predict_are_kept(caplog):
    pairs = load_pairs(Dataset.from_dict({"text": ["", "b"]}), "predict", needs_target=False)
    assert pairs.to_dict() == {"source": ["", "b"]}
    assert "1 of 2 pairs of the predict data have an empty source and are kept: rows 1." in caplog.text


def test_data_without_any_text_raises():
    columns = {"source": ["a", "b"], "target": [None, " "]}
    with pytest.raises(InputError, match=r"All 2 targets of the test data \(column 'target'\) are empty.*--target_co"):
        load_pairs(Dataset.from_dict(columns), "test")
    with pytest.raises(InputError, match="All 2 sources of the predict data"):
        load_pairs(Dataset.from_dict({"text": ["", ""]}), "predict", needs_target=False)
    with pytest.raises(InputError, match="Each of the 2 pairs of the train data has an empty.*Are they aligned"):
        load_pairs(Dataset.from_dict({"source": ["a", ""], "target": ["", "b"]}), "train", drop_empty=True)
    with pytest.raises(InputError, match="holds no rows"):
        load_pairs(Dataset.from_dict({"source": [], "target": []}), "train")


@pytest.mark.parametrize("name", ["text", "source"])
def test_autoencoder_pairs_repeat_their_source(name):
    texts = Dataset.from_dict({name: ["a", "b", "c"], "label": [0, 1, 0]}).select([2, 0])
    assert autoencode_pairs(texts).to_dict() == {"source": ["c", "a"], "target": ["c", "a"]}


def test_autoencoder_pairs_repeat_the_source_rather_than_the_text():
    texts = Dataset.from_dict({"text": ENGLISH, "source": GERMAN})
    assert autoencode_pairs(texts).to_dict() == {"source": GERMAN, "target": GERMAN}


def test_other_columns_of_the_same_file_are_read_anew(tmp_path, cache):
    path = write_json(tmp_path / "a.jsonl", [{"a": a, "b": b} for a, b in zip(GERMAN, ENGLISH)])
    for source, target, expected in (("a", "b", (GERMAN, ENGLISH)), ("b", "a", (ENGLISH, GERMAN))):
        pairs = load_pairs(path, "train", source_column=source, target_column=target, cache_dir=cache)
        assert (pairs["source"][:], pairs["target"][:]) == expected
