"""The same LSTM layer in PyTorch and in Keras, with the same weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.speed.settings import import_peer


class Batch(NamedTuple):
    """
    A batch of embedded sequences.

    Args:
        inputs (`np.ndarray` of shape `(batch_size, sequence_length, input_size)`): The embeddings, noise at padding.
        mask (`np.ndarray` of shape `(batch_size, sequence_length)`): True at real tokens, which come first.
        gradient (`np.ndarray` of shape `(batch_size, sequence_length, output_size)`):
            The loss' gradient by the output, zero at padding.
    """

    inputs: np.ndarray
    mask: np.ndarray
    gradient: np.ndarray


def make_batch(lengths: np.ndarray, input_size: int, output_size: int, random: np.random.Generator) -> Batch:
    """Makes a batch of random embeddings and gradients for sequences of the given lengths."""
    shape = (len(lengths), int(lengths.max()))
    mask = np.arange(shape[1]) < lengths[:, None]
    inputs = random.standard_normal((*shape, input_size), dtype=np.float32)
    gradient = random.standard_normal((*shape, output_size), dtype=np.float32) * mask[..., None]
    return Batch(inputs, mask, gradient.astype(np.float32))


def make_torch_lstm(input_size: int, size: int, bidirectional: bool = True) -> nn.LSTM:
    """Builds a layer of `size` in each direction; always the same weights."""
    torch.manual_seed(0)
    return nn.LSTM(input_size, size, batch_first=True, bidirectional=bidirectional)


def run_packed(lstm: nn.LSTM, inputs: torch.Tensor, lengths: torch.Tensor, is_sorted: bool = False) -> torch.Tensor:
    """
    Runs `nn.LSTM` on a packed batch.

    Args:
        lstm (`nn.LSTM`): The layer.
        inputs (`torch.Tensor` of shape `(batch_size, sequence_length, input_size)`): The embeddings.
        lengths (`torch.LongTensor` of shape `(batch_size,)`): Real tokens of each sequence.
        is_sorted (`bool`): Whether the longest sequence is known to come first, and so on, which spares a sorting.

    Returns:
        `torch.Tensor` of shape `(batch_size, sequence_length, output_size)`.
    """
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=is_sorted)
    return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]


def make_keras_layer(lstm: nn.LSTM) -> Any:
    """Builds Keras' layer with the weights of a bidirectional `nn.LSTM`, whose order of gates is the same."""
    keras = import_peer("keras")
    layer = keras.layers.Bidirectional(keras.layers.LSTM(lstm.hidden_size, return_sequences=True))
    layer.build((None, None, lstm.input_size))
    weights = []
    for suffix in ("_l0", "_l0_reverse"):
        weight_ih, weight_hh, bias_ih, bias_hh = (
            getattr(lstm, f"{name}{suffix}").detach().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        weights += [weight_ih.T, weight_hh.T, bias_ih + bias_hh]
    layer.set_weights(weights)
    return layer


def gradients_from_keras(gradients: list[np.ndarray]) -> np.ndarray:
    """Puts the gradients of Keras' weights into the order of `nn.LSTM`, whose two biases have the same gradient."""
    flat = []
    for kernel, recurrent, bias in (gradients[:3], gradients[3:]):
        flat += [kernel.T.ravel(), recurrent.T.ravel(), bias.ravel(), bias.ravel()]
    return np.concatenate(flat)


def make_jax_step(layer: Any, training: bool) -> Callable[..., Any]:
    """
    Compiles the layer for JAX: for training, the gradients by weights and inputs beside the output.

    Args:
        layer (`keras.layers.Layer`): The layer on the JAX backend.
        training (`bool`): Whether gradients are wanted.

    Returns:
        `Callable`: Takes the weights and the arrays of a batch.
    """
    jax = import_peer("jax")
    state = [variable.value for variable in layer.non_trainable_variables]  # of the dropouts' random numbers

    def forward(weights: Any, inputs: Any, mask: Any) -> Any:
        return layer.stateless_call(weights, state, inputs, mask=mask)[0]

    def loss(weights: Any, inputs: Any, mask: Any, gradient: Any) -> tuple[Any, Any]:
        output = forward(weights, inputs, mask)
        return (output * gradient).sum(), output

    if training:
        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    return jax.jit(forward)
