"""The encoder–decoder against the reference, its padding, inputs and outputs."""

import pytest
import torch
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from hf_lstm import LstmCache, LstmForConditionalGeneration, LstmSeq2SeqModel
from hf_lstm.models.layers_lstm import LstmLayer
from hf_lstm.models.modeling_lstm_seq2seq import LstmEncoderOutput
from tests.models.factories import (
    COPYING,
    MASK,
    RUNS,
    TARGET_MASK,
    TARGET_VOCAB_SIZE,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
    randomize,
)
from tests.models.reference_seq2seq import reference_seq2seq

EQUAL = {"encoder_hidden_size": 8, "encoder_layers": 3}
VARIANTS = [
    *RUNS,
    {"attention_type": "multi_head", "tie_word_embeddings": False, "encoder_bidirectional": False},
    {"attention_type": "none", "tie_word_embeddings": False, "bridge_type": "copy", **EQUAL},
    {"attention_type": "bahdanau", "input_feeding": True, "tie_word_embeddings": False, "bridge_type": "zero"},
    {"input_feeding": True, "residual_connections": True, "layer_norm": True, "share_embeddings": True},
    {"attention_type": "luong_dot", "residual_connections": True, "layer_norm": True, "encoder_layers": 4},
    {"decoder_layers": 1, "encoder_layers": 2, "residual_connections": True, "decoder_embedding_size": 8},
    {"attention_type": "none", "encoder_vocab_size": 41, "bridge_type": "copy", **EQUAL},
]


