"""The recurrent state as a transformers cache."""

import pytest
import torch
from torch import nn

from hf_lstm import LstmCache
from tests.models.factories import MODELS, make_input_ids, make_model

NUM_LAYERS, BATCH_SIZE, SIZE = 2, 3, 6


def make_cache(bidirectional: bool = False) -> LstmCache:
    shape = (NUM_LAYERS * (1 + bidirectional), BATCH_SIZE, SIZE)
    generator = torch.Generator().manual_seed(0)
    states = tuple(torch.randn(shape, generator=generator) for _ in range(2))
    return LstmCache.from_torch(states, bidirectional)


def recorded_cache(model: nn.Module, input_ids: torch.Tensor, mask: torch.Tensor | None = None) -> LstmCache:
    cache = LstmCache(model.config.num_hidden_layers)
    cache.activate_past_recording()
    with torch.no_grad():
        model(input_ids, attention_mask=mask, cache=cache)
    return cache


def states_after(model: nn.Module, input_ids: torch.Tensor, mask: torch.Tensor | None = None) -> tuple:
    with torch.no_grad():
        return model(input_ids, attention_mask=mask, use_cache=True).cache.to_torch()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_go_to_torch_and_back_exactly(bidirectional):
    shape = (NUM_LAYERS * (1 + bidirectional), BATCH_SIZE, SIZE)
    states = tuple(torch.randn(shape) for _ in range(2))
    cache = LstmCache.from_torch(states, bidirectional)
    assert (len(cache), cache.get_seq_length()) == (NUM_LAYERS, 0)
    assert cache.layers[0].hidden_state.shape == (BATCH_SIZE, 1 + bidirectional, SIZE)
    for ours, theirs in zip(cache.to_torch(), states, strict=True):
        assert torch.equal(ours, theirs)
    nn.LSTM(5, SIZE, NUM_LAYERS, bidirectional=bidirectional)(torch.zeros(1, BATCH_SIZE, 5), cache.to_torch())


def test_states_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"`states` are of shapes \(3, 2, 6\) and \(3, 2, 6\), but must both be"):
        LstmCache.from_torch((torch.zeros(3, 2, 6), torch.zeros(3, 2, 6)), bidirectional=True)
    with pytest.raises(ValueError, match=r"\(3, 6\)"):
        LstmCache.from_torch((torch.zeros(3, 6), torch.zeros(3, 6)))
    with pytest.raises(ValueError, match=r"`states` are of shapes \(2, 3, 6\) and \(2, 3, 5\)"):
        LstmCache.from_torch((torch.zeros(2, 3, 6), torch.zeros(2, 3, 5)))


def test_states_of_several_widths_or_none_do_not_go_to_torch():
    with pytest.raises(ValueError, match=r"\[None, None\] wide"):
        LstmCache(2).to_torch()
    model = make_model(last_hidden_size=4)
    with pytest.raises(ValueError, match=r"\[6, 4\] wide"):
        states_after(model, make_input_ids())


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda cache: cache.reorder_cache(torch.tensor([2, 0, 2])), [2, 0, 2]),
        (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1, 2, 2]),
        (lambda cache: cache.batch_select_indices(torch.tensor([2, 1])), [2, 1]),
        (lambda cache: cache.batch_select_indices(torch.tensor([True, False, True])), [0, 2]),
    ],
)
def test_rows_are_reordered_repeated_and_selected_with_their_recorded_past(change, rows):
    model = make_model()
    input_ids = make_input_ids(BATCH_SIZE, 5)
    cache = recorded_cache(model, input_ids)
    change(cache)
    assert cache.layers[0].batch_size == len(rows)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[rows]))
    cache.crop(-2)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[rows, :3]))


def test_changes_leave_an_empty_cache_empty():
    cache = LstmCache(2)
    cache.reorder_cache(torch.tensor([0]))
    cache.batch_repeat_interleave(2)
    cache.detach_()
    cache.crop(0)
    assert cache.get_seq_length() == 0
    assert cache.layers[0].batch_size == -1
    assert cache.get_max_length() == -1


@pytest.mark.parametrize("num_removed", [0, 1, 4])
def test_crop_goes_back_to_the_state_before_the_removed_tokens(num_removed):
    model = make_model()
    input_ids = make_input_ids(BATCH_SIZE, 5)
    cache = recorded_cache(model, input_ids)
    cache.crop(-num_removed)
    assert cache.get_seq_length() == 5 - num_removed
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[:, : 5 - num_removed]))


def test_crop_goes_back_to_where_there_was_no_state():
    model = make_model()
    input_ids = make_input_ids(BATCH_SIZE, 5)
    cache = recorded_cache(model, input_ids)
    cache.reorder_cache(torch.arange(BATCH_SIZE))
    cache.crop(-5)
    assert cache.get_seq_length() == 0
    assert cache.layers[0].batch_size == -1
    model(input_ids, cache=cache)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids))


