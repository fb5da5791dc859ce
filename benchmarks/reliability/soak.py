"""
Trains, evaluates, predicts, generates, saves and loads in one process, again and again, and watches its memory.

    OMP_NUM_THREADS=1 python benchmarks/reliability/soak.py --minutes 60 --output runs/soak

A cycle is a whole run of each training program on small data that no other cycle has, one of them going on from a
checkpoint, and then the saved models at work. After each cycle, the resident memory and the number of open files and
threads are noted (Linux only: they are read from `/proc`). The first fifth of the cycles is warm-up. Memory is flat if
the median of the last fifth is at most 2 % above that of the second fifth; files and threads are steady if there are
no more at the end than after the warm-up.
"""

import argparse
import contextlib
import gc
import io
import logging
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

import datasets
import transformers
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from benchmarks.common.jobs import write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.memory import resident_memory
from benchmarks.reliability.texts import write_pairs, write_reviews
from hf_lstm.training.tasks import seq2seq, sequence_classification

LARGEST_GROWTH = 0.02
MEBIBYTE = 2**20
PARTS = 5
_COMMON = ["--num_train_epochs", "2", "--max_train_samples", "64", "--disable_tqdm", "true", "--log_level", "error"]
_CLASSIFIER = [*_COMMON, "--embedding_size", "12", "--hidden_size", "20", "--weight_averaging", "0.9"]
_TRANSLATOR = [
    *(*_COMMON, "--max_source_length", "14", "--max_target_length", "14", "--num_attention_plots", "1"),
    *("--encoder_embedding_size", "10", "--decoder_embedding_size", "10", "--encoder_hidden_size", "14"),
    *("--decoder_hidden_size", "14", "--tokenizer_algorithm", "word", "--min_frequency", "1"),
]


def train_both(folder: Path, seed: int) -> None:
    """Trains a classifier and a translator, and the classifier for another epoch from its checkpoint."""
    common = ["--cache_dir", str(folder / "cache"), "--seed", str(seed)]
    reviews = write_reviews(folder / "reviews.jsonl", 120, seed)
    own = ["--train_file", str(reviews), "--output_dir", str(folder / "classifier")]
    sequence_classification.main([*_CLASSIFIER, *common, *own])
    sequence_classification.main([*_CLASSIFIER, *common, *own, "--num_train_epochs", "3"])
    pairs = write_pairs(folder / "pairs.jsonl", 120, seed)
    seq2seq.main([*_TRANSLATOR, *common, "--train_file", str(pairs), "--output_dir", str(folder / "translator")])


def use_both(folder: Path) -> None:
    """Loads both models, lets them work, and saves them again."""
    classifier = AutoModelForSequenceClassification.from_pretrained(folder / "classifier")
    tokenizer = AutoTokenizer.from_pretrained(folder / "classifier")
    pipeline("text-classification", model=classifier, tokenizer=tokenizer)(["a lovely film", "dull music"] * 9)
    classifier.save_pretrained(folder / "again")
    translator = AutoModelForSeq2SeqLM.from_pretrained(folder / "translator")
    tokenizer = AutoTokenizer.from_pretrained(folder / "translator")
    inputs = tokenizer(["a b c d", "h g"] * 9, return_tensors="pt", padding=True)
    for options in ({"num_beams": 3}, {"num_beams": 1}, {"num_beams": 1, "do_sample": True}):
        translator.generate(**inputs, max_new_tokens=12, **options)
    translator.save_pretrained(folder / "again")


def run_cycle(folder: Path, seed: int) -> None:
    """Does everything once, silently, in a folder that is deleted afterwards."""
    with contextlib.redirect_stdout(io.StringIO()):
        train_both(folder, seed)
        use_both(folder)
    shutil.rmtree(folder)


def count_resources() -> dict[str, int]:
    """Counts what the process holds, once everything is given back that nobody refers to any more."""
    gc.collect()
    return {
        "memory": resident_memory(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def soak(cycle: Callable[[int], object], seconds: float, least_cycles: int = PARTS) -> list[dict[str, Any]]:
    """Repeats a cycle, which is told its number, for a time, and returns what the process held after each."""
    started = time.monotonic()
    notes: list[dict[str, Any]] = []
    while time.monotonic() - started < seconds or len(notes) < least_cycles:
        cycle(len(notes))
        notes.append({"minutes": round((time.monotonic() - started) / 60, 3), **count_resources()})
        print(" ".join(f"{name}={value}" for name, value in notes[-1].items()), flush=True)
    return notes


def judge(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Compares the last fifth of the cycles with the second fifth, after the warm-up."""
    length = len(notes) // PARTS
    early, late = notes[length : 2 * length], notes[-length:]
    before, after = (statistics.median(note["memory"] for note in part) for part in (early, late))
    growth = after / before - 1
    leaks = {
        name: statistics.median_low([note[name] for note in late]) - statistics.median_low([n[name] for n in early])
        for name in ("files", "threads")
    }
    return {
        "cycles": len(notes),
        "minutes": notes[-1]["minutes"],
        "mebibytes_before": round(before / MEBIBYTE, 1),
        "mebibytes_after": round(after / MEBIBYTE, 1),
        "growth": round(growth, 5),
        "files": notes[-1]["files"],
        "more_files": leaks["files"],
        "more_threads": leaks["threads"],
        "is_flat": growth <= LARGEST_GROWTH and max(leaks.values()) <= 0,
    }


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder for soak.json")
    return parser.parse_args()


def main() -> None:
    """Soaks, writes the figures, and fails if memory or open files grew."""
    arguments = parse_arguments()
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    notes = soak(lambda number: run_cycle(arguments.output / "cycle", number), arguments.minutes * 60)
    verdict = judge(notes)
    write_json(arguments.output / "soak.json", {"verdict": verdict, "machine": describe_machine(), "cycles": notes})
    print(verdict)
    sys.exit(0 if verdict["is_flat"] else 1)


if __name__ == "__main__":
    main()
