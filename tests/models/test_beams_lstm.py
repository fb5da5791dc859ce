"""Beam search by bare steps: the hypotheses, scores and rows of transformers' loop, whatever ends when."""

import itertools

import pytest
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteriaList,
)

from hf_lstm import LstmForCausalLM
from tests.models.factories import EVERYTHING, check_same_results, make_input_ids, make_model, make_talkative_model

ENDS = {"none": None, "rare": 8, "frequent": list(range(3, 16)), "nearly_always": list(range(5, 29))}


class BansAllButOneToken(LogitsProcessor):
    """Leaves all other beams without a continuation, whose scores become -inf."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        banned = torch.full_like(scores, -torch.inf)
        banned[:, 7] = scores[:, 7]
        return banned


class BansAllButOneBeam(LogitsProcessor):
    """Leaves a single continuation to the first of three beams, and none to the others."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        banned = torch.full_like(scores, -torch.inf)
        banned[::3, 7] = scores[::3, 7]
        return banned


class RaisesInPlace(LogitsProcessor):
    """Changes what it is given."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, 5] += input_ids.shape[1] / 4
        return scores


def generate(model: LstmForCausalLM, batch_size: int = 3, processors=(), criteria=(), **arguments):
    fields = {"max_new_tokens": 7, "pad_token_id": 0, "bos_token_id": 2, "do_sample": False}
    torch.manual_seed(3)
    return model.generate(
        make_input_ids(batch_size, 4),
        attention_mask=torch.ones(batch_size, 4),
        generation_config=GenerationConfig(**fields | EVERYTHING | arguments),
        logits_processor=LogitsProcessorList(processors),
        stopping_criteria=StoppingCriteriaList(criteria),
    )


def check(monkeypatch, **arguments) -> None:
    """Compares both loops where one token is always the likeliest, and where each depends on those before."""
    models = [make_model(LstmForCausalLM, seed, eos_token_id=None) for seed in range(2)]
    for model in (*models, make_talkative_model(seed=3, eos_token_id=None)):
        steps, read_token = [], model.read_token
        model.read_token = lambda *inputs, steps=steps, read=read_token: steps.append(1) or read(*inputs)
        ours = generate(model, **arguments)
        assert len(steps) == len(ours.scores) - 1
        with monkeypatch.context() as patch:
            patch.setattr(LstmForCausalLM, "_takes_steps", lambda self: False)
            check_same_results(ours, generate(model, **arguments))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.5])
def test_hypotheses_that_end_are_ranked_alike(monkeypatch, end, early_stopping, length_penalty):
    for num_beams, batch_size in itertools.product((2, 5), (1, 3)):
        options = {"early_stopping": early_stopping, "length_penalty": length_penalty, "eos_token_id": ENDS[end]}
        options |= {"num_beams": num_beams, "num_return_sequences": num_beams, "batch_size": batch_size}
        check(monkeypatch, **options)


@pytest.mark.parametrize("end", ENDS)
def test_sampled_hypotheses_are_ranked_alike(monkeypatch, end):
    check(monkeypatch, num_beams=4, num_return_sequences=3, do_sample=True, eos_token_id=ENDS[end])


@pytest.mark.parametrize("pad_token_id", [0, 5])
def test_what_is_shorter_is_filled_alike(monkeypatch, pad_token_id):
    options = {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": list(range(9, 20))}
    check(monkeypatch, pad_token_id=pad_token_id, **options)

    assert (generate(make_model(LstmForCausalLM), pad_token_id=pad_token_id, **options).beam_indices < 0).any()


@pytest.mark.parametrize("processor", [BansAllButOneToken, BansAllButOneBeam, RaisesInPlace])
@pytest.mark.parametrize("end", ENDS)
def test_processors_of_any_kind_are_called_alike(monkeypatch, processor, end):
    options = {"num_beams": 3, "num_return_sequences": 3, "eos_token_id": ENDS[end]}
    check(monkeypatch, processors=[processor()], **options)
    check(monkeypatch, processors=[processor()], eos_token_id=ENDS[end])  # greedy
    check(monkeypatch, min_new_tokens=5, forced_eos_token_id=9, **options)


def test_a_single_new_token_and_a_criterion_of_another_kind(monkeypatch):
    check(monkeypatch, num_beams=4, num_return_sequences=2, max_new_tokens=1)
    check(monkeypatch, num_beams=4, criteria=[MaxTimeCriteria(1e9)])
    check(monkeypatch, criteria=[MaxTimeCriteria(1e9)], eos_token_id=[9, 10])


@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_shorter_of_two_lengths_ends_all(monkeypatch, num_beams):
    check(monkeypatch, num_beams=num_beams, criteria=[MaxLengthCriteria(7), MaxLengthCriteria(9)])


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_criterion_that_reads_sequences_and_scores_is_called_alike(monkeypatch, num_beams):
    def ends_at_odd_sums(input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        assert len(scores) == input_ids.shape[1] - 4
        ends = input_ids.sum(dim=1) % 5 == 4
        return ends if num_beams > 1 else ends.long()  # which transformers takes from one beam, too

    check(monkeypatch, num_beams=num_beams, criteria=[ends_at_odd_sums], pad_token_id=0, eos_token_id=9)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_sequence_that_a_criterion_has_ended_does_not_go_on(monkeypatch, num_beams):
    def ends_after_some_tokens(input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        return input_ids[:, -1] % 5 == 4

    options = {"num_beams": num_beams, "do_sample": True, "eos_token_id": 9}
    check(monkeypatch, criteria=[ends_after_some_tokens], **options)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_criterion_is_given_no_scores_that_are_not_returned(num_beams):
    given = []

    def never_ends(input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        given.append(scores)
        return torch.zeros(len(input_ids), dtype=torch.bool)

    generate(make_model(LstmForCausalLM), num_beams=num_beams, criteria=[never_ends], return_dict_in_generate=False)
    assert given == [None] * 7


def test_little_memory_is_refused_as_by_transformers():
    with pytest.raises(ValueError, match="`low_memory=True` is not supported"):
        generate(make_model(LstmForCausalLM), num_beams=3, low_memory=True)


def test_scores_are_in_float32_whatever_the_default(monkeypatch):
    model = make_model(LstmForCausalLM)
    expected = generate(model, num_beams=3)
    torch.set_default_dtype(torch.float64)
    try:
        check_same_results(generate(model, num_beams=3), expected)
    finally:
        torch.set_default_dtype(torch.float32)
