"""What is saved of an encoder–decoder and comes back: weights, ties, vocabularies, and parts of other models."""

import copy
import io
import pickle

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from transformers import AutoModel, AutoModelForSeq2SeqLM

from hf_lstm import (
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmInt8Config,
    LstmModel,
    LstmSeq2SeqModel,
)
from hf_lstm.models.layers_lstm import OutputLayer
from tests.models.factories import (
    COPYING,
    MASK,
    RUNS,
    TARGET_VOCAB_SIZE,
    make_model,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
    randomize,
)

TABLES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
TIES = [
    {"share_embeddings": share, "tie_word_embeddings": tie, "encoder_vocab_size": vocabulary}
    for share, tie, vocabulary in (
        (True, True, None),
        (True, False, None),
        (False, True, None),
        (False, False, None),
        (False, True, 31),
        (False, False, 31),
    )
]


def tables(model: LstmForConditionalGeneration) -> list[torch.Tensor]:
    return [model.model.encoder.embed_tokens.weight, model.model.decoder.embed_tokens.weight, model.lm_head.weight]


def assert_ties(model: LstmForConditionalGeneration) -> None:
    source, target, output = tables(model)
    assert (source is target) == model.config.share_embeddings
    assert (output is target) == model.config.tie_word_embeddings


def saved_names(folder) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


def assert_equal_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


@pytest.mark.parametrize("fields", [{**run, **TIES[index % 6]} for index, run in enumerate(RUNS)] + TIES + [COPYING])
def test_saved_model_comes_back_through_the_auto_classes(tmp_path, fields):
    model = make_seq2seq_model(layer_norm=True, **fields)
    assert_ties(model)
    model.save_pretrained(tmp_path)
    loaded, info = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is LstmForConditionalGeneration
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_ties(loaded)
    assert_equal_weights(loaded, model)
    expected = model(make_source(), MASK, make_target())
    assert torch.equal(loaded(make_source(), MASK, make_target()).logits, expected.logits)
    base = AutoModel.from_pretrained(tmp_path)
    assert type(base) is LstmSeq2SeqModel
    assert torch.equal(
        base(make_source(), MASK, make_target()).last_hidden_state,
        model.model(make_source(), MASK, make_target()).last_hidden_state,
    )


@pytest.mark.parametrize("fields", TIES)
def test_checkpoint_holds_one_copy_of_tied_weights(tmp_path, fields):
    make_seq2seq_model(**fields).save_pretrained(tmp_path)
    number = 3 - fields["share_embeddings"] - fields["tie_word_embeddings"]
    assert len(saved_names(tmp_path) & set(TABLES)) == number


@pytest.mark.parametrize("fields", TIES)
def test_base_model_is_saved_and_loaded_by_itself_and_into_the_head(tmp_path, fields):
    base = randomize(LstmSeq2SeqModel(make_seq2seq_config(**fields))).eval()
    base.save_pretrained(tmp_path)
    loaded = LstmSeq2SeqModel.from_pretrained(tmp_path)
    assert_equal_weights(loaded, base)
    assert (loaded.encoder.embed_tokens.weight is loaded.decoder.embed_tokens.weight) == fields["share_embeddings"]
    whole, info = LstmForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert_equal_weights(whole.model, base)
    assert_ties(whole)
    assert set(info["missing_keys"]) <= {"lm_head.weight", "lm_head.bias"}


@pytest.mark.parametrize("size", [37, 19])
@pytest.mark.parametrize("fields", TIES)
def test_resized_vocabulary_is_trained_saved_and_loaded(tmp_path, fields, size):
    model = make_seq2seq_model(**fields)
    before = [table.detach().clone() for table in tables(model)]
    model.resize_token_embeddings(size, mean_resizing=False)
    sizes = [31 if fields["encoder_vocab_size"] else size, size, size]
    assert [len(table) for table in tables(model)] == sizes
    assert len(model.lm_head.bias) == model.lm_head.out_features == model.config.vocab_size == size
    assert type(model.lm_head) is OutputLayer
    assert model.config.encoder_vocab_size == fields["encoder_vocab_size"]
    assert model.get_encoder().config.vocab_size == sizes[0]
    for old, new in zip(before, tables(model), strict=True):
        kept = min(len(old), len(new))
        assert torch.equal(old[:kept], new[:kept])
    assert_ties(model)
    result = model.train()(torch.full((2, 3), 18), labels=torch.full((2, 4), size - 1))
    result.loss.backward()
    assert model.lm_head.bias.grad[size - 1] != 0
    model.eval().save_pretrained(tmp_path)
    loaded = LstmForConditionalGeneration.from_pretrained(tmp_path)
    assert_equal_weights(loaded, model)
    assert_ties(loaded)


