"""
Trains an LSTM encoder–decoder that turns texts into others, in a loop of its own to copy and change.

    python scripts/train_seq2seq_no_trainer.py --train_file pairs.jsonl --output_dir my_translator
    torchrun --nproc_per_node 2 scripts/train_seq2seq_no_trainer.py --cpu --train_file ...
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig
from hf_lstm.data.checks import InputError
from hf_lstm.data.pair_columns import SOURCE, TARGET
from hf_lstm.data.pair_tokenization import tokenize_pairs
from hf_lstm.data.pairs import load_pairs
from hf_lstm.data.splits import split_off_validation
from hf_lstm.data.text_files import check_readable_file
from hf_lstm.data.tokenization import choose_algorithm
from hf_lstm.training.generation_metrics import score_texts
from hf_lstm.training.loops import (
    LoopArguments,
    Progress,
    make_loader,
    make_scheduler,
    prepare_tokenizer,
    real_batches,
    save_run,
    start_run,
)
from hf_lstm.training.parsing import ArgumentReader
from hf_lstm.training.processes import run_script
from hf_lstm.training.sampler import LengthGroupedSampler, LengthSortedSampler, measure_pairs
from hf_lstm.training.tasks.common import build_config


@dataclass
class Arguments(LoopArguments):
    """The arguments of every custom loop, and those of encoder–decoders."""

    least = LoopArguments.least | {"num_beams": 1}

    train_target_file: str | None = field(
        default=None, metadata={"help": "Targets of the training data, where each file holds a text in each line."}
    )
    validation_target_file: str | None = field(default=None, metadata={"help": "Targets of the validation data."})
    source_column_name: str | None = field(default=None, metadata={"help": "Column of the sources."})
    target_column_name: str | None = field(default=None, metadata={"help": "Column of the targets."})
    source_lang: str | None = field(
        default=None, metadata={"help": "Language of the sources: their key in a column `translation`, such as de."}
    )
    target_lang: str | None = field(default=None, metadata={"help": "Language of the targets, such as en."})
    max_source_length: int = field(default=512, metadata={"help": "Tokens of a source that are read."})
    max_target_length: int = field(default=128, metadata={"help": "Tokens of a target, learned or generated."})
    num_beams: int = field(default=1, metadata={"help": "Beams of generated texts."})
    metric_names: list[str] = field(
        default_factory=lambda: ["bleu", "chrf"], metadata={"help": "Scores: bleu, chrf, rougeL, exact_match …"}
    )
    label_smoothing_factor: float = field(
        default=0.1, metadata={"help": "Probability spread over all tokens in training."}
    )
    vocab_size: int = field(default=8000, metadata={"help": "Largest number of tokens of a new tokenizer."})
    embedding_size: int = field(default=256, metadata={"help": "Width of the token embeddings."})
    hidden_size: int = field(default=512, metadata={"help": "Width of each layer's output, in encoder and decoder."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Pairs of a training batch, per process."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Pairs of an evaluation batch."})
    learning_rate: float = field(default=3e-3, metadata={"help": "Highest learning rate."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "How the learning rate changes."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing_factor < 1:
            raise InputError(
                f"`label_smoothing_factor` is {self.label_smoothing_factor}, but must be at least 0 and below 1."
            )
        if self.validation_target_file is not None and self.validation_file is None:
            raise InputError("--validation_target_file is given without --validation_file, the file of the sources.")
        for file in (self.train_target_file, self.validation_target_file):
            if file is not None:
                check_readable_file(file)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains from the command line, and returns the figures."""
    (arguments,) = ArgumentReader((Arguments,)).read(sys.argv[1:] if args is None else args)
    score_texts(arguments.metric_names, ["text"], ["text"])  # what cannot be scored fails now
    accelerator, checkpoint = start_run(arguments)

    # The data: pairs of texts, and one tokenizer for both sides.
    with accelerator.main_process_first():
        train, validation = load_data(arguments)
    auto = "char" if {choose_algorithm(train[side]) for side in (SOURCE, TARGET)} == {"char"} else "bpe"
    texts = (rows[side] for rows in train.iter(1000) for side in (SOURCE, TARGET))
    tokenizer = prepare_tokenizer(arguments, checkpoint, texts, auto, add_eos=True)
    references = validation[TARGET][:]
    limits = arguments.max_source_length, arguments.max_target_length
    with accelerator.main_process_first():
        train = tokenize_pairs(train, tokenizer, *limits, "training")
        validation = tokenize_pairs(validation, tokenizer, *limits, "validation")

    # Batches hold pairs of similar length, in an order that depends on the seed and the epoch alone.
    batch_size, collator = arguments.per_device_train_batch_size, DataCollatorForSeq2Seq(tokenizer)
    step_size = batch_size * accelerator.gradient_accumulation_steps * accelerator.num_processes
    train_order = LengthGroupedSampler(measure_pairs(train), step_size, arguments.seed, mega_batch_multiplier=200)
    train_loader = make_loader(train, batch_size, collator, train_order)
    order = LengthSortedSampler(measure_pairs(validation))
    references = [references[row] for row in order]
    validation_loader = make_loader(validation, arguments.per_device_eval_batch_size, collator, order)

    model = build_model(arguments, tokenizer)
    rate, decay = arguments.learning_rate, arguments.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
    model, optimizer, train_loader, validation_loader = accelerator.prepare(
        model, optimizer, train_loader, validation_loader
    )
    progress = Progress(accelerator, train_loader, arguments, tokenizer)
    scheduler = accelerator.prepare(make_scheduler(optimizer, arguments, progress.num_steps))
    set_seed(arguments.seed, device_specific=True)  # from here on, each process draws its own dropout
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
    smoothing = arguments.label_smoothing_factor
    metrics: dict[str, float] = {}
    for epoch in progress.epochs():
        model.train()
        for batches, num_labels in progress.steps(epoch):
            step_loss = torch.zeros((), device=accelerator.device)
            for batch in batches:
                # Processes exchange their gradients once a step, after its last batch.
                is_last = batch is batches[-1]
                with contextlib.nullcontext() if is_last else accelerator.no_sync(model):
                    loss = model(**batch, num_items_in_batch=num_labels, label_smoothing=smoothing).loss
                    accelerator.backward(loss * progress.loss_scale)
                step_loss += loss.detach()
            if arguments.max_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.count_step(step_loss)
        metrics = evaluate(accelerator, model, validation_loader, references, tokenizer, arguments)
        accelerator.print(f"Epoch {epoch + 1}: {metrics}")

    metrics = metrics or evaluate(accelerator, model, validation_loader, references, tokenizer, arguments)
    results = progress.results() | metrics
    save_run(accelerator, arguments, model, tokenizer, results)
    return results


