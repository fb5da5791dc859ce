"""Token n-grams: hashing them, and a linear classifier that reads them beside the LSTM."""

import torch
from torch import nn
from torch.nn import functional as F

from .padding_lstm import find_padding, to_front


def hash_ngrams(input_ids: torch.Tensor, order: int, num_buckets: int) -> torch.Tensor:
    """
    Gives each position the bucket of the `order` tokens that end there; the row's start counts as a token of its own.

    Args:
        input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`): Tokens, each row's at the front.
        order (`int`): Number of tokens in an n-gram.
        num_buckets (`int`): Number of buckets.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`: Buckets, from 0 to `num_buckets - 1`.
    """
    # Multiplication by a constant modulo a prime: the largest product stays below 2**63, but not in narrower integers.
    prime, factor = 2_147_483_647, 1_000_003
    input_ids = input_ids.long()
    padded = F.pad(input_ids + 1, (order - 1, 0))
    hashed = torch.full_like(input_ids, order)
    for place in range(order):
        hashed = ((hashed + padded[:, place : place + input_ids.shape[1]]) * factor) % prime
    return hashed % num_buckets


class NgramClassifier(nn.Module):
    """
    Classifies a sequence by the set of its token n-grams, linearly, as a baseline of text classification does.

    A text of n different n-grams scores the sum of their weights divided by sqrt(n), which is the linear classifier of
    https://aclanthology.org/P12-2018 on binary features of unit length.

    Args:
        orders (`list[int]`): Lengths of the n-grams.
        num_buckets (`int`): Number of weights per label, which the n-grams share through hashing.
        num_labels (`int`): Number of labels.
        dropout (`float`, defaults to 0.0): Probability with which an n-gram is missed in training.
    """

    def __init__(self, orders: list[int], num_buckets: int, num_labels: int, dropout: float = 0.0):
        super().__init__()
        self.orders = orders
        self.num_buckets = num_buckets
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(num_buckets, num_labels))
        self.bias = nn.Parameter(torch.empty(num_labels))

    def find_ngrams(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Finds the n-grams of sequences.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

        Returns:
            The buckets of each sequence's n-grams, `(batch_size, sequence_length * len(orders))`, and a mask of the
            same shape that is True once for each different bucket.
        """
        padding = find_padding(attention_mask)
        tokens = to_front(input_ids, padding)
        by_order = [hash_ngrams(tokens, order, self.num_buckets) for order in self.orders]
        if padding is not None:
            by_order = [buckets.masked_fill(~padding.mask, self.num_buckets) for buckets in by_order]
        buckets = torch.cat(by_order, dim=1).sort(dim=1).values
        is_new = buckets < self.num_buckets
        is_new[:, 1:] &= buckets[:, 1:] != buckets[:, :-1]
        return buckets.clamp(max=self.num_buckets - 1), is_new

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_labels)`: The scores.
        """
        if input_ids.shape[1] == 0:
            return self.bias.expand(input_ids.shape[0], -1)
        buckets, is_new = self.find_ngrams(input_ids, attention_mask)
        scales = is_new / is_new.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
        scales = F.dropout(scales.to(self.weight.dtype), self.dropout, self.training)
        return F.embedding_bag(buckets, self.weight, mode="sum", per_sample_weights=scales) + self.bias

    def score_buckets(self, seen: torch.Tensor) -> torch.Tensor:
        """
        Returns the scores `(batch_size, num_labels)` of texts whose buckets `seen` has marked, outside of training.

        Args:
            seen (`torch.BoolTensor` of shape `(batch_size, num_buckets)`): True at the buckets of the text's n-grams.
        """
        scales = seen / seen.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
        return scales.to(self.weight.dtype) @ self.weight + self.bias

    def extra_repr(self) -> str:
        return f"orders={self.orders}, num_buckets={self.num_buckets}, num_labels={len(self.bias)}"
