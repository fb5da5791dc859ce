"""Training and inference of one bidirectional layer on embeddings; no optimizer, no embedding table."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.speed.lengths import LengthDistribution, cut_batches
from benchmarks.speed.lstm_peers import (
    Batch,
    gradients_from_keras,
    make_batch,
    make_jax_step,
    make_keras_layer,
    make_torch_lstm,
    run_packed,
)
from benchmarks.speed.peak import find_products, multiply
from benchmarks.speed.settings import PRECISIONS, import_peer, pick_fastest, with_precision
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Training and inference of the encoder"
REFERENCE = "nn.LSTM, packed"
INEXACT = "inexact: reads padding"
PRODUCTS = "matrix products alone"


class Sizes(NamedTuple):
    """Width of the embeddings and of one direction, sequences of a batch, batches, and how long sequences are."""

    embedding: int
    direction: int
    batch: int
    num_batches: int
    lengths: LengthDistribution


SIZES = Sizes(256, 256, 32, 8, LengthDistribution(50, 0.8, 400))
QUICK = Sizes(12, 8, 4, 2, LengthDistribution(6, 0.8, 20))


@dataclass(frozen=True)
class Work:
    """What to do: sizes, whether batches hold sequences of similar length, and whether gradients are computed."""

    setup: Setup
    sizes: Sizes
    grouped: bool
    training: bool

    def lengths(self, seed: int) -> np.ndarray:
        """Returns the lengths of all sequences."""
        return self.sizes.lengths.sample(self.sizes.batch * self.sizes.num_batches, seed)

    def count(self, seed: int) -> float:
        """Returns the number of real tokens."""
        return float(self.lengths(seed).sum())

    def flops_per_token(self) -> float:
        """Returns the floating-point operations of a token's matrix products, in both directions."""
        products = 2 * 2 * 4 * self.sizes.direction * (self.sizes.embedding + self.sizes.direction)
        return products * (3.0 if self.training else 1.0)

    def batches(self, seed: int) -> list[Batch]:
        """Returns the batches of a seed."""
        return _make_batches(self.sizes, self.grouped, seed)


@cache
def _make_batches(sizes: Sizes, grouped: bool, seed: int) -> list[Batch]:
    lengths = sizes.lengths.sample(sizes.batch * sizes.num_batches, seed)
    random = np.random.default_rng(seed)
    chosen = cut_batches(lengths, sizes.batch, grouped)
    return [make_batch(lengths[rows], sizes.embedding, 2 * sizes.direction, random) for rows in chosen]


class TensorBatch(NamedTuple):
    """A `Batch` of tensors."""

    inputs: torch.Tensor
    mask: torch.Tensor
    gradient: torch.Tensor


Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Read = Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]


def make_torch_runner(work: Work, forward: Forward, parameters: list[torch.nn.Parameter], best: bool) -> Runner:
    """
    Makes a runner of a layer in PyTorch.

    Args:
        work (`Work`): What to do.
        forward (`Forward`): Takes embeddings and mask, and returns the output.
        parameters (`list[torch.nn.Parameter]`): The weights, in the order of `nn.LSTM`.
        best (`bool`): Whether to take the fastest settings: the precision of fp32 matrix products.
    """

    @cache
    def tensors(seed: int) -> list[TensorBatch]:
        return [TensorBatch(*map(torch.from_numpy, batch)) for batch in work.batches(seed)]

    def step(batch: TensorBatch) -> torch.Tensor:
        if not work.training:
            with torch.inference_mode():
                return forward(batch.inputs, batch.mask)
        for parameter in parameters:
            parameter.grad = None
        output = forward(batch.inputs.requires_grad_(), batch.mask)
        output.backward(batch.gradient)
        return output

    def run(seed: int) -> None:
        for batch in tensors(seed):
            step(batch)
            batch.inputs.grad = None

    def outputs(seed: int) -> dict[str, np.ndarray]:
        batch = tensors(seed)[0]
        found = {"output": (step(batch).detach() * batch.mask.unsqueeze(-1)).numpy()}
        if work.training:
            gradients = [parameter.grad.float().flatten() for parameter in parameters if parameter.grad is not None]
            found["gradients"] = torch.cat(gradients).numpy()
            assert batch.inputs.grad is not None
            found["input gradients"] = batch.inputs.grad.numpy()
            batch.inputs.grad = None
        return found

    def warm_up() -> None:
        small = make_batch(np.array([3]), work.sizes.embedding, 2 * work.sizes.direction, np.random.default_rng(0))
        step(TensorBatch(*map(torch.from_numpy, small)))

    count = sum(parameter.numel() for parameter in parameters)
    if not best:
        return Runner(run, count, outputs, warm_up=warm_up)
    candidates = {precision: with_precision(precision, run) for precision in PRECISIONS}
    chosen = pick_fastest(candidates, work.setup.seeds[0])
    return Runner(candidates[chosen], count, with_precision(chosen, outputs), f"matmul precision {chosen}")


