"""`generate` in all its modes: the carried state gives what reading the whole sequence again at each step gives."""

import copy

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

from hf_lstm import LstmCache, LstmForCausalLM, LstmModel
from hf_lstm.models import prepacking_lstm
from tests.models.factories import ADAPTIVE, EVERYTHING, check_same_results, make_input_ids, make_model

NUM_NEW = 9
MODES = {
    "greedy": {},
    "sampling": {"do_sample": True, "temperature": 0.7, "top_k": 8},
    "beam": {"num_beams": 3},
    "beam_sampling": {"num_beams": 3, "do_sample": True},
    "several_samples": {"do_sample": True, "num_return_sequences": 3},
    "several_beams": {"num_beams": 4, "num_return_sequences": 2},
    "repetition_penalty": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
}


def make_talkative_model(seed: int = 1, **overrides) -> LstmForCausalLM:
    """Returns a model whose large weights make every next token depend on all before: dull text would test little."""
    sizes = {"num_hidden_layers": 2, "embedding_size": 13, "hidden_size": 14, "last_hidden_size": 17}
    model = make_model(LstmForCausalLM, seed=seed, **sizes | overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        head = model.lm_head.head if model.config.adaptive_softmax_cutoffs else model.lm_head
        head.bias.zero_()
        head.bias[:4] = -100.0
    return model


@pytest.fixture(
    scope="module",
    params=[{}, ADAPTIVE | {"embedding_rank": 11, "seed": 9}],
    ids=["plain", "large_vocabulary"],
)
def model(request) -> LstmForCausalLM:
    return make_talkative_model(**request.param)


def settings(**arguments) -> GenerationConfig:
    fields = {
        "max_new_tokens": NUM_NEW,
        "pad_token_id": 0,
        "eos_token_id": None,
        "bos_token_id": 2,
        "do_sample": False,
    }
    return GenerationConfig(**fields | arguments)


def generate(model: LstmForCausalLM, input_ids: torch.Tensor, attention_mask=None, **arguments) -> torch.Tensor:
    torch.manual_seed(0)
    names = ("assistant_model", "cache", "streamer", "inputs_embeds")
    direct = {name: arguments.pop(name) for name in names if name in arguments}
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return model.generate(input_ids, attention_mask=mask, generation_config=settings(**arguments), **direct)


def greedy_reference(model: LstmForCausalLM, input_ids: torch.Tensor, num_new: int = NUM_NEW) -> torch.Tensor:
    """Appends the best token again and again, each time from the beginning of an unpadded sequence."""
    for _ in range(num_new):
        with torch.no_grad():
            logits = model(input_ids, use_cache=False).logits[:, -1]
        input_ids = torch.cat([input_ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return input_ids


@pytest.mark.parametrize("mode", MODES)
def test_generation_with_and_without_the_state_is_the_same(model, mode):
    input_ids = make_input_ids(2, 5)
    cached = generate(model, input_ids, **MODES[mode])
    assert torch.equal(cached, generate(model, input_ids, use_cache=False, **MODES[mode]))
    rows = 2 * MODES[mode].get("num_return_sequences", 1)
    assert cached.shape == (rows, 5 + NUM_NEW)


def test_greedy_generation_equals_the_plain_loop(model):
    input_ids = make_input_ids(3, 4)
    expected = greedy_reference(model, input_ids)
    assert min(len(set(row[4:].tolist())) for row in expected) > 3
    assert torch.equal(generate(model, input_ids), expected)


def test_each_generated_step_reads_one_token(model, monkeypatch):
    lengths = []
    for name in ("forward", "read_token"):
        read = getattr(LstmForCausalLM, name)
        monkeypatch.setattr(
            LstmForCausalLM,
            name,
            lambda self, input_ids=None, *arguments, read=read, **kwargs: (
                lengths.append(input_ids.shape[1]) or read(self, input_ids, *arguments, **kwargs)
            ),
        )
    generate(model, make_input_ids(2, 5))
    assert lengths == [5] + [1] * (NUM_NEW - 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"last_hidden_size": None, "hidden_size": 13, "layer_norm": True, "residual_connections": True},
        {"tie_word_embeddings": True},
        {"embedding_rank": 5, "adaptive_softmax_cutoffs": [6, 12], "adaptive_softmax_div_value": 2},
    ],
    ids=["plain", "norm_and_residuals", "tied", "factorised_and_adaptive"],
)
@pytest.mark.parametrize("least_weights", [2**19, 0], ids=["plain", "prepacked"])
def test_steps_give_the_very_tokens_and_scores_of_forward(mode, variant, least_weights, monkeypatch):
    monkeypatch.setattr(prepacking_lstm, "_LEAST_STEP_WEIGHTS", least_weights)
    model = make_talkative_model(**variant)
    steps, input_ids = count_steps(model, monkeypatch), make_input_ids(3, 5)
    input_ids[1, :2] = 0
    mask = (input_ids != 0).long()
    result = generate(model, input_ids, mask, **EVERYTHING, **MODES[mode])
    assert len(steps) == len(result.scores) - 1
    hook = model.model.layers[0].register_forward_hook(lambda *_: None)
    expected = generate(model, input_ids, mask, **EVERYTHING, **MODES[mode])
    hook.remove()
    assert len(steps) == len(result.scores) - 1
    check_same_results(result, expected)


def count_steps(model: LstmForCausalLM, monkeypatch) -> list[int]:
    """Returns a list that grows with each step which leaves out the model's `forward`."""
    steps, step = [], model.model.step
    monkeypatch.setattr(model.model, "step", lambda ids, cache: steps.append(1) or step(ids, cache), raising=False)
    return steps


def test_steps_are_taken_after_hidden_states_were_asked_for(model, monkeypatch):
    steps, input_ids = count_steps(model, monkeypatch), make_input_ids(2, 5)
    expected = generate(model, input_ids)
    assert len(model(input_ids, output_hidden_states=True).hidden_states) == 3
    assert torch.equal(generate(model, input_ids), expected)
    assert len(steps) == 2 * (expected.shape[1] - 6)


@pytest.mark.parametrize("given", ["attentions", "state"])
def test_steps_are_taken_without_attentions_and_from_an_empty_state_of_any_type(model, monkeypatch, given):
    expected, steps = generate(model, make_input_ids(2, 5)), count_steps(model, monkeypatch)
    arguments = {"output_attentions": True} if given == "attentions" else {"cache": LstmCache(2)}
    assert torch.equal(generate(model, make_input_ids(2, 5), **arguments), expected)
    assert len(steps) == NUM_NEW - 1


def test_arguments_that_steps_do_not_read_are_given_to_forward_with_each_token(model, monkeypatch):
    given, read = [], LstmForCausalLM.forward
    monkeypatch.setattr(
        LstmForCausalLM,
        "forward",
        lambda self, *inputs, **kwargs: given.append(kwargs["num_items_in_batch"]) or read(self, *inputs, **kwargs),
    )
    model.generate(make_input_ids(2, 5), generation_config=settings(), num_items_in_batch=31)
    assert given == [31] * NUM_NEW


@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_processes_wait_for_each_other_after_each_token(model, mode, monkeypatch):
    waits = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flag, op: waits.append(1))
    model.generate(make_input_ids(2, 5), generation_config=settings(**MODES[mode]), synced_gpus=True)
    assert len(waits) >= NUM_NEW


