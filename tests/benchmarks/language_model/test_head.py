"""The measurement of the two ways to the loss of many tokens."""

import json
from pathlib import Path

import pytest

from benchmarks.language_model import head


def test_both_ways_are_compared_timed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head.main(["--output", str(tmp_path), "--rounds", "2", "--sizes", "400", "3", "17"])
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [row["precision"] for row in results["figures"]] == ["float32", "bfloat16"]
    assert all(row["ratio"] > 0 and row["piece by piece, ms"] > 0 for row in results["figures"])
    assert "| 400 | 3 | 17 | float32 |" in capsys.readouterr().out


def test_ways_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "head_token_loss", lambda layer, features, labels: layer(features).mean())
    with pytest.raises(SystemExit, match="The two ways differ by"):
        head.measure((400, 3, 17), "float32", 1)
