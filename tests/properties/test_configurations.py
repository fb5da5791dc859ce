"""Properties of configurations: valid ones make models, and anything else is an error that names the field."""

import dataclasses
import tempfile

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_lstm import LstmConfig, LstmForCausalLM, LstmForSequenceClassification, LstmSeq2SeqConfig
from hf_lstm.models.configuration_lstm import ATTENTION_TYPES, CLASSIFIER_POOLINGS
from hf_lstm.models.modeling_lstm_seq2seq import LstmForConditionalGeneration

QUICK = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
EVEN, SIZES, SHARES = st.sampled_from([2, 4, 6]), st.integers(1, 7), st.floats(0, 0.9)
ORDERS = st.lists(st.integers(2, 4), unique=True, max_size=2)
DROPOUTS = ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout")

ENCODERS = st.fixed_dictionaries(
    {
        "vocab_size": st.integers(5, 30),
        "embedding_size": st.integers(2, 7),
        "hidden_size": EVEN,
        "num_hidden_layers": st.integers(1, 3),
        "bidirectional": st.booleans(),
        "layer_norm": st.booleans(),
        "classifier_pooling": st.sampled_from(CLASSIFIER_POOLINGS),
        "classifier_shortcut": st.booleans(),
        "ngram_buckets": st.integers(1, 40),
        "classifier_ngram_buckets": st.integers(1, 40),
        "num_labels": st.integers(1, 4),
        "forget_gate_bias": st.floats(-2, 2),
        "initializer_range": st.floats(0, 1),
    },
    optional={
        "last_hidden_size": EVEN,
        "embedding_rank": st.just(1),
        "ngram_orders": ORDERS,
        "classifier_ngram_orders": ORDERS,
        "weight_dropout": SHARES,
        "eos_token_id": st.none() | st.integers(0, 4) | st.lists(st.integers(0, 4), min_size=1),
        **dict.fromkeys((*DROPOUTS, "classifier_dropout", "ngram_dropout", "classifier_ngram_dropout"), SHARES),
    },
)
WRITERS = st.fixed_dictionaries(
    {
        "vocab_size": st.integers(5, 30),
        "encoder_embedding_size": st.just(4),
        "decoder_embedding_size": st.just(4),
        "encoder_hidden_size": st.just(6),
        "decoder_hidden_size": st.just(6),
        "encoder_layers": st.integers(1, 3),
        "decoder_layers": st.integers(1, 2),
        "encoder_bidirectional": st.booleans(),
        "layer_norm": st.booleans(),
        "attention_type": st.sampled_from(ATTENTION_TYPES),
        "num_attention_heads": st.sampled_from([1, 2, 3, 6]),
        "share_embeddings": st.booleans(),
        "tie_word_embeddings": st.booleans(),
    },
    optional=dict.fromkeys((*DROPOUTS, "attention_dropout"), SHARES),
)
# What may stand in a config.json; sizes are small enough to be built if they are accepted.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OWN_FIELDS = {
    config_class: [field.name for field in dataclasses.fields(config_class) if field.name in vars(config_class)]
    for config_class in (LstmConfig, LstmSeq2SeqConfig)
}
SIDES = [f"{side}_{size}" for side in ("encoder", "decoder") for size in ("embedding_size", "hidden_size")]
BASES = {
    LstmConfig: {"vocab_size": 11, "embedding_size": 4, "hidden_size": 6, "ngram_buckets": 7},
    LstmSeq2SeqConfig: {"vocab_size": 11, "attention_type": "luong_general"} | dict.fromkeys(SIDES, 6),
}
MODELS = {LstmConfig: LstmForCausalLM, LstmSeq2SeqConfig: LstmForConditionalGeneration}


def reload(config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return type(config).from_pretrained(folder)


@QUICK
@given(ENCODERS)
def test_valid_encoder_comes_back_and_runs(fields):
    config = LstmConfig(**fields)
    assert reload(config).to_dict() == config.to_dict()
    model = LstmForSequenceClassification(config)
    input_ids = torch.tensor([[4, 1, 2], [3, 0, 0]])
    logits = model.train()(input_ids, attention_mask=input_ids != 0).logits
    assert logits.shape == (2, config.num_labels) and logits.isfinite().all()


@QUICK
@given(WRITERS)
def test_valid_writer_comes_back_and_runs(fields):
    config = LstmSeq2SeqConfig(**fields)
    assert reload(config).to_dict() == config.to_dict()
    model = LstmForConditionalGeneration(config)
    input_ids = torch.tensor([[4, 1, 2], [3, 0, 0]])
    batch = {"input_ids": input_ids, "attention_mask": input_ids != 0, "labels": input_ids}
    assert model.train()(**batch).loss.isfinite()  # training scores the targets alone, without logits
    logits = model.eval()(**batch).logits
    assert logits.shape == (2, 3, config.vocab_size) and logits.isfinite().all()


def check_that_a_model_is_built_or_the_field_named(config_class, name, value):
    try:
        config = config_class(**BASES[config_class] | {name: value})
    except StrictDataclassError as error:
        assert name in str(error)  # noqa: PT017  # not every value is wrong
        return
    input_ids = torch.tensor([[0]])
    assert MODELS[config_class](config).eval()(input_ids, labels=input_ids).loss is not None


@pytest.mark.parametrize("config_class", list(BASES))
@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_any_value_builds_a_model_or_is_an_error_that_names_its_field(config_class, data):
    name = data.draw(st.sampled_from(OWN_FIELDS[config_class]))
    check_that_a_model_is_built_or_the_field_named(config_class, name, data.draw(JSON))


@pytest.mark.parametrize("value", [2**63, 10**400], ids=["beyond_64_bits", "beyond_floating_point"])
@pytest.mark.parametrize("config_class", list(BASES))
def test_huge_numbers_build_a_model_or_are_an_error_that_names_their_field(config_class, value):
    for name in OWN_FIELDS[config_class]:
        check_that_a_model_is_built_or_the_field_named(config_class, name, value)