def embed(model: LstmForConditionalGeneration) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns embeddings of sources and targets, which require gradients."""
    source = model.get_encoder().embed_tokens(make_source()).detach().requires_grad_()
    target = model.get_decoder().embed_tokens(make_target()).detach().requires_grad_()
    return source, target


def run(model, source, target, labels=None, **arguments):
    return model(
        inputs_embeds=source,
        attention_mask=MASK,
        decoder_inputs_embeds=target,
        decoder_attention_mask=TARGET_MASK,
        labels=labels,
        **arguments,
    )


def make_labels() -> torch.Tensor:
    return make_target(seed=3).masked_fill(TARGET_MASK == 0, -100)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_attentions_loss_and_gradients_agree_with_reference(variant, checkpointing):
    model = make_seq2seq_model(**variant).double().train()
    if checkpointing:
        model.activation_checkpointing_enable()
    embeddings, labels = embed(model), make_labels()
    result = run(model, *embeddings, labels, output_attentions=True, output_logits=True)
    is_target = TARGET_MASK.bool()
    expected, weights = reference_seq2seq(model, embeddings[0], MASK.bool(), embeddings[1], is_target)
    torch.testing.assert_close(result.logits[is_target], expected[is_target], rtol=1e-9, atol=1e-9)
    assert (result.cross_attentions is None) == (weights is None)
    if weights is not None:
        ours = result.cross_attentions[0].transpose(1, 2)[is_target]
        torch.testing.assert_close(ours, weights.transpose(1, 2)[is_target], rtol=1e-9, atol=1e-9)

    expected_loss = F.cross_entropy(expected[is_target], labels[is_target])
    torch.testing.assert_close(result.loss.double(), expected_loss, rtol=0, atol=1e-6)
    tables = ("embed_tokens.weight",)
    named = [(name, tensor) for name, tensor in model.named_parameters() if not name.endswith(tables)]
    tensors = [*embeddings, *(tensor for _, tensor in named)]
    if model.config.tie_word_embeddings:
        tensors.append(model.lm_head.weight)
    unused = variant.get("bridge_type") == "zero"
    left, right = (torch.autograd.grad(loss, tensors, allow_unused=unused) for loss in (result.loss, expected_loss))
    for one, other in zip(left, right, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("share_embeddings", [False, True])
@pytest.mark.parametrize("tie_word_embeddings", [False, True])
@pytest.mark.parametrize("run_fields", [*RUNS, COPYING])
def test_every_parameter_gets_a_gradient(run_fields, tie_word_embeddings, share_embeddings):
    fields = {"tie_word_embeddings": tie_word_embeddings, "share_embeddings": share_embeddings, **run_fields}
    model = make_seq2seq_model(layer_norm=True, residual_connections=True, **fields).train()
    model(make_source(), MASK, labels=make_labels()).loss.backward()
    without = {name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    # Without attention, nothing reads the encoder's last output: the decoder starts from the states before its norm.
    unread = {f"model.encoder.layers.1.layer_norm.{name}" for name in ("weight", "bias")}
    assert without == (unread if run_fields["attention_type"] == "none" else set())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("variant", [*VARIANTS, COPYING])
def test_batch_with_any_padding_equals_single_sequences(variant, training):
    model = make_seq2seq_model(**variant).train(training)
    source, target, labels = make_source(), make_target(), make_labels()
    with torch.no_grad():
        batch = model(source, MASK, target, TARGET_MASK, labels=labels, output_logits=True)
        losses, numbers = [], []
        for row in range(len(MASK)):
            is_source, is_target = MASK[row].bool(), TARGET_MASK[row].bool()
            alone_target, alone_labels = target[None, row, is_target], labels[None, row, is_target]
            arguments = {"input_ids": source[None, row, is_source]}
            if not is_source.any():
                arguments = {"input_ids": source[None, row, :1], "attention_mask": torch.zeros(1, 1)}
            alone = model(decoder_input_ids=alone_target, labels=alone_labels, output_logits=True, **arguments)
            torch.testing.assert_close(batch.logits[row, is_target], alone.logits[0], rtol=0, atol=1e-6)
            losses.append(alone.loss * is_target.sum())
            numbers.append(is_target.sum())
    torch.testing.assert_close(batch.loss, sum(losses) / sum(numbers), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", [*VARIANTS, {"attention_type": "luong_dot", "residual_connections": True}])
def test_what_stands_at_padding_changes_nothing_not_even_nan(variant):
    model = make_seq2seq_model(**variant).train()
    results = []
    for filler in (0.0, torch.nan):
        source, target = (tensor.detach() for tensor in embed(model))
        source = source.masked_fill(MASK[..., None] == 0, filler)
        target = target.masked_fill(TARGET_MASK[..., None] == 0, filler)
        model.zero_grad()
        result = run(model, source, target, make_labels(), output_logits=True)
        result.loss.backward()
        grads = {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}
        results.append((result.logits[TARGET_MASK.bool()].detach(), grads))
    (logits, gradients), (nan_logits, nan_gradients) = results
    assert logits.isfinite().all()
    assert torch.equal(logits, nan_logits)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, nan_gradients[name]), name


@pytest.mark.parametrize("attention_type", ["luong_dot", "none"])
def test_readout_reads_target_tokens_only_and_leaves_zeros_at_padding(attention_type):
    fields = {"input_feeding": False, "decoder_embedding_size": 5, "tie_word_embeddings": True}
    model = make_seq2seq_model(attention_type=attention_type, **fields)
    decoder, read = model.model.decoder, []
    decoder.readout.register_forward_hook(lambda _, inputs, output: read.append(inputs[0].shape[:-1].numel()))
    arguments = {"input_ids": make_source(), "attention_mask": MASK, "decoder_input_ids": make_target()}
    padded = model.model(**arguments, decoder_attention_mask=TARGET_MASK).last_hidden_state
    model.model(**arguments)
    assert read == [TARGET_MASK.sum(), TARGET_MASK.numel()]
    is_target = TARGET_MASK.bool()
    assert (padded[~is_target] == 0).all()
    assert (padded[is_target] != 0).all()


def test_batches_without_rows_or_labels_are_read():
    model = make_seq2seq_model()
    assert model(make_source(), MASK, labels=make_target()[:, :0]).logits.shape[:2] == (len(MASK), 0)
    assert model.generate(make_source()[:0], num_beams=3, max_new_tokens=3).shape[0] == 0


def test_output_is_zero_at_padding_with_input_feeding_too():
    model = make_seq2seq_model(input_feeding=True).model
    output = model(make_source(), MASK, make_target(), TARGET_MASK).last_hidden_state
    assert (output[TARGET_MASK == 0] == 0).all() and (output[TARGET_MASK == 1] != 0).all()


def test_nan_in_an_encoder_output_at_padding_does_not_leak():
    model = make_seq2seq_model(attention_type="multi_head")
    states = model.get_encoder()(make_source(), MASK)
    expected = model(encoder_outputs=states, attention_mask=MASK, decoder_input_ids=make_target()).logits
    states.last_hidden_state = states.last_hidden_state.masked_fill(MASK[..., None] == 0, torch.nan)
    result = model(encoder_outputs=states, attention_mask=MASK, decoder_input_ids=make_target()).logits
    assert torch.equal(result, expected)


def test_a_source_of_padding_only_depends_on_nothing_of_it():
    model = make_seq2seq_model()
    first, second = (model(make_source(2, 4, seed), torch.zeros(2, 4), make_target(2)).logits for seed in (0, 1))
    assert first.isfinite().all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("run_fields", RUNS)
def test_residual_connections_and_layer_norm_change_the_result(run_fields):
    source, target = make_source(), make_target()
    fields = {"decoder_embedding_size": 8, "encoder_embedding_size": 6, **run_fields}
    plain, residual, both = (
        make_seq2seq_model(residual_connections=has_residual, layer_norm=has_norm, **fields)(source, MASK, target)
        for has_residual, has_norm in ((False, False), (True, False), (True, True))
    )
    assert not torch.allclose(plain.logits, residual.logits)
    assert not torch.allclose(residual.logits, both.logits)


@pytest.mark.parametrize("run_fields", [*RUNS, COPYING])
def test_hidden_states_and_cross_attentions_are_returned_on_request(run_fields):
    model = make_seq2seq_model(**run_fields)
    plain = model(make_source(), MASK, make_target(), TARGET_MASK)
    assert plain.encoder_hidden_states is plain.decoder_hidden_states is plain.cross_attentions is None
    result = model(make_source(), MASK, make_target(), TARGET_MASK, output_hidden_states=True, output_attentions=True)
    assert torch.equal(result.logits, plain.logits)
    encoder_size = model.config.encoder_hidden_size
    assert [states.shape for states in result.encoder_hidden_states] == [
        (6, 7, size) for size in (5, encoder_size, encoder_size)
    ]
    assert torch.equal(result.encoder_hidden_states[-1], result.encoder_last_hidden_state)
    assert [states.shape for states in result.decoder_hidden_states] == [(6, 5, size) for size in (7, 8, 8, 8)]
    assert torch.equal(result.decoder_hidden_states[0], model.get_decoder().embed_tokens(make_target()))
    if run_fields["attention_type"] == "none":
        assert result.cross_attentions is None
        return
    (weights,) = result.cross_attentions
    heads = 2 if run_fields["attention_type"] == "multi_head" else 1
    assert weights.shape == (6, heads, 5, 7)
    has_source = MASK.any(dim=1)[:, None, None]
    torch.testing.assert_close(weights.sum(dim=-1), has_source.expand(6, heads, 5).float())
    assert torch.equal(weights > 0, MASK.bool()[:, None, None].expand_as(weights))


def test_configuration_asks_for_hidden_states_and_attentions_of_both_sides():
    model = make_seq2seq_model(output_hidden_states=True, output_attentions=True)
    result = model(make_source(), MASK, make_target())
    assert len(result.encoder_hidden_states) == 3
    assert len(result.decoder_hidden_states) == 4
    assert len(result.cross_attentions) == 1
    assert model(make_source(), MASK, make_target(), output_hidden_states=False).encoder_hidden_states is None


def test_encoder_outputs_stand_for_the_source():
    model = make_seq2seq_model()
    expected = model(make_source(), MASK, make_target()).logits
    outputs = model.get_encoder()(make_source(), MASK)
    assert isinstance(outputs, LstmEncoderOutput)
    assert outputs.states.shape == (6, 2, 2, 6)
    as_tuple = model.get_encoder()(make_source(), MASK, return_dict=False)
    as_dictionary = BaseModelOutput(last_hidden_state=outputs.last_hidden_state)
    as_dictionary["states"] = outputs.states
    for given in (outputs, as_tuple, outputs.to_tuple(), as_dictionary):
        result = model(encoder_outputs=given, attention_mask=MASK, decoder_input_ids=make_target())
        assert torch.equal(result.logits, expected)
        assert torch.equal(result.encoder_last_hidden_state, outputs.last_hidden_state)


def test_hidden_states_of_given_encoder_outputs_are_passed_on_where_they_have_a_name():
    model, target = make_seq2seq_model(), make_target()
    outputs = model.get_encoder()(make_source(), output_hidden_states=True)
    for given in (outputs, dict(outputs)):
        found = model(encoder_outputs=given, decoder_input_ids=target).encoder_hidden_states
        assert all(torch.equal(*pair) for pair in zip(found, outputs.hidden_states, strict=True))
    for given in (outputs.to_tuple(), model.get_encoder()(make_source()).to_tuple()):
        assert len(given) > 2
        assert model(encoder_outputs=given, decoder_input_ids=target).encoder_hidden_states is None


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_embeddings_stand_for_tokens(side):
    model = make_seq2seq_model()
    expected = model(make_source(), MASK, make_target(), TARGET_MASK).logits
    source, target = embed(model)
    tokens = {"input_ids": make_source(), "decoder_input_ids": make_target()}
    if side == "encoder":
        tokens = {"inputs_embeds": source, "decoder_input_ids": make_target()}
    else:
        tokens = {"input_ids": make_source(), "decoder_inputs_embeds": target}
    result = model(attention_mask=MASK, decoder_attention_mask=TARGET_MASK, **tokens).logits[TARGET_MASK.bool()]
    torch.testing.assert_close(result, expected[TARGET_MASK.bool()])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_ids": make_source(2)}, ValueError, "exactly one of `decoder_input_ids` and `decoder_inputs_embeds`"),
        ({"decoder_input_ids": make_target(2)}, ValueError, "knows no source: give `input_ids`"),
        ({"input_ids": make_source(2), "labels": torch.tensor([4, 5])}, ValueError, r"`labels` is of shape \(2,\)"),
        (
            {"input_ids": make_source(2), "decoder_inputs_embeds": torch.zeros(2, 3, 70)},
            ValueError,
            r"`decoder_inputs_embeds` is of shape \(2, 3, 70\), but must be \(batch_size, sequence_length, ",
        ),
        (
            {"input_ids": make_source(2), "decoder_input_ids": make_target(2)[None]},
            ValueError,
            r"`decoder_input_ids` is of shape \(1, 2, 5\)",
        ),
        (
            {"input_ids": make_source(3), "decoder_input_ids": make_target(2)},
            ValueError,
            "source has 3 sequences, but the target 2",
        ),
        ({"input_ids": make_source(2), "decoder_input_ids": torch.tensor([[4], [23]])}, IndexError, "id 23.*resize"),
        ({"input_ids": make_source(2), "labels": torch.tensor([[4], [22], [5]])}, ValueError, "but the target 3"),
        (
            {"input_ids": make_source(2), "decoder_input_ids": make_target(2), "labels": make_target(2)[:, :3]},
            ValueError,
            r"`labels` is of shape \(2, 3\), but the decoder reads tokens of shape \(2, 5\)",
        ),
        (
            {"input_ids": make_source(2), "attention_mask": torch.ones(2, 3), "decoder_input_ids": make_target(2)},
            ValueError,
            r"`attention_mask` is of shape \(2, 3\).*\(2, 7\)",
        ),
        (
            {
                "input_ids": make_source(2),
                "decoder_input_ids": make_target(2),
                "decoder_attention_mask": torch.ones(2, 3),
            },
            ValueError,
            r"`decoder_attention_mask` is of shape \(2, 3\).*\(2, 5\)",
        ),
        (
            {"encoder_outputs": (torch.zeros(2, 7, 6),), "decoder_input_ids": make_target(2)},
            ValueError,
            r"states of shape None.*\(batch_size, 2, 2, 6\)",
        ),
        (
            {"encoder_outputs": torch.zeros(2, 7, 6), "decoder_input_ids": make_target(2)},
            ValueError,
            "give what `model.get_encoder",
        ),
        (
            {"encoder_outputs": BaseModelOutput(torch.zeros(2, 7, 6)), "decoder_input_ids": make_target(2)},
            ValueError,
            "states of shape None",
        ),
        (
            {
                "encoder_outputs": (torch.zeros(2, 7, 6), (torch.zeros(2, 7, 5), torch.zeros(2, 7, 6))),
                "decoder_input_ids": make_target(2),
            },
            ValueError,
            "states of shape None",
        ),
        (
            {
                "encoder_outputs": (torch.zeros(2, 7, 6), torch.zeros(2, 1, 2, 6)),
                "decoder_input_ids": make_target(2),
            },
            ValueError,
            r"states of shape \(2, 1, 2, 6\)",
        ),
        (
            {
                "input_ids": make_source(2),
                "decoder_input_ids": make_target(2),
                "cache": LstmCache(2),
            },
            ValueError,
            "LstmCache of 2 layers.* 3",
        ),
    ],
)
def test_forward_refuses_bad_input_naming_it(arguments, error, message):
    with pytest.raises(error, match=message):
        make_seq2seq_model()(**arguments)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("run_fields", [*RUNS, COPYING])
def test_targets_of_no_length_and_batches_of_no_rows_give_empty_logits(run_fields, training):
    model = make_seq2seq_model(**run_fields).train(training)
    assert model(make_source(), MASK, make_target()[:, :0]).logits.shape == (6, 0, TARGET_VOCAB_SIZE)
    assert model(make_source(0), None, make_target(0)).logits.shape == (0, 5, TARGET_VOCAB_SIZE)


def test_a_source_of_no_length_is_like_one_of_padding_only():
    model = make_seq2seq_model()
    empty = torch.zeros(2, 0, dtype=torch.long)
    expected = model(make_source(2, 3), torch.zeros(2, 3), make_target(2)).logits
    torch.testing.assert_close(model(empty, torch.ones(2, 0), make_target(2)).logits, expected)


@pytest.mark.parametrize("model_class", [LstmSeq2SeqModel, LstmForConditionalGeneration])
@pytest.mark.parametrize("way", ["argument", "configuration"])
def test_tuples_are_returned_when_asked(model_class, way):
    model = randomize(model_class(make_seq2seq_config())).eval()
    expected = model(make_source(), MASK, make_target())
    arguments = {"return_dict": False} if way == "argument" else {}
    if way == "configuration":
        model.config.return_dict = False
    result = model(make_source(), MASK, make_target(), **arguments)
    assert isinstance(result, tuple)
    assert torch.equal(result[0], expected[0])
    assert len(result) == len(expected.to_tuple()) == 3


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("name", ["input_dropout", "hidden_dropout", "output_dropout"])
def test_locked_dropouts_of_the_decoder_hold_for_all_steps_at_their_place(name, feeding, monkeypatch):
    model = make_seq2seq_model(decoder_layers=2, input_feeding=feeding, **{name: 0.5}).train()
    inputs: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    forward = LstmLayer.forward
    places = {id(layer): index for index, layer in enumerate(model.model.decoder.layers)}

    def spy(self, hidden_states, *arguments):
        if id(self) in places:
            inputs[places[id(self)]].append(hidden_states)
        return forward(self, hidden_states, *arguments)

    monkeypatch.setattr(LstmLayer, "forward", spy)
    output = model.model(make_source(), None, make_target()).last_hidden_state
    embedding_size = model.config.decoder_embedding_size
    seen = {
        "input_dropout": torch.cat(inputs[0], dim=1)[..., :embedding_size],
        "hidden_dropout": torch.cat(inputs[1], dim=1),
        "output_dropout": output,
    }
    for place, states in seen.items():
        dropped = states == 0
        assert bool(dropped.any()) == (place == name)
        assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))


def test_dropouts_do_nothing_in_evaluation_and_something_in_training():
    names = ["embedding", "input", "hidden", "weight", "output", "attention"]
    plain = make_seq2seq_model()(make_source(), MASK, make_target()).logits
    for name in names:
        model = make_seq2seq_model(**{f"{name}_dropout": 0.5})
        assert torch.equal(model(make_source(), MASK, make_target()).logits, plain), name
        assert not torch.allclose(model.train()(make_source(), MASK, make_target()).logits, plain), name
