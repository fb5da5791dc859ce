"""Tests of the pipelines: what they write for which input, what they refuse, and that saved ones come back."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import decoders, normalizers
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmSeq2SeqConfig,
    LstmSeq2SeqModel,
    LstmSeq2SeqTokenizer,
    LstmSummarizationPipeline,
    LstmText2TextPipeline,
    LstmTextGenerationPipeline,
    LstmTokenizer,
    LstmTranslationPipeline,
)
from hf_lstm.models import pipelines_lstm
from tests.models.factories import randomize

GERMAN = ["ein hund läuft im gras", "zwei hunde", "der mann liest ein buch vor der tür", "kind"]
ENGLISH = ["a dog runs in the grass", "two dogs are playing", "the man reads a book", "a child is asleep today"]


def train(corpus: list[str], algorithm: str = "word", **arguments) -> LstmTokenizer:
    settings = {"vocab_size": 400, "min_frequency": 1, "show_progress": False, "add_eos": True, **arguments}
    return LstmTokenizer.train_from_iterator(corpus, algorithm=algorithm, **settings)


def make_tokenizer(algorithm: str = "word", **arguments) -> LstmSeq2SeqTokenizer:
    return LstmSeq2SeqTokenizer.from_tokenizers(train(GERMAN, **arguments), train(ENGLISH, algorithm))


def make_model(tokenizer: LstmSeq2SeqTokenizer, **overrides) -> LstmForConditionalGeneration:
    """Returns a model with random parameters, which writes different texts for different sources."""
    fields = {
        "vocab_size": len(tokenizer.target_tokenizer),
        "encoder_vocab_size": len(tokenizer),
        "encoder_embedding_size": 5,
        "decoder_embedding_size": 6,
        "encoder_hidden_size": 8,
        "decoder_hidden_size": 8,
        "share_embeddings": False,
        **overrides,
    }
    return randomize(LstmForConditionalGeneration(LstmSeq2SeqConfig(**fields)), seed=39).eval()


def make_pipeline(pipeline_class=LstmTranslationPipeline, **arguments) -> LstmText2TextPipeline:
    tokenizer = arguments.pop("tokenizer", None) or make_tokenizer()
    model = arguments.pop("model", None) or make_model(tokenizer)
    return pipeline_class(model=model, tokenizer=tokenizer, device="cpu", **arguments)


def generate(pipe: LstmText2TextPipeline, text: str, **arguments) -> list[str]:
    """Writes texts without a pipeline."""
    sequences = pipe.model.generate(**pipe.tokenizer(text, return_tensors="pt"), **arguments)
    return pipe.tokenizer.batch_decode(sequences, skip_special_tokens=True)


@pytest.fixture
def pipe() -> LstmTranslationPipeline:
    return make_pipeline()


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """The warnings of the pipelines' file and of transformers, in the order in which they were given."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    for name in (pipelines_lstm.__name__, "transformers"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    return messages


@pytest.mark.parametrize(
    ("task", "pipeline_class", "name"),
    [
        ("lstm-translation", LstmTranslationPipeline, "translation_text"),
        ("lstm-summarization", LstmSummarizationPipeline, "summary_text"),
        ("lstm-text2text", LstmText2TextPipeline, "generated_text"),
    ],
)
def test_task_is_registered_and_names_its_results(task, pipeline_class, name, pipe):
    assert PIPELINE_REGISTRY.check_task(task)[1]["impl"] is pipeline_class
    made = pipeline(task, model=pipe.model, tokenizer=pipe.tokenizer, device="cpu")
    assert type(made) is pipeline_class
    assert made.task == make_pipeline(pipeline_class).task == task
    assert made(GERMAN[0], max_new_tokens=7) == [{name: generate(pipe, GERMAN[0], max_new_tokens=7)[0]}]


@pytest.mark.parametrize("arguments", [{}, {"num_beams": 3, "length_penalty": 0.5}, {"do_sample": False}])
def test_batches_give_what_each_text_gives_alone(arguments, pipe):
    arguments = {"max_new_tokens": 7, **arguments}
    expected = [{"translation_text": generate(pipe, text, **arguments)[0]} for text in GERMAN]
    assert len({result["translation_text"] for result in expected}) == len(GERMAN)
    assert pipe(GERMAN, **arguments) == expected
    assert pipe(GERMAN, batch_size=3, **arguments) == expected
    assert list(pipe((text for text in GERMAN), batch_size=3, **arguments)) == [[result] for result in expected]
    rows = KeyDataset([{"de": text} for text in GERMAN], "de")
    assert list(pipe(rows, batch_size=2, **arguments)) == [[result] for result in expected]
    assert pipe([]) == []


