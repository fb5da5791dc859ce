"""Makes batches of examples: pads whatever is as long as the tokens, and disturbs tokens for training."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from .tokenization import check_padding_token


@dataclass
class LstmDataCollator:
    """
    Pads the examples of a batch to the longest of them, or to the next multiple of a number.

    `input_ids` is filled with the tokenizer's padding token, and `attention_mask`, made where it is missing, with
    zeros. `feature_ids`, and every other list that is as long as the tokens in all of the batch's examples, is filled
    with zeros at the same side. `label` and `labels` come out as `labels`: integers as `torch.long`, floats and lists
    of them as `torch.float`, and lists of integers, one for each token, are filled with -100. Write classes that apply
    to a text as floats: integers as many as its tokens are taken for labels of these.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Tells the padding token and the side that is padded.
        pad_to_multiple_of (`int`, *optional*): The padded length is a multiple of this number.

    Raises:
        InputError: If the tokenizer has no padding token.
    """

    tokenizer: PreTrainedTokenizerBase
    pad_to_multiple_of: int | None = None

    def __post_init__(self) -> None:
        check_padding_token(self.tokenizer)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Makes a batch.

        Args:
            examples (`Sequence[dict]`): `input_ids` each of shape `(sequence_length,)`, and what goes with them.

        Returns:
            `dict[str, torch.Tensor]`: `input_ids` and `attention_mask` of shape `(batch_size, sequence_length)`,
            `labels` if there are any, and the other columns.
        """
        token_ids = [_to_list(example["input_ids"]) for example in examples]
        lengths = [len(row) for row in token_ids]
        width = self._round_up(max(lengths))
        masks = [
            _to_list(example.get("attention_mask", [1] * n)) for example, n in zip(examples, lengths, strict=True)
        ]
        batch = {
            "input_ids": self._pad(token_ids, width, int(self.tokenizer.pad_token_id)),
            "attention_mask": self._pad(masks, width, 0),
        }
        for name in examples[0]:
            if name in batch:
                continue
            rows = [_to_list(example[name]) for example in examples]
            if name in ("label", "labels"):
                batch["labels"] = self._collate_labels(rows, lengths, width)
            elif all(isinstance(row, list) and len(row) == n for row, n in zip(rows, lengths, strict=True)):
                batch[name] = self._pad(rows, width, 0)
            else:
                batch[name] = torch.tensor(rows)
        return batch

    def _round_up(self, length: int) -> int:
        # A batch of empty texts keeps one padded position, for models cannot read a width of zero.
        multiple = self.pad_to_multiple_of or 1
        return -(-max(length, 1) // multiple) * multiple

    def _collate_labels(self, rows: list[Any], lengths: list[int], width: int) -> torch.Tensor:
        is_list = isinstance(rows[0], list) and not any(isinstance(value, float) for value in rows[0])
        if is_list and all(len(row) == length for row, length in zip(rows, lengths, strict=True)):
            return self._pad(rows, width, -100)
        labels = torch.tensor(rows)
        return labels.float() if labels.is_floating_point() else labels.long()

    def _pad(self, rows: list[list[Any]], width: int, value: int) -> torch.Tensor:
        """Pads rows of shape `(length, ...)` to a tensor of shape `(batch_size, width, ...)`."""
        values = torch.tensor([item for row in rows for item in row])
        lengths, positions = torch.tensor([len(row) for row in rows]).unsqueeze(1), torch.arange(width)
        is_left = self.tokenizer.padding_side == "left"
        places = positions >= width - lengths if is_left else positions < lengths
        padded = torch.full((len(rows), width, *values.shape[1:]), value, dtype=_dtype(values))
        padded[places] = values.to(padded.dtype)
        return padded


def drop_words(
    input_ids: torch.Tensor, probability: float, unk_token_id: int, kept_ids: Collection[int] = ()
) -> torch.Tensor:
    """
    Replaces random tokens by the unknown token, so that a model learns to do without any single word.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens; left as they are.
        probability (`float`): Share of tokens to replace.
        unk_token_id (`int`): The unknown token.
        kept_ids (`Collection[int]`, *optional*): Tokens that are never replaced, such as padding.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`: The disturbed tokens.
    """
    kept = torch.tensor(sorted(kept_ids), dtype=input_ids.dtype, device=input_ids.device)
    is_dropped = (torch.rand(input_ids.shape, device=input_ids.device) < probability) & ~torch.isin(input_ids, kept)
    return input_ids.masked_fill(is_dropped, unk_token_id)


def _to_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _dtype(tensor: torch.Tensor) -> torch.dtype:
    # An empty list would make a float tensor.
    return torch.float if tensor.is_floating_point() and len(tensor) > 0 else torch.long
