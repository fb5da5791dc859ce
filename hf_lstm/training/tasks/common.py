"""What the training tasks do alike: logging, raw data, limits on rows, checkpoints, and the facts of a model card."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import datasets
import numpy as np
import transformers
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ...data.checks import InputError, describe_error
from ...data.loading import load_hub_dataset, select_split
from ...data.streams import read_rows
from ...hub.card_facts import build_facts, load_facts, read_curve
from ...hub.model_card import write_model_card
from ...models.tokenization_lstm import LstmTokenizer
from ..checkpoints import (
    SETTINGS_NAME,
    check_checkpoint,
    check_model_folder,
    check_no_adapter,
    check_same_settings,
    find_last_checkpoint,
    list_checkpoints,
    remove_checkpoints,
    save_settings,
)
from ..common_arguments import CommonDataArguments, CommonModelArguments, CommonTrainingArguments
from ..processes import from_main_process

logger = logging.getLogger(__name__)


class TokenizerArguments(Protocol):
    """What every program's arguments say about a new tokenizer."""

    min_frequency: int
    normalization: Literal["nfkc", "none"]


# Settings that may change between any task's run and its resumption.
FREE_SETTINGS = frozenset(
    {"test_file", "predict_file", "max_predict_samples", "preprocessing_num_workers", "overwrite_cache", "cache_dir"}
)
# Training arguments that a model card shows, where the task has them.
SHOWN_ARGUMENTS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "label_smoothing_factor",
    "word_dropout",
    "noise",
    "weight_averaging",
    "seed",
    "class_weights",
    "subword_dropout",
)
# Training arguments that must be the same in a resumed run; it may make more steps, or share a batch otherwise.
KEPT_ARGUMENTS = (
    *("learning_rate", "ngram_learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"),
    *("max_grad_norm", "label_smoothing_factor", "class_weights", "weight_averaging", "neftune_noise_alpha"),
    *("naive_bayes_start", "word_dropout", "subword_dropout", "noise", "noise_kind", "seed", "data_seed"),
    *("train_sampling_strategy", "dataloader_drop_last", "average_tokens_across_devices", "bf16", "fp16", "tf32"),
    # Scores of another kind say nothing of which checkpoint is best.
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("predict_with_generate", "generation_num_beams"),
)
# Facts of a model card that training alone decides, and those that scoring does.
_TRAINING_FACTS = (
    *("dataset_name", "dataset_id", "num_train_rows", "hyper_parameters", "curve", "max_length", "base_model"),
    "is_fine_tuned",
)
_MEASURED = ("metrics", "split_name", "num_evaluation_rows", "hub_id")
_UNKNOWN_DATA = "data that is not recorded"
# Figures of an evaluation that say nothing of how good the model is.
NO_SCORES = (
    "loss",
    "runtime",
    "samples",
    "samples_per_second",
    "steps_per_second",
    "model_preparation_time",
    "generated_length",
)


def set_up_logging(training_arguments: CommonTrainingArguments) -> None:
    """Makes the package and the libraries below it log what the user asked for."""
    level = training_arguments.get_process_log_level()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(min(level, logging.INFO) if training_arguments.should_log else level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)


def load_splits(arguments: CommonDataArguments) -> dict[str, Dataset]:
    """
    Returns the splits of the data set that the arguments name, `train`, `validation` and `test`, as they are.

    With `streaming`, they come without `train`, and the others are read into memory, their first `max_eval_samples`.
    """
    if arguments.dataset_name is None:
        return {}
    source = (arguments.dataset_name, arguments.dataset_config_name, arguments.dataset_revision)
    splits = load_hub_dataset(*source, arguments.cache_dir, arguments.streaming)
    for name in arguments.remove_splits or ():
        select_split(splits, name, name)
        del splits[name]
    names = ("train", "validation", "test")
    chosen = {name: select_split(splits, getattr(arguments, f"{name}_split_name"), name) for name in names}
    found = {name: split for name, split in chosen.items() if split is not None}
    if not arguments.streaming:
        return found
    return {name: read_rows(split, arguments.max_eval_samples) for name, split in found.items() if name != "train"}


