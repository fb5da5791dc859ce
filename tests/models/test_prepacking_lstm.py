"""Weights that are kept prepacked: seen to be the same, copied, freed, and of steps as of whole sequences."""

import contextvars
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate import disk_offload
from torch import nn
from transformers import LogitsProcessorList

from hf_lstm import LstmForCausalLM, LstmTokenizer
from hf_lstm.models import prepacking_lstm
from hf_lstm.models.kernels_lstm import padded_lstm, step_lstm
from hf_lstm.models.layers_lstm import LstmLayer, OutputLayer
from hf_lstm.models.padding_lstm import find_padding
from hf_lstm.models.prepacking_lstm import (
    Prepacking,
    _are_same,
    fixed_parameters,
    has_onednn_kernel,
    is_faster_in_float32,
    is_prepackable,
    is_prepackable_step,
    takes_onednn,
)
from tests.models.factories import make_input_ids, make_model, make_seq2seq_model, randomize

REQUEST = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}


@pytest.fixture
def prepackings(monkeypatch):
    """Holds an item for each time that weights of an LSTM layer were prepacked: none where they cannot be."""
    calls, prepack = [], prepacking_lstm._prepack
    monkeypatch.setattr(prepacking_lstm, "_prepack", lambda *a: calls.append(1) or prepack(*a))
    return calls


@pytest.fixture
def small_steps(monkeypatch):
    """Makes steps take prepacked weights, however few these are."""
    monkeypatch.setattr(prepacking_lstm, "_LEAST_STEP_WEIGHTS", 0)


# Rounding of the result, and of what is summed up to it.
TOLERANCES = {torch.float32: {}, torch.bfloat16: {"rtol": 0.02, "atol": 0.02}}


def widen(tensors):
    """Returns tensors, and lists of them, in float32."""
    return [tensor.float() if torch.is_tensor(tensor) else widen(tensor) for tensor in tensors]


CHANGES = {
    "in place": lambda weight, value: weight.copy_(value),
    "by data": lambda weight, value: weight.data.copy_(value),
    "replaced": lambda weight, value: setattr(weight, "data", value.clone()),
    "by numpy": lambda weight, value: weight.numpy().__setitem__(slice(None), value.numpy()),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["weight_ih_l0_reverse", "weight_hh_l0", "bias_hh_l0"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_weights_are_prepacked_anew_when_one_has_changed(change, name, mode, prepackings):
    with mode():
        layer = randomize(LstmLayer(64, 128, bidirectional=True)).eval().requires_grad_(False)
        inputs, lengths = torch.randn(8, 200, 64), torch.tensor([200, 9, 8, 7, 6, 5, 4, 3])
        padding = find_padding(torch.arange(200) < lengths.unsqueeze(1))
        for _ in range(2):
            layer(inputs, padding)
        assert len(prepackings) == is_prepackable(inputs)
        change(getattr(layer, name), getattr(layer, name) * 2)
        expected = padded_lstm(inputs, padding, None, None, layer.parameter_list(), False)
        for result, other in zip(layer(inputs, padding), expected, strict=True):
            torch.testing.assert_close(result, other)


def test_prepacked_weights_are_not_looked_at_while_they_are_fixed(monkeypatch, prepackings):
    layer, other = (randomize(LstmLayer(6, 6), seed).eval() for seed in (1, 2))
    looks, inputs = [], torch.randn(2, 5, 6)
    monkeypatch.setattr(prepacking_lstm, "_are_same", lambda *a: looks.append(1) or _are_same(*a))
    with torch.no_grad():
        for _ in range(2):
            with fixed_parameters():
                found = [layer(inputs)[0] for _ in range(3)]
            assert all(torch.equal(each, found[0]) for each in found)
        assert len(prepackings) == len(looks) == is_prepackable(inputs)
        layer.load_state_dict(other.state_dict())
        with fixed_parameters():
            assert torch.equal(layer(inputs)[0], other(inputs)[0])


def test_two_threads_may_read_while_parameters_are_fixed():
    layer, inputs = randomize(LstmLayer(6, 6)).eval(), torch.randn(2, 5, 6)
    with torch.no_grad():
        expected = layer(inputs)[0]

    def read(_):
        with torch.no_grad(), fixed_parameters():
            return [layer(inputs)[0] for _ in range(20)]

    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(read, range(8)):
            for result in results:
                torch.testing.assert_close(result, expected)
    layer.weight_hh_l0.data *= 2
    expected = padded_lstm(inputs, None, None, None, layer.parameter_list(), False)[0].detach()
    torch.testing.assert_close(read(0)[0], expected)


def test_training_copies_and_files_keep_nothing_prepacked():
    layer, inputs = randomize(LstmLayer(6, 6)).eval(), torch.randn(2, 5, 6)
    with torch.no_grad(), fixed_parameters():
        expected = layer(inputs)[0]
        for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert copied.prepacking._kept == Prepacking()._kept
            assert torch.equal(copied(inputs)[0], expected)
    assert layer.train().prepacking._kept == Prepacking()._kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 33])
