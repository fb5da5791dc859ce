"""What the figures were measured on."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("hf_lstm", "torch", "transformers", "datasets", "accelerate", "tokenizers", "scikit-learn")


def describe_machine(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Describes the machine, and which releases of the packages are installed."""
    return {
        "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def processor_name() -> str:
    """Returns the processor's model, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
