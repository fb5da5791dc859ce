import json

import pytest

from benchmarks.noise.run import average, main, write_table
from tests.cli.saved_models import TEXTS, save_classifier


@pytest.fixture
def measured(tmp_path):
    """Measures two tiny models of one name beside TF-IDF: the folder of the results."""
    rows = [{"text": f"{text} {number}", "label": label} for number in range(4) for text, label in zip(TEXTS, "ababa")]
    names = {"a": "good", "b": "bad"}
    (tmp_path / "sst2").mkdir()
    for name in ("train", "dev", "test"):
        lines = [json.dumps(row | {"label": names[row["label"]]}) for row in rows]
        (tmp_path / "sst2" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = tmp_path / "sst2.yaml"
    recipe.write_text("train_file: sst2/train.jsonl\nvalidation_file: sst2/dev.jsonl\ntest_file: sst2/test.jsonl\n")
    folders = [save_classifier(tmp_path / f"model{seed}", seed=seed) for seed in (3, 8)]
    models = [f"LSTM, tiny={folder}" for folder in folders]
    output = tmp_path / "output"
    flags = ["--recipe", recipe, "--data", tmp_path, "--output", output, "--max_rows", 10]
    main([*map(str, flags), "--kinds", "typo", "case", "--rates", "0", "0.4", "--models", *models])
    return output


def test_all_models_are_scored_on_each_kind_and_rate(measured):
    results = json.loads((measured / "results.json").read_text())
    assert {name: len(curves) for name, curves in results["curves"].items()} == {
        "LSTM, tiny": 2,
        "TF-IDF": 1,
        "TF-IDF, noise": 1,
    }
    (tfidf,) = results["curves"]["TF-IDF"]
    assert tfidf["case"] == [100, 100] and tfidf["typo"][0] == 100
    assert all(curve["typo"][0] == curve["case"][0] for curve in results["curves"]["LSTM, tiny"])
    lines = (measured / "table.md").read_text().splitlines()
    assert lines[0] == "| noise | model | 0 % | 40 % |" and len(lines) == 2 + 2 * 3
    assert (measured / "noise.png").read_bytes().startswith(b"\x89PNG")


def test_models_of_one_name_are_averaged():
    means = {"LSTM": average([{"typo": [80.0, 60.0]}, {"typo": [90.0, 50.0]}])}
    assert means == {"LSTM": {"typo": [85.0, 55.0]}}
    assert "| typo | LSTM | 85.0 | 55.0 |" in write_table(means, [0, 0.2])
