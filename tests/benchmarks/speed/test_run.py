import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import report, run
from benchmarks.speed.measure import spread


def row(variant: str, rates: list[float], **others: Any) -> dict[str, Any]:
    return {
        "case": "encoder",
        "section": "training, random lengths",
        "threads": 1,
        "unit": "real tokens",
        "note": "",
        "curve": None,
        "point": None,
        "variant": variant,
        "settings": "default",
        "precision": "fp32",
        "check": "the reference",
        "status": "measured",
        "parameters": 1_050_000,
        "rates": rates,
        "rate": spread(rates)._asdict(),
        "ratio": spread([40.0 / rate for rate in rates])._asdict(),
    } | others


ABSENT = {name: value for name, value in row("Keras (JAX)", [1.0]).items() if name not in ("rates", "rate", "ratio")}
ROWS = [
    row("ours", [40.0, 40.0], flops=5e10, origin="classifier: random weights"),
    row("nn.LSTM, packed", [8.0, 10.0], memory=3 * 2**20),
    ABSENT | {"status": "not run: keras not installed: pip install 'hf_lstm[bench]'", "parameters": None},
    row("ours, chunks", [3.0], case="cost", section="100", curve="tokens", point=100.0, memory=2.0**21),
    row("ours, chunks", [5.0], case="cost", section="900", curve="tokens", point=900.0, memory=2.0**22),
]


class PretendedSession:
    """Stands for the measuring of a case."""

    def __init__(self, case: str, setup: Any):
        self.case, self.threads = case, setup.threads

    def run(self) -> list[dict[str, Any]]:
        return [entry | {"threads": self.threads} for entry in ROWS if entry["case"] == self.case]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output folder of a run whose figures are made up."""
    monkeypatch.setattr(run, "Session", PretendedSession)
    monkeypatch.setattr(run, "measure_peak", lambda setup: {"oneDNN": 1e11, "nn.Linear, highest": 5e10})
    monkeypatch.setattr(run, "pin", lambda threads, processors: processors[:threads])
    output = tmp_path / "out"
    run.main(["--output", str(output), "--data", str(tmp_path), "--case", "encoder", "cost", "--threads", "1", "2"])
    return output


def cells_of(text: str, title: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_report_holds_machine_goals_and_rows(measured: Path) -> None:
    text = (measured / "report.md").read_text()
    assert "100 GFLOP/s fp32 at most in matrix products (oneDNN)" in text
    assert "torch 2" in text and "made-up texts" in text and "classifier: random weights" in text
    assert "`python benchmarks/speed/run.py --output" in text
    goals = cells_of(text, "training, random lengths, against packed nn.LSTM")
    assert [line[1:] for line in goals] == [
        [threads, "≥ 3.5", "4.5", "nn.LSTM, packed", "reached"] for threads in ("1", "2")
    ]
    assert "real tokens a second, 2 rounds. " in text and "real tokens a second, 1 round. " in text
    assert not cells_of(text, "greedy, batch 1, against Marian")  # a goal of another case
    ours, packed = cells_of(text, "ours")[0], cells_of(text, "nn.LSTM, packed")[0]
    assert ours[3] == "1.05 M" and ours[6] == "50 %"
    assert packed[4] == "9 (8.5–9.5) [8–10]" and packed[5] == "4.5 (4.25–4.75)" and packed[7] == "3.0 MiB"
    assert "pip install 'hf_lstm[bench]'" in cells_of(text, "Keras (JAX)")[0][4]


def test_results_hold_every_round_and_the_chart_is_a_picture(measured: Path) -> None:
    results = json.loads((measured / "results.json").read_text())
    assert [entry["threads"] for entry in results["rows"]] == [1, 1, 1, 2, 2, 2, 1, 1, 2, 2]
    assert results["rows"][1]["rates"] == [8.0, 10.0]
    assert results["rounds"] == 9 and results["seeds"] == [1, 2, 3]
    assert (measured / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_failed_rows_make_the_run_fail_after_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = ABSENT | {"status": "failed: outputs differ"}
    monkeypatch.setattr(PretendedSession, "run", lambda self: [failed])
    monkeypatch.setattr(run, "Session", PretendedSession)
    monkeypatch.setattr(run, "measure_peak", lambda setup: {"oneDNN": 1e11})
    with pytest.raises(SystemExit, match="1 of 1 rows failed"):
        run.main(["--output", str(tmp_path), "--data", str(tmp_path), "--case", "encoder", "--threads", "1"])
    assert "failed: outputs differ" in (tmp_path / "report.md").read_text()


def test_pinning_to_more_processors_than_there_are_is_refused() -> None:
    if not hasattr(run.os, "sched_setaffinity"):
        pytest.skip("this system cannot pin")
    with pytest.raises(SystemExit, match="needs 3 processors, but there are 2"):
        run.pin(3, [0, 1])


def test_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run.parse_options(["--output", str(tmp_path), "--classifier", str(tmp_path)])
    assert "no config.json" in capsys.readouterr().err


def test_rounds_must_reach_every_seed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run.parse_options(["--output", str(tmp_path), "--rounds", "2"])
    assert "every one of 3 seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0312, "0.0312"), (3e-7, "3.0e-07"), (123.4, "123"), (12345.6, "12,346")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert report.format_number(value) == text


def test_skipped_case_is_a_line_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = {name: ABSENT[name] for name in ("case", "section", "threads", "unit", "note", "curve", "point")}
    skipped |= {"case": "cuda", "status": "skipped: PyTorch finds no CUDA device"}
    monkeypatch.setattr(PretendedSession, "run", lambda self: [skipped])
    monkeypatch.setattr(run, "Session", PretendedSession)
    monkeypatch.setattr(run, "measure_peak", lambda setup: {"oneDNN": 1e11})
    run.main(["--output", str(tmp_path), "--data", str(tmp_path), "--case", "cuda", "--threads", "1"])
    assert "Threads 1: skipped: PyTorch finds no CUDA device.\n" in (tmp_path / "report.md").read_text()
