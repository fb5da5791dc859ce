"""`LstmModel` against the reference and against `nn.LSTM`, its masks, states, dropouts and n-grams."""

import pytest
import torch
from torch import nn

from hf_lstm import LstmCache, LstmConfig, LstmModel
from hf_lstm.models import padding_lstm
from tests.models.factories import (
    HIDDEN_SIZE,
    MASK,
    VOCAB_SIZE,
    make_config,
    make_input_ids,
    make_model,
    make_states,
    randomize,
)
from tests.models.reference_lstm import reference_model

VARIANTS = [
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 3},
    {"num_hidden_layers": 1, "bidirectional": True},
    {"num_hidden_layers": 2, "bidirectional": True},
    {"num_hidden_layers": 3, "bidirectional": True, "last_hidden_size": 4, "residual_connections": True},
    {"num_hidden_layers": 2, "layer_norm": True, "residual_connections": True},
    {"num_hidden_layers": 2, "last_hidden_size": 7},
    {"num_hidden_layers": 2, "hidden_size": 5, "residual_connections": True},
]


def as_cache(states: list[tuple[torch.Tensor, torch.Tensor]]) -> LstmCache:
    cache = LstmCache(len(states))
    for index, (hidden, cell) in enumerate(states):
        cache.update(hidden.unsqueeze(0), cell.unsqueeze(0), index, 0)
    return cache


def cached_states(cache: LstmCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.hidden_state, layer.cell_state) for layer in cache.layers]


