"""
Measures what factorised embeddings and an adaptive softmax give and cost a language model with a large vocabulary.

    OMP_NUM_THREADS=1 taskset -c 0 nice -n 10 python benchmarks/language_model/embeddings.py \
        --train_file data/accuracy/imdb/train.jsonl --dev_file data/accuracy/imdb/dev.jsonl --output runs/embeddings

Every variant learns from the same text in the same order, a few steps each in turn, so that what else the machine does
meets all of them. Time is that of the processor. When all have read `--num_tokens`, each goes on reading until it has
had as much time as the first one took for that number.
"""

import argparse
import math
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

from benchmarks.common.files import read_rows
from benchmarks.common.jobs import write_json
from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import table
from hf_lstm import LstmConfig, LstmForCausalLM, LstmTokenizer

PACKAGES = ("hf_lstm", "torch", "transformers", "tokenizers")
STEPS_IN_TURN = 10
MEMORY_STEPS = 3


def make_variants(ranks: list[int], cutoffs: list[int]) -> dict[str, dict[str, Any]]:
    """Returns the fields of `LstmConfig` in which the variants differ, the first being what others are compared to."""
    adaptive = {"adaptive_softmax_cutoffs": cutoffs}
    tied = {f"rank {rank}, tied": {"embedding_rank": rank, "tie_word_embeddings": True} for rank in ranks}
    smallest = {"embedding_rank": min(ranks)}
    return {
        "plain": {},
        "tied": {"tie_word_embeddings": True},
        f"rank {min(ranks)}": smallest,
        **tied,
        "adaptive softmax": adaptive,
        f"adaptive softmax, rank {min(ranks)}": adaptive | smallest,
    }


class Learner:
    """
    Trains one variant and counts its time.

    Args:
        fields (`dict[str, Any]`): The fields of `LstmConfig`.
        learning_rate (`float`): That of AdamW.
    """

    def __init__(self, fields: dict[str, Any], learning_rate: float):
        torch.manual_seed(0)
        self.model = LstmForCausalLM(LstmConfig(**fields)).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), learning_rate, fused=True)
        self.seconds, self.num_tokens = 0.0, 0
        self.speeds: list[float] = []

    @property
    def num_parameters(self) -> int:
        """Number of the model's parameters, shared ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def learn(self, batches: list[torch.Tensor]) -> None:
        """Takes one step for each batch of shape `(batch_size, sequence_length)`, and notes the speed."""
        start = time.process_time()
        for batch in batches:
            self.optimizer.zero_grad()
            self.model(batch, labels=batch, use_cache=False, output_logits=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        seconds = time.process_time() - start
        num_tokens = sum(count_targets(batch) for batch in batches)
        self.seconds, self.num_tokens = self.seconds + seconds, self.num_tokens + num_tokens
        self.speeds.append(num_tokens / seconds)

    @torch.no_grad()
    def perplexity(self, batches: list[torch.Tensor]) -> float:
        """Returns the perplexity of held-out text."""
        self.model.eval()
        losses = [
            self.model(batch, labels=batch, use_cache=False, output_logits=False).loss.item() * count_targets(batch)
            for batch in batches
        ]
        self.model.train()
        return math.exp(sum(losses) / sum(count_targets(batch) for batch in batches))


def count_targets(batch: torch.Tensor) -> int:
    """Returns how many tokens of a batch are predicted: all but the first of each row."""
    return batch.shape[0] * (batch.shape[1] - 1)


def cut(token_ids: torch.Tensor, batch_size: int, sequence_length: int) -> list[torch.Tensor]:
    """Cuts one long text into batches of shape `(batch_size, sequence_length)`; the rest is left out."""
    size = batch_size * sequence_length
    return [part.view(batch_size, -1) for part in token_ids.split(size) if len(part) == size]


def read_corpus(
    train_file: Path, dev_file: Path, vocab_size: int, sizes: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, float, int]:
    """
    Trains a word tokenizer on all training texts and encodes both parts.

    Args:
        train_file (`Path`): Rows with a `text`.
        dev_file (`Path`): The same, held out.
        vocab_size (`int`): Largest number of words.
        sizes (`tuple[int, int]`): Number of tokens that are kept of each part; all where there are fewer.

    Returns:
        The tokens of both parts, the share of unknown ones in the second, and the size of the vocabulary.
    """
    texts = [[row["text"] for row in read_rows(path)] for path in (train_file, dev_file)]
    tokenizer = LstmTokenizer.train_from_iterator(texts[0], vocab_size, add_eos=True, show_progress=False)
    parts = []
    for part, size in zip(texts, sizes, strict=True):
        token_ids: list[int] = []
        for text in part:
            if len(token_ids) >= size:
                break
            token_ids += tokenizer(text)["input_ids"]
        parts.append(torch.tensor(token_ids[:size]))
    unknown = (parts[1] == tokenizer.unk_token_id).float().mean().item()
    return parts[0], parts[1], unknown, len(tokenizer)


def measure_memory(fields: dict[str, Any], batch: torch.Tensor, learning_rate: float) -> float:
    """Returns how many MiB a process of its own needs at most to train, beyond what it needs before."""
    torch.set_num_threads(1)
    before = psutil.Process().memory_info().rss
    Learner(fields, learning_rate).learn([batch] * MEMORY_STEPS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return (peak - before) / 2**20


def measure_memory_apart(*arguments: Any) -> float:
    """Calls `measure_memory` in a new process."""
    with get_context("spawn").Pool(1) as pool:
        return float(pool.apply(measure_memory, arguments))


def in_turn(batches: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yields the batches of each turn."""
    for start in range(0, len(batches), STEPS_IN_TURN):
        yield batches[start : start + STEPS_IN_TURN]


