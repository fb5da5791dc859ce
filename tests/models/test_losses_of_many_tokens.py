"""The loss that scores a piece of the tokens at a time, held against the plain one of all scores."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.utils._python_dispatch import TorchDispatchMode

from hf_lstm import LstmForCausalLM
from hf_lstm.models import losses_lstm
from hf_lstm.models.layers_lstm import OutputLayer
from hf_lstm.models.losses_lstm import head_token_loss, token_loss
from tests.models.factories import make_input_ids, make_model, make_seq2seq_model, make_source, make_target

NUM_TOKENS, INPUT_SIZE, VOCAB_SIZE = 700, 11, 37


@pytest.fixture(autouse=True)
def go_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses_lstm, "_MANY_SCORES", 0)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that an operation puts out, and counts matrix products."""

    def __init__(self):
        super().__init__()
        self.numel = self.products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.products += function._schema.name in ("aten::mm", "aten::addmm", "aten::addmm_")
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            self.numel = max(self.numel, tensor.numel() if torch.is_tensor(tensor) else 0)
        return result


def make_head(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(INPUT_SIZE, VOCAB_SIZE, dtype=dtype)


def make_tokens(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden_states = torch.randn(NUM_TOKENS, INPUT_SIZE, generator=generator).to(dtype).requires_grad_()
    return hidden_states, torch.randint(VOCAB_SIZE, (NUM_TOKENS,), generator=generator)


def backward(head: nn.Module, hidden_states: torch.Tensor, loss: torch.Tensor) -> list[torch.Tensor]:
    """Returns the loss and its gradients, scaled as accumulated batches scale them."""
    return [loss.detach(), *torch.autograd.grad(loss / 3, [hidden_states, *head.parameters()])]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_loss_of_a_double_head_is_computed_in_double(monkeypatch, label_smoothing):
    monkeypatch.setattr(losses_lstm, "_SCORED_TOKENS", 4)
    head, (hidden_states, labels) = make_head(torch.float64), make_tokens(torch.float64)

    hidden_states = hidden_states[:13].detach().requires_grad_()

    def compute_loss(*tensors):
        return head_token_loss(head, hidden_states, labels[:13], label_smoothing=label_smoothing)

    assert compute_loss().grad_fn.next_functions[0][0].name() == "_LinearCrossEntropyBackward"
    assert torch.autograd.gradcheck(compute_loss, (hidden_states, head.weight, head.bias))


@pytest.mark.parametrize("num_items_in_batch", [None, 911, torch.tensor(911)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_loss_and_gradients_are_those_of_all_scores(label_smoothing, num_items_in_batch):
    head, (hidden_states, labels) = make_head(), make_tokens()
    arguments = (num_items_in_batch, label_smoothing)
    found = backward(head, hidden_states, head_token_loss(head, hidden_states, labels, *arguments))
    plain = token_loss(head(hidden_states), labels, VOCAB_SIZE, *arguments)
    for ours, theirs in zip(found, backward(head, hidden_states, plain)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_scores_whose_exponentials_overflow_have_a_loss():
    head, (hidden_states, labels) = make_head(), make_tokens()
    head.weight.data *= 500
    assert head(hidden_states).exp().amax() == torch.inf
    found = backward(head, hidden_states, head_token_loss(head, hidden_states, labels))
    plain = token_loss(head(hidden_states), labels, VOCAB_SIZE)
    for ours, theirs in zip(found, backward(head, hidden_states, plain)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_loss_in_bfloat16_is_as_close_to_float32_as_that_of_all_scores(autocast):
    dtype = torch.float32 if autocast else torch.bfloat16
    head, (hidden_states, labels) = make_head(dtype), make_tokens(dtype)

    def run(loss) -> list[torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = loss(head, hidden_states, labels)
        return backward(head, hidden_states, value)

    exact_head, exact_states = make_head().requires_grad_(), hidden_states.detach().float().requires_grad_()
    exact_head.load_state_dict(head.state_dict())
    exact = backward(exact_head, exact_states, token_loss(exact_head(exact_states), labels, VOCAB_SIZE))
    ours = run(head_token_loss)
    theirs = run(lambda head, states, labels: token_loss(head(states), labels, VOCAB_SIZE))
    assert [tensor.dtype for tensor in ours] == [tensor.dtype for tensor in theirs]
    for found, plain, wanted in zip(ours, theirs, exact):
        scale = wanted.abs().max()
        assert (found.float() - wanted).abs().max() <= max(1.5 * (plain.float() - wanted).abs().max(), 5e-3 * scale)


@pytest.mark.parametrize("head_class", [nn.Linear, OutputLayer])
def test_scores_are_never_held_all_at_once(head_class):
    head, (hidden_states, labels) = head_class(INPUT_SIZE, VOCAB_SIZE), make_tokens()
    with LargestTensor() as largest:
        head_token_loss(head, hidden_states, labels).backward()
    assert largest.numel <= 256 * VOCAB_SIZE < NUM_TOKENS * VOCAB_SIZE


def test_heads_that_are_hooked_or_wrapped_are_called():
    head, (hidden_states, labels) = make_head(), make_tokens()
    plain = token_loss(head(hidden_states), labels, VOCAB_SIZE)
    calls = []
    head.register_forward_hook(lambda *_: calls.append("forward"))
    head.register_full_backward_hook(lambda *_: calls.append("backward"))
    loss = head_token_loss(head, hidden_states, labels)
    loss.backward()
    assert calls == ["forward", "backward"]
    torch.testing.assert_close(loss, plain)

    doubled = nn.Sequential(make_head(), nn.Linear(VOCAB_SIZE, VOCAB_SIZE))
    wanted = token_loss(doubled(hidden_states), labels, VOCAB_SIZE)
    torch.testing.assert_close(head_token_loss(doubled, hidden_states, labels), wanted)


def test_torch_func_gives_the_gradients_of_backward():
    model, input_ids = make_model(LstmForCausalLM), make_input_ids(120, 7)
    parameters = dict(model.named_parameters())

    def compute_loss(parameters):
        arguments = {"input_ids": input_ids, "labels": input_ids, "output_logits": False}
        return functional_call(model, parameters, (), arguments).loss

    gradients = grad(compute_loss)({name: parameter.detach() for name, parameter in parameters.items()})
    compute_loss(parameters).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_weights_of_another_kind_are_left_to_the_head():
    class Weight(torch.Tensor):
        """A tensor that multiplies in its own way, as quantized ones do."""

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            result = super().__torch_function__(function, types, args, kwargs or {})
            return 2 * result.as_subclass(torch.Tensor) if function is nn.functional.linear else result

    head, (hidden_states, labels) = make_head(), make_tokens()
    head.weight = nn.Parameter(head.weight.detach().as_subclass(Weight), requires_grad=False)
    wanted = token_loss(head(hidden_states), labels, VOCAB_SIZE)
    torch.testing.assert_close(head_token_loss(head, hidden_states, labels), wanted)


@pytest.mark.parametrize(("frozen", "products"), [((), 9), (("head",), 6), (("states",), 6), (("head", "states"), 1)])
def test_gradients_of_frozen_parts_are_not_computed(frozen, products):
    head, (hidden_states, labels) = make_head(), make_tokens()
    head.requires_grad_("head" not in frozen)
    hidden_states.requires_grad_("states" not in frozen)
    with LargestTensor() as counter:
        loss = head_token_loss(head, hidden_states, labels)
        if loss.requires_grad:
            loss.backward()
    assert counter.products == products
    assert (head.weight.grad is None) == ("head" in frozen)
    assert (hidden_states.grad is None) == ("states" in frozen)


def test_second_derivatives_are_refused():
    head, (hidden_states, labels) = make_head(), make_tokens()
    loss = head_token_loss(head, hidden_states, labels)
    with pytest.raises(RuntimeError, match="no second derivatives .* `output_logits=True`"):
        torch.autograd.grad(loss, hidden_states, create_graph=True)


def test_gradients_are_released_with_the_graph():
    head, (hidden_states, labels) = make_head(), make_tokens()
    loss = head_token_loss(head, hidden_states, labels)
    function = loss.grad_fn.next_functions[0][0]
    assert len(function.saved_tensors) == 3
    loss.backward()
    with pytest.raises(RuntimeError, match="have already been freed"):
        len(function.saved_tensors)


def test_autocast_leaves_float64_alone():
    head, (hidden_states, labels) = make_head(torch.float64), make_tokens(torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head_token_loss(head, hidden_states, labels)
    torch.testing.assert_close(loss, token_loss(head(hidden_states), labels, VOCAB_SIZE), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("num_tokens", "input_size", "vocab_size"), [(256, 5, 10**4), (600, 700, 10**4), (700, 5, 2800)]
)
def test_few_scores_are_held_together(monkeypatch, num_tokens, input_size, vocab_size):
    monkeypatch.undo()
    head, labels = nn.Linear(input_size, vocab_size), torch.zeros(num_tokens, dtype=torch.long)
    loss = head_token_loss(head, torch.randn(num_tokens, input_size), labels)
    assert loss.grad_fn.name() == "NllLossBackward0"


def test_loss_without_gradients_equals_that_with_them_and_computes_none():
    head, (hidden_states, labels) = make_head(), make_tokens()
    with torch.no_grad(), LargestTensor() as counter:
        loss = head_token_loss(head, hidden_states, labels)
    assert counter.products == 1
    torch.testing.assert_close(loss, head_token_loss(head, hidden_states, labels).detach())


@pytest.mark.parametrize("tied", [False, True])
def test_language_model_learns_the_same_with_and_without_scores(tied):
    model = make_model(LstmForCausalLM, tie_word_embeddings=tied).train()
    input_ids = make_input_ids(50, 14)
    labels = input_ids.masked_fill(input_ids % 5 == 0, -100)
    shifted = nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    losses = [
        model(input_ids, labels=labels, output_logits=True).loss,
        model(input_ids, labels=labels, output_logits=False).loss,
        model(input_ids, shift_labels=shifted, output_logits=False).loss,
    ]
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for loss, gradient in zip(losses[1:], gradients[1:]):
        torch.testing.assert_close(loss, losses[0])
        for ours, theirs in zip(gradient, gradients[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("asked", [True, False])
def test_language_model_smooths_labels_with_and_without_scores(asked):
    model, input_ids = make_model(LstmForCausalLM).train(), make_input_ids(50, 14)
    logits = model(input_ids).logits[:, :-1].flatten(0, 1)
    wanted = nn.functional.cross_entropy(logits, input_ids[:, 1:].flatten(), label_smoothing=0.3)
    result = model(input_ids, labels=input_ids, label_smoothing=0.3, output_logits=asked)
    torch.testing.assert_close(result.loss, wanted)
    assert (result.logits is not None) == asked


def test_encoder_decoder_learns_the_same_with_and_without_scores():
    model, source, labels = make_seq2seq_model().train(), make_source(60, 5), make_target(60, 9)
    losses = [model(source, labels=labels, output_logits=asked, label_smoothing=0.1).loss for asked in (True, False)]
    torch.testing.assert_close(losses[1], losses[0])
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: make_model(LstmForCausalLM), make_seq2seq_model])
def test_a_loss_that_was_put_in_is_given_all_scores(make):
    model, shapes = make().train(), []

    def loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **kwargs) -> torch.Tensor:
        shapes.append((logits.shape[-1], vocab_size))
        return logits.sum()

    model.loss_function = loss
    labels = torch.full((40, 9), 5)
    result = model(torch.full((40, 9), 6), labels=labels, output_logits=False)
    assert shapes == [(model.config.vocab_size, model.config.vocab_size)]
    assert result.logits is None
    assert result.loss.requires_grad
