"""`LstmSeq2SeqConfig`: its rules, derived sizes, and what is saved."""

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, BertConfig

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmModel,
    LstmSeq2SeqConfig,
    LstmSeq2SeqModel,
)
from tests.models.factories import make_seq2seq_config, make_seq2seq_model

EQUAL = {"encoder_hidden_size": 8, "encoder_layers": 3}


@pytest.mark.parametrize("config_class", [LstmConfig, LstmSeq2SeqConfig])
@pytest.mark.parametrize("name", ["initializer_range", "layer_norm_eps", "forget_gate_bias", "hidden_dropout"])
def test_whole_numbers_are_numbers(config_class, name):
    assert getattr(config_class(**{name: 0}), name) == 0


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (LstmModel, LstmSeq2SeqConfig()),
        (LstmForCausalLM, LstmSeq2SeqConfig()),
        (LstmForSequenceClassification, BertConfig()),
        (LstmForConditionalGeneration, LstmConfig()),
        (LstmSeq2SeqModel, LstmConfig()),
    ],
)
def test_config_of_another_model_is_refused_with_the_class_that_is_wanted(model_class, config):
    given, wanted = type(config).__name__, model_class.config_class.__name__
    with pytest.raises(ValueError, match=f"class {given}, but {model_class.__name__} is built from {wanted}"):
        model_class(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "`vocab_size` is 0, but must be at least 1"),
        ({"encoder_vocab_size": 0}, "`encoder_vocab_size` is 0"),
        ({"is_encoder_decoder": False}, "`is_encoder_decoder` is False, but always True for .*'hf_lstm_seq2seq'"),
        ({"encoder_layers": 0}, "`encoder_layers` is 0"),
        ({"decoder_layers": 0}, "`decoder_layers` is 0"),
        ({"decoder_hidden_size": -1}, "`decoder_hidden_size` is -1"),
        ({"decoder_hidden_size": 2**63}, "`decoder_hidden_size` is 9223372036854775808, but must be at most"),
        ({"encoder_embedding_size": 0}, "`encoder_embedding_size` is 0"),
        ({"encoder_hidden_size": 5}, "`encoder_hidden_size` is 5, but must be even when `encoder_bidirectional`"),
        ({"attention_dropout": 1.0}, "`attention_dropout` is 1.0, but is a probability"),
        ({"hidden_dropout": -0.1}, "`hidden_dropout` is -0.1"),
        ({"attention_type": "luong"}, "`attention_type` is 'luong', but must be one of .*'luong_dot'"),
        ({"bridge_type": "dense"}, "`bridge_type` is 'dense', but must be one of .*'linear'"),
        (
            {"attention_type": "luong_dot", "encoder_hidden_size": 6},
            "`encoder_hidden_size` is 6 and .* 8.*'luong_general'",
        ),
        (
            {"attention_type": "multi_head", "num_attention_heads": 3},
            "`num_attention_heads` is 3, but must divide .*8",
        ),
        ({"num_attention_heads": 0}, "`num_attention_heads` is 0"),
        ({"attention_type": "none", "input_feeding": True}, "`input_feeding` feeds what attention gives"),
        ({"input_feeding": True, "weight_dropout": 0.1}, "`weight_dropout` is 0.1.*`input_feeding`"),
        ({"copy_attention": True, "attention_type": "none"}, "`copy_attention` copies what attention looks at"),
        ({"copy_attention": True, "encoder_vocab_size": 23}, "needs one vocabulary, but `encoder_vocab_size` is 23"),
        ({"bridge_type": "copy"}, r"'copy' hands on.*\(6, 2\).*\(8, 3\).*'linear'"),
        ({"bridge_type": "copy", "encoder_hidden_size": 8}, r"\(8, 2\).*\(8, 3\)"),
        ({"bridge_type": "zero", "attention_type": "none"}, "would know nothing of the source"),
        (
            {"share_embeddings": True, "encoder_embedding_size": 5},
            "`encoder_embedding_size` 5 and `decoder_embedding_size` 7",
        ),
        ({"share_embeddings": True, "encoder_vocab_size": 23}, "`encoder_vocab_size` is 23"),
        ({"pad_token_id": 23}, "`pad_token_id` is 23, but must be a token id below `vocab_size` .23."),
        ({"pad_token_id": 11, "encoder_vocab_size": 11}, "below `source_vocab_size` .11."),
        ({"bos_token_id": -1}, "`bos_token_id` is -1"),
        ({"decoder_start_token_id": 30}, "`decoder_start_token_id` is 30"),
        (
            {"residual_connections": True, "encoder_layers": 1, "decoder_layers": 1},
            r"`residual_connections` is True, but no layer's.*\[5, 6, 0, 7, 8\]",
        ),
        ({"vocab_size": "23"}, "vocab_size"),
        ({"input_feeding": "yes"}, "input_feeding"),
        ({"prefix": 5}, "prefix"),
        ({"hidden_size": "64"}, "'decoder_hidden_size' expected int, got str"),
        ({"embedding_size": "64"}, "'decoder_embedding_size' expected int, got str"),
        ({"num_hidden_layers": 2.5}, "'encoder_layers' expected int, got float"),
    ],
)
def test_fields_that_break_a_rule_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        make_seq2seq_config(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"encoder_hidden_size": 5, "encoder_bidirectional": False},
        {"attention_type": "luong_dot"},
        {"bridge_type": "copy", **EQUAL},
        {"bridge_type": "copy", "attention_type": "none", **EQUAL},
        {"residual_connections": True, "encoder_layers": 1, "decoder_layers": 2},
        {"residual_connections": True, "encoder_layers": 2, "decoder_layers": 1},
        {"pad_token_id": None, "bos_token_id": None, "eos_token_id": [3, 4], "decoder_start_token_id": None},
        {"input_feeding": True, "hidden_dropout": 0.5},
        {"copy_attention": True, "input_feeding": True},
        {"weight_dropout": 0.5},
        {"decoder_start_token_id": 15, "encoder_vocab_size": 11},
    ],
)
def test_fields_come_back_from_a_saved_configuration(tmp_path, fields):
    config = make_seq2seq_config(**fields)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is LstmSeq2SeqConfig
    for name, value in fields.items():
        assert getattr(loaded, name) == value
    left, right = loaded.to_dict(), config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        del left[name], right[name]
    assert left == right