def test_steps_are_not_taken_where_every_module_is_hooked(model):
    input_ids, calls = make_input_ids(2, 5), []
    expected = generate(model, input_ids)
    hook = register_module_forward_hook(lambda module, *_: calls.append(module))
    result = generate(model, input_ids)
    hook.remove()
    assert torch.equal(result, expected)
    assert calls.count(model) == expected.shape[1] - 5


def test_forward_from_a_returned_state_is_the_whole_forward(model):
    result = generate(model, make_input_ids(2, 5), return_dict_in_generate=True)
    calls = []
    hook = model.model.register_forward_hook(lambda *_: calls.append(1))
    model(result.sequences[:, -1:], cache=result.cache)
    hook.remove()
    assert calls == [1]


@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_left_padded_batch_equals_single_sequences(model, mode):
    lengths = [6, 1, 4]
    input_ids = make_input_ids(3, 6)
    mask = torch.tensor([[0] * (6 - length) + [1] * length for length in lengths])
    batch = generate(model, input_ids.masked_fill(mask == 0, 0), mask, **MODES[mode])
    for row, length in enumerate(lengths):
        alone = generate(model, input_ids[row : row + 1, 6 - length :], **MODES[mode])
        assert torch.equal(batch[row, 6:], alone[0, length:])


def test_finished_sequences_are_padded_while_others_go_on(model):
    input_ids = make_input_ids(4, 5)
    free = generate(model, input_ids)
    end = free[0, 5 + 2].item()
    stopped = generate(model, input_ids, eos_token_id=end)
    for row in range(4):
        new = free[row, 5:].tolist()
        kept = new[: new.index(end) + 1] if end in new else new
        assert stopped[row, 5:].tolist() == (kept + [0] * NUM_NEW)[: stopped.shape[1] - 5]
    assert (stopped == 0).any()