def train(
    learners: dict[str, Learner], batches: list[torch.Tensor], held_out: list[torch.Tensor], num_tokens: int
) -> dict[str, dict[str, float]]:
    """
    Trains all variants in turn on the same number of tokens, and then each for the same time.

    Args:
        learners (`dict[str, Learner]`): The variants; the time is that of the first.
        batches (`list[torch.Tensor]`): What they read, in this order, and again from the start where it ends.
        held_out (`list[torch.Tensor]`): What their perplexity is measured on.
        num_tokens (`int`): How many tokens all learn from.
    """
    num_steps = max(1, round(num_tokens / count_targets(batches[0])))
    if num_steps > len(batches):
        raise SystemExit(f"--num_tokens asks for {num_steps} steps, but the text has {len(batches)}: give more text.")
    for turn, part in enumerate(in_turn(batches[:num_steps])):
        for learner in learners.values():
            learner.learn(part)
        print(f"turn {turn}:", {name: round(learner.speeds[-1]) for name, learner in learners.items()}, flush=True)
    base = next(iter(learners.values()))
    figures = {}
    for name, learner in learners.items():
        figures[name] = {
            "parameters": learner.num_parameters,
            "tokens_per_second": median(learner.speeds),
            "ratio": median(ours / theirs for ours, theirs in zip(learner.speeds, base.speeds, strict=True)),
            "perplexity": learner.perplexity(held_out),
        }
        print(name, figures[name], flush=True)
    for name, learner in learners.items():
        position = num_steps
        while learner is not base and learner.seconds < base.seconds:
            learner.learn([batches[(position + step) % len(batches)] for step in range(STEPS_IN_TURN)])
            position += STEPS_IN_TURN
        figures[name] |= {
            "tokens_in_equal_time": learner.num_tokens,
            "perplexity_in_equal_time": learner.perplexity(held_out),
        }
        print(name, figures[name], flush=True)
    return figures


def write_table(figures: dict[str, dict[str, float]]) -> str:
    """Writes the figures of all variants as a Markdown table."""
    headings = ["variant", "parameters (M)", "peak memory (MiB)", "tokens/s", "ratio", "perplexity, equal tokens"]
    rows = [
        [
            name,
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['peak_mib']:.0f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['perplexity']:.0f}",
            f"{row['perplexity_in_equal_time']:.0f} ({row['tokens_in_equal_time'] / 1e3:,.0f}k)",
        ]
        for name, row in figures.items()
    ]
    return table([*headings, "perplexity, equal time (tokens)"], rows)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--train_file", type=Path, required=True, help="JSON lines with a text each")
    parser.add_argument("--dev_file", type=Path, required=True, help="the same, held out")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--vocab_size", type=int, default=30000, help="largest number of words")
    parser.add_argument("--num_tokens", type=int, default=150_000, help="tokens that every variant learns from")
    parser.add_argument("--num_dev_tokens", type=int, default=30_000, help="held-out tokens")
    parser.add_argument("--embedding_size", type=int, default=256)
    parser.add_argument("--hidden_size", type=int, default=256)
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 128], help="values of embedding_rank")
    parser.add_argument("--cutoffs", type=int, nargs="+", default=[2000, 10000], help="adaptive_softmax_cutoffs")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--sequence_length", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--variants", nargs="+", help="only these, by name")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measures all variants, prints the table, and writes `results.json`."""
    options = parse_arguments(arguments)
    torch.set_num_threads(1)
    sizes = (options.num_tokens * 12, options.num_dev_tokens)
    text, held_out, unknown, vocab_size = read_corpus(options.train_file, options.dev_file, options.vocab_size, sizes)
    batches, held_out_batches = (cut(ids, options.batch_size, options.sequence_length) for ids in (text, held_out))
    common = {"vocab_size": vocab_size} | {name: getattr(options, name) for name in ("embedding_size", "hidden_size")}
    variants = make_variants(options.ranks, options.cutoffs)
    fields = {name: common | own for name, own in variants.items() if name in (options.variants or variants)}
    memory = {name: measure_memory_apart(own, batches[0], options.learning_rate) for name, own in fields.items()}
    learners = {name: Learner(values, options.learning_rate) for name, values in fields.items()}
    figures = train(learners, batches, held_out_batches, options.num_tokens)
    figures = {name: row | {"peak_mib": memory[name]} for name, row in figures.items()}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    corpus = {"vocab_size": vocab_size, "unknown_dev_share": unknown}
    options.output.mkdir(parents=True, exist_ok=True)
    results = {"figures": figures, "settings": settings, "corpus": corpus, "machine": describe_machine(PACKAGES)}
    write_json(options.output / "results.json", results)
    print(corpus, results["machine"], write_table(figures), sep="\n")
    return figures


if __name__ == "__main__":
    main()
