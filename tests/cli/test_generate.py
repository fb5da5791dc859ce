import os
import shutil
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline

from tests.cli.saved_models import TEXTS, save_translator


def lines_of(out):
    return out.removesuffix("\n").split("\n")


@pytest.mark.parametrize("flags", [(), ("--no_stream",), ("--num_beams", 2)], ids=["streamed", "whole", "beams"])
def test_encoder_decoder_writes_what_its_pipeline_writes(run, translator, flags):
    code, out, err = run("generate", translator, *TEXTS[:3], *flags, "--max_new_tokens", 6)
    assert code == 0, err
    translate = pipeline("lstm-translation", model=str(translator))
    num_beams = 2 if "--num_beams" in flags else 1
    options = {"num_beams": num_beams, "max_new_tokens": 6, "max_length": None}
    assert lines_of(out) == [translate(text, **options)[0]["translation_text"] for text in TEXTS[:3]]


@pytest.mark.parametrize("flags", [(), ("--no_stream",)], ids=["streamed", "whole"])
def test_language_model_continues_the_text_without_its_end_token(run, language_model, flags):
    code, out, err = run("generate", language_model, TEXTS[0], *flags, "--max_new_tokens", 5)
    assert code == 0, err
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(language_model),
        AutoTokenizer.from_pretrained(language_model),
    )
    prompt = tokenizer([TEXTS[0]], return_tensors="pt")["input_ids"]
    assert prompt[0, -1] == tokenizer.eos_token_id
    expected = model.generate(prompt[:, :-1], attention_mask=torch.ones(1, 4).long(), max_new_tokens=5)
    assert lines_of(out) == [tokenizer.decode(expected[0], skip_special_tokens=True)]
    assert out.startswith(TEXTS[0]) and len(out) > len(TEXTS[0]) + 1


def limit_length(model, folder, limit):
    """Copies a model, with a tokenizer that is made for texts of so many tokens."""
    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.model_max_length = limit
    tokenizer.save_pretrained(folder)
    return folder


def test_prefix_and_stop_strings_of_the_model_count(run, translator, tmp_path):
    prefixed = save_translator(tmp_path / "prefixed", prefix="the film ")
    assert run("generate", prefixed, "a dog")[1] == run("generate", translator, "the film a dog")[1]
    words = run("generate", translator, "a dog")[1].split()
    stopping = shutil.copytree(translator, tmp_path / "stopping")
    GenerationConfig.from_pretrained(stopping, stop_strings=[words[2]]).save_pretrained(stopping)
    code, out, err = run("generate", stopping, "a dog")
    assert code == 0, err
    assert out.split() == words[: words.index(words[2]) + 1]


def test_text_of_end_tokens_alone_cannot_be_continued(run, language_model):
    code, out, err = run("generate", language_model, "</s>")
    assert (code, out) == (1, "") and "The text '</s>' has no tokens" in err


def test_long_texts_of_an_encoder_decoder_are_cut_with_one_warning(run, translator, tmp_path, caplog):
    short = limit_length(translator, tmp_path / "model", 3)
    code, out, err = run("generate", short, "a dog ran home", "a dog", "", "a dog sang")
    assert code == 0, err
    whole = lines_of(run("generate", translator, "a dog", "a dog", "", "a dog")[1])
    assert lines_of(out) == whole
    assert [record.getMessage() for record in caplog.records if "cut" in record.getMessage()] == [
        "2 of 4 texts were cut to 3 tokens; `hf-lstm predict` reads more of them with --max_length."
    ]


def test_language_model_continues_a_long_text_from_its_end(run, language_model, tmp_path, caplog):
    short = limit_length(language_model, tmp_path / "model", 3)
    command = (TEXTS[2], "--max_new_tokens", 5)
    assert run("generate", short, *command)[:2] == run("generate", language_model, *command)[:2]
    assert "cut" not in caplog.text and "longer" not in caplog.text


def test_streamed_words_appear_before_the_end(run, language_model, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "transformers.TextStreamer.on_finalized_text", lambda self, text, stream_end=False: shown.append(text)
    )
    assert run("generate", language_model, "the cat", "--max_new_tokens", 5)[0] == 0
    assert len([text for text in shown if text]) > 3
    shown.clear()
    out = run("generate", language_model, "the cat", "--max_new_tokens", 5, "--no_stream")[1]
    assert out.startswith("the cat") and shown == []


def test_standard_input_has_a_text_in_each_line_and_blank_ones_stay_blank(run, type_in, translator):
    type_in("\n".join([TEXTS[0], "  ", TEXTS[1]]) + "\n")
    code, out, _ = run("generate", translator)
    alone = [run("generate", translator, text)[1] for text in TEXTS[:2]]
    assert code == 0 and lines_of(out) == [alone[0].strip(), "", alone[1].strip()]
    type_in(f"\n{TEXTS[0]}\n")
    out = run("generate", translator, "--num_beams", 3, "--num_return_sequences", 2)[1]
    assert lines_of(out)[:2] == ["", ""] and len(lines_of(out)) == 4


