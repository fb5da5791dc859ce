from pathlib import Path

import pytest

from benchmarks.common import jobs

WRITE = "(pathlib.Path(sys.argv[1]) / 'result.json').write_text('{\"score\": 2.5}')"


def test_processors_are_shared_without_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def cpu_affinity(self) -> list[int]:
            return [2, 3, 5, 7]

    monkeypatch.setattr(jobs.psutil, "Process", Process)
    slots = jobs.processor_slots(jobs=2, threads=2)
    assert [slots.get(), slots.get()] == [[2, 3], [5, 7]]
    assert jobs.processor_slots(jobs=3, threads=2).get() == []


def test_failed_run_is_reported_and_leaves_no_result(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    program = tmp_path / "program.py"
    program.write_text("import pathlib, sys\nif 'bad' in sys.argv[1]: sys.exit('no luck')\n" + WRITE)
    directories = jobs.write_jobs(tmp_path / "runs", {"good": {"seed": 1}, "bad": {"seed": 2}}, {"epochs": 3})
    assert jobs.run_jobs(program, directories, side_by_side=2, threads=1) == [True, False]
    assert "no luck" in (tmp_path / "runs" / "bad" / "log.txt").read_text()
    output = capsys.readouterr().out
    assert "bad: failed" in output and "good: score 2.50" in output
    assert jobs.collect(tmp_path / "runs", ["seed"]) == {"runs": [{"seed": 1, "score": 2.5}], "baselines": []}


def test_other_settings_are_refused_in_the_same_folder(tmp_path: Path) -> None:
    jobs.write_jobs(tmp_path, {"a": {"seed": 1}}, {"epochs": 3})
    with pytest.raises(SystemExit, match="another recipe"):
        jobs.write_jobs(tmp_path, {"a": {"seed": 1}}, {"epochs": 4})
