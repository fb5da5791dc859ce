"""The Trainer of this package: batches of similar length, weighted losses, averaged weights, and safe saving."""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from torch import nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import EvalLoopOutput, has_length, unwrap_peft_model

from ..data.checks import InputError, check_output_directory
from ..data.collators import LstmDataCollator, drop_words
from ..data.streams import ExampleStream
from ..hub.model_card import CARD_TAG
from ..hub.uploads import leaving_behind
from ..models.modeling_lstm import LstmForCausalLM, LstmForSequenceClassification
from ..models.prepacking_lstm import is_faster_in_float32
from .callbacks import EpochCallback, ProcessSeedCallback, WeightAverageCallback
from .checkpoints import find_last_checkpoint, record_file_sizes
from .class_weights import compute_class_weights
from .common_arguments import UnsavedToken
from .global_batch import GlobalBatchMixin
from .loss_sums import LossSumMixin
from .sampler import LengthGroupedSampler, LengthSortedSampler, count_tokens, find_sampler
from .stopping import TerminationCallback
from .stream_trainer import StreamTrainerMixin

logger = logging.getLogger(__name__)

_GIBIBYTE = 2**30
_UNFINISHED = ".saving-"
# How torch.save reports a full disk: as a RuntimeError of its archive writer, from where it fails first.
_ARCHIVE_WRITERS = ("PytorchStreamWriter", "inline_container")


class LengthGroupedTrainerMixin(Trainer):
    """
    Gives a Trainer `LengthGroupedSampler` where `train_sampling_strategy` is `"group_by_length"`.

    It then also evaluates and predicts in order of length, and returns the results in the order of the data.
    With `dataloader_drop_last`, only training does without its last batch: all rows are evaluated and predicted.
    """

    mega_batch_multiplier = 50

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.args.hub_token is not None:
            self.args.hub_token = UnsavedToken(self.args.hub_token)
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


class LstmTrainer(StreamTrainerMixin, GlobalBatchMixin, LossSumMixin, LengthGroupedTrainerMixin):
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
                "Leave it out to start anew."
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
        """
        Saves the model, with averaged weights if there are any.

        Everything is written beside its place and moved there once it is whole.

        Raises:
            OSError: If the disk is full or cannot be written to; nothing half-written remains.
        """
        if self.weight_average is None:
            self._save_whole(output_dir, _internal_call)
            return
        with self.weight_average.swapped_in(self.model):
            self._save_whole(output_dir, _internal_call)
        if _internal_call and output_dir is not None and self.args.should_save:
            self.weight_average.save(output_dir, self.model)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """Uploads the output folder as `Trainer` does, but for what `hf-lstm push` leaves behind."""
        with leaving_behind():
            return super().push_to_hub(*args, **kwargs)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The stock trainer copies weights and configuration into what is pushed, but not the code that this names.
        if self.is_world_process_zero():
            for path in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(path, self.args.output_dir)
        with leaving_behind():
            super()._push_from_checkpoint(checkpoint_folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Drafts a model card as `Trainer` does, unless the folder has one that this package has written."""
        path = Path(self.args.output_dir) / "README.md"
        is_ours = path.exists() and CARD_TAG in (ModelCard.load(path).data.tags or ())
        if not is_ours:
            super().create_model_card(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        target = Path(self.args.output_dir if output_dir is None else output_dir)
        if not self.args.should_save:
            super()._save(str(target), state_dict)
            return
        target.mkdir(parents=True, exist_ok=True)
        for path in target.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)  # left by a process that was killed
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=target) as directory:
            super()._save(directory, state_dict)
            for path in sorted(Path(directory).iterdir()):
                if (target / path.name).is_dir():
                    shutil.rmtree(target / path.name)
                os.replace(path, target / path.name)

    def _save_whole(self, output_dir: str | None, is_internal: bool) -> None:
        try:
            super().save_model(output_dir, is_internal)
        except (OSError, SafetensorError) as error:
            raise _saving_error(output_dir or self.args.output_dir, error) from error

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            # Written last, it tells that the checkpoint is whole: not while an earlier one in its place is replaced.
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(name in str(error) for name in _ARCHIVE_WRITERS):
                raise
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            raise _saving_error(folder, error) from error

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # From here on, the checkpoint lacks only the trainer's state; then older ones may be deleted.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            record_file_sizes(output_dir)

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
        self.add_callback(self.weight_average)

    def _check_free_space(self) -> None:
        """Makes sure that the disk holds the checkpoints that are kept, and the one that is being written."""
        weights = sum(weight.numel() * weight.element_size() for weight in self.model.parameters())
        copies = 1 if self.args.save_only_model else 3 + (self.weight_average is not None)
        # Without a limit their number is not known; three show whether there is room at all.
        num_checkpoints = (self.args.save_total_limit or 2) + 1
        needed = weights * copies * num_checkpoints
        free = shutil.disk_usage(self.args.output_dir).free
        if free < needed:
            raise InputError(
                f"{num_checkpoints} checkpoints need about {needed / _GIBIBYTE:.3g} GiB, but only "
                f"{free / _GIBIBYTE:.3g} GiB are free at {str(self.args.output_dir)!r}. Free some, pass "
                "another output_dir, or pass save_only_model or a smaller save_total_limit."
            )


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


def _saving_error(path: str | Path, error: Exception) -> OSError:
    free = shutil.disk_usage(Path(path).parent).free / _GIBIBYTE if Path(path).parent.exists() else 0
    return OSError(
        f"Saving to {str(path)!r} failed: {error}. Nothing half-written is left there; {free:.3g} GiB are free. Make "
        "room, then resume from the last checkpoint."
    )


def _read_labels(dataset: Any) -> np.ndarray:
    if isinstance(dataset, Dataset):
        return np.asarray(dataset["labels" if "labels" in dataset.column_names else "label"][:])
    return np.asarray([example["labels" if "labels" in example else "label"] for example in dataset])


def _reorder(values: Any, order: np.ndarray) -> Any:
    if isinstance(values, dict):
        return {name: _reorder(value, order) for name, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(_reorder(value, order) for value in values)
    return values if values is None else values[np.argsort(order)]