def flatten(states: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    return [state for pair in states for state in pair]


def weigh(tensors: list[torch.Tensor]) -> torch.Tensor:
    return sum((tensor.flatten() * torch.linspace(-1, 2, tensor.numel())).sum() for tensor in tensors)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("has_states", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_states_and_gradients_agree_with_reference(variant, has_states, checkpointing):
    model = make_model(**variant).train()
    if checkpointing:
        model.activation_checkpointing_enable()
    inputs_embeds = torch.randn(*MASK.shape, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    states = make_states(model, len(MASK))
    cache = as_cache(states) if has_states else None
    result = model(inputs_embeds=inputs_embeds, attention_mask=MASK, cache=cache, use_cache=True)
    zeros = [(torch.zeros_like(hidden), torch.zeros_like(cell)) for hidden, cell in states]
    expected, expected_states = reference_model(model, inputs_embeds, MASK.bool(), states if has_states else zeros)

    # With residual connections or layer norm, padding holds something: it must only not reach the tokens.
    ours, theirs = (output * MASK.unsqueeze(-1) for output in (result.last_hidden_state, expected))
    ours = [ours, *flatten(cached_states(result.cache))]
    theirs = [theirs, *flatten(expected_states)]
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    layers = [parameter for name, parameter in model.named_parameters() if name != "embed_tokens.weight"]
    tensors = [inputs_embeds, *layers, *(flatten(states) if has_states else [])]
    left, right = (torch.autograd.grad(weigh(outputs), tensors) for outputs in (ours, theirs))
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nan_at_padding_reaches_neither_results_nor_gradients(variant):
    model = make_model(**variant).train()
    inputs_embeds = torch.randn(*MASK.shape, 5).masked_fill(MASK.unsqueeze(-1) == 0, torch.nan)
    result = model(inputs_embeds=inputs_embeds, attention_mask=MASK, use_cache=True)
    # Whatever is pooled has finite numbers at padding.
    assert result.last_hidden_state.isfinite().all()
    outputs = [result.last_hidden_state[MASK.bool()], *flatten(cached_states(result.cache))]
    layers = [parameter for name, parameter in model.named_parameters() if name != "embed_tokens.weight"]
    for tensor in (*outputs, *torch.autograd.grad(weigh(outputs), layers)):
        assert tensor.isfinite().all()


def test_output_is_zero_at_padding():
    output = make_model(bidirectional=True)(make_input_ids(), MASK).last_hidden_state
    assert torch.equal(output != 0, MASK.bool().unsqueeze(-1).expand_as(output))


def test_mask_may_be_boolean_float_or_integer():
    model, input_ids = make_model(), make_input_ids()
    expected = model(input_ids, MASK).last_hidden_state
    for mask in (MASK.bool(), MASK.float(), MASK.to(torch.uint8)):
        assert torch.equal(model(input_ids, mask).last_hidden_state, expected)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_from_torch_and_to_torch_give_the_same_results_exactly(bidirectional, num_layers):
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 3, num_layers, batch_first=True, bidirectional=bidirectional)
    embedding = nn.Embedding(VOCAB_SIZE, 5)
    model = LstmModel.from_torch(lstm, embedding).eval()
    input_ids = make_input_ids()
    input_ids[0, 0] = 0
    result = model(input_ids)
    back = model.to_torch()
    assert torch.equal(model.embed_tokens.weight, embedding.weight)
    for name, parameter in lstm.named_parameters():
        assert torch.equal(getattr(back, name), parameter)
    for reference in (lstm, back):
        output, states = reference(embedding(input_ids))
        torch.testing.assert_close(result.last_hidden_state, output, rtol=0, atol=1e-6)
        torch.testing.assert_close(result.cache.to_torch(), states, rtol=0, atol=1e-6)


def test_from_torch_takes_layers_without_bias_their_type_and_further_fields():
    lstm = nn.LSTM(5, 3, bias=False).double()
    model = LstmModel.from_torch(lstm, hidden_dropout=0.25, vocab_size=VOCAB_SIZE).eval()
    assert model.dtype == model.to_torch().weight_ih_l0.dtype == torch.float64
    assert model.config.hidden_dropout == 0.25
    inputs = torch.randn(2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(
        model(inputs_embeds=inputs).last_hidden_state, lstm(inputs.transpose(0, 1))[0].transpose(0, 1)
    )


def test_from_torch_gives_layers_factorised_embeddings_of_their_own():
    lstm = nn.LSTM(5, 3)
    model = LstmModel.from_torch(lstm, vocab_size=VOCAB_SIZE, embedding_rank=2).eval()
    assert torch.equal(model.to_torch().weight_ih_l0, lstm.weight_ih_l0)
    assert model(make_input_ids()).last_hidden_state.shape == (*MASK.shape, 3)


@pytest.mark.parametrize("padding", [None, 0, 5])
def test_from_torch_takes_the_padding_of_the_embeddings(padding):
    lstm, embedding = nn.LSTM(5, 3), nn.Embedding(VOCAB_SIZE, 5, padding_idx=padding)
    model = LstmModel.from_torch(lstm, embedding)
    assert model.config.pad_token_id == model.embed_tokens.padding_idx == padding
    model(torch.tensor([[0, 1, 5]]), torch.ones(1, 3)).last_hidden_state.sum().backward()
    has_gradient = model.embed_tokens.weight.grad.abs().sum(dim=1) > 0
    assert has_gradient.nonzero().flatten().tolist() == [token for token in (0, 1, 5) if token != padding]
    assert LstmModel.from_torch(lstm, embedding, pad_token_id=7).embed_tokens.padding_idx == 7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 12}, "`vocab_size` is 12, but must be 29 as `lstm` and `embedding` are"),
        ({"hidden_size": 12}, "`hidden_size` is 12, but must be 3"),
        ({"embedding_size": 4}, "`embedding_size` is 4, but must be 5"),
        ({"num_hidden_layers": 2}, "`num_hidden_layers` is 2, but must be 1"),
        ({"bidirectional": True}, "`bidirectional` is True, but must be False"),
        ({"last_hidden_size": 4}, "`last_hidden_size` is 4, but must be None"),
    ],
)
def test_from_torch_refuses_fields_that_contradict_what_is_given(fields, message):
    with pytest.raises(ValueError, match=message):
        LstmModel.from_torch(nn.LSTM(5, 3), nn.Embedding(VOCAB_SIZE, 5), **fields)
    LstmModel.from_torch(nn.LSTM(5, 3), nn.Embedding(VOCAB_SIZE, 5), hidden_size=3, vocab_size=VOCAB_SIZE)


