"""How long a model takes for one text on the CPU."""

import copy
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_RUNS = 20
MAX_SECONDS = 2.0


@dataclass(frozen=True)
class Latency:
    """
    The time that one text takes by itself.

    Args:
        milliseconds (`float`): Median of the runs.
        num_tokens (`int`): Length of the text.
        num_runs (`int`): How often it was measured.
        num_threads (`int`): Threads of torch.
        processor (`str`): What it ran on.
    """

    milliseconds: float
    num_tokens: int
    num_runs: int
    num_threads: int
    processor: str

    def describe(self) -> str:
        """Returns a sentence."""
        threads = "1 thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        measured = f"median of {self.num_runs} runs, {threads}, {self.processor}"
        time_taken = f"{self.milliseconds:.3g} ms, tokenisation included"
        return f"A text of {self.num_tokens} tokens by itself takes {time_taken} ({measured})."


@torch.no_grad()
def measure_latency(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    max_length: int | None = None,
    text_pair: str | None = None,
) -> Latency:
    """
    Measures how long a text takes from the string to the scores, or to the generated tokens.

    It stops after 20 runs or two seconds, after one run that does not count. A model that is elsewhere is copied to
    the CPU.

    Args:
        model (`PreTrainedModel`): The model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        text (`str`): The text.
        max_length (`int`, *optional*): Tokens of it that are read.
        text_pair (`str`, *optional*): The second text, for models that read pairs.
    """
    pairs = None if text_pair is None else [text_pair]
    was_training = model.training
    if model.device.type != "cpu":
        model = copy.deepcopy(model).to("cpu")
    model.eval()
    run = model.generate if model.config.is_encoder_decoder else model
    seconds: list[float] = []
    num_tokens = 0
    while len(seconds) <= NUM_RUNS and sum(seconds) < MAX_SECONDS:
        start = time.perf_counter()
        options = {"truncation": max_length is not None, "max_length": max_length, "return_tensors": "pt"}
        inputs = tokenizer([text], pairs, **options)
        run(**inputs)
        seconds.append(time.perf_counter() - start)
        num_tokens = inputs["input_ids"].shape[1]
    model.train(was_training)
    counted = seconds[1:] or seconds
    return Latency(
        milliseconds=1000 * statistics.median(counted),
        num_tokens=num_tokens,
        num_runs=len(counted),
        num_threads=torch.get_num_threads(),
        processor=processor_name(),
    )


def processor_name() -> str:
    """Returns the processor's model, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
