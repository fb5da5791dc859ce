"""The decoder's cache: chunks equal the whole, and it is cropped, reordered, repeated and selected with its source."""

import copy

import pytest
import torch

from hf_lstm import LstmCache, LstmForConditionalGeneration
from hf_lstm.models.cache_lstm import EncoderMemory
from tests.models.factories import COPYING, MASK, RUNS, TARGET_MASK, make_seq2seq_model, make_source, make_target


@pytest.fixture(scope="module", params=[*RUNS, COPYING], ids=lambda fields: "-".join(map(str, fields.values())))
def model(request) -> LstmForConditionalGeneration:
    return make_seq2seq_model(**request.param)


def state_tensors(cache: LstmCache) -> list[torch.Tensor]:
    memory = [tensor for tensor in cache.memory if tensor is not None]
    return [state for layer in cache.layers for state in (layer.hidden_state, layer.cell_state)] + memory


def read(model, length: int, cache: LstmCache | None = None, rows=slice(None)) -> LstmCache:
    """Returns the state after the first tokens of the rows' targets."""
    source, target = make_source()[rows], make_target()[rows, :length]
    with torch.no_grad():
        return model(source, MASK[rows], target, cache=cache, use_cache=True).cache


@pytest.mark.parametrize("lengths", [(2, 3), (1, 1, 1, 1, 1), (4, 1), (0, 5), (3, 0, 2)])
@pytest.mark.parametrize("mask", [None, TARGET_MASK])
def test_chunks_from_a_cache_equal_the_whole_target(model, lengths, mask):
    source, target = make_source(), make_target()
    whole = model(source, MASK, target, mask, output_attentions=True)
    cache, logits, weights, start = None, [], [], 0
    for length in lengths:
        end = start + length
        # The first chunk has the source, the later ones the cache alone, and a mask over the past as well.
        arguments = {"input_ids": source, "attention_mask": MASK} if cache is None else {}
        part = model(
            decoder_input_ids=target[:, start:end],
            decoder_attention_mask=None if mask is None else mask[:, :end],
            cache=cache,
            output_attentions=True,
            **arguments,
        )
        cache, start = part.cache, end
        logits.append(part.logits)
        weights += [] if part.cross_attentions is None else [part.cross_attentions[0]]
    is_target = TARGET_MASK.bool() if mask is not None else torch.ones(6, 5, dtype=torch.bool)
    torch.testing.assert_close(torch.cat(logits, dim=1)[is_target], whole.logits[is_target], rtol=0, atol=1e-6)
    for ours, theirs in zip(state_tensors(cache), state_tensors(whole.cache), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    if weights:
        ours, theirs = torch.cat(weights, dim=2), whole.cross_attentions[0]
        torch.testing.assert_close(ours.transpose(1, 2)[is_target], theirs.transpose(1, 2)[is_target])
    assert cache.get_seq_length() == 5


def test_cropping_goes_back_to_an_earlier_token(model):
    for kept in (0, 1, 4):
        cache = model.make_cache()
        cache.activate_past_recording()
        cache = read(model, 5, cache)
        cache.crop(kept - 5)
        assert cache.get_seq_length() == kept
        expected = read(model, kept)
        for ours, theirs in zip(state_tensors(cache), state_tensors(expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        rest = make_target()[:, kept:]
        result = model(decoder_input_ids=rest, cache=cache).logits
        whole = model(make_source(), MASK, make_target()).logits
        torch.testing.assert_close(result, whole[:, kept:], rtol=0, atol=1e-6)


def test_steps_that_record_the_past_also_mind_padding(model):
    cache = model.make_cache()
    cache.activate_past_recording()
    recorded = model(make_source(), MASK, make_target(), TARGET_MASK, cache=cache)
    plain = model(make_source(), MASK, make_target(), TARGET_MASK)
    is_target = TARGET_MASK.bool()
    torch.testing.assert_close(recorded.logits[is_target], plain.logits[is_target], rtol=0, atol=1e-6)
    cache.crop(-2)
    expected = model(make_source(), MASK, make_target()[:, :3], TARGET_MASK[:, :3]).cache
    for ours, theirs in zip(state_tensors(cache), state_tensors(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda cache: cache.reorder_cache(torch.tensor([3, 0, 0, 5, 1, 2])), [3, 0, 0, 5, 1, 2]),
        (lambda cache: cache.batch_select_indices(torch.tensor([4, 1])), [4, 1]),
        (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    ],
    ids=["reorder", "select", "repeat"],
)
@pytest.mark.parametrize("has_source", [False, True])
def test_rows_are_moved_with_states_fed_vector_and_source(model, change, rows, has_source):
    cache = read(model, 2)
    change(cache)
    source = {"input_ids": make_source()[rows], "attention_mask": MASK[rows]} if has_source else {}
    result = model(decoder_input_ids=make_target()[rows, 2:], cache=cache, **source)
    expected = model(make_source()[rows], MASK[rows], make_target()[rows])
    torch.testing.assert_close(result.logits, expected.logits[:, 2:], rtol=0, atol=1e-6)


def test_beams_that_change_places_leave_the_source_where_it_is(model):
    cache = read(model, 2)
    cache.batch_repeat_interleave(2)
    memory = cache.memory
    cache.reorder_cache(torch.tensor([1, 0, 2, 2, 5, 4, 6, 7, 9, 8, 10, 11]))
    assert cache.memory is memory
    rows = [1, 0, 0, 0, 2, 2, 3, 3, 4, 4, 5, 5]
    cache.reorder_cache(torch.tensor([2, 1, 0, 0, 4, 4, 6, 6, 8, 8, 10, 10]))
    assert cache.memory is not memory
    result = model(decoder_input_ids=make_target()[rows, 2:], cache=cache)
    expected = model(make_source()[rows], MASK[rows], make_target()[rows])
    torch.testing.assert_close(result.logits, expected.logits[:, 2:], rtol=0, atol=1e-6)


def test_sources_differ_in_their_mask_and_tokens_too():
    source = torch.zeros(4, 2, 3)
    mask, tokens = (
        torch.tensor([[1, 1], [1, 1], [1, 0], [1, 0]]).bool(),
        torch.tensor([[5, 6], [5, 6], [5, 6], [5, 7]]),
    )
    assert EncoderMemory(source, source, source).number_sources().tolist() == [0, 0, 0, 0]
    assert EncoderMemory(source, source, source, mask).number_sources().tolist() == [0, 0, 1, 1]
    assert EncoderMemory(source, source, source, mask, tokens).number_sources().tolist() == [0, 0, 1, 2]


def remember(cache: LstmCache, sources: list[float]) -> None:
    """Lets a cache hold rows of the sources with these numbers."""
    source = torch.tensor(sources).view(-1, 1, 1)
    cache.memory = EncoderMemory(source, source, source)


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: cache.batch_select_indices(torch.tensor([0, 2, 1, 3])),
        lambda cache: cache.reorder_cache(torch.tensor([0, 2, 1, 3])),
        lambda cache: (cache.reset(), remember(cache, [0.0, 1.0, 0.0, 1.0])),
    ],
    ids=["select", "reorder", "reset"],
)
def test_rows_move_with_their_source_after_sources_have_changed(change):
    cache = LstmCache(1)
    remember(cache, [0.0, 0.0, 1.0, 1.0])
    for beams in ([1, 0, 2, 3], [0, 1, 3, 2]):
        cache.reorder_cache(torch.tensor(beams))
    change(cache)
    cache.reorder_cache(torch.tensor([1, 0, 2, 3]))
    assert cache.memory.source.flatten().tolist() == [1, 0, 0, 1]


def test_what_a_memory_shares_stays_shared():
    source = torch.zeros(2, 5, 3)
    shared = EncoderMemory(source, source, source).apply(torch.clone)
    assert shared.source is shared.keys is shared.values is not source


def test_a_copied_cache_leaves_the_first_alone(model):
    cache = read(model, 2)
    before = [tensor.clone() for tensor in state_tensors(cache)]
    read_on = copy.deepcopy(cache)
    model(decoder_input_ids=make_target()[:, 2:], cache=read_on)
    assert all(torch.equal(one, other) for one, other in zip(before, state_tensors(cache), strict=True))
    assert not torch.equal(before[0], state_tensors(read_on)[0])


def test_the_state_of_another_source_is_refused(model):
    cache = read(model, 2)
    for source in (make_source(seed=1), make_source()[:, :6]):
        with pytest.raises(ValueError, match="another source.*start with an empty cache"):
            model(source, None, make_target(), cache=cache)
    other = model.get_encoder()(make_source(seed=1), MASK)
    with pytest.raises(ValueError, match="another source"):
        model(encoder_outputs=other, decoder_input_ids=make_target(), cache=cache)
    same = model.get_encoder()(make_source(), MASK)
    model(encoder_outputs=same, decoder_input_ids=make_target(), cache=cache)


def test_states_without_a_source_are_refused(model):
    cache = read(model, 3)
    cache.memory = None
    with pytest.raises(ValueError, match="nothing of a source"):
        model(decoder_input_ids=make_target()[:, 3:], cache=cache)


def test_an_emptied_cache_takes_another_source(model):
    cache = read(model, 2)
    cache.reset()
    assert cache.memory is None
    result = model(make_source(seed=1), None, make_target(), cache=cache)
    torch.testing.assert_close(result.logits, model(make_source(seed=1), None, make_target()).logits)


def test_a_cache_of_another_batch_or_model_is_refused(model):
    with pytest.raises(ValueError, match=r"states of 6 sequences, but the batch has 2.*batch_repeat_interleave"):
        model(make_source(2), MASK[:2], make_target(2), cache=read(model, 2))
    num_layers = len(model.make_cache())
    assert num_layers == 3 + model.config.input_feeding
    with pytest.raises(ValueError, match=f"LstmCache of {num_layers + 1} layers.* {num_layers}"):
        model(make_source(2), None, make_target(2), cache=LstmCache(num_layers + 1))


def test_detached_states_and_memory_lead_to_no_gradient(model):
    cache = model(make_source(), MASK, make_target(), use_cache=True).cache
    assert any(tensor.requires_grad for tensor in state_tensors(cache))
    cache.detach_()
    assert not any(tensor.requires_grad for tensor in state_tensors(cache))


def test_the_state_is_returned_outside_of_training_unless_configured(model):
    source, target = make_source(), make_target()
    assert model(source, MASK, target, use_cache=False).cache is None
    trained = copy.deepcopy(model).train()
    assert trained(source, MASK, target).cache is None
    assert trained(source, MASK, target, use_cache=True).cache.get_seq_length() == 5
    trained.config.use_cache = False
    assert trained.eval()(source, MASK, target).cache is None


def test_a_state_goes_by_its_former_name_with_a_warning(model):
    target = make_target()
    for part in (model, model.model, model.model.decoder):
        name = "input_ids" if part is model.model.decoder else "decoder_input_ids"
        expected = part(**{name: target[:, 3:]}, cache=read(model, 3))[0]
        cache = read(model, 3)
        with pytest.warns(FutureWarning, match="`past_key_values` is deprecated .* Use `cache` instead"):
            result = part(**{name: target[:, 3:]}, past_key_values=cache)[0]
        assert torch.equal(result, expected)
        assert cache.get_seq_length() == 5
