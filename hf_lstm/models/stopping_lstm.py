"""When a text that `generate` writes ends: what must not end yet, and what ends it."""

import math
from typing import Any, NamedTuple

import torch
from transformers.generation import (
    EosTokenCriteria,
    LogitsProcessor,
    LogitsProcessorList,
    MaxLengthCriteria,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)

_NO_LETTER = "\ufffd"  # what bytes are decoded to that are no letter


class StopTextCriteria(StoppingCriteria):
    """
    Ends a sequence once its last token completes one of some strings in the text that the tokenizer makes of it.

    Transformers' `StopStringCriteria` takes each token to write the same wherever it stands, and the tokenizer to know
    the letters from a to f. Here neither needs to be so: two tokens may decide together on the space between them.

    Args:
        strings (`str` or `list[str]`): What to stop at.
        tokenizer (`PreTrainedTokenizerBase`): What the tokens are decoded by.

    Raises:
        ValueError: If there is no string, or an empty one.
    """

    # Tokens before a string that may decide on the space at its start, or hold the first bytes of a letter.
    _num_before = 8
    _most_bytes = 4  # of a letter in UTF-8

    def __init__(self, strings: str | list[str], tokenizer: Any):
        self.strings = [strings] if isinstance(strings, str) else list(strings)
        if not self.strings or not all(isinstance(string, str) and string for string in self.strings):
            raise ValueError(f"`stop_strings` is {strings!r}, but must be a non-empty text or a list of them.")
        self.tokenizer = tokenizer
        # The tokens of a text write a byte or more each.
        self.num_tokens = max(len(string.encode()) for string in self.strings) + self._num_before

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, length)`): The tokens so far.
            scores: Not looked at.

        Returns:
            `torch.BoolTensor` of shape `(batch_size,)`: Which of the sequences end.
        """
        rows = input_ids[:, -self.num_tokens :].tolist()
        return torch.tensor([self._ends(row) for row in rows], dtype=torch.bool, device=input_ids.device)

    def _ends(self, tokens: list[int]) -> bool:
        # Where the first token is a byte within a letter, some tokenizers make nothing of all the bytes that follow.
        for start in range(self._most_bytes):
            text = self._decode(tokens[start:])
            found = [string for string in self.strings if string in text]
            if found:
                # What stood there before may not be seen while a letter lacks bytes.
                before = [self._decode(tokens[start:-count]) for count in range(1, self._most_bytes + 1)]
                return any(text.rfind(string) > max(other.rfind(string) for other in before) for string in found)
            if _NO_LETTER not in text:
                break
        return False

    def _decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)


class Limits(NamedTuple):
    """Where a hypothesis ends, if the last token and the length tell."""

    max_length: int
    end_ids: torch.Tensor | None

    @classmethod
    def find(cls, stopping_criteria: StoppingCriteriaList) -> "Limits | None":
        """Returns what the criteria say; `None` if they read more than that."""
        known = {type(criterion): criterion for criterion in stopping_criteria}
        length, end = known.pop(MaxLengthCriteria, None), known.pop(EosTokenCriteria, None)
        if known or length is None or len(stopping_criteria) != 1 + (end is not None):
            return None
        return cls(length.max_length, None if end is None else end.eos_token_id)

    def are_reached(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """Tells for tokens of any shape, with which a sequence is `length` long, whether it ends there."""
        if length >= self.max_length:
            return torch.ones_like(tokens, dtype=torch.bool)
        if self.end_ids is None:
            return torch.zeros_like(tokens, dtype=torch.bool)
        # Faster than torch.isin for the few tokens of a step.
        return (tokens.unsqueeze(-1) == self.end_ids.to(tokens.device)).any(dim=-1)


class LeastLength(LogitsProcessor):
    """
    Keeps sequences from ending before they have a length.

    Transformers' processors for this look through the whole vocabulary for the tokens that end a sequence, in each
    step, also once nothing is kept from ending.

    Args:
        length (`int`): The least length, the prompt's tokens included.
        end_ids (`torch.LongTensor` of shape `(num_tokens,)`): Tokens of the vocabulary that end a sequence.
    """

    def __init__(self, length: int, end_ids: torch.Tensor):
        self.length, self.end_ids = length, end_ids

    @classmethod
    def find(cls, processor: Any, vocab_size: int) -> "LeastLength | None":
        """Returns what a processor does, if it is one of these."""
        if type(processor) is MinLengthLogitsProcessor:
            length = processor.min_length
        elif type(processor) is MinNewTokensLengthLogitsProcessor:
            length = processor.prompt_length_to_skip + processor.min_new_tokens
        else:
            return None
        end_ids = processor.eos_token_id.flatten().long()
        return cls(length, end_ids[(end_ids >= 0) & (end_ids < vocab_size)])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if input_ids.shape[1] < self.length:
            return scores.index_fill(1, self.end_ids.to(scores.device), -math.inf)
        return scores.clone()  # as theirs do: the next processor may overwrite what it is given


def simplify_processors(logits_processor: LogitsProcessorList, vocab_size: int) -> list[LogitsProcessor]:
    """Returns processors that do to the scores of a vocabulary of this size what the given ones do, in less time."""
    simple: list[LogitsProcessor] = []
    for processor in logits_processor:
        least, last = LeastLength.find(processor, vocab_size), simple[-1] if simple else None
        # `min_new_tokens` gives one of each kind.
        if least is not None and isinstance(last, LeastLength) and torch.equal(last.end_ids, least.end_ids):
            simple[-1] = max(last, least, key=lambda each: each.length)
        else:
            simple.append(processor if least is None else least)
    return simple


def may_end_apart(stopping_criteria: StoppingCriteriaList) -> bool:
    """Tells whether a sequence may end before others, and is filled up with padding then."""
    return any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)


def check_padding(pad_token_id: int | None, vocab_size: int) -> None:
    """Raises a `ValueError` for a padding token that the next step could not read."""
    if pad_token_id is not None and not 0 <= pad_token_id < vocab_size:
        raise ValueError(
            f"`pad_token_id` is {pad_token_id}, but must be from 0 to {vocab_size - 1}: sequences that end before "
            "others go on with it. Give that of the model's tokenizer."
        )
