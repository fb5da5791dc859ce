"""
Fuzzes a target of this folder, guided by the coverage of the package, and counts what comes of the inputs.

    python -m tests.fuzz.run readers --seconds 300 --output runs/fuzz

Crashes do not end it: the first input of each kind of crash is kept in the output folder, beside `counts.json`.
`--replay FILE` runs one input as it is. Needs the extra `fuzz`.
"""

import argparse
import collections
import contextlib
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

TARGETS = ("readers", "checkpoints")
INSTRUMENTED = ["hf_lstm", "datasets.packaged_modules", "yaml"]
LIMIT_SECONDS = 10.0  # of the processor's time for one input
MEMORY = 16 * 2**30  # what an input may ask the system for; more is refused, as on a small computer
REPORT_EVERY = 200


class Campaign:
    """
    Runs inputs through a target.

    Args:
        target (module): One with `seeds`, `run_input` and `is_clear`.
        output (`Path`): Where counts and crashes are written.
    """

    def __init__(self, target: Any, output: Path):
        self.target, self.output = target, output
        self.counts: collections.Counter[str] = collections.Counter()
        self.crashes: dict[str, dict[str, Any]] = {}
        self.slowest = 0.0
        self.started = time.time()
        output.mkdir(parents=True, exist_ok=True)

    def feed(self, data: bytes) -> None:
        """Runs an input, and notes what comes of it."""
        started = time.process_time()
        self.counts["inputs"] += 1
        with tempfile.TemporaryDirectory(prefix="hf_lstm-fuzz-") as folder:
            try:
                with silenced():
                    self.target.run_input(data, Path(folder))
                self.counts["accepted"] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a panic of Rust is no `Exception`
                if self.target.is_clear(error, Path(folder)):
                    self.counts["clear errors"] += 1
                else:
                    self._note_crash(data, error)
        taken = time.process_time() - started
        self.slowest = max(self.slowest, taken)
        if taken > LIMIT_SECONDS:
            self._note_crash(data, TimeoutError(f"took {taken:.0f} s"))
        if self.counts["inputs"] % REPORT_EVERY == 0:
            self.report()

    def report(self) -> None:
        """Writes the counts."""
        content = {
            **self.counts,
            "kinds of crashes": len(self.crashes),
            "slowest input in seconds": round(self.slowest, 3),
            "minutes": round((time.time() - self.started) / 60, 2),
            "crashes by kind": self.crashes,
        }
        (self.output / "counts.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _note_crash(self, data: bytes, error: BaseException) -> None:
        self.counts["crashes"] += 1
        frames = [f"{Path(frame.filename).name}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "hf_lstm/" in frame.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "-"
        kind = f"{type(error).__name__} in {place} from {frames[-1] if frames else '-'}"
        if kind not in self.crashes:
            number = len(self.crashes)
            self.crashes[kind] = {"times": 0, "input": f"crash-{number}", "message": str(error)[:300]}
            (self.output / f"crash-{number}").write_bytes(data)
            print(f"crash {number}: {kind}: {str(error)[:200]}", file=sys.stderr, flush=True)
            self.report()
        self.crashes[kind]["times"] += 1


@contextlib.contextmanager
def silenced() -> Any:
    """Keeps progress bars and warnings, of which there is one for each input, off the screen."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield


def set_up() -> None:
    """Keeps everything on this computer and quiet."""
    home = tempfile.mkdtemp(prefix="hf_lstm-fuzz-home-")
    os.environ |= {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}
    os.environ |= {"TRANSFORMERS_VERBOSITY": "critical", "DATASETS_VERBOSITY": "critical"}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=300, help="How long to go on.")
    parser.add_argument("--seed", type=int, default=1, help="Seed of the fuzzer.")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--replay", type=Path, help="An input to run as it is.")
    arguments = parser.parse_args()
    set_up()
    if arguments.replay is not None:
        replay(arguments.target, arguments.replay)
        return
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(f"tests.fuzz.{arguments.target}")
    output = arguments.output / arguments.target
    corpus = output / "corpus"
    shutil.rmtree(output, ignore_errors=True)
    campaign = Campaign(target, output)
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={arguments.seconds}", f"-seed={arguments.seed}", "-max_len=4096", "-len_control=0"]
    options += ["-timeout=120", "-rss_limit_mb=6000", f"-artifact_prefix={output}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options], campaign.feed)
    atheris.Fuzz()


def replay(name: str, path: Path) -> None:
    """Runs one input, so that its error is seen."""
    target = importlib.import_module(f"tests.fuzz.{name}")
    with tempfile.TemporaryDirectory() as folder:
        target.run_input(path.read_bytes(), Path(folder))


if __name__ == "__main__":
    main()
