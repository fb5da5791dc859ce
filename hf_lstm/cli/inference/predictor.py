"""Runs saved models on rows of text, in batches of texts of similar length, with the results in the rows' order."""

import copy
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel

from ...data.checks import InputError, check_room
from ...data.labels import MULTI_LABEL, SINGLE_LABEL
from ...data.pair_columns import SOURCE
from ...models.prediction_lstm import read_sorted
from ...training.tasks.classification_model import trained_scheme
from ...training.tasks.classification_outputs import decode_predictions, label_probabilities
from ..parser import GENERATION_FLAGS, SAMPLING_FLAGS
from .saved_model import SavedModel

# What a model that says nothing about it generates at most, as the pipelines do.
DEFAULT_MAX_NEW_TOKENS = 256
DIGITS = 6

Row = dict[str, str]


class Predictor(ABC):
    """
    Runs a model on rows of text.

    Args:
        saved (`SavedModel`): The model.
        batch_size (`int`): Rows that run at a time, at most.
        max_length (`int`, *optional*): Tokens of a row that are read; by default what the tokenizer is made for.
        has_pairs (`bool`, defaults to `False`): Whether rows are pairs of texts, which are read together.

    Raises:
        InputError: If the limit leaves no room for a token of the text.
    """

    def __init__(self, saved: SavedModel, batch_size: int, max_length: int | None = None, has_pairs: bool = False):
        self.name, self.model, self.tokenizer = saved.name, saved.model, saved.tokenizer
        self.batch_size = batch_size
        self.max_length = saved.reading_limit(max_length)
        if self.max_length is not None:
            num_special = saved.tokenizer.num_special_tokens_to_add(pair=has_pairs)
            check_room("max_length", self.max_length, num_special)
        self.num_cut = 0

    @abstractmethod
    def predict(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> list[dict[str, Any]]:
        """
        Returns what the model says about each row.

        Args:
            rows (`Sequence[dict[str, str]]`): The texts.
            progress (`Callable`): Called with the number of rows after each batch.
        """

    def run(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> list[Any]:
        """Returns the model's raw outputs for each row, as `run_batch` gives them."""
        pad_token_id = self.tokenizer.pad_token_id
        return read_sorted(
            self._encode(rows), self.run_batch, pad_token_id, self.batch_size, self.model.device, progress
        )

    @abstractmethod
    def run_batch(self, batch: dict[str, torch.Tensor]) -> Sequence[Any]:
        """Returns the model's output for each row of a batch, of shape `(batch_size, sequence_length)`."""

    @abstractmethod
    def texts(self, rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
        """Returns the texts that the tokenizer reads, and their second halves if rows are pairs."""

    def _encode(self, rows: Sequence[Row]) -> list[list[int]]:
        texts, pairs = self.texts(rows)
        options: dict[str, Any] = {"truncation": self.max_length is not None, "max_length": self.max_length}
        encoded = self.tokenizer(texts, pairs, **options)
        self.num_cut += sum(bool(encoding.overflowing) for encoding in encoded.encodings)
        return encoded["input_ids"]


class Classifier(Predictor):
    """Labels texts, with the arguments of [`Predictor`]."""

    def __init__(self, saved: SavedModel, batch_size: int, max_length: int | None = None, has_pairs: bool = False):
        super().__init__(saved, batch_size, max_length, has_pairs)
        scheme = trained_scheme(saved.model.config)
        assert scheme is not None  # the model is a classifier
        self.scheme = scheme

    def predict(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> list[dict[str, Any]]:
        logits = self.logits(rows, progress)
        labels, chances = decode_predictions(logits, self.scheme)
        results: list[dict[str, Any]] = [{"label": label} for label in labels]
        if self.scheme.problem_type in (SINGLE_LABEL, MULTI_LABEL):
            scores = label_probabilities(logits, self.scheme)
            for result, chance, row in zip(results, chances, np.round(scores, DIGITS).tolist(), strict=True):
                result["score"] = np.round(chance, DIGITS).tolist()
                result["scores"] = dict(zip(self.scheme.names, row, strict=True))
        return results

    def logits(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> np.ndarray:
        """
        Returns the model's outputs for each row, of shape `(num_rows, num_labels)`.

        Raises:
            InputError: If those of a row are no finite numbers.
        """
        logits = np.stack(self.run(rows, progress))
        odd = np.flatnonzero(~np.isfinite(logits).all(axis=-1))
        if len(odd):
            raise InputError(
                f"The model {self.name!r} gives no finite scores for the text {reprlib.repr(rows[odd[0]]['text'])}. "
                "Its weights are damaged, or its training failed: copy or train it again."
            )
        return logits

    def run_batch(self, batch: dict[str, torch.Tensor]) -> Sequence[Any]:
        return list(self.model.classify(**batch).float().cpu().numpy())

    def texts(self, rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
        pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        return [row["text"] for row in rows], pairs


class Writer(Predictor):
    """
    Writes a text for each text, with an encoder–decoder.

    Args:
        saved (`SavedModel`): The model.
        batch_size (`int`): As for [`Predictor`].
        max_length (`int`, *optional*): As for [`Predictor`].
        generation_config (`GenerationConfig`, *optional*): How texts are generated; by default as the model says.
    """

    def __init__(
        self,
        saved: SavedModel,
        batch_size: int,
        max_length: int | None = None,
        generation_config: GenerationConfig | None = None,
    ):
        super().__init__(saved, batch_size, max_length)
        self.generation_config = generation_config or make_generation_config(saved.model, {})
        self.prefix = saved.model.config.prefix or ""

    def predict(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> list[dict[str, Any]]:
        written = self.tokenizer.batch_decode(self.run(rows, progress), skip_special_tokens=True)
        return [{"prediction": text} for text in written]

    def run(self, rows: Sequence[Row], progress: Callable[[int], Any]) -> list[Any]:
        """Returns the tokens that the model writes for each row; for a blank text, none."""
        filled = [row for row in rows if row[SOURCE].strip()]
        progress(len(rows) - len(filled))
        written = iter(super().run(filled, progress) if filled else [])
        return [next(written) if row[SOURCE].strip() else [] for row in rows]

    def run_batch(self, batch: dict[str, torch.Tensor]) -> Sequence[Any]:
        return generate_tokens(self.model, **batch, generation_config=self.generation_config).tolist()

    def texts(self, rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
        return [self.prefix + row[SOURCE] for row in rows], None


def generate_tokens(model: PreTrainedModel, **options: Any) -> torch.Tensor:
    """
    Generates as `model.generate` does.

    Raises:
        InputError: If the settings, which the model may have been saved with, do not fit each other or the model.
    """
    try:
        return model.generate(**options)
    except ValueError as error:
        raise InputError(f"The model cannot generate in this way: {error}") from error


def given_generation(arguments: Any) -> dict[str, Any]:
    """Returns what the user says about generation, by the names of `generate`; the seed is not among them."""
    values = {name: getattr(arguments, name) for name in GENERATION_FLAGS if name != "seed"}
    given = {name: value for name, value in values.items() if value is not None}
    drawn = [name for name in SAMPLING_FLAGS if name in given]
    if drawn and not given.get("do_sample"):
        raise InputError(f"--{drawn[0]} only matters when tokens are drawn by chance: pass --do_sample as well.")
    return given


def make_generation_config(model: PreTrainedModel, options: dict[str, Any]) -> GenerationConfig:
    """
    Makes the way a model generates from what it was saved with and from options that replace parts of it.

    Args:
        model (`PreTrainedModel`): The model.
        options (`dict[str, Any]`): Options by the names of `generate`.

    Raises:
        InputError: If the options do not fit together.
    """
    config = copy.deepcopy(model.generation_config)
    if "max_new_tokens" in options or (config.max_length is None and config.max_new_tokens is None):
        options = {"max_new_tokens": DEFAULT_MAX_NEW_TOKENS} | options
        config.max_length = None
    config.num_return_sequences = 1  # unless asked for here: each row gets one result
    for name, value in options.items():
        setattr(config, name, value)
    # Only the tokens are wanted, whatever else the model was saved to return.
    config.return_dict_in_generate = False
    config.output_attentions = config.output_hidden_states = config.output_scores = config.output_logits = False
    config.num_beams = config.num_beams or 1
    if config.num_beams == 1 and "length_penalty" not in options:
        config.length_penalty = config.early_stopping = None  # what only beams use
    if not config.do_sample:
        config.temperature = config.top_k = config.top_p = None
    try:
        config.validate()
    except ValueError as error:
        raise InputError(f"The model cannot generate in this way: {error}") from error
    return config