@pytest.mark.parametrize("pad_token_id", [-1, 29])
def test_padding_beyond_the_vocabulary_is_refused_where_it_would_be_read(model, pad_token_id):
    input_ids = make_input_ids(2, 5)
    end = generate(model, input_ids)[0, 7].item()
    with pytest.raises(ValueError, match=f"`pad_token_id` is {pad_token_id}, but must be from 0 to 28"):
        generate(model, input_ids, eos_token_id=end, pad_token_id=pad_token_id)
    for arguments in ({}, {"eos_token_id": end, "num_beams": 2}):
        expected = generate(model, input_ids[:1], **arguments)
        assert torch.equal(generate(model, input_ids[:1], pad_token_id=pad_token_id, **arguments), expected)


@pytest.mark.parametrize("num_beams", [0, -1])
def test_a_number_of_beams_below_one_is_refused(model, num_beams):
    with pytest.raises(ValueError, match=f"`num_beams` is {num_beams}, but must be at least 1"):
        generate(model, make_input_ids(1, 5), num_beams=num_beams)


def test_prompt_lookup_equals_greedy(model):
    input_ids = make_input_ids(1, 6).repeat(1, 3)
    expected = greedy_reference(model, input_ids)
    assert torch.equal(generate(model, input_ids, prompt_lookup_num_tokens=3), expected)


@pytest.mark.parametrize("is_alike", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_assisted_generation_equals_greedy(model, is_alike, num_layers):
    """An assistant that is the model itself is believed, another one is mostly not: both roll the states back."""
    assistant = copy.deepcopy(model) if is_alike else make_talkative_model(seed=9, num_hidden_layers=num_layers)
    for length in (1, 5):
        input_ids = make_input_ids(1, length)
        expected = greedy_reference(model, input_ids)
        assert torch.equal(generate(model, input_ids, assistant_model=assistant), expected)


def test_assisted_generation_holds_with_padding_on_the_left(model):
    input_ids = make_input_ids(1, 5)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), input_ids], dim=1)
    mask = (padded != 0).long()
    assistant = make_talkative_model(seed=9)
    expected = greedy_reference(model, input_ids)
    result = generate(model, padded, mask, assistant_model=assistant)
    assert torch.equal(result[:, 3:], expected)
    result = generate(model, padded, mask, prompt_lookup_num_tokens=2)
    assert torch.equal(result[:, 3:], expected)


def test_assisted_generation_may_ask_for_attentions_and_goes_on_from_a_state(model):
    input_ids = make_input_ids(1, 6)
    assistant = make_talkative_model(seed=9)
    expected = greedy_reference(model, input_ids)
    result = generate(
        model, input_ids, assistant_model=assistant, return_dict_in_generate=True, output_attentions=True
    )
    assert torch.equal(result.sequences, expected)
    for arguments in ({"assistant_model": assistant}, {"prompt_lookup_num_tokens": 2}):
        with torch.no_grad():
            cache = model(input_ids[:, :4], use_cache=True).cache
        assert torch.equal(generate(model, input_ids, cache=cache, **arguments), expected)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_model_assists_itself_with_its_first_layers(num_layers, monkeypatch):
    model = make_talkative_model(num_hidden_layers=num_layers, last_hidden_size=None)
    input_ids, depths = make_input_ids(1, 5), []
    expected = greedy_reference(model, input_ids)
    first, last = model.model.layers[0], model.model.layers[-1]
    for layer in {first, last}:
        layer.register_forward_hook(lambda module, *_: depths.append(module))
    assert torch.equal(generate(model, input_ids, assistant_early_exit=1), expected)
    assert num_layers == 1 or depths.count(first) > depths.count(last) > 0


@pytest.mark.parametrize(("depth", "width"), [(-1, None), (0, None), (1, 17), (3, 17)])
def test_layers_that_cannot_be_left_early_are_named(depth, width):
    model = make_talkative_model(last_hidden_size=width)
    with pytest.raises(ValueError, match=f"`assistant_early_exit` is {depth}, but must be from 1 to 2"):
        generate(model, make_input_ids(1, 5), assistant_early_exit=depth)
    assert model.config.num_hidden_layers == 2


def test_assisted_sampling_runs(model):
    assistant = make_talkative_model(seed=9)
    result = generate(model, make_input_ids(1, 5), assistant_model=assistant, do_sample=True)
    assert result.shape == (1, 5 + NUM_NEW)


