import json

import pytest

from hf_lstm.data.loading import load_file


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        (1, "01", (1, "01")),
        (1, 0.5, (1.0, 0.5)),
        (None, "x", (None, "x")),
        ("2020-01-02", "", ("2020-01-02", "")),
        ("x", ["x"], ("x", ["x"])),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_types_of_json_suit_all_rows(tmp_path, name, first, last, kept):
    """The reader of `datasets` goes by the first 10 MB."""
    rows = [{"text": "w" * 100_000, "label": first}] * 120 + [{"text": "c", "label": last, "more": 1}]
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert (dataset["label"][0], dataset["label"][-1]) == kept
    assert dataset["more"][-2:] == [None, 1]
