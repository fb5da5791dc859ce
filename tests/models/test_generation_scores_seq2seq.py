"""What `generate` returns of the encoder–decoder's scores, and beam search against enumeration of all sequences."""

import itertools

import pytest
import torch
from transformers import GenerationConfig

from hf_lstm import LstmForConditionalGeneration
from tests.models.factories import COPYING, make_seq2seq_model, make_source, make_talkative_seq2seq_model

RUNS = {"at_once": {}, "feeding": {"input_feeding": True, "attention_type": "bahdanau"}, "copying": COPYING}
END, LENGTH, SIZE = 3, 4, 5


def score(model: LstmForConditionalGeneration, source: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the log-probability of each token after the first of `targets`, by one forward pass."""
    with torch.no_grad():
        logits = model(source, decoder_input_ids=targets[:, :-1], use_cache=False).logits
    return logits.log_softmax(dim=-1).gather(2, targets[:, 1:, None]).squeeze(2)


@pytest.fixture(scope="module", params=RUNS)
def small_model(request) -> LstmForConditionalGeneration:
    fields = RUNS[request.param]
    model = make_seq2seq_model(
        vocab_size=SIZE, **{"encoder_vocab_size": None if "copy_attention" in fields else 23} | fields
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.fixture(scope="module", params=RUNS)
def model(request) -> LstmForConditionalGeneration:
    return make_talkative_seq2seq_model(**RUNS[request.param])


def all_sequences() -> list[tuple[int, ...]]:
    """Returns all that may be generated: what ends with the end token, and what is as long as allowed."""
    others = [token for token in range(SIZE) if token != END]
    finished = [(*start, END) for length in range(LENGTH) for start in itertools.product(others, repeat=length)]
    return finished + list(itertools.product(others, repeat=LENGTH))


def enumerate_best(model, source: torch.Tensor, length_penalty: float, number: int) -> list[tuple[float, list[int]]]:
    scored = []
    for length, group in itertools.groupby(sorted(all_sequences(), key=len), key=len):
        targets = torch.tensor([(2, *sequence) for sequence in group])
        totals = score(model, source.expand(len(targets), -1), targets).sum(dim=1) / length**length_penalty
        scored += zip(totals.tolist(), targets.tolist(), strict=True)
    return sorted(scored, reverse=True)[:number]


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.5])
def test_beam_as_wide_as_the_space_finds_the_best_sequences(small_model, length_penalty):
    lengths = set()
    for seed in range(4):
        source = make_source(1, 6, seed) % small_model.config.source_vocab_size
        result = small_model.generate(
            source,
            generation_config=GenerationConfig(
                num_beams=SIZE**LENGTH,
                num_return_sequences=3,
                length_penalty=length_penalty,
                early_stopping="never",
                max_new_tokens=LENGTH,
                eos_token_id=END,
                pad_token_id=0,
                decoder_start_token_id=2,
                output_scores=True,
                return_dict_in_generate=True,
            ),
        )
        best = enumerate_best(small_model, source, length_penalty, 3)
        for row, (total, sequence) in enumerate(best):
            found = result.sequences[row].tolist()
            # transformers fills up with the end token where the padding token is number 0.
            assert found == sequence + [END] * (len(found) - len(sequence))
            assert result.sequences_scores[row].item() == pytest.approx(total, abs=1e-5)
            lengths.add(len(sequence))
    assert len(lengths) > 1 or length_penalty >= 1


def run(model, source, mask=None, **arguments):
    wanted = dict.fromkeys(
        ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states"),
        True,
    )
    fields = {"max_new_tokens": 7, "pad_token_id": 0, "decoder_start_token_id": 2} | wanted
    return model.generate(source, attention_mask=mask, generation_config=GenerationConfig(**fields | arguments))


def test_scores_logits_and_states_of_each_step_equal_a_forward_pass(model):
    source, mask = make_source(2, 6), torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]])
    result = run(model, source, mask)
    with torch.no_grad():
        whole = model(
            source,
            mask,
            result.sequences[:, :-1],
            output_hidden_states=True,
            output_attentions=True,
            use_cache=False,
        )
    torch.testing.assert_close(torch.stack(result.logits, dim=1), whole.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.stack(result.scores, dim=1), whole.logits, rtol=1e-4, atol=1e-4)
    attentions = torch.cat([step[0] for step in result.cross_attentions], dim=2)
    torch.testing.assert_close(attentions, whole.cross_attentions[0])
    assert attentions.shape == (2, model.get_decoder().attention.num_heads, 7, 6)
    assert [len(step) for step in result.decoder_hidden_states] == [4] * 7
    for layer, states in enumerate(whole.decoder_hidden_states):
        steps = torch.cat([step[layer] for step in result.decoder_hidden_states], dim=1)
        torch.testing.assert_close(steps, states)
    for ours, theirs in zip(result.encoder_hidden_states, whole.encoder_hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"do_sample": True, "top_k": 0},
        {"num_beams": 3, "length_penalty": 0.7},
        {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0, "eos_token_id": [8, 9, 10]},
    ],
)
def test_transition_scores_equal_those_recomputed_by_a_forward_pass(model, mode):
    source = make_source(2, 6)
    result = run(model, source, **mode)
    indices = getattr(result, "beam_indices", None)
    transitions = model.compute_transition_scores(
        result.sequences, result.scores, indices, normalize_logits=indices is None
    )
    rows = source.repeat_interleave(mode.get("num_return_sequences", 1), dim=0)
    recomputed = score(model, rows, result.sequences)
    new = result.sequences[:, 1:]
    lengths = torch.full((len(new),), new.shape[1]) if indices is None else (indices >= 0).sum(dim=1)
    is_token = torch.arange(new.shape[1]) < lengths[:, None]
    torch.testing.assert_close(transitions[is_token], recomputed[is_token], rtol=1e-4, atol=1e-5)
    if indices is not None:
        totals = (recomputed * is_token).sum(dim=1) / lengths ** mode["length_penalty"]
        torch.testing.assert_close(result.sequences_scores, totals, rtol=1e-4, atol=1e-5)
