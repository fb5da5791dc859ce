"""An output layer for large vocabularies, which learns without computing the scores of all tokens."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from .precision_lstm import at_least_float32


def cluster_sizes(input_size: int, cutoffs: list[int], div_value: float) -> list[int]:
    """
    Returns the width to which the features are reduced for each cluster of rarer tokens.

    Args:
        input_size (`int`): Width of the features.
        cutoffs (`list[int]`): Ids that the clusters start with.
        div_value (`float`): How many times narrower each cluster is than the one before.
    """
    return [int(input_size // div_value**power) for power in range(1, len(cutoffs) + 1)]


class AdaptiveSoftmax(nn.Module):
    """
    Predicts tokens in two steps: a frequent token or a cluster of rarer ones, then the token within the cluster.

    It is the adaptive softmax of https://huggingface.co/papers/1609.04309 (section 4.3), with the parameters of
    `torch.nn.AdaptiveLogSoftmaxWithLoss` under the same names. Any order of the ids gives a proper distribution, but
    only ids sorted by falling frequency make it quick and good.

    Args:
        input_size (`int`): Width of the features.
        vocab_size (`int`): Number of tokens.
        cutoffs (`list[int]`): Ids that the clusters start with, rising; those below the first are frequent tokens.
        div_value (`float`, defaults to 4.0): How many times narrower each cluster is than the one before.
    """

    def __init__(self, input_size: int, vocab_size: int, cutoffs: list[int], div_value: float = 4.0):
        super().__init__()
        self.cutoffs = [*cutoffs, vocab_size]
        self.head = nn.Linear(input_size, cutoffs[0] + len(cutoffs))
        self.tail = nn.ModuleList(
            nn.Sequential(nn.Linear(input_size, size, bias=False), nn.Linear(size, end - start, bias=False))
            for size, (start, end) in zip(
                cluster_sizes(input_size, cutoffs, div_value), itertools.pairwise(self.cutoffs), strict=True
            )
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """
        Computes the log-probabilities of all tokens.

        Args:
            hidden_states (`torch.Tensor` of shape `(..., input_size)`): The features.

        Returns:
            `torch.Tensor` of shape `(..., vocab_size)`.
        """
        scores = self.head(hidden_states)
        frequent, clusters = F.log_softmax(at_least_float32(scores), dim=-1).split(
            [self.cutoffs[0], len(self.tail)], dim=-1
        )
        parts = [frequent]
        for index, layers in enumerate(self.tail):
            within = F.log_softmax(at_least_float32(layers(hidden_states)), dim=-1)
            parts.append(within + clusters[..., index : index + 1])
        return torch.cat(parts, dim=-1).to(scores.dtype)

    def loss(self, hidden_states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """
        Computes the sum of the targets' negative log-probabilities; each cluster reads its own targets' features only.

        Args:
            hidden_states (`torch.Tensor` of shape `(num_targets, input_size)`): The features.
            targets (`torch.LongTensor` of shape `(num_targets,)`): The tokens.
        """
        choices = targets
        losses = []
        for index, layers in enumerate(self.tail):
            start, end = self.cutoffs[index : index + 2]
            # A cluster without targets takes part as well: all its gradients are zero then, and none is missing.
            is_inside = (targets >= start) & (targets < end)
            scores = at_least_float32(layers(hidden_states[is_inside]))
            losses.append(F.cross_entropy(scores, targets[is_inside] - start, reduction="sum"))
            choices = choices.masked_fill(is_inside, self.cutoffs[0] + index)
        scores = at_least_float32(self.head(hidden_states))
        return torch.stack([F.cross_entropy(scores, choices, reduction="sum"), *losses]).sum()

    def extra_repr(self) -> str:
        return f"cutoffs={self.cutoffs}"
