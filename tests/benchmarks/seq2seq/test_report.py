import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.seq2seq import report
from benchmarks.seq2seq.protocols import PROTOCOLS

TRIALS = [
    {"num_beams": 1, "length_penalty": 1.0, "score": 30.0},
    {"num_beams": 5, "length_penalty": 1.4, "score": 31.5},
]
MACHINE = {
    "processor": "P",
    "processors": 2,
    "memory_gib": 8,
    "system": "S",
    "python": "3",
    "versions": {"torch": "2"},
}


def record(folder: Path, protocol: str, figures: dict[int, dict[str, float]], **others: Any) -> None:
    """Records runs whose test sets all have the same figures, by seed."""
    tests = [test.name for test in PROTOCOLS[protocol].tests]
    main = PROTOCOLS[protocol].main
    runs = [
        {
            "seed": seed,
            "threads": 1,
            "side_by_side": 2,
            "minutes": 30.0 + seed,
            "num_parameters": 5_650_000,
            "decoding": {"num_beams": 5, "length_penalty": 1.4},
            "trials": TRIALS,
            "curve": [{"epoch": epoch, "loss": 3.0 / epoch, main: 10.0 * epoch} for epoch in range(1, seed + 1)],
            "tests": dict.fromkeys(tests, values),
            "signatures": {"bleu": "tok:13a"},
        }
        for seed, values in figures.items()
    ]
    by_name = {
        name: {"settings": {"words": 9}, "tests": {test: {"rouge1": value, "rougeL": value - 1} for test in tests}}
        for name, value in (("lead", 15.0), ("nearest", 19.0))
    }
    results = {
        "protocol": protocol,
        "recipe": f"benchmarks/seq2seq/recipes/{protocol}.yaml",
        "settings": {"metric_name": main},
        "dev_only": False,
        "machine": MACHINE,
        "overlap": {"test": {"rows": 4, "pair in train": 2}},
        "runs": runs,
        "baselines": [{"seed": None, "by_name": by_name}] if PROTOCOLS[protocol].baselines else [],
    }
    (folder / protocol).mkdir(parents=True, exist_ok=True)
    (folder / protocol / "results.json").write_text(json.dumps(results | others))


def write(folder: Path) -> str:
    return report.write_results(report.load_results(folder))


def rows_of(text: str, title: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_two_seeds_are_averaged_beside_bar_and_goal(tmp_path: Path) -> None:
    figures = {seed: {"bleu_lowercase": 43.0 + seed, "bleu": 40.0, "chrf": 60.0} for seed in (1, 2)}
    record(tmp_path, "multi30k_de_en", figures)
    text = write(tmp_path)
    title = "Multi30k German → English, test2016"
    assert rows_of(text, title) == [[title, "44.5 ± 0.7", "40.0 ± 0.0", "60.0 ± 0.0", "43.0", "45.0", "31.5"]]
    assert rows_of(text, "BLEU, lower-cased") == [["BLEU, lower-cased", "44.5 ± 0.7", "44.00, 45.00"]] * 3
    assert rows_of(text, "beams 5, length penalty 1.4") == [["beams 5, length penalty 1.4", "**31.50**", "**31.50**"]]
    assert rows_of(text, "beams 1") == [["beams 1", "30.00", "30.00"]]
    # The second seed trained for one epoch more.
    assert rows_of(text, "2")[0] == ["2", "–", "20.0 (1.500)"]
    assert "BLEU `tok:13a`" in text and "5.7 million parameters" in text
    assert "--recipe benchmarks/seq2seq/recipes/multi30k_de_en.yaml --seeds 1 2 --jobs 2 --threads 1" in text
    assert "Note: Multi30k, German to English: one vocabulary of word pieces for both" in text
    assert "decided on validation data before.\n" in text


def test_summaries_stand_beside_their_baselines(tmp_path: Path) -> None:
    figures = {"rouge1": 25.0, "rouge2": 12.0, "rougeL": 24.0, "each_human_rouge1": 17.0, "unseen_rougeL": 23.0}
    record(tmp_path, "aeslc", {1: figures})
    text = write(tmp_path)
    title = "AESLC (email → subject), ROUGE-1"
    assert rows_of(text, title) == [[title, "25.0 (1 seed)", "15.0", "19.0", "31.0"]]
    assert rows_of(text, "ROUGE-1, each human") == [["ROUGE-1, each human", "17.0 (1 seed)", "17.00", "–", "–"]]
    assert rows_of(text, "ROUGE-L, unseen sources")[0][1] == "23.0 (1 seed)"
    assert rows_of(text, "ROUGE-L")[0][3:] == ["14.0", "18.0"]
    assert "lead: words 9" in text and "test: 4 rows, 2 pair in train" in text


def test_task_without_results_is_listed_with_dashes(tmp_path: Path) -> None:
    text = write(tmp_path)
    title = "Multi30k English → German, test2017"
    assert rows_of(text, title) == [[title, "–", "–", "–", "30.0", "33.4", "–"]]
    title = "CSL (Chinese abstract → title), ROUGE-L"
    assert rows_of(text, title) == [[title, "–", "–", "–", "–"]]
    assert "\n## " not in text


def test_dev_only_results_are_left_out(tmp_path: Path) -> None:
    record(tmp_path, "aeslc", {1: {"rougeL": 24.0}}, dev_only=True)
    assert report.load_results(tmp_path) == {}


def test_two_results_of_one_protocol_are_refused(tmp_path: Path) -> None:
    record(tmp_path, "aeslc", {1: {"rougeL": 24.0}})
    shutil.copytree(tmp_path / "aeslc", tmp_path / "again")
    with pytest.raises(SystemExit, match="hold results of aeslc"):
        report.load_results(tmp_path)


def test_readme_table_is_replaced_between_its_marks(tmp_path: Path) -> None:
    record(tmp_path / "results", "aeslc", {1: {"rouge1": 25.0, "rouge2": 12.0, "rougeL": 24.0}})
    record(tmp_path / "results", "tatoeba_zh_en", {1: {"bleu": 22.0}})
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.README_START}\nold\n{report.README_END}\nafter\n")
    output = tmp_path / "docs" / "results.md"
    report.main(["--results", str(tmp_path / "results"), "--output", str(output), "--readme", str(readme)])
    text = readme.read_text()
    title = "AESLC (email → subject)"
    spread = "25.0 (1 seed) / 12.0 (1 seed) / 24.0 (1 seed)"
    assert rows_of(text, title) == [[title, "ROUGE-1 / 2 / L", spread, "15.0 / – / 14.0", "19.0 / – / 18.0", "31.0"]]
    title = "Tatoeba Chinese → English"
    assert rows_of(text, title) == [[title, "BLEU", "22.0 (1 seed)", "–", "–", "31.0"]]
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text
    assert "## AESLC" in output.read_text()


def test_readme_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(SystemExit, match="marks"):
        report.main(["--results", str(tmp_path), "--output", str(tmp_path / "results.md"), "--readme", str(readme)])
    assert readme.read_text() == "no marks"
