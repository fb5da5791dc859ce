"""Sequence classification from data to a scored, saved and documented model."""

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import transformers
from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, set_seed
from transformers.trainer_utils import IntervalStrategy, PredictionOutput, SaveStrategy

from ...data.checks import InputError, check_output_directory
from ...data.labels import REGRESSION, LabelScheme
from ...data.tokenization import tokenize
from ...models.modeling_lstm import LstmForSequenceClassification
from ..arguments import DataArguments, LstmTrainingArguments, ModelArguments
from ..checkpoints import (
    check_same_settings,
    find_last_checkpoint,
    list_checkpoints,
    remove_checkpoints,
    save_settings,
)
from ..metrics import classification_metrics
from ..naive_bayes import start_from_naive_bayes
from ..parsing import ArgumentReader
from ..trainer import LstmTrainer
from .classification_data import LABELS, ClassificationData, load_classification_data
from .classification_model import load_trained_config, prepare_model, prepare_tokenizer, trained_scheme
from .classification_outputs import decode_predictions, document_run, score_linear_baseline, write_predictions

logger = logging.getLogger(__name__)

# Settings that may change between a run and its resumption.
_FREE_SETTINGS = {
    "test_file",
    "predict_file",
    "max_predict_samples",
    "preprocessing_num_workers",
    "overwrite_cache",
    "cache_dir",
    "linear_baseline",
}


@dataclass
class SequenceClassificationResult:
    """
    What a run leaves behind.

    Args:
        output_dir (`Path`): Folder with the model, the tokenizer, the report and the model card.
        model (`LstmForSequenceClassification`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        scheme (`LabelScheme`): Kind and names of the labels.
        metrics (`dict[str, Any]`): All the figures, `eval_*` on the validation and `test_*` on the test data.
        predictions (`dict[str, list]`): Predicted label names (lists of them if multi-label; numbers for a regression)
            by split: `validation`, `test` and `predict`, where there are such.
    """

    output_dir: Path
    model: LstmForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    scheme: LabelScheme
    metrics: dict[str, Any]
    predictions: dict[str, list[Any]]


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    """
    Trains from the command line.

    Args:
        args (`Sequence[str]`, *optional*): Flags, after the path of a YAML or JSON file if there is one; those of the
            process by default.

    Returns:
        `dict[str, Any]`: The metrics.

    Raises:
        InputError: If an argument or the data cannot be used.
    """
    reader = ArgumentReader((ModelArguments, DataArguments, LstmTrainingArguments))
    model_arguments, data_arguments, training_arguments = reader.read(sys.argv[1:] if args is None else args)
    level = training_arguments.get_process_log_level()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(min(level, logging.INFO) if training_arguments.should_log else level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)
    return run(model_arguments, data_arguments, training_arguments).metrics


def run(
    model_arguments: ModelArguments, data_arguments: DataArguments, training_arguments: LstmTrainingArguments
) -> SequenceClassificationResult:
    """
    Loads the data, trains, evaluates, labels the texts to predict, and writes the model, a report and a model card.

    Everything that can be checked is checked before training starts.

    Args:
        model_arguments (`ModelArguments`): Which model.
        data_arguments (`DataArguments`): Which data.
        training_arguments (`LstmTrainingArguments`): How to train, and where to write.

    Returns:
        `SequenceClassificationResult`: The model and its figures, which are also written to `output_dir`.

    Raises:
        InputError: If an argument or the data cannot be used.
    """
    started = time.perf_counter()
    set_seed(training_arguments.seed)
    output_dir = check_output_directory(training_arguments.output_dir)
    trained_config = load_trained_config(model_arguments, data_arguments)
    with training_arguments.main_process_first(desc="loading the data"):
        checkpoint = _prepare_checkpoints(model_arguments, data_arguments, training_arguments)
        data = load_classification_data(data_arguments, training_arguments.do_train, trained_scheme(trained_config))
    with training_arguments.main_process_first(desc="preparing the tokenizer"):
        source = checkpoint if training_arguments.process_index == 0 else str(output_dir)
        tokenizer = prepare_tokenizer(model_arguments, data_arguments, data, source)
        if training_arguments.process_index == 0:
            tokenizer.save_pretrained(output_dir)
    model = prepare_model(model_arguments, tokenizer, data.scheme, trained_config)
    with training_arguments.main_process_first(desc="tokenising"):
        tokenized = _tokenize_splits(data, tokenizer, data_arguments)
    trainer = _build_trainer(model, tokenizer, data.scheme, tokenized, data_arguments, training_arguments)
    metrics: dict[str, Any] = {f"num_{name}_samples": len(split) for name, split in tokenized.items()}
    metrics |= {"vocab_size": len(tokenizer), "num_parameters": model.num_parameters()}
    if data_arguments.linear_baseline:
        metrics |= score_linear_baseline(data, trainer.compute_metrics)
    if training_arguments.do_train:
        if checkpoint is None and trained_config is None:
            _start_ngram_classifier(trainer)
        metrics |= trainer.train(resume_from_checkpoint=checkpoint).metrics
        trainer.save_model()
        trainer.save_state()
    outputs = _predict_splits(trainer, tokenized)
    for output in outputs.values():
        metrics |= output.metrics or {}
    metrics["total_minutes"] = round((time.perf_counter() - started) / 60, 3)
    logits = {name: output.predictions for name, output in outputs.items()}
    decoded = {name: decode_predictions(values, data.scheme) for name, values in logits.items()}
    if trainer.is_world_process_zero():
        if data.predict is not None:
            write_predictions(output_dir / "predictions.csv", data.predict, *decoded["predict"])
        log_history = trainer.state.log_history
        document_run(output_dir, model, data, metrics, logits, log_history, data_arguments, training_arguments)
    predictions = {name: names for name, (names, _) in decoded.items()}
    return SequenceClassificationResult(output_dir, model, tokenizer, data.scheme, metrics, predictions)


