"""Writing of hypotheses, and the choice of beams and length penalty on validation data."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_lstm.models.prediction_lstm import sorted_batches

logger = logging.getLogger(__name__)

MAX_ROWS, MAX_TOKENS = 64, 16384


@dataclass(frozen=True)
class Decoding:
    """
    How hypotheses are searched for.

    Args:
        num_beams (`int`): Hypotheses that are kept at each step; 1 takes the likeliest token each time.
        length_penalty (`float`): Power of the length that a hypothesis' score is divided by; more favours longer ones.
    """

    num_beams: int
    length_penalty: float = 1.0


# From the cheapest on: of equal scores the first one wins. Without beams a penalty would have nothing to compare.
GRID = (Decoding(1), *(Decoding(5, penalty) for penalty in (0.6, 1.0, 1.4)))


@dataclass
class Generator:
    """
    Writes a hypothesis for each source, with the length limit and whatever else is saved with the model.

    Args:
        model (`PreTrainedModel`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        max_source_length (`int`): Tokens that are kept of a source.
        source_prefix (`str`): What stands before every source.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_source_length: int
    source_prefix: str = ""

    def generate(self, sources: Sequence[str], decoding: Decoding) -> list[str]:
        """
        Writes hypotheses of one line each, in batches of sources of similar length.

        Args:
            sources (`Sequence[str]`): The texts to start from.
            decoding (`Decoding`): How to search.
        """
        texts = [self.source_prefix + source for source in sources]
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_source_length)["input_ids"]
        hypotheses = [""] * len(sources)
        self.model.eval()
        for rows in sorted_batches([len(row) for row in ids], MAX_ROWS, MAX_TOKENS):
            batch = self.tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            generated = self.model.generate(
                **batch.to(self.model.device),
                do_sample=False,
                num_beams=decoding.num_beams,
                length_penalty=decoding.length_penalty,
            )
            for row, text in zip(rows, self.tokenizer.batch_decode(generated, skip_special_tokens=True), strict=True):
                hypotheses[row] = " ".join(text.split())
        return hypotheses


def choose_decoding(
    generator: Generator,
    sources: Sequence[str],
    score: Callable[[list[str]], float],
    grid: Sequence[Decoding] = GRID,
) -> tuple[Decoding, list[dict[str, Any]]]:
    """
    Finds the settings whose hypotheses score best.

    Args:
        generator (`Generator`): Writes the hypotheses.
        sources (`Sequence[str]`): Sources of the validation data.
        score (`Callable[[list[str]], float]`): Scores hypotheses; more is better.
        grid (`Sequence[Decoding]`): The settings to try.

    Returns:
        `tuple[Decoding, list[dict]]`: The best settings, and each of the settings tried with its `score`.
    """
    with torch.inference_mode():
        trials = [(decoding, score(generator.generate(sources, decoding))) for decoding in grid]
    for decoding, value in trials:
        logger.info("%s: %.2f", decoding, value)
    best, _ = max(trials, key=lambda trial: trial[1])
    return best, [asdict(decoding) | {"score": value} for decoding, value in trials]
