"""Which checkpoint a training resumes from, and the settings that must be the same as when it was written."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from ..checkpoints import (
    SETTINGS_NAME,
    check_checkpoint,
    check_same_settings,
    find_last_checkpoint,
    list_checkpoints,
    remove_checkpoints,
    save_settings,
)
from ..common_arguments import CommonTrainingArguments
from .common import plain_value

logger = logging.getLogger(__name__)

# Settings that may change between any task's run and its resumption.
FREE_SETTINGS = frozenset(
    {"test_file", "predict_file", "max_predict_samples", "preprocessing_num_workers", "overwrite_cache", "cache_dir"}
)
# Training arguments that must be the same in a resumed run; it may make more steps, or share a batch otherwise.
KEPT_ARGUMENTS = (
    *("learning_rate", "ngram_learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay"),
    *("max_grad_norm", "label_smoothing_factor", "class_weights", "weight_averaging", "neftune_noise_alpha"),
    *("naive_bayes_start", "word_dropout", "subword_dropout", "noise_rate", "noise_kind", "seed", "data_seed"),
    *("train_sampling_strategy", "dataloader_drop_last", "average_tokens_across_devices", "bf16", "fp16", "tf32"),
    # Scores of another kind say nothing of which checkpoint is best.
    *("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("predict_with_generate", "generation_num_beams"),
)


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
        logger.warning("Resuming from %s; pass --restart to start over.", checkpoint)
    if training_arguments.should_save:
        save_settings(output_dir, settings)
    return str(checkpoint) if checkpoint else None


def _kept_settings(
    settings: dict[str, Any], training_arguments: CommonTrainingArguments, free_settings: frozenset[str]
) -> dict[str, Any]:
    """Returns the settings that must be the same in a resumed run, together with those of training."""
    settings = {name: value for name, value in settings.items() if name not in free_settings}
    kept = [name for name in KEPT_ARGUMENTS if hasattr(training_arguments, name)]
    settings |= {name: plain_value(getattr(training_arguments, name)) for name in kept}
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
