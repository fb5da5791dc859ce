"""Training texts that are disturbed differently each time they are read."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .text_noise import TextNoise

_BLOCK_SIZE = 1000


class NoisyTexts(torch.utils.data.Dataset):
    """
    Holds texts that get new noise each epoch before they are tokenised.

    How much of a text is disturbed is drawn evenly between nothing and a rate, so that a model keeps seeing clean
    texts. The noise depends on the seed, the epoch and the row alone: a resumed run, any order of the rows and any
    number of worker processes see the same.

    Args:
        dataset (`Dataset`): Texts in `text` (and `text_pair`), with other columns that are kept as they are.
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer.
        max_length (`int`): Tokens that are kept of a text, or of a pair together.
        noise (`TextNoise`): The kind of noise.
        rate (`float`): The highest rate of noise.
        seed (`int`): Seed of the noise.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        noise: TextNoise,
        rate: float,
        seed: int,
    ):
        self.dataset = dataset
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.noise = noise
        self.rate = rate
        self.seed = seed
        # Shared, so that worker processes which outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose noise the texts have next."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), _BLOCK_SIZE):
            yield from self.__getitems__(range(start, min(start + _BLOCK_SIZE, len(self))))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Returns several rows, each with `input_ids` in place of the texts."""
        rows = self.dataset[list(indices)]
        texts = [
            [self._disturb(text, index, column) for index, text in zip(indices, rows.pop(name), strict=True)]
            for column, name in enumerate(("text", "text_pair"))
            if name in rows
        ]
        encoded = self.tokenizer(*texts, truncation=True, max_length=self.max_length)
        rows["input_ids"] = encoded["input_ids"]
        return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]

    def _disturb(self, text: str, index: int, column: int) -> str:
        key = (self.seed, int(self._epoch), index, column)
        rate = Random(f"rate {key}").uniform(0, self.rate)  # noqa: S311  # draws that can be repeated, no secrets
        return self.noise(text, rate, *key)
