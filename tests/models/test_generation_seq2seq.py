"""`generate` of the encoder–decoder: the carried state gives what reading the whole target at each step gives."""

import asyncio
import copy
import threading

import pytest
import torch
from transformers import (
    AsyncTextIteratorStreamer,
    GenerationConfig,
    LogitsProcessorList,
    MaxLengthCriteria,
    MinLengthLogitsProcessor,
    StoppingCriteriaList,
    TextIteratorStreamer,
    TextStreamer,
    WatermarkingConfig,
)

from hf_lstm import LstmCache, LstmForConditionalGeneration, LstmTokenizer
from hf_lstm.models import prepacking_lstm
from tests.models.factories import (
    COPYING,
    EVERYTHING,
    check_same_results,
    make_seq2seq_model,
    make_source,
    make_talkative_seq2seq_model,
)

NUM_NEW = 8
SAMPLE = {"do_sample": True}
MODES = {
    "greedy": {},
    "sampling": SAMPLE,
    "temperature_top_k": SAMPLE | {"temperature": 0.7, "top_k": 8},
    "top_p": SAMPLE | {"top_p": 0.8, "top_k": 0},
    "min_p": SAMPLE | {"min_p": 0.02},
    "typical": SAMPLE | {"typical_p": 0.7},
    "epsilon_cutoff": SAMPLE | {"epsilon_cutoff": 0.02},
    "eta_cutoff": SAMPLE | {"eta_cutoff": 0.02, "renormalize_logits": True},
    "several_samples": SAMPLE | {"num_return_sequences": 3},
    "repetition_penalty": {"repetition_penalty": 1.6},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 2.0},
    "no_repeat_ngram": {"no_repeat_ngram_size": 1},
    "encoder_no_repeat_ngram": {"encoder_no_repeat_ngram_size": 1},
    "bad_words": {"bad_words_ids": [[4], [16, 22], [17]]},
    "sequence_bias": {"sequence_bias": [[[8], 30.0], [[9, 4], -5.0]]},
    "suppress_tokens": {"suppress_tokens": list(range(4, 12))},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(4, 20))},
    "min_new_tokens": {"min_new_tokens": 6, "eos_token_id": list(range(10, 20))},
    "min_length": {"min_length": 5, "eos_token_id": list(range(10, 20))},
    "forced_bos_and_eos": {"forced_bos_token_id": 11, "forced_eos_token_id": 12},
    "exponential_decay": {"exponential_decay_length_penalty": [2, 3.0], "eos_token_id": 9},
    "prefix_allowed_tokens": {"prefix_allowed_tokens_fn": lambda row, ids: [4 + (len(ids) + row) % 3, 15, 16]},
    "watermarking": {"watermarking_config": WatermarkingConfig(bias=9.0, seeding_scheme="lefthash", context_width=1)},
    "beam": {"num_beams": 3},
    "beam_with_end": {"num_beams": 4, "eos_token_id": [8, 9, 10], "length_penalty": 2.0},
    "beam_stopping_early": {"num_beams": 4, "eos_token_id": [8, 9, 10], "early_stopping": True},
    "beam_never_stopping_early": {"num_beams": 4, "eos_token_id": [8, 9, 10], "early_stopping": "never"},
    "beam_ngrams": {"num_beams": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "beam_sampling": SAMPLE | {"num_beams": 3},
    "several_beams": {"num_beams": 4, "num_return_sequences": 2},
}
SAMPLING = ("temperature_top_k", "top_p", "min_p", "typical", "epsilon_cutoff", "eta_cutoff")
RUNS = {
    "at_once": {},
    "feeding": {"input_feeding": True, "attention_type": "bahdanau", "share_embeddings": True},
    "heads": {"attention_type": "multi_head", "tie_word_embeddings": False, "encoder_bidirectional": False},
    "no_attention": {"attention_type": "none", "decoder_layers": 1},
    "copying": COPYING,
}
SOURCE_MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
DIRECT = (
    "assistant_model",
    "cache",
    "streamer",
    "decoder_input_ids",
    "decoder_attention_mask",
    "prefix_allowed_tokens_fn",
    "encoder_outputs",
    "logits_processor",
    "stopping_criteria",
    "tokenizer",
)


