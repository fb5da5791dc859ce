import gzip
import json

import pytest

from hf_lstm.data import json_times
from hf_lstm.data.checks import InputError
from hf_lstm.data.columns import select_texts
from hf_lstm.data.loading import load_file
from hf_lstm.data.pairs import load_pairs

ROWS = [
    {"text": "2014-03-04", "tags": ["2014-03-04", "2015-01-01"], "translation": {"de": "2014-03-04T10:20", "en": "x"}},
    {"text": "2014-03-04 00:00:00Z", "tags": [], "translation": {"de": None, "en": "y"}, "number": 1},
    {"text": None, "tags": None, "translation": None, "number": 2},
]
COLUMNS = {name: [row.get(name) for row in ROWS] for name in ("text", "tags", "translation", "number")}


def write_json(path, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    content = {
        "list": json.dumps(rows),
        "indented_list": json.dumps(rows, indent=2),
        "indented_rows": "\n\n".join(json.dumps(row, indent=2) for row in rows),
    }.get(path.name.partition(".")[0], lines)
    (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8-sig").write(content)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "list.json", "indented_list.json", "indented_rows.json"])
def test_strings_that_look_like_times_stay_what_they_are(tmp_path, monkeypatch, name):
    monkeypatch.setattr(json_times, "_NUM_ROWS_AT_ONCE", 2)
    dataset = load_file(write_json(tmp_path / name, ROWS), cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == COLUMNS and dataset.column_names == list(COLUMNS)
    assert select_texts(dataset, "test")["text"][:] == ["2014-03-04", "2014-03-04 00:00:00Z", ""]
    pairs = load_pairs(dataset, "test", source_lang="de", target_lang="en")
    assert pairs["source"][:] == ["2014-03-04T10:20", "", ""]


def test_items_of_a_list_stay_what_they_are(tmp_path):
    (tmp_path / "a.json").write_text('["2014-03-04", "2014-03-05"]')
    assert load_file(tmp_path / "a.json", cache_dir=str(tmp_path))["text"][:] == ["2014-03-04", "2014-03-05"]


def test_times_after_other_strings_stay_what_they_are(tmp_path):
    texts = ["foo"] * 11000 + ["2014-03-04"] * 11000
    path = write_json(tmp_path / "a.jsonl", [{"text": text, "rest": "x" * 1000} for text in texts])
    assert load_file(path, cache_dir=str(tmp_path))["text"][:] == texts


def test_strings_in_another_encoding_stay_what_they_are(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "2014-03-04", "label": "好"}\n', encoding="gb18030")
    dataset = load_file(tmp_path / "a.jsonl", "gb18030", str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": ["2014-03-04"], "label": ["好"]}


def test_form_that_only_the_loader_reads_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(json_times, "_read_rows", lambda *args: iter([{"text": "a"}] * 4))
    path = write_json(tmp_path / "a.jsonl", ROWS[:2])
    with pytest.raises(InputError, match=r"a\.jsonl' holds dates or times in 'text', 'tags', .* Save the rows as csv"):
        load_file(path, cache_dir=str(tmp_path / "cache"))


def test_strings_beside_numbers_stay_strings(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n{"label": "01"}\n{"label": "true"}\n{"label": null}\n{"label": "x"}\n')
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["label"][:] == [1, "01", "true", None, "x"]
