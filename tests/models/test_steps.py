"""Generation by bare steps: whatever is done to parts of a model has the effect that it has on `forward`."""

import inspect

import pytest
import torch
from torch import nn
from transformers import LogitsProcessorList, MinLengthLogitsProcessor, MinNewTokensLengthLogitsProcessor

from hf_lstm import LstmForCausalLM
from hf_lstm.models import prepacking_lstm
from tests.models.factories import (
    EVERYTHING,
    check_same_results,
    make_input_ids,
    make_source,
    make_talkative_model,
    make_talkative_seq2seq_model,
)

REQUEST = {"max_new_tokens": 8, "pad_token_id": 0, "eos_token_id": None} | EVERYTHING
KINDS = ["language_model", "seq2seq"]
MODES = {"greedy": {}, "sampling": {"do_sample": True}, "beam": {"num_beams": 2}}


def make(kind: str, **overrides) -> nn.Module:
    return (make_talkative_seq2seq_model if kind == "seq2seq" else make_talkative_model)(**overrides)


def find_stack(model: nn.Module) -> nn.Module:
    """Returns what holds the layers that write."""
    return model.model if isinstance(model, LstmForCausalLM) else model.get_decoder()


def generate(model: nn.Module, batch_size: int = 2, **arguments):
    torch.manual_seed(0)
    inputs = (make_input_ids if isinstance(model, LstmForCausalLM) else make_source)(batch_size, 5)
    return model.generate(inputs, attention_mask=torch.ones_like(inputs), **REQUEST | arguments)


def generate_by_forward(model: nn.Module, **arguments):
    """Generates by transformers' loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "_takes_steps", lambda self: False)
        return generate(model, **arguments)


def hook(module: nn.Module) -> None:
    module.register_forward_hook(lambda module, inputs, output: -output)


def hook_last_position(module: nn.Module) -> None:
    module.register_forward_hook(lambda module, inputs, output: output.index_fill(1, torch.tensor([0]), 0.5))


CHANGES = {
    "hooked input dropout": lambda model, stack: hook(stack.input_dropout),
    "hooked hidden dropout": lambda model, stack: hook(stack.hidden_dropout),
    "hooked output dropout": lambda model, stack: hook(stack.output_dropout),
    "hooked norm": lambda model, stack: hook_last_position(stack.layers[0].layer_norm),
    "hooked embeddings": lambda model, stack: hook_last_position(stack.embed_tokens),
    "another dropout": lambda model, stack: setattr(stack, "hidden_dropout", nn.Tanh()),
    "dropout in training": lambda model, stack: stack.output_dropout.train(),
    "layer in training": lambda model, stack: stack.layers[0].train(),
    "part in training": lambda model, stack: stack.train(),
    "base model in training": lambda model, stack: model.model.train(),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_heed_what_is_done_to_parts(kind, change, mode):
    dropouts = {"hidden_dropout": 0.4, "output_dropout": 0.3, "embedding_dropout": 0.2, "weight_dropout": 0.1}
    model = make(kind, layer_norm=True, **dropouts)
    before = generate(model, **MODES[mode]).sequences
    CHANGES[change](model, find_stack(model))
    ours, theirs = generate(model, **MODES[mode]), generate_by_forward(model, **MODES[mode])
    check_same_results(ours, theirs)
    assert not torch.equal(ours.sequences, before)


PARTS = {
    "head": ("language_model", {}, lambda model: model.lm_head),
    "projection": (
        "language_model",
        {"tie_word_embeddings": True},
        lambda model: model.lm_projection,
    ),
    "attention": ("seq2seq", {}, lambda model: model.get_decoder().attention),
    "readout": ("seq2seq", {"attention_type": "none"}, lambda model: model.get_decoder().readout),
    "head after readout": (
        "seq2seq",
        {"attention_type": "bahdanau", "input_feeding": True},
        lambda model: model.lm_head,
    ),
    "head after layers": (
        "seq2seq",
        {"attention_type": "none", "tie_word_embeddings": False},
        lambda model: model.lm_head,
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_state_stays_where_a_part_changes_its_input(part):
    kind, overrides, find = PARTS[part]
    model = make(kind, **overrides)
    assert find(model) is not None
    before = generate(model).sequences

    def change(module: nn.Module, inputs: tuple) -> None:
        inputs[0].mul_(-2)

    find(model).register_forward_pre_hook(change)
    ours, theirs = generate(model), generate_by_forward(model)
    check_same_results(ours, theirs)
    assert not torch.equal(ours.sequences, before)


def test_state_stays_where_a_head_works_in_place():
    model = make("language_model")
    model.lm_head = nn.Sequential(nn.ReLU(inplace=True), model.lm_head)
    check_same_results(generate(model), generate_by_forward(model))


class Buffered(nn.Module):
    """A head that writes its scores into the same memory each time."""

    def __init__(self, head: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.head, self.scores = head, torch.zeros(shape)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.scores.copy_(self.head(hidden_states))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_scores_are_kept_where_a_head_gives_the_same_memory(kind, mode):
    model = make(kind, tie_word_embeddings=False)
    expected = generate(model, **MODES[mode])
    shape = (2 * MODES[mode].get("num_beams", 1), 1, model.config.vocab_size)
    model.lm_head = Buffered(model.lm_head, shape)
    check_same_results(generate(model, **MODES[mode]), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_takes_of_the_head_is_left_by_processors(kind, mode):
    model, taken, kept = make(kind), [], []
    model.lm_head.register_forward_hook(
        lambda module, inputs, output: taken.append(output) or kept.append(output.clone()) or None
    )
    generate(model, logits_processor=LogitsProcessorList([lambda tokens, scores: scores.add_(100)]), **MODES[mode])
    assert len(taken) == 8
    assert all(torch.equal(*pair) for pair in zip(taken, kept))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "num_threads"), [(torch.bfloat16, 1), (torch.float32, 1), (torch.float32, 2)], ids=str
)
def test_steps_with_weights_laid_out_give_the_very_tokens_and_scores_of_forward(
    kind, mode, dtype, num_threads, batch_size, threads, monkeypatch
):
    monkeypatch.setattr(prepacking_lstm, "_LEAST_STEP_WEIGHTS", 0)
    threads(num_threads)
    model = make(kind).to(dtype)
    arguments = MODES[mode] | {"batch_size": batch_size}
    ours, theirs = generate(model, **arguments), generate_by_forward(model, **arguments)
    assert all(scores.dtype == torch.float32 for scores in (*ours.scores, *ours.logits))
    check_same_results(ours, theirs)


PROCESSORS = {
    "bfloat16": lambda tokens, scores: scores.bfloat16(),
    "float64": lambda tokens, scores: scores.double(),
    "parameter": lambda tokens, scores: nn.Parameter(scores),
    "negative bit": lambda tokens, scores: torch.complex(scores, -scores).conj().imag,
    "every second": lambda tokens, scores: torch.stack([scores, -scores], dim=-1)[..., 0],
    "all alike": lambda tokens, scores: torch.zeros_like(scores),
    "one is no number": lambda tokens, scores: scores.index_fill(1, torch.tensor([7]), torch.nan),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSORS.values(), ids=PROCESSORS)
def test_highest_scores_are_found_whatever_a_processor_returns(kind, process):
    model, processors = make(kind), LogitsProcessorList([process])
    ours, theirs = (each(model, logits_processor=processors) for each in (generate, generate_by_forward))
    assert torch.equal(ours.sequences, theirs.sequences)


def test_tokens_are_written_where_gradients_or_transformations_are_wanted():
    model = make("language_model")
    input_ids = make_input_ids(2, 5)
    expected = model.generate(input_ids, do_sample=False, **REQUEST).sequences
    with_gradients = inspect.unwrap(type(model).generate)(model, input_ids, do_sample=False, **REQUEST)
    assert with_gradients.scores[0].requires_grad
    assert torch.equal(with_gradients.sequences, expected)

    def write(weight: torch.Tensor) -> torch.Tensor:
        weights = {"lm_head.weight": weight}
        result = torch.func.functional_call(model, weights, (input_ids,), {"use_cache": True})
        tokens.append(model.generate(input_ids, do_sample=False, **REQUEST).sequences)
        return result.logits.sum()

    tokens: list[torch.Tensor] = []
    torch.func.grad(write)(model.lm_head.weight.detach())
    assert torch.equal(tokens[0], expected)


def test_recorded_logits_of_beams_are_kept_where_a_processor_calls_the_model():
    model = make("language_model", tie_word_embeddings=False)
    expected = generate(model, num_beams=2)
    model.lm_head = Buffered(model.lm_head, (4, 1, model.config.vocab_size))

    def call_model(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        model(tokens[:, -1:])
        return scores

    processors = LogitsProcessorList([call_model])
    check_same_results(generate(model, num_beams=2, logits_processor=processors), expected)


def test_recorded_scores_of_beams_are_kept_where_a_processor_gives_the_same_memory():
    model = make("language_model")
    memory = torch.zeros(4, model.config.vocab_size)
    processors = LogitsProcessorList([lambda tokens, scores: memory.copy_(scores)])
    check_same_results(generate(model, num_beams=2, logits_processor=processors), generate(model, num_beams=2))


class Reversed(MinLengthLogitsProcessor):
    """Does more than its base class."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return -super().__call__(input_ids, scores)


