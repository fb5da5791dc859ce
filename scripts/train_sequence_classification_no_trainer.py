"""
Trains an LSTM that classifies texts, in a loop of its own to copy and change.

    python scripts/train_sequence_classification_no_trainer.py --train_file train.csv --output_dir my_model
    torchrun --nproc_per_node 2 scripts/train_sequence_classification_no_trainer.py --cpu --train_file ...
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedTokenizerBase

from hf_lstm import LstmConfig, LstmForSequenceClassification
from hf_lstm.data.collators import LstmDataCollator
from hf_lstm.data.columns import LABEL_COLUMN_NAMES, find_column, select_texts
from hf_lstm.data.labels import LabelScheme, learn_scheme, read_labels
from hf_lstm.data.tokenization import choose_algorithm, iterate_texts, tokenize
from hf_lstm.training.loops import (
    LoopArguments,
    Progress,
    check_same_labels,
    load_files,
    make_loader,
    make_scheduler,
    prepare_tokenizer,
    real_batches,
    save_run,
    split_rows,
    start_run,
)
from hf_lstm.training.metrics import classification_metrics
from hf_lstm.training.parsing import ArgumentReader
from hf_lstm.training.processes import run_script
from hf_lstm.training.sampler import LengthGroupedSampler, LengthSortedSampler, count_tokens
from hf_lstm.training.tasks.common import build_config


@dataclass
class Arguments(LoopArguments):
    """The arguments of every custom loop, and those of classifiers."""

    least = LoopArguments.least | {"max_length": 1}

    text_column_names: list[str] | None = field(
        default=None, metadata={"help": "Columns joined to the text; text or sentence by default."}
    )
    label_column_name: str | None = field(default=None, metadata={"help": "Column of the labels; label."})
    label_delimiter: str | None = field(
        default=None, metadata={"help": "What separates several labels in one cell, for multi-label data."}
    )
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = field(
        default=None, metadata={"help": "By default single-label, or multi-label where labels are lists."}
    )
    max_length: int = field(default=1024, metadata={"help": "Tokens of a text that are read."})
    lowercase: bool = field(default=True, metadata={"help": "Whether a new tokenizer ignores case."})
    dropout: float = field(default=0.5, metadata={"help": "Dropout before and after the LSTM."})


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains from the command line, and returns the figures."""
    (arguments,) = ArgumentReader((Arguments,)).read(sys.argv[1:] if args is None else args)
    accelerator, checkpoint = start_run(arguments)

    # The data: texts, their labels, and a tokenizer for them.
    raw = load_files(accelerator, arguments)
    scheme = learn_labels(raw["training"], arguments)
    check_same_labels(checkpoint, scheme.names)
    with accelerator.main_process_first():
        rows = {split: read_rows(dataset, split, arguments, scheme) for split, dataset in raw.items()}
        train, validation = split_rows(arguments, rows)
    auto = choose_algorithm(train["text"])
    tokenizer = prepare_tokenizer(arguments, checkpoint, iterate_texts(train), auto)
    with accelerator.main_process_first():
        train = tokenize(train, tokenizer, arguments.max_length, "training")
        validation = tokenize(validation, tokenizer, arguments.max_length, "validation")

    # Batches hold texts of similar length, in an order that depends on the seed and the epoch alone.
    batch_size, collator = arguments.per_device_train_batch_size, LstmDataCollator(tokenizer)
    step_size = batch_size * accelerator.gradient_accumulation_steps * accelerator.num_processes
    train_order = LengthGroupedSampler(count_tokens(train), step_size, arguments.seed)
    train_loader = make_loader(train, batch_size, collator, train_order)
    order = LengthSortedSampler(count_tokens(validation))
    validation_loader = make_loader(validation, arguments.per_device_eval_batch_size, collator, order)

    model = build_model(arguments, tokenizer, scheme)
    rate, decay = arguments.learning_rate, arguments.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
    model, optimizer, train_loader, validation_loader = accelerator.prepare(
        model, optimizer, train_loader, validation_loader
    )
    progress = Progress(accelerator, train_loader, arguments, tokenizer, scheme.names)
    scheduler = accelerator.prepare(make_scheduler(optimizer, arguments, progress.num_steps))
    set_seed(arguments.seed, device_specific=True)  # from here on, each process draws its own dropout
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
    metrics: dict[str, float] = {}
    for epoch in progress.epochs():
        model.train()
        for batches, num_labels in progress.steps(epoch):
            step_loss = torch.zeros((), device=accelerator.device)
            for batch in batches:
                # Processes exchange their gradients once a step, after its last batch.
                is_last = batch is batches[-1]
                with contextlib.nullcontext() if is_last else accelerator.no_sync(model):
                    loss = model(**batch, num_items_in_batch=num_labels).loss
                    accelerator.backward(loss * progress.loss_scale)
                step_loss += loss.detach()
            if arguments.max_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.count_step(step_loss)
        metrics = evaluate(accelerator, model, validation_loader, scheme)
        accelerator.print(f"Epoch {epoch + 1}: {metrics}")

    metrics = metrics or evaluate(accelerator, model, validation_loader, scheme)
    results = progress.results() | metrics
    save_run(accelerator, arguments, model, tokenizer, results)
    return results


