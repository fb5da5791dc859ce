"""Streamed training data of the tasks: what must be given, opening it, and the stream of examples to train on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from datasets import Dataset, IterableDataset
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ...data.checks import InputError, listing
from ...data.loading import load_hub_dataset
from ...data.splits import select_split
from ...data.streams import Columns, ExampleStream, read_rows, stream_files
from ..common_arguments import CommonDataArguments, CommonTrainingArguments

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowStream:
    """
    Streamed training data before its tokens.

    Args:
        rows (`IterableDataset`): The rows as they are.
        read (`Callable`): Makes texts and labels, as the other splits have them, of the columns of some rows.
    """

    rows: IterableDataset
    read: Callable[[Columns], Columns]


def check_streaming(data_arguments: CommonDataArguments, training_arguments: CommonTrainingArguments) -> None:
    """
    Makes sure that the arguments suit streamed training data, and evaluates and saves by steps where it was by epochs.

    Raises:
        InputError: If they do not.
    """
    if not data_arguments.streaming or not training_arguments.do_train:
        return
    if training_arguments.max_steps <= 0:
        raise InputError(
            f"`max_steps` is {training_arguments.max_steps}, but --streaming trains on data without end. Pass "
            "after how many steps to stop, for example --max_steps 100000."
        )
    if data_arguments.max_train_samples is not None:
        raise InputError(
            f"`max_train_samples` is {data_arguments.max_train_samples}, but rows are drawn from data whose number of "
            "rows is known, not with --streaming. Leave one of them out; --max_steps ends a run."
        )
    for name in ("linear_baseline", "class_weights", "drop_rows", "find_wrong_labels"):
        value = getattr(data_arguments, name, None) or getattr(training_arguments, name, None)
        if value:
            raise InputError(f"`{name}` is {value!r}, but reads all the training data, which --streaming does not.")
    noise_rate = getattr(training_arguments, "noise_rate", 0.0)
    if noise_rate:
        raise InputError(
            f"`noise_rate` is {noise_rate}, but streamed texts stay as they are. Leave it out, or --streaming."
        )
    # An endless epoch would end with the run.
    every = training_arguments.save_steps
    every = every if every < 1 else min(every, training_arguments.max_steps)
    if training_arguments.save_strategy == SaveStrategy.EPOCH:
        training_arguments.save_strategy, training_arguments.save_steps = SaveStrategy.STEPS, every
    if training_arguments.eval_strategy == IntervalStrategy.EPOCH:
        training_arguments.eval_strategy, training_arguments.eval_steps = IntervalStrategy.STEPS, every


def open_train_stream(arguments: CommonDataArguments) -> IterableDataset:
    """
    Opens the training data that the arguments name.

    Raises:
        InputError: If there is none, or it cannot be opened.
    """
    if arguments.dataset_name is None:
        if arguments.train_file is None:
            raise InputError("There is no training data. Pass --train_file, or --dataset_name with a split train.")
        return stream_files(arguments.train_file, arguments.file_encoding)
    name, configuration, revision = arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision
    splits = load_hub_dataset(name, configuration, revision, arguments.cache_dir, streaming=True)
    split = select_split(splits, arguments.train_split_name, "train")
    if split is None:
        raise InputError(f"The data set {name!r} has no split 'train', only {listing(list(splits))}.")
    return split


def sample_stream(stream: IterableDataset, arguments: CommonDataArguments) -> Dataset:
    """Reads the first rows of a stream, which stand for all of it where columns, labels and words are looked for."""
    sample = read_rows(stream, arguments.stream_sample_size)
    logger.info("The first %d rows of the stream say which columns, labels and words there are.", len(sample))
    return sample


def check_validation(has_validation: bool, arguments: CommonDataArguments) -> None:
    """Raises an `InputError` where validation data would have to be split off a stream."""
    if not has_validation and arguments.validation_split_percentage > 0:
        raise InputError(
            f"`validation_split_percentage` is {arguments.validation_split_percentage}, but nothing is split off a "
            "stream. Pass --validation_file, or --validation_split_percentage 0 to train without validation."
        )


def build_example_stream(
    stream: RowStream,
    encode: Callable[[Columns], Columns],
    length_columns: tuple[str, ...],
    data_arguments: CommonDataArguments,
    training_arguments: CommonTrainingArguments,
) -> ExampleStream:
    """
    Builds this rank's share of the stream of examples.

    Args:
        stream (`RowStream`): The training data.
        encode (`Callable`): Tokenises texts.
        length_columns (`tuple[str, ...]`): Columns whose lengths order the examples; the first counts most.
        data_arguments (`CommonDataArguments`): How much is shuffled at a time.
        training_arguments (`CommonTrainingArguments`): Batch size, seed, order and rank.
    """
    data_seed = training_arguments.data_seed
    return ExampleStream(
        stream.rows,
        lambda columns: encode(stream.read(columns)),
        batch_size=training_arguments.train_batch_size,
        window_size=data_arguments.shuffle_buffer_size,
        order=str(training_arguments.train_sampling_strategy),
        seed=training_arguments.seed if data_seed is None else data_seed,
        rank=training_arguments.process_index,
        num_ranks=training_arguments.world_size,
        length_columns=length_columns,
    )