@pytest.fixture(scope="module", params=["at_once", "feeding", "copying"])
def model(request) -> LstmForConditionalGeneration:
    return make_talkative_seq2seq_model(**RUNS[request.param])


@pytest.fixture(scope="module", params=RUNS)
def any_model(request) -> LstmForConditionalGeneration:
    return make_talkative_seq2seq_model(**RUNS[request.param])


@pytest.fixture(scope="module")
def tokenizer() -> LstmTokenizer:
    words = "ab cd ef gh ij kl mn op qr st uv wx yz ba dc fe hg ji lk"
    return LstmTokenizer.train_from_iterator([words], vocab_size=23, min_frequency=1)


def settings(**arguments) -> GenerationConfig:
    fields = {"max_new_tokens": NUM_NEW, "pad_token_id": 0, "eos_token_id": None, "decoder_start_token_id": 2}
    return GenerationConfig(**fields | arguments)


def generate(model: LstmForConditionalGeneration, source=None, attention_mask=None, **arguments):
    torch.manual_seed(0)
    direct = {name: arguments.pop(name) for name in DIRECT if name in arguments}
    return model.generate(source, attention_mask=attention_mask, generation_config=settings(**arguments), **direct)


def greedy_reference(model, source: torch.Tensor, target: list[int] | None = None, num_new: int = NUM_NEW):
    """Appends the best token again and again to one unpadded row's target, each time from the beginning."""
    target = torch.tensor([[2, *(target or [])]])
    for _ in range(num_new):
        with torch.no_grad():
            logits = model(source, decoder_input_ids=target, use_cache=False).logits[:, -1]
        target = torch.cat([target, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return target


@pytest.mark.parametrize("mode", MODES)
def test_generation_with_and_without_the_state_is_the_same_and_the_mode_matters(model, mode):
    source = make_source(3, 6)
    cached = generate(model, source, SOURCE_MASK, **MODES[mode])
    assert torch.equal(cached, generate(model, source, SOURCE_MASK, use_cache=False, **MODES[mode]))
    assert len(cached) == 3 * MODES[mode].get("num_return_sequences", 1)
    if mode not in ("greedy", "sampling", "beam", "beam_sampling", *SAMPLING):
        assert cached.tolist() != generate(model, source, SOURCE_MASK).tolist()


def test_greedy_generation_equals_the_plain_loop_and_depends_on_the_source(any_model):
    source = make_source(4, 5)
    expected = torch.cat([greedy_reference(any_model, row[None]) for row in source])
    assert len({tuple(row) for row in expected.tolist()}) == 4
    assert sum(len(set(row[1:].tolist())) for row in expected) > 6
    assert torch.equal(generate(any_model, source), expected)


def test_source_is_read_once_and_each_step_reads_one_token(model, monkeypatch):
    lengths, sources = [], []
    encode = type(model.get_encoder()).forward

    def spy_on_decoder(name: str) -> None:
        method = getattr(type(model.get_decoder()), name)

        def spy(self, input_ids=None, *arguments, **kwargs):
            lengths.append(input_ids.shape[1])
            return method(self, input_ids, *arguments, **kwargs)

        monkeypatch.setattr(type(model.get_decoder()), name, spy)

    def spy_encoder(self, input_ids=None, *arguments, **kwargs):
        sources.append(input_ids.shape)
        return encode(self, input_ids, *arguments, **kwargs)

    spy_on_decoder("forward")
    spy_on_decoder("step")
    monkeypatch.setattr(type(model.get_encoder()), "forward", spy_encoder)
    for mode in ({}, {"num_beams": 3}):
        generate(model, make_source(2, 5), **mode)
    assert lengths == [1] * NUM_NEW * 2
    assert sources == [(2, 5)] * 2


def test_only_the_first_step_is_given_the_source(model):
    given = []
    hook = model.register_forward_pre_hook(
        lambda _, arguments, inputs: given.append(inputs.get("encoder_outputs") is not None), with_kwargs=True
    )
    generate(model, make_source(2, 5), num_beams=3)
    assert given == [True] + [False] * (NUM_NEW - 1)
    given.clear()
    generate(model, make_source(2, 5), num_beams=3, use_cache=False)
    hook.remove()
    assert given == [True] * NUM_NEW


def count_steps(model: LstmForConditionalGeneration, monkeypatch) -> list[torch.Size]:
    """Returns a list that grows with each step of the decoder which leaves out the model's `forward`."""
    steps, step = [], model.get_decoder().step
    monkeypatch.setattr(
        model.get_decoder(), "step", lambda ids, cache: steps.append(ids.shape) or step(ids, cache), raising=False
    )
    return steps


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("least_weights", [2**19, 0], ids=["plain", "prepacked"])
def test_steps_give_the_very_tokens_and_scores_of_forward(any_model, mode, least_weights, monkeypatch):
    monkeypatch.setattr(prepacking_lstm, "_LEAST_STEP_WEIGHTS", least_weights)
    steps = count_steps(any_model, monkeypatch)
    source = make_source(3, 5)
    result = generate(any_model, source, (source > 5).long(), **EVERYTHING, **MODES[mode])
    assert len(steps) == len(result.scores)
    steps.clear()
    monkeypatch.setattr(type(any_model), "_takes_steps", lambda self: False)
    expected = generate(any_model, source, (source > 5).long(), **EVERYTHING, **MODES[mode])
    assert not steps
    check_same_results(result, expected)


def test_steps_are_not_taken_where_hooks_must_be_called(model, monkeypatch):
    steps, source = count_steps(model, monkeypatch), make_source(2, 5)
    expected = generate(model, source)
    assert len(steps) == NUM_NEW
    for module in (model, model.model, model.get_decoder(), model.get_decoder().layers[0]):
        steps.clear()
        calls = []
        hook = module.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        result = generate(model, source)
        hook.remove()
        assert torch.equal(result, expected)
        assert not steps
        assert len(calls) == NUM_NEW


@pytest.mark.parametrize("start", [-3, 23])
@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_start_tokens_that_are_unknown_are_named(model, mode, start):
    with pytest.raises(IndexError, match=f"`decoder_input_ids` holds the token id {start}, but the model knows ids"):
        generate(model, make_source(2, 5), decoder_start_token_id=start, **MODES[mode])


@pytest.mark.parametrize("change", [-1, 1])
def test_a_cache_of_another_model_is_refused(model, change):
    num_layers = len(model.make_cache().layers) + change
    with pytest.raises(ValueError, match=f"`cache` is a LstmCache of {num_layers} layers"):
        generate(model, make_source(2, 5), cache=LstmCache(num_layers, torch.float32))


def test_copying_says_that_it_misses_the_source_tokens():
    model, source = make_talkative_seq2seq_model(**RUNS["copying"]), make_source(1, 5)
    outputs = model.get_encoder()(source)
    outputs = type(outputs)(last_hidden_state=outputs.last_hidden_state, states=outputs.states)
    with pytest.raises(ValueError, match="`copy_attention` copies source tokens"):
        generate(model, None, encoder_outputs=outputs)


@pytest.mark.parametrize("wanted", ["output_hidden_states", "output_attentions"])
def test_steps_are_not_taken_where_more_must_be_returned(model, wanted, monkeypatch):
    steps = count_steps(model, monkeypatch)
    generate(model, make_source(2, 5), return_dict_in_generate=True, **{wanted: True})
    assert not steps


@pytest.mark.parametrize("mode", ["greedy", "beam", "encoder_no_repeat_ngram"])
@pytest.mark.parametrize("side", ["right", "left", "holes"])
def test_batch_of_unequal_sources_equals_single_ones(any_model, side, mode):
    model = any_model
    mask = SOURCE_MASK if side == "right" else SOURCE_MASK.flip(1)
    if side == "holes":
        mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0], [1, 0, 1, 0, 1, 1]])
    source = make_source(3, 6).masked_fill(mask == 0, 0)
    batch = generate(model, source, mask, **MODES[mode])
    for row in range(3):
        alone = generate(model, source[row, mask[row].bool()][None], **MODES[mode])[0]
        assert torch.equal(batch[row], alone)