def test_base_model_without_shared_embeddings_resizes_both(tmp_path):
    base = LstmSeq2SeqModel(make_seq2seq_config())
    base.resize_token_embeddings(37, mean_resizing=False)
    assert len(base.encoder.embed_tokens.weight) == len(base.decoder.embed_tokens.weight) == 37
    base.save_pretrained(tmp_path)
    assert_equal_weights(LstmSeq2SeqModel.from_pretrained(tmp_path), base)


@pytest.mark.parametrize("vocabulary", [31, None])
def test_source_vocabulary_is_resized_by_the_encoder(tmp_path, vocabulary):
    model = make_seq2seq_model(encoder_vocab_size=vocabulary)
    model.get_encoder().resize_token_embeddings(37, mean_resizing=False)
    assert [len(table) for table in tables(model)] == [37, TARGET_VOCAB_SIZE, TARGET_VOCAB_SIZE]
    assert (model.config.encoder_vocab_size, model.config.vocab_size) == (37, TARGET_VOCAB_SIZE)
    model.save_pretrained(tmp_path)
    loaded = LstmForConditionalGeneration.from_pretrained(tmp_path)
    assert_equal_weights(loaded, model)
    copied = copy.deepcopy(loaded)
    copied.get_encoder().resize_token_embeddings(41, mean_resizing=False)
    assert (copied.config.encoder_vocab_size, loaded.config.encoder_vocab_size) == (41, 37)


def test_shared_source_vocabulary_is_not_resized_alone():
    model = make_seq2seq_model(share_embeddings=True)
    with pytest.raises(ValueError, match="share their vocabulary.*share_embeddings.*of the whole model"):
        model.get_encoder().resize_token_embeddings(37)
    assert model.get_encoder().resize_token_embeddings().weight is model.get_input_embeddings().weight


def test_setting_shared_embeddings_sets_both_sides():
    for share in (True, False):
        model = make_seq2seq_model(share_embeddings=share, tie_word_embeddings=False)
        table = torch.nn.Embedding(TARGET_VOCAB_SIZE, 7)
        model.set_input_embeddings(table)
        assert model.get_input_embeddings() is model.model.decoder.embed_tokens is table
        assert (model.model.encoder.embed_tokens is table) == share


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("fields", [{}, {"share_embeddings": True}, {"encoder_vocab_size": 31}])
def test_encoder_saved_by_itself_starts_a_classifier(tmp_path, fields, bidirectional):
    model = make_seq2seq_model(
        encoder_bidirectional=bidirectional, residual_connections=True, layer_norm=True, **fields
    )
    encoder = model.get_encoder()
    encoder.save_pretrained(tmp_path)
    expected = encoder(make_source(), MASK).last_hidden_state
    loaded = {}
    for model_class in (LstmModel, LstmForSequenceClassification, AutoModel):
        loaded[model_class], info = model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["unexpected_keys"]
        assert all(name.startswith("classifier.") for name in info["missing_keys"])
        base = loaded[model_class].base_model
        assert type(base) is LstmModel
        assert_equal_weights(base, encoder)
        assert torch.equal(base.eval()(make_source(), MASK).last_hidden_state, expected)
    again = LstmForConditionalGeneration.from_encoder_decoder_pretrained(
        tmp_path, attention_type="bahdanau", decoder_hidden_size=8, decoder_embedding_size=7
    )
    assert_equal_weights(again.get_encoder(), encoder)


LAYERS = {"layer_norm": True, "residual_connections": True, "num_hidden_layers": 3}


def make_parts() -> tuple[LstmModel, LstmForCausalLM]:
    encoder = make_model(LstmModel, bidirectional=True, **LAYERS)
    decoder = make_model(LstmForCausalLM, seed=1, vocab_size=23, hidden_size=8, embedding_size=7, **LAYERS)
    return encoder, decoder


