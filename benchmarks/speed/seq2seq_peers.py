"""Our translator's architecture as a plain PyTorch loop would have it, and in Keras."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.speed.settings import import_peer

IGNORED = -100


class PlainTranslator(nn.Module):
    """
    An encoder–decoder over packed `nn.LSTM`s, with the weights of ours.

    Args:
        ours (`LstmForConditionalGeneration`): One layer on each side, dot products as attention, one vocabulary.
        only_targets (`bool`): Whether to compute scores for real target tokens only.
    """

    def __init__(self, ours: Any, only_targets: bool):
        super().__init__()
        self.only_targets = only_targets
        decoder = ours.model.decoder
        self.embedding = nn.Embedding.from_pretrained(
            ours.get_input_embeddings().weight.detach().clone(), freeze=False
        )
        self.encoder = ours.model.encoder.to_torch()
        self.decoder = nn.LSTM(decoder.layers[0].input_size, decoder.layers[0].size, batch_first=True)
        weights = {name: weight for name, weight in decoder.layers[0].state_dict().items() if "_l0" in name}
        self.decoder.load_state_dict(weights)
        self.to_hidden = copy.deepcopy(decoder.bridge.hidden_maps[0])
        self.to_cell = copy.deepcopy(decoder.bridge.cell_maps[0])
        self.readout = copy.deepcopy(decoder.readout)
        self.output = copy.deepcopy(ours.lm_head)
        self.output.weight = self.embedding.weight

    def forward(self, source: torch.Tensor, is_source: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """
        Returns the mean loss of the target tokens.

        Args:
            source (`torch.LongTensor` of shape `(batch_size, source_length)`): The source tokens.
            is_source (`torch.BoolTensor` of shape `(batch_size, source_length)`): True at source tokens.
            labels (`torch.LongTensor` of shape `(batch_size, target_length)`): The target tokens, -100 at padding.
        """
        packed = self._pack(self.embedding(source), is_source.sum(dim=1))
        encoded, (hidden, cell) = self.encoder(packed)
        memory, _ = pad_packed_sequence(encoded, batch_first=True, total_length=source.shape[1])
        state = (
            torch.tanh(self.to_hidden(hidden.transpose(0, 1).flatten(1))).unsqueeze(0),
            self.to_cell(cell.transpose(0, 1).flatten(1)).unsqueeze(0),
        )
        is_target = labels != IGNORED
        # The token that starts a target is 2, and padding 0, as in ours.
        read = F.pad(labels, (1, -1), value=2).masked_fill(~is_target, 0)
        decoded, _ = self.decoder(self._pack(self.embedding(read), is_target.sum(dim=1)), state)
        queries, _ = pad_packed_sequence(decoded, batch_first=True, total_length=labels.shape[1])
        scores = (queries @ memory.transpose(1, 2)).masked_fill(~is_source.unsqueeze(1), float("-inf"))
        vectors = torch.tanh(self.readout(torch.cat([scores.softmax(dim=-1) @ memory, queries], dim=-1)))
        if self.only_targets:
            return F.cross_entropy(self.output(vectors[is_target]), labels[is_target])
        return F.cross_entropy(self.output(vectors).flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    @staticmethod
    def _pack(embeddings: torch.Tensor, lengths: torch.Tensor) -> Any:
        return pack_padded_sequence(embeddings, lengths, batch_first=True, enforce_sorted=False)


def make_keras_translator(vocab_size: int, embedding_size: int, size: int) -> Any:
    """
    Builds the architecture in Keras, compiled with AdamW; its output layer has weights of its own.

    Args:
        vocab_size (`int`): Number of tokens of the one vocabulary.
        embedding_size (`int`): Width of the embeddings.
        size (`int`): Width of the encoder's and of the decoder's output.
    """
    keras = import_peer("keras")
    layers = keras.layers
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embed = layers.Embedding(vocab_size, embedding_size, mask_zero=True)
    encoder = layers.Bidirectional(layers.LSTM(size // 2, return_sequences=True, return_state=True))
    memory, *states = encoder(embed(source))
    hidden = layers.Dense(size, activation="tanh")(layers.Concatenate()(states[0::2]))
    cell = layers.Dense(size)(layers.Concatenate()(states[1::2]))
    queries = layers.LSTM(size, return_sequences=True)(embed(target), initial_state=[hidden, cell])
    contexts = layers.Attention()([queries, memory])
    vectors = layers.Dense(embedding_size, activation="tanh", use_bias=False)(
        layers.Concatenate()([contexts, queries])
    )
    model = keras.Model([source, target], layers.Dense(vocab_size)(vectors))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    model.compile(optimizer=keras.optimizers.AdamW(1e-4), loss=loss)
    return model
