"""Random segmentation of words into subwords, so that a model learns how the pieces of a word hang together."""

import json
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from .checks import InputError

DRAWN_AT_ONCE = 64


class SubwordDropout:
    """
    Undoes random merges of byte-pair encoding.

    In BPE-dropout (https://huggingface.co/papers/1910.13267, section 3) each merge is left out with probability p
    while a word is put together. Here it is undone afterwards, which needs no word but only its pieces: with
    probability p, a piece falls into the two that it was merged from, and each of these may fall apart in turn.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): A tokenizer of byte-pair encoding, which knows the merges.
        probability (`float`): p, at least 0 and below 1.

    Raises:
        InputError: If `probability` is out of its range, or if the tokenizer has no merges.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, probability: float):
        if not 0 <= probability < 1:
            raise InputError(f"`subword_dropout` is {probability}, but must be at least 0 and below 1. Try 0.1.")
        self.probability = probability
        self.parts = _read_merges(tokenizer, probability)

    def __call__(self, input_ids: Sequence[int]) -> list[int]:
        """
        Returns one text's tokens with some of them in parts. The random numbers are torch's own.

        Args:
            input_ids (`Sequence[int]` of length `sequence_length`): The tokens; left as they are.
        """
        numbers = _draw(8 * len(input_ids) + DRAWN_AT_ONCE)
        whole, waiting = [], list(reversed(input_ids))
        while waiting:
            piece = waiting.pop()
            parts = self.parts.get(piece)
            if parts is not None and next(numbers) < self.probability:
                waiting.extend(reversed(parts))
            else:
                whole.append(piece)
        return whole


def _draw(number: int) -> Iterator[float]:
    """Yields uniform random numbers without end, drawn `number` at once."""
    while True:
        yield from torch.rand(number).tolist()


def _read_merges(tokenizer: PreTrainedTokenizerBase, probability: float) -> dict[int, tuple[int, int]]:
    """Returns what each piece was merged from; of several ways the earliest."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE" or model.get("continuing_subword_prefix"):
        raise InputError(
            f"`subword_dropout` is {probability}, but needs a tokenizer of byte-pair encoding as `processing_class`. "
            "Train one with --tokenizer_algorithm=bpe, or set subword_dropout to 0."
        )
    vocabulary = model["vocab"]
    parts: dict[int, tuple[int, int]] = {}
    for first, second in model["merges"]:
        parts.setdefault(vocabulary[first + second], (vocabulary[first], vocabulary[second]))
    return parts