def learn_labels(raw: Dataset, arguments: Arguments) -> LabelScheme:
    """Learns from the training data what the labels are called."""
    column, labels = find_labels(raw, "training", arguments)
    return learn_scheme(labels, arguments.problem_type, raw.features[column])


def read_rows(raw: Dataset, split: str, arguments: Arguments, scheme: LabelScheme) -> Dataset:
    """Returns a split's texts with the numbers of their labels."""
    _, labels = find_labels(raw, split, arguments)
    texts = select_texts(raw, split, arguments.text_column_names)
    return texts.add_column("labels", scheme.encode(labels, split))


def find_labels(raw: Dataset, split: str, arguments: Arguments) -> tuple[str, list[Any]]:
    """Returns the label column that the arguments name, or else a usual one, and the labels in it."""
    column = find_column(raw, arguments.label_column_name, LABEL_COLUMN_NAMES, "label_column_name", split)
    return column, read_labels(raw, column, arguments.label_delimiter)


def build_model(
    arguments: Arguments, tokenizer: PreTrainedTokenizerBase, scheme: LabelScheme
) -> LstmForSequenceClassification:
    """Builds a new model; to start from a saved one, load it by `from_pretrained` here."""
    config = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "embedding_size": arguments.embedding_size,
        "hidden_size": arguments.hidden_size,
        "num_hidden_layers": arguments.num_hidden_layers,
        "bidirectional": True,
        "input_dropout": arguments.dropout,
        "classifier_dropout": arguments.dropout,
        "problem_type": scheme.problem_type,
        "num_labels": scheme.num_labels,
        **scheme.label_maps(),
    }
    return LstmForSequenceClassification(build_config(LstmConfig, config))


@torch.no_grad()
def evaluate(accelerator: Accelerator, model: torch.nn.Module, loader: Any, scheme: LabelScheme) -> dict[str, float]:
    """Computes the loss and the scores on the validation data of all processes together."""
    model.eval()
    logits, labels, loss_sum = [], [], torch.zeros((), device=accelerator.device)
    for batch in real_batches(accelerator, loader):
        outputs = model(**batch, num_items_in_batch=1)  # the sum of the losses
        loss_sum += outputs.loss
        gathered = accelerator.gather_for_metrics((outputs.logits, batch["labels"]))
        logits.append(gathered[0].float().cpu().numpy())
        labels.append(gathered[1].cpu().numpy())
    prediction = EvalPrediction(np.concatenate(logits), np.concatenate(labels))
    compute_metrics, _, _ = classification_metrics(scheme.problem_type, scheme.num_labels)
    loss = float(accelerator.reduce(loss_sum)) / prediction.label_ids.size
    return {"eval_loss": loss} | {f"eval_{name}": value for name, value in compute_metrics(prediction).items()}


if __name__ == "__main__":
    run_script(main)
