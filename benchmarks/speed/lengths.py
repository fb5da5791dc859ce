"""Sequence lengths as texts have them, and batches of them."""

from typing import NamedTuple

import numpy as np


class LengthDistribution(NamedTuple):
    """
    A log-normal distribution of lengths, in tokens.

    Args:
        median (`float`): Half of the sequences are shorter.
        sigma (`float`): Standard deviation of the lengths' natural logarithm.
        longest (`int`): Longer sequences are cut to this.
    """

    median: float
    sigma: float
    longest: int

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Draws `count` lengths of at least 1; the same seed gives the same ones."""
        random = np.random.default_rng(seed)
        lengths = np.exp(random.normal(np.log(self.median), self.sigma, count))
        return np.clip(np.rint(lengths), 1, self.longest).astype(np.int64)

    def describe(self) -> str:
        """Returns a phrase."""
        return f"log-normal lengths of median {self.median:g}, sigma {self.sigma:g}, at most {self.longest} tokens"


def cut_batches(lengths: np.ndarray, batch_size: int, grouped: bool) -> list[np.ndarray]:
    """
    Cuts sequences into batches.

    Args:
        lengths (`np.ndarray` of shape `(count,)`): Tokens of each sequence.
        batch_size (`int`): Sequences of a batch.
        grouped (`bool`): Whether batches hold sequences of similar length; otherwise they come as they are.

    Returns:
        `list[np.ndarray]`: The numbers of each batch's sequences.
    """
    order = np.argsort(-lengths, kind="stable") if grouped else np.arange(len(lengths))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