def test_standard_input_has_no_byte_order_mark_and_a_known_encoding(run, type_in, language_model):
    type_in("\ufeffthe cat\n")
    assert run("generate", language_model, "--max_new_tokens", 5)[1].startswith("the cat")
    type_in("the cat\n")
    code, _, err = run("generate", language_model, "--file_encoding", "utf-9")
    assert code == 1 and "`file_encoding` is 'utf-9', which Python does not know" in err


def test_results_are_not_appended_to_the_file_that_is_read(run, translator, tmp_path, monkeypatch):
    path = tmp_path / "texts.txt"
    path.write_text("a dog\n")
    with path.open() as read, path.open("a") as written, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", read)
        patch.setattr(sys, "stdout", written)
        code, _, err = run("generate", translator)
        assert code == 1 and "The output, standard output, is the same file as the input, standard input" in err
        assert run("generate", translator, "the cat")[0] == 0  # reads nothing
    assert len(path.read_text().splitlines()) == 2


def test_one_device_may_be_input_and_output(run, translator, monkeypatch):
    with open(os.devnull, "r+") as device, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", device)
        patch.setattr(sys, "stdout", device)
        assert run("generate", translator)[0] == 0


def test_sampling_follows_the_seed_and_the_options(run, language_model):
    command = ("generate", language_model, "the cat", "--max_new_tokens", 8, "--do_sample")
    first, again, other = (run(*command, "--seed", seed)[1] for seed in (1, 1, 2))
    assert first == again != other
    greedy = run("generate", language_model, "the cat", "--max_new_tokens", 8)[1]
    assert run(*command, "--top_k", 1)[1] == greedy
    assert run(*command, "--top_p", 1e-6)[1] == greedy
    assert run(*command, "--temperature", 1e-4)[1] == greedy


def test_texts_after_the_largest_seed_are_drawn_too(run, type_in, language_model):
    type_in("the cat\nthe cat\n")
    code, out, err = run("generate", language_model, "--do_sample", "--max_new_tokens", 8, "--seed", 2**32 - 1)
    assert code == 0, err
    command = ("generate", language_model, "the cat", "--do_sample", "--max_new_tokens", 8, "--seed")
    assert out == run(*command, 2**32 - 1)[1] + run(*command, 0)[1]


def test_length_is_limited_for_models_that_say_nothing_about_it(run, language_model, monkeypatch):
    monkeypatch.setattr("hf_lstm.cli.inference.predictor.DEFAULT_MAX_NEW_TOKENS", 3)
    code, out, _ = run("generate", language_model, "rain fell")
    assert code == 0 and len(out.split()) <= 2 + 3


def test_length_that_the_model_was_saved_with_holds_until_another_is_asked_for(run, language_model, tmp_path):
    folder = shutil.copytree(language_model, tmp_path / "model")
    GenerationConfig.from_pretrained(folder, max_length=None, max_new_tokens=3).save_pretrained(folder)
    assert run("generate", folder, "the cat")[1] == run("generate", language_model, "the cat", *limit(3))[1]
    assert run("generate", folder, "the cat", *limit(5))[1] == run("generate", language_model, "the cat", *limit(5))[1]


def limit(count):
    return ("--max_new_tokens", count)


def test_text_may_look_like_a_flag_and_flags_may_come_first(run, translator):
    assert run("generate", translator, "--", "-dog")[0] == 0
    assert run("generate", "--num_beams", 2, translator, "a dog")[0] == 0


@pytest.mark.parametrize(
    ("model", "args", "code", "message"),
    [
        ("classifier", ["a dog"], 1, "needs LstmForConditionalGeneration or LstmForCausalLM"),
        ("translator", ["a dog", "--temperature", "0.5"], 1, "pass --do_sample as well"),
        ("translator", ["a dog", "--num_return_sequences", "3"], 1, "cannot generate in this way"),
        ("translator", ["a dog", "--num_beam", "3"], 2, "Did you mean 'num_beams'?"),
        (
            "translator",
            ["a dog", "--seed", "4294967296"],
            2,
            "'4294967296' must be a whole number of at most 4294967295",
        ),
        ("translator", ["a dog", "--length_penalty", "nan"], 2, "'nan' must be a finite number"),
        ("translator", ["a dog", "caf\udce9"], 1, "Text 2 is 'caf\\udce9', which is not written in the encoding"),
    ],
)
def test_what_the_model_cannot_do_is_an_error(run, request, model, args, code, message):
    found, out, err = run("generate", request.getfixturevalue(model), *args)
    assert (found, out) == (code, "") and message in err


def test_file_in_place_of_a_model_is_an_error(run, translator):
    code, out, err = run("generate", translator / "config.json", "a dog")
    assert (code, out) == (1, "") and "config.json' is a file, but must be the folder of a saved model" in err
