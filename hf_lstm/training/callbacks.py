"""Callbacks of Trainer: the epoch of sampler and data, each process's seed, and the moving average of the weights."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from ..data.noisy_texts import NoisyTexts
from .sampler import find_sampler

TRAINED_WEIGHTS_NAME = "trained_weights.safetensors"
_COUNT_KEY = "number_of_updates"
_TRAINED = "trained."
_AVERAGE = "average."


class EpochCallback(TrainerCallback):
    """
    Tells the training sampler, and data that are different each time such as `NoisyTexts`, which epoch begins.

    A run that several processes resume within an epoch wraps the sampler too deep for accelerate to find it, and
    would go on in the order of the first epoch.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        loader, epoch = kwargs.get("train_dataloader"), int(state.epoch or 0)
        dataset = getattr(loader, "dataset", None)
        if isinstance(dataset, NoisyTexts):
            dataset.set_epoch(epoch)
        sampler: Any = find_sampler(loader)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)


class EpochEndSaveCallback(TrainerCallback):
    """
    Lets a checkpoint that is due after the last step of an epoch wait until the epoch is evaluated and logged.

    A run that is resumed from it begins with the next epoch, and would not make up for that. Nor would it draw the
    random numbers that an evaluation takes.
    """

    def __init__(self) -> None:
        self.is_due = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        is_last = state.epoch == int(state.epoch or 0) or state.global_step >= state.max_steps
        self.is_due = control.should_save and is_last
        if self.is_due:
            control.should_save = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.is_due:
            control.should_save = True
        self.is_due = False


class ProcessSeedCallback(TrainerCallback):
    """
    Seeds each of several processes by its own number, so that what is dropped out differs among them.

    By then they have the same weights and the same order of the data. A resumed run restores their states afterwards.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.world_size > 1:
            set_seed(args.seed + args.process_index)


class WeightAverageCallback(TrainerCallback):
    """
    Keeps an exponential moving average of the weights, updated once for each optimizer step.

    The average is corrected for its start as Adam's is (https://huggingface.co/papers/1412.6980, section 3): after the
    first step it is the weights themselves, and the initial weights never enter it. `LstmTrainer` evaluates and saves
    the averaged weights. A checkpoint holds them as its model, and beside it the weights which training goes on from.

    Args:
        decay (`float`): Share of the old average that stays at each step, such as 0.999.
    """

    def __init__(self, decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"`decay` is {decay}, but must be above 0 and below 1.")
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}
        self.number_of_updates = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            self.reset()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.update(kwargs["model"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        holds_best = args.load_best_model_at_end and state.best_model_checkpoint is not None
        if self.average and not holds_best:
            _copy(self.average, kwargs["model"])
        # The model holds averaged weights from here on; there is nothing left to swap.
        self.reset()

    def reset(self) -> None:
        """Forgets the average."""
        self.average = {}
        self.number_of_updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model's weights."""
        self.number_of_updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.number_of_updates)
        for name, weight in _trained_weights(model).items():
            if name not in self.average:
                self.average[name] = weight.detach().clone().float()
            else:
                self.average[name].lerp_(weight.detach().float(), share)

    @contextlib.contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Puts the averaged weights into the model for the time of a `with` block."""
        if not self.average:
            yield
            return
        trained = {name: weight.detach().clone() for name, weight in _trained_weights(model).items()}
        _copy(self.average, model)
        try:
            yield
        finally:
            _copy(trained, model)

    def save(self, directory: str | Path, model: nn.Module) -> None:
        """Writes the weights that training goes on from beside a checkpoint whose model holds the average."""
        if not self.average:
            return
        weights = {
            f"{_TRAINED}{name}": weight.detach().contiguous() for name, weight in _trained_weights(model).items()
        }
        # The checkpoint's model has rounded the average if its weights are narrower.
        rounded = [name for name, weight in _trained_weights(model).items() if weight.dtype != torch.float]
        weights |= {f"{_AVERAGE}{name}": self.average[name] for name in rounded}
        metadata = {_COUNT_KEY: str(self.number_of_updates)}
        save_file(weights, Path(directory) / TRAINED_WEIGHTS_NAME, metadata=metadata)

    def load(self, directory: str | Path, model: nn.Module) -> None:
        """
        Takes up the average from a model that was loaded from a checkpoint, and gives the model its trained weights.

        Args:
            directory (`str` or `Path`): The checkpoint.
            model (`nn.Module`): The model, which holds the checkpoint's averaged weights.

        Raises:
            ValueError: If the checkpoint comes from a run without averaging.
        """
        path = Path(directory) / TRAINED_WEIGHTS_NAME
        if not path.exists():
            raise ValueError(
                f"The checkpoint {str(directory)!r} has no {TRAINED_WEIGHTS_NAME}: it was trained without "
                "`weight_averaging`. Resume it without, or start over in another `output_dir`."
            )
        with safe_open(path, framework="pt") as file:
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.number_of_updates = int(file.metadata()[_COUNT_KEY])
        averaged = _trained_weights(model)
        self.average = {
            name: saved.get(f"{_AVERAGE}{name}", weight).detach().to(weight.device, torch.float, copy=True)
            for name, weight in averaged.items()
        }
        _copy({name: saved[f"{_TRAINED}{name}"] for name in averaged}, model)


def _trained_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    # Tied weights appear once.
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def _copy(weights: dict[str, torch.Tensor], model: nn.Module) -> None:
    for name, weight in _trained_weights(model).items():
        weight.copy_(weights[name])
