import gzip
import json
import os
from pathlib import Path

import pytest
from datasets import Dataset

from hf_lstm.data import loading
from hf_lstm.data.checks import InputError
from hf_lstm.data.loading import load_file, load_hub_dataset
from hf_lstm.data.streams import stream_files
from hf_lstm.data.text_files import read_lines

ROWS = [{"text": "good film", "label": "pos"}, {"text": "a, b", "label": "neg"}, {"text": "新闻", "label": "pos"}]
COLUMNS = {"text": ["good film", "a, b", "新闻"], "label": ["pos", "neg", "pos"]}


def write_rows(path):
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        Dataset.from_list(ROWS).to_parquet(path)
        return path
    if name.endswith((".csv", ".tsv")):
        separator = "," if name.endswith(".csv") else "\t"
        lines = [separator.join(ROWS[0])] + [f'"{row["text"]}"{separator}{row["label"]}' for row in ROWS]
        content = "\n".join(lines) + "\n"
    elif name.endswith(".json"):
        content = json.dumps(ROWS)
    elif name.endswith(".txt"):
        content = "\n".join(row["text"] for row in ROWS)
    else:
        content = "".join(json.dumps(row) + "\n" for row in ROWS)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


@pytest.mark.parametrize(
    "name",
    [
        "a.csv",
        "a.csv.gz",
        "a.tsv",
        "a.tsv.gz",
        "a.json",
        "a.json.gz",
        "a.jsonl",
        "a.jsonl.gz",
        "a.ndjson",
        "a.parquet",
    ],
)
def test_file_of_each_format_gives_the_same_rows(tmp_path, name):
    dataset = load_file(write_rows(tmp_path / name), cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == COLUMNS
    assert all(tmp_path / "cache" in Path(file["filename"]).parents for file in dataset.cache_files)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT"])
def test_text_file_gives_a_row_for_each_line(tmp_path, name):
    dataset = load_file(write_rows(tmp_path / name), cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": COLUMNS["text"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("lines", [["a\u2028b", "c", "", "d"], ["a\rb\x0cc", "", "d\r", "e"], ["\x85", "", "\rf\x1c"]])
def test_lines_of_a_text_file_end_at_line_feeds_only(tmp_path, lines, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    assert load_file(path, encoding, str(tmp_path / "cache"))["text"][:] == lines
    assert read_lines(path, encoding) == lines
    assert [row["text"] for row in stream_files(path, encoding)] == lines


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "foo\nbar\n"),
        ("a.csv", "text\nfoo\nbar\n"),
        ("a.jsonl", '{"text": "foo"}\n{"text": "bar"}\n'),
        ("a.json", '[{"text": "foo"}, {"text": "bar"}]'),
    ],
)
def test_byte_order_mark_is_no_part_of_the_text(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert load_file(path, cache_dir=str(tmp_path / "cache")).to_dict() == {"text": ["foo", "bar"]}


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "a.txt", "[a].txt", "a[1].jsonl", "b[1]/a.csv"])
def test_file_whose_name_looks_like_a_pattern_is_read_itself(tmp_path, name):
    path, look_alike = tmp_path / name, tmp_path / name.replace("[1]", "1").replace("*", "1").replace("?", "1")
    for file, text in ((look_alike, "wrong"), (path, "right")):
        file.parent.mkdir(exist_ok=True)
        header = {".csv": "text\n", ".txt": ""}.get(file.suffix)
        file.write_text(f'{{"text": "{text}"}}\n' if header is None else f"{header}{text}\n")
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == ["right"]
    assert [row["text"] for row in stream_files(path)] == ["right"]


def test_path_that_means_an_archive_is_an_error(tmp_path):
    path = tmp_path / "a::b.csv"
    path.write_text("text\na\n")
    for read in (load_file, stream_files):
        with pytest.raises(InputError, match=r"a::b\.csv' holds '::'.*Rename the file"):
            read(path)


def test_path_of_a_text_file_means_no_archive(tmp_path):
    path = tmp_path / "a::b.txt"
    path.write_text("one\ntwo\n")
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == ["one", "two"]
    assert [row["text"] for row in stream_files(path)] == ["one", "two"]


def test_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "a.csv"
    for text in ("old", "newer", "older"):
        path.write_text(f"text,label\n{text},1\n")
        os.utime(path, (1, 1))
        assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == [text]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\n", "holds a header but no rows"),
        ("a.csv", "text,label\na,b,c\n", "cannot be read as csv.*Quote cells"),
        ("a.csv", "text,label\na,1\nb,c,2\n", "cannot be read as csv.*Expected 2 fields in line 3, saw 3"),
        ("a.csv", 'text,label\n"never closed,1\nb,2\n', "cannot be read as csv.*EOF inside string"),
        ("a.csv", '"text,label\n' + "a,1\n" * 40_000, "cannot be read as csv: field larger than .*Quote cells"),
        ("a.csv", "text,text\na,1\n", "names 'text' more than once"),
        ("a.jsonl", '{"text": "a", "label"\n', "cannot be read as jsonl"),
        ("a.parquet", "no parquet", "cannot be read as parquet"),
        ("a.xlsx", "a", r"no ending that says its format. Valid are .csv, .tsv.*\.gz"),
        ("a", "a", "no ending that says its format"),
    ],
)
def test_file_that_cannot_be_read_is_an_error(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_file(path, cache_dir=str(tmp_path / "cache"))


def test_data_set_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"The data set '.*nowhere' cannot be loaded"):
        load_hub_dataset(str(tmp_path / "nowhere"), cache_dir=str(tmp_path / "cache"))


def test_local_folder_is_loaded_as_a_data_set(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split, rows in (("train", 3), ("test", 2)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:rows]))
    splits = load_hub_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "test": 2}


def test_data_set_is_loaded_as_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(loading, "load_dataset", lambda *names, **options: (names, options))
    names, options = load_hub_dataset("data", "de-en", "v2", "cache", True)
    assert names == ("data", "de-en")
    assert options == {"revision": "v2", "cache_dir": "cache", "streaming": True}
