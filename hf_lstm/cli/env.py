"""`hf-lstm env`: says which versions and devices there are, as a report of a problem should."""

import argparse
import json
import os
import platform
from typing import Any

from .parser import SWITCH, CommandParser, add_command

PACKAGES = (
    "hf_lstm",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "sacrebleu",
    "rouge-score",
    "babel",
)
_EXAMPLES = """\
  hf-lstm env
  hf-lstm env --json > environment.json"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "env",
        run,
        "Show versions, threads and devices.",
        "Shows what a report of a problem should say: versions, processor threads and devices.",
        _EXAMPLES,
    )
    parser.add_argument("--json", **SWITCH, help="Whether to write JSON.")


def run(arguments: argparse.Namespace) -> None:
    """Prints the environment."""
    facts = describe_environment()
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return
    lines = {**facts, "packages": "", **{f"  {name}": version for name, version in facts["packages"].items()}}
    lines["devices"] = ", ".join(facts["devices"])
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {'not installed' if value is None else value}".rstrip())


def describe_environment() -> dict[str, Any]:
    """
    Describes what the package runs on.

    Returns:
        `dict[str, Any]`: Python, platform, torch's threads, devices, and `packages` with a version for each, `None`
        for one that is not installed.
    """
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "torch_interop_threads": torch.get_num_interop_threads(),
        "processor_kernels": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available(),
        "cuda": torch.version.cuda or "none",
        "devices": _list_devices(),
        "hub_offline": os.environ.get("HF_HUB_OFFLINE", "0"),
        "packages": {name: _find_version(name) for name in PACKAGES},
    }


def _find_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _list_devices() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ["cpu"]
    names = [f"{accelerator.type}:{number}" for number in range(torch.accelerator.device_count())]
    if accelerator.type == "cuda":
        names = [f"{name} ({torch.cuda.get_device_name(name)})" for name in names]
    return ["cpu", *names]
