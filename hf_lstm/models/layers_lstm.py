"""The LSTM layer, the output layer, locked dropout, and whether modules may be replaced by calls of their parts."""

from typing import Any, Self, cast

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import output_capturing

from .kernels_lstm import KernelResult, run_lstm, step_lstm
from .padding_lstm import Padding, from_front, to_front
from .prepacking_lstm import (
    LstmParameters,
    Prepacking,
    is_made_for_bfloat16,
    is_prepackable_step,
    reads_columns,
)
from .quantization_lstm import Int8Weight


def are_plain(*kinds: tuple[nn.Module, type[nn.Module]]) -> bool:
    """
    Tells whether modules may be replaced by calls of their parts: nobody has derived, hooked, wrapped or compiled one.

    Args:
        kinds (`tuple` of a `nn.Module` and a class): Each module with the class that it must be of exactly.
    """
    return not _has_any_global_hook() and all(_is_plain(module, kind) for module, kind in kinds)


def are_plain_for_steps(stack: Any, *kinds: tuple[nn.Module, type[nn.Module]]) -> bool:
    """
    Tells whether bare steps may replace `forward`: nothing is in training, hooked or wrapped.

    Args:
        stack (`nn.Module`): Holds the layers, which are called by their parts, and the dropouts, which are not called.
        kinds (`tuple` of a `nn.Module` and a class): The modules around them, as for `are_plain`.
    """
    parts: list[tuple[nn.Module, type[nn.Module]]] = list(kinds)
    parts += [(module, LockedDropout) for module in (stack.input_dropout, stack.hidden_dropout, stack.output_dropout)]
    for layer in stack.layers:
        norm = getattr(layer, "layer_norm", None)  # which steps give other shapes
        parts += [(layer, LstmLayer)] + ([] if norm is None else [(norm, nn.LayerNorm)])
    return are_plain(*parts) and not any(module.training for module, _ in parts)


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    hooks = module._forward_hooks.values()
    changes = (
        # Those that transformers collects hidden states with stay for ever, but do nothing unless it asks for some.
        any(getattr(hook, "__module__", None) != output_capturing.__name__ for hook in hooks),
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
        hasattr(module, "_hf_hook"),
        "forward" in vars(module),
        module._compiled_call_impl,
    )
    return type(module) is kind and not any(changes)


class LockedDropout(nn.Module):
    """
    Drops the same features at all positions of a sequence (https://huggingface.co/papers/1512.05287, section 4).

    Args:
        probability (`float`): Probability that a feature is dropped from a sequence.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def draw_mask(self, like: torch.Tensor, size: int) -> torch.Tensor | float:
        """Draws the factors of a batch like `like`, of shape `(batch_size, 1, size)`; 1.0 where nothing is dropped."""
        if not self.training or self.probability == 0:
            return 1.0
        return F.dropout(like.new_ones(like.shape[0], 1, size), self.probability)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`hidden_states` are of shape `(batch_size, sequence_length, size)`."""
        if not self.training or self.probability == 0:
            return hidden_states
        return hidden_states * self.draw_mask(hidden_states, hidden_states.shape[2])

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


class _PrepackingModule(nn.Module):
    """Frees prepacked weights once they are no longer used."""

    prepacking: Prepacking

    def train(self, mode: bool = True) -> Self:
        if mode:
            self.prepacking.clear()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self.prepacking.clear()
        return super()._apply(*args, **kwargs)

    def find_prepacking(self) -> Prepacking | None:
        """Returns what calls outside of training keep; nothing where weights are kept elsewhere to save memory."""
        return None if self.training or hasattr(self, "_hf_hook") else self.prepacking


