import pytest
import torch

from hf_lstm.data.checks import InputError
from hf_lstm.data.token_noise import add_noise

UNKNOWN, END = 1, 3


def noise(input_ids, word_dropout=0.0, shuffle_distance=0, unk_token_id=None, special_ids=(0, 2, END), seed=5):
    generator = torch.Generator().manual_seed(seed)
    return add_noise(input_ids, word_dropout, shuffle_distance, unk_token_id, special_ids, generator)


def test_no_noise_changes_nothing():
    tokens = [7, 8, 9, END]
    assert noise(tokens) == tokens


def test_noise_leaves_its_input_as_it_is():
    tokens = list(range(10, 41))
    noise(tokens, 0.4, 3)
    assert tokens == list(range(10, 41))


def test_same_generator_state_gives_the_same_noise():
    tokens = [*range(10, 61), END]
    assert noise(tokens, 0.2, 3) == noise(tokens, 0.2, 3)
    assert noise(tokens, 0.2, 3) != noise(tokens, 0.2, 3, seed=6)


def test_one_generator_gives_new_noise_each_time():
    generator = torch.Generator().manual_seed(5)
    tokens = list(range(10, 61))
    assert add_noise(tokens, 0.2, 3, None, (), generator) != add_noise(tokens, 0.2, 3, None, (), generator)


@pytest.mark.parametrize("distance", [1, 3])
def test_shuffle_moves_each_token_by_the_distance_at_most(distance):
    tokens = list(range(100, 2100))
    shuffled = noise(tokens, shuffle_distance=distance)
    moves = [abs(place - (token - 100)) for place, token in enumerate(shuffled)]
    assert sorted(shuffled) == tokens
    assert max(moves) == distance


def test_long_text_keeps_the_distance():
    tokens = list(range(200_000))
    shuffled = torch.tensor(noise(tokens, shuffle_distance=2, special_ids=()))
    assert (shuffled - torch.arange(200_000)).abs().max() == 2


def test_dropped_tokens_are_removed_at_their_rate():
    tokens = list(range(10, 5010))
    kept = noise(tokens, 0.1)
    assert kept == sorted(kept) and set(kept) < set(tokens)
    assert 0.08 < 1 - len(kept) / len(tokens) < 0.12


def test_dropped_tokens_become_unknown_if_there_is_one():
    tokens = list(range(10, 5010))
    masked = noise(tokens, 0.3, unk_token_id=UNKNOWN)
    assert len(masked) == len(tokens)
    assert {new for old, new in zip(tokens, masked) if new != old} == {UNKNOWN}
    assert 0.27 < masked.count(UNKNOWN) / len(tokens) < 0.33


def test_special_tokens_stay_in_place():
    tokens = [2, *range(10, 30), END, *range(30, 47), END, 0, 0]
    shuffled = noise(tokens, shuffle_distance=3)
    assert shuffled != tokens
    assert [(place, token) for place, token in enumerate(shuffled) if token < 10] == [
        (place, token) for place, token in enumerate(tokens) if token < 10
    ]
    for seed in range(20):
        disturbed = noise(tokens, 0.9, 3, seed=seed)
        assert disturbed[0] == 2 and disturbed[-3:] == [END, 0, 0]
        assert disturbed.count(END) == 2


@pytest.mark.parametrize("tokens", [[], [END], [7, END]])
def test_short_texts_keep_a_token(tokens):
    for seed in range(20):
        assert noise(tokens, 0.99, 3, seed=seed) == tokens


def test_text_never_loses_its_last_token_and_any_may_remain():
    remaining = {noise([7, 8, 9, END], 0.99, seed=seed)[0] for seed in range(200)}
    assert remaining == {7, 8, 9}


@pytest.mark.parametrize(
    ("word_dropout", "shuffle_distance", "message"),
    [
        (1.0, 3, "`word_dropout` is 1.0, but must be at least 0 and below 1"),
        (-0.1, 3, "`word_dropout` is -0.1"),
        (float("nan"), 3, "`word_dropout` is nan"),
        (0.1, -1, "`shuffle_distance` is -1, but must be 0"),
    ],
)
def test_strength_out_of_range_raises(word_dropout, shuffle_distance, message):
    with pytest.raises(InputError, match=message):
        noise([7, 8], word_dropout, shuffle_distance)
