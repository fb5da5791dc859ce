"""Long texts: reading them chunk by chunk with the results of one pass, and cutting them into windows."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_lstm import LstmConfig
from .inputs_lstm import check_count
from .ngrams_lstm import NgramClassifier, hash_ngrams
from .padding_lstm import find_padding, to_front
from .pooling_lstm import LstmPooler, pool_last, pool_max
from .precision_lstm import wide_dtype
from .prediction_lstm import MAX_BATCH_TOKENS


class Chunk(NamedTuple):
    """
    One stretch of every text of a batch.

    Attributes:
        tokens (`torch.LongTensor` of shape `(batch_size, num_before + chunk_length)`):
            The chunk's tokens, after those before it which its n-grams reach back to.
        mask (`torch.BoolTensor` of shape `(batch_size, chunk_length)`): True at the chunk's tokens, at the front.
        num_before (`int`): How many of `tokens` belong to earlier chunks.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    num_before: int


class LongTexts:
    """
    A batch of texts with their tokens at the front, to be cut into pieces.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

    Raises:
        ValueError: If the shapes do not go together.
    """

    def __init__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None):
        if input_ids.dim() != 2 or (attention_mask is not None and attention_mask.shape != input_ids.shape):
            mask_shape = None if attention_mask is None else tuple(attention_mask.shape)
            raise ValueError(
                f"`input_ids` are of shape {tuple(input_ids.shape)} and `attention_mask` of {mask_shape}, but both "
                "must be (batch_size, sequence_length)."
            )
        padding = find_padding(attention_mask)
        self.tokens = to_front(input_ids, padding)
        full = input_ids.new_full((input_ids.shape[0],), input_ids.shape[1])
        self.lengths = full if padding is None else padding.lengths
        self.longest = max(self.lengths.tolist(), default=0)

    def mask(self, start: int, end: int) -> torch.Tensor:
        """Returns where the positions from `start` up to `end` hold tokens, `(batch_size, end - start)`."""
        return torch.arange(start, end, device=self.lengths.device) < self.lengths.unsqueeze(1)

    def cut(self, length: int, longest_ngram: int = 1, backwards: bool = False) -> Iterator[Chunk]:
        """Cuts all texts into chunks of `length`, the last one shorter, and gives the first chunk first or last."""
        starts = range(0, self.longest, length)
        for start in reversed(starts) if backwards else starts:
            end = min(start + length, self.longest)
            num_before = min(longest_ngram - 1, start)
            yield Chunk(self.tokens[:, start - num_before : end], self.mask(start, end), num_before)

    def cut_windows(self, row: int, length: int, overlap: int, batch_size: int) -> Iterator[torch.Tensor]:
        """
        Cuts one text into windows as long as each other, evenly spread, which share at least `overlap` tokens.

        Yields:
            `torch.LongTensor` of shape `(num_windows, length)`, the text's length if it is shorter: No more than
            `batch_size` windows each time.
        """
        num_tokens = int(self.lengths[row])
        last_start = max(num_tokens - length, 0)
        num_steps = -(-last_start // (length - overlap))
        starts = [last_start * step // max(num_steps, 1) for step in range(num_steps + 1)]
        for first in range(0, len(starts), batch_size):
            batch = starts[first : first + batch_size]
            yield torch.stack([self.tokens[row, start : min(start + length, num_tokens)] for start in batch])


# Running pooling: `update` takes each chunk's vectors (batch_size, chunk_length, size), in the order they are read,
# and their mask; `result` is what `LstmPooler` makes of the whole sequence, (batch_size, size): zeros for a row that
# has no tokens.


class RunningMean:
    """Averages vectors that come chunk by chunk."""

    def __init__(self) -> None:
        self.total: Any = 0
        self.count: Any = 0

    def update(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> None:
        self.dtype = hidden_states.dtype
        hidden_states = hidden_states.masked_fill(~mask.unsqueeze(-1), 0)
        self.total = self.total + hidden_states.sum(dim=1, dtype=wide_dtype(self.dtype))
        self.count = self.count + mask.sum(dim=1, keepdim=True)

    def result(self) -> torch.Tensor:
        return (self.total / self.count.clamp(min=1)).to(self.dtype)


class RunningMax:
    """Takes each feature's maximum over vectors that come chunk by chunk."""

    def __init__(self) -> None:
        self.largest: torch.Tensor | None = None
        self.has_tokens: Any = False

    def update(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> None:
        largest, has_tokens = pool_max(hidden_states, mask), mask.any(dim=1, keepdim=True)
        if self.largest is not None:
            both = torch.where(self.has_tokens, torch.maximum(self.largest, largest), largest)
            largest = torch.where(has_tokens, both, self.largest)
        self.largest, self.has_tokens = largest, self.has_tokens | has_tokens

    def result(self) -> torch.Tensor:
        assert self.largest is not None
        return self.largest


class RunningLast:
    """
    Takes the last vector of those that come chunk by chunk.

    Args:
        bidirectional (`bool`): Whether the second half of the features is that of the first vector.
    """

    def __init__(self, bidirectional: bool):
        self.bidirectional = bidirectional
        self.last: torch.Tensor | None = None
        self.has_tokens: Any = False

    def update(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> None:
        last, has_tokens = pool_last(hidden_states, mask, self.bidirectional), mask.any(dim=1, keepdim=True)
        if self.last is not None:
            is_new = has_tokens.expand_as(last)
            if self.bidirectional:
                reverse = (has_tokens & ~self.has_tokens).expand_as(last)
                half = last.shape[1] // 2
                is_new = torch.cat([is_new[:, :half], reverse[:, half:]], dim=1)
            last = torch.where(is_new, last, self.last)
        self.last, self.has_tokens = last, self.has_tokens | has_tokens

    def result(self) -> torch.Tensor:
        assert self.last is not None
        return self.last


class RunningAttention:
    """
    Averages vectors that come chunk by chunk with attention's weights.

    What is summed is scaled to the highest score so far (https://arxiv.org/abs/1805.02867, algorithm 3).

    Args:
        pooler (`LstmPooler`): Gives the scores.
    """

    def __init__(self, pooler: LstmPooler):
        self.pooler = pooler
        self.total: Any = 0
        self.weight: Any = 0
        self.highest: torch.Tensor | None = None

    def update(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> None:
        self.dtype = hidden_states.dtype
        scores = self.pooler.score(hidden_states, mask).to(wide_dtype(self.dtype))
        highest = scores.amax(dim=1, keepdim=True)
        if self.highest is not None:
            highest = torch.maximum(highest, self.highest)
            scale = (self.highest - highest).exp()
            self.total, self.weight = self.total * scale, self.weight * scale
        weights = (scores - highest).exp().masked_fill(~mask, 0)
        hidden_states = hidden_states.masked_fill(~mask.unsqueeze(-1), 0).to(weights.dtype)
        self.total = self.total + torch.einsum("bl,bls->bs", weights, hidden_states)
        self.weight = self.weight + weights.sum(dim=1, keepdim=True)
        self.highest = highest

    def result(self) -> torch.Tensor:
        # The highest score's own weight is 1, so that only a row without tokens has less.
        return (self.total / self.weight.clamp(min=1)).to(self.dtype)


RunningPooling = RunningMean | RunningMax | RunningLast | RunningAttention


def _start_pooling(pooler: LstmPooler, bidirectional: bool) -> list[RunningPooling]:
    """Returns what makes up the pooled vector, in `LstmPooler`'s order."""
    poolings: dict[str, list[RunningPooling]] = {
        "last": [RunningLast(bidirectional)],
        "mean": [RunningMean()],
        "max": [RunningMax()],
        "concat": [RunningLast(bidirectional), RunningMax(), RunningMean()],
        "attention": [RunningAttention(pooler)],
    }
    return poolings[pooler.pooling]


# Reading: each of these yields the last layer's vectors, chunk by chunk, and their mask.

Reading = Iterable[tuple[torch.Tensor, torch.Tensor]]
States = tuple[torch.Tensor, torch.Tensor]


class ChunkReader:
    """
    Reads texts chunk by chunk, with the results of one pass.

    A stack of one direction carries its states from chunk to chunk. Of a bidirectional layer, each direction is swept
    once. Where both directions' outputs are needed side by side, for layer norm and for attention's scores, the
    reverse sweep only notes its state at the chunks' borders, from where the forward sweep runs it again: half of one
    pass more, and one state for each chunk.

    Args:
        encoder (`LstmModel`): A model in evaluation mode, of one direction or of one bidirectional layer.
        texts (`LongTexts`): The texts.
        chunk_length (`int`): Number of tokens in a chunk.
    """

    def __init__(self, encoder: Any, texts: LongTexts, chunk_length: int):
        self.encoder = encoder
        self.texts = texts
        self.chunk_length = chunk_length

    def embed(self, backwards: bool = False) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields each chunk's embeddings and mask."""
        longest_ngram = max(self.encoder.config.ngram_orders, default=1)
        for chunk in self.texts.cut(self.chunk_length, longest_ngram, backwards):
            yield self.encoder.embed(chunk.tokens)[:, chunk.num_before :], chunk.mask

    def average_embeddings(self) -> torch.Tensor:
        """Returns the mean of each text's embeddings, `(batch_size, embedding_size)`."""
        mean = RunningMean()
        for embeddings, mask in self.embed():
            mean.update(embeddings, mask)
        return mean.result()

    def pool(self, pooler: LstmPooler) -> torch.Tensor:
        """Returns what `pooler` makes of each text's vectors, `(batch_size, output_size)`."""
        config = self.encoder.config
        is_side_by_side = config.bidirectional and (config.layer_norm or pooler.pooling == "attention")
        readings: list[Reading]
        if not config.bidirectional:
            readings = [self._read_stack()]
        elif is_side_by_side:
            readings = [self._read_both_directions()]
        else:
            readings = [self._read_direction(0), self._read_direction(1)]
        pooled = []
        for reading in readings:
            poolings = _start_pooling(pooler, bidirectional=is_side_by_side)
            for hidden_states, mask in reading:
                for pooling in poolings:
                    pooling.update(hidden_states, mask)
            pooled.append([pooling.result() for pooling in poolings])
        return torch.cat([part for directions in zip(*pooled) for part in directions], dim=-1)

    def _read_stack(self) -> Reading:
        cache = self.encoder.make_cache()
        for embeddings, mask in self.embed():
            outputs = self.encoder(
                inputs_embeds=embeddings, attention_mask=mask, cache=cache, use_cache=True, return_dict=True
            )
            yield outputs.last_hidden_state, mask

    def _zero_states(self) -> States:
        """Returns the initial state of one direction, hidden and cell, each `(batch_size, 1, size)`."""
        config = self.encoder.config
        zeros = torch.zeros(
            len(self.texts.tokens),
            1,
            config.layer_sizes[-1] // 2,
            dtype=self.encoder.dtype,
            device=self.texts.tokens.device,
        )
        return zeros, zeros

    def _run_direction(
        self, embeddings: torch.Tensor, mask: torch.Tensor, states: States, direction: int
    ) -> tuple[torch.Tensor, States]:
        output, hidden, cell = self.encoder.layers[0](embeddings, find_padding(mask), *states, direction=direction)
        return output, (hidden[-1], cell[-1])

    def _read_direction(self, direction: int) -> Reading:
        """Reads with one direction of the layer; the vectors are that half of its output, in the order read."""
        states = self._zero_states()
        for embeddings, mask in self.embed(backwards=direction == 1):
            if direction == 1:
                embeddings, mask = embeddings.flip(1), mask.flip(1)
            output, states = self._run_direction(embeddings, mask, states, direction)
            yield output, mask

    def _read_both_directions(self) -> Reading:
        """Reads with both directions of the layer side by side; the reverse one starts from the borders' states."""
        states = self._zero_states()
        borders = []
        for embeddings, mask in self.embed(backwards=True):
            borders.append(states)
            _, states = self._run_direction(embeddings.flip(1), mask.flip(1), states, 1)
        states = self._zero_states()
        for (embeddings, mask), border in zip(self.embed(), reversed(borders)):
            both = (torch.cat(pair, dim=1) for pair in zip(states, border))
            output, hidden, cell = self.encoder.layers[0](embeddings, find_padding(mask), *both)
            states = (hidden[-1, :, :1], cell[-1, :, :1])
            yield output, mask


def classify_ngrams_in_chunks(classifier: NgramClassifier, texts: LongTexts, chunk_length: int) -> torch.Tensor:
    """
    Returns the n-gram classifier's scores, `(batch_size, num_labels)`.

    Which buckets a text has is noted in one byte for each bucket.
    """
    num_texts, num_buckets = len(texts.tokens), classifier.num_buckets
    # One more, for padding.
    seen = torch.zeros(num_texts, num_buckets + 1, dtype=torch.bool, device=texts.tokens.device)
    for chunk in texts.cut(chunk_length, max(classifier.orders)):
        for order in classifier.orders:
            buckets = hash_ngrams(chunk.tokens, order, num_buckets)[:, chunk.num_before :]
            seen.scatter_(1, buckets.masked_fill(~chunk.mask, num_buckets), True)
    return classifier.score_buckets(seen[:, :num_buckets])


def check_lengths(model: Any, **lengths: int) -> None:
    """Raises a `ValueError` for a model in training, or for a length that is no whole number of at least 1."""
    if model.training:
        raise ValueError(
            "The model is in training mode, but long texts are classified in evaluation mode only: call "
            "`model.eval()`. To train on long texts, truncate them, as with the tokenizer's `max_length`."
        )
    for name, length in lengths.items():
        check_count(name, length)


class LongTextClassification:
    """Gives `LstmForSequenceClassification` what classifies texts of any length."""

    config: LstmConfig
    model: Any
    classifier: nn.Linear
    ngram_classifier: NgramClassifier | None
    pooler: LstmPooler
    num_labels: int
    __call__: Callable[..., Any]

    def classify(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Returns the logits of a batch, `(batch_size, num_labels)`: in one pass, or in chunks where this gives the same
        and the texts are very long.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
        """
        if self.can_classify_in_chunks and input_ids.shape[1] > MAX_BATCH_TOKENS:
            return self.classify_in_chunks(input_ids, attention_mask).logits
        return self(input_ids, attention_mask, return_dict=True).logits

    @property
    def can_classify_in_chunks(self) -> bool:
        """Whether `classify_in_chunks` works: unless there are several bidirectional layers."""
        return not self.config.bidirectional or self.config.num_hidden_layers == 1

    @torch.no_grad()
    def classify_in_chunks(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, chunk_length: int = 4096
    ) -> SequenceClassifierOutput:
        """
        Classifies texts of any length chunk by chunk, with the logits of one pass.

        The memory for it grows with `chunk_length` and not with the texts, except for one state of the reverse
        direction for each chunk where a bidirectional layer has layer norm or attention pooling, which also takes half
        of one pass longer.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
            chunk_length (`int`, defaults to 4096): Number of tokens of each text that are read at a time.

        Raises:
            ValueError: If several layers are bidirectional, the model trains, or an argument does not fit.
        """
        check_lengths(self, chunk_length=chunk_length)
        if not self.can_classify_in_chunks:
            raise ValueError(
                f"`bidirectional` is True and `num_hidden_layers` is {self.config.num_hidden_layers}, but only one "
                "bidirectional layer can read chunk by chunk with the result of one pass: the next layer needs what "
                "both directions have read, at every token. Take `classify_in_windows`, which averages the logits of "
                "overlapping windows, or give the whole text to the model at once."
            )
        texts = LongTexts(input_ids, attention_mask)
        self.model.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        if texts.longest <= chunk_length:
            tokens, mask = texts.tokens[:, : texts.longest], texts.mask(0, texts.longest)
            return SequenceClassifierOutput(logits=self(tokens, mask, return_dict=True).logits)
        branches = []
        if self.ngram_classifier is not None:
            branches.append(classify_ngrams_in_chunks(self.ngram_classifier, texts, chunk_length))
        reader = ChunkReader(self.model, texts, chunk_length)
        features = reader.pool(self.pooler)
        if self.config.classifier_shortcut:
            features = torch.cat([features, reader.average_embeddings()], dim=-1)
        branches.append(self.classifier(features))
        return SequenceClassifierOutput(logits=torch.stack(branches).mean(dim=0))

    @torch.no_grad()
    def classify_in_windows(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        window_length: int = 4096,
        overlap: int | None = None,
        batch_size: int = 8,
    ) -> SequenceClassifierOutput:
        """
        Classifies each text by the mean of the logits of overlapping windows, which is not the result of one pass.

        It works with every model, in memory that does not grow with the texts. All windows of a text are equally long
        and evenly spread, so that each counts the same. A text that is no longer than a window is classified in one
        pass.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
            window_length (`int`, defaults to 4096): Number of tokens in a window.
            overlap (`int`, *optional*):
                Number of tokens which neighbours share at least; an eighth of `window_length` when `None`.
            batch_size (`int`, defaults to 8): Number of windows run at a time.

        Raises:
            ValueError: If the model trains, or an argument does not fit.
        """
        check_lengths(self, window_length=window_length, batch_size=batch_size)
        overlap = window_length // 8 if overlap is None else overlap
        check_count("overlap", overlap, least=0)
        if overlap >= window_length:
            raise ValueError(f"`overlap` is {overlap}, but must be below `window_length` ({window_length}).")
        texts = LongTexts(input_ids, attention_mask)
        self.model.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        rows = []
        for row in range(len(input_ids)):
            batches = texts.cut_windows(row, window_length, overlap, batch_size)
            parts = [self(batch, torch.ones_like(batch), return_dict=True).logits for batch in batches]
            rows.append(torch.cat(parts).mean(dim=0))
        logits = torch.stack(rows) if rows else self.classifier.bias.new_zeros(0, self.num_labels)
        return SequenceClassifierOutput(logits=logits)