def test_finished_sequences_are_padded_while_others_go_on(model):
    source = make_source(4, 5)
    free = generate(model, source)
    end = free[0, 3].item()
    stopped = generate(model, source, eos_token_id=end)
    for row in range(4):
        new = free[row, 1:].tolist()
        kept = new[: new.index(end) + 1] if end in new else new
        assert stopped[row, 1:].tolist() == (kept + [0] * NUM_NEW)[: stopped.shape[1] - 1]
    assert (stopped == 0).any()


@pytest.mark.parametrize("side", ["none", "left"])
@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_target_prompts_are_continued(model, mode, side):
    source, prompts = make_source(2, 6), torch.tensor([[2, 14, 15, 16], [2, 17, 18, 19]])
    masks = torch.ones_like(prompts)
    if side == "left":
        prompts, masks = torch.tensor([[2, 14, 15, 16], [0, 0, 2, 17]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    arguments = {"decoder_input_ids": prompts, "decoder_attention_mask": masks}
    if side == "left":
        # The start token would otherwise be put before the padding, too.
        arguments["decoder_start_token_id"] = 2
    batch = generate(model, source, **MODES[mode], **arguments)
    for row in range(2):
        alone = prompts[row, masks[row].bool()][None]
        expected = generate(model, source[row : row + 1], decoder_input_ids=alone, **MODES[mode])
        assert torch.equal(batch[row, -NUM_NEW:], expected[0, -NUM_NEW:])
    without = generate(model, source, use_cache=False, **MODES[mode], **arguments)
    assert torch.equal(batch, without)


def test_start_token_is_put_before_a_prompt_without_it(model):
    source = make_source(2, 6)
    result = generate(model, source, decoder_input_ids=torch.tensor([[14, 15], [16, 17]]))
    assert torch.equal(result[:1], greedy_reference(model, source[:1], [14, 15]))
    assert torch.equal(result[1:], greedy_reference(model, source[1:], [16, 17]))


@pytest.mark.parametrize("has_mask", [False, True])
def test_prompt_lookup_equals_greedy(model, has_mask):
    """The candidates come from the target, and are mostly wrong: the state is rolled back."""
    source = make_source(1, 6)
    prompt = [7, 8, 9, 7, 8, 9, 7, 8]
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]]) if has_mask else None
    expected = greedy_reference(model, source[:, :4] if has_mask else source, prompt)
    arguments = {"decoder_input_ids": torch.tensor([[2, *prompt]]), "prompt_lookup_num_tokens": 3}
    assert torch.equal(generate(model, source, mask, **arguments), expected)


