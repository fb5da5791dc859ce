"""Time and memory as one document grows to a million tokens, and as the batch grows."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.speed.cases import encoder
from benchmarks.speed.lstm_peers import make_torch_lstm
from benchmarks.speed.models import count_parameters
from benchmarks.speed.transformer_peers import make_bert_classifier
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Cost curves"
DOCUMENT_LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000)
BATCH_SIZES = (1, 4, 16, 64, 256)
LONGEST_PASS = 100_000  # in one pass, a million tokens take more memory than many machines have
LONGEST_TRANSFORMER = 512
CHUNK = 4096
VOCAB_SIZE, SIZE = 1000, 256
REFERENCE = "nn.LSTM, chunks"

Read = Callable[[torch.Tensor], torch.Tensor]


def make_layers(setup: Setup) -> tuple[nn.Embedding, nn.LSTM]:
    """Builds embeddings and a layer in one direction; always the same weights."""
    size = 16 if setup.quick else SIZE
    lstm = make_torch_lstm(size, size, bidirectional=False)
    return nn.Embedding(VOCAB_SIZE, size), lstm


def make_document_runner(setup: Setup, length: int, read: Read, parameters: int, is_compared: bool = True) -> Runner:
    """
    Makes a runner that reads one document of random tokens.

    Args:
        setup (`Setup`): What the run is set up with.
        length (`int`): Tokens of the document.
        read (`Read`): Takes tokens of shape `(1, sequence_length)` and returns the state after the last one.
        parameters (`int`): Number of trained numbers in the model.
        is_compared (`bool`): Whether that state is to be compared.
    """
    read = torch.inference_mode()(read)

    @cache
    def document(seed: int, count: int = length) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(seed).integers(4, VOCAB_SIZE, (1, count)))

    outputs = (lambda seed: {"state": read(document(seed)).numpy()}) if is_compared else None
    # The documents are there before memory is measured: what counts is what reading takes beside the text.
    for seed in setup.seeds:
        document(seed)
    return Runner(
        lambda seed: read(document(seed)), parameters, outputs, warm_up=lambda: read(document(setup.seeds[0], 100))
    )


def make_ours(setup: Setup, length: int, chunk: int | None) -> Runner:
    """
    Makes a runner of `LstmModel`, in chunks that hand the state on, or in one pass.

    What classifying such texts takes is measured by `benchmarks/long_text.py`.
    """
    from hf_lstm import LstmModel

    embedding, lstm = make_layers(setup)
    model = LstmModel.from_torch(lstm, embedding).eval()

    def read(document: torch.Tensor) -> torch.Tensor:
        state, outputs = None, None
        for part in document.split(chunk or document.shape[1], dim=1):
            outputs = model(part, cache=state, use_cache=True)
            state = outputs.cache
        assert outputs is not None
        return outputs.last_hidden_state[:, -1]

    return make_document_runner(setup, length, read, count_parameters(model))


def make_torch(setup: Setup, length: int, chunk: int | None) -> Runner:
    """Makes a runner of `nn.LSTM`, in chunks that hand the state on, or in one pass."""
    embedding, lstm = make_layers(setup)

    def read(document: torch.Tensor) -> torch.Tensor:
        state, output = None, torch.empty(0)
        for part in document.split(chunk or document.shape[1], dim=1):
            output, state = lstm(embedding(part), state)
        return output[:, -1]

    return make_document_runner(setup, length, read, count_parameters(embedding) + count_parameters(lstm))


def make_transformer(setup: Setup, length: int) -> Runner:
    """Makes a runner of a DistilBERT, which reads up to 512 tokens."""
    model = make_bert_classifier("DistilBERT", setup)
    read: Read = lambda document: model(document).logits  # noqa: E731
    return make_document_runner(setup, length, read, count_parameters(model), is_compared=False)


def document_section(setup: Setup, length: int) -> Section:
    """Returns the section of one document length."""
    compared: dict[str, Any] = {"reference": REFERENCE, "tolerance": 1e-3}
    chunked = f"chunks of {CHUNK:,} tokens"
    variants = [
        Variant("ours, chunks", partial(make_ours, setup, length, CHUNK), chunked, **compared),
        Variant(REFERENCE, partial(make_torch, setup, length, CHUNK), chunked, remark="the reference"),
    ]
    if length <= LONGEST_PASS:
        variants += [
            Variant("ours, one pass", partial(make_ours, setup, length, None), "one pass", **compared),
            Variant("nn.LSTM, one pass", partial(make_torch, setup, length, None), "one pass", **compared),
        ]
    if length <= LONGEST_TRANSFORMER:
        variants.append(
            Variant("DistilBERT", partial(make_transformer, setup, length), "sdpa", remark="another model")
        )
    return Section(
        f"document of {length:,} tokens",
        "tokens",
        lambda seed: float(length),
        variants,
        curve="tokens of the document",
        point=length,
        memory=True,
        most_rounds=3,
        note=f"One layer in one direction, {SIZE} wide. Memory is what reading takes beside the text and the model.",
    )


def batch_section(setup: Setup, batch_size: int) -> Section:
    """Returns the section of one batch size."""
    sizes = encoder.QUICK if setup.quick else encoder.SIZES
    sizes = sizes._replace(batch=batch_size, num_batches=max(1, 64 // batch_size))
    work = encoder.Work(setup, sizes, grouped=True, training=False)
    return Section(
        f"batch of {batch_size}",
        "real tokens",
        work.count,
        [variant for variant in encoder.make_variants(work) if variant.name in ("ours", encoder.REFERENCE)],
        curve="sequences of a batch",
        point=batch_size,
        memory=True,
        note=f"Inference of the encoder, {sizes.lengths.describe()}, grouped by length.",
    )


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: the points of both curves."""
    lengths = (32, 64) if setup.quick else DOCUMENT_LENGTHS
    batch_sizes = (1, 3) if setup.quick else BATCH_SIZES
    return [
        *(document_section(setup, length) for length in lengths),
        *(batch_section(setup, batch_size) for batch_size in batch_sizes),
    ]