def limit_rows(dataset: Dataset, name: str, arguments: CommonDataArguments) -> Dataset:
    """Draws at most max_*_samples rows; of the rows to predict, the first ones are taken."""
    kind = "eval" if name in ("validation", "test") else name
    limit = getattr(arguments, f"max_{kind}_samples")
    if limit is None or limit >= len(dataset):
        return dataset
    if name == "predict":
        return dataset.select(range(limit))
    order = np.random.default_rng(arguments.sample_seed).permutation(len(dataset))
    return dataset.select(np.sort(order[:limit]))


def count_samples(tokenized: dict[str, Dataset], arguments: CommonDataArguments) -> dict[str, Any]:
    """Returns the number of rows of each split as metrics; of a stream only those that were looked at are known."""
    metrics: dict[str, Any] = {f"num_{name}_samples": len(split) for name, split in tokenized.items()}
    if arguments.streaming and "train" in tokenized:
        metrics["num_sampled_rows"] = metrics.pop("num_train_samples")
    return metrics


def build_config(config_class: type[PreTrainedConfig], values: dict[str, Any]) -> Any:
    """Builds a configuration; what breaks its rules is an `InputError`."""
    try:
        return config_class(**values)
    except StrictDataclassError as error:
        raise InputError(str(error.__cause__ or error)) from error


def load_trained_config(
    config_class: type[PreTrainedConfig], model_arguments: CommonModelArguments, cache_dir: str | None
) -> Any:
    """
    Loads the pretrained model's configuration with the user's changes, after checking that it is one of ours.

    Returns:
        The configuration, `None` where a new model is asked for.
    """
    name = model_arguments.model_name_or_path
    if name is None:
        return None
    if Path(name).exists():
        check_model_folder(name, config_class.model_type)
    options = {"revision": model_arguments.model_revision or "main", "cache_dir": cache_dir}
    try:
        values, _ = config_class.get_config_dict(name, **options)
    except Exception as error:  # a damaged file may fail anywhere in the libraries below
        raise InputError(f"The model {name!r} cannot be loaded: {describe_error(error)}") from error
    if values.get("model_type") != config_class.model_type:
        raise InputError(
            f"The model {name!r} is of the architecture {values.get('model_type')!r}, but must be "
            f"{config_class.model_type!r}. Leave --model_name_or_path out to train a new model."
        )
    check_no_adapter(name, **options)
    return build_config(config_class, values | model_arguments.config_values())