@pytest.mark.parametrize("assistant", ["alike", "at_once", "feeding", "no_attention"])
def test_assisted_generation_equals_greedy(model, assistant):
    """An assistant that is the model itself is believed, another one is mostly not: both roll the states back."""
    source = make_source(1, 6)
    other = model if assistant == "alike" else make_talkative_seq2seq_model(seed=9, **RUNS[assistant])
    expected = greedy_reference(model, source)
    assert torch.equal(generate(model, source, assistant_model=other), expected)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), source], dim=1)
    assert torch.equal(generate(model, padded, (padded > 0).long(), assistant_model=other), expected)
    sampled = generate(model, source, assistant_model=other, do_sample=True)
    assert sampled.shape == (1, 1 + NUM_NEW)


def test_assisted_generation_returns_attentions(any_model):
    source = make_source(1, 6)
    expected = greedy_reference(any_model, source)
    wanted = {"return_dict_in_generate": True, "output_attentions": True}
    for arguments in ({"assistant_model": make_talkative_seq2seq_model(seed=9)}, {"prompt_lookup_num_tokens": 2}):
        result = generate(any_model, source, **wanted, **arguments)
        assert torch.equal(result.sequences, expected)
        if any_model.config.attention_type != "none":
            assert len(result.cross_attentions) == NUM_NEW


