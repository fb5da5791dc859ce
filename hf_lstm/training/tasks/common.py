"""What the training tasks do alike: logging, the configuration, loading models, and how to evaluate."""

import logging
from pathlib import Path
from typing import Any

import datasets
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig, PreTrainedModel, Trainer
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ...data.checks import InputError, describe_error
from ..checkpoints import (
    check_model_folder,
    check_no_adapter,
)
from ..common_arguments import CommonModelArguments, CommonTrainingArguments


def set_up_logging(training_arguments: CommonTrainingArguments) -> None:
    """Makes the package and the libraries below it log what the user asked for."""
    level = training_arguments.get_process_log_level()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(min(level, logging.INFO) if training_arguments.should_log else level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)


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


def plain_value(value: Any) -> Any:
    """Returns an option such as the optimizer, which is an enumeration, as its value."""
    return getattr(value, "value", value)
