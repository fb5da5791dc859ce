"""Pooling: how a sequence of vectors becomes one."""

import torch
from torch import nn

from .padding_lstm import take_positions
from .precision_lstm import wide_dtype


class LstmPooler(nn.Module):
    """
    Makes one vector of a sequence.

    Args:
        pooling (`str`): One of `LstmConfig.classifier_pooling`'s values.
        size (`int`): Width of the sequence's vectors.
        bidirectional (`bool`): Whether their second half belongs to a reverse direction, for `"last"`.
    """

    def __init__(self, pooling: str, size: int, bidirectional: bool):
        super().__init__()
        self.pooling = pooling
        self.bidirectional = bidirectional
        self.output_size = 3 * size if pooling == "concat" else size
        self.attention = nn.Linear(size, 1, bias=False) if pooling == "attention" else None

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): The sequence; finite numbers
                stand at padding.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

        Returns:
            `torch.Tensor` of shape `(batch_size, output_size)`: Zeros for a row without tokens.
        """
        if hidden_states.shape[1] == 0:
            return hidden_states.new_zeros(hidden_states.shape[0], self.output_size)
        mask = _token_mask(hidden_states, attention_mask)
        if self.pooling == "concat":
            parts = [pool_last(hidden_states, mask, self.bidirectional), pool_max(hidden_states, mask)]
            return torch.cat([*parts, pool_mean(hidden_states, mask)], dim=-1)
        if self.pooling == "last":
            return pool_last(hidden_states, mask, self.bidirectional)
        if self.pooling == "mean":
            return pool_mean(hidden_states, mask)
        if self.pooling == "max":
            return pool_max(hidden_states, mask)
        weights = self.score(hidden_states, mask).softmax(dim=-1)
        return torch.einsum("bl,bls->bs", weights, hidden_states.masked_fill(~mask.unsqueeze(-1), 0))

    def score(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """
        Returns attention's scores.

        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): The sequence.
            mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at tokens.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length)`: The lowest number where there is no token.
        """
        assert self.attention is not None
        scores = self.attention(torch.tanh(hidden_states)).squeeze(-1)
        # The lowest finite number and not -inf: a row without tokens must not give NaN.
        return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


def _token_mask(hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    if attention_mask is None:
        return hidden_states.new_ones(hidden_states.shape[:2], dtype=torch.bool)
    return attention_mask.bool()


def pool_mean(hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """
    Averages the vectors of the tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): The sequence.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

    Returns:
        `torch.Tensor` of shape `(batch_size, size)`: Zeros for a row without tokens.
    """
    mask = _token_mask(hidden_states, attention_mask)
    dtype = wide_dtype(hidden_states.dtype)  # float16 cannot hold the sum over a long text
    total = hidden_states.masked_fill(~mask.unsqueeze(-1), 0).sum(dim=1, dtype=dtype)
    return (total / mask.sum(dim=1, keepdim=True).clamp(min=1)).to(hidden_states.dtype)


def pool_max(hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Takes each feature's maximum over the tokens.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): The sequence; finite numbers
            stand at padding.
        mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at tokens.

    Returns:
        `torch.Tensor` of shape `(batch_size, size)`: Zeros for a row without tokens.
    """
    # Added, for `masked_fill` by a mask of another width takes four times as long.
    bias = hidden_states.new_zeros(mask.shape).masked_fill(~mask, -torch.inf)
    largest = (hidden_states + bias.unsqueeze(-1)).amax(dim=1)
    return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0)


def pool_last(hidden_states: torch.Tensor, mask: torch.Tensor, bidirectional: bool) -> torch.Tensor:
    """
    Takes the forward half at the last token, and the reverse half at the first, where each has read everything.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`): The sequence.
        mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at tokens.
        bidirectional (`bool`): Whether the second half of the features belongs to a reverse direction.

    Returns:
        `torch.Tensor` of shape `(batch_size, size)`: Zeros for a row without tokens.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (positions * mask).amax(dim=1).view(-1, 1)
    pooled = take_positions(hidden_states, last).squeeze(1)
    if bidirectional:
        first = mask.int().argmax(dim=1).view(-1, 1)
        forward_size = hidden_states.shape[-1] // 2
        reverse = take_positions(hidden_states[..., forward_size:], first).squeeze(1)
        pooled = torch.cat([pooled[:, :forward_size], reverse], dim=-1)
    return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0)
