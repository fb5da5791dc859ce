"""The fastest matrix product of the machine, which shares of the peak refer to."""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.mkldnn import to_mkldnn

from benchmarks.speed.settings import with_precision

LARGEST_ERROR = 1e-5  # relative; a product with larger ones was not computed in fp32

Product = Callable[[torch.Tensor], torch.Tensor]


@torch.inference_mode()
def find_products(size: int) -> dict[str, Product]:
    """
    Returns each way that PyTorch has on the CPU to multiply by a matrix in fp32: those that are exact to it.

    Args:
        size (`int`): Rows and columns of the matrix.

    Returns:
        `dict[str, Product]`: By what runs, a function of a tensor of shape `(num_rows, size)`.
    """
    linear = nn.Linear(size, size, bias=False)
    inputs = torch.randn(size, size)
    exact = inputs.double() @ linear.weight.double().T
    ways: dict[str, Product] = {
        "nn.Linear, highest": with_precision("highest", linear),
        "nn.Linear, medium": with_precision("medium", linear),
        "oneDNN": with_precision("highest", to_mkldnn(nn.Linear(size, size, bias=False).eval())),
    }
    found = {}
    for name, product in ways.items():
        error = 0.0
        if name.startswith("nn.Linear"):
            error = float((product(inputs) - exact).abs().max() / exact.abs().max())
        if error <= LARGEST_ERROR:
            found[name] = product
    return found


@torch.inference_mode()
def measure_gemm(size: int, repeats: int) -> dict[str, float]:
    """
    Measures fp32 matrix products of `size` x `size` in each way that PyTorch has on the CPU.

    Args:
        size (`int`): Rows and columns.
        repeats (`int`): How often each is measured; the fastest counts.

    Returns:
        `dict[str, float]`: Floating-point operations in a second, by what ran; only what is exact to fp32.
    """
    inputs, found = torch.randn(size, size), {}
    for name, product in find_products(size).items():
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            product(inputs)
            times.append(time.perf_counter() - start)
        found[name] = 2 * size**3 / min(times[1:])
    return found


@torch.inference_mode()
def multiply(product: Product, inputs: torch.Tensor, flops: float) -> None:
    """
    Does as many floating-point operations as are wanted, to a row.

    Args:
        product (`Product`): What multiplies by a matrix.
        inputs (`torch.Tensor` of shape `(num_rows, size)`): The rows of a product; the last one takes those it needs.
        flops (`float`): Floating-point operations.
    """
    num_rows, size = inputs.shape
    left = round(flops / (2 * size**2))
    while left > 0:
        product(inputs[:left])
        left -= num_rows