def test_prefill_in_chunks_changes_nothing(model):
    source, prompt = make_source(2, 6), torch.tensor([[2, 7, 8, 9, 5]] * 2)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    expected = generate(model, source, mask, decoder_input_ids=prompt)
    assert torch.equal(generate(model, source, mask, decoder_input_ids=prompt, prefill_chunk_size=2), expected)


def test_assistant_that_is_believed_spares_steps(model):
    lengths = []
    assistant = copy.deepcopy(model)
    hook = model.register_forward_pre_hook(
        lambda _, arguments, given: lengths.append(given["decoder_input_ids"].shape[1]), with_kwargs=True
    )
    generate(model, make_source(1, 6), assistant_model=assistant)
    hook.remove()
    assert max(lengths) > 1
    assert len(lengths) < NUM_NEW


def test_text_is_streamed(model, tokenizer, capsys):
    source = make_source(1, 5)
    text = tokenizer.decode(generate(model, source)[0], skip_special_tokens=True)
    assert len(text.split()) == NUM_NEW
    generate(model, source, streamer=TextStreamer(tokenizer, skip_special_tokens=True))
    assert capsys.readouterr().out.strip() == text

    streamer = TextIteratorStreamer(tokenizer, skip_special_tokens=True, timeout=30)
    thread = threading.Thread(target=generate, args=(model, source), kwargs={"streamer": streamer})
    thread.start()
    assert "".join(streamer).strip() == text
    thread.join()

    async def read() -> str:
        streamer = AsyncTextIteratorStreamer(tokenizer, skip_special_tokens=True, timeout=30)
        thread = threading.Thread(target=generate, args=(model, source), kwargs={"streamer": streamer})
        thread.start()
        pieces = [piece async for piece in streamer]
        thread.join()
        return "".join(pieces)

    assert asyncio.run(read()).strip() == text


def test_generation_stops_at_a_string(model, monkeypatch):
    tokenizer = LstmTokenizer.train_from_iterator(
        ["ghijklmnopqrstuvwxy"], vocab_size=23, min_frequency=1, algorithm="char"
    )
    source = make_source(1, 5)
    free = generate(model, source)[0]
    string = tokenizer.decode(free[2:4])
    assert len(string) == 2
    text = [tokenizer.decode(free[1 : end + 1]) for end in range(len(free))]
    first = next(end for end, written in enumerate(text) if string in written)
    steps = count_steps(model, monkeypatch)
    stopped = generate(model, source, stop_strings=[string], tokenizer=tokenizer)
    assert stopped[0].tolist() == free[: first + 1].tolist()
    assert len(steps) == first


def test_generation_stops_at_a_criterion_and_a_time(model):
    source = make_source(1, 5)
    free = generate(model, source)[0]
    criteria = StoppingCriteriaList([MaxLengthCriteria(6)])
    assert generate(model, source, stopping_criteria=criteria)[0].tolist() == free[:6].tolist()
    assert generate(model, source, max_time=0.0)[0].tolist() == free[:2].tolist()
    processors = LogitsProcessorList([MinLengthLogitsProcessor(7, free[2].item())])
    result = generate(model, source, logits_processor=processors, eos_token_id=free[2].item())
    assert free[2].item() not in result[0, :7].tolist()


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("gives", ["input_ids", "encoder_outputs"])
def test_generation_continues_from_a_returned_state(model, batch_size, gives):
    source, mask = make_source(3, 6)[:batch_size], SOURCE_MASK[:batch_size]
    whole = generate(model, source, mask)
    first = generate(model, source, mask, max_new_tokens=4, return_dict_in_generate=True)
    cache = first.cache
    assert isinstance(cache, LstmCache)
    assert cache.get_seq_length() == 4
    given = {"source": source}
    if gives == "encoder_outputs":
        given = {"encoder_outputs": model.get_encoder()(source, mask)}
    second = generate(
        model,
        attention_mask=mask,
        max_new_tokens=NUM_NEW - 4,
        cache=cache,
        decoder_input_ids=first.sequences,
        **given,
    )
    assert torch.equal(second, whole)