@pytest.mark.parametrize("as_folders", [False, True])
def test_both_sides_start_from_saved_models(tmp_path, as_folders):
    encoder, decoder = make_parts()
    given = (encoder, decoder)
    if as_folders:
        given = (tmp_path / "encoder", str(tmp_path / "decoder"))
        encoder.save_pretrained(given[0])
        decoder.save_pretrained(given[1])
    model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(*given, attention_type="multi_head")
    assert_equal_weights(model.get_encoder(), encoder)
    assert_equal_weights(model.get_decoder().layers, decoder.model.layers)
    assert torch.equal(model.get_decoder().embed_tokens.weight, decoder.model.embed_tokens.weight)
    assert_equal_weights(model.lm_head, decoder.lm_head)
    config = model.config
    assert (config.encoder_vocab_size, config.vocab_size) == (29, 23)
    assert (config.layer_norm, config.residual_connections, config.tie_word_embeddings) == (True, True, False)
    model.save_pretrained(tmp_path / "both")
    assert_equal_weights(LstmForConditionalGeneration.from_pretrained(tmp_path / "both"), model)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_goes_on_as_a_decoder_without_attention(tied):
    """With nothing from the source, the decoder is the language model: same readout, same scores."""
    decoder = make_model(LstmForCausalLM, hidden_size=8, tie_word_embeddings=tied)
    assert (decoder.lm_projection is not None) == tied
    model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(
        None, decoder, attention_type="none", encoder_hidden_size=6, encoder_embedding_size=5
    ).eval()
    assert_ties(model)
    with torch.no_grad():
        for part in (*model.model.decoder.bridge.hidden_maps, *model.model.decoder.bridge.cell_maps):
            part.weight.zero_()
            part.bias.zero_()
    expected = decoder(make_target()).logits
    torch.testing.assert_close(model(make_source(), MASK, make_target()).logits, expected)


def test_a_tied_language_model_goes_on_beside_attention_with_a_readout_of_its_own():
    decoder = make_model(LstmForCausalLM, hidden_size=8, tie_word_embeddings=True)
    model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(
        decoder=decoder, attention_type="luong_general", encoder_hidden_size=6
    )
    assert_ties(model)
    assert_equal_weights(model.get_decoder().layers, decoder.model.layers)
    assert_equal_weights(model.lm_head, decoder.lm_head)


def test_encoder_starts_from_what_only_a_language_model_has_besides():
    fields = {"adaptive_softmax_cutoffs": [7], "last_hidden_size": 6, "output_dropout": 0.25}
    encoder = make_model(LstmModel, **fields)
    assert encoder.config.hidden_size == 6
    model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(
        encoder, attention_type="luong_general", decoder_hidden_size=8, decoder_embedding_size=7
    )
    assert_equal_weights(model.get_encoder(), encoder)
    assert model.config.output_dropout == 0.25


