"""Losses of a batch that is spread over processes: those of the same batch in one process, whatever its size."""

from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer_utils import has_length, unwrap_peft_model

from ..models.configuration_lstm import LstmConfig, LstmSeq2SeqConfig

_IGNORED = -100
_MODEL_TYPES = (LstmConfig.model_type, LstmSeq2SeqConfig.model_type)


class GlobalBatchMixin(Trainer):
    """
    Makes a Trainer's losses those of the whole batch, however many processes share it.

    Where the last batch of an epoch is too small to give every process its part, accelerate fills it with examples
    from the beginning. They get no labels here, so that they weigh nothing. The evaluation loss of a batch is the mean
    over the labels of all its processes.

    This is for the models of this package, whose losses leave out labels of -100 in every task. With other models, and
    with `compute_loss_func`, losses are those of `Trainer`.
    """

    _tr_loss: torch.Tensor

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Takes the next batches as `Trainer` does, without the labels of examples that fill the last one."""
        # A last batch that is dropped where it is too small is not filled.
        batches = epoch_iterator if self.args.dataloader_drop_last else map(self._without_fillers, epoch_iterator)
        return super().get_batch_samples(batches, num_batches, device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Computes the loss as `Trainer` does; in evaluation, that of this process alone."""
        if not model.training and self._has_exact_loss():
            num_items_in_batch = None
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None]:
        """Makes an evaluation step as `Trainer` does, with the loss of the batch that all processes share."""
        inputs = self._without_fillers(inputs)
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        if loss is not None and self.args.world_size > 1 and self._has_exact_loss():
            loss = self._average_over_labels(loss, inputs)
        return loss, logits, labels

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        if self.args.world_size > 1:
            # What has not been logged is of this process alone.
            self._tr_loss = self.accelerator.reduce(self._tr_loss, "mean")
        return super()._finalize_training(*args, **kwargs)

    def _has_exact_loss(self) -> bool:
        config = getattr(unwrap_peft_model(self.model), "config", None)
        # By name and not by class: a checkpoint's own copy of the code defines another class.
        return self.compute_loss_func is None and getattr(config, "model_type", None) in _MODEL_TYPES

    def _without_fillers(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns a batch that has just been drawn, with -100 as the labels of what fills it."""
        labels = {name: batch[name] for name in ("labels", "shift_labels") if batch.get(name) is not None}
        if not (labels and self._may_be_filled() and self._has_exact_loss()):
            return batch
        # Processes hold consecutive parts of the batch, of one size each.
        batch_size = len(next(iter(labels.values())))
        remainder = self._count_left_over(batch_size * self.accelerator.num_processes)
        if remainder > 0:
            num_real = max(0, remainder - self.accelerator.process_index * batch_size)
            for name, values in labels.items():
                labels[name] = values.clone()
                labels[name][num_real:] = _IGNORED
        return {**batch, **labels}

    def _may_be_filled(self) -> bool:
        """Tells whether the batch that has just been drawn is one that accelerate fills where it is too small."""
        is_last = self.accelerator.num_processes > 1 and self.accelerator.gradient_state.end_of_dataloader
        return is_last and self.accelerator.even_batches

    def _count_left_over(self, global_batch_size: int) -> int:
        """Counts the examples of the last batch, 0 if it is a whole one; below 0 where nobody knows."""
        state = self.accelerator.gradient_state
        dataset = state.active_dataloader.dataset
        # Of the examples that a resumed run has still to draw, accelerate does not count what is left over.
        return len(dataset) % global_batch_size if has_length(dataset) else state.remainder

    def _average_over_labels(self, loss: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """Returns the mean over the labels of all processes from the mean over those of this one."""
        labels = inputs.get("shift_labels")
        if labels is None:
            labels = inputs["labels"][..., 1:] if self._loss_shifts_labels else inputs["labels"]
        count = labels.ne(_IGNORED).sum().float()
        # Without any labels, the mean is not a number.
        total = torch.where(count > 0, loss.float() * count, 0.0)
        total, count = self.accelerator.reduce(torch.stack([total, count]), "sum")
        return total / count
