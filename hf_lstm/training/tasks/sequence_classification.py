"""Sequence classification from data to a scored, saved and documented model."""

import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed
from transformers.trainer_utils import PredictionOutput

from ...data.checks import check_output_directory
from ...data.labels import REGRESSION, LabelScheme
from ...data.noisy_texts import NoisyTexts
from ...data.streams import Columns, ExampleStream
from ...data.text_noise import TextNoise
from ...data.tokenization import encode_texts, tokenize
from ...models.configuration_lstm import LstmConfig
from ...models.modeling_lstm import LstmForSequenceClassification
from ..arguments import DataArguments, LstmTrainingArguments, ModelArguments
from ..metrics import classification_metrics
from ..naive_bayes import start_from_naive_bayes
from ..parsing import ArgumentReader
from ..processes import from_main_process
from ..stopping import LstmEarlyStoppingCallback
from ..trainer import LstmTrainer
from .classification_data import LABELS, ClassificationData, load_classification_data
from .classification_model import prepare_model, prepare_tokenizer, trained_scheme
from .classification_outputs import decode_predictions, document_run, score_linear_baseline, write_predictions
from .common import choose_evaluation, load_if_split, load_trained_config, set_up_logging
from .common_data import count_samples
from .resumption import FREE_SETTINGS, prepare_checkpoint, settings_of
from .streaming import build_example_stream, check_streaming
from .tokenizers import share_tokenizer

_FREE_SETTINGS = FREE_SETTINGS | {"linear_baseline", "find_wrong_labels"}


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
    set_up_logging(training_arguments)
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
    # What is chosen below must not pass for what the user has set where they are given to another run.
    training_arguments = copy.copy(training_arguments)
    check_streaming(data_arguments, training_arguments)
    set_seed(training_arguments.seed)
    output_dir = from_main_process(lambda: check_output_directory(training_arguments.output_dir))
    trained_config = load_trained_config(LstmConfig, model_arguments, data_arguments.cache_dir)
    settings = settings_of(model_arguments, data_arguments)
    checkpoint = from_main_process(lambda: prepare_checkpoint(settings, training_arguments, _FREE_SETTINGS))
    with training_arguments.main_process_first(desc="loading the data"):
        data = load_classification_data(data_arguments, training_arguments.do_train, trained_scheme(trained_config))
    tokenizer = share_tokenizer(
        lambda: prepare_tokenizer(model_arguments, data_arguments, data, checkpoint), output_dir
    )
    model = prepare_model(model_arguments, tokenizer, data.scheme, trained_config, training_arguments.do_train)
    with training_arguments.main_process_first(desc="tokenising"):
        tokenized = _tokenize_splits(data, tokenizer, data_arguments)
    noisy_texts = _add_noise(data, tokenizer, data_arguments, training_arguments)
    if noisy_texts is not None:
        tokenized["train"] = noisy_texts
    trainer = _build_trainer(model, tokenizer, data, tokenized, data_arguments, training_arguments)
    if trainer.hub_model_id is not None:
        training_arguments.hub_model_id = trainer.hub_model_id  # with its owner, for the card
    metrics = count_samples(tokenized, data_arguments)
    metrics |= {"vocab_size": len(tokenizer), "num_parameters": model.num_parameters()}
    if data_arguments.linear_baseline:
        metrics |= score_linear_baseline(data, trainer.compute_metrics)
    if training_arguments.do_train:
        if checkpoint is None and trained_config is None:
            _start_ngram_classifier(trainer, tokenized["train"])
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
        saved = output_dir if training_arguments.do_train else model_arguments.model_name_or_path
        model = load_if_split(trainer, model, saved, model_arguments.revision_of(saved))
        if data.predict is not None:
            write_predictions(output_dir / "predictions.csv", data.predict, *decoded["predict"])
        log_history = trainer.state.log_history
        document_run(
            output_dir,
            model,
            tokenizer,
            data,
            metrics,
            logits,
            log_history,
            data_arguments,
            training_arguments,
            model_arguments,
        )
    if training_arguments.push_to_hub:
        trainer.push_to_hub()
    predictions = {name: names for name, (names, _) in decoded.items()}
    return SequenceClassificationResult(output_dir, model, tokenizer, data.scheme, metrics, predictions)


def _build_trainer(
    model: LstmForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    data: ClassificationData,
    tokenized: dict[str, Dataset | NoisyTexts],
    data_arguments: DataArguments,
    arguments: LstmTrainingArguments,
) -> LstmTrainer:
    compute_metrics, metric, greater_is_better = classification_metrics(
        data.scheme.problem_type, data.scheme.num_labels, data_arguments.metric_name
    )
    choose_evaluation(arguments, metric, greater_is_better, "validation" in tokenized)
    patience = arguments.early_stopping_patience
    train: Dataset | NoisyTexts | ExampleStream | None = tokenized.get("train")
    if data.stream is not None:
        encode = partial(_encode_labelled_texts, tokenizer=tokenizer, max_length=data_arguments.max_length)
        train = build_example_stream(data.stream, encode, ("input_ids",), data_arguments, arguments)
    return LstmTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=tokenized.get("validation"),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[LstmEarlyStoppingCallback(patience)] if patience else [],
    )


def _encode_labelled_texts(columns: Columns, **options: Any) -> Columns:
    return {LABELS: columns[LABELS]} | encode_texts(columns, **options)


def _start_ngram_classifier(trainer: LstmTrainer, tokenized: Dataset | NoisyTexts) -> None:
    config = trainer.model.config
    if trainer.args.naive_bayes_start and config.classifier_ngram_orders and config.problem_type != REGRESSION:
        train = tokenized.select_columns(["input_ids", LABELS]) if isinstance(tokenized, Dataset) else tokenized
        start_from_naive_bayes(trainer.model, train, trainer.data_collator)


def _predict_splits(trainer: LstmTrainer, tokenized: dict[str, Dataset | NoisyTexts]) -> dict[str, PredictionOutput]:
    prefixes = {"validation": "eval", "test": "test", "predict": "predict"}
    return {
        name: trainer.predict(tokenized[name], metric_key_prefix=prefix)
        for name, prefix in prefixes.items()
        if name in tokenized
    }


def _tokenize_splits(
    data: ClassificationData, tokenizer: PreTrainedTokenizerBase, arguments: DataArguments
) -> dict[str, Dataset | NoisyTexts]:
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


def _add_noise(
    data: ClassificationData,
    tokenizer: PreTrainedTokenizerBase,
    data_arguments: DataArguments,
    training_arguments: LstmTrainingArguments,
) -> NoisyTexts | None:
    """Returns the training texts with noise, `None` if there is to be none."""
    if data.train is None or training_arguments.noise_rate == 0:
        return None
    noise = TextNoise(training_arguments.noise_kind, data.train["text"][:])
    rate, seed = training_arguments.noise_rate, training_arguments.seed
    return NoisyTexts(data.train, tokenizer, data_arguments.max_length, noise, rate, seed)