def test_steps_with_prepacked_weights_change_nothing(batch_size, mode, dtype, small_steps):
    layer = randomize(LstmLayer(10, 7)).eval().to(dtype)
    parameters, prepacking = layer.parameter_list(), Prepacking()
    inputs, *states = (torch.randn(batch_size, size, dtype=dtype) for size in (10, 7, 7))
    can_prepack = is_prepackable(inputs) and has_onednn_kernel(dtype)
    with mode():
        expected = torch.lstm_cell(*widen([inputs, states, *parameters]))
        assert not is_prepackable_step(inputs, parameters)
        with fixed_parameters():
            assert is_prepackable_step(inputs, parameters) == can_prepack
            for _ in range(2):
                for result, other in zip(step_lstm(inputs, *states, parameters, prepacking), expected, strict=True):
                    assert result.dtype == dtype
                    torch.testing.assert_close(result, other.to(dtype), **TOLERANCES[dtype])
        assert (prepacking._kept == Prepacking()._kept) == (not can_prepack)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 2), (2, 1), (5, 3), (33,)])
def test_output_layer_is_a_linear_one(shape, mode, dtype, small_steps):
    layer = randomize(OutputLayer(12, 19)).eval().to(dtype)
    inputs = torch.randn(*shape, 12, dtype=dtype)
    can_prepack = is_prepackable(inputs) and has_onednn_kernel(dtype)
    for _ in range(2):
        with mode(), fixed_parameters():
            expected = nn.functional.linear(*widen([inputs, layer.weight, layer.bias])).to(dtype)
            for other in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                torch.testing.assert_close(other(inputs), expected, **TOLERANCES[dtype])
            is_plain = shape == (1, 2) or not can_prepack  # several tokens of one sequence
            assert (layer.prepacking._kept == Prepacking()._kept) == is_plain
        layer.weight.data *= 2
    assert layer.train().prepacking._kept == Prepacking()._kept


@pytest.mark.parametrize("num_threads", [1, 2])
def test_single_rows_are_read_by_columns_with_one_thread(num_threads, threads, small_steps):
    layer, head = randomize(LstmLayer(10, 7)).eval(), randomize(OutputLayer(7, 19)).eval()
    inputs, *states = (torch.randn(1, size) for size in (10, 7, 7))
    threads(num_threads)
    with torch.no_grad(), fixed_parameters():
        expected = torch.lstm_cell(inputs, states, *layer.parameter_list())
        hidden, cell = step_lstm(inputs, *states, layer.parameter_list(), layer.prepacking)
        torch.testing.assert_close((hidden, cell), expected)
        torch.testing.assert_close(head(hidden), nn.functional.linear(hidden, head.weight, head.bias))
    kind = "columns" if num_threads == 1 else "plain"
    for module in (layer, head) if is_prepackable(inputs.detach()) and has_onednn_kernel(torch.float32) else ():
        assert [kept for _, kept in module.prepacking._kept[1]] == [kind]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_steps_in_other_types_are_plain(dtype, small_steps):
    layer, inputs = randomize(OutputLayer(12, 19)).eval().to(dtype), torch.randn(3, 12, dtype=dtype)
    with torch.no_grad(), fixed_parameters():
        assert torch.equal(layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias))


