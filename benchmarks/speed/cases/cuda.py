"""Training of the encoder on a GPU: `nn.LSTM` of cuDNN on packed batches beside ours, in fp32 and bf16."""

from functools import cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.speed.cases import encoder
from benchmarks.speed.lstm_peers import make_torch_lstm, run_packed
from benchmarks.speed.models import count_parameters
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Training of the encoder on a GPU"
DEVICE = "cuda"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def reason_to_skip() -> str | None:
    """Returns why the case cannot run here, `None` if it can."""
    return None if torch.cuda.is_available() else "PyTorch finds no CUDA device"


def make_runner(work: encoder.Work, model: Any, forward: Any, precision: str) -> Runner:
    """
    Makes a runner on the GPU, which waits for the device at the end.

    Args:
        work (`encoder.Work`): What to do.
        model (`nn.Module`): The model on the CPU.
        forward (`Callable`): Takes the model, embeddings, mask and lengths (on the CPU), and returns the output.
        precision (`str`): One of `DTYPES`.
    """
    model = model.to(DEVICE, DTYPES[precision]).train()

    @cache
    def tensors(seed: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        found = []
        for batch in work.batches(seed):
            inputs, mask, gradient = (torch.from_numpy(array).to(DEVICE) for array in batch)
            lengths = torch.from_numpy(batch.mask.sum(axis=1))
            found.append((inputs.to(DTYPES[precision]), mask, gradient.to(DTYPES[precision]), lengths))
        return found

    def step(inputs: torch.Tensor, mask: torch.Tensor, gradient: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        output = forward(model, inputs, mask, lengths)
        output.backward(gradient)
        return output

    def run(seed: int) -> None:
        for batch in tensors(seed):
            step(*batch)
        torch.cuda.synchronize()

    def outputs(seed: int) -> dict[str, np.ndarray]:
        batch = tensors(seed)[0]
        output = step(*batch).detach().float() * batch[1].unsqueeze(-1)
        gradients = [
            parameter.grad.flatten().float() for parameter in model.parameters() if parameter.grad is not None
        ]
        return {"output": output.cpu().numpy(), "gradients": torch.cat(gradients).cpu().numpy()}

    return Runner(run, count_parameters(model), outputs)


def make_ours(work: encoder.Work, precision: str) -> Runner:
    """Makes a runner of `LstmModel`."""
    from hf_lstm import LstmModel

    model = LstmModel.from_torch(make_torch_lstm(work.sizes.embedding, work.sizes.direction), vocab_size=5)
    model.embed_tokens.requires_grad_(False)

    def forward(model: Any, inputs: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state

    return make_runner(work, model, forward, precision)


def make_torch(work: encoder.Work, precision: str) -> Runner:
    """Makes a runner of `nn.LSTM` on packed batches."""
    lstm = make_torch_lstm(work.sizes.embedding, work.sizes.direction)

    def forward(model: Any, inputs: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return run_packed(model, inputs, lengths)

    return make_runner(work, lstm, forward, precision)


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: random lengths, and grouped by length."""
    sizes = encoder.QUICK if setup.quick else encoder.SIZES
    found = []
    for grouped in (False, True):
        work = encoder.Work(setup, sizes, grouped, training=True)
        variants = []
        for precision, tolerance in (("fp32", 1e-3), ("bf16", 5e-2)):
            reference = f"nn.LSTM, packed, {precision}"
            variants += [
                Variant(
                    f"ours, {precision}",
                    partial(make_ours, work, precision),
                    precision=precision,
                    reference="nn.LSTM, packed, fp32",
                    tolerance=tolerance,
                    on_gpu=True,
                ),
                Variant(
                    reference,
                    partial(make_torch, work, precision),
                    "cuDNN",
                    precision=precision,
                    reference=None if precision == "fp32" else "nn.LSTM, packed, fp32",
                    tolerance=tolerance,
                    remark="the reference",
                    on_gpu=True,
                ),
            ]
        found.append(
            Section(
                "training, grouped by length" if grouped else "training, random lengths",
                "real tokens",
                work.count,
                variants,
                note=f"Batches of {sizes.batch}, {sizes.lengths.describe()}.",
            )
        )
    return found