def test_one_side_alone_starts_from_a_saved_model():
    encoder, decoder = make_parts()
    start = LstmForConditionalGeneration.from_encoder_decoder_pretrained
    model = start(
        encoder, attention_type="luong_general", decoder_hidden_size=8, share_embeddings=True, decoder_embedding_size=5
    )
    assert_equal_weights(model.get_encoder(), encoder)
    assert model.get_decoder().embed_tokens.weight is model.get_encoder().embed_tokens.weight
    assert (model.config.vocab_size, model.config.encoder_vocab_size) == (29, None)
    model = start(decoder=decoder, attention_type="luong_general", encoder_hidden_size=6)
    assert_equal_weights(model.get_decoder().layers, decoder.model.layers)
    assert model.config.encoder_vocab_size is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None, "decoder": None}, "Give an `encoder`, a `decoder`, or both"),
        (
            {"input_feeding": True},
            r"The decoder's '0.weight_ih_l0' is of shape \(32, 7\).*\(32, 15\).*`input_feeding`",
        ),
        ({"layer_norm": False}, r"The encoder's 'layers.0.layer_norm.weight' is of shape \(6,\), .* needs None"),
        ({"encoder_layers": 4}, "The encoder's 'layers.3.weight_ih_l0' is of shape None"),
        ({"encoder_layers": 2}, r"The encoder's 'layers.2.weight_ih_l0' is of shape .* needs None"),
        ({"vocab_size": 31}, r"The decoder's 'weight' is of shape \(23, 7\).*\(31, 7\)"),
        ({"tie_word_embeddings": True, "attention_type": "none"}, "`tie_word_embeddings` is True, but the decoder's"),
        ({"bridge_type": "copy"}, r"`bridge_type` 'copy' hands on.*\(6, 3\).*\(8, 3\)"),
        ({"attention_type": "luong_dot"}, "`encoder_hidden_size` is 6 and `decoder_hidden_size` 8"),
        ({"atention_type": "none"}, "no field `atention_type`"),
        ({"share_embeddings": True}, "`share_embeddings` needs one vocabulary"),
        ({"encoder": make_model(LstmModel, bidirectional=True)}, "`residual_connections` False and True"),
        (
            {"encoder": make_model(LstmModel, **LAYERS, layer_norm_eps=1e-3)},
            "`layer_norm_eps` 0.001 and 1e-05. Train them with the same values",
        ),
        ({"encoder": make_model(LstmModel, **LAYERS, pad_token_id=1)}, "`pad_token_id` 1 and 0"),
        (
            {
                "encoder": make_model(LstmModel, vocab_size=23, embedding_size=7, **LAYERS),
                "share_embeddings": True,
                "encoder_vocab_size": None,
            },
            "`share_embeddings` is True, but the encoder's and the decoder's embeddings differ",
        ),
        ({"encoder": make_model(LstmModel, ngram_orders=[2])}, r"The encoder has `ngram_orders` \[2\]"),
        ({"decoder": make_model(LstmForCausalLM, last_hidden_size=4)}, "The decoder has .*`last_hidden_size` 4"),
        ({"encoder": make_model(LstmModel, embedding_rank=3)}, "The encoder has `embedding_rank` 3"),
        ({"decoder": make_model(LstmForCausalLM, embedding_rank=3)}, "The decoder has `embedding_rank` 3"),
        (
            {"decoder": make_model(LstmForCausalLM, adaptive_softmax_cutoffs=[7])},
            r"The decoder has .*`adaptive_softmax_cutoffs` \[7\], but an encoder–decoder has neither",
        ),
        ({"encoder": make_model(LstmForCausalLM)}, "`encoder` is of class LstmForCausalLM, but must be of LstmModel"),
        ({"decoder": make_model(LstmModel)}, "`decoder` is of class LstmModel, but must be of LstmForCausalLM"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(arguments, message):
    encoder, decoder = make_parts()
    given = {"encoder": encoder, "decoder": decoder, "attention_type": "luong_general"} | arguments
    with pytest.raises((ValueError, StrictDataclassError), match=f"(?s){message}"):
        LstmForConditionalGeneration.from_encoder_decoder_pretrained(**given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_embeddings_of_both_parts_can_be_shared(dtype):
    decoder = make_model(LstmForCausalLM)
    encoder = make_model(LstmModel, seed=1).to(dtype)
    decoder.model.embed_tokens.load_state_dict(encoder.embed_tokens.state_dict())
    model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(
        encoder, decoder, share_embeddings=True, encoder_vocab_size=None
    )
    assert_equal_weights(model.get_encoder(), encoder.float())
    assert model.get_decoder().embed_tokens.weight is model.get_encoder().embed_tokens.weight


@pytest.mark.parametrize(
    ("fields", "changes", "start"),
    [
        ({}, {}, 2),
        ({"bos_token_id": 1, "eos_token_id": 2}, {}, 1),
        ({"bos_token_id": 1, "eos_token_id": 2}, {"decoder_start_token_id": 5}, 5),
        ({"bos_token_id": None}, {}, 2),
    ],
)
def test_decoder_starts_from_the_token_its_language_model_does(fields, changes, start):
    parts = {"decoder": make_model(LstmForCausalLM, **fields)}, {"encoder": make_model(LstmModel, **fields)}
    sizes = {"attention_type": "luong_general", "encoder_hidden_size": 6}
    for part in parts:
        model = LstmForConditionalGeneration.from_encoder_decoder_pretrained(**part, **sizes, **changes)
        assert model.config.decoder_start_token_id == model.generation_config.decoder_start_token_id == start


def test_folder_that_lacks_the_output_layer_is_refused(tmp_path):
    make_model(LstmForSequenceClassification).save_pretrained(tmp_path)
    start = LstmForConditionalGeneration.from_encoder_decoder_pretrained
    with pytest.raises(ValueError, match=r"`decoder` is .* lacks \['lm_head.bias', 'lm_head.weight'\]"):
        start(decoder=tmp_path, attention_type="luong_general", encoder_hidden_size=6)
    start(encoder=tmp_path, attention_type="luong_general", decoder_hidden_size=8)


@pytest.mark.parametrize("model_class", [LstmModel, LstmForCausalLM])
def test_parts_in_int8_are_refused(tmp_path, model_class):
    make_model(model_class).save_pretrained(tmp_path)
    part = model_class.from_pretrained(tmp_path, quantization_config=LstmInt8Config(min_weights=0))
    name = "encoder" if model_class is LstmModel else "decoder"
    with pytest.raises(ValueError, match=f"A model in int8 cannot be the `{name}` that a model starts from"):
        LstmForConditionalGeneration.from_encoder_decoder_pretrained(**{name: part})


def test_a_checkpoint_of_the_other_architecture_is_refused(tmp_path):
    make_seq2seq_model().save_pretrained(tmp_path / "both")
    make_model(LstmModel).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="'hf_lstm_seq2seq', but this class loads 'hf_lstm' only"):
        LstmForConditionalGeneration.from_encoder_decoder_pretrained(tmp_path / "both")
    with pytest.raises(ValueError, match="'hf_lstm', but this class loads 'hf_lstm_seq2seq' only"):
        LstmForConditionalGeneration.from_pretrained(tmp_path / "encoder")


@pytest.mark.parametrize("fields", TIES)
def test_copies_by_deepcopy_and_pickle_are_equal_and_tied(fields):
    model = make_seq2seq_model(**fields)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)]
    expected = model(make_source(), MASK, labels=make_target())
    for copied in copies:
        assert_ties(copied)
        assert tables(copied)[0] is not tables(model)[0]
        result = copied(make_source(), MASK, labels=make_target())
        assert torch.equal(result.logits, expected.logits)
        assert torch.equal(result.loss, expected.loss)


