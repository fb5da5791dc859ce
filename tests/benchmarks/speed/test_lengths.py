import numpy as np
import pytest

from benchmarks.speed.lengths import LengthDistribution, cut_batches
from benchmarks.speed.lstm_peers import make_batch
from benchmarks.speed.texts import choose_texts, make_texts


def test_lengths_are_log_normal_and_the_same_for_a_seed() -> None:
    lengths = LengthDistribution(50, 0.8, 100_000).sample(20_000, seed=1)
    assert np.median(lengths) == pytest.approx(50, rel=0.03)
    assert np.log(lengths).std() == pytest.approx(0.8, rel=0.03)
    assert (lengths == LengthDistribution(50, 0.8, 100_000).sample(20_000, seed=1)).all()
    assert (lengths != LengthDistribution(50, 0.8, 100_000).sample(20_000, seed=2)).any()


def test_lengths_stay_between_one_and_the_longest() -> None:
    lengths = LengthDistribution(2, 2.0, 9).sample(1000, seed=1)
    assert (lengths.min(), lengths.max()) == (1, 9)


@pytest.mark.parametrize("grouped", [False, True])
def test_batches_hold_every_sequence_once(grouped: bool) -> None:
    lengths = LengthDistribution(6, 0.8, 30).sample(14, seed=3)
    batches = cut_batches(lengths, 4, grouped)
    assert [len(batch) for batch in batches] == [4, 4, 4, 2]
    assert sorted(np.concatenate(batches)) == list(range(14))


def test_grouped_batches_have_less_padding() -> None:
    lengths = LengthDistribution(50, 0.8, 400).sample(256, seed=1)
    padded = [sum(lengths[rows].max() * len(rows) for rows in cut_batches(lengths, 32, way)) for way in (False, True)]
    assert lengths.sum() < padded[1] < 0.8 * padded[0]


def test_batch_has_noise_in_its_padding_but_no_gradient_there() -> None:
    batch = make_batch(np.array([2, 5, 1]), 3, 4, np.random.default_rng(0))
    assert batch.inputs.shape == (3, 5, 3) and batch.gradient.shape == (3, 5, 4)
    assert batch.mask.sum(axis=1).tolist() == [2, 5, 1]
    assert (batch.inputs[~batch.mask] != 0).all() and (batch.gradient[~batch.mask] == 0).all()


def test_made_up_texts_repeat_with_their_seed() -> None:
    texts = make_texts(30, seed=1)
    assert texts == make_texts(30, seed=1) != make_texts(30, seed=2)
    assert len(choose_texts(texts, 50, seed=1)) == 50
    assert len(set(choose_texts(texts, 30, seed=1))) == len(set(texts))