def _build_trainer(
    model: LstmForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    scheme: LabelScheme,
    tokenized: dict[str, Dataset],
    data_arguments: DataArguments,
    arguments: LstmTrainingArguments,
) -> LstmTrainer:
    compute_metrics, metric, greater_is_better = classification_metrics(
        scheme.problem_type, scheme.num_labels, data_arguments.metric_name
    )
    if arguments.metric_for_best_model in (None, "loss"):  # "loss" is what `TrainingArguments` makes of None
        arguments.metric_for_best_model, arguments.greater_is_better = metric, greater_is_better
    if "validation" not in tokenized:
        arguments.eval_strategy, arguments.load_best_model_at_end = IntervalStrategy.NO, False
        if arguments.save_strategy == SaveStrategy.BEST or arguments.early_stopping_patience:
            raise InputError(
                "There is no validation data to pick the best checkpoint by. Pass --validation_file, or a "
                "--validation_split_percentage above 0."
            )
    callbacks = [EarlyStoppingCallback(arguments.early_stopping_patience)] if arguments.early_stopping_patience else []
    return LstmTrainer(
        model=model,
        args=arguments,
        train_dataset=tokenized.get("train"),
        eval_dataset=tokenized.get("validation"),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=callbacks,
    )


def _start_ngram_classifier(trainer: LstmTrainer) -> None:
    config = trainer.model.config
    if trainer.args.naive_bayes_start and config.classifier_ngram_orders and config.problem_type != REGRESSION:
        train = trainer.train_dataset.select_columns(["input_ids", LABELS])
        start_from_naive_bayes(trainer.model, train, trainer.data_collator)


def _predict_splits(trainer: LstmTrainer, tokenized: dict[str, Dataset]) -> dict[str, PredictionOutput]:
    prefixes = {"validation": "eval", "test": "test", "predict": "predict"}
    return {
        name: trainer.predict(tokenized[name], metric_key_prefix=prefix)
        for name, prefix in prefixes.items()
        if name in tokenized
    }


def _prepare_checkpoints(
    model_arguments: ModelArguments, data_arguments: DataArguments, training_arguments: LstmTrainingArguments
) -> str | None:
    """Finds the checkpoint to resume from, if there is one of a run with the same settings."""
    if not training_arguments.do_train:
        return None
    if training_arguments.resume_from_checkpoint:
        return str(training_arguments.resume_from_checkpoint)
    output_dir = Path(training_arguments.output_dir)
    values = dataclasses.asdict(model_arguments) | dataclasses.asdict(data_arguments)
    settings = {name: value for name, value in values.items() if name not in _FREE_SETTINGS}
    settings["seed"] = training_arguments.seed
    if training_arguments.restart and training_arguments.should_save:
        remove_checkpoints(output_dir)
    elif list_checkpoints(output_dir) and not training_arguments.restart:
        check_same_settings(output_dir, settings)
    checkpoint = find_last_checkpoint(output_dir)
    if checkpoint is not None:
        logger.warning("Resuming from %s; pass --restart to start anew.", checkpoint)
    elif training_arguments.should_save:
        save_settings(output_dir, settings)
    return None if checkpoint is None else str(checkpoint)


def _tokenize_splits(
    data: ClassificationData, tokenizer: PreTrainedTokenizerBase, arguments: DataArguments
) -> dict[str, Dataset]:
    return {
        name: tokenize(
            split,
            tokenizer,
            arguments.max_length,
            name,
            arguments.preprocessing_num_workers,
            arguments.overwrite_cache,
        )
        for name, split in data.splits().items()
    }