def make_bf16_runner(work: Work, model: torch.nn.Module, read: Read) -> Runner:
    """
    Makes a runner of a layer in bfloat16: under autocast or with such weights, whichever is faster.

    Args:
        work (`Work`): What to do.
        model (`nn.Module`): The layer, in float32.
        read (`Read`): Takes it, embeddings and mask, and returns the output.
    """
    rounded = copy.deepcopy(model).to(torch.bfloat16)

    def read_under_autocast(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return read(model, inputs, mask).float()

    def read_by_rounded(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return read(rounded, inputs.bfloat16(), mask).float()

    runners = {
        "autocast": make_torch_runner(work, read_under_autocast, trained_parameters(model), best=False),
        "weights in bfloat16": make_torch_runner(work, read_by_rounded, trained_parameters(rounded), best=False),
    }
    chosen = pick_fastest({name: runner.run for name, runner in runners.items()}, work.setup.seeds[0])
    return replace(runners[chosen], settings=chosen)


def trained_parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Returns the parameters that get gradients."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_ours(work: Work, best: bool = False, bf16: bool = False) -> Runner:
    """Makes a runner of `LstmModel`."""
    from hf_lstm import LstmModel

    sizes = work.sizes
    model = LstmModel.from_torch(make_torch_lstm(sizes.embedding, sizes.direction), vocab_size=5)
    model.train(work.training)
    model.embed_tokens.requires_grad_(False)

    def read(model: Any, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state

    if bf16:
        return make_bf16_runner(work, model, read)
    return make_torch_runner(work, partial(read, model), trained_parameters(model), best)


def make_torch(work: Work, packed: bool, best: bool = False, bf16: bool = False) -> Runner:
    """Makes a runner of `nn.LSTM`, on packed or on padded batches."""
    lstm = make_torch_lstm(work.sizes.embedding, work.sizes.direction).train(work.training)

    def read(lstm: Any, inputs: torch.Tensor, mask: torch.Tensor, is_sorted: bool = False) -> torch.Tensor:
        return run_packed(lstm, inputs, mask.sum(dim=1), is_sorted) if packed else lstm(inputs)[0]

    if bf16:
        return make_bf16_runner(work, lstm, read)
    if not (best and packed and work.grouped):  # sequences of similar length come with the longest first
        return make_torch_runner(work, partial(read, lstm), trained_parameters(lstm), best)
    runners = {
        f"enforce_sorted {is_sorted}": make_torch_runner(
            work, partial(read, lstm, is_sorted=is_sorted), trained_parameters(lstm), best
        )
        for is_sorted in (False, True)
    }
    chosen = pick_fastest({name: runner.run for name, runner in runners.items()}, work.setup.seeds[0])
    return replace(runners[chosen], settings=f"{runners[chosen].settings}, {chosen}")


def make_keras_torch(work: Work) -> Runner:
    """Makes a runner of Keras' layer on PyTorch."""
    layer = make_keras_layer(make_torch_lstm(work.sizes.embedding, work.sizes.direction))
    parameters = [weight.value for weight in layer.trainable_weights]

    def forward(inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return layer(inputs, mask=mask, training=work.training)

    runner = make_torch_runner(work, forward, parameters, best=False)
    assert runner.outputs is not None
    own_outputs = runner.outputs

    def outputs(seed: int) -> dict[str, Any]:
        found = dict(own_outputs(seed))
        if work.training:
            gradients = [parameter.grad.numpy() for parameter in parameters if parameter.grad is not None]
            found["gradients"] = gradients_from_keras(gradients)
        return found

    return Runner(runner.run, runner.parameters, outputs)


def make_keras_jax(work: Work) -> Runner:
    """Makes a runner of Keras' layer on JAX, compiled for the shape of every batch."""
    jax = import_peer("jax")
    layer = make_keras_layer(make_torch_lstm(work.sizes.embedding, work.sizes.direction))
    weights = [weight.value for weight in layer.trainable_weights]
    step = make_jax_step(layer, work.training)
    arrays = cache(lambda seed: [[jax.numpy.asarray(array) for array in batch] for batch in work.batches(seed)])

    def call(batch: list[Any]) -> Any:
        return step(weights, *(batch if work.training else batch[:2]))

    def run(seed: int) -> None:
        for batch in arrays(seed):
            jax.block_until_ready(call(batch))

    def outputs(seed: int) -> dict[str, np.ndarray]:
        batch, mask = arrays(seed)[0], work.batches(seed)[0].mask[..., None]
        if not work.training:
            return {"output": np.asarray(call(batch)) * mask}
        (gradients, by_input), output = call(batch)
        return {
            "output": np.asarray(output) * mask,
            "gradients": gradients_from_keras([np.asarray(gradient) for gradient in gradients]),
            "input gradients": np.asarray(by_input),
        }

    return Runner(run, layer.count_params(), outputs)


def make_keras_default(work: Work) -> Runner:
    """Makes a runner of a Keras model through `train_on_batch` (plain SGD, squared error) or `predict_on_batch`."""
    keras = import_peer("keras")
    layer = make_keras_layer(make_torch_lstm(work.sizes.embedding, work.sizes.direction))
    inputs = keras.Input((None, work.sizes.embedding))
    mask = keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    # A rate of zero: the outputs stay comparable however often it runs.
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")

    def run(seed: int) -> None:
        for batch in work.batches(seed):
            if work.training:
                model.train_on_batch([batch.inputs, batch.mask], batch.gradient)
            else:
                model.predict_on_batch([batch.inputs, batch.mask])

    def outputs(seed: int) -> dict[str, np.ndarray]:
        batch = work.batches(seed)[0]
        return {"output": np.asarray(model.predict_on_batch([batch.inputs, batch.mask])) * batch.mask[..., None]}

    return Runner(run, count_keras_parameters(layer), outputs)


def count_keras_parameters(layer: Any) -> int:
    """Counts the trained numbers of a Keras layer."""
    return int(layer.count_params())


def make_products(work: Work) -> Runner:
    """Makes a runner of large matrix products with as many operations as the work's: the peak of that moment."""
    size = 64 if work.setup.quick else 2048
    products, inputs = find_products(size), torch.randn(size, size)
    runs = {
        name: lambda seed, product=product: multiply(product, inputs, work.count(seed) * work.flops_per_token())
        for name, product in products.items()
    }
    chosen = pick_fastest(runs, work.setup.seeds[0])
    return Runner(runs[chosen], size**2, settings=chosen)


def make_variants(work: Work) -> list[Variant]:
    """Lists what is compared in a section."""
    masked: dict[str, Any] = {"reference": REFERENCE, "packages": ("keras",)}
    medium: dict[str, Any] = {
        "settings": "the faster matmul precision",
        "precision": "fp32, medium allowed",
        "tolerance": 2e-2,
    }
    rounded: dict[str, Any] = {"settings": "the faster of two ways", "precision": "bf16", "tolerance": 0.1}
    return [
        Variant("ours", partial(make_ours, work), reference=REFERENCE),
        Variant("ours, best", partial(make_ours, work, best=True), reference=REFERENCE, **medium),
        Variant(REFERENCE, partial(make_torch, work, packed=True), remark="the reference"),
        Variant("nn.LSTM, packed, best", partial(make_torch, work, True, True), reference=REFERENCE, **medium),
        Variant("nn.LSTM, padded", partial(make_torch, work, packed=False), remark=INEXACT),
        Variant("ours in bf16", partial(make_ours, work, bf16=True), reference=REFERENCE, **rounded),
        Variant("nn.LSTM in bf16, packed", partial(make_torch, work, True, bf16=True), reference=REFERENCE, **rounded),
        Variant(
            "Keras (JAX)",
            partial(make_keras_default, work),
            settings="train_on_batch, predict_on_batch",
            process="keras-jax",
            reference=REFERENCE,
            packages=("keras", "jax"),
        ),
        Variant(
            "Keras (JAX), best",
            partial(make_keras_jax, work),
            settings="one jitted function, compiled for each shape beforehand",
            process="keras-jax",
            reference=REFERENCE,
            packages=("keras", "jax"),
        ),
        Variant("Keras (torch)", partial(make_keras_torch, work), process="keras-torch", **masked),
        Variant(PRODUCTS, partial(make_products, work), remark="no LSTM: as many operations, for the peak"),
    ]


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: training and inference, on random lengths and grouped by length."""
    sizes = QUICK if setup.quick else SIZES
    found = []
    for training in (True, False):
        for grouped in (False, True):
            work = Work(setup, sizes, grouped, training)
            order = "grouped by length" if grouped else "random lengths"
            found.append(
                Section(
                    f"{'training' if training else 'inference'}, {order}",
                    "real tokens",
                    work.count,
                    make_variants(work),
                    flops_per_unit=work.flops_per_token(),
                    note=f"One layer, {sizes.direction} per direction, embeddings of {sizes.embedding}, batches of "
                    f"{sizes.batch}, {sizes.lengths.describe()}.",
                )
            )
    return found
