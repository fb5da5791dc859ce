"""What is compared: cases hold sections, and a section holds the variants that do the same work."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_lstm.models.prepacking_lstm import has_onednn_kernel

CASES = ("encoder", "documents", "generation", "seq2seq_training", "overhead", "cost", "cuda")
INSTALL = "pip install 'hf_lstm[bench]'"


@dataclass(frozen=True)
class Setup:
    """
    What all cases of a run have in common.

    Args:
        threads (`int`): Threads, and processors that the run is pinned to.
        rounds (`int`): How often each variant is measured.
        seeds (`tuple[int, ...]`): Seeds of the lengths and texts, one after the other.
        quick (`bool`): Whether sizes are tiny: a check that everything runs, whose figures mean nothing.
        data (`Path`): Folder of the data that the other benchmarks have prepared.
        scratch (`Path`): Folder for converted models.
        classifier (`Path`, *optional*): The trained classifier; random weights of the same shape when `None`.
        translator (`Path`, *optional*): The trained translator; random weights of the same shape when `None`.
    """

    threads: int
    rounds: int
    seeds: tuple[int, ...]
    quick: bool
    data: Path
    scratch: Path
    classifier: Path | None = None
    translator: Path | None = None


@dataclass
class Runner:
    """
    A variant that is ready to run.

    Args:
        run (`Callable[[int], Any]`): Does the work of a seed.
        parameters (`int`, *optional*): Number of trained numbers in the model.
        outputs (`Callable[[int], Mapping[str, np.ndarray]]`, *optional*):
            Gives what the work of a seed results in, to be compared with the reference.
        settings (`str`, *optional*): The settings that were found to be the fastest.
        warm_up (`Callable[[], Any]`, *optional*): Does a little work of the kind, before memory is measured.
        describe (`str`): What else the report must say about the model.
    """

    run: Callable[[int], Any]
    parameters: int | None = None
    outputs: Callable[[int], Mapping[str, np.ndarray]] | None = None
    settings: str | None = None
    warm_up: Callable[[], Any] | None = None
    describe: str = ""


@dataclass(frozen=True)
class Variant:
    """
    One way of doing a section's work.

    Args:
        name (`str`): What it is called; unique in its section.
        make (`Callable[[], Runner]`): Builds it, in the process that measures it.
        settings (`str`): How it is set up.
        precision (`str`): Type of the numbers it computes with.
        process (`str`): Variants of one name share a process.
        packages (`tuple[str, ...]`): Modules that must be there.
        reference (`str`, *optional*): The variant of the section that its outputs must equal.
        tolerance (`float`): Largest relative difference from it; of tokens, the share that may differ.
        remark (`str`): What stands in the place of a difference where there is no reference.
        on_gpu (`bool`): Whether it runs on a GPU.
    """

    name: str
    make: Callable[[], Runner]
    settings: str = "default"
    precision: str = "fp32"
    process: str = "torch"
    packages: tuple[str, ...] = ()
    reference: str | None = None
    tolerance: float = 1e-4
    remark: str = ""
    on_gpu: bool = False

    def missing(self) -> str | None:
        """Returns why this cannot be measured here, such as a package that is missing; `None` where it can."""
        if self.precision == "bf16" and not self.on_gpu and not has_onednn_kernel(torch.bfloat16):
            return "the processor has no instructions for bfloat16"
        absent = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed: {INSTALL}" if absent else None


@dataclass(frozen=True)
class Section:
    """
    Variants that do the same work.

    Args:
        name (`str`): What it is called; unique in its case.
        unit (`str`): What the work is counted in, such as real tokens.
        work (`Callable[[int], float]`): How many units the work of a seed has.
        variants (`Sequence[Variant]`): The variants. The ratio of each row is that of the first one to it.
        flops_per_unit (`float`, *optional*): Floating-point operations of a unit in matrix products.
        curve (`str`, *optional*): What is varied, where the section is one point of a curve.
        point (`float`, *optional*): Where on that curve the section is.
        memory (`bool`): Whether to measure memory as well, in processes of their own.
        most_rounds (`int`, *optional*): Rounds at most, where one takes long.
        note (`str`): What a reader must know.
    """

    name: str
    unit: str
    work: Callable[[int], float]
    variants: Sequence[Variant]
    flops_per_unit: float | None = None
    curve: str | None = None
    point: float | None = None
    memory: bool = False
    most_rounds: int | None = None
    note: str = ""


def load_sections(case: str, setup: Setup) -> list[Section]:
    """Returns the sections of a case; nothing in them is built yet."""
    return importlib.import_module(f"benchmarks.speed.cases.{case}").sections(setup)


def reason_to_skip(case: str) -> str | None:
    """Returns why a case cannot run on this machine, `None` if it can."""
    check = getattr(importlib.import_module(f"benchmarks.speed.cases.{case}"), "reason_to_skip", None)
    return None if check is None else check()