def test_steps_of_mixed_types_are_left_to_torch(small_steps):
    layer, (inputs, *states) = randomize(LstmLayer(10, 7)).eval(), (torch.randn(3, size) for size in (10, 7, 7))
    parameters, narrow = layer.parameter_list(), [parameter.bfloat16() for parameter in layer.parameters()]
    assert not takes_onednn(inputs, narrow)
    with torch.no_grad(), fixed_parameters():
        assert is_prepackable_step(inputs, parameters, *states) == is_prepackable(inputs)
        assert not is_prepackable_step(inputs, narrow, *states)
        assert not is_prepackable_step(inputs, parameters, states[0], states[1].bfloat16())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_states_get_gradients_through_fixed_weights(batch_size, small_steps):
    layer = randomize(LstmLayer(10, 7)).eval().requires_grad_(False)
    inputs, *states = (torch.randn(batch_size, size, requires_grad=size == 7) for size in (10, 7, 7))
    expected = torch.autograd.grad(torch.lstm_cell(inputs, states, *layer.parameter_list())[1].sum(), states)
    with fixed_parameters():
        cell = step_lstm(inputs, *states, layer.parameter_list(), layer.prepacking)[1]
    for ours, theirs in zip(torch.autograd.grad(cell.sum(), states), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("device", "batch_size"), [("cpu", 0), ("meta", 3), ("meta", 1)])
def test_steps_of_no_sequences_and_on_other_devices_have_their_shapes(device, batch_size, small_steps):
    layer, head = LstmLayer(10, 7).eval().to(device), OutputLayer(7, 19).eval().to(device)
    inputs, *states = (torch.zeros(batch_size, size, device=device) for size in (10, 7, 7))
    with torch.no_grad(), fixed_parameters():
        hidden, cell = step_lstm(inputs, *states, layer.parameter_list(), layer.prepacking)
        assert hidden.shape == cell.shape == (batch_size, 7)
        assert head(hidden).shape == (batch_size, 19)


def test_nothing_is_read_by_onednn_where_it_is_off_nor_prepacked_on_other_processors(monkeypatch, small_steps):
    parameters, inputs = LstmLayer(10, 7).parameter_list(), torch.zeros(3, 10)
    with torch.no_grad(), fixed_parameters():
        with monkeypatch.context() as patch:
            patch.setattr(torch._C, "_get_mkldnn_enabled", lambda: False)
            assert not has_onednn_kernel(torch.float32)
            assert not is_faster_in_float32(torch.bfloat16)
            assert not is_prepackable_step(inputs, parameters)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
        assert not has_onednn_kernel(torch.bfloat16)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
        for is_made_for_it in (False, True):
            monkeypatch.setattr(prepacking_lstm, "is_made_for_bfloat16", lambda found=is_made_for_it: found)
            assert has_onednn_kernel(torch.bfloat16) == is_made_for_it == (not is_faster_in_float32(torch.bfloat16))
        monkeypatch.setattr(prepacking_lstm.platform, "machine", lambda: "aarch64")
        assert not is_prepackable(inputs)
        monkeypatch.setattr(prepacking_lstm, "is_made_for_bfloat16", lambda: False)
        assert has_onednn_kernel(torch.bfloat16)


def test_steps_are_plain_where_more_is_wanted_than_their_result(small_steps):
    layer, inputs = randomize(OutputLayer(12, 19)).eval(), torch.randn(3, 12)
    parameters = [layer.weight, layer.bias]
    with fixed_parameters():
        assert not is_prepackable_step(inputs, parameters)
        assert layer(inputs).requires_grad
        with torch.no_grad():
            assert is_prepackable_step(inputs, parameters) == is_prepackable(inputs)
            with torch.autocast("cpu", torch.bfloat16):
                assert layer(inputs).dtype == torch.bfloat16
            doubled = torch.func.functional_call(layer, {"weight": layer.weight * 2}, inputs)
            expected = nn.functional.linear(inputs, layer.weight * 2, layer.bias)
            torch.testing.assert_close(doubled, expected)
            each = torch.func.vmap(layer)(inputs.unsqueeze(0))
            torch.testing.assert_close(each[0], nn.functional.linear(inputs, *parameters))


def test_weights_of_a_class_of_their_own_are_not_prepacked():
    class Weight(torch.Tensor):
        """Such as quantized ones, whose numbers lie elsewhere."""

    assert not is_prepackable(torch.zeros(2, 3), torch.zeros(4, 3).as_subclass(Weight))