def test_from_torch_copies_the_weights():
    lstm = nn.LSTM(5, 3)
    model = LstmModel.from_torch(lstm, vocab_size=VOCAB_SIZE)
    model.layers[0].weight_ih_l0.data.zero_()
    assert lstm.weight_ih_l0.abs().sum() > 0


def test_from_torch_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"`lstm.proj_size` is 2"):
        LstmModel.from_torch(nn.LSTM(5, 3, proj_size=2))
    with pytest.raises(ValueError, match=r"`embedding` is 4 wide, but `lstm` reads 5 features"):
        LstmModel.from_torch(nn.LSTM(5, 3), nn.Embedding(7, 4))
    with pytest.raises(ValueError, match=r"`embedding_rank` is 2, but `embedding` is one table of full width"):
        LstmModel.from_torch(nn.LSTM(5, 3), nn.Embedding(7, 5), embedding_rank=2)


@pytest.mark.parametrize("variant", [{"layer_norm": True}, {"residual_connections": True}, {"last_hidden_size": 4}])
def test_to_torch_refuses_what_nn_lstm_has_not(variant):
    with pytest.raises(ValueError, match=r"`nn.LSTM` has no layer norm"):
        make_model(**variant).to_torch()


@pytest.mark.parametrize("variant", VARIANTS)
def test_hidden_states_are_recorded_layer_by_layer_and_keep_gradients(variant):
    model = make_model(**variant)
    input_ids = make_input_ids()
    result = model(input_ids, MASK, output_hidden_states=True)
    assert [states.shape[-1] for states in result.hidden_states] == model.config.layer_sizes
    torch.testing.assert_close(result.hidden_states[0], model.embed(input_ids, MASK))
    torch.testing.assert_close(result.hidden_states[-1], result.last_hidden_state)
    padding = padding_lstm.find_padding(MASK)
    for index, layer in enumerate(model.layers):
        torch.testing.assert_close(layer(result.hidden_states[index], padding)[0], result.hidden_states[index + 1])
    for states in result.hidden_states:
        states.retain_grad()
    result.last_hidden_state[MASK.bool()].sum().backward()
    assert all(states.grad is not None and states.grad.abs().sum() > 0 for states in result.hidden_states)


def test_tuples_are_returned_when_asked():
    model, input_ids = make_model(), make_input_ids()
    result = model(input_ids, MASK, return_dict=False, output_hidden_states=True)
    expected = model(input_ids, MASK, output_hidden_states=True).to_tuple()
    assert len(result) == len(expected) == 3
    assert torch.equal(result[0], expected[0])


def test_inputs_embeds_equal_input_ids():
    model, input_ids = make_model(ngram_orders=[2, 3], bidirectional=True), make_input_ids()
    expected = model(input_ids, MASK).last_hidden_state
    inputs_embeds = model.embed(input_ids, MASK)
    assert torch.equal(model(inputs_embeds=inputs_embeds, attention_mask=MASK).last_hidden_state, expected)


