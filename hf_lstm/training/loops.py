"""What the custom loops `scripts/*_no_trainer.py` share: arguments, exact steps over processes, and checkpoints."""

import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_scheduler

from ..data.checks import InputError, check_bounds, check_output_directory, listing, nearest_name
from ..data.loading import load_file
from ..data.splits import split_off_validation
from ..data.text_files import check_readable_file, encoding_to_read
from ..data.tokenization import check_padding_token
from ..hub.card_facts import write_json
from .checkpoints import (
    check_same_settings,
    find_loop_damage,
    list_checkpoints,
    record_file_sizes,
    save_settings,
)
from .tasks.tokenizers import load_tokenizer, share_tokenizer, train_tokenizer

logger = logging.getLogger(__name__)

PROGRESS_NAME = "progress.json"
# Learning rates that follow from the number of the step alone, without arguments of their own.
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)

Batch = dict[str, torch.Tensor]


@dataclass
class LoopArguments:
    """The arguments of every custom loop; a script adds its own."""

    # Settings that may change between a run and its resumption.
    free_settings: ClassVar[frozenset[str]] = frozenset(
        {"output_dir", "checkpointing_steps", "resume_from_checkpoint", "save_total_limit", "logging_steps"}
    )
    # The smallest valid values.
    least: ClassVar[dict[str, float]] = {
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1,
        "max_train_steps": 1,
        "checkpointing_steps": 0,
        "save_total_limit": 1,
        "logging_steps": 1,
        "learning_rate": 0,
        "max_grad_norm": 0,
        "weight_decay": 0,
        "warmup_ratio": 0,
        "seed": 0,
    }
    # The largest ones, where there are any.
    most: ClassVar[dict[str, float]] = {"warmup_ratio": 1, "seed": 2**32 - 1}

    train_file: str = field(metadata={"help": "Training data: csv, tsv, json, jsonl, parquet or txt, also gzipped."})
    output_dir: str = field(metadata={"help": "Folder for the model, its figures and its checkpoints."})
    validation_file: str | None = field(
        default=None, metadata={"help": "Validation data; by default split off the training data."}
    )
    validation_split_percentage: float = field(
        default=10.0, metadata={"help": "Share of the training data to validate on where no file is given."}
    )
    file_encoding: str = field(
        default="utf-8", metadata={"help": "How text is written in the files, such as gb18030."}
    )
    tokenizer_name_or_path: str | None = field(
        default=None, metadata={"help": "Tokenizer to use; by default one is trained on the training texts."}
    )
    tokenizer_algorithm: Literal["auto", "word", "char", "bpe", "unigram", "wordpiece"] = field(
        default="auto", metadata={"help": "How a new tokenizer cuts text; auto chooses by the script of the texts."}
    )
    normalization: Literal["nfkc", "none"] = field(
        default="nfkc", metadata={"help": "Unicode normalisation of a new tokenizer."}
    )
    vocab_size: int = field(default=30000, metadata={"help": "Largest number of tokens of a new tokenizer."})
    min_frequency: int = field(default=2, metadata={"help": "How often a token must occur to enter a new tokenizer."})
    lowercase: bool = field(default=False, metadata={"help": "Whether a new tokenizer ignores case."})
    embedding_size: int = field(default=128, metadata={"help": "Width of the token embeddings."})
    hidden_size: int = field(default=256, metadata={"help": "Width of each layer's output, both directions together."})
    num_hidden_layers: int = field(default=1, metadata={"help": "Number of LSTM layers."})
    dropout: float = field(default=0.3, metadata={"help": "Dropout before and after the LSTM."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Rows of a training batch, per process."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "Rows of an evaluation batch."})
    gradient_accumulation_steps: int = field(default=1, metadata={"help": "Batches of one optimizer step."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Highest learning rate."})
    lr_scheduler_type: str = field(
        default="linear", metadata={"help": f"How the learning rate changes: {', '.join(SCHEDULES)}."}
    )
    warmup_ratio: float = field(default=0.05, metadata={"help": "Share of the steps with a rising learning rate."})
    weight_decay: float = field(default=0.01, metadata={"help": "Decoupled weight decay."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Largest norm of the gradient; 0 for no limit."})
    num_train_epochs: int = field(default=10, metadata={"help": "Passes over the training data."})
    max_train_steps: int | None = field(default=None, metadata={"help": "Optimizer steps, in place of epochs."})
    mixed_precision: Literal["no", "bf16"] = field(default="no", metadata={"help": "What the model computes in."})
    cpu: bool = field(default=False, metadata={"help": "Whether to train on the CPU though there is a GPU."})
    seed: int = field(default=42, metadata={"help": "Seed of weights, order and dropout."})
    checkpointing_steps: int = field(default=0, metadata={"help": "Steps between checkpoints; 0 for none."})
    save_total_limit: int = field(default=2, metadata={"help": "Checkpoints kept."})
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "Checkpoint to go on from, or last for the last one in output_dir."}
    )
    logging_steps: int = field(default=50, metadata={"help": "Steps between printed losses."})

    def __post_init__(self) -> None:
        check_bounds(self, self.least, self.most)
        if self.lr_scheduler_type not in SCHEDULES:
            raise InputError(
                f"`lr_scheduler_type` is {self.lr_scheduler_type!r}, but must be one of {listing(SCHEDULES)}."
                f"{nearest_name(self.lr_scheduler_type, SCHEDULES)}"
            )
        if self.validation_file is None and not 0 < self.validation_split_percentage < 100:
            raise InputError(
                f"`validation_split_percentage` is {self.validation_split_percentage}, but must be above 0 and below "
                "100. Try 10, or pass a --validation_file."
            )
        encoding_to_read(self.file_encoding)
        check_readable_file(self.train_file)
        if self.validation_file is not None:
            check_readable_file(self.validation_file)

    def settings(self, num_processes: int) -> dict[str, Any]:
        """Returns what a resumed run must have in common with the run before."""
        settings = {name: value for name, value in asdict(self).items() if name not in self.free_settings}
        return settings | {"num_processes": num_processes}


def start_run(arguments: LoopArguments) -> tuple[Accelerator, Path | None]:
    """
    Starts what a run stands on, after checking that its folder and its checkpoint can be used.

    Returns:
        `tuple[Accelerator, Path]`: The accelerator, and the checkpoint to resume from, `None` for a new run.

    Raises:
        InputError: If the folder or the checkpoint cannot be used, or processes do not find each other.
    """
    check_output_directory(arguments.output_dir)
    accelerator = Accelerator(
        cpu=arguments.cpu,
        mixed_precision=arguments.mixed_precision,
        gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        step_scheduler_with_optimizer=False,  # or else the learning rate would change once for each process
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise InputError(
            f"{started} processes were started, but each of them is alone. On processors without GPUs, pass --cpu."
        )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(logging.INFO if accelerator.is_main_process else logging.ERROR)
    logger.info("Processes: %d, on %s.", accelerator.num_processes, accelerator.device)
    set_seed(arguments.seed)
    return accelerator, _find_checkpoint(arguments, accelerator.num_processes)


def _find_checkpoint(arguments: LoopArguments, num_processes: int) -> Path | None:
    checkpoints = list_checkpoints(arguments.output_dir)
    if arguments.resume_from_checkpoint is None:
        if checkpoints:
            raise InputError(
                f"{arguments.output_dir!r} holds checkpoints of an earlier run, such as {checkpoints[-1].name!r}. "
                "Pass --resume_from_checkpoint last to go on, or another --output_dir."
            )
        return None
    if arguments.resume_from_checkpoint == "last":
        if not checkpoints:
            raise InputError(
                f"{arguments.output_dir!r} holds no checkpoint to resume from. Leave --resume_from_checkpoint out, "
                "and pass --checkpointing_steps to get some."
            )
        checkpoint = _find_last_whole(checkpoints)
    else:
        checkpoint = Path(arguments.resume_from_checkpoint)
        problem = _find_damage(checkpoint)
        if problem is not None:
            raise InputError(
                f"{str(checkpoint)!r} is not a whole checkpoint of a custom loop: {problem}. Pass a folder such as "
                "'checkpoint-500' that one of these scripts wrote, or last."
            )
    # Accelerate would run code from such a file, and refuses one that it does not need only once all else is loaded.
    pickles = sorted(path.name for path in checkpoint.glob("custom_checkpoint_*.pkl"))
    if pickles:
        raise InputError(
            f"The checkpoint {str(checkpoint)!r} holds {listing(pickles)}, but must hold no custom_checkpoint_*.pkl, "
            "which could run code. Resume from another checkpoint, or delete what no script of this package wrote."
        )
    advice = "Pass the same settings as before, or leave --resume_from_checkpoint out and pass another --output_dir."
    check_same_settings(checkpoint, arguments.settings(num_processes), advice)
    return checkpoint


def _find_damage(checkpoint: Path) -> str | None:
    """Says what a checkpoint lacks, before any data is read; `None` if it is whole."""
    problem = find_loop_damage(checkpoint)
    if problem is not None:
        return problem
    try:
        _read_progress(checkpoint)
    except InputError as error:
        return str(error)
    return None


def _find_last_whole(checkpoints: Sequence[Path]) -> Path:
    for checkpoint in reversed(checkpoints):
        problem = _find_damage(checkpoint)
        if problem is None:
            return checkpoint
        logger.warning("%s is not a whole checkpoint and is passed over: %s", checkpoint, problem)
    names = listing([checkpoint.name for checkpoint in checkpoints])
    raise InputError(
        f"{str(checkpoints[0].parent)!r} holds no whole checkpoint to resume from, only {names}. Leave "
        "--resume_from_checkpoint out and pass another --output_dir to start over."
    )


def _read_progress(checkpoint: Path) -> tuple[int, float]:
    """Reads how many steps a checkpoint's run has made, and the sum of their losses."""
    try:
        progress = json.loads((checkpoint / PROGRESS_NAME).read_text(encoding="utf-8"))
        step, loss_sum = progress.get("step"), progress.get("loss_sum")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{PROGRESS_NAME} cannot be read ({error})") from error
    if type(step) is not int or not 0 <= step <= sys.maxsize:
        raise InputError(f"`step` in {PROGRESS_NAME} is {step!r}, but must be a whole number from 0 to {sys.maxsize}")
    if not isinstance(loss_sum, float):
        rule = "must be a number with a decimal point, such as 4.0"
        raise InputError(f"`loss_sum` in {PROGRESS_NAME} is {loss_sum!r}, but {rule}")
    return step, loss_sum


def load_files(accelerator: Accelerator, arguments: LoopArguments) -> dict[str, Dataset]:
    """Loads the `training` data and, where there is a file, the `validation` data, once for all processes."""
    files = {"training": arguments.train_file, "validation": arguments.validation_file}
    with accelerator.main_process_first():
        return {split: load_file(file, arguments.file_encoding) for split, file in files.items() if file is not None}


def check_same_labels(checkpoint: Path | None, labels: Sequence[str]) -> None:
    """Makes sure that the checkpoint to resume from, if there is one, comes from a run with the same labels."""
    if checkpoint is not None:
        advice = "Give the same training data as before, or leave --resume_from_checkpoint out and pass another "
        check_same_settings(checkpoint, {"labels": list(labels)}, f"{advice}--output_dir.")


def split_rows(arguments: LoopArguments, rows: dict[str, Dataset]) -> tuple[Dataset, Dataset]:
    """
    Splits the validation data off where there is none.

    Args:
        arguments (`LoopArguments`): How much to split off.
        rows (`dict[str, Dataset]`): What has become of the data of `load_files`, checked row by row.
    """
    if "validation" in rows:
        return rows["training"], rows["validation"]
    return split_off_validation(rows["training"], arguments.validation_split_percentage, seed=arguments.seed)


def prepare_tokenizer(
    arguments: LoopArguments,
    checkpoint: Path | None,
    texts: Iterable[Any],
    auto_algorithm: str,
    **options: Any,
) -> PreTrainedTokenizerBase:
    """
    Loads the tokenizer of the arguments or of the checkpoint, or else trains one, once for all processes.

    Args:
        arguments (`LoopArguments`): Which tokenizer.
        checkpoint (`Path`, *optional*): What the run resumes from.
        texts (iterable of `str` or of `list[str]`): What a new one is trained on.
        auto_algorithm (`str`): What `--tokenizer_algorithm auto` stands for with these texts.
        options: Further arguments of `LstmTokenizer.train_from_iterator`.
    """

    def train() -> PreTrainedTokenizerBase:
        algorithm = auto_algorithm if arguments.tokenizer_algorithm == "auto" else arguments.tokenizer_algorithm
        return train_tokenizer(
            texts,
            arguments,
            vocab_size=arguments.vocab_size,
            algorithm=algorithm,
            lowercase=arguments.lowercase,
            show_progress=False,
            **options,
        )

    name = arguments.tokenizer_name_or_path or checkpoint
    if name is None:
        return share_tokenizer(train, Path(arguments.output_dir))
    tokenizer = load_tokenizer(str(name), None)
    check_padding_token(tokenizer)
    return tokenizer


def make_loader(
    dataset: Any, batch_size: int, collate_fn: Any = None, sampler: Sampler[int] | None = None
) -> DataLoader:
    """Makes a loader that leaves the global random numbers alone, so that a resumed run draws the same dropout."""
    return DataLoader(dataset, batch_size, sampler=sampler, collate_fn=collate_fn, generator=torch.Generator())


def real_batches(accelerator: Accelerator, loader: Any, num_skipped: int = 0) -> Iterator[Batch]:
    """
    Yields this process's batches, with the labels -100 in rows that are there for the second time.

    Where the last rows are too few for all processes, accelerate repeats the first ones.

    Args:
        accelerator (`Accelerator`): The accelerator.
        loader (`DataLoader`): A loader that `accelerator.prepare` returned.
        num_skipped (`int`, defaults to 0): How many batches to leave out.
    """
    batch_size, num_rows = loader.total_batch_size // accelerator.num_processes, loader.total_dataset_length
    rest = accelerator.skip_first_batches(loader, num_skipped) if num_skipped else loader
    for index, batch in enumerate(rest, start=num_skipped):
        first_row = (index * accelerator.num_processes + accelerator.process_index) * batch_size
        batch["labels"][max(0, num_rows - first_row) :] = -100
        yield batch


class Progress:
    """
    Cuts the batches of a loader into the optimizer steps of a run, counts these, and saves how far it has come.

    Args:
        accelerator (`Accelerator`): The accelerator, whose state is saved and loaded.
        loader (`DataLoader`): The training data's loader, as `accelerator.prepare` returned it.
        arguments (`LoopArguments`): How many steps or epochs there are, and when and where to save.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer, which a checkpoint holds too.
        labels (`Sequence[str]`, *optional*): The labels of a classifier, for `check_same_labels`.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        loader: Any,
        arguments: LoopArguments,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str] = (),
    ):
        self.accelerator, self.loader, self.arguments, self.tokenizer = accelerator, loader, arguments, tokenizer
        self.settings = arguments.settings(accelerator.num_processes) | {"labels": list(labels)}
        self.steps_per_epoch = math.ceil(len(loader) / accelerator.gradient_accumulation_steps)
        self.num_steps = arguments.max_train_steps or arguments.num_train_epochs * self.steps_per_epoch
        # Gradients are averaged over processes and divided by the number of batches, but shall be sums.
        self.loss_scale = accelerator.num_processes * accelerator.gradient_accumulation_steps
        self.step = 0
        self.loss_sum = 0.0
        accelerator.register_save_state_pre_hook(self._save_progress)
        accelerator.register_load_state_pre_hook(self._load_progress)

    def epochs(self) -> Iterator[int]:
        """Yields the numbers of the epochs, from 0, that are left to be trained, at least in part."""
        yield from range(self.step // self.steps_per_epoch, math.ceil(self.num_steps / self.steps_per_epoch))

    def steps(self, epoch: int) -> Iterator[tuple[list[Batch], torch.Tensor]]:
        """
        Yields the steps of an epoch that are left to be made, up to the last of the run.

        Yields:
            `tuple[list[dict], torch.Tensor]`: The batches which this process contributes to the step, and how many
            labels those of all processes hold together. `count_step` is due before the next.
        """
        self.loader.set_epoch(epoch)
        size = self.accelerator.gradient_accumulation_steps
        batches = real_batches(self.accelerator, self.loader, self.step % self.steps_per_epoch * size)
        while self.step < self.num_steps and (step := list(islice(batches, size))):
            num_labels = torch.stack([(batch["labels"] != -100).sum() for batch in step]).sum()
            yield step, self.accelerator.reduce(num_labels).clamp(min=1)

    def count_step(self, loss: torch.Tensor) -> None:
        """
        Counts a step, prints its loss and writes a checkpoint where it is time to.

        Args:
            loss (`torch.Tensor` of shape `()`): This process's share of the step's loss.
        """
        step_loss = float(self.accelerator.reduce(loss))
        self.step, self.loss_sum = self.step + 1, self.loss_sum + step_loss
        if self.step % self.arguments.logging_steps == 0:
            logger.info("Step %d: loss %.4f.", self.step, step_loss)
        if self.arguments.checkpointing_steps and self.step % self.arguments.checkpointing_steps == 0:
            self._save_checkpoint()

    def results(self) -> dict[str, Any]:
        """Returns the mean loss of all steps, their number and that of the processes."""
        loss = self.loss_sum / max(1, self.step)
        return {"train_loss": loss, "num_steps": self.step, "num_processes": self.accelerator.num_processes}

    def _save_progress(self, models: Any, weights: Any, folder: str) -> None:
        if self.accelerator.is_main_process:
            text = json.dumps({"step": self.step, "loss_sum": self.loss_sum}, indent=2) + "\n"
            (Path(folder) / PROGRESS_NAME).write_text(text, encoding="utf-8")

    def _load_progress(self, models: Any, folder: str) -> None:
        self.step, self.loss_sum = _read_progress(Path(folder))

    def _save_checkpoint(self) -> None:
        """Writes a checkpoint beside its place and moves it there once it is whole."""
        output_dir = Path(self.arguments.output_dir)
        partial = output_dir / "partial_checkpoint"
        if self.accelerator.is_main_process and partial.exists():  # of a run that was killed while it saved
            shutil.rmtree(partial)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.tokenizer.save_pretrained(partial)
            save_settings(partial, self.settings)
            record_file_sizes(partial)
            checkpoint = output_dir / f"checkpoint-{self.step}"
            if checkpoint.exists():  # of a run that went further before it was resumed
                shutil.rmtree(checkpoint)
            partial.rename(checkpoint)
            checkpoints = list_checkpoints(output_dir)
            # Later ones, of a run that went further or damaged, do not count.
            for path in checkpoints[: checkpoints.index(checkpoint) + 1][: -self.arguments.save_total_limit]:
                shutil.rmtree(path)
        self.accelerator.wait_for_everyone()


def make_scheduler(optimizer: torch.optim.Optimizer, arguments: LoopArguments, num_steps: int) -> Any:
    """Makes the learning rate's schedule; one that the learning rate is too low for is an `InputError`."""
    warmup_steps = math.ceil(arguments.warmup_ratio * num_steps)
    try:
        return get_scheduler(arguments.lr_scheduler_type, optimizer, warmup_steps, num_steps)
    except ValueError as error:
        raise InputError(f"`lr_scheduler_type` is {arguments.lr_scheduler_type!r}: {error}") from error


def save_run(
    accelerator: Accelerator,
    arguments: LoopArguments,
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    results: dict[str, Any],
) -> None:
    """Writes the model, its tokenizer and, as `all_results.json`, its figures, from the main process alone."""
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        unwrapped: PreTrainedModel = accelerator.unwrap_model(model)
        unwrapped.save_pretrained(arguments.output_dir)
        tokenizer.save_pretrained(arguments.output_dir)
        write_json(Path(arguments.output_dir) / "all_results.json", results)
