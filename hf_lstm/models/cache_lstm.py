"""The recurrent state of an LSTM, in the shape of a transformers cache."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.utils.deprecation import deprecate_kwarg

# Transformers called a cache so before 5.24, and what is written for it may still pass one by that name.
takes_past_key_values = deprecate_kwarg("past_key_values", version="5.40.0", new_name="cache")


class LstmCacheLayer(CacheLayerMixin):
    """
    Holds one layer's hidden and cell state, each of shape `(batch_size, num_directions, size)`, and counts the tokens
    that led to them.

    Args:
        dtype (`torch.dtype`, *optional*):
            Type in which the states are kept, whatever autocast computes in; that of the first state when `None`.
    """

    is_croppable = True
    record_past = False

    def __init__(self, dtype: torch.dtype | None = None):
        super().__init__()
        self.dtype = dtype
        self.hidden_state: torch.Tensor | None = None
        self.cell_state: torch.Tensor | None = None
        self.cumulative_length = 0
        # The states before each of the last tokens; `None` where there was none yet.
        self._past: list[tuple[torch.Tensor, torch.Tensor] | None] = []

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype = self.dtype or key_states.dtype
        self.device = key_states.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Replaces the state by that after further tokens.

        Args:
            key_states (`torch.Tensor` of shape `(num_states, batch_size, num_directions, size)`):
                The hidden states: after each of the new tokens, or only the one after the last of them.
            value_states (`torch.Tensor` of shape `(num_states, batch_size, num_directions, size)`):
                The cell states.
            num_new_tokens (`int`, first of `args`):
                How many tokens led from the old state to the new one.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        hidden_states, cell_states = key_states.to(self.dtype), value_states.to(self.dtype)
        (num_new_tokens,) = args
        if self.record_past and num_new_tokens:
            self._past.append(None if self.hidden_state is None else self.states())
            self._past += zip(hidden_states[:-1], cell_states[:-1])
        self.hidden_state, self.cell_state = hidden_states[-1], cell_states[-1]
        self.cumulative_length += num_new_tokens
        return self.hidden_state, self.cell_state

    def states(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the hidden and the cell state after at least one token."""
        assert self.hidden_state is not None
        assert self.cell_state is not None
        return self.hidden_state, self.cell_state

    def step(self, hidden_state: torch.Tensor, cell_state: torch.Tensor) -> None:
        """Replaces the state by that after one further token; the past is not recorded."""
        self.hidden_state, self.cell_state = hidden_state.to(self.dtype), cell_state.to(self.dtype)
        self.cumulative_length += 1

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def get_max_length(self) -> int:
        return -1

    @property
    def batch_size(self) -> int:
        """Number of sequences whose state is held, -1 before the first."""
        return -1 if self.hidden_state is None else self.hidden_state.shape[0]

    def activate_past_recording(self) -> None:
        """Keeps the state after every further token, so that `crop` can go back to it."""
        self.record_past = True

    def crop(self, tokens_to_remove: int) -> None:
        """
        Goes back by `-tokens_to_remove` tokens and forgets the states that were kept for it.

        Raises:
            ValueError: If `tokens_to_remove` is positive, or further back than the states were recorded.
        """
        if tokens_to_remove > 0:
            raise ValueError(f"`tokens_to_remove` is {tokens_to_remove}, but must be 0 or negative.")
        if -tokens_to_remove > len(self._past):
            raise ValueError(
                f"Cannot go back by {-tokens_to_remove} tokens: the states of the last {len(self._past)} were kept. "
                "Call `activate_past_recording()` before these tokens."
            )
        if tokens_to_remove:
            self.hidden_state, self.cell_state = self._past[tokens_to_remove] or (None, None)
            self.cumulative_length += tokens_to_remove
        self._past = []

    def reset(self) -> None:
        self.hidden_state = self.cell_state = None
        self.cumulative_length = 0
        self._past = []

    def _apply(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Replaces every state held by `change(state)`."""
        if self.hidden_state is not None and self.cell_state is not None:
            self.hidden_state, self.cell_state = change(self.hidden_state), change(self.cell_state)
            self._past = [states and (change(states[0]), change(states[1])) for states in self._past]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self._apply(lambda state: state.index_select(0, beam_idx.to(state.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each sequence's state `repeats` times."""
        self._apply(lambda state: state.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the states of the sequences in `indices` only."""
        self._apply(lambda state: state[indices.to(state.device)])

    def detach_(self) -> None:
        """Cuts the states from the graph that computed them."""
        self._apply(torch.Tensor.detach)

    def offload(self) -> None:
        self._apply(lambda state: state.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        self._apply(lambda state: state.to(self.device, non_blocking=True))


class EncoderMemory(NamedTuple):
    """
    What a decoder's attention has computed from the encoder's outputs, once for all steps.

    Attributes:
        source (`torch.Tensor` of shape `(batch_size, source_length, encoder_hidden_size)`): The encoder's outputs.
        keys (`torch.Tensor` of shape `(batch_size, source_length, size)`): What queries are compared with.
        values (`torch.Tensor` of shape `(batch_size, source_length, context_size)`): What is looked up.
        mask (`torch.BoolTensor` of shape `(batch_size, source_length)`, *optional*): True at source tokens.
        token_ids (`torch.LongTensor` of shape `(batch_size, source_length)`, *optional*): The source tokens.
    """

    source: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor | None = None
    token_ids: torch.Tensor | None = None

    def number_sources(self) -> torch.Tensor:
        """
        Numbers the sequences so that neighbours with the same source, such as beams, have the same number.

        Returns:
            `torch.LongTensor` of shape `(batch_size,)`: The numbers, from 0 on.
        """
        parts = [part.flatten(1) for part in (self.source, self.mask, self.token_ids) if part is not None]
        differs = torch.stack([(part[1:] != part[:-1]).any(dim=1) for part in parts]).any(dim=0)
        return F.pad(differs.long().cumsum(dim=0), (1, 0))

    def apply(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "EncoderMemory":
        """Returns the memory with every tensor replaced by `change(tensor)`; what is shared stays shared."""
        source = change(self.source)
        keys = source if self.keys is self.source else change(self.keys)
        values = source if self.values is self.source else change(self.values)
        mask, token_ids = (None if tensor is None else change(tensor) for tensor in (self.mask, self.token_ids))
        return EncoderMemory(source, keys, values, mask, token_ids)


class LstmCache(Cache):
    """
    Holds the recurrent state of all layers, so that `generate` can carry, repeat and reorder it.

    That of an encoder–decoder is of the decoder. `memory` holds what it looks up of the source, and with input feeding
    a further layer's hidden state is the last attentional vector.

    Args:
        num_hidden_layers (`int`):
            Number of LSTM layers.
        dtype (`torch.dtype`, *optional*):
            Type in which the states are kept; that of the first state when `None`.

    Example:

    ```python
    >>> first = model(input_ids[:, :20])
    >>> second = model(input_ids[:, 20:], cache=first.cache)
    ```
    """

    layers: list[LstmCacheLayer]

    def __init__(self, num_hidden_layers: int, dtype: torch.dtype | None = None):
        super().__init__(layers=[LstmCacheLayer(dtype) for _ in range(num_hidden_layers)])
        self.memory: EncoderMemory | None = None
        self._sources: torch.Tensor | None = None  # of which number each sequence's is, once it is asked for

    def _change_memory(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if self.memory is not None:
            self.memory = self.memory.apply(change)
        self._sources = None

    def reset(self) -> None:
        super().reset()
        self.memory = self._sources = None

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        super().reorder_cache(beam_idx)
        if self.memory is None:
            return
        if self._sources is None:
            self._sources = self.memory.number_sources()
        sources = self._sources.index_select(0, beam_idx.to(self._sources.device))
        # Beams change places among those of their source, whose memory is large.
        if not torch.equal(sources, self._sources):
            self._change_memory(lambda tensor: tensor.index_select(0, beam_idx.to(tensor.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self._change_memory(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._change_memory(lambda tensor: tensor[indices.to(tensor.device)])

    def detach_(self) -> "LstmCache":
        """Cuts the states from the graph that computed them, as truncated back-propagation through time needs."""
        for layer in self.layers:
            layer.detach_()
        self._change_memory(torch.Tensor.detach)
        return self

    @classmethod
    def from_torch(cls, states: tuple[torch.Tensor, torch.Tensor], bidirectional: bool = False) -> "LstmCache":
        """
        Builds a cache from the states of `torch.nn.LSTM`.

        Args:
            states (`tuple` of two `torch.Tensor` of shape `(num_layers * num_directions, batch_size, size)`):
                Hidden and cell states.
            bidirectional (`bool`, defaults to `False`):
                Whether each layer has two states.

        Raises:
            ValueError: If the states are not of such shapes.
        """
        num_directions = 2 if bidirectional else 1
        if states[0].shape != states[1].shape or states[0].dim() != 3 or len(states[0]) % num_directions:
            raise ValueError(
                f"`states` are of shapes {tuple(states[0].shape)} and {tuple(states[1].shape)}, but must both be "
                f"(num_layers * {num_directions}, batch_size, size)."
            )
        hidden, cell = (state.unflatten(0, (-1, num_directions)).transpose(1, 2) for state in states)
        cache = cls(len(hidden))
        for index in range(len(hidden)):
            cache.update(hidden[index : index + 1], cell[index : index + 1], index, 0)
        return cache

    def to_torch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Returns the states as `torch.nn.LSTM` takes them: hidden and cell, each of shape
        `(num_layers * num_directions, batch_size, size)`.

        Raises:
            ValueError: If the cache is empty, or the layers differ in width.
        """
        states = [(layer.hidden_state, layer.cell_state) for layer in self.layers]
        widths = [None if hidden is None else hidden.shape[-1] for hidden, _ in states]
        if None in widths or len(set(widths)) != 1:
            raise ValueError(f"The layers' states are {widths} wide, but `nn.LSTM` needs states of one width.")
        hidden, cell = (torch.cat([state.transpose(0, 1) for state in side]) for side in zip(*states))
        return hidden, cell