def load_data(arguments: Arguments) -> tuple[Dataset, Dataset]:
    """Loads pairs of texts to train and to validate on, in columns `source` and `target`."""
    options: dict[str, Any] = {
        "source_column": arguments.source_column_name,
        "target_column": arguments.target_column_name,
        "source_lang": arguments.source_lang,
        "target_lang": arguments.target_lang,
        "encoding": arguments.file_encoding,
    }
    train = load_pairs(arguments.train_file, "train", arguments.train_target_file, drop_empty=True, **options)
    if arguments.validation_file is None:
        return split_off_validation(train, arguments.validation_split_percentage, seed=arguments.seed)
    return train, load_pairs(arguments.validation_file, "validation", arguments.validation_target_file, **options)


def build_model(arguments: Arguments, tokenizer: PreTrainedTokenizerBase) -> LstmForConditionalGeneration:
    """Builds a new model, which keeps how it generates; to start from a saved one, load it by `from_pretrained`."""
    config = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.bos_token_id,
        "input_dropout": arguments.dropout,
        "output_dropout": arguments.dropout,
    }
    for side in ("encoder", "decoder"):
        config[f"{side}_embedding_size"] = arguments.embedding_size
        config[f"{side}_hidden_size"] = arguments.hidden_size
        config[f"{side}_layers"] = arguments.num_hidden_layers
    model = LstmForConditionalGeneration(build_config(LstmSeq2SeqConfig, config))
    model.generation_config.max_length = arguments.max_target_length + 1  # the start token counts as one
    model.generation_config.num_beams = arguments.num_beams
    return model


@torch.no_grad()
def evaluate(
    accelerator: Accelerator,
    model: torch.nn.Module,
    loader: Any,
    references: list[str],
    tokenizer: PreTrainedTokenizerBase,
    arguments: Arguments,
) -> dict[str, float]:
    """Computes the loss, and the scores of generated texts, on the validation data of all processes together."""
    model.eval()
    writer = accelerator.unwrap_model(model)
    predictions, loss_sum = [], torch.zeros((), device=accelerator.device)
    num_tokens = torch.zeros((), dtype=torch.long, device=accelerator.device)
    for batch in real_batches(accelerator, loader):
        loss_sum += model(**batch, num_items_in_batch=1).loss  # the sum of the losses
        num_tokens += (batch["labels"] != -100).sum()
        written = writer.generate(batch["input_ids"], attention_mask=batch["attention_mask"])
        # The processes' texts differ in length.
        written = accelerator.pad_across_processes(written, dim=1, pad_index=tokenizer.pad_token_id)
        predictions += tokenizer.batch_decode(accelerator.gather_for_metrics(written), skip_special_tokens=True)
    scores = score_texts(arguments.metric_names, predictions, references)
    loss = float(accelerator.reduce(loss_sum) / accelerator.reduce(num_tokens))
    return {"eval_loss": loss} | {f"eval_{name}": value for name, value in scores.items()}


if __name__ == "__main__":
    run_script(main)
