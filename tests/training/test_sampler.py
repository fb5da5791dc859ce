import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from torch.utils.data import BatchSampler

from hf_lstm.training.sampler import LengthGroupedSampler, LengthSortedSampler, count_tokens, measure_pairs

LENGTHS = np.random.default_rng(7).integers(1, 60, 107)


def test_every_example_comes_once_with_leftovers():
    order = list(LengthGroupedSampler(LENGTHS, 6, seed=3))

    assert sorted(order) == list(range(107))


def test_order_repeats_for_equal_seed_and_epoch_and_differs_otherwise():
    def draw(seed, epoch):
        sampler = LengthGroupedSampler(LENGTHS, 6, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(3, 2) == draw(3, 2)
    assert len({tuple(draw(seed, epoch)) for seed in (3, 4) for epoch in (0, 1)}) == 4


def test_batches_hold_other_examples_in_each_epoch():
    sampler = LengthGroupedSampler(LENGTHS, 6, seed=3)
    batches = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches.append({frozenset(batch) for batch in np.array(list(sampler)[:102]).reshape(17, 6).tolist()})

    assert len(batches[0] & batches[1]) < 3


@pytest.mark.parametrize(
    ("num_examples", "multiplier", "expected"), [(107, 50, 24), (107, 3, 18), (1440, 50, 300), (5, 50, 6)]
)
def test_pieces_are_as_many_as_asked_for_and_four_at_least(num_examples, multiplier, expected):
    sampler = LengthGroupedSampler(np.ones(num_examples), 6, seed=3, mega_batch_multiplier=multiplier)

    assert sampler.mega_batch_size == expected


def test_drawing_leaves_global_random_numbers_alone():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    list(LengthGroupedSampler(LENGTHS, 6, seed=3))

    assert np.random.rand() == expected  # noqa: NPY002


def test_batches_hold_similar_lengths_in_random_order():
    sampler = LengthGroupedSampler(LENGTHS, 6, seed=3)
    batches = np.array(list(sampler)[:102]).reshape(17, 6)
    padding = (LENGTHS[batches].max(axis=1, keepdims=True) - LENGTHS[batches]).sum()
    unsorted = np.arange(102).reshape(17, 6)
    random_padding = (LENGTHS[unsorted].max(axis=1, keepdims=True) - LENGTHS[unsorted]).sum()
    widths = LENGTHS[batches].max(axis=1)

    assert padding < random_padding / 2
    # One batch wider than that before it would be the first of each but the first of the five pieces, at most.
    assert np.sum(np.diff(widths) > 0) > 5, "the batches come in order of their length"


def test_longest_example_comes_in_first_batch():
    for seed in range(9):
        first = list(LengthGroupedSampler(LENGTHS, 6, seed=seed))[:6]

        assert LENGTHS[first].max() == LENGTHS.max()


def test_ranks_get_disjoint_shares_of_the_same_global_batches():
    per_device, world_size, accumulation = 3, 2, 2
    global_size = per_device * world_size * accumulation
    shares = []
    for rank in range(world_size):
        sampler = LengthGroupedSampler(LENGTHS, global_size, seed=3)
        sampler.set_epoch(4)
        shares.append(list(BatchSamplerShard(BatchSampler(sampler, per_device, False), world_size, rank)))
    sampler.set_epoch(4)
    order = list(sampler)

    for step in range(107 // global_size):
        micro = slice(step * accumulation, (step + 1) * accumulation)
        seen = [index for share in shares for batch in share[micro] for index in batch]
        assert sorted(seen) == sorted(order[step * global_size : (step + 1) * global_size])
        assert len(set(seen)) == global_size


@pytest.mark.parametrize("count", [0, 1, 5, 6])
def test_small_data_is_drawn_whole(count):
    assert sorted(LengthGroupedSampler(LENGTHS[:count], 6, seed=3)) == list(range(count))


def test_invalid_batch_size_raises():
    with pytest.raises(ValueError, match="`global_batch_size` is 0 .* at least 1"):
        LengthGroupedSampler(LENGTHS, 0, seed=3)
    with pytest.raises(ValueError, match="`mega_batch_multiplier` is 0, .* at least 1"):
        LengthGroupedSampler(LENGTHS, 6, seed=3, mega_batch_multiplier=0)


def test_sorted_sampler_goes_from_longest_to_shortest_and_leaves_equal_ones_in_their_order():
    assert list(LengthSortedSampler([2, 5, 2, 9])) == [3, 1, 0, 2]
    assert list(LengthSortedSampler(LENGTHS)) == sorted(range(107), key=lambda row: -LENGTHS[row])


def test_count_tokens_of_data_set_and_list_agree():
    rows = [{"input_ids": [4] * length, "labels": 0} for length in (3, 0, 5, 1)]
    dataset = Dataset.from_list(rows)

    assert count_tokens(rows).tolist() == [3, 0, 5, 1]
    assert count_tokens(dataset).tolist() == [3, 0, 5, 1]
    assert count_tokens(dataset.select([2, 0])).tolist() == [5, 3]


def test_no_examples_have_no_lengths():
    for dataset in ([], Dataset.from_dict({"input_ids": []})):
        assert count_tokens(dataset).shape == (0,)


def test_pairs_are_measured_by_target_and_then_by_source():
    rows = [{"input_ids": [4] * source, "labels": [4] * target} for source, target in ((3, 1), (0, 2), (2, 2))]

    assert measure_pairs(rows).tolist() == [1 * 4 + 3, 2 * 4 + 0, 2 * 4 + 2]


def test_count_tokens_without_column_names_the_columns():
    with pytest.raises(ValueError, match=r"column 'input_ids'.*only text, label"):
        count_tokens(Dataset.from_dict({"text": ["a"], "label": [0]}))