@pytest.mark.parametrize("has_hook", [False, True])
def test_streamer_gets_the_tokens_in_order(model, has_hook):
    class Collector(BaseStreamer):
        def __init__(self):
            self.tokens, self.ended = [], False

        def put(self, value):
            self.tokens += value.flatten().tolist()

        def end(self):
            self.ended = True

    collector, input_ids = Collector(), make_input_ids(1, 5)
    hooks = [model.register_forward_hook(lambda *_: None)] if has_hook else []
    result = generate(model, input_ids, streamer=collector)
    for hook in hooks:
        hook.remove()
    assert collector.tokens == result[0].tolist()
    assert collector.ended


@pytest.mark.parametrize("batch_size", [1, 3])
def test_generation_continues_from_a_returned_state(model, batch_size):
    input_ids = make_input_ids(batch_size, 5)
    first = generate(model, input_ids, max_new_tokens=4, return_dict_in_generate=True)
    assert isinstance(first.cache, LstmCache)
    assert first.cache.get_seq_length() == 5 + 4 - 1
    second = generate(model, first.sequences, max_new_tokens=5, cache=first.cache)
    assert torch.equal(second, greedy_reference(model, input_ids))


def test_generation_starts_from_a_state_computed_by_forward(model):
    input_ids = make_input_ids(2, 6)
    with torch.no_grad():
        cache = model(input_ids[:, :4], use_cache=True).cache
    assert torch.equal(generate(model, input_ids, cache=cache), greedy_reference(model, input_ids))


def test_a_state_that_records_its_past_goes_back_into_what_was_generated(model):
    cache = model.make_cache()
    cache.activate_past_recording()
    result = generate(model, make_input_ids(2, 5), cache=cache)
    cache.crop(-3)
    with torch.no_grad():
        expected = model(result[:, :-4], use_cache=True).cache
    for layer, other in zip(cache.layers, expected.layers, strict=True):
        torch.testing.assert_close(layer.states(), other.states())


def test_a_cache_of_another_kind_is_named(model):
    with pytest.raises(ValueError, match="`cache` is a DynamicCache of 0 layers, but must be an LstmCache"):
        generate(model, make_input_ids(2, 5), cache=DynamicCache())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_new_tokens_alone_go_on_from_a_state_under_a_longer_mask(model, batch_size):
    input_ids = make_input_ids(batch_size, 6)
    with torch.no_grad():
        cache = model(input_ids[:, :4], use_cache=True).cache
    result = generate(model, input_ids[:, 4:], torch.ones_like(input_ids), cache=cache)
    assert torch.equal(result[:, 2:], greedy_reference(model, input_ids)[:, 6:])


@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"prefill_chunk_size": 2}, {"prompt_lookup_num_tokens": 2}, {"assistant_model": 1}],
    ids=["steps", "chunks", "prompt_lookup", "assistant"],
)
def test_a_state_that_has_read_all_tokens_is_refused(model, length, arguments):
    if "assistant_model" in arguments:
        arguments = {"assistant_model": make_talkative_model(seed=9)}
    input_ids = make_input_ids(1, 3).repeat(1, 2)
    with torch.no_grad():
        cache = model(input_ids, use_cache=True).cache
    message = f"`input_ids` holds {length} tokens, but `cache` has read 6 already: give the whole"
    with pytest.raises(ValueError, match=message):
        generate(model, input_ids[:, :length], cache=cache, **arguments)
    assert cache.get_seq_length() == 6


def test_a_state_that_has_read_all_embeddings_is_refused(model):
    embeddings = model.model.embed(make_input_ids(2, 3))
    with torch.no_grad():
        cache = model(inputs_embeds=embeddings, use_cache=True).cache
    with pytest.raises(ValueError, match="`inputs_embeds` holds 3 tokens, but `cache` has read 3 already"):
        model.generate(inputs_embeds=embeddings, cache=cache, generation_config=settings())


def test_a_state_shared_by_several_continuations_is_copied_and_repeated(model):
    input_ids = make_input_ids(1, 6)
    with torch.no_grad():
        cache = model(input_ids[:, :5], use_cache=True).cache
    cache.batch_repeat_interleave(3)
    batch = input_ids.repeat(3, 1)
    batch[:, -1] = torch.tensor([7, 8, 9])
    assert torch.equal(generate(model, batch, cache=cache), greedy_reference(model, batch))