@pytest.mark.parametrize("fields", TIES)
def test_model_made_without_memory_loads_weights_later(fields):
    model = make_seq2seq_model(**fields)
    with torch.device("meta"):
        empty = LstmForConditionalGeneration(model.config)
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    empty.to_empty(device="cpu")
    empty.tie_weights()
    empty.load_state_dict(model.state_dict())
    assert torch.equal(
        empty.eval()(make_source(), MASK, make_target()).logits, model(make_source(), MASK, make_target()).logits
    )


def test_model_comes_back_in_the_type_asked_for(tmp_path):
    make_seq2seq_model().to(torch.bfloat16).save_pretrained(tmp_path)
    assert LstmForConditionalGeneration.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16
    loaded = LstmForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float64)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float64}
    result = loaded(make_source(), MASK, labels=make_target())
    assert result.logits.dtype == result.cache.layers[0].hidden_state.dtype == torch.float64


def test_fresh_weights_start_as_documented():
    torch.manual_seed(0)
    model = LstmForConditionalGeneration(make_seq2seq_config(layer_norm=True, forget_gate_bias=2.0))
    for embedding in (model.model.encoder.embed_tokens, model.model.decoder.embed_tokens):
        assert embedding.weight[0].abs().sum() == 0
        assert embedding.weight[1:].std().item() == pytest.approx(0.3, rel=0.2)
    for side in (model.model.encoder, model.model.decoder):
        for layer in side.layers:
            assert layer.bias_ih_l0.view(4, -1)[1].unique().tolist() == [2.0]
            assert layer.bias_ih_l0.view(4, -1)[0].unique().tolist() == [0.0]
            assert layer.weight_hh_l0.abs().max() <= layer.size**-0.5
    assert model.lm_head.bias.abs().sum() == 0
    assert model.model.decoder.bridge.cell_maps[0].bias.abs().sum() == 0
