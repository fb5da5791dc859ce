"""
Tokenises a file with several processes, and once more from the cache, in a process of its own.

    python benchmarks/scale/preparation_run.py FOLDER

`job.json` in the folder says what to do, `result-0.json` is written there. `run.py` starts this program.
"""

import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.jobs import JOB, read_json, write_json
from benchmarks.common.memory import peak_memory, start_peak
from benchmarks.scale.corpus import NUM_WORDS
from hf_lstm import LstmTokenizer
from hf_lstm.data.columns import select_texts
from hf_lstm.data.loading import load_file
from hf_lstm.data.tokenization import tokenize

MEBIBYTE = 2**20


def processor_seconds() -> float:
    """Returns the processor's time of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def prepare(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Loads and tokenises as the job says, twice, and returns the times, the memory and the size of the cache."""
    texts = select_texts(load_file(job["file"], cache_dir=str(folder / "cache")), "train")
    words = [f"w{number}" for number in range(NUM_WORDS)]
    result = dict(job)
    tokenized = None
    for name in ("tokenised", "found"):
        tokenizer = LstmTokenizer.train_from_iterator(words, algorithm="word", min_frequency=1)
        start_peak()
        before, start = processor_seconds(), time.perf_counter()
        tokenized = tokenize(texts, tokenizer, 4096, "train", job["num_workers"])
        result[name] = {
            "processor_seconds": processor_seconds() - before,
            "seconds": time.perf_counter() - start,
            "peak_mebibytes": peak_memory() / MEBIBYTE,
        }
    assert tokenized is not None
    sizes = [Path(file["filename"]).stat().st_size for file in tokenized.cache_files]
    result["num_tokens"] = sum(len(ids) for ids in tokenized["input_ids"])
    return result | {"cache_bytes": sum(sizes), "file_bytes": Path(job["file"]).stat().st_size}


if __name__ == "__main__":
    run_folder = Path(sys.argv[1])
    write_json(run_folder / "result-0.json", prepare(read_json(run_folder / JOB), run_folder))