PRECISIONS = {
    "by function": lambda: torch.set_float32_matmul_precision("medium"),
    "of everything": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "of products": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "of cuda": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}


@pytest.fixture
def kept_precision():
    """Puts torch's precision of products back to what it is at first."""
    yield
    torch.set_float32_matmul_precision("highest")
    for settings in (torch.backends, torch.backends.mkldnn.matmul, torch.backends.cuda.matmul):
        settings.fp32_precision = "none"


@pytest.mark.parametrize("has_bfloat16", [False, True])
@pytest.mark.parametrize("change", PRECISIONS.values(), ids=PRECISIONS)
def test_lower_precision_of_products_goes_before_prepacked_weights(
    change, has_bfloat16, small_steps, kept_precision, monkeypatch
):
    monkeypatch.setattr(prepacking_lstm, "has_onednn_kernel", lambda dtype: has_bfloat16 or dtype != torch.bfloat16)
    layer, inputs = randomize(OutputLayer(12, 19)).eval(), torch.randn(3, 12)
    with torch.no_grad(), fixed_parameters():
        expected = nn.functional.linear(inputs, layer.weight, layer.bias)
        change()
        is_lower = change is not PRECISIONS["of cuda"]
        can_prepack = is_prepackable_step(inputs, [layer.weight, layer.bias])
        assert can_prepack == (is_prepackable(inputs) and not (has_bfloat16 and is_lower))
        torch.testing.assert_close(layer(inputs), expected, rtol=0.02, atol=0.02)


@pytest.mark.skipif(not has_onednn_kernel(torch.bfloat16), reason="the processor has no instructions for bfloat16")
def test_precision_of_products_in_float32_is_nothing_to_bfloat16(small_steps, kept_precision):
    layer, inputs = OutputLayer(12, 19).eval().to(torch.bfloat16), torch.randn(3, 12, dtype=torch.bfloat16)
    torch.set_float32_matmul_precision("medium")
    with torch.no_grad(), fixed_parameters():
        assert is_prepackable_step(inputs, [layer.weight, layer.bias]) == is_prepackable(inputs)


@pytest.mark.parametrize(
    "change", [lambda tensor: tensor.t().contiguous().t(), lambda tensor: tensor[:1].expand(3, -1)]
)
def test_strides_are_minded(change, small_steps):
    layer = randomize(LstmLayer(3, 3)).eval().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.data = torch.stack([parameter, parameter], dim=-1)[..., 0]
        assert not parameter.is_contiguous()
    inputs, *states = (change(torch.randn(3, 3)) for _ in range(3))
    head = randomize(OutputLayer(3, 19)).eval().requires_grad_(False)
    head.bias.data = torch.stack([head.bias, head.bias], dim=-1)[..., 0]
    expected = torch.lstm_cell(inputs, states, *layer.parameter_list())
    scores = nn.functional.linear(inputs, head.weight, head.bias)
    sequence = padded_lstm(inputs.unsqueeze(0), None, None, None, layer.parameter_list(), False)[0]
    with fixed_parameters():
        result = step_lstm(inputs, *states, layer.parameter_list(), layer.prepacking)
        for ours, theirs in zip(result, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(head(inputs), scores)
        torch.testing.assert_close(layer(inputs.unsqueeze(0))[0], sequence)


def test_output_layer_may_have_no_bias(small_steps):
    layer, inputs = randomize(OutputLayer(12, 19)).eval(), torch.randn(3, 12)
    layer.bias = None
    with torch.no_grad(), fixed_parameters():
        torch.testing.assert_close(layer(inputs), inputs @ layer.weight.t())


def test_compiled_steps_are_plain(small_steps):
    model = make_model(LstmForCausalLM)
    input_ids = make_input_ids(3, 1)

    def read(read_token) -> torch.Tensor:
        state = model(input_ids).cache
        return read_token(input_ids, state)

    with torch.no_grad(), fixed_parameters():
        torch.testing.assert_close(
            read(torch.compile(model.read_token, backend="eager", fullgraph=True)), read(model.read_token)
        )


def test_task_that_outlives_a_request_sees_changes(small_steps):
    layer, inputs = randomize(OutputLayer(12, 19)).eval(), torch.randn(3, 12)
    with torch.no_grad():
        with fixed_parameters():
            layer(inputs)
            task = contextvars.copy_context()
        layer.weight.data *= 2
        expected = nn.functional.linear(inputs, layer.weight, layer.bias)
        torch.testing.assert_close(task.run(layer, inputs), expected)

        def read_again() -> torch.Tensor:
            with fixed_parameters():
                return layer(inputs)

        torch.testing.assert_close(task.run(read_again), expected)


def test_changes_are_seen_after_a_request_that_fails(small_steps):
    layer, inputs = randomize(OutputLayer(12, 19)).eval(), torch.randn(3, 12)

    def fail() -> None:
        with fixed_parameters():
            layer(inputs)
            raise KeyError

    with torch.no_grad():
        with pytest.raises(KeyError):
            fail()
        layer.weight.data *= 2
        with fixed_parameters():
            torch.testing.assert_close(layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias))