class LstmLayer(_PrepackingModule, GradientCheckpointingLayer):
    """
    One LSTM layer, in one direction or both, whose parameters are named, shaped and ordered as those of `nn.LSTM`.

    Args:
        input_size (`int`): Width of the input.
        output_size (`int`): Width of the output; half of it for each direction when bidirectional.
        bidirectional (`bool`, defaults to `False`): Whether to read the sequence in both directions.
        weight_dropout (`float`, defaults to 0.0): DropConnect on `weight_hh`, one mask for all steps.
        residual (`bool`, defaults to `False`): Whether to add the input to the output, where they are equally wide.
        layer_norm_eps (`float`, *optional*): Normalises the output when given.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        bidirectional: bool = False,
        weight_dropout: float = 0.0,
        residual: bool = False,
        layer_norm_eps: float | None = None,
    ):
        super().__init__()
        self.input_size = input_size
        self.size = output_size // 2 if bidirectional else output_size
        self.weight_dropout = weight_dropout
        self.residual = residual and input_size == output_size
        self.suffixes = ("_l0", "_l0_reverse") if bidirectional else ("_l0",)
        for suffix in self.suffixes:
            setattr(self, f"weight_ih{suffix}", nn.Parameter(torch.empty(4 * self.size, input_size)))
            setattr(self, f"weight_hh{suffix}", nn.Parameter(torch.empty(4 * self.size, self.size)))
            setattr(self, f"bias_ih{suffix}", nn.Parameter(torch.empty(4 * self.size)))
            setattr(self, f"bias_hh{suffix}", nn.Parameter(torch.empty(4 * self.size)))
        self.layer_norm = None if layer_norm_eps is None else nn.LayerNorm(output_size, eps=layer_norm_eps)
        self.int8_weight: Int8Weight | None = None  # both matrices of a step, once they are in int8
        self.is_rounded = False  # whether sequences are read in another precision than they come in
        self.prepacking = Prepacking()

    def parameter_list(self) -> LstmParameters:
        """
        Returns the parameters in the order `torch.lstm` takes them, with dropout on the hidden-to-hidden weights.

        They are read by attribute at each call, so that hooks and wrappers which replace them are respected.
        """
        parameters = []
        for suffix in self.suffixes:
            weight_hh = F.dropout(getattr(self, f"weight_hh{suffix}"), self.weight_dropout, self.training)
            parameters += [getattr(self, f"weight_ih{suffix}"), weight_hh]
            parameters += [getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")]
        return parameters

    def weights_per_direction(self) -> int:
        """Returns how many numbers the two matrices of a direction hold."""
        return 4 * self.size * (self.input_size + self.size)

    def quantize_weights(self) -> None:
        """
        Rounds the weights to int8, or to bfloat16.

        Steps are multiplied in int8 from then on. Whole sequences go on to be read by torch's LSTM, which knows no
        int8 but keeps the weights at hand; they are rounded for it too, so that both ways see the same ones. A layer
        that reads in both directions does no steps: it is rounded to bfloat16, where the processor is made for that.
        """
        self.prepacking = Prepacking(are_fixed=True)
        if len(self.suffixes) == 2 and is_made_for_bfloat16():
            self.is_rounded = True
            for parameter in self.parameter_list():
                parameter.data = parameter.data.to(torch.bfloat16)
            return
        for suffix in self.suffixes:
            weights = [getattr(self, f"weight_ih{suffix}"), getattr(self, f"weight_hh{suffix}")]
            bias = getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}")
            int8_weight = Int8Weight(torch.cat(weights, dim=1), bias)
            parts = int8_weight.rounded().split([self.input_size, self.size], dim=1)
            for weight, rounded in zip(weights, parts):
                weight.copy_(rounded)
            if len(self.suffixes) == 1:
                self.int8_weight = int8_weight

    def forward(
        self,
        hidden_states: torch.Tensor,
        padding: Padding | None = None,
        hidden: torch.Tensor | None = None,
        cell: torch.Tensor | None = None,
        every_step: bool = False,
        direction: int | None = None,
    ) -> KernelResult:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, input_size)`): The input.
            padding (`Padding`, *optional*): Which positions are tokens; all when `None`.
            hidden (`torch.Tensor` of shape `(batch_size, num_directions, size)`, *optional*):
                Initial hidden state, zeros when `None`.
            cell (`torch.Tensor` of shape `(batch_size, num_directions, size)`, *optional*):
                Initial cell state, given where the hidden state is.
            every_step (`bool`, defaults to `False`): Whether to return the states after each token, not the last only.
            direction (`int`, *optional*):
                Runs that direction of a bidirectional layer alone, 0 or 1, over the positions in the order given, from
                its own states. The output is that half, before layer norm, which needs both.

        Returns:
            The output of shape `(batch_size, sequence_length, output_size)`, and the new hidden and cell states, each
            of shape `(num_states, batch_size, num_directions, size)`.
        """
        if every_step and padding is not None:
            # The states are wanted position by position, so the tokens stay in place: stepping minds no gaps.
            padding = Padding(padding.original_mask, padding.lengths, None, None, padding.original_mask)
        inputs = to_front(hidden_states, padding)
        parameters, prepacking = self.parameter_list(), self.find_prepacking()
        if direction is not None:
            prepacking = None
            parameters = parameters[4 * direction : 4 * direction + 4]
            hidden_states = hidden_states[..., direction * self.size : (direction + 1) * self.size]  # for the residual
        if self.is_rounded:
            inputs = inputs.to(parameters[0].dtype)
        output, hidden, cell = run_lstm(
            inputs, padding, hidden, cell, parameters, self.training, every_step, prepacking
        )
        output = from_front(output, padding)
        if self.is_rounded:
            output = output.to(hidden_states.dtype)
        if self.residual:
            # Padding may hold NaN, which must not get into the gradients.
            is_pad = None if padding is None else ~padding.original_mask.unsqueeze(-1)
            output = output + (hidden_states if is_pad is None else hidden_states.masked_fill(is_pad, 0))
        if self.layer_norm is not None and direction is None:
            output = self.layer_norm(output)
        return output, hidden, cell

    def step(
        self, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Does what `forward` does with a single token, forwards.

        Args:
            inputs (`torch.Tensor` of shape `(batch_size, input_size)`): The input.
            hidden (`torch.Tensor` of shape `(batch_size, 1, size)`): The hidden state before.
            cell (`torch.Tensor` of shape `(batch_size, 1, size)`): The cell state before.

        Returns:
            The output of shape `(batch_size, size)`, and the new hidden and cell state.
        """
        if self.int8_weight is not None:
            output, cell = self.int8_weight.lstm_cell(inputs, hidden[:, 0], cell[:, 0])
        else:
            output, cell = step_lstm(inputs, hidden[:, 0], cell[:, 0], self.parameter_list(), self.find_prepacking())
        hidden, cell = output.unsqueeze(1), cell.unsqueeze(1)
        if self.residual:
            output = output + inputs
        if self.layer_norm is not None:
            output = self.layer_norm(output)
        return output, hidden, cell

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.size}, bidirectional={len(self.suffixes) == 2}, residual={self.residual}"


class OutputLayer(_PrepackingModule, nn.Linear):
    """
    Scores the tokens of a vocabulary, with weights that are kept prepacked while they are fixed and that is faster.

    Args:
        input_size (`int`): Width of the features.
        vocab_size (`int`): Number of tokens.
    """

    def __init__(self, input_size: int, vocab_size: int):
        super().__init__(input_size, vocab_size)
        self.prepacking = Prepacking()

    @classmethod
    def from_linear(cls, layer: nn.Linear, training: bool) -> nn.Linear:
        """
        Turns a linear layer into an output layer with its parameters and hooks.

        Args:
            layer (`nn.Linear`): The layer, as transformers makes a new one to resize a model. One of a class of
                somebody's own stays as it is.
            training (`bool`): Whether the model is in training, which a new layer does not know.
        """
        if type(layer) is nn.Linear:
            layer.__class__ = cls
            cast(OutputLayer, layer).prepacking = Prepacking()
            layer.train(training)
        return layer

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`hidden_states` are of shape `(batch_size, ..., input_size)`."""
        prepacking, bias = self.find_prepacking(), self.bias
        if prepacking is None or bias is None or not is_prepackable_step(hidden_states, [self.weight, bias]):
            return super().forward(hidden_states)
        if reads_columns(hidden_states):
            return F.linear(hidden_states, prepacking.by_columns([self.weight])[0], bias)
        # Contiguous, for oneDNN is not told of strides.
        return torch.ops.mkldnn._linear_pointwise(
            hidden_states, prepacking.of_linear(self.weight), bias.contiguous(), "none", [], ""
        )
