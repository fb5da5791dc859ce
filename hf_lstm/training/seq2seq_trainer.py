"""The Trainer of encoder–decoders: what `LstmTrainer` adds, for models that generate."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer
from transformers.trainer_utils import unwrap_peft_model

from ..data.checks import InputError
from ..data.subwords import SubwordDropout
from ..models.modeling_lstm_seq2seq import LstmForConditionalGeneration
from ..models.tokenization_lstm import LstmSeq2SeqTokenizer
from .sampler import measure_pairs
from .trainer import LstmTrainer


class LstmSeq2SeqTrainer(LstmTrainer, Seq2SeqTrainer):
    """
    Trains encoder–decoders as `Seq2SeqTrainer` does, with what `LstmTrainer` adds.

    Batches hold pairs of similar target and, among those, similar source length. Label smoothing enters the training
    loss alone, which is computed at real target tokens only. The sources lose words by `word_dropout`, and words of
    both sides fall into smaller pieces by `subword_dropout`; the loss is still divided by the number of target tokens
    before, so that a text weighs the same however it falls apart.

    Takes the arguments of `LstmTrainer`, and one more.

    Args:
        source_noise (`Callable`, *optional*):
            Disturbs the sources of a training batch: takes `input_ids` and `attention_mask` and returns both.
    """

    # Both lengths have to fit, for which larger pieces must be sorted.
    mega_batch_multiplier = 200

    def __init__(
        self,
        *args: Any,
        source_noise: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if self.is_fsdp_enabled and getattr(self.model.config, "share_embeddings", False):
            # torch splits a table only where all that use it are wrapped together, which accelerate does for two.
            raise InputError(
                "`share_embeddings` is True, but FSDP cannot split a table that source and target share. Set it to "
                "False, or train without FSDP."
            )
        self.source_noise = source_noise
        self.subword_dropouts: tuple[SubwordDropout, SubwordDropout] | None = None
        probability = getattr(self.args, "subword_dropout", 0.0)
        if probability > 0:
            source, target = self.processing_class, self.processing_class
            if isinstance(source, LstmSeq2SeqTokenizer):
                source, target = source.source_tokenizer, source.target_tokenizer
            self.subword_dropouts = SubwordDropout(source, probability), SubwordDropout(target, probability)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Makes a training step as `LstmTrainer` does, on texts that may be in other pieces or disturbed."""
        if self.subword_dropouts is not None:
            inputs = self._drop_merges(self._prepare_inputs(inputs), *self.subword_dropouts)
        if self.source_noise is not None:
            inputs = self._prepare_inputs(inputs)
            input_ids, attention_mask = self.source_noise(inputs["input_ids"], inputs["attention_mask"])
            inputs = inputs | {"input_ids": input_ids, "attention_mask": attention_mask}
        return super().training_step(model, inputs, *args, **kwargs)

    def _drop_merges(self, inputs: dict[str, Any], source: SubwordDropout, target: SubwordDropout) -> dict[str, Any]:
        """Returns the batch in other pieces, padded at the end. Decoder inputs are left to the model to make."""
        # One copy from the device for each tensor, and one back.
        input_ids, attention_mask, labels = (inputs[name].cpu() for name in ("input_ids", "attention_mask", "labels"))
        sources = [source(row[kept].tolist()) for row, kept in zip(input_ids, attention_mask.bool(), strict=True)]
        targets = [target(row[row != -100].tolist()) for row in labels]
        derived = ("decoder_input_ids", "decoder_attention_mask")
        return {name: value for name, value in inputs.items() if name not in derived} | {
            "input_ids": _pad(sources, self.processing_class.pad_token_id, inputs["input_ids"]),
            "attention_mask": _pad([[1] * len(row) for row in sources], 0, inputs["attention_mask"]),
            "labels": _pad(targets, -100, inputs["labels"]),
        }

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None]:
        """Makes an evaluation step as `Seq2SeqTrainer` does, also on sources without targets."""
        # The collator gives those labels that are `None`, which the stock trainer takes for labels.
        given = {name: value for name, value in inputs.items() if value is not None}
        return super().prediction_step(model, given, *args, **kwargs)

    def _make_collator(self, processing_class: Any) -> Any:
        return DataCollatorForSeq2Seq(processing_class)

    def _measure_examples(self, dataset: Any) -> np.ndarray:
        return measure_pairs(dataset)

    def _choose_loss(self, compute_loss_func: Callable | None) -> None:
        # By name and not by class: a checkpoint's own copy of the code defines another class.
        is_ours = type(unwrap_peft_model(self.model)).__name__ == LstmForConditionalGeneration.__name__
        if is_ours and compute_loss_func is None:
            # The model smooths labels itself, so that it need not score every position for it.
            self.label_smoother = None
            self.gives_loss_arguments = True


def _pad(rows: list[list[int]], value: int, like: torch.Tensor) -> torch.Tensor:
    """Returns rows as one tensor of the type and on the device of another, with `value` after the shorter ones."""
    # One padded position is kept where no row has any: a process whose rows only fill a batch has no labels.
    rows = [rows[0] or [value], *rows[1:]]
    tensors = [torch.tensor(row, dtype=like.dtype) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=value).to(like.device)
