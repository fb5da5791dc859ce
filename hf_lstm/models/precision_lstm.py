"""What is computed in wider numbers than those it is given: long sums, probabilities and losses."""

import torch


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Returns float32, or the type itself where that is wider."""
    return torch.promote_types(dtype, torch.float32)


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Returns the values in float32, or as they are where they are wider."""
    return values.to(wide_dtype(values.dtype))
