"""FSDP on processors, which accelerate leaves to accelerators."""

import os

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch import distributed


def split_on_processors() -> None:
    """Connects the processes, and tells accelerate that processors are accelerators, over which it splits weights."""
    PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    distributed.init_process_group("gloo")
