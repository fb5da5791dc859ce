"""What all models and heads share: batching, carried state, saving, loading, resizing, and each head's own rules."""

import json

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
)

from hf_lstm import (
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
)
from hf_lstm.models.configuration_lstm import CLASSIFIER_POOLINGS
from hf_lstm.models.layers_lstm import OutputLayer
from hf_lstm.models.pooling_lstm import pool_mean
from tests.models.factories import (
    ADAPTIVE,
    HEADS,
    MASK,
    MODELS,
    VOCAB_SIZE,
    make_config,
    make_input_ids,
    make_labels,
    make_model,
)

AUTO_CLASSES = {
    LstmModel: AutoModel,
    LstmForSequenceClassification: AutoModelForSequenceClassification,
    LstmForTokenClassification: AutoModelForTokenClassification,
    LstmForCausalLM: AutoModelForCausalLM,
}
BIDIRECTIONAL = {"bidirectional": True, "num_hidden_layers": 2}
NGRAMS = {"ngram_orders": [2, 3], "classifier_ngram_orders": [1, 2]}
VARIANTS = [
    *[(model_class, {"layer_norm": True, "residual_connections": True}) for model_class in MODELS],
    *[(model_class, BIDIRECTIONAL | NGRAMS) for model_class in MODELS[:-1]],
    *[(LstmForSequenceClassification, {"classifier_pooling": pooling}) for pooling in CLASSIFIER_POOLINGS],
    (
        LstmForSequenceClassification,
        BIDIRECTIONAL | NGRAMS | {"classifier_pooling": "concat", "classifier_shortcut": True},
    ),
    (LstmForCausalLM, {"tie_word_embeddings": True}),
    (LstmForCausalLM, {"tie_word_embeddings": True, "last_hidden_size": 5}),
    (LstmForCausalLM, {"last_hidden_size": 7}),
    *[(model_class, {"embedding_rank": 3}) for model_class in MODELS],
    (LstmForSequenceClassification, NGRAMS | {"embedding_rank": 3, "classifier_shortcut": True}),
    (LstmForCausalLM, {"embedding_rank": 3, "tie_word_embeddings": True}),
    (LstmForCausalLM, {"embedding_rank": 3, "tie_word_embeddings": True, "last_hidden_size": 3}),
    (LstmForCausalLM, ADAPTIVE),
    (LstmForCausalLM, ADAPTIVE | {"embedding_rank": 3, "last_hidden_size": 7}),
]


def main_output(result) -> torch.Tensor:
    return result.last_hidden_state if "last_hidden_state" in result else result.logits


@pytest.mark.parametrize(("model_class", "variant"), VARIANTS)
def test_padded_batch_equals_single_unpadded_sequences(model_class, variant):
    model = make_model(model_class, **variant)
    input_ids = make_input_ids().masked_fill(MASK == 0, 0)
    with torch.no_grad():
        batch = main_output(model(input_ids, attention_mask=MASK))
    for row, is_token in enumerate(MASK.bool()):
        if not is_token.any():
            assert batch[row].isfinite().all()
            continue
        with torch.no_grad():
            alone = main_output(model(input_ids[row, is_token].unsqueeze(0)))[0]
        torch.testing.assert_close(batch[row] if batch.dim() == 2 else batch[row, is_token], alone)


@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [1, 5, 1]])
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"layer_norm": True, "residual_connections": True},
        {"last_hidden_size": 7},
        ADAPTIVE | {"embedding_rank": 3},
    ],
)
@pytest.mark.parametrize("model_class", [LstmModel, LstmForCausalLM])
def test_chunks_with_the_carried_state_equal_the_whole_sequence(model_class, variant, chunks):
    model = make_model(model_class, **variant)
    input_ids = make_input_ids()
    with torch.no_grad():
        whole = model(input_ids, attention_mask=MASK)
        outputs, cache = [], None
        for part, mask in zip(input_ids.split(chunks, dim=1), MASK.split(chunks, dim=1), strict=True):
            result = model(part, attention_mask=mask, cache=cache)
            cache = result.cache
            outputs.append(main_output(result))
    is_token = MASK.bool()
    torch.testing.assert_close(torch.cat(outputs, dim=1)[is_token], main_output(whole)[is_token])
    assert cache.get_seq_length() == 7
    for ours, theirs in zip(cache.layers, whole.cache.layers, strict=True):
        torch.testing.assert_close(ours.hidden_state, theirs.hidden_state)
        torch.testing.assert_close(ours.cell_state, theirs.cell_state)