@pytest.mark.parametrize("num_beams", [1, 2])
def test_offloaded_weights_are_not_kept(num_beams, small_steps, tmp_path):
    model, input_ids = make_model(LstmForCausalLM), make_input_ids(3, 4)
    expected = model.generate(input_ids, num_beams=num_beams, **REQUEST)
    keepers = [module for module in model.modules() if hasattr(module, "prepacking")]
    assert len(keepers) == len(model.model.layers) + 1
    assert all((keeper.prepacking._kept != Prepacking()._kept) == is_prepackable(input_ids) for keeper in keepers)
    model.to(torch.float32)
    assert all(keeper.prepacking._kept == Prepacking()._kept for keeper in keepers)
    disk_offload(model, tmp_path, execution_device=torch.device("cpu"))
    assert torch.equal(model.generate(input_ids, num_beams=num_beams, **REQUEST), expected)
    assert all(keeper.prepacking._kept == Prepacking()._kept for keeper in keepers)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_weights_may_change_between_requests(batch_size, small_steps):
    model, other = (make_model(LstmForCausalLM, seed=seed) for seed in (1, 2))
    input_ids = make_input_ids(batch_size, 4)
    expected = [each.generate(input_ids, **REQUEST) for each in (model, other)]
    assert not torch.equal(*expected)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.generate(input_ids, **REQUEST), expected[1])


def test_single_rows_and_batches_keep_weights_side_by_side(threads, small_steps):
    threads(1)
    layer = randomize(OutputLayer(12, 19)).eval()
    single, batch = torch.randn(1, 12), torch.randn(3, 12)
    with torch.no_grad():
        for factor in (1, 2):
            layer.weight.data *= factor
            expected = [nn.functional.linear(inputs, layer.weight, layer.bias) for inputs in (single, batch)]
            with fixed_parameters():
                for _ in range(2):
                    for inputs, scores in zip((single, batch), expected):
                        torch.testing.assert_close(layer(inputs), scores)
            assert len(layer.prepacking._kept[1]) == 2 * is_prepackable(single)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_weights_are_kept_apart_from_the_storage_that_they_had(batch_size, small_steps):
    layer = randomize(LstmLayer(10, 7)).eval().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.data = parameter.data.t().contiguous().t()
    inputs, *states = (torch.randn(batch_size, size) for size in (10, 7, 7))
    former = [parameter.data for parameter in layer.parameters()]
    expected = torch.lstm_cell(inputs, states, *layer.parameter_list())
    with torch.no_grad():
        for number in range(2):
            with fixed_parameters():
                found = step_lstm(inputs, *states, layer.parameter_list(), layer.prepacking)
            for ours, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(ours, theirs)
            if number == 0:
                for parameter, data in zip(layer.parameters(), former, strict=True):
                    parameter.data = data.clone()
                    data.fill_(torch.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4,), (2, 5), (0, 3)])
def test_tensors_are_the_same_by_their_bytes(shape, dtype):
    tensor = torch.rand(shape, dtype=dtype)
    whole = torch.zeros(tensor.numel() + 1, dtype=dtype)
    shifted = whole[1:].view(shape).copy_(tensor)  # begins between two wide integers
    nothing = torch.full_like(tensor, torch.nan)
    assert _are_same([tensor, nothing], [tensor.clone(), nothing.clone()])
    assert _are_same([tensor], [shifted])
    for place in range(tensor.numel()):
        changed = tensor.clone()
        changed.view(-1)[place] += 1
        assert not _are_same([tensor], [changed])