def test_several_sequences_are_returned_for_each_text(pipe):
    arguments = {"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 5}
    expected = [[{"translation_text": text} for text in generate(pipe, source, **arguments)] for source in GERMAN]
    assert {len(results) for results in expected} == {3}
    assert pipe(GERMAN, batch_size=4, **arguments) == expected
    assert pipe(GERMAN[1], **arguments) == expected[1]


def test_token_ids_are_returned_instead_of_or_beside_the_text(pipe):
    sequence = pipe.model.generate(**pipe.tokenizer(GERMAN[0], return_tensors="pt"), max_new_tokens=5)[0]
    (result,) = pipe(GERMAN[0], return_tensors=True, max_new_tokens=5)
    assert set(result) == {"translation_token_ids"}
    assert torch.equal(result["translation_token_ids"], sequence)
    (result,) = pipe(GERMAN[0], return_tensors=True, return_text=False, max_new_tokens=5)
    assert set(result) == {"translation_token_ids"}
    (result,) = pipe(GERMAN[0], return_tensors=True, return_text=True, max_new_tokens=5)
    assert set(result) == {"translation_token_ids", "translation_text"}
    with pytest.raises(ValueError, match="return_text=False leaves nothing"):
        pipe(GERMAN[0], return_text=False)
    for limit, rule in ((0, "at least 1"), (-1, "at least 1"), (1.5, "a whole number")):
        with pytest.raises(ValueError, match=f"`max_source_length` is {limit}, but must be {rule}"):
            pipe(GERMAN[0], truncation=True, max_source_length=limit)


def test_arguments_of_the_pipeline_hold_for_every_call():
    tokenizer = make_tokenizer()
    pipe = make_pipeline(tokenizer=tokenizer, num_beams=3, max_new_tokens=4, truncation=True, max_source_length=3)
    short = tokenizer(GERMAN[2], truncation=True, max_length=3, return_tensors="pt")
    sequences = pipe.model.generate(**short, num_beams=3, max_new_tokens=4)
    expected = tokenizer.decode(sequences[0], skip_special_tokens=True)
    assert pipe(GERMAN[2]) == [{"translation_text": expected}]
    assert pipe(GERMAN[2], truncation=False) != [{"translation_text": expected}]
    assert pipe(GERMAN[2], truncation=False, num_beams=1, max_new_tokens=2) == [
        {"translation_text": generate(pipe, GERMAN[2], max_new_tokens=2)[0]}
    ]


def count_new_tokens(pipe: LstmText2TextPipeline, **arguments) -> int:
    """Counts what is written where the end token never comes."""
    (result,) = pipe(GERMAN[0], return_tensors=True, suppress_tokens=[3], **arguments)
    return len(result["translation_token_ids"]) - 1


def test_what_is_returned_may_be_said_in_two_places():
    arguments = {"tokenizer": make_tokenizer(), "max_new_tokens": 2}
    (result,) = make_pipeline(return_tensors=True, **arguments)(GERMAN[0], return_text=False)
    assert set(result) == {"translation_token_ids"}
    with pytest.raises(ValueError, match="return_text=False leaves nothing"):
        make_pipeline(return_tensors=True, return_text=False, **arguments)(GERMAN[0], return_tensors=False)


def test_length_is_limited_without_being_told(pipe):
    assert count_new_tokens(pipe) == 256
    assert count_new_tokens(pipe, max_new_tokens=9) == 9
    assert count_new_tokens(pipe, generation_config=GenerationConfig(max_new_tokens=8)) == 8
    pipe.model.generation_config.max_new_tokens = 6
    assert count_new_tokens(pipe) == 6


def test_scores_may_be_asked_of_generate(pipe):
    expected = pipe(GERMAN, max_new_tokens=5)
    assert pipe(GERMAN, max_new_tokens=5, return_dict_in_generate=True, output_scores=True, batch_size=2) == expected


def test_prefix_of_the_configuration_is_put_before_every_text():
    tokenizer = make_tokenizer()
    plain, prefixed = make_model(tokenizer), make_model(tokenizer, prefix="zwei ")
    expected = make_pipeline(tokenizer=tokenizer, model=plain)("zwei kind", max_new_tokens=7)
    assert make_pipeline(tokenizer=tokenizer, model=prefixed)("kind", max_new_tokens=7) == expected
    assert make_pipeline(tokenizer=tokenizer, model=plain)("kind", max_new_tokens=7) != expected


def test_stop_strings_are_looked_for_in_the_target():
    pipe = make_pipeline(tokenizer=make_tokenizer("bpe"))
    text = generate(pipe, GERMAN[0], max_new_tokens=9)[0]
    stop = text[1:3]
    (result,) = pipe(GERMAN[0], max_new_tokens=9, stop_strings=[stop])
    assert len(result["translation_text"]) < len(text)
    assert text.startswith(result["translation_text"])
    assert stop in result["translation_text"]


def test_assistant_model_does_not_change_the_result(pipe):
    assistant = make_model(pipe.tokenizer, decoder_layers=2)
    calls = []
    assistant.register_forward_hook(lambda *_: calls.append(1))
    assisted = make_pipeline(tokenizer=pipe.tokenizer, model=pipe.model, assistant_model=assistant)
    assert assisted(GERMAN, max_new_tokens=7) == pipe(GERMAN, max_new_tokens=7)
    assert calls


def test_assistant_of_another_vocabulary_comes_with_its_tokenizer(pipe, monkeypatch):
    assistant, tokenizer = make_model(make_tokenizer("char")), make_tokenizer("char")
    assisted = make_pipeline(
        tokenizer=pipe.tokenizer, model=pipe.model, assistant_model=assistant, assistant_tokenizer=tokenizer
    )
    given, generate = [], pipe.model.generate
    names = ("assistant_model", "assistant_tokenizer", "tokenizer")

    def record(*args, **kwargs):
        given.extend(kwargs.pop(name) for name in names)
        return generate(*args, **kwargs)

    monkeypatch.setattr(pipe.model, "generate", record)
    assisted(GERMAN[0], max_new_tokens=3)
    assert given == [assistant, tokenizer, pipe.tokenizer.target_tokenizer]


@pytest.mark.parametrize("clean", [None, True])
def test_spaces_before_punctuation_are_removed_when_asked(clean):
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(train(GERMAN), train(["a , b"], "char"))
    target = tokenizer(text_target="a , b")["input_ids"]
    written = make_pipeline(tokenizer=tokenizer)(
        GERMAN[0],
        prefix_allowed_tokens_fn=lambda _, ids: [target[len(ids) - 1]],
        max_new_tokens=len(target),
        clean_up_tokenization_spaces=clean,
    )
    assert written == [{"translation_text": "a, b" if clean else "a , b"}]


def test_tokenizer_that_tells_texts_of_a_pair_apart_will_do(pipe):
    expected = pipe(GERMAN[0], max_new_tokens=5)
    pipe.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert "token_type_ids" in pipe.tokenizer(GERMAN[0])
    assert pipe(GERMAN[0], max_new_tokens=5) == expected


def test_one_vocabulary_and_another_model_will_do():
    tokenizer = train(GERMAN + ENGLISH)
    sizes = {"d_model": 8, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "max_position_embeddings": 32}
    layers = {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
    config = BartConfig(vocab_size=len(tokenizer), **sizes, **layers, **ids, forced_eos_token_id=None)
    pipe = make_pipeline(tokenizer=tokenizer, model=randomize(BartForConditionalGeneration(config), seed=3).eval())
    expected = [{"translation_text": generate(pipe, text, max_new_tokens=6)[0]} for text in GERMAN]
    assert pipe(GERMAN, batch_size=3, max_new_tokens=6) == expected


@pytest.mark.parametrize("add_eos", [False, True])
@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_text_is_refused(text, add_eos):
    pipe = make_pipeline(tokenizer=make_tokenizer(add_eos=add_eos))
    with pytest.raises(ValueError, match="'lstm-translation' got the empty text"):
        pipe([GERMAN[0], text], batch_size=2)


def test_text_without_tokens_is_refused():
    pipe = make_pipeline(tokenizer=make_tokenizer(add_eos=False))
    pipe.tokenizer._tokenizer.normalizer = normalizers.Replace("x", "")
    with pytest.raises(ValueError, match="'lstm-translation' got the empty text 'xx'"):
        pipe("xx")


@pytest.mark.parametrize("text", [None, 7, {"text": "kind"}, ["kind"], ("kind",)])
def test_what_is_not_text_is_refused(text, pipe):
    with pytest.raises(TypeError, match=r"'lstm-translation' got .*but reads strings: .*KeyDataset"):
        pipe([GERMAN[0], text])


def test_tuple_is_refused(pipe):
    with pytest.raises(TypeError, match="reads strings"):
        pipe(tuple(GERMAN))


def test_misspelt_argument_is_refused(pipe):
    with pytest.raises(ValueError, match="num_beam'"):
        pipe(GERMAN[0], num_beam=3)


def test_too_long_texts_are_warned_of_once(warnings):
    tokenizer = make_tokenizer(model_max_length=4)
    pipe = make_pipeline(tokenizer=tokenizer)
    pipe(["kind", "zwei hunde"], max_new_tokens=2)
    pipe(GERMAN, truncation=True, max_new_tokens=2)
    assert warnings == []
    long = pipe(GERMAN, max_new_tokens=2)
    pipe(GERMAN[2], max_new_tokens=2)
    assert len(warnings) == 1
    assert "6 tokens, more than the limit of 4" in warnings[0]
    assert long[0]["translation_text"] == generate(pipe, GERMAN[0], max_new_tokens=2)[0]


def test_texts_above_a_limit_that_is_given_are_warned_of(warnings, pipe):
    pipe(GERMAN[2], max_source_length=9, max_new_tokens=2)
    assert warnings == []
    pipe(GERMAN[2], max_source_length=8, max_new_tokens=2)
    assert "9 tokens, more than the limit of 8" in warnings[0]


def test_model_or_tokenizer_that_does_not_fit_is_refused():
    tokenizer = train(ENGLISH)
    model = LstmForCausalLM(LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6))
    with pytest.raises(ValueError, match="'lstm-summarization' needs an encoder–decoder.*not LstmForCausalLM"):
        LstmSummarizationPipeline(model=model, tokenizer=tokenizer, device="cpu")
    model = make_model(make_tokenizer())
    with pytest.raises(ValueError, match="not LstmSeq2SeqModel"):
        LstmTranslationPipeline(model=LstmSeq2SeqModel(model.config), tokenizer=tokenizer, device="cpu")
    with pytest.raises(ValueError, match="'lstm-translation' needs a tokenizer"):
        LstmTranslationPipeline(model=model, device="cpu")


def check_reloaded(reloaded: LstmText2TextPipeline, pipe: LstmText2TextPipeline) -> None:
    assert type(reloaded).__name__ == type(pipe).__name__
    assert type(reloaded.tokenizer).__name__ == "LstmSeq2SeqTokenizer"
    assert reloaded(GERMAN, max_new_tokens=6, batch_size=2) == pipe(GERMAN, max_new_tokens=6)


def test_pipeline_is_made_of_a_folder_with_model_and_tokenizer(pipe, tmp_path):
    pipe.model.save_pretrained(tmp_path)
    pipe.tokenizer.save_pretrained(tmp_path)
    check_reloaded(pipeline("lstm-translation", model=str(tmp_path), device="cpu"), pipe)


@pytest.mark.parametrize("pipeline_class", [LstmTranslationPipeline, LstmSummarizationPipeline])
def test_saved_pipeline_comes_back_with_its_own_code(pipeline_class, tmp_path):
    pipe = make_pipeline(pipeline_class)
    pipe.save_pretrained(tmp_path / "once")
    task = pipeline_class.task_name
    check_reloaded(pipeline(task, model=str(tmp_path / "once"), trust_remote_code=True, device="cpu"), pipe)
    reloaded = pipeline(model=str(tmp_path / "once"), trust_remote_code=True, device="cpu")
    check_reloaded(reloaded, pipe)
    reloaded.save_pretrained(tmp_path / "twice")
    for name in ("config.json", "pipelines_lstm.py", "tokenizer.json", "target_tokenizer.json"):
        assert (tmp_path / "twice" / name).read_text() == (tmp_path / "once" / name).read_text(), name


def test_saved_pipeline_comes_back_by_its_class_without_trust(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    arguments = {"model": str(tmp_path), "pipeline_class": LstmTranslationPipeline, "device": "cpu"}
    check_reloaded(pipeline("lstm-translation", **arguments), pipe)


def test_saving_names_the_one_task_of_the_pipeline(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    implementation = {"impl": "pipelines_lstm.LstmTranslationPipeline", "pt": ["AutoModelForSeq2SeqLM"]}
    assert config["custom_pipelines"] == {"lstm-translation": implementation}
    source = Path(pipelines_lstm.__file__).read_text(encoding="utf-8")
    assert (tmp_path / "pipelines_lstm.py").read_text(encoding="utf-8") == source


def test_model_saved_again_keeps_the_code_of_its_pipeline(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "once")
    LstmForConditionalGeneration.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert list(config["custom_pipelines"]) == ["lstm-translation"]
    assert (tmp_path / "again" / "pipelines_lstm.py").exists()


def test_saved_pipeline_works_where_the_package_is_missing(pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(LstmSeq2SeqConfig, "_auto_class", "AutoConfig")
    monkeypatch.setattr(LstmForConditionalGeneration, "_auto_class", "AutoModelForSeq2SeqLM")
    pipe.save_pretrained(tmp_path / "checkpoint")
    program = (
        "import json, sys; sys.modules['hf_lstm'] = None\n"
        "from transformers import pipeline\n"
        f"path, again = {str(tmp_path / 'checkpoint')!r}, {str(tmp_path / 'again')!r}\n"
        "pipeline(model=path, trust_remote_code=True, device='cpu').save_pretrained(again)\n"
        "pipe = pipeline('lstm-translation', model=again, trust_remote_code=True, device='cpu')\n"
        f"print(json.dumps([type(pipe).__module__.split('.')[0], pipe({GERMAN!r}, batch_size=3, max_new_tokens=6)]))\n"
    )
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == ["transformers_modules", pipe(GERMAN, max_new_tokens=6)]


def make_continuation(algorithm: str, new: str = "book") -> LstmTextGenerationPipeline:
    """Returns a pipeline that continues "two dogs" by a word twice, with a padded batch's padding on the left."""
    tokenizer = train([*ENGLISH, new], algorithm, add_eos=False)
    tokenizer.padding_side = "left"
    model = LstmForCausalLM(LstmConfig(vocab_size=len(tokenizer), hidden_size=6, embedding_size=5)).eval()
    word = tokenizer(f" {new}" if algorithm == "char" else new)["input_ids"]
    start = len(tokenizer("two dogs")["input_ids"])
    pipe = LstmTextGenerationPipeline(model=model, tokenizer=tokenizer, device="cpu")
    pipe.next_tokens = {
        "prefix_allowed_tokens_fn": lambda _, ids: [word[(len(ids) - start) % len(word)]],
        "max_new_tokens": 2 * len(word),
        "do_sample": False,
    }
    return pipe


@pytest.mark.parametrize("algorithm", ["word", "char", "bpe", "unigram", "wordpiece"])
def test_continuation_is_parted_from_its_prompt_as_words_are(algorithm):
    pipe = make_continuation(algorithm)
    (result,) = pipe("two dogs", **pipe.next_tokens)
    assert result == {"generated_text": "two dogs book book"}
    assert pipe("two dogs", return_full_text=False, **pipe.next_tokens) == [{"generated_text": " book book"}]
    several = pipe(["two dogs"] * 3, batch_size=2, num_beams=2, num_return_sequences=2, **pipe.next_tokens)
    assert several == [[result, result]] * 3


def test_continuation_of_a_space_gets_no_other():
    pipe = make_continuation("bpe")
    pipe.next_tokens["max_new_tokens"] = 1
    text = pipe("two dogs ", **pipe.next_tokens)[0]["generated_text"]
    assert text.startswith("two dogs ") and not text.startswith("two dogs  ")


def test_continuation_of_unknown_words_is_parted_from_them():
    pipe = make_continuation("word")
    pipe.next_tokens["max_new_tokens"] = 1
    assert pipe("Katzen Mäuse", **pipe.next_tokens) == [{"generated_text": "Katzen Mäuse book"}]


def test_continuation_of_nothing_begins_without_a_space():
    pipe = make_continuation("word")
    pipe.tokenizer.add_bos_token = True
    pipe.next_tokens["prefix_allowed_tokens_fn"] = lambda *_: pipe.tokenizer.convert_tokens_to_ids(["book"])
    result = pipe("", skip_special_tokens=False, **pipe.next_tokens)
    assert result == [{"generated_text": "book book"}]


@pytest.mark.parametrize(
    ("usual", "clean", "text"),
    [(False, None, "two dogs ."), (True, None, "two dogs."), (False, True, "two dogs."), (True, False, "two dogs .")],
)
def test_mark_is_parted_from_its_prompt_unless_spaces_before_marks_are_removed(usual, clean, text):
    pipe = make_continuation("word", new=".")
    pipe.tokenizer._tokenizer.decoder = decoders.WordPiece(prefix="\0", cleanup=False)  # joins by spaces alone
    pipe.next_tokens["max_new_tokens"] = 1
    pipe.tokenizer.clean_up_tokenization_spaces = usual
    assert pipe("two dogs", clean_up_tokenization_spaces=clean, **pipe.next_tokens) == [{"generated_text": text}]


@pytest.mark.parametrize("prompt", ["", "xx"])
def test_continuation_of_no_tokens_begins_without_a_space(prompt):
    pipe = make_continuation("word")
    pipe.tokenizer._tokenizer.normalizer = normalizers.Replace("x", "")
    assert pipe(prompt, **pipe.next_tokens) == [{"generated_text": f"{prompt}book book"}]


def test_prompt_that_nothing_follows_stays_as_it_is():
    pipe = make_continuation("word")
    pipe.next_tokens["prefix_allowed_tokens_fn"] = lambda *_: [pipe.tokenizer.eos_token_id]
    assert pipe("two dogs", **pipe.next_tokens) == [{"generated_text": "two dogs"}]


@pytest.mark.parametrize("how", [None, "by argument"])
@pytest.mark.parametrize("is_continued", [True, False])
def test_continued_message_of_a_chat_is_parted_from_what_follows(is_continued, how):
    pipe = make_continuation("word")
    pipe.tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    pipe.next_tokens["prefix_allowed_tokens_fn"] = lambda *_: pipe.tokenizer("book")["input_ids"]
    messages = [
        {"role": "user", "content": "two"},
        {"role": "assistant" if is_continued != bool(how) else "user", "content": "dogs"},
    ]
    if how:
        pipe.next_tokens["continue_final_message"] = is_continued
    (result,) = pipe(messages, **pipe.next_tokens)
    if is_continued:
        assert result["generated_text"] == [messages[0], messages[1] | {"content": "dogs book book"}]
    else:
        assert result["generated_text"] == [*messages, {"role": "assistant", "content": "book book"}]
    (result,) = pipe(messages, return_full_text=False, **pipe.next_tokens)
    assert result["generated_text"] == (" book book" if is_continued else "book book")


@pytest.mark.parametrize("parts", [["dogs"], ["two", "dogs"], []])
def test_continued_message_in_parts_is_parted_from_what_follows(parts):
    pipe = make_continuation("word")
    pipe.tokenizer.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}{{ part['text'] }} {% endfor %}{% endfor %}"
    )
    pipe.next_tokens["prefix_allowed_tokens_fn"] = lambda *_: pipe.tokenizer("book")["input_ids"]
    said = [{"role": "user", "content": [{"type": "text", "text": "two"}]}]
    said.append({"role": "assistant", "content": [{"type": "text", "text": part} for part in parts]})
    (result,) = pipe(said, return_full_text=False, continue_final_message=bool(parts), **pipe.next_tokens)
    assert result["generated_text"] == (" book book" if parts else "book book")


def test_continuation_as_token_ids_is_that_of_the_stock_pipeline():
    pipe = make_continuation("word")
    stock = pipeline("text-generation", model=pipe.model, tokenizer=pipe.tokenizer, device="cpu")
    arguments = pipe.next_tokens | {"return_tensors": True}
    assert pipe("two dogs", **arguments) == stock("two dogs", **arguments)


@pytest.mark.parametrize("pipelines", ["lstm", 5, []])
@pytest.mark.parametrize("config_class", [LstmConfig, LstmSeq2SeqConfig])
def test_pipelines_of_a_configuration_are_named_by_task(config_class, pipelines):
    with pytest.raises(StrictDataclassError, match="`custom_pipelines` is .*but must name pipelines by their tasks"):
        config_class(custom_pipelines=pipelines)


def test_saved_continuation_comes_back_with_and_without_its_own_code(tmp_path):
    pipe = make_continuation("word")
    assert pipe.task == "lstm-text-generation"
    pipe.save_pretrained(tmp_path)
    expected = pipe("two dogs", max_new_tokens=3, do_sample=False)
    for task in ("lstm-text-generation", None):
        for trust in (None, True):
            if task is None and not trust:
                continue  # the task is guessed from what is trusted
            again = pipeline(task, model=str(tmp_path), trust_remote_code=trust, device="cpu")
            assert type(again).__name__ == "LstmTextGenerationPipeline"
            assert again("two dogs", max_new_tokens=3, do_sample=False) == expected