@pytest.mark.parametrize(("encoder_layers", "decoder_layers"), [(1, 2), (2, 1)])
def test_residual_connections_may_fit_one_side_only(encoder_layers, decoder_layers):
    sizes = {"encoder_layers": encoder_layers, "decoder_layers": decoder_layers}
    model = make_seq2seq_model(residual_connections=True, **sizes)
    residual = [[layer.residual for layer in side.layers] for side in (model.model.encoder, model.model.decoder)]
    assert residual == ([[False], [False, True]] if encoder_layers == 1 else [[False, True], [False]])
    assert model.get_encoder().config.residual_connections == (encoder_layers == 2)


def test_defaults_describe_a_model_that_can_be_built():
    config = LstmSeq2SeqConfig()
    assert config.is_encoder_decoder
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id, config.decoder_start_token_id) == (
        0,
        2,
        3,
        2,
    )
    assert config.source_vocab_size == config.vocab_size == 30000
    assert config.keys_to_ignore_at_inference == ["cache"]


def test_names_that_transformers_looks_for_are_the_decoders_and_the_encoders():
    config = make_seq2seq_config()
    assert (config.hidden_size, config.embedding_size, config.num_hidden_layers) == (8, 7, 2)


def test_encoder_has_a_configuration_of_its_own():
    config = make_seq2seq_config(
        encoder_vocab_size=31, encoder_bidirectional=False, layer_norm=True, hidden_dropout=0.25, eos_token_id=4
    )
    encoder = config.encoder_config()
    assert type(encoder) is LstmConfig
    assert (encoder.vocab_size, encoder.embedding_size, encoder.hidden_size, encoder.num_hidden_layers) == (
        31,
        5,
        6,
        2,
    )
    assert (encoder.bidirectional, encoder.layer_norm, encoder.hidden_dropout) == (False, True, 0.25)
    assert (encoder.pad_token_id, encoder.bos_token_id, encoder.eos_token_id) == (0, 2, 4)
    assert encoder.output_dropout == 0.0


@pytest.mark.parametrize(
    ("fields", "sizes", "output_size"),
    [
        ({}, [7, 8, 8, 8], 7),
        ({"tie_word_embeddings": False}, [7, 8, 8, 8], 8),
        ({"input_feeding": True}, [14, 8, 8, 8], 7),
        ({"input_feeding": True, "tie_word_embeddings": False, "decoder_layers": 1}, [15, 8], 8),
    ],
)
def test_widths_along_the_decoder(fields, sizes, output_size):
    config = make_seq2seq_config(**fields)
    assert config.decoder_layer_sizes == sizes
    assert config.decoder_output_size == output_size