def test_tensors_of_another_shape_or_type_are_not_the_same():
    zeros = torch.zeros(4, 6)
    for other in (zeros.view(6, 4), zeros[:1], torch.zeros(4, 12, dtype=torch.bfloat16), zeros.int()):
        assert not _are_same([zeros], [other])


def test_weights_are_looked_at_once_a_request(small_steps, prepackings, monkeypatch):
    looks, model = [], make_model(LstmForCausalLM)
    monkeypatch.setattr(prepacking_lstm, "_are_same", lambda *a: looks.append(1) or _are_same(*a))
    input_ids, kept = make_input_ids(3, 1), len(model.model.layers) + 1  # and the output layer
    can_prepack = is_prepackable(torch.zeros(1))
    for requests in range(3):
        model.generate(input_ids, **REQUEST)
        assert len(looks) == requests * kept * can_prepack
    looks.clear()
    with fixed_parameters(model):
        for _ in range(3):
            model.generate(input_ids, **REQUEST)
    assert len(looks) == kept * can_prepack
    assert len(prepackings) == len(model.model.layers) * can_prepack


@pytest.mark.parametrize("num_beams", [1, 2])
def test_request_within_that_of_another_model_sees_changes(num_beams, small_steps):
    model, input_ids = make_model(LstmForCausalLM), make_input_ids(3, 4)
    inner, other = (make_model(LstmForCausalLM, seed=seed) for seed in (1, 2))
    expected = [each.generate(input_ids, num_beams=num_beams, **REQUEST) for each in (inner, other)]
    assert not torch.equal(*expected)
    results = []

    def process(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if len(results) < 2:
            results.append(inner.generate(input_ids, num_beams=num_beams, **REQUEST))
            inner.load_state_dict(other.state_dict())
        return scores

    model.generate(input_ids, num_beams=num_beams, logits_processor=LogitsProcessorList([process]), **REQUEST)
    assert [result.tolist() for result in results] == [result.tolist() for result in expected]


def test_batches_of_a_prediction_share_one_look(small_steps, monkeypatch):
    tokenizer = LstmTokenizer.train_from_iterator(["ab cd ef gh"], vocab_size=23, min_frequency=1)
    looks, model = [], make_seq2seq_model()
    monkeypatch.setattr(prepacking_lstm, "_are_same", lambda *a: looks.append(1) or _are_same(*a))
    request = {"batch_size": 2, "max_new_tokens": 3, "eos_token_id": None}
    model.predict(["ab", "cd ef"], tokenizer, **request)
    looks.clear()
    model.predict(["ab", "cd ef", "gh", "ef"] * 3, tokenizer, **request)
    keepers = [module for module in model.modules() if hasattr(module, "prepacking")]
    assert len(looks) <= len(keepers)
    assert bool(looks) == is_prepackable(torch.zeros(1))


def test_output_layer_of_a_resized_model_is_prepacked(small_steps):
    model, input_ids = make_model(LstmForCausalLM).requires_grad_(False), make_input_ids(3, 4)
    model.resize_token_embeddings(37)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    result = model.generate(input_ids, **REQUEST)
    assert (model.lm_head.prepacking._kept != Prepacking()._kept) == is_prepackable(input_ids)
    assert torch.equal(pickle.loads(pickle.dumps(model)).generate(input_ids, **REQUEST), result)


@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_layer_that_is_put_in_becomes_an_output_layer_with_its_parameters_and_hooks(has_bias):
    model, linear, calls = make_model(LstmForCausalLM), nn.Linear(6, 29, bias=has_bias, dtype=torch.float64), []
    linear.weight.requires_grad_(False)
    linear.register_forward_hook(lambda *_: calls.append(1))
    inputs, parameters = torch.randn(2, 6, dtype=torch.float64), dict(linear.named_parameters())
    expected = linear(inputs)
    model.set_output_embeddings(linear)
    assert type(model.get_output_embeddings()) is OutputLayer
    assert all(found is parameters[name] for name, found in model.lm_head.named_parameters())
    assert torch.equal(model.lm_head(inputs), expected)
    assert len(calls) == 2
    model.set_output_embeddings(derived := type("Derived", (nn.Linear,), {})(6, 29))
    assert model.lm_head is derived
    assert type(derived) is not OutputLayer