def test_state_is_returned_outside_of_training_unless_configured():
    input_ids = make_input_ids()
    assert make_model()(input_ids).cache is not None
    assert make_model()(input_ids, use_cache=False).cache is None
    assert make_model(use_cache=False)(input_ids).cache is None
    assert make_model().train()(input_ids).cache is None
    assert make_model().train()(input_ids, use_cache=True).cache.get_seq_length() == 7


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "exactly one of `input_ids` and `inputs_embeds`"),
        ({"input_ids": make_input_ids(), "inputs_embeds": torch.zeros(6, 7, 5)}, ValueError, "exactly one of"),
        (
            {"input_ids": torch.tensor([[4, 29]])},
            IndexError,
            "token id 29, but the model knows ids from 0 to 28.*resize",
        ),
        ({"input_ids": torch.tensor([[4, -1]])}, IndexError, "token id -1"),
        (
            {"inputs_embeds": torch.zeros(2, 3, 4)},
            ValueError,
            r"`inputs_embeds` is of shape \(2, 3, 4\), but must be \(batch_size, sequence_length, 5\)",
        ),
        ({"inputs_embeds": torch.zeros(2, 2, 3, 5)}, ValueError, r"`inputs_embeds` is of shape \(2, 2, 3, 5\)"),
        ({"input_ids": torch.tensor([4, 5])}, ValueError, r"`input_ids` is of shape \(2,\).*unsqueeze"),
        ({"input_ids": torch.tensor([[[4, 5]]])}, ValueError, r"`input_ids` is of shape \(1, 1, 2\)"),
        (
            {"input_ids": make_input_ids(2, 3), "attention_mask": torch.ones(2, 2)},
            ValueError,
            r"shape \(2, 2\).*\(2, 3\)",
        ),
        ({"input_ids": make_input_ids(2, 3), "attention_mask": torch.ones(3, 3)}, ValueError, r"shape \(3, 3\)"),
        ({"input_ids": make_input_ids(2, 3), "attention_mask": torch.ones(2, 1, 3, 3)}, ValueError, r"\(2, 1, 3, 3\)"),
        (
            {"input_ids": make_input_ids(2, 3), "cache": LstmCache(3)},
            ValueError,
            "LstmCache of 3 layers.* 2",
        ),
        ({"input_ids": make_input_ids(2, 3), "cache": (1, 2)}, ValueError, "is a tuple of 2 layers"),
        *(
            (
                {
                    "input_ids": make_input_ids(2, 3),
                    "cache": LstmCache.from_torch((torch.zeros(2, n, 6),) * 2),
                },
                ValueError,
                f"states of {n} sequences, but the batch has 2",
            )
            for n in (1, 4)
        ),
        (
            {"input_ids": make_input_ids(2, 3), "cache": LstmCache.from_torch((torch.zeros(2, 2, 40),) * 2)},
            ValueError,
            r"holds states of \[\(1, 40\), \(1, 40\)\] directions and features, but this model's are of",
        ),
        (
            {
                "input_ids": make_input_ids(2, 3),
                "cache": LstmCache.from_torch((torch.zeros(4, 2, 6),) * 2, bidirectional=True),
            },
            ValueError,
            r"holds states of \[\(2, 6\), \(2, 6\)\]",
        ),
    ],
)
def test_forward_refuses_bad_input_naming_it(arguments, error, message):
    with pytest.raises(error, match=message):
        make_model()(**arguments)


def test_padding_without_a_mask_counts_as_tokens():
    model, input_ids = make_model(), make_input_ids()
    input_ids[:, -2:] = 0
    result = model(input_ids).last_hidden_state
    assert torch.equal(result, model(input_ids, torch.ones_like(input_ids)).last_hidden_state)


@pytest.mark.parametrize("training", [False, True])
def test_padding_without_a_mask_reaches_the_warning(monkeypatch, training):
    seen = []
    monkeypatch.setattr(
        LstmModel, "warn_if_padding_and_no_attention_mask", lambda self, *arguments: seen.append(arguments)
    )
    make_model().train(training)(make_input_ids())
    assert len(seen) == 1


def test_a_step_from_a_state_does_not_warn_of_padding(monkeypatch):
    model = make_model()
    cache = model(make_input_ids()).cache
    seen = []
    monkeypatch.setattr(
        LstmModel, "warn_if_padding_and_no_attention_mask", lambda self, *arguments: seen.append(arguments)
    )
    model(make_input_ids(6, 1), cache=cache)
    assert seen == []


def test_a_mask_over_the_past_is_cut_to_the_new_tokens():
    model, input_ids = make_model(), make_input_ids()
    whole = model(input_ids, MASK)
    cache = model(input_ids[:, :4], MASK[:, :4]).cache
    part = model(input_ids[:, 4:], MASK, cache=cache)
    torch.testing.assert_close(part.last_hidden_state, whole.last_hidden_state[:, 4:])
    torch.testing.assert_close(cache.to_torch(), whole.cache.to_torch())


@pytest.mark.parametrize("shape", [(3, 0), (0, 4)])
def test_sequences_of_no_length_give_empty_outputs(shape):
    input_ids = torch.zeros(shape, dtype=torch.long)
    for variant in ({}, {"bidirectional": True, "ngram_orders": [2]}):
        result = make_model(**variant)(input_ids, torch.ones(shape))
        assert result.last_hidden_state.shape == (*shape, HIDDEN_SIZE)


