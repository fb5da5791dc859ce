"""One run of a case: starts the processes, compares the outputs, interleaves the variants and gathers the rows."""

import time
from typing import Any

import numpy as np

from benchmarks.speed.measure import UnequalOutputsError, check_outputs, interleave, rates, ratios, spread
from benchmarks.speed.variants import Section, Setup, Variant, load_sections, reason_to_skip
from benchmarks.speed.workers import SETTLING_SECONDS, Worker, WorkerError

Row = dict[str, Any]


class Session:
    """
    Measures the sections of a case.

    Args:
        case (`str`): The case.
        setup (`Setup`): What the run is set up with.
    """

    def __init__(self, case: str, setup: Setup):
        self.case, self.setup = case, setup
        self.workers: dict[str, Worker] = {}
        self.last_process: str | None = None

    def run(self) -> list[Row]:
        """Returns a row of figures for each variant of each section, and one row where the case is skipped."""
        try:
            return self._run()
        finally:
            self.close()

    def _run(self) -> list[Row]:
        reason = reason_to_skip(self.case)
        if reason is not None:
            print(f"{self.case}: skipped: {reason}", flush=True)
            return [self._describe(Section("all", "", lambda seed: 0.0, ()), None) | {"status": f"skipped: {reason}"}]
        rows = []
        for section in load_sections(self.case, self.setup):
            print(f"{self.case}, {section.name}, threads {self.setup.threads}", flush=True)
            rows += self._measure(section)
        return rows

    def close(self) -> None:
        """Ends the processes."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def _worker(self, variant: Variant) -> Worker:
        if variant.process not in self.workers:
            self.workers[variant.process] = Worker(self.case, variant.process, self.setup)
        if self.last_process != variant.process:
            time.sleep(0.0 if self.setup.quick else SETTLING_SECONDS)
            self.last_process = variant.process
        return self.workers[variant.process]

    def _describe(self, section: Section, variant: Variant | None) -> Row:
        row: Row = {
            "case": self.case,
            "section": section.name,
            "threads": self.setup.threads,
            "unit": section.unit,
            "note": section.note,
            "curve": section.curve,
            "point": section.point,
        }
        if variant is not None:
            row |= {
                "variant": variant.name,
                "settings": variant.settings,
                "precision": variant.precision,
                "process": variant.process,
                "check": variant.remark,
                "status": "measured",
            }
        return row

    def _measure(self, section: Section) -> list[Row]:
        rows = {variant.name: self._describe(section, variant) for variant in section.variants}
        outputs: dict[str, dict[str, np.ndarray]] = {}
        for variant in section.variants:
            self._prepare(section, variant, rows[variant.name], outputs)
        compare_rows(section, rows, outputs)
        ready = {name: row for name, row in rows.items() if row["status"] == "measured"}
        variants = {variant.name: variant for variant in section.variants}
        seeds, rounds = self.setup.seeds, min(self.setup.rounds, section.most_rounds or self.setup.rounds)
        if ready:
            seconds = interleave(
                list(ready),
                seeds,
                rounds,
                lambda name, seed: self._worker(variants[name]).call("measure", section.name, name, seed),
            )
            add_figures(
                section, ready, seconds, [section.work(seeds[number % len(seeds)]) for number in range(rounds)]
            )
        for worker in self.workers.values():
            worker.call("forget")
        if section.memory:
            for name, row in ready.items():
                row["memory"] = self._measure_memory(section, variants[name])
        return list(rows.values())

    def _prepare(
        self, section: Section, variant: Variant, row: Row, outputs: dict[str, dict[str, np.ndarray]]
    ) -> None:
        missing = variant.missing()
        if missing is not None:
            row["status"] = f"not run: {missing}"
            print(f"  {variant.name}: {row['status']}", flush=True)
            return
        try:
            ready = self._worker(variant).call("prepare", section.name, variant.name)
        except WorkerError as error:
            row["status"] = f"failed: {find_message(str(error))}"
            print(f"  {variant.name}: {error}", flush=True)
            return
        row |= {"parameters": ready["parameters"], "origin": ready["describe"]}
        if ready["settings"]:
            row["settings"] = ready["settings"]
        if ready["outputs"] is not None:
            outputs[variant.name] = ready["outputs"]

    def _measure_memory(self, section: Section, variant: Variant) -> float | None:
        worker = Worker(self.case, variant.process, self.setup)
        try:
            return worker.call("memory", section.name, variant.name)
        except WorkerError as error:
            print(f"  {variant.name}, memory: {error}", flush=True)
            return None
        finally:
            worker.close()


def find_message(trace: str) -> str:
    """Returns the line of a traceback that names the error."""
    named = [line for line in trace.strip().splitlines() if "Error: " in line and not line.startswith(" ")]
    return named[-1] if named else trace.strip().splitlines()[-1]


def compare_rows(section: Section, rows: dict[str, Row], outputs: dict[str, dict[str, np.ndarray]]) -> None:
    """
    Compares each variant's outputs with those of its reference.

    A row whose outputs differ is not measured. One whose reference has none is, but no goal is judged by it.
    """
    for variant in section.variants:
        row = rows[variant.name]
        if variant.reference is None or row["status"] != "measured":
            continue
        if variant.reference not in outputs or variant.name not in outputs:
            missing = variant.name if variant.reference in outputs else variant.reference
            row |= {"check": f"not compared: no outputs of {missing}", "is_unchecked": True}
            continue
        try:
            found = check_outputs(variant.name, outputs[variant.name], outputs[variant.reference], variant.tolerance)
        except UnequalOutputsError as error:
            row["status"] = f"failed: outputs differ from {variant.reference}: {error}"
            print(f"  {row['status']}", flush=True)
            continue
        row["differences"] = found
        row["check"] = f"equals {variant.reference} within {max(found.values()):.1g}"


def add_figures(section: Section, rows: dict[str, Row], seconds: dict[str, list[float]], work: list[float]) -> None:
    """
    Adds to each row its rates in units a second, their spread, and the first variant's ratio to it.

    Args:
        section (`Section`): The section.
        rows (`dict[str, Row]`): The rows of what was measured, by variant.
        seconds (`dict[str, list[float]]`): The seconds of each round, by variant.
        work (`list[float]`): The units of work of each round.
    """
    by_name = {name: rates(work, durations) for name, durations in seconds.items()}
    first = by_name.get(section.variants[0].name)
    for name, row in rows.items():
        row |= {"rates": by_name[name], "seconds": seconds[name], "rate": spread(by_name[name])._asdict()}
        if first is not None:
            row["ratio"] = spread(ratios(first, by_name[name]))._asdict()
        if section.flops_per_unit is not None:
            row["flops"] = row["rate"]["median"] * section.flops_per_unit
