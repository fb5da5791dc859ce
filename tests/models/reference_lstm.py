"""A slow, obvious LSTM, one row and one token at a time: what every fast path is compared with."""

import torch
from torch.nn import functional as F

from hf_lstm.models.modeling_lstm import LstmModel


def reference_direction(
    inputs: torch.Tensor,
    mask: torch.Tensor,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    weights: list[torch.Tensor],
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Reads each row in one direction, past its padding as if it were not there.

    Args:
        inputs (`torch.Tensor` of shape `(batch_size, sequence_length, input_size)`): The input.
        mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True at tokens.
        hidden (`torch.Tensor` of shape `(batch_size, size)`): Initial hidden state.
        cell (`torch.Tensor` of shape `(batch_size, size)`): Initial cell state.
        weights (`list` of `torch.Tensor`): weight_ih, weight_hh, bias_ih and bias_hh, gates in the order i, f, g, o.
        reverse (`bool`): Whether to read from the end.

    Returns:
        The output `(batch_size, sequence_length, size)`, zero at padding, and both states after the last token.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    outputs, last_hidden, last_cell = [], [], []
    for row in range(inputs.shape[0]):
        row_hidden, row_cell = hidden[row], cell[row]
        row_outputs = [torch.zeros_like(row_hidden) for _ in range(inputs.shape[1])]
        positions = list(range(inputs.shape[1]))
        for position in positions[::-1] if reverse else positions:
            if not mask[row, position]:
                continue
            gates = weight_ih @ inputs[row, position] + bias_ih + weight_hh @ row_hidden + bias_hh
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4)
            row_cell = torch.sigmoid(forget_gate) * row_cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
            row_hidden = torch.sigmoid(output_gate) * torch.tanh(row_cell)
            row_outputs[position] = row_hidden
        outputs.append(torch.stack(row_outputs))
        last_hidden.append(row_hidden)
        last_cell.append(row_cell)
    return torch.stack(outputs), torch.stack(last_hidden), torch.stack(last_cell)


def reference_layer(
    inputs: torch.Tensor,
    mask: torch.Tensor,
    hidden: torch.Tensor,
    cell: torch.Tensor,
    parameters: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Runs a layer of one or two directions; the states are of shape `(batch_size, num_directions, size)`."""
    results = [
        reference_direction(
            inputs,
            mask,
            hidden[:, direction],
            cell[:, direction],
            parameters[4 * direction : 4 * direction + 4],
            reverse=direction == 1,
        )
        for direction in range(len(parameters) // 4)
    ]
    outputs, hiddens, cells = zip(*results, strict=True)
    return torch.cat(outputs, dim=-1), torch.stack(hiddens, dim=1), torch.stack(cells, dim=1)


def reference_model(
    model: LstmModel,
    inputs_embeds: torch.Tensor,
    mask: torch.Tensor,
    states: list[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """
    Runs all layers of `model`, without dropout, with residual connections and layer norm where the configuration asks.

    Returns:
        The output of shape `(batch_size, sequence_length, last_hidden_size)` and each layer's states.
    """
    hidden_states, new_states = inputs_embeds, []
    for layer, (hidden, cell) in zip(model.layers, states, strict=True):
        suffixes = ["_l0", "_l0_reverse"] if model.config.bidirectional else ["_l0"]
        names = [f"{kind}{suffix}" for suffix in suffixes for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        parameters = [getattr(layer, name) for name in names]
        output, hidden, cell = reference_layer(hidden_states, mask, hidden, cell, parameters)
        if model.config.residual_connections and output.shape == hidden_states.shape:
            output = output + hidden_states
        if model.config.layer_norm:
            norm = layer.layer_norm
            output = F.layer_norm(output, output.shape[-1:], norm.weight, norm.bias, model.config.layer_norm_eps)
        hidden_states = output
        new_states.append((hidden, cell))
    return hidden_states, new_states