@pytest.mark.parametrize(("model_class", "variant"), VARIANTS)
def test_every_parameter_gets_a_gradient(model_class, variant):
    torch.manual_seed(0)
    model = model_class(make_config(**variant)).train()
    input_ids = make_input_ids()
    if model_class is LstmModel:
        loss = model(input_ids, attention_mask=MASK).last_hidden_state.pow(3).sum()
    else:
        loss = model(input_ids, attention_mask=MASK, labels=make_labels(model, input_ids)).loss
    loss.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


@pytest.mark.parametrize(("model_class", "variant"), VARIANTS)
def test_auto_classes_load_what_was_saved(model_class, variant, tmp_path):
    model = make_model(model_class, **variant)
    model.save_pretrained(tmp_path)
    loaded, report = AUTO_CLASSES[model_class].from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is model_class
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert set(loaded.state_dict()) == set(model.state_dict())
    for name, parameter in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], parameter), name
    input_ids = make_input_ids()
    ours, theirs = (main_output(m(input_ids, attention_mask=MASK)) for m in (loaded, model))
    assert torch.equal(ours, theirs)


def test_dropouts_leave_no_trace_in_the_checkpoint(tmp_path):
    names = ["embedding", "input", "hidden", "weight", "output", "classifier", "ngram"]
    model = make_model(LstmForSequenceClassification, **{f"{name}_dropout": 0.5 for name in names})
    plain = make_model(LstmForSequenceClassification)
    model.train()(make_input_ids(), labels=torch.zeros(6, dtype=torch.long)).loss.backward()
    model.save_pretrained(tmp_path)
    loaded = LstmForSequenceClassification.from_pretrained(tmp_path)
    assert list(loaded.state_dict()) == list(plain.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), plain.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("source", [LstmModel, LstmForCausalLM])
@pytest.mark.parametrize("target", HEADS)
def test_an_encoder_loads_into_a_head_and_keeps_every_weight(source, target, tmp_path):
    model = make_model(source)
    encoder = model if source is LstmModel else model.model
    assert encoder.embed_tokens.weight[0].abs().sum() > 0
    model.save_pretrained(tmp_path)
    loaded = target.from_pretrained(tmp_path)
    for name, parameter in encoder.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], parameter), name
    assert all(parameter.isfinite().all() for parameter in loaded.parameters())


@pytest.mark.parametrize("source", HEADS)
def test_a_head_loads_into_the_encoder(source, tmp_path):
    model = make_model(source)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    for name, parameter in loaded.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], parameter), name


