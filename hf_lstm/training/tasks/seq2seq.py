"""Training of encoder–decoders, for translation, summaries and other pairs of texts, from data to a saved model."""

import copy
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedTokenizerBase, set_seed

from ...data.checks import InputError, check_output_directory
from ...data.pair_columns import TARGET
from ...data.pair_tokenization import encode_pairs, tokenize_pairs
from ...data.streams import ExampleStream
from ...data.token_noise import add_noise
from ...models.configuration_lstm import LstmSeq2SeqConfig
from ...models.modeling_lstm_seq2seq import LstmForConditionalGeneration
from ...models.pipelines_lstm import LstmSummarizationPipeline, LstmText2TextPipeline, LstmTranslationPipeline
from ..generation_metrics import REPORTED, bleu_signatures, decode_ids, generation_metrics, score_texts
from ..parsing import ArgumentReader
from ..processes import from_main_process
from ..seq2seq_arguments import LstmSeq2SeqTrainingArguments, Seq2SeqDataArguments, Seq2SeqModelArguments
from ..seq2seq_trainer import LstmSeq2SeqTrainer
from ..stopping import LstmEarlyStoppingCallback
from .common import choose_evaluation, load_if_split, load_trained_config, set_up_logging
from .common_data import count_samples
from .resumption import FREE_SETTINGS, prepare_checkpoint, settings_of
from .seq2seq_data import Seq2SeqData, load_seq2seq_data
from .seq2seq_model import prepare_model, prepare_tokenizer
from .seq2seq_outputs import document_run, write_predictions
from .streaming import build_example_stream, check_streaming
from .tokenizers import share_tokenizer

logger = logging.getLogger(__name__)

ENCODER_FOLDER = "encoder"
PIPELINES = {"translation": LstmTranslationPipeline, "summarization": LstmSummarizationPipeline}
NUM_LOGGED = 3
# Metrics that are not of texts.
NO_TEXT_SCORES = ("token_accuracy", "loss")
# How texts are generated at the end may be changed without training again.
_FREE_SETTINGS = FREE_SETTINGS | {
    "test_target_file",
    "num_beams",
    "length_penalty",
    "no_repeat_ngram_size",
    "num_attention_plots",
}


@dataclass
class Seq2SeqResult:
    """
    What a run leaves behind.

    Args:
        output_dir (`Path`): Folder with the model, the tokenizer, the report and the model card.
        model (`LstmForConditionalGeneration`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        metrics (`dict[str, Any]`): All the figures, `eval_*` on the validation and `test_*` on the test data.
        predictions (`dict[str, list[str]]`): Generated texts by split: `validation`, `test` and `predict`, where there
            are such.
    """

    output_dir: Path
    model: LstmForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    metrics: dict[str, Any]
    predictions: dict[str, list[str]]


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
    reader = ArgumentReader((Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments))
    model_arguments, data_arguments, training_arguments = reader.read(sys.argv[1:] if args is None else args)
    set_up_logging(training_arguments)
    return run(model_arguments, data_arguments, training_arguments).metrics


