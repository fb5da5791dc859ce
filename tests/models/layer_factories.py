"""A tiny layer, its arguments, and its kernels with the segments that a test chooses."""

import math

import pytest
import torch

from hf_lstm.models import segments_lstm
from hf_lstm.models.kernels_lstm import segmented_lstm
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.segments_lstm import Segment, cut_segments
from tests.models.factories import MASK, randomize

INPUT_SIZE, SIZE = 5, 3
FRONT_MASK = MASK.sort(dim=1, descending=True).values


def make_layer(bidirectional: bool, **arguments) -> LstmLayer:
    return randomize(LstmLayer(INPUT_SIZE, SIZE * (1 + bidirectional), bidirectional, **arguments)).eval()


def make_kernel_arguments(bidirectional: bool, length: int = MASK.shape[1]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(len(MASK), length, INPUT_SIZE, generator=generator)
    states = [torch.randn(len(MASK), 1 + bidirectional, SIZE, generator=generator) for _ in range(2)]
    return [tensor.requires_grad_() for tensor in (inputs, *states)]


def weigh(*tensors: torch.Tensor) -> torch.Tensor:
    """Sums with different weights, so that every element has a gradient of its own."""
    return sum((tensor.flatten() * torch.linspace(-1, 2, tensor.numel())).sum() for tensor in tensors)


def gradients(value: torch.Tensor, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return torch.autograd.grad(value, tensors)


def assert_same_results(result: tuple, expected: tuple, tensors: list[torch.Tensor]) -> None:
    """Compares outputs, states and the gradients to `tensors` within 1e-5."""
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients(weigh(*result), tensors), gradients(weigh(*expected), tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def segmented(call_cost: float, *arguments, multiple: int = 1) -> tuple:
    """Runs `segmented_lstm` as if a segment cost so much."""

    def cut(
        lengths: tuple[int, ...], cost: float, step_cost: float, given_multiple: int, _: int
    ) -> tuple[Segment, ...]:
        return cut_segments(lengths, call_cost if cost else 0.0, step_cost, min(multiple, given_multiple))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_lstm, "cut_segments", cut)
        return segmented_lstm(*arguments)


def without_padding(*arguments) -> tuple:
    return segmented(0.0, *arguments)


def with_some_padding(*arguments) -> tuple:
    return segmented(5.0, *arguments)


def in_pairs_of_steps(*arguments) -> tuple:
    return segmented(1e-3, *arguments, multiple=2)


def in_one_segment(*arguments) -> tuple:
    return segmented(math.inf, *arguments)