def test_missing_parameters_are_initialised_and_loaded_ones_kept(tmp_path):
    model = make_model(LstmForSequenceClassification, bidirectional=True)
    state = model.state_dict()
    del state["model.layers.0.bias_hh_l0"], state["classifier.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    loaded, report = LstmForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert report["missing_keys"] == {"model.layers.0.bias_hh_l0", "classifier.weight"}
    for name, parameter in state.items():
        assert torch.equal(loaded.state_dict()[name], parameter), name
    assert not loaded.model.layers[0].bias_hh_l0.any()
    assert loaded.classifier.weight.abs().sum() > 0


def test_mean_of_a_long_text_does_not_overflow_in_float16():
    vectors = torch.full((1, 40_000, 2), 3.0, dtype=torch.float16)
    pooled = pool_mean(vectors, None)
    assert pooled.dtype == torch.float16 and pooled.tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("fields", [{"classifier_ngram_orders": [1, 2]}, {"ngram_orders": [2]}])
def test_narrower_integers_are_the_same_tokens(fields):
    # Products in 32 bits would overflow, into other n-grams.
    model = make_model(LstmForSequenceClassification, **fields)
    with torch.no_grad():
        expected = model(make_input_ids(), attention_mask=MASK).logits
        assert torch.equal(model(make_input_ids().int(), attention_mask=MASK).logits, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_checkpoint_loads_in_another_type(dtype, tmp_path):
    model = make_model(LstmForSequenceClassification)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    with torch.no_grad():
        logits = loaded(make_input_ids(), attention_mask=MASK).logits
        torch.testing.assert_close(
            logits.float(), model(make_input_ids(), attention_mask=MASK).logits, atol=0.05, rtol=0.05
        )


def test_a_truncated_checkpoint_is_an_error(tmp_path):
    make_model(LstmForSequenceClassification).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(Exception, match="(?i)incomplete|invalid|header"):
        LstmForSequenceClassification.from_pretrained(tmp_path)


def test_a_checkpoint_of_another_architecture_is_an_error(tmp_path):
    config = BertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=6, num_hidden_layers=1, num_attention_heads=2, intermediate_size=4
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"`model_type` of the checkpoint is 'bert', but this class loads 'hf_lstm' only"
    ):
        LstmForSequenceClassification.from_pretrained(tmp_path)


def test_a_checkpoint_of_other_sizes_is_an_error(tmp_path):
    make_model(LstmForSequenceClassification).save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"hidden_size": 8}))
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        LstmForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "variant", [{}, {"last_hidden_size": 5}, {"embedding_rank": 3}, {"embedding_rank": 3, "last_hidden_size": 3}]
)
def test_tied_embeddings_stay_one_parameter_after_reloading(variant, tmp_path):
    model = make_model(LstmForCausalLM, tie_word_embeddings=True, **variant)
    assert (model.lm_projection is None) == ("last_hidden_size" in variant)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    input_ids = make_input_ids()
    assert torch.equal(loaded(input_ids).logits, model(input_ids).logits)


def test_untied_embeddings_are_two_parameters():
    model = make_model(LstmForCausalLM, last_hidden_size=5)
    assert model.lm_head.weight is not model.model.embed_tokens.weight


@pytest.mark.parametrize("num_tokens", [VOCAB_SIZE + 6, VOCAB_SIZE - 4])
@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_resized_language_model_keeps_its_scores_and_survives_saving(tied, rank, num_tokens, tmp_path):
    model = make_model(LstmForCausalLM, tie_word_embeddings=tied, embedding_rank=rank)
    input_ids = make_input_ids() % (VOCAB_SIZE - 4)
    expected = model(input_ids).logits
    model.resize_token_embeddings(num_tokens)
    logits = model(input_ids, labels=input_ids).logits
    kept = min(num_tokens, VOCAB_SIZE)
    assert logits.shape[-1] == num_tokens == model.config.vocab_size == len(model.lm_head.bias)
    torch.testing.assert_close(logits[..., :kept], expected[..., :kept])
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert type(model.lm_head) is OutputLayer
    model.save_pretrained(tmp_path)
    assert torch.equal(LstmForCausalLM.from_pretrained(tmp_path)(input_ids).logits, logits)


def test_resized_classifier_with_ngrams_keeps_its_scores():
    model = make_model(LstmForSequenceClassification, **NGRAMS)
    input_ids = make_input_ids()
    expected = model(input_ids, attention_mask=MASK).logits
    model.resize_token_embeddings(VOCAB_SIZE + 6)
    torch.testing.assert_close(model(input_ids, attention_mask=MASK).logits, expected)
    model(torch.full((1, 4), VOCAB_SIZE + 5))


def test_language_model_refuses_what_it_cannot_be():
    with pytest.raises(ValueError, match=r"`bidirectional` is True, but a language model reads forwards only"):
        LstmForCausalLM(make_config(bidirectional=True))
    with pytest.raises(ValueError, match=r"`ngram_orders` is \[2\]"):
        LstmForCausalLM(make_config(ngram_orders=[2]))


