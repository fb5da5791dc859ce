"""
Trains an LSTM language model, in a loop of its own to copy and change.

    python scripts/train_language_model_no_trainer.py --train_file train.txt --output_dir my_language_model
    torchrun --nproc_per_node 2 scripts/train_language_model_no_trainer.py --cpu --train_file ...

The texts are joined and cut into as many streams as a batch has rows. Each step reads the next piece of every stream
from the state that the last one left (truncated back-propagation through time), so that the model learns what lies
further back than a piece is long.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from hf_lstm import LstmCache, LstmConfig, LstmForCausalLM
from hf_lstm.data.checks import InputError
from hf_lstm.data.columns import select_texts
from hf_lstm.data.loading import load_file
from hf_lstm.data.token_streams import cut_streams, join_texts
from hf_lstm.data.tokenization import choose_algorithm, iterate_texts, tokenize
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
from hf_lstm.training.tasks.common import build_config

NO_LIMIT = 10**9  # tokens of a text


@dataclass
class Arguments(LoopArguments):
    """The arguments of every custom loop, and those of language models; a batch's rows are streams."""

    least = LoopArguments.least | {"bptt_length": 1}

    text_column_names: list[str] | None = field(
        default=None, metadata={"help": "Columns joined to the text; text or sentence by default."}
    )
    bptt_length: int = field(default=70, metadata={"help": "Tokens of each stream that a step reads."})
    embedding_size: int = field(default=256, metadata={"help": "Width of the token embeddings."})
    hidden_size: int = field(default=512, metadata={"help": "Width of each layer's output."})
    tie_word_embeddings: bool = field(default=True, metadata={"help": "Whether the output layer reuses embeddings."})
    per_device_eval_batch_size: int = field(default=8, metadata={"help": "Streams of the validation text."})
    learning_rate: float = field(default=3e-3, metadata={"help": "Highest learning rate."})


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains from the command line, and returns the figures."""
    (arguments,) = ArgumentReader((Arguments,)).read(sys.argv[1:] if args is None else args)
    accelerator, checkpoint = start_run(arguments)

    # The data: texts, and a tokenizer that does not end them, so that the model can go on with a prompt.
    with accelerator.main_process_first():
        train, validation = load_texts(arguments)
    auto = choose_algorithm(train["text"])
    tokenizer = prepare_tokenizer(arguments, checkpoint, iterate_texts(train), auto)
    with accelerator.main_process_first():
        train = tokenize(train, tokenizer, NO_LIMIT, "training")
        validation = tokenize(validation, tokenizer, NO_LIMIT, "validation")

    train_loader = make_streams(train, tokenizer, arguments.per_device_train_batch_size, accelerator, arguments)
    validation_loader = make_streams(
        validation, tokenizer, arguments.per_device_eval_batch_size, accelerator, arguments
    )

    model = build_model(arguments, tokenizer)
    rate, decay = arguments.learning_rate, arguments.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
    cache = model.make_cache()
    model, optimizer, train_loader, validation_loader = accelerator.prepare(
        model, optimizer, train_loader, validation_loader
    )
    progress = Progress(accelerator, train_loader, arguments, tokenizer)
    scheduler = accelerator.prepare(make_scheduler(optimizer, arguments, progress.num_steps))
    keep_with_checkpoints(accelerator, cache)
    set_seed(arguments.seed, device_specific=True)  # from here on, each process draws its own dropout
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
    metrics: dict[str, float] = {}
    for epoch in progress.epochs():
        model.train()
        if progress.step % progress.steps_per_epoch == 0:
            cache.reset()
        for batches, num_labels in progress.steps(epoch):
            step_loss = torch.zeros((), device=accelerator.device)
            for batch in batches:
                # Processes exchange their gradients once a step, after its last batch.
                is_last = batch is batches[-1]
                with contextlib.nullcontext() if is_last else accelerator.no_sync(model):
                    loss = compute_loss(model, batch, cache, num_labels)
                    accelerator.backward(loss * progress.loss_scale)
                cache.detach_()
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


def load_texts(arguments: Arguments) -> tuple[Dataset, Dataset]:
    """Loads the texts; without a validation file, the last ones are those to validate on."""
    encoding, columns = arguments.file_encoding, arguments.text_column_names
    train = select_texts(load_file(arguments.train_file, encoding), "training", columns)
    if arguments.validation_file is not None:
        return train, select_texts(load_file(arguments.validation_file, encoding), "validation", columns)
    share = arguments.validation_split_percentage
    num_train = round(len(train) * (1 - share / 100))
    if not 0 < num_train < len(train):
        raise InputError(
            f"`validation_split_percentage` is {share}, which leaves {num_train} of {len(train)} texts to train on, "
            "but there must be some to train and some to validate on. Pass another, or a --validation_file."
        )
    return train.select(range(num_train)), train.select(range(num_train, len(train)))


def make_streams(
    tokenized: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    accelerator: Accelerator,
    arguments: Arguments,
) -> DataLoader:
    """Makes a loader whose batch i holds piece i of every stream; each process reads streams of its own."""
    if tokenizer.eos_token_id is None:
        raise InputError(f"The tokenizer {tokenizer.name_or_path!r} has no end token to put after each text. Add one.")
    tokens = join_texts(tokenized, tokenizer.eos_token_id)
    num_streams = batch_size * accelerator.num_processes
    return make_loader(cut_streams(tokens, num_streams, arguments.bptt_length, tokenizer.pad_token_id), batch_size)


def build_model(arguments: Arguments, tokenizer: PreTrainedTokenizerBase) -> LstmForCausalLM:
    """Builds a new model; to start from a saved one, load it by `from_pretrained` here."""
    config = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "embedding_size": arguments.embedding_size,
        "hidden_size": arguments.hidden_size,
        "num_hidden_layers": arguments.num_hidden_layers,
        "input_dropout": arguments.dropout,
        "output_dropout": arguments.dropout,
        "tie_word_embeddings": arguments.tie_word_embeddings,
    }
    return LstmForCausalLM(build_config(LstmConfig, config))


def keep_with_checkpoints(accelerator: Accelerator, cache: LstmCache) -> None:
    """Has each process save the state of its streams with every checkpoint, and load it again."""
    name = f"streams_{accelerator.process_index}.bin"

    def save(models: Any, weights: Any, folder: str) -> None:
        torch.save([layer.states() for layer in cache.layers], Path(folder) / name)

    def load(models: Any, folder: str) -> None:
        device = accelerator.device.type  # torch does not load onto the "cpu:0" of several processes
        states = torch.load(Path(folder) / name, map_location=device, weights_only=True)
        for index, (hidden_state, cell_state) in enumerate(states):
            cache.update(hidden_state.unsqueeze(0), cell_state.unsqueeze(0), index, 0)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def compute_loss(model: torch.nn.Module, batch: dict[str, Any], cache: LstmCache, num_labels: Any) -> torch.Tensor:
    """Reads the next piece of each stream; the state in `cache` moves on."""
    arguments = {"shift_labels": batch["labels"], "num_items_in_batch": num_labels, "output_logits": False}
    return model(batch["input_ids"], cache=cache, **arguments).loss


@torch.no_grad()
def evaluate(accelerator: Accelerator, model: torch.nn.Module, loader: Any) -> dict[str, float]:
    """Computes the loss and the perplexity of the validation text over all processes together."""
    model.eval()
    cache = accelerator.unwrap_model(model).make_cache()
    loss_sum = torch.zeros((), device=accelerator.device)
    num_tokens = torch.zeros((), dtype=torch.long, device=accelerator.device)
    for batch in real_batches(accelerator, loader):
        loss_sum += compute_loss(model, batch, cache, 1)
        num_tokens += (batch["labels"] != -100).sum()
    loss = float(accelerator.reduce(loss_sum) / accelerator.reduce(num_tokens))
    # The exponential of torch, which is infinite where that of Python fails.
    return {"eval_loss": loss, "eval_perplexity": torch.tensor(loss, dtype=torch.float64).exp().item()}


if __name__ == "__main__":
    run_script(main)