def load_tokenizer(name: str, cache_dir: str | None, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Loads a tokenizer from a folder or the Hub; what goes wrong is an `InputError`."""
    try:
        options = {"revision": revision or "main", "cache_dir": cache_dir}
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except Exception as error:  # a damaged file may fail anywhere in the libraries below
        raise InputError(
            f"No tokenizer can be loaded from {name!r}: {describe_error(error)} Name another with "
            "--tokenizer_name_or_path."
        ) from error


def train_tokenizer(texts: Any, arguments: TokenizerArguments, **options: Any) -> LstmTokenizer:
    """Trains a tokenizer as the arguments say; `options` are further ones of `LstmTokenizer.train_from_iterator`."""
    try:
        return LstmTokenizer.train_from_iterator(
            texts,
            min_frequency=arguments.min_frequency,
            normalization=None if arguments.normalization == "none" else arguments.normalization,
            **options,
        )
    except ValueError as error:
        raise InputError(f"No tokenizer can be trained on the training texts. {error}") from error


def share_tokenizer(prepare: Callable[[], PreTrainedTokenizerBase], output_dir: Path) -> PreTrainedTokenizerBase:
    """Prepares the tokenizer in the main process, which saves it, and hands it to all the others."""

    def prepare_and_save() -> PreTrainedTokenizerBase:
        tokenizer = prepare()
        tokenizer.save_pretrained(output_dir)
        return tokenizer

    return from_main_process(prepare_and_save)


def check_padding_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises an `InputError` for a tokenizer that cannot pad."""
    if tokenizer.pad_token_id is None:
        raise InputError(f"The tokenizer {tokenizer.name_or_path!r} has no padding token, which batches need.")


def prepare_checkpoint(
    settings: dict[str, Any], training_arguments: CommonTrainingArguments, free_settings: frozenset[str]
) -> str | None:
    """
    Finds the checkpoint to resume from, if there is one of a run with the same settings, and leaves the settings.

    A checkpoint that the user names may lie in another folder, and come from another program, which left no settings.

    Args:
        settings (`dict[str, Any]`): The run's settings.
        training_arguments (`CommonTrainingArguments`): How to train, and where to write.
        free_settings (`frozenset[str]`): Settings that may change between a run and its resumption.

    Raises:
        InputError: If a setting differs, or the checkpoint that was named cannot be resumed from.
    """
    if not training_arguments.do_train:
        return None
    output_dir = Path(training_arguments.output_dir)
    settings = _kept_settings(settings, training_arguments, free_settings)
    named = training_arguments.resume_from_checkpoint
    if named:
        _check_named(check_checkpoint(named), settings)
    if training_arguments.restart and training_arguments.should_save:
        remove_checkpoints(output_dir)
    elif list_checkpoints(output_dir) and not training_arguments.restart:
        check_same_settings(output_dir, settings)
    checkpoint = named or find_last_checkpoint(output_dir)
    if checkpoint and not named:
        logger.warning("Resuming from %s; pass --restart to start anew.", checkpoint)
    if training_arguments.should_save:
        save_settings(output_dir, settings)
    return str(checkpoint) if checkpoint else None


def _kept_settings(
    settings: dict[str, Any], training_arguments: CommonTrainingArguments, free_settings: frozenset[str]
) -> dict[str, Any]:
    """Returns the settings that must be the same in a resumed run, together with those of training."""
    settings = {name: value for name, value in settings.items() if name not in free_settings}
    kept = [name for name in KEPT_ARGUMENTS if hasattr(training_arguments, name)]
    settings |= {name: _plain(getattr(training_arguments, name)) for name in kept}
    settings["batch_size"] = (
        training_arguments.train_batch_size
        * training_arguments.gradient_accumulation_steps
        * training_arguments.world_size
    )
    return settings


def _check_named(checkpoint: Path, settings: dict[str, Any]) -> None:
    """Compares the settings with those beside a checkpoint that the user names."""
    if (checkpoint.parent / SETTINGS_NAME).exists():
        advice = (
            "Give those, or train from its weights with --model_name_or_path in place of --resume_from_checkpoint."
        )
        check_same_settings(checkpoint.parent, settings, advice)
    else:
        logger.warning("There is no %s beside %s to compare the settings with.", SETTINGS_NAME, checkpoint)


def settings_of(*arguments: Any) -> dict[str, Any]:
    """Returns the fields of several argument classes together."""
    return {name: value for part in arguments for name, value in dataclasses.asdict(part).items()}


def load_if_split(
    trainer: Trainer, model: PreTrainedModel, source: str | Path | None, revision: str | None = None
) -> Any:
    """
    Returns a model that one process can use by itself.

    Args:
        trainer (`Trainer`): Who may have split the weights over the processes.
        model (`PreTrainedModel`): The model.
        source (`str` or `Path`, *optional*): Where it is saved.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
    """
    if source is None or not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return model
    return type(model).from_pretrained(source, revision=revision or "main")


def choose_evaluation(
    arguments: CommonTrainingArguments, metric: str, greater_is_better: bool, has_validation: bool
) -> None:
    """Sets the metric that picks the best checkpoint, and turns evaluation off where there is nothing to evaluate."""
    if arguments.metric_for_best_model in (None, "loss"):  # "loss" is what `TrainingArguments` makes of None
        arguments.metric_for_best_model, arguments.greater_is_better = metric, greater_is_better
    if not has_validation:
        arguments.eval_strategy, arguments.load_best_model_at_end = IntervalStrategy.NO, False
        if arguments.save_strategy == SaveStrategy.BEST or arguments.early_stopping_patience:
            raise InputError(
                "There is no validation data to pick the best checkpoint by. Pass --validation_file, or a "
                "--validation_split_percentage above 0."
            )


def write_card(
    output_dir: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: dict[str, Dataset],
    text_column: str,
    metrics: dict[str, Any],
    log_history: list[dict[str, float]],
    data_arguments: CommonDataArguments,
    training_arguments: CommonTrainingArguments,
    model_arguments: CommonModelArguments,
    **facts: Any,
) -> None:
    """
    Records the facts of the model card in `card_facts.json`, and writes the card from them.

    Args:
        output_dir (`Path`): The model's folder.
        model (`PreTrainedModel`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        splits (`dict[str, Dataset]`): What it was trained and scored on.
        text_column (`str`): Column of the texts that the model reads.
        metrics (`dict[str, Any]`): All the figures.
        log_history (`list[dict]`): The trainer's log.
        data_arguments (`CommonDataArguments`): Where the data came from.
        training_arguments (`CommonTrainingArguments`): How the model was trained.
        model_arguments (`CommonModelArguments`): What training began with.
        facts: Fields of `CardFacts` that this task has of its own.
    """
    split, scores = pick_scores(metrics)
    hub_id = training_arguments.hub_model_id
    texts = splits[split][text_column] if split in splits else ()
    example: dict[str, Any] = next((splits[split][row] for row, text in enumerate(texts) if text.strip()), {})
    unused = "max_steps" if training_arguments.max_steps <= 0 else "num_train_epochs"
    shown = [name for name in SHOWN_ARGUMENTS if hasattr(training_arguments, name) and name != unused]
    values = {
        **describe_data(data_arguments.dataset_name, data_arguments.train_file or data_arguments.test_file),
        "metrics": scores,
        "hyper_parameters": {name: _plain(getattr(training_arguments, name)) for name in shown},
        "split_name": split,
        "num_train_rows": len(splits["train"]) if "train" in splits and not data_arguments.streaming else None,
        "num_evaluation_rows": len(splits[split]) if split in splits else None,
        "languages": data_arguments.languages or [],
        "license_name": data_arguments.license_name,
        "example_text": example.get(text_column),
        "reads_pairs": any("text_pair" in rows.column_names for rows in splits.values()),
        "example_text_pair": example.get("text_pair"),
        # Nothing can be loaded from a name without its owner, which a trainer that pushes there adds.
        "hub_id": hub_id if hub_id is not None and "/" in hub_id else None,
        "curve": read_curve(log_history),
        **describe_base(model_arguments.model_name_or_path),
        **facts,
    }
    if not training_arguments.do_train:
        values |= _earlier_facts(model.name_or_path, values)
    values |= _describe_evaluation(split, data_arguments, values["dataset_name"])
    recorded = build_facts(**values)
    recorded.save(output_dir)
    write_model_card(output_dir, model=model, tokenizer=tokenizer, **vars(recorded))


def _earlier_facts(folder: str, values: dict[str, Any]) -> dict[str, Any]:
    """Returns what is known of the training that made a model which is only scored now."""
    known = load_facts(folder)
    # What the arguments say of training is not what made the model.
    of_training = known or build_facts(dataset_name=_UNKNOWN_DATA)
    facts = {name: getattr(of_training, name) for name in _TRAINING_FACTS}
    if known is not None:
        facts |= {name: value for name, value in vars(known).items() if not values.get(name) and name not in _MEASURED}
        facts["task"] = known.task or values.get("task")
    return facts


def _describe_evaluation(split: str, arguments: CommonDataArguments, trained_on: str) -> dict[str, str | None]:
    """Returns what the data of the scores is called, where it is no split of the training's."""
    file = getattr(arguments, f"{split}_file")
    source = describe_data(None if file else arguments.dataset_name, file)
    is_other = (file or arguments.dataset_name) is not None and source["dataset_name"] != trained_on
    return {f"evaluation_{name}": value if is_other else None for name, value in source.items()}


def pick_scores(metrics: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """Returns the scores on the test data, or else on the validation data, after the split's name."""
    name, prefix = ("test", "test_") if any(key.startswith("test_") for key in metrics) else ("validation", "eval_")
    figures = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
    return name, {
        key: value for key, value in figures.items() if isinstance(value, (int, float)) and key not in NO_SCORES
    }


def describe_base(name: str | None) -> dict[str, Any]:
    """Returns what a model card says of the model that training began with, if any: the name of one on the Hub."""
    is_on_the_hub = name is not None and name.count("/") < 2 and not Path(name).exists()
    return {"base_model": name if is_on_the_hub else None, "is_fine_tuned": name is not None}


def describe_data(dataset_name: str | None, file: str | None) -> dict[str, str | None]:
    """Returns what a model card calls the data: `dataset_name`, and `dataset_id` if it is on the Hub."""
    source = dataset_name or file or "unnamed"
    # A path that `save_settings` has shortened leads nowhere, but has more parts than a name on the Hub.
    is_on_the_hub = dataset_name is not None and source.count("/") < 2 and not Path(source).exists()
    return {
        "dataset_name": source if is_on_the_hub else Path(source).name,
        "dataset_id": source if is_on_the_hub else None,
    }


def _plain(value: Any) -> Any:
    """Returns an option such as the optimizer, which is an enumeration, as its value."""
    return getattr(value, "value", value)
