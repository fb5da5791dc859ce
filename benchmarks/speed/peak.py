"""The fastest matrix product of the machine, which shares of the peak refer to."""

import time

import torch
from torch import nn
from torch.utils.mkldnn import to_mkldnn

from benchmarks.speed.settings import matmul_precision

LARGEST_ERROR = 1e-5  # relative; a product with larger ones was not computed in fp32


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
    linear = nn.Linear(size, size, bias=False)
    inputs = torch.randn(size, size)
    exact = inputs.double() @ linear.weight.double().T
    ways = {
        "nn.Linear, highest": ("highest", linear),
        "nn.Linear, medium": ("medium", linear),
        "oneDNN": ("highest", to_mkldnn(nn.Linear(size, size, bias=False).eval())),
    }
    found = {}
    for name, (precision, module) in ways.items():
        with matmul_precision(precision):
            if name.startswith("nn.Linear"):
                error = float((module(inputs) - exact).abs().max() / exact.abs().max())
                if error > LARGEST_ERROR:
                    continue
            times = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                module(inputs)
                times.append(time.perf_counter() - start)
        found[name] = 2 * size**3 / min(times[1:])
    return found
