"""What the figures were measured on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import psutil
import torch

from hf_lstm.hub.latency import processor_name

PACKAGES = ("hf_lstm", "torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn")


def describe_machine(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Describes the machine, the instructions that torch takes, and which releases of the packages are installed."""
    return {
        "processor": f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }
