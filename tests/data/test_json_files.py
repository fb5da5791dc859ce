import json

import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.data.loading import load_file
from hf_lstm.data.streams import stream_files


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
@pytest.mark.parametrize("start", ["[", "\n[", "[" + " " * 120])
def test_json_list_is_read_as_its_rows_in_lines_are(tmp_path, encoding, start):
    rows = [{"text": "新闻", "label": 1234.56789012345}, {"text": "b", "label": 0.000123456789012345}]
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    path, lines = tmp_path / "a.json", tmp_path / "a.jsonl"
    path.write_text(f"{start}{','.join(texts)}]", encoding=encoding)
    lines.write_text("\n".join(texts), encoding=encoding)
    for file in (path, lines):
        assert load_file(file, encoding, str(tmp_path / "cache")).to_list() == rows
        assert list(stream_files(file, encoding)) == rows


def test_list_of_texts_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('["a", "b {x}"]')
    assert load_file(path, cache_dir=str(tmp_path / "cache")).to_dict() == {"text": ["a", "b {x}"]}
    assert list((tmp_path / "cache" / "hf_lstm-json").iterdir())  # and nowhere else


def test_list_is_read_anew_in_another_encoding(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('["é"]'.encode())
    for encoding, text in (("utf-8", "é"), ("cp1252", "Ã©")):
        assert load_file(path, encoding, str(tmp_path / "cache"))["text"][:] == [text]


@pytest.mark.parametrize(("name", "content"), [("a.json", "[{}]"), ("a.jsonl", "{}")])
def test_half_of_a_surrogate_pair_is_an_error_in_any_json(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content.replace("{}", '{"text": "a\\ud83d"}'))
    with pytest.raises(InputError, match="cannot be read as json"):
        load_file(path, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSON"])
def test_streamed_list_that_cannot_be_read_is_an_error_whatever_its_ending(tmp_path, name):
    path = tmp_path / name
    path.write_text('[{"text": "a\\ud83d"}]')
    with pytest.raises(InputError, match=r"(?i)a\.jsonl' cannot be read as jsonl: .*surrogate"):
        list(stream_files(path))


@pytest.mark.parametrize("content", ["[null, {}]", '[{"a": 1}, NaN]', "\n[Infinity]", "[", "[" * 100_000])
def test_json_list_with_a_row_that_is_none_is_an_error(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content.replace("{}", '{"text": "a"}'))
    with pytest.raises(InputError, match=r"a\.json' (is (None|nan|inf), but must be|cannot be read as json)"):
        load_file(path, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "row",
    ["null", "NaN", ' null {"text": "b"}', '{"text": "b"} null', "Infinity", "-Infinity", "{}-Infinity"],
)
def test_json_line_that_is_no_row_is_an_error(tmp_path, row):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + row + "\n")
    with pytest.raises(InputError, match=r"Line 2 of .*a\.jsonl' is .*, but must be one JSON object"):
        load_file(path, cache_dir=str(tmp_path / "cache"))


def test_byte_order_mark_hides_no_line_that_is_no_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('null\n{"text": "a"}\n', encoding="utf-8-sig")
    with pytest.raises(InputError, match=r"Line 1 of .*a\.jsonl' is 'null', but must be one JSON object"):
        load_file(path, cache_dir=str(tmp_path / "cache"))


def test_null_within_a_row_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "} null", "label": null}\n{"text": "b", "label": 1}\n')
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == ["} null", "b"]