def test_scores_logits_and_hidden_states_are_returned(model):
    input_ids = make_input_ids(2, 5)
    wanted = dict.fromkeys(("return_dict_in_generate", "output_scores", "output_logits", "output_hidden_states"), True)
    result = generate(model, input_ids, **wanted)
    with torch.no_grad():
        logits = model(result.sequences[:, :-1]).logits[:, 4:]
    assert len(result.scores) == len(result.logits) == len(result.hidden_states) == NUM_NEW
    torch.testing.assert_close(torch.stack(result.logits, dim=1), logits)
    torch.testing.assert_close(torch.stack(result.scores, dim=1), logits)
    assert [len(step) for step in result.hidden_states] == [3] * NUM_NEW
    assert result.hidden_states[1][0].shape == (2, 1, 13)


@pytest.mark.parametrize("mode", ["greedy", "beam"])
@pytest.mark.parametrize("asked", ["scores", "logits"])
def test_only_what_is_asked_for_is_returned(model, mode, asked):
    options = {"return_dict_in_generate": True, f"output_{asked}": True}
    result = generate(model, make_input_ids(2, 4), **options, **MODES[mode])

    assert [name for name in ("scores", "logits") if name in result] == [asked]
    assert ("sequences_scores" in result) == (mode == "beam" and asked == "scores")


@pytest.mark.parametrize("mode", ["greedy", "sampling", "beam", "several_beams"])
def test_generation_starts_from_embeddings(model, mode):
    input_ids = make_input_ids(2, 5)
    torch.manual_seed(0)
    result = model.generate(inputs_embeds=model.model.embed(input_ids), generation_config=settings(**MODES[mode]))
    assert torch.equal(result, generate(model, input_ids, **MODES[mode])[:, 5:])


def test_generation_starts_from_nothing_but_the_start_token(model):
    result = model.generate(generation_config=settings())
    assert torch.equal(result, greedy_reference(model, torch.tensor([[2]])))


def test_generation_of_a_model_without_cache_by_configuration():
    model = make_talkative_model(use_cache=False)
    input_ids = make_input_ids(2, 5)
    assert torch.equal(generate(model, input_ids), greedy_reference(model, input_ids))


def test_prefill_in_chunks_equals_the_whole_prompt(model):
    input_ids = make_input_ids(2, 9)
    assert torch.equal(generate(model, input_ids, prefill_chunk_size=4), greedy_reference(model, input_ids))


def test_generation_works_in_bfloat16():
    model = make_talkative_model(last_hidden_size=None).to(torch.bfloat16)
    input_ids = make_input_ids(2, 5)
    result = generate(model, input_ids, return_dict_in_generate=True)
    assert {state.dtype for state in result.cache.to_torch()} == {torch.bfloat16}
    assert result.sequences.shape == (2, 5 + NUM_NEW)


def test_a_state_of_another_type_than_the_model_is_read_by_forward():
    input_ids = make_input_ids(1, 5)
    model = make_talkative_model().to(torch.bfloat16)
    with torch.no_grad():
        past = model(input_ids[:, :4], use_cache=True).cache
    for layer in past.layers:
        layer.dtype, layer.hidden_state, layer.cell_state = torch.float32, *(s.float() for s in layer.states())
    result = generate(model, input_ids, cache=past)
    assert result.shape == (1, 5 + NUM_NEW)
    assert past.layers[0].states()[0].dtype == torch.float32


class Subclass(LstmForCausalLM):
    """A model of somebody's own."""


@pytest.mark.parametrize("change", ["autocast", "wrapped", "subclass", "training"])
def test_forward_reads_every_token_where_steps_could_differ(change, monkeypatch):
    model, input_ids, lengths = make_talkative_model(), make_input_ids(2, 5), []
    expected = generate(model, input_ids)
    read = LstmModel.forward
    monkeypatch.setattr(LstmModel, "forward", lambda *inputs, **kwargs: lengths.append(1) or read(*inputs, **kwargs))
    generate(model, input_ids)
    assert len(lengths) == 1
    model.train(change == "training")
    if change == "subclass":
        model.__class__ = Subclass
    if change == "wrapped":
        forward = model.forward
        model.forward = lambda *inputs, **kwargs: forward(*inputs, **kwargs)
    with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
        result = generate(model, input_ids)
    assert len(lengths) == 1 + NUM_NEW
    if change in ("wrapped", "subclass"):
        assert torch.equal(result, expected)


def test_a_processor_that_wants_more_is_refused_as_by_transformers(model):
    class Demanding(LogitsProcessor):
        def __call__(self, input_ids, scores, mood):
            return scores

    for num_beams in (1, 2):
        with pytest.raises(ValueError, match=r"required parameters: \['input_ids', 'scores', 'mood'\]"):
            model.generate(
                make_input_ids(1, 5),
                generation_config=settings(num_beams=num_beams),
                logits_processor=LogitsProcessorList([Demanding()]),
            )