def test_embedding_dropout_drops_all_occurrences_of_a_token():
    torch.manual_seed(0)
    model = make_model(embedding_dropout=0.5).train()
    input_ids = torch.arange(4, VOCAB_SIZE).repeat(2, 2)
    embeddings = model.embed(input_ids)
    plain = model.embed_tokens(input_ids)
    ratio = embeddings / plain
    assert set(ratio.unique().tolist()) == {0.0, 2.0}
    by_token = ratio.view(4, VOCAB_SIZE - 4, -1)
    assert (by_token == by_token[:1, :, :1]).all()
    assert torch.equal(model.eval().embed(input_ids), plain)


@pytest.mark.parametrize("name", ["input_dropout", "hidden_dropout", "output_dropout"])
def test_locked_dropouts_drop_features_of_whole_sequences_at_their_place(name):
    torch.manual_seed(0)
    model = make_model(num_hidden_layers=2, **{name: 0.5}).train()
    inputs = {}
    for index, layer in enumerate(model.layers):
        layer.register_forward_pre_hook(lambda _, arguments, index=index: inputs.update({index: arguments[0]}))
    input_ids = make_input_ids(4, 7)
    output = model(input_ids).last_hidden_state
    places = {"input_dropout": inputs[0], "hidden_dropout": inputs[1], "output_dropout": output}
    for place, hidden_states in places.items():
        dropped = hidden_states == 0
        assert bool(dropped.any()) == (place == name)
        assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))


def test_dropouts_do_nothing_in_evaluation():
    names = ["embedding", "input", "hidden", "weight", "output", "ngram"]
    dropouts = {f"{name}_dropout": 0.5 for name in names}
    plain = make_model(ngram_orders=[2])
    model = make_model(ngram_orders=[2], **dropouts)
    input_ids = make_input_ids()
    assert torch.equal(model(input_ids, MASK).last_hidden_state, plain(input_ids, MASK).last_hidden_state)


def test_ngram_dropout_leaves_out_whole_ngrams():
    torch.manual_seed(0)
    model = make_model(ngram_orders=[2], ngram_dropout=0.5).train()
    input_ids = make_input_ids(5, 9)
    added = model.embed(input_ids) - model.embed_tokens(input_ids)
    full = model.eval().embed(input_ids) - model.embed_tokens(input_ids)
    ratio = added / full
    assert set(ratio.round(decimals=3).unique().tolist()) == {0.0, 2.0}
    assert torch.allclose(ratio, ratio[..., :1].expand_as(ratio), atol=1e-3)


def test_ngrams_change_nothing_before_training():
    torch.manual_seed(0)
    model = LstmModel(make_config(ngram_orders=[2, 3])).eval()
    plain = LstmModel(make_config()).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    input_ids = make_input_ids()
    assert torch.equal(model(input_ids, MASK).last_hidden_state, plain(input_ids, MASK).last_hidden_state)


def test_ngrams_end_at_the_token_they_are_added_to():
    model = make_model(ngram_orders=[3])
    input_ids = make_input_ids(1, 7)
    changed = input_ids.clone()
    changed[0, 3] = 4 if input_ids[0, 3] != 4 else 5
    difference = (model.embed(input_ids) - model.embed(changed)).abs().sum(dim=-1)[0]
    assert (difference > 0).tolist() == [False, False, False, True, True, True, False]


def test_ngrams_need_the_tokens_before_the_state():
    model = make_model(ngram_orders=[2])
    cache = model(make_input_ids()).cache
    with pytest.raises(ValueError, match=r"state after 7 tokens, but not the tokens, which `ngram_orders` \[2\]"):
        model(make_input_ids(), cache=cache)


def test_factorised_embeddings_are_the_product_of_a_table_and_a_map():
    model = make_model(embedding_rank=3)
    input_ids = make_input_ids()
    expected = (model.embed_tokens.weight @ model.embed_projection.weight.T)[input_ids]
    assert model.get_input_embeddings().weight.shape == (VOCAB_SIZE, 3)
    torch.testing.assert_close(model.embed(input_ids), expected)
    plain = make_model()
    plain.load_state_dict(
        {name: model.state_dict().get(name) for name in plain.state_dict()}
        | {"embed_tokens.weight": model.embed_tokens.weight @ model.embed_projection.weight.T}
    )
    for arguments in ({"input_ids": input_ids}, {"inputs_embeds": expected}):
        ours, theirs = (one(**arguments, attention_mask=MASK).last_hidden_state for one in (model, plain))
        torch.testing.assert_close(ours, theirs)


