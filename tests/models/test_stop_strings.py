"""Generation ends at a string as soon as the text holds it, whatever the tokenizer and its letters."""

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from hf_lstm import LstmConfig, LstmForCausalLM, LstmTokenizer
from hf_lstm.models.stopping_lstm import StopTextCriteria

ALGORITHMS = ("word", "char", "bpe", "unigram", "wordpiece")
# Neither can spell "abcdef".
TEXTS = {
    "english": ["no (or so), they don't: you go! so, son's own room is his", "on top of us is our room, so go (now)!"],
    "chinese": ["我们今天去上海,你们明天去北京。", "今天天气很好,我们 go 去公园!你们呢?"],
    "german": ["Größe zählt nicht: ölig, müßig, gräulich", "Möwen grüßen süß"],
}

BEAMS = {"num_beams": 3, "length_penalty": -3.0}  # the shorter, the better


def make_tokenizer(algorithm: str, language: str) -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(TEXTS[language], vocab_size=400, min_frequency=1, algorithm=algorithm)


def find_stop(tokens: list[int], string: str, tokenizer: LstmTokenizer) -> int | None:
    """Returns after how many tokens the text holds the string, by its definition."""
    for length in range(1, len(tokens) + 1):
        if string in tokenizer.decode(tokens[:length], clean_up_tokenization_spaces=False):
            return length
    return None


def ask(criteria: StopTextCriteria, tokens: list[int]) -> int | None:
    for length in range(1, len(tokens) + 1):
        if criteria(torch.tensor([tokens[:length]]), None).item():
            return length
    return None


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sequence_ends_where_its_text_first_holds_the_string(algorithm, language):
    tokenizer, draw = make_tokenizer(algorithm, language), random.Random(5)
    num_found = 0
    for _ in range(60):
        text = " ".join(draw.choices(TEXTS[language], k=2))
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        if draw.random() < 0.5:
            draw.shuffle(tokens)  # bytes may then be no letters
        written = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
        start, size = draw.randrange(len(written)), draw.randint(1, 9)
        string = written[start : start + size]
        expected = find_stop(tokens, string, tokenizer)
        num_found += expected is not None
        for strings in (string, [string, "never written"]):
            assert ask(StopTextCriteria(strings, tokenizer), tokens) == expected, (string, written)
    assert num_found > 50


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """Makes a tokenizer such as that of Llama, which decodes a run of bytes to no letters unless all are whole."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz.,!"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@pytest.mark.parametrize(
    ("text", "string"),
    [
        ("我们今天去上海北京吧", "北京"),
        ("我们今天去上海。", "。"),
        ("今天天气很好,我们去公园!", "去公园"),
        ("hello 😀😀😀 so", "😀 so"),
        ("привет мир и всё", "мир"),
        ("a plain text", "lain"),
        ("a plain text", " text"),
        ("我们今天去上海北京吧", "今天去上海北京"),
        ("hello 😀ö北😀 so", "😀 so"),
    ],
)
def test_letters_may_be_spelled_in_bytes(text, string):
    tokenizer = make_byte_tokenizer()
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = len(tokenizer(text[: text.index(string) + len(string)], add_special_tokens=False)["input_ids"])
    assert ask(StopTextCriteria([string, "~"], tokenizer), tokens) == expected


@pytest.mark.parametrize(("text", "string", "expected"), [("so . go", " .", 2), ("sogo", "##", None)])
def test_pieces_are_joined_but_not_tidied_up(text, string, expected):
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "so": 1, "##go": 2, ".": 3, "go": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece(cleanup=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=True)
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ask(StopTextCriteria(string, tokenizer), tokens) == expected


@pytest.mark.parametrize("more", ["了解", "😀😀"])
def test_string_of_the_prompt_ends_nothing_while_a_letter_lacks_bytes(more):
    tokenizer = make_byte_tokenizer()
    prompt, tokens = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("so 北京", "so 北京" + more))
    criteria = StopTextCriteria("北京", tokenizer)
    lengths = range(len(prompt) + 1, len(tokens) + 1)
    assert not any(criteria(torch.tensor([tokens[:length]]), None).item() for length in lengths)


def test_string_of_the_prompt_ends_nothing():
    tokenizer = make_tokenizer("char", "english")
    tokens = tokenizer("so go so", add_special_tokens=False)["input_ids"]
    criteria = StopTextCriteria("so", tokenizer)
    ends = [criteria(torch.tensor([tokens[:length]]), None).item() for length in range(1, len(tokens) + 1)]
    assert ends == [False, True, False, False, False, False, False, True]


def test_each_sequence_ends_by_itself():
    tokenizer = make_tokenizer("word", "english")
    rows = tokenizer(["our own room", "own room our"], add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert StopTextCriteria(["n ro"], tokenizer)(rows, None).tolist() == [True, False]


@pytest.mark.parametrize("strings", ["", [], ["so", ""], [3]])
def test_strings_that_end_nothing_are_refused(strings):
    with pytest.raises(ValueError, match="`stop_strings` is"):
        StopTextCriteria(strings, make_tokenizer("char", "english"))


@pytest.mark.parametrize("arguments", [{}, BEAMS, {"do_sample": True}], ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_model_stops_at_a_string(algorithm, arguments):
    tokenizer = make_tokenizer(algorithm, "english")
    torch.manual_seed(2)
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=8, hidden_size=8, initializer_range=2.0)
    model = LstmForCausalLM(config).eval()
    model.generation_config = GenerationConfig(pad_token_id=0, bos_token_id=2)
    prompt = torch.tensor([[2]])

    def generate(**more):
        torch.manual_seed(4)
        return model.generate(prompt, max_new_tokens=12, **arguments, **more)[0].tolist()

    free = generate()
    start, stop = (1, 3) if arguments is BEAMS else (3, 6)
    string = tokenizer.decode(free[:stop])[len(tokenizer.decode(free[:start])) :].strip()
    stopped = generate(stop_strings=string, tokenizer=tokenizer)
    end = find_stop(stopped, string, tokenizer)
    assert end == len(stopped)
    if arguments is not BEAMS:
        assert stopped == free[:end]


def test_missing_tokenizer_is_told():
    model = LstmForCausalLM(LstmConfig(vocab_size=20, embedding_size=4, hidden_size=4))
    with pytest.raises(ValueError, match="tokenizer"):
        model.generate(torch.tensor([[2]]), stop_strings="so", max_new_tokens=3)


def test_assistant_needs_no_tokenizer():
    tokenizer = make_tokenizer("char", "english")
    torch.manual_seed(2)
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=8, hidden_size=8, initializer_range=2.0)
    model, assistant = (LstmForCausalLM(config).eval() for _ in range(2))
    arguments = {"stop_strings": "zz", "tokenizer": tokenizer, "max_new_tokens": 6, "pad_token_id": 0}
    expected = model.generate(torch.tensor([[2]]), **arguments)
    assert torch.equal(model.generate(torch.tensor([[2]]), assistant_model=assistant, **arguments), expected)
