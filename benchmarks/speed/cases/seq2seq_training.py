"""Training of an encoder–decoder: forward, backward and optimizer step on random tokens, no dropout anywhere."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from benchmarks.speed.lengths import LengthDistribution, cut_batches
from benchmarks.speed.models import build_translator, count_parameters
from benchmarks.speed.seq2seq_peers import IGNORED, PlainTranslator, make_keras_translator
from benchmarks.speed.settings import PRECISIONS, pick_fastest, with_precision
from benchmarks.speed.transformer_peers import make_marian
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Training from sequence to sequence"
LENGTHS, QUICK_LENGTHS = LengthDistribution(15, 0.4, 60), LengthDistribution(4, 0.4, 9)
BATCH_SIZE, NUM_BATCHES = 64, 3
REFERENCE = "plain PyTorch, packed"
LEARNING_RATE = 1e-4
FIRST_TOKEN = 4  # the ids before are special


class Pairs(NamedTuple):
    """
    A batch of random tokens.

    Args:
        source (`np.ndarray` of shape `(batch_size, source_length)`): Source tokens, 0 at padding.
        labels (`np.ndarray` of shape `(batch_size, target_length)`): Target tokens, -100 at padding.
    """

    source: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Work:
    """What to do, and whether batches hold pairs of similar length."""

    setup: Setup
    grouped: bool

    def lengths(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lengths of the sources and of the targets, which go together."""
        distribution = QUICK_LENGTHS if self.setup.quick else LENGTHS
        count = 2 * 8 if self.setup.quick else BATCH_SIZE * NUM_BATCHES
        sources = distribution.sample(count, seed)
        factors = np.random.default_rng(seed).normal(1.0, 0.15, count)
        return sources, np.clip(np.rint(sources * factors), 1, distribution.longest).astype(np.int64)

    def count(self, seed: int) -> float:
        """Returns the number of real target tokens."""
        return float(self.lengths(seed)[1].sum())

    def batches(self, seed: int, vocab_size: int) -> list[Pairs]:
        """Returns the batches of a seed."""
        sources, targets = self.lengths(seed)
        random = np.random.default_rng(seed)

        def draw(lengths: np.ndarray, padding: int) -> np.ndarray:
            ids = random.integers(FIRST_TOKEN, vocab_size, (len(lengths), int(lengths.max())))
            return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, padding)

        chosen = cut_batches(sources, 8 if self.setup.quick else BATCH_SIZE, self.grouped)
        return [Pairs(draw(sources[rows], 0), draw(targets[rows], IGNORED)) for rows in chosen]


