"""Attention of a decoder over an encoder's outputs, copying by it, and how the decoder's states start."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .cache_lstm import EncoderMemory
from .configuration_lstm import LstmSeq2SeqConfig
from .precision_lstm import at_least_float32


class LstmAttention(nn.Module):
    """
    Attends from the decoder's outputs to the source.

    The source's side of it, which no step changes, is computed once by `remember`.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model; `attention_type` is not `"none"`.
    """

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__()
        self.attention_type = config.attention_type
        self.num_heads = config.num_attention_heads if config.attention_type == "multi_head" else 1
        self.dropout = config.attention_dropout
        size, memory_size = config.decoder_hidden_size, config.encoder_hidden_size
        self.context_size = memory_size
        self.query_projection = self.key_projection = self.value_projection = self.score = None
        if config.attention_type in ("luong_general", "bahdanau", "multi_head"):
            self.key_projection = nn.Linear(memory_size, size, bias=False)
        if config.attention_type in ("bahdanau", "multi_head"):
            self.query_projection = nn.Linear(size, size, bias=False)
        if config.attention_type == "bahdanau":
            self.score = nn.Linear(size, 1, bias=False)
        if config.attention_type == "multi_head":
            self.value_projection = nn.Linear(memory_size, size, bias=False)
            self.context_size = size

    def remember(self, encoder_hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> EncoderMemory:
        """
        Computes the source's side of the attention.

        Args:
            encoder_hidden_states (`torch.Tensor` of shape `(batch_size, source_length, encoder_hidden_size)`):
                The encoder's outputs.
            attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*):
                Non-zero at source tokens.
        """
        mask = None if attention_mask is None else attention_mask.bool()
        # A compiled or exported program must hold for any mask.
        if mask is not None and not torch.compiler.is_compiling() and bool(mask.all()):
            mask = None  # so that no step has to apply it
        # masked_fill and not the weights' zeros alone: padding may hold NaN.
        states = encoder_hidden_states if mask is None else encoder_hidden_states.masked_fill(~mask.unsqueeze(-1), 0)
        keys = states if self.key_projection is None else self.key_projection(states)
        values = states if self.value_projection is None else self.value_projection(states)
        return EncoderMemory(encoder_hidden_states, keys, values, mask)

    def forward(self, queries: torch.Tensor, memory: EncoderMemory) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            queries (`torch.Tensor` of shape `(batch_size, target_length, decoder_hidden_size)`):
                The decoder's outputs.
            memory (`EncoderMemory`): What `remember` gave.

        Returns:
            The contexts of shape `(batch_size, target_length, context_size)`, and the weights of shape
            `(batch_size, num_heads, target_length, source_length)`: zeros where a source has no tokens.
        """
        if self.query_projection is not None:
            queries = self.query_projection(queries)
        # Of shape (batch_size, num_heads, target_length, source_length).
        scores = self._score(queries, memory.keys).unflatten(0, (-1, self.num_heads))
        if memory.mask is not None:
            # The lowest finite number and not -inf: a source without tokens must not give NaN.
            hidden = ~memory.mask[:, None, None, :]
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
            weights = scores.softmax(dim=-1).masked_fill(hidden, 0)
        else:
            weights = scores.softmax(dim=-1)
        dropped = F.dropout(weights, self.dropout) if self.training else weights
        contexts = torch.bmm(dropped.flatten(0, 1), self._split_heads(memory.values))
        if self.num_heads > 1:
            contexts = contexts.unflatten(0, (-1, self.num_heads)).transpose(1, 2).flatten(2)
        return contexts, weights

    def _score(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Returns scores of shape `(batch_size * num_heads, target_length, source_length)`."""
        if self.score is not None:
            sums = queries.unsqueeze(2) + keys.unsqueeze(1)  # (batch_size, target_length, source_length, size)
            return self.score(torch.tanh(sums)).squeeze(-1)
        scores = torch.bmm(self._split_heads(queries), self._split_heads(keys).transpose(1, 2))
        is_scaled = self.attention_type == "multi_head"
        return scores / math.sqrt(queries.shape[-1] / self.num_heads) if is_scaled else scores

    def _split_heads(self, states: torch.Tensor) -> torch.Tensor:
        """Turns `(batch_size, length, size)` into `(batch_size * num_heads, length, size / num_heads)`."""
        if self.num_heads == 1:
            return states
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2).flatten(0, 1)

    def extra_repr(self) -> str:
        return f"{self.attention_type!r}, num_heads={self.num_heads}"


class LstmBridge(nn.Module):
    """
    Makes the decoder's initial states from the encoder's last ones.

    Where the depths differ, the top layers meet, and decoder layers below the encoder's first one share its states.
    The learned map of the hidden states is squashed as in https://huggingface.co/papers/1409.0473, appendix A.2.2;
    cell states are not bounded, so theirs is not.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model.
    """

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__()
        self.bridge_type = config.bridge_type
        self.size = config.decoder_hidden_size
        first = config.encoder_layers - config.decoder_layers
        self.sources = [max(0, first + layer) for layer in range(config.decoder_layers)]
        is_linear = config.bridge_type == "linear"
        sizes = (config.encoder_hidden_size, config.decoder_hidden_size)
        self.hidden_maps = nn.ModuleList(nn.Linear(*sizes) for _ in self.sources if is_linear)
        self.cell_maps = nn.ModuleList(nn.Linear(*sizes) for _ in self.sources if is_linear)

    def forward(self, encoder_states: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """
        Args:
            encoder_states (`torch.Tensor` of shape `(batch_size, encoder_layers, 2, encoder_hidden_size)`):
                Hidden and cell state of each layer after the last token, both directions side by side.

        Returns:
            `list[tuple[torch.Tensor, torch.Tensor]]`: Each decoder layer's hidden and cell state of shape
            `(batch_size, 1, decoder_hidden_size)`.
        """
        if self.bridge_type == "zero":
            zeros = encoder_states.new_zeros(encoder_states.shape[0], 1, self.size)
            return [(zeros, zeros) for _ in self.sources]
        states = [encoder_states[:, layer].unsqueeze(2) for layer in self.sources]
        if self.bridge_type == "copy":
            return [(state[:, 0], state[:, 1]) for state in states]
        maps = zip(states, self.hidden_maps, self.cell_maps)
        return [(torch.tanh(to_hidden(state[:, 0])), to_cell(state[:, 1])) for state, to_hidden, to_cell in maps]

    def extra_repr(self) -> str:
        return f"{self.bridge_type!r}, sources={self.sources}"


class LstmCopying(nn.Module):
    """
    Mixes the output layer's distribution with that of copying a source token, which the attention weights give.

    It is the pointer-generator of https://huggingface.co/papers/1704.04368, equation 9, whose gate reads the
    attentional vector. The weights of several heads are averaged.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model.
    """

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__()
        self.gate = nn.Linear(config.decoder_output_size, 1)

    def forward(
        self, hidden_states: torch.Tensor, logits: torch.Tensor, weights: torch.Tensor, token_ids: torch.Tensor
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(..., decoder_output_size)`): What the output layer read.
            logits (`torch.Tensor` of shape `(..., vocab_size)`): What it gave.
            weights (`torch.Tensor` of shape `(..., source_length)`): How much each source token is attended to.
            token_ids (`torch.LongTensor` of shape `(..., source_length)`): The source tokens.

        Returns:
            `torch.Tensor`: The mixture's log-probabilities, of the shape of `logits`; computed in float32 or wider.
        """
        gate = at_least_float32(self.gate(hidden_states))
        written = at_least_float32(logits).softmax(dim=-1) * torch.sigmoid(-gate)
        mixture = written.scatter_add(-1, token_ids, at_least_float32(weights) * torch.sigmoid(gate))
        return mixture.clamp(min=torch.finfo(mixture.dtype).tiny).log().to(logits.dtype)