def test_generation_from_a_state_says_what_does_not_go_together(model):
    source = make_source(2, 6)
    first = generate(model, source, max_new_tokens=4, return_dict_in_generate=True)
    arguments = {"cache": first.cache}
    with pytest.raises(ValueError, match="holds 4 tokens, but `cache` has read 4 already"):
        generate(model, source, decoder_input_ids=first.sequences[:, :4], **arguments)
    with pytest.raises(ValueError, match="another source"):
        generate(model, source.flip(1), decoder_input_ids=first.sequences, **arguments)
    with pytest.raises(ValueError, match="states of 2 sequences, but the batch has 6"):
        generate(model, source, decoder_input_ids=first.sequences, num_beams=3, **arguments)


def test_assisted_generation_names_the_tokens_that_a_state_has_read(model):
    source = make_source(1, 6)
    first = generate(model, source, max_new_tokens=4, return_dict_in_generate=True)
    arguments = {"decoder_input_ids": first.sequences[:, :4], "cache": first.cache}
    with pytest.raises(ValueError, match="`decoder_input_ids` holds 4 tokens, but `cache` has read 4"):
        generate(model, source, prompt_lookup_num_tokens=2, **arguments)


def test_generation_starts_from_encoder_outputs_and_from_embeddings(model):
    source = make_source(2, 6)
    expected = generate(model, source)
    assert torch.equal(generate(model, encoder_outputs=model.get_encoder()(source)), expected)
    embeddings = model.get_encoder().embed_tokens(source)
    if model.config.copy_attention:
        with pytest.raises(ValueError, match="`copy_attention` copies source tokens"):
            model.generate(inputs_embeds=embeddings, generation_config=settings())
        return
    result = model.generate(inputs_embeds=embeddings, generation_config=settings())
    assert torch.equal(result, expected)


@pytest.mark.parametrize("num_beams", [0, -1])
def test_too_few_beams_are_refused(model, num_beams):
    with pytest.raises(ValueError, match=f"`num_beams` is {num_beams}, but must be at least 1"):
        generate(model, make_source(2, 5), num_beams=num_beams)


@pytest.mark.parametrize("num_beams", [1, 2])
@pytest.mark.parametrize("encoder_vocab_size", [31, 19])
@pytest.mark.parametrize(("name", "value"), [("encoder_no_repeat_ngram_size", 1), ("encoder_repetition_penalty", 1.5)])
def test_tokens_of_two_vocabularies_are_not_compared(name, value, encoder_vocab_size, num_beams):
    apart, source = make_seq2seq_model(encoder_vocab_size=encoder_vocab_size), make_source(2, 5) % 19
    with pytest.raises(ValueError, match=f"`{name}` is {value}, but must be "):
        generate(apart, source, num_beams=num_beams, **{name: value})
    generate(apart, source, num_beams=num_beams, **{name: int(name.endswith("penalty"))})
    for sizes in ({}, {"encoder_vocab_size": apart.config.vocab_size}):  # as of a model joined from two halves
        generate(make_seq2seq_model(**sizes), make_source(2, 5), num_beams=num_beams, **{name: value})


def test_a_missing_length_is_warned_of(model):
    with pytest.warns(UserWarning, match="recommend setting `max_new_tokens`"):
        result = model.generate(make_source(2, 5))
    assert result.shape[1] <= 21


def test_generation_of_a_model_without_cache_by_configuration():
    model = make_talkative_seq2seq_model(use_cache=False)
    source = make_source(2, 5)
    expected = torch.cat([greedy_reference(model, row[None]) for row in source])
    assert torch.equal(generate(model, source), expected)


@pytest.mark.parametrize("fields", RUNS.values(), ids=RUNS)
def test_generation_works_in_bfloat16(fields):
    model = make_talkative_seq2seq_model(**fields).to(torch.bfloat16)
    for mode in ("greedy", "beam"):
        result = generate(model, make_source(2, 5), return_dict_in_generate=True, **MODES[mode])
        assert {layer.hidden_state.dtype for layer in result.cache.layers} == {torch.bfloat16}
        assert result.sequences.shape == (2, 1 + NUM_NEW)


