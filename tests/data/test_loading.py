import gzip
import json
import os

import pandas as pd
import pytest
from datasets import Dataset

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


def test_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "a.csv"
    for text in ("old", "newer", "older"):
        path.write_text(f"text,label\n{text},1\n")
        os.utime(path, (1, 1))
        assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == [text]


def test_csv_keeps_cells_as_they_are_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufefftext,label\n007,NA\nnull,1.0\n,2\n", encoding="utf-8")
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": ["007", "null", None], "label": ["NA", "1.0", "2"]}


@pytest.mark.parametrize("start", ["", "\n\n"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_blank_lines_of_a_single_column_are_rows(tmp_path, start, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text(f"{start}text\nfirst\n\nthird\n   \nfifth\n")
    texts = ["first", None, "third", "   ", "fifth"]
    assert load_file(path, cache_dir=str(tmp_path / "cache")).to_dict() == {"text": texts}
    assert [row["text"] for row in stream_files(path)] == texts


def test_blank_lines_of_several_columns_are_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ntext,label\n\na,1\n\nb,2\n\n")
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == ["a", "b"]


@pytest.mark.parametrize("content", ['"Good film\tgood\nfine\tok\nBad" film\tbad\nlast\tok\n', 'x\t"a\nb"\n'])
def test_rows_of_a_tsv_that_a_quotation_mark_joins_are_an_error(tmp_path, content):
    path = tmp_path / "a.tsv"
    path.write_text(f"text\tlabel\n{content}")
    for read in (lambda: load_file(path, cache_dir=str(tmp_path / "cache")), lambda: list(stream_files(path))):
        with pytest.raises(
            InputError, match=r"of the column '(text|label)' of .*a\.tsv' begins with a quotation mark"
        ):
            read()


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (",text,label", ["Unnamed: 0", "text", "label"]),
        (",Unnamed: 0,text", ["Unnamed: 0.1", "Unnamed: 0", "text"]),
        (",Unnamed: 0.1,Unnamed: 0", ["Unnamed: 0.2", "Unnamed: 0.1", "Unnamed: 0"]),
        ("text,,", ["text", "Unnamed: 1", "Unnamed: 2"]),
    ],
)
def test_csv_column_without_a_name_is_called_as_pandas_calls_it(tmp_path, header, names):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n0,a,b\n1,c,d\n")
    assert pd.read_csv(path).columns.tolist() == names
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == dict(zip(names, (["0", "1"], ["a", "c"], ["b", "d"]), strict=True))


def test_csv_that_pandas_wrote_with_its_index_is_read(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame(COLUMNS).to_csv(path)
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"Unnamed: 0": ["0", "1", "2"], **COLUMNS}


def test_csv_in_another_encoding_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n新闻,体育\n", encoding="gb18030")
    dataset = load_file(path, "gb18030", cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": ["新闻"], "label": ["体育"]}


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
