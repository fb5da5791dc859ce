"""
Measures the loss of many tokens with their scores held piece by piece, beside that with all scores at hand.

    python benchmarks/language_model/head.py --output runs/head

Both compute the loss of a linear head and its gradients, on random features, by turns. Time is that of the processor;
memory is the most that a call takes in a process of its own, beyond what weights, gradients and features take.
"""

import argparse
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.jobs import write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.memory import peak_memory, resident_memory, start_peak
from benchmarks.common.tables import table
from hf_lstm.models.losses_lstm import head_token_loss, token_loss

SIZES = [(500, 256, 4_000), (1_000, 256, 4_000), (2_000, 256, 4_000), (2_000, 512, 10_000), (2_000, 256, 32_000)]
PRECISIONS = ("float32", "bfloat16")
WAYS = ("all scores", "piece by piece")


def make_step(way: str, sizes: tuple[int, int, int], precision: str) -> Callable[[], list[torch.Tensor]]:
    """Makes a function that computes the loss, and returns it with the gradients of head and features."""
    num_tokens, size, vocab_size = sizes
    torch.manual_seed(0)
    head, labels = nn.Linear(size, vocab_size), torch.randint(vocab_size, (num_tokens,))
    features = torch.randn(num_tokens, size, requires_grad=True)
    parameters = [features, *head.parameters()]

    def step() -> list[torch.Tensor]:
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            if way == "all scores":
                loss = token_loss(head(features), labels, vocab_size)
            else:
                loss = head_token_loss(head, features, labels)
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in parameters if parameter.grad is not None)]

    return step


def measure_memory(way: str, sizes: tuple[int, int, int], precision: str) -> float:
    """Returns how many MiB a call takes beyond what stays."""
    torch.set_num_threads(1)
    step = make_step(way, (300, *sizes[1:]), precision)
    kept = step()  # loads what does not count, and is kept, lest its memory serve the call that counts
    step = make_step(way, sizes, precision)
    before = resident_memory()
    start_peak()
    kept = step()
    return (peak_memory() - before - sum(tensor.nbytes for tensor in kept)) / 2**20


def measure(sizes: tuple[int, int, int], precision: str, rounds: int) -> dict[str, float]:
    """Measures both ways, after a comparison of what they compute."""
    steps = {way: make_step(way, sizes, precision) for way in WAYS}
    plain, ours = (step() for step in steps.values())
    errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, plain, strict=True)]
    if max(errors) > (1e-4 if precision == "float32" else 3e-2):
        raise SystemExit(f"The two ways differ by {max(errors):.1e}: no speed is worth that.")
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, step in steps.items():
            start = time.process_time()
            step()
            seconds[way].append(time.process_time() - start)
    figures = {f"{way}, ms": 1e3 * median(times) for way, times in seconds.items()}
    figures["ratio"] = median(a / b for a, b in zip(*seconds.values(), strict=True))
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        figures |= {f"{way}, MiB": pool.apply(measure_memory, (way, sizes, precision)) for way in WAYS}
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Measures every size, prints the table, and writes `results.json`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each way")
    parser.add_argument("--sizes", type=int, nargs=3, action="append", help="tokens, features and vocabulary")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, found = [], []
    for sizes in [tuple(sizes) for sizes in options.sizes or SIZES]:
        for precision in PRECISIONS:
            figures = measure(sizes, precision, options.rounds)
            found.append({"sizes": sizes, "precision": precision} | figures)
            times = [f"{figures[f'{way}, ms']:.0f}" for way in WAYS]
            memory = [f"{figures[f'{way}, MiB']:.0f}" for way in WAYS]
            counts = [f"{number:,}" for number in sizes]
            rows.append([*counts, precision, *times, f"{figures['ratio']:.2f}", *memory])
            print(rows[-1], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(("hf_lstm", "torch"))
    write_json(options.output / "results.json", {"figures": found, "machine": machine, "rounds": options.rounds})
    headings = ["tokens", "features", "vocabulary", "precision", *(f"{way}, ms" for way in WAYS), "ratio"]
    print(machine, table([*headings, *(f"{way}, MiB" for way in WAYS)], rows), sep="\n")


if __name__ == "__main__":
    main()
