"""
Trains an LSTM that tags words, in a loop of its own to copy and change.

    python scripts/train_token_classification_no_trainer.py --train_file train.jsonl --output_dir my_tagger
    torchrun --nproc_per_node 2 scripts/train_token_classification_no_trainer.py --cpu --train_file ...

Each row holds the words of a sentence and their tags, as lists or as strings with spaces between.
"""

import contextlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_lstm import LstmConfig, LstmForTokenClassification
from hf_lstm.data.checks import InputError
from hf_lstm.data.collators import LstmDataCollator
from hf_lstm.data.columns import find_column
from hf_lstm.data.labels import SINGLE_LABEL, LabelScheme, sorted_names
from hf_lstm.data.tokenization import choose_algorithm
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
from hf_lstm.training.metrics import load_metric
from hf_lstm.training.parsing import ArgumentReader
from hf_lstm.training.processes import run_script
from hf_lstm.training.sampler import LengthGroupedSampler, LengthSortedSampler, count_tokens
from hf_lstm.training.tasks.common import build_config

logger = logging.getLogger(__name__)


@dataclass
class Arguments(LoopArguments):
    """The arguments of every custom loop, and those of taggers."""

    least = LoopArguments.least | {"max_length": 1}

    word_column_name: str | None = field(default=None, metadata={"help": "Column of the words; tokens or words."})
    tag_column_name: str | None = field(default=None, metadata={"help": "Column of the tags; tags, labels or upos."})
    max_length: int = field(default=1024, metadata={"help": "Tokens of a sentence that are read."})


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains from the command line, and returns the figures."""
    (arguments,) = ArgumentReader((Arguments,)).read(sys.argv[1:] if args is None else args)
    accelerator, checkpoint = start_run(arguments)

    # The data: words, their tags, and a tokenizer, which may cut a word into several tokens.
    raw = load_files(accelerator, arguments)
    rows = {split: read_rows(dataset, split, arguments) for split, dataset in raw.items()}
    train, validation = split_rows(arguments, rows)
    scheme = LabelScheme(SINGLE_LABEL, tuple(sorted_names({tag for row in rows["training"]["tags"] for tag in row})))
    check_same_labels(checkpoint, scheme.names)
    auto = choose_algorithm([" ".join(words) for words in train["words"][:2000]])
    tokenizer = prepare_tokenizer(arguments, checkpoint, train["words"], auto)
    train = tokenize_words(train, tokenizer, scheme, "training", arguments.max_length)
    validation = tokenize_words(validation, tokenizer, scheme, "validation", arguments.max_length)

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
        metrics = evaluate(accelerator, model, validation_loader)
        accelerator.print(f"Epoch {epoch + 1}: {metrics}")

    metrics = metrics or evaluate(accelerator, model, validation_loader)
    results = progress.results() | metrics
    save_run(accelerator, arguments, model, tokenizer, results)
    return results


def read_rows(raw: Dataset, split: str, arguments: Arguments) -> Dataset:
    """Returns the lists of words and of tags of each row."""
    word_column = find_column(raw, arguments.word_column_name, ("tokens", "words"), "word_column_name", split)
    tag_column = find_column(raw, arguments.tag_column_name, ("tags", "labels", "upos"), "tag_column_name", split)
    words: list[list[Any]]
    tags: list[list[Any]]
    words, tags = (
        [row.split() if isinstance(row, str) else row or [] for row in raw[column]]
        for column in (word_column, tag_column)
    )
    for number, (row_words, row_tags) in enumerate(zip(words, tags, strict=True), start=1):
        for kind, row in (("word", row_words), ("tag", row_tags)):
            if None in row:
                raise InputError(
                    f"Row {number} of the {split} data has null as its {kind} {row.index(None) + 1}. Write a {kind} "
                    "there, or drop the row."
                )
        blank = next((place for place, word in enumerate(row_words, start=1) if not str(word).strip()), None)
        if blank is not None:
            raise InputError(
                f"Row {number} of the {split} data has {row_words[blank - 1]!r} as its word {blank}, but a word must "
                "hold more than white space. Drop it together with its tag, or the row."
            )
        if len(row_words) != len(row_tags):
            raise InputError(
                f"Row {number} of the {split} data has {len(row_words)} words but {len(row_tags)} tags. Each word "
                "needs one tag: correct the row, or drop it."
            )
    columns = {"words": words, "tags": tags}
    return Dataset.from_dict({name: [list(map(str, row)) for row in rows] for name, rows in columns.items()})


def tokenize_words(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, scheme: LabelScheme, split: str, max_length: int
) -> Dataset:
    """Returns each row's tokens, with its word's tag at the first token of each word and -100 at the others."""
    words, tags = rows["words"][:], rows["tags"][:]
    numbers = iter(scheme.encode([tag for row in tags for tag in row], split))
    numbered = [[next(numbers) for _ in row] for row in tags]
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
    labels, num_cut = [], 0
    for row, tag_numbers in enumerate(numbered):
        word_ids = encoded.word_ids(row)
        is_cut = bool(encoded.encodings[row].overflowing)
        num_cut += is_cut
        kept = set(word_ids)
        num_read = max((word for word in kept if word is not None), default=-1) + 1 if is_cut else len(words[row])
        lost = [word for place, word in enumerate(words[row][:num_read]) if place not in kept]
        if lost:
            raise InputError(
                f"The tokenizer makes no token of the word {lost[0]!r} in {words[row]} of the {split} data, so that "
                "its tag could not be learnt. Drop it together with its tag, or the row."
            )
        is_first = [word not in (None, before) for word, before in zip(word_ids, [None, *word_ids])]
        labels.append([tag_numbers[word] if first else -100 for word, first in zip(word_ids, is_first)])
    if num_cut:
        logger.warning(
            "%d of %d sentences of the %s data were cut to %d tokens, and their other words are in no score; raise "
            "--max_length.",
            *(num_cut, len(labels), split, max_length),
        )
    return Dataset.from_dict({"input_ids": encoded["input_ids"], "labels": labels})


def build_model(
    arguments: Arguments, tokenizer: PreTrainedTokenizerBase, scheme: LabelScheme
) -> LstmForTokenClassification:
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
        **scheme.label_maps(),
    }
    return LstmForTokenClassification(build_config(LstmConfig, config))


@torch.no_grad()
def evaluate(accelerator: Accelerator, model: torch.nn.Module, loader: Any) -> dict[str, float]:
    """Computes the loss, and accuracy and F1 over words, on the validation data of all processes together."""
    model.eval()
    accuracy, f1 = load_metric("accuracy"), load_metric("f1")
    loss_sum, num_words = torch.zeros((), device=accelerator.device), 0
    for batch in real_batches(accelerator, loader):
        outputs = model(**batch, num_items_in_batch=1)  # the sum of the losses
        loss_sum += outputs.loss
        # The processes' batches differ in width.
        predicted = accelerator.pad_across_processes(outputs.logits.argmax(dim=-1), dim=1, pad_index=-100)
        labels = accelerator.pad_across_processes(batch["labels"], dim=1, pad_index=-100)
        predicted, labels = accelerator.gather_for_metrics((predicted, labels))
        is_word = labels != -100
        num_words += int(is_word.sum())
        for metric in (accuracy, f1):
            metric.add_batch(predictions=predicted[is_word].tolist(), references=labels[is_word].tolist())
    scores = accuracy.compute() | f1.compute()
    loss = float(accelerator.reduce(loss_sum)) / max(1, num_words)
    return {"eval_loss": loss} | {f"eval_{name}": value for name, value in scores.items()}


if __name__ == "__main__":
    run_script(main)
