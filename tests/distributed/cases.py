"""Tiny training runs whose losses and weights must not depend on how many processes share a batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmSeq2SeqConfig,
)
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.seq2seq_arguments import LstmSeq2SeqTrainingArguments
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from hf_lstm.training.trainer import LstmTrainer

VOCAB_SIZE = 13
GLOBAL_BATCH_SIZE = 16
NUM_EVALUATED = 21

# Of the last global batch of 45 rows, two processes hold 8 and 5; of 36 rows, 4 and none. Of 48, none is left over.
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "classifier": ("classifier", 48, {}),
    "classifier_uneven": ("classifier", 45, {}),
    "classifier_uneven_empty": ("classifier", 36, {}),
    "classifier_accumulated": ("classifier", 77, {"gradient_accumulation_steps": 2}),
    "classifier_weighted": ("classifier", 45, {"class_weights": ["balanced"], "label_smoothing_factor": 0.1}),
    "multi_label": ("multi_label", 37, {"class_weights": ["1", "3"], "label_smoothing_factor": 0.1}),
    "regression": ("regression", 36, {"gradient_accumulation_steps": 2}),
    # Of its nine steps, the last one's loss is not logged.
    "language_model": ("language_model", 45, {"num_train_epochs": 3, "logging_steps": 2}),
    "language_model_accumulated": ("language_model", 77, {"gradient_accumulation_steps": 2}),
    "seq2seq": ("seq2seq", 45, {}),
    "seq2seq_apart": ("seq2seq_apart", 45, {}),
    "seq2seq_accumulated": ("seq2seq", 36, {"gradient_accumulation_steps": 2, "label_smoothing_factor": 0.1}),
}


def run_case(name: str, directory: Path, num_processes: int, resumed_step: int | None = None) -> dict[str, Any]:
    """
    Trains and evaluates.

    Args:
        name (`str`): One of `CASES`.
        directory (`Path`): Where the run may write.
        num_processes (`int`): How many processes share a batch, which must be as many as there are.
        resumed_step (`int`, *optional*): Trains twice, the second time from the checkpoint of this step of the first.

    Returns:
        `dict[str, Any]`: Logged `losses`, their mean over all steps as `train_loss`, `weights`, and what the
        evaluation gives: `loss`, `predictions`, `labels`.
    """
    saving = {"save_strategy": "steps", "save_steps": resumed_step} if resumed_step else {}
    trainer = make_trainer(name, directory, num_processes, **saving)
    assert trainer.args.world_size == num_processes
    trained = trainer.train()
    if resumed_step is not None:
        trainer = make_trainer(name, directory, num_processes)
        trained = trainer.train(resume_from_checkpoint=str(directory / f"checkpoint-{resumed_step}"))
    output = trainer.predict(trainer.eval_dataset)
    return {
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "train_loss": trained.training_loss,
        "weights": {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()},
        "loss": output.metrics["test_loss"],
        "predictions": output.predictions,
        "labels": output.label_ids,
    }


def make_trainer(name: str, directory: Path, num_processes: int, **changes: Any) -> LstmTrainer:
    """Makes the trainer of a case, whose batches do not depend on the number of processes."""
    kind, num_rows, arguments = CASES[name]
    train, evaluated = make_rows(kind, num_rows, seed=1), make_rows(kind, NUM_EVALUATED, seed=5)
    is_seq2seq = kind.startswith("seq2seq")
    arguments_class = LstmSeq2SeqTrainingArguments if is_seq2seq else LstmTrainingArguments
    values = {
        "output_dir": str(directory),
        "per_device_train_batch_size": GLOBAL_BATCH_SIZE // num_processes,
        "per_device_eval_batch_size": 8 // num_processes,
        "num_train_epochs": 2,
        "learning_rate": 0.01,
        "logging_steps": 1,
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "disable_tqdm": True,
        "use_cpu": True,
        "ddp_backend": "gloo" if num_processes > 1 else None,
    }
    return (LstmSeq2SeqTrainer if is_seq2seq else LstmTrainer)(
        model=MODELS[kind](),
        args=arguments_class(**values | arguments | changes),
        train_dataset=train,
        eval_dataset=evaluated,
        processing_class=make_tokenizer(),
    )


def make_rows(kind: str, num_rows: int, seed: int) -> Dataset:
    """Makes rows of unlike lengths, which are labelled as the kind of model learns it."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(4, VOCAB_SIZE, length).tolist() for length in generator.integers(2, 9, num_rows)]
    labels: dict[str, Callable[[list[int]], Any]] = {
        "classifier": lambda row: int(max(row) > 11),
        "multi_label": lambda row: [float(max(row) > 11), float(len(row) > 4)],
        "regression": lambda row: float(np.mean(row)) / VOCAB_SIZE,
        "language_model": lambda row: row,
        "seq2seq": lambda row: [*row[: 1 + max(row) % 5], 3],
    }
    label = labels[kind.removesuffix("_apart")]
    return Dataset.from_dict({"input_ids": rows, "labels": [label(row) for row in rows]})


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3} | {f"w{number}": number for number in range(4, VOCAB_SIZE)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def make_classifier(problem_type: str = "single_label_classification", num_labels: int = 2) -> Any:
    torch.manual_seed(2)
    sizes = {"vocab_size": VOCAB_SIZE, "embedding_size": 5, "hidden_size": 6, "classifier_dropout": 0.0}
    config = LstmConfig(**sizes, bidirectional=True, num_labels=num_labels, problem_type=problem_type)
    return LstmForSequenceClassification(config)


def make_language_model() -> LstmForCausalLM:
    torch.manual_seed(2)
    return LstmForCausalLM(LstmConfig(vocab_size=VOCAB_SIZE, embedding_size=5, hidden_size=6))


def make_translator(**config: Any) -> LstmForConditionalGeneration:
    torch.manual_seed(2)
    sizes = {"encoder_embedding_size": 5, "decoder_embedding_size": 5, "encoder_hidden_size": 6}
    sizes |= {"decoder_hidden_size": 6, "input_dropout": 0.0, "output_dropout": 0.0}
    model = LstmForConditionalGeneration(LstmSeq2SeqConfig(vocab_size=VOCAB_SIZE, **sizes | config))
    model.generation_config.max_length = 8
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "classifier": make_classifier,
    "multi_label": lambda: make_classifier("multi_label_classification"),
    "regression": lambda: make_classifier("regression", 1),
    "language_model": make_language_model,
    "seq2seq": make_translator,
    "seq2seq_apart": lambda: make_translator(share_embeddings=False),
}
