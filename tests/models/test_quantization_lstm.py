"""Serving in int8: against its plain twin and against float32, and what is refused."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from hf_lstm import (
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmInt8Config,
    LstmModel,
)
from hf_lstm.models import layers_lstm, quantization_lstm
from hf_lstm.models.quantization_lstm import Int8Linear, Int8Weight, _FbgemmMatrix, _OnednnMatrix
from tests.models.factories import (
    ADAPTIVE,
    HEADS,
    MASK,
    make_input_ids,
    make_model,
    make_seq2seq_model,
    make_source,
    make_talkative_seq2seq_model,
    make_target,
)

EVERYTHING = LstmInt8Config(min_weights=0)
# Eight bits of weights and of activations leave some hundredths of the logits' size as error.
RELATIVE_ERROR = 0.05


def naive_multiply(weight: torch.Tensor, bias: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """The plain twin of `Int8Weight.multiply`: rounds both sides to integers, and multiplies these in float64."""
    weight_scales = weight.abs().amax(dim=1, keepdim=True) / quantization_lstm._WEIGHT_LEVELS
    input_scales = inputs.abs().amax(dim=-1, keepdim=True).clamp(min=1e-20) / 127
    weights = torch.round(weight / weight_scales).double()
    values = torch.floor(inputs / input_scales + 0.5).double()
    return ((values @ weights.t()) * input_scales * weight_scales.flatten() + bias).float()


def load(model: nn.Module, folder, config: LstmInt8Config = EVERYTHING, **options) -> nn.Module:
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder, quantization_config=config, **options)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.float() - theirs).norm() / theirs.norm())


@pytest.fixture(params=[_OnednnMatrix, _FbgemmMatrix])
def any_kernel(request, monkeypatch):
    """Multiplies by each kernel, whichever this processor would take."""
    if request.param is _FbgemmMatrix and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of torch has no FBGEMM")
    monkeypatch.setattr(quantization_lstm, "_find_matrix_class", lambda: request.param)


@pytest.mark.parametrize("shape", [(13,), (1, 13), (3, 13), (2, 5, 13), (0, 13)])
def test_product_is_that_of_the_plain_twin(shape, any_kernel):
    torch.manual_seed(0)
    weight, bias, inputs = torch.randn(11, 13), torch.randn(11), 3 * torch.randn(shape)
    expected = naive_multiply(weight, bias, inputs)
    torch.testing.assert_close(Int8Weight(weight, bias).multiply(inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight_levels", [127, 64])
@pytest.mark.parametrize("sign", [1, -1])
def test_largest_products_do_not_overflow(monkeypatch, weight_levels, sign, any_kernel):
    if weight_levels == 127 and not torch.cpu._is_vnni_supported():
        pytest.skip("needs a processor with VNNI")
    monkeypatch.setattr(quantization_lstm, "_WEIGHT_LEVELS", weight_levels)
    torch.manual_seed(0)
    weight = torch.cat([torch.full((2, 512), float(sign)), torch.randn(9, 512)])
    inputs = torch.cat([torch.ones(1, 512), -torch.ones(1, 512), torch.randn(2, 512)])
    expected = naive_multiply(weight, torch.zeros(11), inputs)
    torch.testing.assert_close(Int8Weight(weight).multiply(inputs), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("engine", torch.backends.quantized.supported_engines)
def test_threads_leave_the_setting_of_kernels_as_it_is(engine, any_kernel):
    before = torch.backends.quantized.engine
    weights, inputs = [torch.randn(11, 13) for _ in range(24)], torch.randn(2, 13)
    try:
        torch.backends.quantized.engine = engine
        with ThreadPoolExecutor(6) as pool:
            products = list(pool.map(lambda weight: Int8Weight(weight).multiply(inputs), weights))
        assert torch.backends.quantized.engine == engine
    finally:
        torch.backends.quantized.engine = before
    for weight, product in zip(weights, products, strict=True):
        torch.testing.assert_close(product, naive_multiply(weight, torch.zeros(11), inputs), rtol=1e-5, atol=1e-5)


def test_kernel_that_torch_has_given_up_is_not_taken(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    has_fbgemm = "fbgemm" in torch.backends.quantized.supported_engines
    assert quantization_lstm._find_matrix_class() is (_FbgemmMatrix if has_fbgemm else _OnednnMatrix)
    monkeypatch.delattr(torch, "_make_per_channel_quantized_tensor")
    assert quantization_lstm._find_matrix_class() is _OnednnMatrix


def test_pairs_of_products_fit_into_16_bits_without_vnni():
    largest_input = quantization_lstm._SHIFT + quantization_lstm._LEVELS
    assert quantization_lstm._SHIFT > quantization_lstm._LEVELS  # nothing is negative
    assert largest_input <= 255
    assert torch.cpu._is_vnni_supported() or 2 * largest_input * quantization_lstm._WEIGHT_LEVELS < 2**15


def test_rounded_weights_are_within_half_a_step(any_kernel):
    torch.manual_seed(0)
    weight = torch.randn(11, 13)
    steps = weight.abs().amax(dim=1, keepdim=True) / quantization_lstm._WEIGHT_LEVELS
    assert ((Int8Weight(weight).rounded() - weight).abs() <= 0.501 * steps).all()


def test_tiny_numbers_are_multiplied_as_large_ones_are(any_kernel):
    torch.manual_seed(0)
    weight, inputs = 1e-6 * torch.randn(11, 13), 1e-6 * torch.randn(4, 13)
    weight[3] = 0
    result = Int8Weight(weight).multiply(inputs)
    assert relative_error(result * 1e12, inputs @ weight.t() * 1e12) < RELATIVE_ERROR
    assert (result[:, 3] == 0).all()


def test_product_has_no_gradient_whatever_it_was_made_of(any_kernel):
    assert not Int8Linear(nn.Linear(13, 11))(torch.randn(2, 13)).requires_grad


def test_row_does_not_depend_on_the_others(any_kernel):
    torch.manual_seed(0)
    int8_weight, inputs = Int8Weight(torch.randn(11, 13)), torch.randn(4, 13)
    inputs[1] *= 1000
    inputs[2] = float("nan")
    inputs[3] = 0
    result = int8_weight.multiply(inputs)
    assert torch.equal(result[:1], int8_weight.multiply(inputs[:1]))
    assert result[2].isnan().all()
    assert (result[3] == 0).all()


@pytest.mark.parametrize("size", [11, 0])
def test_stored_weight_multiplies_alike(any_kernel, size):
    torch.manual_seed(0)
    int8_weight, inputs = Int8Weight(torch.randn(size, 13), torch.randn(size)), torch.randn(4, 13)
    stored = pickle.loads(pickle.dumps(int8_weight))
    assert torch.equal(stored.multiply(inputs), int8_weight.multiply(inputs))


@pytest.mark.parametrize("sign", [1, -1])
def test_weight_stored_where_processors_have_vnni_is_multiplied_right_elsewhere(monkeypatch, sign, any_kernel):
    torch.manual_seed(0)
    weight = sign * torch.cat([torch.ones(2, 512), torch.rand(9, 512)])
    inputs = torch.cat([torch.ones(1, 512), torch.randn(2, 512)])
    monkeypatch.setattr(quantization_lstm, "_WEIGHT_LEVELS", 127)
    stored = pickle.dumps(Int8Weight(weight))
    monkeypatch.setattr(quantization_lstm, "_WEIGHT_LEVELS", 64)
    loaded = pickle.loads(stored)
    assert loaded.matrix.values().abs().max() == 64
    torch.testing.assert_close(loaded.multiply(inputs)[0, :2], torch.full((2,), sign * 512.0))
    assert relative_error(loaded.multiply(inputs), inputs @ weight.t()) < RELATIVE_ERROR


def test_cell_is_that_of_torch_with_the_rounded_weights(any_kernel):
    torch.manual_seed(0)
    weights, biases = [torch.randn(4 * 7, 5), torch.randn(4 * 7, 7)], [torch.randn(4 * 7), torch.randn(4 * 7)]
    int8_weight = Int8Weight(torch.cat(weights, dim=1), biases[0] + biases[1])
    inputs, hidden, cell = torch.randn(3, 5), torch.rand(3, 7) - 0.5, torch.randn(3, 7)
    rounded = int8_weight.rounded().split([5, 7], dim=1)
    expected = torch.lstm_cell(inputs, (hidden, cell), *rounded, *biases)
    for ours, theirs in zip(int8_weight.lstm_cell(inputs, hidden, cell), expected, strict=True):
        assert relative_error(ours, theirs) < RELATIVE_ERROR
    narrow = int8_weight.lstm_cell(inputs.bfloat16(), hidden.bfloat16(), cell.bfloat16())
    assert [state.dtype for state in narrow] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16}])
@pytest.mark.parametrize(
    ("model_class", "variant"),
    [
        (LstmForSequenceClassification, {"bidirectional": True, "classifier_ngram_orders": [1, 2]}),
        (LstmForTokenClassification, {"layer_norm": True, "residual_connections": True}),
        (LstmForCausalLM, {"tie_word_embeddings": True, "embedding_rank": 3}),
        (LstmForCausalLM, ADAPTIVE),
    ],
)
def test_logits_are_near_those_in_float32(tmp_path, model_class, variant, options):
    model = make_model(model_class, **variant)
    int8 = load(model, tmp_path, **options)
    assert any(isinstance(module, Int8Linear) for module in int8.modules())
    with torch.no_grad():
        expected, found = (each(make_input_ids(), MASK).logits for each in (model, int8))
    assert relative_error(found, expected) < RELATIVE_ERROR


@pytest.mark.parametrize("has_bfloat16", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layers_that_read_both_ways_are_in_bfloat16_where_the_processor_is(tmp_path, monkeypatch, has_bfloat16, dtype):
    monkeypatch.setattr(layers_lstm, "is_made_for_bfloat16", lambda: has_bfloat16)
    model = make_talkative_seq2seq_model(encoder_bidirectional=True)
    int8 = load(model, tmp_path, dtype=dtype)
    encoder, decoder = int8.get_encoder(), int8.get_decoder()
    assert encoder.dtype == decoder.layers[0].weight_hh_l0.dtype == dtype
    assert encoder.layers[0].weight_hh_l0_reverse.dtype == (torch.bfloat16 if has_bfloat16 else dtype)
    with torch.no_grad():
        found, expected = (each.get_encoder()(make_source(), MASK) for each in (int8, model))
    assert found.last_hidden_state.dtype == found.states.dtype == dtype
    for name in ("last_hidden_state", "states"):
        assert relative_error(found[name], expected[name]) < RELATIVE_ERROR


@pytest.mark.parametrize("model_class", HEADS)
def test_padding_changes_nothing(tmp_path, model_class):
    int8, input_ids = load(make_model(model_class), tmp_path), make_input_ids()
    with torch.no_grad():
        batch = int8(input_ids, MASK).logits
        for row, mask in enumerate(MASK.bool()):
            if not mask.any():
                continue
            single = int8(input_ids[row : row + 1, mask]).logits[0]
            kept = batch[row] if model_class is LstmForSequenceClassification else batch[row, mask]
            # A last bit of the float32 parts may move a number over the edge between two integers.
            torch.testing.assert_close(kept, single, rtol=0.01, atol=0.01)


def test_steps_are_near_the_whole_sequence(tmp_path):
    int8, input_ids = load(make_model(LstmForCausalLM), tmp_path), make_input_ids()
    with torch.no_grad():
        whole = int8(input_ids).logits[:, -1]
        past = int8(input_ids[:, :3], use_cache=True).cache
        for position in range(3, input_ids.shape[1]):
            logits = int8.read_token(input_ids[:, position : position + 1], past)
    assert relative_error(logits[:, -1], whole) < RELATIVE_ERROR


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_generates_what_plain_products_do(tmp_path, monkeypatch, num_beams, feeding):
    model = make_talkative_seq2seq_model(attention_type="luong_general", input_feeding=feeding)
    int8 = load(model, tmp_path)
    options = {"num_beams": num_beams, "max_new_tokens": 6, "do_sample": False}
    tokens = int8.generate(make_source(), attention_mask=MASK, **options)
    with torch.no_grad():
        logits, expected = (each(make_source(), MASK, make_target()).logits for each in (int8, model))
    assert relative_error(logits, expected) < 3 * RELATIVE_ERROR  # the networks' weights are large

    monkeypatch.setattr(Int8Weight, "multiply", lambda self, x: naive_multiply(self.rounded(), self.bias, x))
    assert torch.equal(int8.generate(make_source(), attention_mask=MASK, **options), tokens)


@pytest.mark.parametrize("attention_type", ["luong_dot", "luong_general", "bahdanau", "multi_head"])
def test_empty_texts_are_read(tmp_path, attention_type):
    nothing = torch.zeros(2, 0, dtype=torch.long)
    for model_class in (LstmForCausalLM, LstmForTokenClassification):
        assert load(make_model(model_class), tmp_path)(nothing).logits.shape[:2] == (2, 0)
    model = load(make_seq2seq_model(attention_type=attention_type), tmp_path)
    assert model.generate(nothing, max_new_tokens=3, eos_token_id=None).shape == (2, 4)


def test_language_model_generates(tmp_path):
    int8 = load(make_model(LstmForCausalLM), tmp_path)
    tokens = int8.generate(make_input_ids(), attention_mask=MASK, num_beams=2, max_new_tokens=4, eos_token_id=None)
    assert tokens.shape == (len(MASK), MASK.shape[1] + 4)


def test_small_matrices_stay_and_a_model_of_them_is_reported(tmp_path, monkeypatch):
    messages: list[str] = []
    monkeypatch.setattr(quantization_lstm.logger, "warning", messages.append)
    model = make_model(LstmForSequenceClassification)
    int8 = load(model, tmp_path, LstmInt8Config())
    with torch.no_grad():
        assert torch.equal(int8(make_input_ids(), MASK).logits, model(make_input_ids(), MASK).logits)
    assert len(messages) == 1
    assert "262144" in messages[0]


# The layer's matrices hold 4 * 6 * (5 + 6) = 264 numbers, the head's 6 * 29 = 174, or 6 * 50 = 300.
@pytest.mark.parametrize(
    ("vocab_size", "min_weights", "changes_layer", "changes_head"),
    [(29, 174, True, True), (29, 175, True, False), (29, 264, True, False), (50, 265, False, True)],
)
def test_large_matrices_alone_are_changed(tmp_path, monkeypatch, vocab_size, min_weights, changes_layer, changes_head):
    messages: list[str] = []
    monkeypatch.setattr(quantization_lstm.logger, "warning", messages.append)
    model = make_model(LstmForCausalLM, num_hidden_layers=1, vocab_size=vocab_size)
    int8 = load(model, tmp_path, LstmInt8Config(min_weights=min_weights))
    assert (int8.model.layers[0].int8_weight is not None) == changes_layer
    assert isinstance(int8.lm_head, Int8Linear) == changes_head
    assert not any(module.training for module in int8.modules())
    assert not messages


def test_tied_embeddings_are_not_rounded(tmp_path):
    model = make_model(LstmForCausalLM, tie_word_embeddings=True, embedding_size=6)
    int8 = load(model, tmp_path)
    assert isinstance(int8.lm_head, Int8Linear)
    assert torch.equal(int8.model.embed_tokens.weight, model.model.embed_tokens.weight)


def test_copy_of_a_model_computes_the_same(tmp_path):
    int8 = load(make_model(LstmForCausalLM), tmp_path)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(int8)(make_input_ids()).logits, int8(make_input_ids()).logits)


def test_long_texts_in_chunks_are_near_one_pass(tmp_path):
    int8 = load(make_model(LstmForSequenceClassification, classifier_pooling="max"), tmp_path)
    with torch.no_grad():
        whole = int8(make_input_ids(), MASK).logits
        chunks = int8.classify_in_chunks(make_input_ids(), MASK, chunk_length=3).logits
    torch.testing.assert_close(chunks, whole, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("config", [EVERYTHING, EVERYTHING.to_dict()])
def test_code_beside_the_weights_loads_in_int8(tmp_path, config):
    model = make_model(LstmForSequenceClassification, num_hidden_layers=1)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "quantization_lstm.py").is_file()
    int8 = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, trust_remote_code=True, quantization_config=config
    )
    assert int8.model.layers[0].int8_weight is not None
    with torch.no_grad():
        logits = int8(make_input_ids(), MASK).logits
        assert relative_error(logits, model(make_input_ids(), MASK).logits) < RELATIVE_ERROR


def test_auto_class_loads_in_int8(tmp_path):
    make_model(LstmForSequenceClassification).save_pretrained(tmp_path)
    int8 = AutoModelForSequenceClassification.from_pretrained(tmp_path, quantization_config=EVERYTHING)
    assert isinstance(int8.classifier, Int8Linear)


def test_saving_is_refused_before_anything_is_written(tmp_path):
    int8 = load(make_model(LstmForCausalLM), tmp_path / "float32")
    for part in (int8, int8.model):
        with pytest.raises(ValueError, match="int8 cannot be saved"):
            part.save_pretrained(tmp_path / "int8")
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize("make", [lambda: make_model(LstmForCausalLM), make_talkative_seq2seq_model])
def test_resizing_is_refused(tmp_path, make):
    int8 = load(make(), tmp_path)
    with pytest.raises(ValueError, match="int8 cannot be resized"):
        int8.resize_token_embeddings(50)


def test_other_weights_are_refused(tmp_path):
    model = make_model(LstmForCausalLM)
    int8 = load(model, tmp_path)
    with pytest.raises(ValueError, match="int8 cannot be given other weights"):
        int8.load_state_dict(model.state_dict(), strict=False)


def test_weights_without_those_in_int8_are_not_given_out(tmp_path):
    int8 = load(make_model(LstmForCausalLM), tmp_path / "float32")
    for part in (int8, int8.model):
        with pytest.raises(ValueError, match="int8 cannot be saved"):
            part.state_dict()
    with pytest.raises(ValueError, match="int8 cannot be saved"):
        nn.ModuleDict({"model": int8}).state_dict()
    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(int8)
    with torch.no_grad():
        assert torch.equal(prepared(make_input_ids()).logits, int8(make_input_ids()).logits)
    with pytest.raises(ValueError, match="int8 cannot be saved"):
        accelerator.save_model(prepared, tmp_path / "int8")


def test_saving_an_encoder_alone_is_refused(tmp_path):
    int8 = load(make_talkative_seq2seq_model(), tmp_path / "float32")
    with pytest.raises(ValueError, match="int8 cannot be saved"):
        int8.get_encoder().save_pretrained(tmp_path / "int8")


def test_training_is_refused(tmp_path):
    int8 = load(make_model(LstmForSequenceClassification), tmp_path / "float32")
    with pytest.raises(ValueError, match="int8 cannot be trained"):
        int8.train()
    with pytest.raises(ValueError, match="quantized"):
        Trainer(int8, TrainingArguments(tmp_path, use_cpu=True, report_to="none"))
    loss = int8(make_input_ids(), MASK, labels=torch.arange(len(MASK)) % 4).loss
    with pytest.raises(RuntimeError, match="does not require grad"):
        loss.backward()


def test_float_model_of_the_same_folder_trains_and_saves_afterwards(tmp_path):
    int8 = load(make_model(LstmModel), tmp_path)
    LstmModel(int8.config).train()
    model = LstmModel.from_pretrained(tmp_path).train()
    model.save_pretrained(tmp_path / "again")
    assert "quantization_config" not in (tmp_path / "again" / "config.json").read_text()


@pytest.mark.parametrize("as_dict", [False, True])
def test_model_of_the_configuration_of_one_in_int8_is_an_ordinary_one_again(tmp_path, as_dict):
    config = load(make_model(LstmForCausalLM), tmp_path).config
    assert config.quantization_config.quant_method == quantization_lstm.METHOD
    if as_dict:
        config.quantization_config = config.quantization_config.to_dict()
    LstmForCausalLM(config).save_pretrained(tmp_path / "again")
    assert "quantization_config" not in (tmp_path / "again" / "config.json").read_text()
    assert isinstance(LstmForCausalLM.from_pretrained(tmp_path / "again").lm_head, nn.Linear)


def test_quantization_by_another_method_stays_in_the_configuration(tmp_path):
    model = make_model(LstmModel)
    model.config.quantization_config = {"quant_method": "theirs"}
    model.save_pretrained(tmp_path)
    assert '"theirs"' in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("min_weights", [-1, 2.5, "all", True])
def test_wrong_size_is_refused(min_weights):
    with pytest.raises(ValueError, match="min_weights"):
        LstmInt8Config(min_weights=min_weights)


def test_other_devices_and_processors_are_refused(tmp_path, monkeypatch):
    make_model(LstmModel).save_pretrained(tmp_path)
    for device_map in ("cuda", {"": "cuda"}):
        with pytest.raises(ValueError, match="`device_map` is .*cuda"):
            LstmModel.from_pretrained(tmp_path, quantization_config=EVERYTHING, device_map=device_map)
    with pytest.raises(ValueError, match="runs on the CPU"):
        Int8Weight(torch.randn(3, 5)).multiply(torch.randn(2, 5, device="meta"))
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        with pytest.raises(ImportError, match="oneDNN False"):
            LstmModel.from_pretrained(tmp_path, quantization_config=EVERYTHING)
    monkeypatch.setattr(quantization_lstm.platform, "machine", lambda: "aarch64")
    with pytest.raises(ImportError, match="aarch64"):
        LstmModel.from_pretrained(tmp_path, quantization_config=EVERYTHING)


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_device_may_be_named(tmp_path, device_map):
    int8 = load(make_model(LstmModel), tmp_path, device_map=device_map)
    assert int8.layers[0].int8_weight is not None


@pytest.mark.parametrize("num_beams", [1, 3])
def test_bfloat16_loads_and_generates_what_float32_does(tmp_path, num_beams):
    model = make_talkative_seq2seq_model(attention_type="luong_general")
    model.save_pretrained(tmp_path)
    half = LstmForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16)
    options = {"num_beams": num_beams, "max_new_tokens": 6, "do_sample": False}
    pairs = [each.generate(make_source(), attention_mask=MASK, **options) for each in (half, model)]
    assert (pairs[0] == pairs[1]).all(dim=1).float().mean() >= 0.5


def test_multiplies_while_another_thread_compiles(tmp_path, monkeypatch):
    int8, input_ids = load(make_model(LstmForCausalLM), tmp_path), make_input_ids()
    with torch.no_grad():
        expected = int8(input_ids).logits
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert torch.equal(int8(input_ids).logits, expected)
