"""
Measures the time and the memory for classifying one long text, in one pass and in chunks.

    OMP_NUM_THREADS=1 taskset -c 0 nice -n 10 python benchmarks/long_text.py --tokens 10000 100000 1000000

Each run has a process of its own (Linux only: the peak is read from `/proc`). The weights and the text are random. The
time is the processor's, which other programs disturb less than the clock's, of one call after one on 1,000 tokens. The
memory is how far the process grows in the call, beyond the program, the model and the text's token ids.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the imports from `benchmarks`

import torch

from benchmarks.common.machine import describe_machine
from benchmarks.common.memory import peak_memory, resident_memory, start_peak
from hf_lstm import LstmConfig, LstmForSequenceClassification

SIZES = {"vocab_size": 20_000, "embedding_size": 128}
MODELS: dict[str, dict[str, Any]] = {
    "bilstm": {"hidden_size": 256, "bidirectional": True, "classifier_pooling": "max"},
    "bilstm-attention": {"hidden_size": 256, "bidirectional": True, "classifier_pooling": "attention"},
    "lstm-2-layers": {"hidden_size": 256, "num_hidden_layers": 2, "classifier_pooling": "max"},
}
MEBIBYTE = 2**20


def measure(model_name: str, num_tokens: int, in_chunks: bool, chunk_length: int) -> dict[str, Any]:
    """Classifies one text, and returns the logits, the processor's seconds and the mebibytes."""
    torch.manual_seed(0)
    model = LstmForSequenceClassification(LstmConfig(**SIZES, **MODELS[model_name])).eval()
    input_ids = torch.randint(4, SIZES["vocab_size"], (1, num_tokens))

    @torch.no_grad()
    def classify(tokens: torch.Tensor) -> torch.Tensor:
        if in_chunks:
            return model.classify_in_chunks(tokens, chunk_length=chunk_length).logits
        return model(tokens).logits

    classify(input_ids[:, :1000])
    start_peak()
    before, start = resident_memory(), time.process_time()
    logits = classify(input_ids)
    seconds = time.process_time() - start
    return {"logits": logits[0].tolist(), "seconds": seconds, "mebibytes": (peak_memory() - before) / MEBIBYTE}


def measure_apart(*arguments: object) -> dict[str, Any] | None:
    """Calls `measure` in a process of its own; `None` if that fails, which then says why."""
    command = [sys.executable, __file__, "--single", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else None


def write_row(model_name: str, num_tokens: int, whole: dict[str, Any] | None, chunks: dict[str, Any] | None) -> str:
    """Writes a row of the table."""
    runs = (whole, chunks)
    seconds = ["–" if run is None else f"{run['seconds']:.2f}" for run in runs]
    mebibytes = ["–" if run is None else f"{run['mebibytes']:,.0f}" for run in runs]
    difference = "–"
    if whole is not None and chunks is not None:
        pairs = zip(whole["logits"], chunks["logits"], strict=True)
        difference = f"{max(abs(one - other) for one, other in pairs):.0e}"
    return f"| {' | '.join([model_name, f'{num_tokens:,}', *seconds, *mebibytes, difference])} |"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="lengths of text")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="what is measured")
    parser.add_argument("--chunk_length", type=int, default=4096, help="tokens in a chunk")
    parser.add_argument(
        "--one_pass_up_to", type=int, default=1_000_000, help="longest text given to the model at once"
    )
    parser.add_argument("--single", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Prints the table, or measures one run for it."""
    arguments = parse_arguments()
    if arguments.single:
        model_name, num_tokens, in_chunks, chunk_length = arguments.single
        print(json.dumps(measure(model_name, int(num_tokens), in_chunks == "1", int(chunk_length))))
        return
    print("| model | tokens | one pass, s | chunks, s | one pass, MiB | chunks, MiB | largest difference of a logit |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for model_name in arguments.models:
        for num_tokens in arguments.tokens:
            whole = None
            if num_tokens <= arguments.one_pass_up_to:
                whole = measure_apart(model_name, num_tokens, 0, arguments.chunk_length)
            chunks = measure_apart(model_name, num_tokens, 1, arguments.chunk_length)
            print(write_row(model_name, num_tokens, whole, chunks), flush=True)
    print(f"\n{describe_machine(('hf_lstm', 'torch', 'transformers'))}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