Loss = Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def transformers_loss(model: Any, source: torch.Tensor, is_source: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the loss of a model of transformers, or of ours."""
    return model(input_ids=source, attention_mask=is_source, labels=labels).loss


def plain_loss(model: Any, source: torch.Tensor, is_source: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the loss of `PlainTranslator`."""
    return model(source, is_source, labels)


def autocast_loss(loss: Loss) -> Loss:
    """Returns a loss that is computed under autocast to bfloat16."""

    def under_autocast(*arguments: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(*arguments)

    return under_autocast


def make_torch_runner(work: Work, model: Any, loss: Loss, vocab_size: int, fused: bool, tuned: bool = False) -> Runner:
    """
    Makes a runner of a model in PyTorch, with AdamW and clipped gradients.

    Args:
        work (`Work`): What to do.
        model (`nn.Module`): The model.
        loss (`Loss`): Takes the model, source tokens, where they are, and labels.
        vocab_size (`int`): Number of tokens to draw from.
        fused (`bool`): Whether the optimizer is fused.
        tuned (`bool`): Whether to take the faster precision of fp32 matrix products.
    """
    model.train()
    initial = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=fused)

    @cache
    def tensors(seed: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        batches = work.batches(seed, vocab_size)
        return [
            (torch.from_numpy(batch.source), torch.from_numpy(batch.source != 0), torch.from_numpy(batch.labels))
            for batch in batches
        ]

    def run(seed: int) -> None:
        for batch in tensors(seed):
            loss(model, *batch).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def outputs(seed: int) -> dict[str, np.ndarray]:
        model.load_state_dict(initial)
        optimizer.zero_grad()
        value = loss(model, *tensors(seed)[0])
        value.backward()
        gradients = encoder_gradients(model)
        optimizer.zero_grad()
        return {"loss": value.detach().float().numpy()} | ({} if gradients is None else {"gradients": gradients})

    if not tuned:
        return Runner(run, count_parameters(model), outputs)
    candidates = {precision: with_precision(precision, run) for precision in PRECISIONS}
    chosen = pick_fastest(candidates, work.setup.seeds[0], repeats=1)
    settings = f"AdamW {'fused' if fused else 'not fused'}, matmul precision {chosen}"
    return Runner(candidates[chosen], count_parameters(model), with_precision(chosen, outputs), settings)


def encoder_gradients(model: Any) -> np.ndarray | None:
    """Returns the gradients of the encoder's LSTM, where there is one."""
    named = model.named_parameters()
    flat = [parameter.grad.float().flatten() for name, parameter in named if "encoder." in name and "_l0" in name]
    return torch.cat(flat).numpy() if flat else None


def make_bf16_runner(work: Work, model: Any, loss: Loss, vocab_size: int) -> Runner:
    """Makes a runner of a model in bfloat16: under autocast or with such weights, whichever is faster."""
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    runners = {
        "autocast": make_torch_runner(work, model, autocast_loss(loss), vocab_size, fused=True),
        "weights in bfloat16": make_torch_runner(work, rounded, loss, vocab_size, fused=True),
    }
    chosen = pick_fastest({name: runner.run for name, runner in runners.items()}, work.setup.seeds[0])
    return replace(runners[chosen], settings=f"AdamW fused, {chosen}")


def make_ours(work: Work, tuned: bool = False, bf16: bool = False) -> Runner:
    """Makes a runner of our translator, with the optimizer of `LstmTrainingArguments`."""
    model = build_translator(work.setup)
    if bf16:
        return make_bf16_runner(work, model, transformers_loss, model.config.vocab_size)
    return make_torch_runner(work, model, transformers_loss, model.config.vocab_size, fused=True, tuned=tuned)


def make_plain(work: Work, best: bool, bf16: bool = False) -> Runner:
    """Makes a runner of a plain PyTorch loop; at its best with fused AdamW and scores of real tokens only."""
    ours = build_translator(work.setup)
    model = PlainTranslator(ours, only_targets=best)
    if bf16:
        return make_bf16_runner(work, model, plain_loss, ours.config.vocab_size)
    return make_torch_runner(work, model, plain_loss, ours.config.vocab_size, fused=best, tuned=best)


def make_transformer(work: Work, best: bool) -> Runner:
    """Makes a runner of a transformer as large as Marian's."""
    vocab_size = build_translator(work.setup).config.vocab_size
    model = make_marian(vocab_size, work.setup)
    return make_torch_runner(work, model, transformers_loss, vocab_size, fused=best, tuned=best)


def make_keras(work: Work) -> Runner:
    """Makes a runner of Keras' `train_on_batch`."""
    config = build_translator(work.setup).config
    model = make_keras_translator(config.vocab_size, config.decoder_embedding_size, config.decoder_hidden_size)

    @cache
    def arrays(seed: int) -> list[tuple[list[np.ndarray], np.ndarray]]:
        found = []
        for source, labels in work.batches(seed, config.vocab_size):
            targets = np.where(labels == IGNORED, 0, labels)
            read = np.pad(targets[:, :-1], ((0, 0), (1, 0)), constant_values=2)
            found.append(([source.astype(np.int32), read.astype(np.int32)], targets.astype(np.int32)))
        return found

    def run(seed: int) -> None:
        for inputs, targets in arrays(seed):
            model.train_on_batch(inputs, targets)

    return Runner(run, int(model.count_params()))


def make_variants(work: Work) -> list[Variant]:
    """Lists what is compared in a section."""
    medium: dict[str, Any] = {"precision": "fp32, medium allowed"}
    rounded: dict[str, Any] = {"settings": "the faster of two ways", "precision": "bf16", "tolerance": 0.1}
    own_weights = "the same shape, output layer not tied, own weights"
    found = [
        Variant("ours", partial(make_ours, work), "AdamW fused", reference=REFERENCE),
        Variant("ours, best", partial(make_ours, work, tuned=True), reference=REFERENCE, tolerance=5e-2, **medium),
        Variant(REFERENCE, partial(make_plain, work, False), "AdamW, scores of all positions", remark="the reference"),
        Variant(
            f"{REFERENCE}, best",
            partial(make_plain, work, True),
            "AdamW fused, scores of real tokens only, the faster matmul precision",
            reference=REFERENCE,
            tolerance=5e-2,
            **medium,
        ),
        Variant("ours in bf16", partial(make_ours, work, bf16=True), reference=REFERENCE, **rounded),
        Variant(
            "plain PyTorch in bf16, packed", partial(make_plain, work, True, bf16=True), reference=REFERENCE, **rounded
        ),
    ]
    for backend in ("jax", "torch"):
        found.append(
            Variant(
                f"Keras ({backend})",
                partial(make_keras, work),
                "train_on_batch, every shape compiled beforehand" if backend == "jax" else "train_on_batch",
                process=f"keras-{backend}",
                packages=("keras", backend),
                remark=own_weights,
            )
        )
    found += [
        Variant("Marian, transformers", partial(make_transformer, work, False), "AdamW", remark="another model"),
        Variant("Marian, transformers, best", partial(make_transformer, work, True), remark="another model", **medium),
    ]
    return found


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: pairs in random order, and grouped by length."""
    found = []
    for grouped in (False, True):
        work = Work(setup, grouped)
        found.append(
            Section(
                "grouped by length" if grouped else "random order",
                "real target tokens",
                work.count,
                make_variants(work),
                most_rounds=len(setup.seeds),
                note=f"Batches of {BATCH_SIZE} pairs, {LENGTHS.describe()}; forward, backward, clipping, AdamW.",
            )
        )
    return found
