import json
from pathlib import Path

import pytest

from benchmarks.accuracy import prepare


def read(path: Path) -> list[tuple[str, int]]:
    return [(row["text"], row["label"]) for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())]


def test_phrases_are_mapped_and_held_back_sentences_dropped(source: Path, tmp_path: Path, capsys) -> None:
    prepare.main(["--source", str(source), "--output", str(tmp_path), "--only", "sst2_phrases"])
    rows = read(tmp_path / "sst2_phrases" / "train.jsonl")
    assert rows == [
        ("fine", 1),
        ("dull", 0),
        ("rather dull", 0),
        ("a fine film", 1),
        ("a fine film", 1),
        ("a dull -lrb- long -rrb- film", 0),
    ]
    assert "dropped 2 of 6 phrases" in capsys.readouterr().out


def test_dev_is_held_out_of_train_by_text(source: Path, tmp_path: Path) -> None:
    counts = prepare.prepare(source, tmp_path, ["r8"])
    train, dev = read(tmp_path / "r8" / "train.jsonl"), read(tmp_path / "r8" / "dev.jsonl")
    assert counts["r8/train"] == len(train)
    assert len(train) + len(dev) == 80
    assert 0 < len(dev) < 24
    assert not {text for text, _ in train} & {text for text, _ in dev}


def test_dev_rule_does_not_change_between_versions() -> None:
    assert [number for number in range(60) if prepare.is_held_out(f"film number {number}")] == [2, 9, 15, 26, 30]


def test_each_mr_fold_is_the_test_part_once(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["mr"])
    tests = []
    for fold in range(10):
        parts = [read(tmp_path / "mr" / f"fold{fold}" / f"{split}.jsonl") for split in ("train", "dev", "test")]
        assert sorted(parts[0] + parts[1] + parts[2]) == sorted(
            (f"film number {number}", number % 2) for number in range(60)
        )
        tests += parts[2]
    assert len(tests) == len(set(tests)) == 60


def test_unseen_titles_of_tnews_are_not_in_train(source: Path, tmp_path: Path) -> None:
    prepare.prepare(source, tmp_path, ["tnews"])
    assert [text for text, _ in read(tmp_path / "tnews" / "test_unseen.jsonl")] == [
        "film number 50",
        "film number 51",
        "film number 52",
    ]
    assert len(read(tmp_path / "tnews" / "test.jsonl")) == 5


def test_other_data_sets_keep_their_test_part(source: Path, tmp_path: Path) -> None:
    counts = prepare.prepare(source, tmp_path, ["sst2", "imdb", "online_shopping"])
    assert {name: counts[f"{name}/test"] for name in ("sst2", "imdb", "online_shopping")} == {
        "sst2": 3,
        "imdb": 4,
        "online_shopping": 3,
    }


def test_missing_source_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"There is no .*sst2\.train\.jsonl\.gz.*--source"):
        prepare.prepare(tmp_path, tmp_path / "output", ["sst2"])