# The prompt of the language model has five tokens, that of the decoder one.
EARLY, LATE = [*range(4, 17), 10**6], torch.tensor([20, 21, -3, 10**6])
LEAST_LENGTHS = {
    "new tokens": {"min_new_tokens": 4},
    "tokens": {"min_length": 4},
    "more tokens than new ones": {
        "min_new_tokens": 3,
        "logits_processor": LogitsProcessorList([MinLengthLogitsProcessor(10, EARLY)]),
    },
    "other tokens that end": {
        "min_new_tokens": 3,
        "logits_processor": LogitsProcessorList([MinLengthLogitsProcessor(11, LATE)]),
    },
    "ends of another type": {"min_new_tokens": 4, "eos_token_id": torch.tensor(EARLY[:3], dtype=torch.int32)},
    "no end": {"logits_processor": LogitsProcessorList([MinLengthLogitsProcessor(8, [])])},
    "scores that are overwritten": {
        "min_length": 2,
        "logits_processor": LogitsProcessorList([lambda tokens, scores: scores.mul_(0.5)]),
    },
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("least", LEAST_LENGTHS.values(), ids=LEAST_LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_a_least_length_get_the_very_scores_of_transformers(kind, least, mode, monkeypatch):
    model, request = make(kind), MODES[mode] | {"eos_token_id": EARLY} | least
    expected = generate_by_forward(model, **request)
    for processor in (MinLengthLogitsProcessor, MinNewTokensLengthLogitsProcessor):
        monkeypatch.delattr(processor, "__call__")
    check_same_results(generate(model, **request), expected)


def test_processors_derived_from_those_for_a_least_length_are_called():
    model, processors = make("language_model"), LogitsProcessorList([Reversed(7, LATE)])
    ours, theirs = (each(model, logits_processor=processors) for each in (generate, generate_by_forward))
    check_same_results(ours, theirs)
    assert not torch.equal(ours.sequences, generate(model).sequences)
