import gzip
import json
from pathlib import Path

import pytest

from benchmarks.seq2seq import prepare


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_row_of_every_split_is_kept(source: Path, tmp_path: Path) -> None:
    assert prepare.prepare(source, tmp_path, prepare.PREPARERS) == {
        "multi30k/train": 7,
        "multi30k/val": 3,
        "multi30k/test2016": 2,
        "multi30k/test2017": 4,
        "multi30k/coco": 1,
        "tatoeba/train": 3,
        "tatoeba/dev": 1,
        "tatoeba/test": 2,
        "aeslc/train": 5,
        "aeslc/dev": 1,
        "aeslc/test": 4,
        "csl_titles/train": 4,
        "csl_titles/dev": 2,
        "csl_titles/test": 3,
        "csl_titles/train_exchanged": 60,
    }
    assert len(read(tmp_path / "aeslc" / "test.jsonl")) == 4


def test_lines_stay_aligned_whatever_they_hold(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["multi30k"])
    german, english = (
        (tmp_path / "multi30k" / f"train.{lang}").read_text(encoding="utf-8").split("\n") for lang in ("de", "en")
    )
    assert len(german) == len(english) == 8
    assert german[6] == "Satz 6 aus train\u2028."
    assert english[6] == "Sentence 6 of train."


def test_columns_are_named_alike_and_human_subjects_kept(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["aeslc", "tatoeba", "csl_titles"])
    assert read(tmp_path / "aeslc" / "dev.jsonl") == [
        {
            "source": "Dear all,\nreport 0.",
            "target": "Report 0",
            "annotations": ["x y", "x", "z"],
            "source_after_neighbours": "[9] Report 0 | [4] Report 1 | [4] Report 2 |\nDear all,\nreport 0.",
        }
    ]
    assert read(tmp_path / "tatoeba" / "test.jsonl")[0] == {"en": "Hello.", "zh": "你好。"}
    assert read(tmp_path / "csl_titles" / "test.jsonl")[2] == {"source": "针对test的问题2。", "target": "test研究2"}


def test_exchanged_pairs_stand_beside_the_given_ones_without_held_titles(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["csl_titles"])
    rows = read(tmp_path / "csl_titles" / "train_exchanged.jsonl")
    given = read(tmp_path / "csl_titles" / "train.jsonl")
    assert rows[:12] == given * 3
    titles = {row["target"] for row in given}
    assert {row["target"] for row in rows[12:]} == titles | {"乡村旅游的发展", "谣言述评"}
    assert all(row["target"] in row["source"] for row in rows[12:])


def test_a_training_email_is_no_neighbour_of_itself(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["aeslc"])
    first = read(tmp_path / "aeslc" / "train.jsonl")[0]
    assert first == {
        "source": "Dear all,\nreport 0.",
        "target": "Report 0",
        "source_after_neighbours": "[4] Report 1 | [4] Report 2 | [4] Report 3 |\nDear all,\nreport 0.",
    }


def test_overlap_counts_sources_targets_and_pairs(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["multi30k", "tatoeba", "aeslc"])
    overlaps = {
        name: json.loads((tmp_path / name / "overlap.json").read_text()) for name in ("multi30k", "tatoeba", "aeslc")
    }
    counts = {"rows": 3, "de in train": 1, "en in train": 0, "pair in train": 0, "repeated": 0}
    assert overlaps["multi30k"]["val"] == counts
    counts = {"rows": 2, "en in train": 0, "zh in train": 1, "pair in train": 0, "repeated": 0}
    assert overlaps["tatoeba"]["test"] == counts
    counts = {"rows": 4, "source in train": 2, "target in train": 2, "pair in train": 2, "repeated": 1}
    assert overlaps["aeslc"]["test"] == counts
    assert "train" not in overlaps["aeslc"]


def test_files_of_unequal_length_are_refused(source: Path, tmp_path: Path) -> None:
    with gzip.open(source / "multi30k" / "val.en.gz", "at", encoding="utf-8") as file:
        file.write("One more.\n")
    with pytest.raises(SystemExit, match=r"files val .*'de': 3, 'en': 4"):
        prepare.prepare(source, tmp_path, ["multi30k"])


def test_missing_source_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"There is no .*train\.de\.gz.*--source"):
        prepare.main(["--source", str(tmp_path), "--output", str(tmp_path / "output"), "--only", "multi30k"])