WRONG_OUTPUTS = {
    "no states": ({"states": None}, "holds states of shape None, but the decoder starts from"),
    "no outputs": ({"last_hidden_state": None}, "holds no `last_hidden_state`"),
    "other width": (
        {"last_hidden_state": torch.zeros(2, 5, 13)},
        r"of shape \(2, 5, 13\), but beside states of 2 sequences it must be \(2, source_length, 14\): give what",
    ),
    "other number": ({"last_hidden_state": torch.zeros(3, 5, 14)}, "beside states of 2 sequences it must be"),
    "one position": ({"last_hidden_state": torch.zeros(2, 14)}, "beside states of 2 sequences it must be"),
    "more axes": ({"last_hidden_state": torch.zeros(2, 5, 14, 1)}, "beside states of 2 sequences it must be"),
    "more axes of states": ({"states": torch.zeros(2, 2, 2, 14, 1)}, r"states of shape \(2, 2, 2, 14, 1\)"),
}


@pytest.mark.parametrize("wrong", WRONG_OUTPUTS)
def test_encoder_outputs_that_do_not_fit_are_named(model, wrong):
    changes, message = WRONG_OUTPUTS[wrong]
    given = model.get_encoder()(make_source(2, 5))
    given = type(given)(**dict(given) | changes)
    with pytest.raises(ValueError, match=message):
        generate(model, encoder_outputs=given)
    with pytest.raises(ValueError, match=message):
        model(encoder_outputs=given, decoder_input_ids=torch.full((2, 1), 2))


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (make_source(2, 4), ValueError, r"`input_ids` of shape \(2, 4\), but a `last_hidden_state` of \(2, 5, 14\)"),
        (make_source(3, 5), ValueError, r"`input_ids` of shape \(3, 5\), but a `last_hidden_state` of \(2, 5, 14\)"),
        (torch.full((2, 5), 23), IndexError, "`encoder_outputs.input_ids` holds the token id 23, but"),
    ],
    ids=["length", "number", "vocabulary"],
)
def test_source_tokens_that_cannot_be_copied_are_named(tokens, error, message):
    model = make_talkative_seq2seq_model(**RUNS["copying"])
    given = model.get_encoder()(make_source(2, 5))
    given.input_ids = tokens
    with pytest.raises(error, match=message):
        generate(model, encoder_outputs=given)


@pytest.mark.parametrize("mode", ["greedy", "beam", "several_samples"])
@pytest.mark.parametrize("kind", ["own", "dict", "tuple"])
def test_encoder_outputs_of_any_kind_are_read_and_not_changed(kind, mode):
    model, source = make_talkative_seq2seq_model(), make_source(2, 5)
    expected, outputs = generate(model, source, **MODES[mode]), model.get_encoder()(source)
    given = {"own": outputs, "dict": dict(outputs), "tuple": (outputs.last_hidden_state, outputs.states)}[kind]
    for _ in range(2):
        assert torch.equal(generate(model, encoder_outputs=given, **MODES[mode]), expected)
    assert len(outputs.states) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"assistant_early_exit": 2}, "`assistant_early_exit` is 2, but an encoder–decoder reads all of its layers"),
        ({"guidance_scale": 1.5}, "`guidance_scale` is 1.5, but must be 1: guidance reads the target once more"),
        (
            {"decoder_inputs_embeds": torch.zeros(1, 2, 13)},
            "`decoder_inputs_embeds` are given, but `generate` goes on",
        ),
    ],
)
def test_what_only_language_models_can_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate(make_source(1, 5), max_new_tokens=3, **arguments)


@pytest.mark.parametrize("arguments", [{"guidance_scale": 1.0}, {"decoder_inputs_embeds": None}], ids=str)
def test_what_asks_for_nothing_changes_nothing(model, arguments, monkeypatch):
    source, request = make_source(1, 5), {"max_new_tokens": 3, "do_sample": False}
    expected, steps = model.generate(source, **request), count_steps(model, monkeypatch)
    assert torch.equal(model.generate(source, **request, **arguments), expected)
    assert len(steps) == 3