def run(
    model_arguments: Seq2SeqModelArguments,
    data_arguments: Seq2SeqDataArguments,
    training_arguments: LstmSeq2SeqTrainingArguments,
) -> Seq2SeqResult:
    """
    Loads the data, trains, evaluates, writes texts, and leaves the model, a report and a model card.

    Everything that can be checked is checked before training starts. With the task `autoencode`, the folder `encoder`
    holds the encoder by itself, which a classifier can start from.

    Args:
        model_arguments (`Seq2SeqModelArguments`): Which model.
        data_arguments (`Seq2SeqDataArguments`): Which data, and how texts are generated.
        training_arguments (`LstmSeq2SeqTrainingArguments`): How to train, and where to write.

    Returns:
        `Seq2SeqResult`: The model and its figures, which are also written to `output_dir`.

    Raises:
        InputError: If an argument or the data cannot be used.
    """
    started = time.perf_counter()
    # What is chosen below must not pass for what the user has set where they are given to another run.
    data_arguments, training_arguments = copy.copy(data_arguments), copy.copy(training_arguments)
    check_streaming(data_arguments, training_arguments)
    if data_arguments.predict_file is not None and not training_arguments.predict_with_generate:
        raise InputError(
            "--predict_file is given, but --no_predict_with_generate keeps texts from being generated. Leave one out."
        )
    set_seed(training_arguments.seed)
    output_dir = from_main_process(lambda: check_output_directory(training_arguments.output_dir))
    trained_config = load_trained_config(LstmSeq2SeqConfig, model_arguments, data_arguments.cache_dir)
    # Without it, a pretrained model would be trained and scored on other texts than its pipeline gives it.
    data_arguments.source_prefix = data_arguments.source_prefix or getattr(trained_config, "prefix", None) or ""
    settings = settings_of(model_arguments, data_arguments)
    checkpoint = from_main_process(lambda: prepare_checkpoint(settings, training_arguments, _FREE_SETTINGS))
    with training_arguments.main_process_first(desc="loading the data"):
        data = load_seq2seq_data(data_arguments, training_arguments.do_train)
    tokenizer = share_tokenizer(
        lambda: prepare_tokenizer(model_arguments, data_arguments, data.train, checkpoint), output_dir
    )
    model = prepare_model(model_arguments, data_arguments, tokenizer, trained_config)
    with training_arguments.main_process_first(desc="tokenising"):
        tokenized = _tokenize_splits(data, tokenizer, data_arguments)
    generation_config = copy.deepcopy(model.generation_config)
    trainer = _build_trainer(model, tokenizer, data, tokenized, data_arguments, training_arguments)
    if trainer.hub_model_id is not None:
        training_arguments.hub_model_id = trainer.hub_model_id  # with its owner, for the card
    metrics = count_samples(tokenized, data_arguments)
    metrics |= {"vocab_size": len(tokenizer), "num_parameters": model.num_parameters()}
    if training_arguments.do_train:
        metrics |= trainer.train(resume_from_checkpoint=checkpoint).metrics
        trainer.save_model()
        trainer.save_state()
    predictions, figures = _predict_splits(trainer, data, tokenized, data_arguments)
    metrics |= figures
    metrics["total_minutes"] = round((time.perf_counter() - started) / 60, 3)
    if trainer.is_world_process_zero():
        saved = output_dir if training_arguments.do_train else model_arguments.model_name_or_path
        model = load_if_split(trainer, model, saved, model_arguments.revision_of(saved))
        # The stock trainer has filled it with defaults.
        model.generation_config = generation_config
        _save_model(model, tokenizer, data_arguments.task, output_dir)
        for name, texts in predictions.items():
            file = "predictions.jsonl" if name == "predict" else f"{name}_predictions.jsonl"
            write_predictions(output_dir / file, data.splits()[name], texts)
        log_history = trainer.state.log_history
        document_run(
            output_dir,
            model,
            tokenizer,
            data,
            metrics,
            predictions,
            log_history,
            data_arguments,
            training_arguments,
            model_arguments,
        )
    if training_arguments.push_to_hub:
        trainer.push_to_hub()
    return Seq2SeqResult(output_dir, model, tokenizer, metrics, predictions)


def _save_model(
    model: LstmForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, task: str, output_dir: Path
) -> None:
    # A pipeline saves its own code with the model.
    PIPELINES.get(task, LstmText2TextPipeline)(model=model, tokenizer=tokenizer).save_pretrained(output_dir)
    if task == "autoencode":
        model.get_encoder().save_pretrained(output_dir / ENCODER_FOLDER)
        # A classifier reads the source alone.
        getattr(tokenizer, "source_tokenizer", tokenizer).save_pretrained(output_dir / ENCODER_FOLDER)


def _tokenize_splits(
    data: Seq2SeqData, tokenizer: PreTrainedTokenizerBase, arguments: Seq2SeqDataArguments
) -> dict[str, Dataset]:
    return {
        name: tokenize_pairs(
            split,
            tokenizer,
            arguments.max_source_length,
            arguments.max_target_length,
            name,
            arguments.source_prefix,
            arguments.preprocessing_num_workers,
            arguments.overwrite_cache,
        )
        for name, split in data.splits().items()
    }


