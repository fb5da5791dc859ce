"""A slow, obvious encoder–decoder, one row and one token at a time, that sees no padding: the fast one's oracle."""

import math

import torch
from torch.nn import functional as F

from hf_lstm.models.attention_lstm import LstmAttention
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.modeling_lstm_seq2seq import LstmDecoder, LstmForConditionalGeneration
from tests.models.reference_lstm import reference_model

RowStates = list[tuple[torch.Tensor, torch.Tensor]]


def reference_scores(attention: LstmAttention, query: torch.Tensor, memories: list[torch.Tensor]) -> torch.Tensor:
    """Returns each head's score of each source token, of shape `(num_heads, source_length)`."""
    if attention.attention_type == "luong_dot":
        return torch.stack([query @ memory for memory in memories]).unsqueeze(0)
    keys = [attention.key_projection.weight @ memory for memory in memories]
    if attention.attention_type == "luong_general":
        return torch.stack([query @ key for key in keys]).unsqueeze(0)
    query = attention.query_projection.weight @ query
    if attention.attention_type == "bahdanau":
        return torch.stack([attention.score.weight[0] @ torch.tanh(query + key) for key in keys]).unsqueeze(0)
    size = len(query) // attention.num_heads
    heads = [slice(head * size, (head + 1) * size) for head in range(attention.num_heads)]
    return torch.stack([torch.stack([query[head] @ key[head] / math.sqrt(size) for key in keys]) for head in heads])


def reference_attention(
    attention: LstmAttention, query: torch.Tensor, memories: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the context of one query and the weights, of shape `(num_heads, source_length)`, over real tokens."""
    if not memories:
        return query.new_zeros(attention.context_size), query.new_zeros(attention.num_heads, 0)
    weights = torch.exp(reference_scores(attention, query, memories))
    weights = weights / weights.sum(dim=1, keepdim=True)
    values = memories
    if attention.value_projection is not None:
        values = [attention.value_projection.weight @ memory for memory in memories]
    size = len(values[0]) // attention.num_heads
    contexts = []
    for head in range(attention.num_heads):
        parts = [weight * value[head * size : (head + 1) * size] for weight, value in zip(weights[head], values)]
        contexts.append(torch.stack(parts).sum(dim=0))
    return torch.cat(contexts), weights


def reference_layer_step(
    layer: LstmLayer, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Runs one layer on one token of one row."""
    gates = layer.weight_ih_l0 @ inputs + layer.bias_ih_l0 + layer.weight_hh_l0 @ hidden + layer.bias_hh_l0
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4)
    cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    hidden = torch.sigmoid(output_gate) * torch.tanh(cell)
    output = hidden + inputs if layer.residual else hidden
    if layer.layer_norm is not None:
        output = F.layer_norm(output, output.shape, layer.layer_norm.weight, layer.layer_norm.bias)
    return output, hidden, cell


def reference_bridge(decoder: LstmDecoder, encoder_states: RowStates) -> RowStates:
    """Makes one row's decoder states from its encoder states; the top layers meet."""
    depth, states = decoder.config.decoder_layers, []
    for layer in range(depth):
        hidden, cell = encoder_states[max(0, len(encoder_states) - depth + layer)]
        if decoder.config.bridge_type == "zero":
            hidden = cell = hidden.new_zeros(decoder.config.decoder_hidden_size)
        if decoder.config.bridge_type == "linear":
            to_hidden, to_cell = decoder.bridge.hidden_maps[layer], decoder.bridge.cell_maps[layer]
            hidden = torch.tanh(to_hidden.weight @ hidden + to_hidden.bias)
            cell = to_cell.weight @ cell + to_cell.bias
        states.append((hidden, cell))
    return states


def reference_decoder_row(
    decoder: LstmDecoder, embeddings: list[torch.Tensor], states: RowStates, memories: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Runs the decoder on the tokens of one row; returns what the output layer reads, and the attention weights."""
    fed = embeddings[0].new_zeros(decoder.config.decoder_output_size) if embeddings else None
    vectors, all_weights = [], []
    for embedding in embeddings:
        output = torch.cat([embedding, fed]) if decoder.config.input_feeding else embedding
        for index, layer in enumerate(decoder.layers):
            output, *states[index] = reference_layer_step(layer, output, *states[index])
        if decoder.attention is None:
            vector = output if decoder.readout is None else decoder.readout.weight @ output
            all_weights.append(None)
        else:
            context, weights = reference_attention(decoder.attention, output, memories)
            vector = torch.tanh(decoder.readout.weight @ torch.cat([context, output]))
            all_weights.append(weights)
        vectors.append(vector)
        fed = vector
    return vectors, all_weights


def reference_seq2seq(
    model: LstmForConditionalGeneration,
    source_embeds: torch.Tensor,
    source_mask: torch.Tensor,
    target_embeds: torch.Tensor,
    target_mask: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    Runs `model` without dropout.

    Args:
        source_embeds (`torch.Tensor` of shape `(batch_size, source_length, encoder_embedding_size)`): The source.
        source_mask (`torch.BoolTensor` of shape `(batch_size, source_length)`): True at source tokens.
        target_embeds (`torch.Tensor` of shape `(batch_size, target_length, decoder_embedding_size)`): The target.
        target_mask (`torch.BoolTensor` of shape `(batch_size, target_length)`): True at target tokens.

    Returns:
        The logits `(batch_size, target_length, vocab_size)`, and the attention weights
        `(batch_size, num_heads, target_length, source_length)` if there are any; both are zero at padding.
    """
    encoder, decoder = model.model.encoder, model.model.decoder
    directions = 2 if encoder.config.bidirectional else 1
    zeros = source_embeds.new_zeros(len(source_embeds), directions, encoder.config.hidden_size // directions)
    encoded, states = reference_model(encoder, source_embeds, source_mask, [(zeros, zeros)] * len(encoder.layers))
    all_logits, attentions = [], []
    for row in range(len(source_embeds)):
        row_states = [(hidden[row].flatten(), cell[row].flatten()) for hidden, cell in states]
        source_places, target_places = (mask[row].nonzero().flatten().tolist() for mask in (source_mask, target_mask))
        vectors, all_weights = reference_decoder_row(
            decoder,
            [target_embeds[row, place] for place in target_places],
            reference_bridge(decoder, row_states),
            [encoded[row, place] for place in source_places],
        )
        logits = [source_embeds.new_zeros(model.config.vocab_size) for _ in range(target_mask.shape[1])]
        heads = 1 if decoder.attention is None else decoder.attention.num_heads
        attention = source_embeds.new_zeros(heads, *target_mask.shape[1:], *source_mask.shape[1:])
        for place, vector, weights in zip(target_places, vectors, all_weights, strict=True):
            logits[place] = model.lm_head.weight @ vector + model.lm_head.bias
            if weights is not None:
                attention[:, place, source_places] = weights.detach()
        all_logits.append(torch.stack(logits))
        attentions.append(attention)
    return torch.stack(all_logits), None if decoder.attention is None else torch.stack(attentions)
