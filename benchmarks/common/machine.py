"""What the figures were measured on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from hf_lstm.hub.latency import processor_name

PACKAGES = ("hf_lstm", "torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn")


def describe_machine(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Describes the machine, the instructions that torch takes, and which releases of the packages are installed."""
    return {
        "processor": f"{processor_name()} ({', '.join([*_generation(), torch.backends.cpu.get_cpu_capability()])})",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def _generation() -> list[str]:
    """Returns the processor's family and model, where Linux tells them: virtual machines may hide them in its name."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return []
    first, _, _ = information.read_text(encoding="utf-8").partition("\n\n")
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return [
        f"{name} {fields[field]}" for name, field in (("family", "cpu family"), ("model", "model")) if field in fields
    ]