def test_language_model_computes_only_the_scores_asked_for():
    model, input_ids = make_model(LstmForCausalLM), make_input_ids()
    logits = model(input_ids).logits
    torch.testing.assert_close(model(input_ids, logits_to_keep=2).logits, logits[:, -2:])
    torch.testing.assert_close(model(input_ids, logits_to_keep=torch.tensor([0, 3])).logits, logits[:, [0, 3]])


@pytest.mark.parametrize("model_class", HEADS)
@pytest.mark.parametrize("variant", [{}, {"classifier_shortcut": True}])
def test_heads_take_embeddings_and_return_hidden_states_and_tuples(model_class, variant):
    model, input_ids = make_model(model_class, **variant), make_input_ids()
    result = model(input_ids, attention_mask=MASK, output_hidden_states=True)
    assert len(result.hidden_states) == model.config.num_hidden_layers + 1
    embeddings = model.get_input_embeddings()(input_ids)
    torch.testing.assert_close(model(inputs_embeds=embeddings, attention_mask=MASK).logits, result.logits)
    assert torch.equal(model(input_ids, attention_mask=MASK, return_dict=False)[0], result.logits)


@pytest.mark.parametrize("pooling", CLASSIFIER_POOLINGS)
@pytest.mark.parametrize("shape", [(3, 0), (0, 4)])
def test_classifier_scores_sequences_of_no_length(pooling, shape):
    model = make_model(LstmForSequenceClassification, classifier_pooling=pooling, classifier_shortcut=True, **NGRAMS)
    assert model(torch.zeros(shape, dtype=torch.long), attention_mask=torch.ones(shape)).logits.shape == (shape[0], 4)


def test_shortcut_lets_the_classifier_read_the_mean_embedding():
    model = make_model(LstmForSequenceClassification, classifier_shortcut=True, classifier_pooling="mean")
    with torch.no_grad():
        model.classifier.weight[:, : model.pooler.output_size] = 0
    input_ids = make_input_ids()
    embeddings = model.model.embed(input_ids) * MASK.unsqueeze(-1)
    means = embeddings.sum(dim=1) / MASK.sum(dim=1, keepdim=True).clamp(min=1)
    weight = model.classifier.weight[:, model.pooler.output_size :]
    torch.testing.assert_close(model(input_ids, attention_mask=MASK).logits, means @ weight.T + model.classifier.bias)


def test_shortcut_reads_the_embeddings_after_embedding_dropout_once():
    """The layers and the shortcut see one and the same dropped embedding."""
    model = make_model(LstmForSequenceClassification, classifier_shortcut=True, embedding_dropout=0.5).train()
    calls = []
    embed = model.model.embed
    model.model.embed = lambda *arguments: calls.append(arguments) or embed(*arguments)
    model(make_input_ids())
    assert len(calls) == 1


def test_ngram_classifier_needs_tokens():
    model = make_model(LstmForSequenceClassification, classifier_ngram_orders=[1])
    with pytest.raises(ValueError, match="`classifier_ngram_orders` needs `input_ids`"):
        model(inputs_embeds=torch.zeros(2, 3, 5))


@pytest.mark.parametrize("model_class", [LstmForSequenceClassification, LstmForTokenClassification])
def test_classifier_dropout_is_for_training_only(model_class):
    model = make_model(model_class, classifier_dropout=0.5)
    input_ids = make_input_ids()
    assert torch.equal(model(input_ids).logits, model(input_ids).logits)
    model.train()
    assert not torch.equal(model(input_ids).logits, model(input_ids).logits)


