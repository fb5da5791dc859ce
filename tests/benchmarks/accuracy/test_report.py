import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import report
from benchmarks.accuracy.protocols import PROTOCOLS


def record(folder: Path, protocol: str, accuracies: dict[tuple[int, int | None], float], **others: Any) -> None:
    how = {"threads": 1, "side_by_side": 2, "minutes": 3.0, "macro_f1": 40.0, "dev_accuracy": 60.0}
    runs = [
        how | {"seed": seed, "fold": fold, "accuracy": accuracy, "unseen_accuracy": 30.0, "unseen_macro_f1": 20.0}
        for (seed, fold), accuracy in accuracies.items()
    ]
    folds = sorted({fold for _, fold in accuracies}, key=str)
    unseen = {"unseen_accuracy": 25.0, "unseen_macro_f1": 15.0}
    baselines = [how | unseen | {"seed": None, "fold": fold, "accuracy": 70.0 + (fold or 0)} for fold in folds]
    machine = {
        "processor": "P",
        "processors": 2,
        "memory_gib": 8,
        "system": "S",
        "python": "3",
        "versions": {"torch": "2"},
    }
    results = {
        "protocol": protocol,
        "recipe": f"benchmarks/accuracy/recipes/{protocol}.yaml",
        "dev_only": False,
        "machine": machine,
        "runs": runs,
        "baselines": baselines,
    }
    (folder / protocol).mkdir(parents=True, exist_ok=True)
    (folder / protocol / "results.json").write_text(json.dumps(results | others))


def row_of(text: str, title: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_seeds_are_averaged_with_their_standard_deviation(tmp_path: Path) -> None:
    record(tmp_path, "tnews", {(1, None): 54.0, (2, None): 55.0, (3, None): 56.0})
    text = report.write_results(report.load_results(tmp_path))
    title = PROTOCOLS["tnews"].title
    assert row_of(text, title) == [title, "55.0 ± 1.0", "70.0", "51.0", "55.0", "57.0", "3.0"]
    assert row_of(text, "accuracy, unseen texts") == [
        "accuracy, unseen texts",
        "30.0 ± 0.0",
        "30.00, 30.00, 30.00",
        "25.0",
    ]
    assert "--recipe benchmarks/accuracy/recipes/tnews.yaml --seeds 1 2 3 --jobs 2 --threads 1" in text


def test_folds_are_averaged_before_the_seeds(tmp_path: Path) -> None:
    accuracies = {(seed, fold): 70.0 + seed + fold for seed in (1, 2) for fold in range(10)}
    record(tmp_path, "mr", accuracies | {(3, 0): 99.0})
    row = row_of(report.write_results(report.load_results(tmp_path)), "MR")
    assert row[1:3] == ["76.0 ± 0.7 (2 seeds)", "74.5"]


def test_data_set_without_results_is_listed_with_a_dash(tmp_path: Path) -> None:
    text = report.write_results(report.load_results(tmp_path))
    assert row_of(text, "R8") == ["R8", "–", "–", "95.0", "96.5", "97.5", "–"]
    assert "## R8" not in text


def test_dev_only_results_are_left_out(tmp_path: Path) -> None:
    record(tmp_path, "r8", {(1, None): 54.0}, dev_only=True)
    assert report.load_results(tmp_path) == {}


def test_two_results_of_one_protocol_are_refused(tmp_path: Path) -> None:
    record(tmp_path, "r8", {(1, None): 54.0})
    shutil.copytree(tmp_path / "r8", tmp_path / "again")
    with pytest.raises(SystemExit, match="hold results of r8"):
        report.load_results(tmp_path)


def test_readme_table_is_replaced_between_its_marks(tmp_path: Path) -> None:
    record(tmp_path / "results", "r8", {(1, None): 96.25})
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.README_START}\nold\n{report.README_END}\nafter\n")
    output = tmp_path / "docs" / "results.md"
    report.main(["--results", str(tmp_path / "results"), "--output", str(output), "--readme", str(readme)])
    text = readme.read_text()
    assert row_of(text, "R8") == ["R8", "96.2 (1 seed)", "70.0", "3.0"]
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "## R8" in output.read_text()


def test_readme_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    with pytest.raises(SystemExit, match="marks"):
        report.main(["--results", str(tmp_path), "--output", str(tmp_path / "results.md"), "--readme", str(readme)])
    assert readme.read_text() == "no marks"