def test_factorised_embeddings_start_as_wide_as_configured_and_zero_at_padding():
    torch.manual_seed(0)
    model = LstmModel(make_config(vocab_size=2000, embedding_size=80, embedding_rank=60, initializer_range=0.3))
    embeddings = model.embed(torch.arange(2000).unsqueeze(0))[0]
    assert embeddings[1:].std().item() == pytest.approx(0.3, rel=0.05)
    assert not embeddings[0].any()
    embeddings.sum().backward()
    assert not model.embed_tokens.weight.grad[0].any()


def test_embedding_dropout_of_factorised_embeddings_drops_all_occurrences_of_a_token():
    model = make_model(embedding_dropout=0.5, embedding_rank=3).train()
    input_ids = torch.arange(4, VOCAB_SIZE).repeat(2, 2)
    ratio = model.embed(input_ids) / model.eval().embed(input_ids)
    assert set(ratio.round(decimals=3).unique().tolist()) == {0.0, 2.0}
    by_token = ratio.round(decimals=3).view(4, VOCAB_SIZE - 4, -1)
    assert (by_token == by_token[:1, :, :1]).all()


def test_initial_weights_follow_the_configuration():
    torch.manual_seed(0)
    model = LstmModel(make_config(bidirectional=True, forget_gate_bias=2.5, vocab_size=2000, initializer_range=0.3))
    layer, size = model.layers[0], HIDDEN_SIZE // 2
    for suffix in ("_l0", "_l0_reverse"):
        bias = getattr(layer, f"bias_ih{suffix}")
        assert bias.tolist() == [0.0] * size + [2.5] * size + [0.0] * 2 * size
        assert not getattr(layer, f"bias_hh{suffix}").any()
        assert getattr(layer, f"weight_hh{suffix}").abs().max() <= size**-0.5
    assert model.embed_tokens.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert not model.embed_tokens.weight[0].any()


def test_weights_start_on_the_meta_device_and_load_from_a_checkpoint(tmp_path):
    with torch.device("meta"):
        empty = LstmModel(LstmConfig(vocab_size=10**6, hidden_size=4096))
    assert all(parameter.is_meta for parameter in empty.parameters())
    model = make_model()
    model.save_pretrained(tmp_path)
    loaded = LstmModel.from_pretrained(tmp_path, low_cpu_mem_usage=True)
    assert all(torch.equal(left, right) for left, right in zip(loaded.parameters(), model.parameters(), strict=True))


def test_resized_token_embeddings_keep_the_old_tokens():
    model = make_model(ngram_orders=[2])
    input_ids = make_input_ids()
    expected = model(input_ids, MASK).last_hidden_state
    model.resize_token_embeddings(VOCAB_SIZE + 8)
    assert model.config.vocab_size == VOCAB_SIZE + 8
    assert model.embed_tokens.num_embeddings == VOCAB_SIZE + 8
    torch.testing.assert_close(model(input_ids, MASK).last_hidden_state, expected)
    model(torch.full((1, 3), VOCAB_SIZE + 7))


def test_parameters_replaced_from_outside_are_used():
    model = make_model()
    input_ids = make_input_ids()
    before = model(input_ids).last_hidden_state
    nn.utils.parametrize.register_parametrization(model.layers[0], "weight_hh_l0", nn.ReLU())
    assert not torch.allclose(model(input_ids).last_hidden_state, before)


def test_model_runs_layers_of_its_own_random_seed_reproducibly():
    torch.manual_seed(3)
    first = LstmModel(make_config())
    torch.manual_seed(3)
    second = LstmModel(make_config())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(randomize(first, 1).layers[0].weight_ih_l0, second.layers[0].weight_ih_l0)