@pytest.mark.parametrize("model_class", HEADS)
def test_gradient_checkpointing_changes_no_gradient(model_class):
    input_ids = make_input_ids()
    gradients = []
    for checkpointing in (False, True):
        model = make_model(model_class, weight_dropout=0.3, hidden_dropout=0.3).train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        torch.manual_seed(0)
        model(input_ids, attention_mask=MASK, labels=make_labels(model, input_ids)).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_modules_not_to_be_split_exist():
    model = make_model(LstmForSequenceClassification)
    assert {"LstmLayer"} == set(model._no_split_modules)
    assert any(isinstance(module, nn.Module) and type(module).__name__ == "LstmLayer" for module in model.modules())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": torch.tensor([5, 6])}, r"unsqueeze\(0\)"),
        ({}, "exactly one of `input_ids` and `inputs_embeds`"),
    ],
)
def test_classifier_of_ngrams_refuses_bad_input_as_others_do(inputs, message):
    with pytest.raises(ValueError, match=message):
        make_model(LstmForSequenceClassification, classifier_ngram_orders=[1, 2])(**inputs)


@pytest.mark.parametrize("model_class", MODELS)
def test_mask_may_be_longer_by_tokens_before(model_class):
    model = make_model(model_class, **NGRAMS if model_class is LstmForSequenceClassification else {})
    input_ids, mask = make_input_ids()[:, 3:], MASK.clone()
    mask[:, -1] = 1
    with torch.no_grad():
        short, long = (main_output(model(input_ids, given)) for given in (mask[:, 3:], mask))
    torch.testing.assert_close(long, short)


def test_classifier_of_the_last_state_goes_on_from_a_state():
    model = make_model(LstmForSequenceClassification, classifier_pooling="last")
    input_ids, mask = make_input_ids(), MASK.clone()
    mask[:, 5] = 1
    with torch.no_grad():
        cache = model.model(input_ids[:, :4], mask[:, :4]).cache
        result = model(input_ids[:, 4:], mask, cache=cache)
        torch.testing.assert_close(result.logits, model(input_ids, mask).logits)
    mask[1, 4:] = 0
    with pytest.raises(ValueError, match="a row without any token after the 7 that"):
        model(input_ids[:, 4:], mask, cache=cache)


@pytest.mark.parametrize(
    "fields",
    [
        *[{"classifier_pooling": pooling} for pooling in CLASSIFIER_POOLINGS if pooling != "last"],
        {"classifier_pooling": "last", "bidirectional": True},
        {"classifier_pooling": "last", "classifier_shortcut": True},
        {"classifier_pooling": "last", "classifier_ngram_orders": [1]},
    ],
)
def test_classifier_of_all_tokens_refuses_a_state_that_has_read_some(fields):
    model = make_model(LstmForSequenceClassification, **fields)
    input_ids = make_input_ids()
    cache = model.model(input_ids[:, :4]).cache
    with pytest.raises(ValueError, match="holds the state after 4 tokens, but this classifier looks at every token"):
        model(input_ids[:, 4:], cache=cache)
    assert model(input_ids, cache=model.model.make_cache()).logits.isfinite().all()


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("model_class", [LstmForSequenceClassification, LstmForTokenClassification])
def test_classifiers_take_use_cache_and_return_no_state(model_class, use_cache):
    model, input_ids = make_model(model_class), make_input_ids()
    result = model(input_ids, use_cache=use_cache)
    assert "cache" not in result
    torch.testing.assert_close(result.logits, model(input_ids).logits)


@pytest.mark.parametrize("model_class", MODELS)
def test_configuration_may_ask_for_tuples(model_class, tmp_path):
    model, input_ids = make_model(model_class), make_input_ids()
    model.save_pretrained(tmp_path)
    result = model_class.from_pretrained(tmp_path, return_dict=False)(input_ids)
    assert isinstance(result, tuple)
    torch.testing.assert_close(result[0], main_output(model(input_ids)))


@pytest.mark.parametrize("model_class", MODELS)
def test_state_of_another_kind_is_refused(model_class):
    with pytest.raises(ValueError, match="`cache` is a tuple of 0 layers, but must be an LstmCache"):
        make_model(model_class)(make_input_ids(), cache=())
