"""Long text as language models read it: in streams side by side, one piece after the other."""

import math

import numpy as np
from datasets import Dataset

from .checks import InputError


def join_texts(tokenized: Dataset, end_token_id: int) -> np.ndarray:
    """
    Joins tokenised texts to one.

    Args:
        tokenized (`Dataset`): Data with a column `input_ids`.
        end_token_id (`int`): Put after each text.

    Returns:
        `np.ndarray` of shape `(num_tokens,)`: The tokens of all texts in their order.
    """
    parts = [np.zeros(0, dtype=np.int64)]
    # Arrow holds the tokens side by side already.
    for table in tokenized.select_columns("input_ids").with_format("arrow").iter(batch_size=10_000):
        rows = table["input_ids"].combine_chunks()
        ends = np.cumsum(rows.value_lengths().to_numpy(False))
        parts.append(np.insert(rows.flatten().to_numpy(False).astype(np.int64), ends, end_token_id))
    return np.concatenate(parts)


def cut_streams(tokens: np.ndarray, num_streams: int, length: int, pad_token_id: int) -> Dataset:
    """
    Cuts a text into streams of equal length, and these into pieces.

    Args:
        tokens (`np.ndarray` of shape `(num_tokens,)`): The text.
        num_streams (`int`): How many streams run side by side.
        length (`int`): Tokens of a piece.
        pad_token_id (`int`): Fills up the last pieces.

    Returns:
        `Dataset`: The first piece of every stream, then the second of every stream, and so on: `input_ids` and
        `labels`, each token's successor, -100 where there is none. Every token but the first is a label once.
    """
    if len(tokens) < 2:
        raise InputError(
            f"The text has {len(tokens)} tokens, but a language model needs two at least. Give more text."
        )
    stream_length = math.ceil((len(tokens) - 1) / num_streams)
    num_pieces = math.ceil(stream_length / length)
    columns = {}
    for name, values, fill in (("input_ids", tokens[:-1], pad_token_id), ("labels", tokens[1:], -100)):
        streams = np.full(num_streams * stream_length, fill)
        streams[: len(values)] = values
        pieces = np.full((num_streams, num_pieces * length), fill)
        pieces[:, :stream_length] = streams.reshape(num_streams, stream_length)
        columns[name] = pieces.reshape(num_streams, num_pieces, length).swapaxes(0, 1).reshape(-1, length)
    return Dataset.from_dict(columns).with_format("torch")