def test_reading_nothing_is_no_step_to_go_back():
    model = make_model()
    input_ids = make_input_ids(BATCH_SIZE, 5)
    cache = recorded_cache(model, input_ids[:, :3])
    model(input_ids[:, :0], cache=cache)
    model(input_ids[:, 3:], cache=cache)
    cache.crop(-4)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[:, :1]))


def test_crop_goes_back_over_several_calls():
    model = make_model()
    input_ids = make_input_ids(BATCH_SIZE, 7)
    cache = recorded_cache(model, input_ids[:, :2])
    for part in (input_ids[:, 2:3], input_ids[:, 3:]):
        model(part, cache=cache)
    cache.crop(-5)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[:, :2]))


def test_crop_counts_positions_where_padding_stands_on_the_left():
    model = make_model()
    input_ids = make_input_ids(2, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1]])
    cache = recorded_cache(model, input_ids, mask)
    cache.crop(-2)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids[:, :4], mask[:, :4]))


def test_crop_says_why_it_cannot_go_back():
    model = make_model()
    cache = model(make_input_ids()).cache
    with pytest.raises(ValueError, match=r"Cannot go back by 1 tokens.*`activate_past_recording\(\)`"):
        cache.crop(-1)
    with pytest.raises(ValueError, match=r"`tokens_to_remove` is 2, but must be 0 or negative"):
        cache.crop(2)


def test_crop_forgets_what_was_recorded():
    model = make_model()
    cache = recorded_cache(model, make_input_ids(2, 5))
    cache.crop(-1)
    with pytest.raises(ValueError, match="the last 0 were kept"):
        cache.crop(-1)


def test_reset_forgets_what_was_recorded():
    model = make_model()
    cache = recorded_cache(model, make_input_ids(2, 5))
    cache.reset()
    model(make_input_ids(2, 3), cache=cache)
    with pytest.raises(ValueError, match="the last 3 were kept"):
        cache.crop(-4)


def test_reset_starts_again_from_zeros():
    model = make_model()
    input_ids = make_input_ids()
    cache = model(input_ids).cache
    cache.reset()
    assert cache.get_seq_length() == 0
    model(input_ids, cache=cache)
    torch.testing.assert_close(cache.to_torch(), states_after(model, input_ids))


def test_mask_sizes_and_lengths_count_the_tokens_seen():
    cache = make_model()(make_input_ids(3, 4)).cache
    assert cache.get_seq_length() == 4
    assert cache.get_mask_sizes(2, 0) == (6, 0)
    assert (cache.is_compileable, cache.is_croppable) == (False, True)


def test_offload_and_prefetch_keep_the_states():
    cache = make_cache()
    before = cache.to_torch()
    for layer in range(NUM_LAYERS):
        cache.offload(layer)
        cache.layers[layer].prefetch()
        assert cache.layers[layer].device == before[0].device
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(cache.to_torch(), before, strict=True))


def test_offload_of_an_empty_cache_does_nothing():
    layer = LstmCache(1).layers[0]
    layer.offload()
    layer.prefetch()
    assert layer.hidden_state is None


def test_detach_cuts_the_graph_for_truncated_backpropagation():
    model = make_model().train()
    cache = model(make_input_ids(), use_cache=True).cache
    assert cache.layers[0].cell_state.requires_grad
    assert cache.detach_() is cache
    assert not any(state.requires_grad for state in cache.to_torch())
    model(make_input_ids(seed=1), cache=cache).last_hidden_state.sum().backward()


@pytest.mark.parametrize("length", [1, 4])
def test_states_keep_their_type_under_autocast(length):
    model = make_model()
    with torch.autocast("cpu", torch.bfloat16):
        cache = model(make_input_ids(2, length)).cache
    assert {state.dtype for state in cache.to_torch()} == {torch.float32}


def test_states_keep_the_type_of_the_first_ones_where_none_is_given():
    cache = LstmCache(1)
    for dtype in (torch.float, torch.bfloat16):
        states = torch.ones(1, BATCH_SIZE, 1, SIZE, dtype=dtype)
        cache.update(states, states, 0, 1)
    assert {state.dtype for state in cache.to_torch()} == {torch.float}


def test_a_step_keeps_the_type_of_the_states():
    layer = make_cache().layers[0]
    layer.step(*(torch.ones(BATCH_SIZE, 1, SIZE, dtype=torch.bfloat16) for _ in range(2)))
    assert {state.dtype for state in layer.states()} == {torch.float}


@pytest.mark.parametrize("model_class", MODELS)
def test_a_state_goes_by_its_former_name_with_a_warning(model_class):
    model, input_ids = make_model(model_class, classifier_pooling="last"), make_input_ids()
    caches = [LstmCache(NUM_LAYERS) for _ in range(2)]
    with torch.no_grad():
        for cache in caches:
            model(input_ids[:, :4], cache=cache)
        expected = model(input_ids[:, 4:], cache=caches[0])
        with pytest.warns(FutureWarning, match="`past_key_values` is deprecated .* Use `cache` instead"):
            result = model(input_ids[:, 4:], past_key_values=caches[1])
    assert torch.equal(result[0], expected[0])
    assert caches[1].get_seq_length() == 7
