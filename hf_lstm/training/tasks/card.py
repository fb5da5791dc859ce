"""The model card of a training: what it learned from, how, and how good it is."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...hub.card_facts import build_facts, load_facts, read_curve
from ...hub.model_card import write_model_card
from ..common_arguments import CommonDataArguments, CommonModelArguments, CommonTrainingArguments
from .common import plain_value

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
    "noise_rate",
    "weight_averaging",
    "seed",
    "class_weights",
    "subword_dropout",
)
# Facts of a model card that training alone decides, and those that scoring does.
_TRAINING_FACTS = (
    *("dataset_name", "dataset_id", "num_train_rows", "hyper_parameters", "curve", "max_length", "base_model"),
    "is_fine_tuned",
)
_MEASURED = ("metrics", "split_name", "num_evaluation_rows", "hub_model_id")
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
        "hyper_parameters": {name: plain_value(getattr(training_arguments, name)) for name in shown},
        "split_name": split,
        "num_train_rows": len(splits["train"]) if "train" in splits and not data_arguments.streaming else None,
        "num_evaluation_rows": len(splits[split]) if split in splits else None,
        "languages": data_arguments.languages or [],
        "license_name": data_arguments.license_name,
        "example_text": example.get(text_column),
        "reads_pairs": any("text_pair" in rows.column_names for rows in splits.values()),
        "example_text_pair": example.get("text_pair"),
        # Nothing can be loaded from a name without its owner, which a trainer that pushes there adds.
        "hub_model_id": hub_id if hub_id is not None and "/" in hub_id else None,
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
