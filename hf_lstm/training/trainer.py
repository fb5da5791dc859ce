"""The Trainer of this package: batches of similar length, weighted losses, averaged weights, and safe saving."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, TrainingArguments, set_seed
from transformers.trainer_utils import EvalLoopOutput, unwrap_peft_model

from ..data.checks import InputError, check_output_directory
from ..data.collators import LstmDataCollator, drop_words
from ..data.streams import ExampleStream
from ..models.modeling_lstm import LstmForCausalLM, LstmForSequenceClassification
from ..models.prepacking_lstm import is_faster_in_float32
from .callbacks import EpochEndSaveCallback, ProcessSeedCallback, WeightAverageCallback
from .checkpoints import find_last_checkpoint
from .class_weights import compute_class_weights
from .global_batch import GlobalBatchMixin
from .length_grouping import LengthGroupingMixin
from .loss_sums import LossSumMixin
from .saving import SavingMixin
from .stopping import TerminationCallback
from .stream_trainer import StreamTrainerMixin

logger = logging.getLogger(__name__)


class LstmTrainer(SavingMixin, StreamTrainerMixin, GlobalBatchMixin, LossSumMixin, LengthGroupingMixin):
    """
    Trains LSTM models as `Trainer` does, with what `LstmTrainingArguments` adds.

    Class weights, which are scaled so that they average 1 over the training rows, and label smoothing enter the
    training loss alone: the evaluation loss is the plain one and can be compared between runs. Both are exact under
    gradient accumulation and over processes.

    Takes the arguments of `Trainer`. `args` may be plain `TrainingArguments`.

    Raises:
        InputError: If an argument cannot be used here, such as fp16 on the CPU or an output folder that cannot be
            written to.
    """

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: TrainingArguments | None = None,
        *,
        compute_loss_func: Callable | None = None,
        **kwargs: Any,
    ):
        if args is not None:
            _check_precision(args)
        if kwargs.get("data_collator") is None and kwargs.get("processing_class") is not None:
            kwargs["data_collator"] = self._make_collator(kwargs["processing_class"])
        with warnings.catch_warnings():
            # Trainer's own smoothing is; ours replaces it.
            warnings.filterwarnings("ignore", message="Label smoothing is not compatible with multi-label")
            super().__init__(model, args, compute_loss_func=compute_loss_func, **kwargs)
        self.class_weights: torch.Tensor | None = None
        self.gives_loss_arguments = False
        self._choose_loss(compute_loss_func)
        if self.word_dropout > 0 and getattr(self.processing_class, "unk_token_id", None) is None:
            raise InputError(
                f"`word_dropout` is {self.word_dropout}, but needs a tokenizer with an unknown token as "
                "`processing_class`. Pass one, or set word_dropout to 0."
            )
        self.add_callback(ProcessSeedCallback)
        self.add_callback(EpochEndSaveCallback)
        self.termination = TerminationCallback()
        self.add_callback(self.termination)
        self.weight_average: WeightAverageCallback | None = None
        if getattr(self.args, "weight_averaging", 0.0) > 0:
            self._start_averaging()

    def _make_collator(self, processing_class: Any) -> Any:
        return LstmDataCollator(processing_class)

    @property
    def word_dropout(self) -> float:
        """The share of training tokens that become the unknown token."""
        return getattr(self.args, "word_dropout", 0.0)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        Trains as `Trainer` does, after checking that checkpoints can be written.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint's folder, or `True` for the last one in `output_dir` that is whole.

        Raises:
            InputError: If there is no such checkpoint, or no room for new ones.
            SystemExit: With code 143, after SIGTERM, once a checkpoint is saved.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = self._find_last_checkpoint()
        if self.args.should_save:
            check_output_directory(self.args.output_dir)
            # A hyper-parameter search builds its model later.
            if self.args.save_strategy != "no" and self.model is not None:
                self._check_free_space()
        if self.args.world_size > 1:
            # An earlier training has left each process a seed of its own, but the order of the data must be the same.
            set_seed(self.args.seed)
        with self.termination.listening(self.args):
            return super().train(resume_from_checkpoint, *args, **kwargs)

    def _find_last_checkpoint(self) -> str:
        checkpoint = find_last_checkpoint(self.args.output_dir)
        if checkpoint is None:
            raise InputError(
                f"`resume_from_checkpoint` is True, but {str(self.args.output_dir)!r} holds no whole checkpoint. "
                "Leave it out to start over."
            )
        return str(checkpoint)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # The stock loop makes a step before it looks, also in a run that was resumed when all steps were made.
        if self.state.global_step >= self.state.max_steps or self.control.should_training_stop:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluates the averaged weights if there are any."""
        if self.weight_average is None:
            return super().evaluation_loop(*args, **kwargs)
        with self.weight_average.swapped_in(self.model):
            return super().evaluation_loop(*args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Makes the optimizer as `Trainer` does, with `ngram_learning_rate` for the n-gram classifier's weights."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = getattr(self.args, "ngram_learning_rate", None)
        if rate is None or not is_new:
            return optimizer
        named = (self.model if model is None else model).named_parameters()
        weights = {id(weight): weight for name, weight in named if "ngram_classifier." in name}
        if not weights:
            raise InputError(
                f"`ngram_learning_rate` is {rate}, but the model has no n-gram classifier to train at it. Leave "
                "it out, or set `classifier_ngram_orders`."
            )
        for group in optimizer.param_groups:
            group["params"] = [weight for weight in group["params"] if id(weight) not in weights]
        own = {"params": list(weights.values()), "lr": rate, "weight_decay": self.args.weight_decay}
        optimizer.add_param_group(own)
        return optimizer

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Makes a training step as `Trainer` does, on words of which some may be dropped."""
        if self.word_dropout > 0:
            # Here and not in the collator, which also serves evaluation, and whose random numbers are drawn ahead of
            # time, so that a resumed run would draw others.
            inputs = self._prepare_inputs(inputs)
            special_ids = self.processing_class.all_special_ids
            unk_token_id = self.processing_class.unk_token_id
            inputs["input_ids"] = drop_words(inputs["input_ids"], self.word_dropout, unk_token_id, special_ids)
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Computes the loss as `Trainer` does; in training, the model weighs classes and smooths labels."""
        if model.training and self.gives_loss_arguments:
            inputs = inputs | self._loss_arguments()
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _loss_arguments(self) -> dict[str, Any]:
        weights = {} if self.class_weights is None else {"class_weights": self.class_weights}
        return {"label_smoothing": self.args.label_smoothing_factor} | weights

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model as `SavingMixin` does, with averaged weights if there are any."""
        if self.weight_average is None:
            super().save_model(output_dir, _internal_call)
            return
        with self.weight_average.swapped_in(self.model):
            super().save_model(output_dir, _internal_call)
        if _internal_call and output_dir is not None and self.args.should_save:
            self.weight_average.save(output_dir, self.model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.weight_average is not None:
            self.weight_average.load(resume_from_checkpoint, self.model)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # Weights that others are tied to are saved once; the copy that was loaded is theirs, too.
        tied = getattr(unwrap_peft_model(self.model), "all_tied_weights_keys", {})
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _choose_loss(self, compute_loss_func: Callable | None) -> None:
        """Computes the class weights, and leaves the smoothing of labels to models that know how."""
        config: Any = getattr(self.model, "config", None)
        setting = getattr(self.args, "class_weights", None)
        is_asked = setting is not None or self.args.label_smoothing_factor != 0
        # A hyper-parameter search may ask for it later.
        if not is_asked and self.model_init is None:
            return
        # By name and not by class: a checkpoint's own copy of the code defines another class.
        name = type(unwrap_peft_model(self.model)).__name__
        is_adaptive = bool(getattr(config, "adaptive_softmax_cutoffs", None))
        if name == LstmForCausalLM.__name__ and setting is None and compute_loss_func is None and not is_adaptive:
            # It smooths labels itself, so that it can do without the scores.
            self.label_smoother = None
            self.gives_loss_arguments = True
            return
        if name != LstmForSequenceClassification.__name__:
            if setting is not None:
                raise InputError(
                    f"`class_weights` is {setting!r}, but is for LstmForSequenceClassification, and this model is a "
                    f"{type(self.model).__name__}. Leave it out."
                )
            return
        problem_type = getattr(config, "problem_type", None)
        if problem_type == "regression" or compute_loss_func is not None:
            if not is_asked:
                return
            raise InputError(
                f"`class_weights` is {setting!r} and `label_smoothing_factor` is {self.args.label_smoothing_factor}, "
                "but both are for classification with the loss of this package. Leave them out for a regression and "
                "beside `compute_loss_func`."
            )
        if setting is not None and isinstance(self.train_dataset, ExampleStream):
            raise InputError(
                f"`class_weights` is {setting!r}, but is for data whose labels can be counted before training, which "
                "those of a stream cannot. Leave it out."
            )
        if setting is not None and self.train_dataset is not None:
            self.class_weights = compute_class_weights(setting, _read_labels(self.train_dataset), config.num_labels)
        # The model smooths labels itself, in the loss of each of its branches.
        self.label_smoother = None
        self.gives_loss_arguments = True

    def _start_averaging(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise InputError(
                f"`weight_averaging` is {self.args.weight_averaging}, but does not work with FSDP or DeepSpeed, which "
                "split the weights. Set it to 0."
            )
        self.weight_average = WeightAverageCallback(self.args.weight_averaging)
        self.num_copies_saved += 1
        self.add_callback(self.weight_average)


def _check_precision(args: TrainingArguments) -> None:
    if (args.fp16 or args.fp16_full_eval) and args.device.type == "cpu":
        name = "fp16" if args.fp16 else "fp16_full_eval"
        raise InputError(
            f"`{name}` is set, but PyTorch's LSTM cannot be trained in fp16 on the CPU. Use "
            f"`{name.replace('fp16', 'bf16')}` for half the memory there, or leave it out."
        )
    if args.bf16 and args.device.type == "cpu" and is_faster_in_float32(torch.bfloat16):
        logger.warning(
            "`bf16` is on, but this processor has no instructions for bfloat16: training may take several times as "
            "long as in float32. Leave it out."
        )


def _read_labels(dataset: Any) -> np.ndarray:
    if isinstance(dataset, Dataset):
        return np.asarray(dataset["labels" if "labels" in dataset.column_names else "label"][:])
    return np.asarray([example["labels" if "labels" in example else "label"] for example in dataset])
