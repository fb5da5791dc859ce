"""Batches of similar length for a Trainer, also where it evaluates and predicts."""

from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput, has_length

from ..data.checks import InputError
from .callbacks import EpochCallback
from .sampler import LengthGroupedSampler, LengthSortedSampler, count_tokens, find_sampler


class LengthGroupingMixin(Trainer):
    """
    Gives a Trainer `LengthGroupedSampler` where `train_sampling_strategy` is `"group_by_length"`.

    It then also evaluates and predicts in order of length, and returns the results in the order of the data.
    With `dataloader_drop_last`, only training does without its last batch: all rows are evaluated and predicted.
    """

    mega_batch_multiplier = 50

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_callback(EpochCallback)

    def _get_dataloader(self, dataset: Any, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        drop_last = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            loader = super()._get_dataloader(dataset, *args, is_training=is_training, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last
        if drop_last and is_training and has_length(loader) and len(loader) == 0:
            raise InputError(
                f"`dataloader_drop_last` is True, which leaves no batch of the {len(dataset)} training rows. Leave it "
                "out, or pass a smaller `per_device_train_batch_size`."
            )
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if not self._groups_by_length(dataset):
            return super()._get_train_sampler(train_dataset)
        return LengthGroupedSampler(
            self._measure_examples(dataset),
            self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
            self.mega_batch_multiplier,
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        # Lists of batches could not be brought back into the order of the data.
        if self._groups_by_length(eval_dataset) and self.args.eval_do_concat_batches:
            return LengthSortedSampler(count_tokens(eval_dataset))
        return SequentialSampler(eval_dataset) if has_length(eval_dataset) else None

    def _measure_examples(self, dataset: Any) -> np.ndarray:
        """Returns what training examples are grouped by: their lengths."""
        return count_tokens(dataset)

    def _groups_by_length(self, dataset: Any) -> bool:
        return self.args.train_sampling_strategy == "group_by_length" and has_length(dataset)

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluates as `Trainer` does, and returns predictions and labels in the order of the data."""
        output = super().evaluation_loop(dataloader, *args, **kwargs)
        sampler = find_sampler(dataloader)
        if not isinstance(sampler, LengthSortedSampler):
            return output
        return output._replace(
            predictions=_reorder(output.predictions, sampler.order),
            label_ids=_reorder(output.label_ids, sampler.order),
        )


def _reorder(values: Any, order: np.ndarray) -> Any:
    if isinstance(values, dict):
        return {name: _reorder(value, order) for name, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(_reorder(value, order) for value in values)
    return values if values is None else values[np.argsort(order)]
