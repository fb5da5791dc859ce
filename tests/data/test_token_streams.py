"""Streams of tokens: what goes in comes out, once and in order."""

import numpy as np
import pytest
from datasets import Dataset

from hf_lstm.data.checks import InputError
from hf_lstm.data.token_streams import cut_streams, join_texts


@pytest.mark.parametrize("num_tokens", [2, 3, 24, 25, 26, 50])
@pytest.mark.parametrize(("num_streams", "length"), [(1, 7), (3, 4), (5, 1)])
def test_every_token_but_the_first_is_a_label_once_and_after_its_predecessor(
    num_tokens: int, num_streams: int, length: int
) -> None:
    tokens = np.arange(100, 100 + num_tokens)
    pieces = cut_streams(tokens, num_streams, length, pad_token_id=0)
    inputs, labels = (np.asarray(pieces[name][:]) for name in ("input_ids", "labels"))
    assert inputs.shape == labels.shape == (len(pieces), length)
    assert len(pieces) % num_streams == 0
    streams = [np.stack([side[row::num_streams].ravel() for row in range(num_streams)]) for side in (inputs, labels)]
    is_label = streams[1] != -100
    assert (streams[1][is_label] == tokens[1:]).all()
    assert (streams[0][is_label] == tokens[:-1]).all()
    assert (streams[0][~is_label] == 0).all()


def test_pieces_of_a_stream_follow_each_other_by_batches() -> None:
    pieces = cut_streams(np.arange(13), num_streams=2, length=3, pad_token_id=0)
    assert pieces["input_ids"][:].tolist() == [[0, 1, 2], [6, 7, 8], [3, 4, 5], [9, 10, 11]]


def test_text_of_one_token_is_refused() -> None:
    with pytest.raises(InputError, match="has 1 tokens"):
        cut_streams(np.arange(1), 3, 4, 0)


def test_texts_are_joined_in_their_order_and_each_is_ended() -> None:
    rows = Dataset.from_dict({"input_ids": [[5, 6], [], [7]], "other": [1, 2, 3]})
    assert join_texts(rows, 3).tolist() == [5, 6, 3, 3, 7, 3]
    assert join_texts(rows.select([0, 2]).select([1, 0]), 3).tolist() == [7, 3, 5, 6, 3]
