"""What the arguments of all training tasks share: of the model, of the data, and of the training itself."""

import math
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import PreTrainedConfig, SchedulerType, TrainingArguments, get_scheduler

from ..data.checks import InputError, check_bounds


@dataclass
class CommonModelArguments:
    """
    Which model and which tokenizer to train, or to train on from.

    A task adds the fields of its configuration under their own names. They may stay `None`: a new model then takes the
    task's default, or else the configuration's, and a pretrained model keeps what it has.
    """

    config_class: ClassVar[type[PreTrainedConfig]]

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Pretrained model to train on from, a folder or a name on the Hub."}
    )
    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the pretrained model."}
    )
    tokenizer_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer to use; by default the pretrained model's, else one is trained on the training texts."
        },
    )
    vocab_size: int = field(default=30000, metadata={"help": "Largest number of tokens of a new tokenizer."})
    min_frequency: int = field(default=2, metadata={"help": "How often a token must occur to enter a new tokenizer."})
    normalization: Literal["nfkc", "none"] = field(
        default="nfkc", metadata={"help": "Unicode normalisation of a new tokenizer."}
    )

    def revision_of(self, name: str | Path | None) -> str | None:
        """Returns the revision to load from `name`, which may be the pretrained model or another place."""
        return self.model_revision if name == self.model_name_or_path else None

    def config_values(self) -> dict[str, Any]:
        """Returns the fields of the configuration which the user set, except for the tokenizer's `vocab_size`."""
        names = {item.name for item in fields(self.config_class)} - {"vocab_size"}
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass
class CommonDataArguments:
    """Where the data come from, how they are split, and how many rows are used."""

    least: ClassVar[dict[str, float]] = {
        "max_train_samples": 1,
        "max_eval_samples": 1,
        "max_predict_samples": 1,
        "shuffle_buffer_size": 1,
        "stream_sample_size": 1,
        "preprocessing_num_workers": 1,
        "sample_seed": 0,
    }
    train_file: str | None = field(
        default=None, metadata={"help": "Training data: csv, tsv, json, jsonl or parquet, also gzipped (.csv.gz)."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Validation data; by default split off the training data."}
    )
    test_file: str | None = field(
        default=None, metadata={"help": "Labelled data that is only used for the final score."}
    )
    predict_file: str | None = field(
        default=None,
        metadata={"help": "Texts to predict for once trained, in the same formats or as txt with one text a line."},
    )
    file_encoding: str = field(
        default="utf-8", metadata={"help": "How text is written in the files, such as gb18030."}
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Data set of the Hub or a local folder of one, in place of train_file."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the data set."})
    train_split_name: str | None = field(default=None, metadata={"help": "Split to train on (train)."})
    validation_split_name: str | None = field(default=None, metadata={"help": "Split to validate on (validation)."})
    test_split_name: str | None = field(default=None, metadata={"help": "Split for the final score (test)."})
    remove_splits: list[str] | None = field(default=None, metadata={"help": "Splits of the data set to leave out."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where data sets and models are kept."})
    validation_split_percentage: float = field(
        default=10.0, metadata={"help": "Share of the training data to validate on where none is given; 0 for none."}
    )
    validation_split_method: Literal["random", "md5"] = field(
        default="random",
        metadata={"help": "Rows drawn by seed, in equal shares of each label, or by the texts' md5 hash."},
    )
    validation_split_seed: int = field(default=42, metadata={"help": "Seed of the random validation split."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on this many rows at most."})
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Validate and test on this many rows at most."}
    )
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict for this many rows at most."})
    sample_seed: int = field(default=42, metadata={"help": "Seed that draws the rows of max_*_samples."})
    streaming: bool = field(
        default=False,
        metadata={"help": "Whether training data is read piece by piece without end; needs max_steps."},
    )
    shuffle_buffer_size: int = field(
        default=10000, metadata={"help": "Rows of a stream that are read, tokenised and shuffled at a time."}
    )
    stream_sample_size: int = field(
        default=20000,
        metadata={"help": "First rows of a stream from which a tokenizer and the names of the labels are learned."},
    )
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenise."})
    overwrite_cache: bool = field(
        default=False, metadata={"help": "Whether to tokenise again what was tokenised before."}
    )
    metric_name: str | None = field(
        default=None,
        metadata={
            "help": "Metric that picks the best checkpoint: one of this package such as f1, or one of Hugging Face's."
        },
    )
    languages: list[str] | None = field(
        default=None, metadata={"help": "Languages of the texts, for the model card, such as en zh."}
    )
    license_name: str | None = field(default=None, metadata={"help": "The model's licence, for the model card."})

    def __post_init__(self) -> None:
        if self.dataset_name is not None and self.train_file is not None:
            raise InputError("Both --train_file and --dataset_name are given. Pass one of them for the training data.")
        if not 0 <= self.validation_split_percentage < 100:
            raise InputError(
                f"`validation_split_percentage` is {self.validation_split_percentage}, but must be at least 0 (no "
                "validation) and below 100. Try 10."
            )
        check_bounds(self, self.least)
        for language in self.languages or ():
            if not re.fullmatch("[a-z]{2,3}|multilingual", language):
                raise InputError(
                    f"`languages` has {language!r}, but must hold ISO 639 codes such as 'en' or 'zh', or "
                    "'multilingual'."
                )


class UnsavedToken(str):
    """An access token that is left out of `training_args.bin`, which is saved beside the model."""

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        return str, ()

    # Copies within the process keep it.
    def __copy__(self) -> "UnsavedToken":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "UnsavedToken":
        return self


@dataclass
class CommonTrainingArguments(TrainingArguments):
    """
    The arguments of `transformers.TrainingArguments` with defaults that suit LSTMs, and a few more.

    Args:
        weight_averaging (`float`, defaults to 0.0):
            Decay of the moving average of the weights that is evaluated and saved; 0 for none.
        word_dropout (`float`, defaults to 0.0):
            Probability with which a token of a training text becomes `<unk>`.
        early_stopping_patience (`int`, defaults to 0):
            Evaluations without a better metric after which training stops; 0 to train all epochs.
        restart (`bool`, defaults to `False`):
            Whether to delete the checkpoints in `output_dir` and start over, where training would resume from the
            last.
    """

    least: ClassVar[dict[str, float]] = {
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 0,
        "weight_decay": 0,
        "max_grad_norm": 0,
        "adam_epsilon": 0,
        "seed": 0,
        "data_seed": 0,
        "early_stopping_patience": 0,
    }
    most: ClassVar[dict[str, float]] = {"seed": 2**32 - 1, "data_seed": 2**32 - 1}
    # Those that must be at least 0 and below 1.
    shares: ClassVar[tuple[str, ...]] = (
        "word_dropout",
        "weight_averaging",
        "label_smoothing_factor",
        "adam_beta1",
        "adam_beta2",
    )

    do_train: bool = field(
        default=True, metadata={"help": "Whether to train; --no_do_train to only evaluate or predict."}
    )
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Texts of a training batch, per device."})
    per_device_eval_batch_size: int = field(
        default=128, metadata={"help": "Texts of an evaluation batch, per device."}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Highest learning rate."})
    num_train_epochs: float = field(default=10.0, metadata={"help": "Passes over the training data."})
    lr_scheduler_type: str = field(default="linear", metadata={"help": "How the learning rate changes."})
    warmup_steps: float = field(
        default=0.05, metadata={"help": "Steps of rising learning rate, or their share below 1."}
    )
    weight_decay: float = field(default=0.01, metadata={"help": "Decoupled weight decay."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Largest norm of the gradient."})
    optim: str = field(default="adamw_torch_fused", metadata={"help": "Optimizer."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to save a checkpoint: no, steps, epoch or best."}
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept, the best among them."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Whether the best checkpoint is the result."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between logged losses."})
    report_to: None | str | list[str] = field(  # noqa: RUF036  # the order that the parser understands
        default="none", metadata={"help": "Trackers to log to, such as tensorboard."}
    )
    label_names: list[str] | None = field(
        default_factory=lambda: ["labels"], metadata={"help": "Columns of the data that hold what is to be predicted."}
    )
    dataloader_pin_memory: bool = field(
        default_factory=torch.accelerator.is_available, metadata={"help": "Whether batches are kept in pinned memory."}
    )
    use_cache: bool = field(
        default=True, metadata={"help": "Whether the saved model returns its state; it never does in training."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "Order of training texts: random, sequential or group_by_length."}
    )
    weight_averaging: float = field(
        default=0.0, metadata={"help": "Decay of the weights' moving average; 0 for none."}
    )
    word_dropout: float = field(
        default=0.0, metadata={"help": "Probability with which a token of a training text becomes <unk>."}
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Evaluations without a better metric after which training stops; 0 for never."}
    )
    restart: bool = field(
        default=False,
        metadata={"help": "Whether to delete output_dir's checkpoints where training would resume from them."},
    )

    def __post_init__(self) -> None:
        if self.output_dir is None:
            raise InputError("Pass --output_dir, the folder to write the model, its report and its checkpoints to.")
        if self.restart and self.resume_from_checkpoint:
            named = self.resume_from_checkpoint
            raise InputError(f"`resume_from_checkpoint` is {named!r}, but --restart starts over. Leave one out.")
        for name in self.shares:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"`{name}` is {getattr(self, name)}, but must be at least 0 and below 1.")
        if self.hub_model_id is not None:
            try:
                validate_repo_id(self.hub_model_id)
            except HFValidationError as error:
                raise InputError(
                    f"`hub_model_id` is {self.hub_model_id!r}, but must be a name on the Hub, such as 'user/my_model'."
                ) from error
        self._check_numbers()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available():
            # Or else each process would train alone, and all of them would write to one folder.
            self.use_cpu = True
        if self.metric_for_best_model == "loss":  # type: ignore[has-type]
            self.metric_for_best_model = "eval_loss"  # "loss" is what transformers makes of None
        super().__post_init__()
        self._check_schedule()

    def _check_numbers(self) -> None:
        """Refuses numbers that the libraries below would stumble over once the data are read."""
        check_bounds(self, self.least, self.most)
        if self.do_train and self.max_steps <= 0 and not 0 < self.num_train_epochs < math.inf:
            raise InputError(
                f"`num_train_epochs` is {self.num_train_epochs}, but must be a finite number above 0 without "
                "`max_steps`. Pass --no_do_train to only evaluate or predict."
            )

    def _check_schedule(self) -> None:
        """Tries the learning rate's schedule on one weight: some need `lr_scheduler_kwargs`, others take none."""
        name, options, num_steps = SchedulerType(self.lr_scheduler_type).value, self.lr_scheduler_kwargs, 100
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=self.learning_rate)
        try:
            get_scheduler(name, optimizer, self.get_warmup_steps(num_steps), num_steps, options)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InputError(
                f"`lr_scheduler_type` is {name!r}, but is not to be had with `lr_scheduler_kwargs` {options!r} and "
                f"`warmup_steps` {self.warmup_steps}: {error}. Change these, or take linear or cosine."
            ) from error