def _build_trainer(
    model: LstmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    data: Seq2SeqData,
    tokenized: dict[str, Dataset],
    data_arguments: Seq2SeqDataArguments,
    arguments: LstmSeq2SeqTrainingArguments,
) -> LstmSeq2SeqTrainer:
    compute_metrics, metric, greater_is_better = generation_metrics(
        data_arguments.task,
        tokenizer,
        bleu_tokenize=data_arguments.bleu_tokenize,
        metric_name=data_arguments.metric_name if arguments.predict_with_generate else "loss",
    )
    choose_evaluation(arguments, metric, greater_is_better, "validation" in tokenized)
    patience = arguments.early_stopping_patience
    train: Dataset | ExampleStream | None = tokenized.get("train")
    if data.stream is not None:
        limits = {"text": data_arguments.max_source_length, "text_target": data_arguments.max_target_length}
        prefix = data_arguments.source_prefix
        encode = partial(encode_pairs, tokenizer=tokenizer, limits=limits, source_prefix=prefix)
        train = build_example_stream(data.stream, encode, ("labels", "input_ids"), data_arguments, arguments)
    has_noise = data_arguments.noise_word_dropout > 0 or data_arguments.noise_shuffle_distance > 0
    return LstmSeq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=tokenized.get("validation"),
        processing_class=tokenizer,
        compute_metrics=_log_samples(compute_metrics, tokenizer) if arguments.predict_with_generate else None,
        callbacks=[LstmEarlyStoppingCallback(patience)] if patience else [],
        source_noise=SourceNoise(tokenizer, data_arguments) if has_noise else None,
    )


def _log_samples(
    compute_metrics: Callable[[EvalPrediction], dict[str, float]], tokenizer: PreTrainedTokenizerBase
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Makes an evaluation also log a few generated texts beside what is right."""

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        rows = torch.linspace(0, len(prediction.predictions) - 1, NUM_LOGGED + 2).long()[1:-1].unique().tolist()
        texts = decode_ids(prediction.predictions[rows], tokenizer)
        for text, reference in zip(texts, decode_ids(prediction.label_ids[rows], tokenizer), strict=True):
            logger.info("Generated: %s | right: %s", text[:200], reference[:200])
        return compute_metrics(prediction)

    return compute


class SourceNoise:
    """
    Disturbs the sources of a batch by `add_noise`.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Tells the special tokens.
        arguments (`Seq2SeqDataArguments`): Tells how much noise there is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, arguments: Seq2SeqDataArguments):
        self.special_ids = tokenizer.all_special_ids
        self.word_dropout = arguments.noise_word_dropout
        self.shuffle_distance = arguments.noise_shuffle_distance

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns disturbed tokens and their mask, of shape `(batch_size, sequence_length)`, padded at the end."""
        # Seeded by torch's own state, which a checkpoint restores.
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        noisy, mask = torch.zeros_like(input_ids), torch.zeros_like(attention_mask)
        for row, (tokens, is_token) in enumerate(zip(input_ids.cpu(), attention_mask.cpu().bool(), strict=True)):
            noise = (self.word_dropout, self.shuffle_distance, None, self.special_ids, generator)
            kept = torch.tensor(add_noise(tokens[is_token].tolist(), *noise))
            noisy[row, : len(kept)], mask[row, : len(kept)] = kept.to(noisy), 1
        return noisy, mask


def _predict_splits(
    trainer: LstmSeq2SeqTrainer, data: Seq2SeqData, tokenized: dict[str, Dataset], arguments: Seq2SeqDataArguments
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Generates the texts of each split as the model will, and scores them against the targets as they were given."""
    predictions: dict[str, list[str]] = {}
    metrics: dict[str, Any] = {}
    num_beams = trainer.model.generation_config.num_beams
    for name, prefix in {"validation": "eval", "test": "test", "predict": "predict"}.items():
        if name not in tokenized:
            continue
        if not trainer.args.predict_with_generate:
            metrics |= trainer.evaluate(tokenized[name], metric_key_prefix=prefix) if name != "predict" else {}
            continue
        output = trainer.predict(tokenized[name], metric_key_prefix=prefix, num_beams=num_beams)
        metrics |= output.metrics or {}
        predictions[name] = decode_ids(output.predictions, trainer.processing_class)
        if TARGET in data.splits()[name].column_names:
            # The trainer's own scores are against decoded token ids, which may lack what the vocabulary does not hold.
            references = data.splits()[name][TARGET][:]
            chosen = (arguments.metric_name,) if arguments.metric_name else ()
            names = [
                score for score in dict.fromkeys(REPORTED[arguments.task] + chosen) if score not in NO_TEXT_SCORES
            ]
            scores = score_texts(names, predictions[name], references, arguments.bleu_tokenize)
            metrics |= {f"{prefix}_{score}": value for score, value in scores.items()}
            signatures = bleu_signatures(names, references, arguments.bleu_tokenize)
            metrics |= {f"{prefix}_{name}_signature": signature for name, signature in signatures.items()}
    return predictions, metrics
