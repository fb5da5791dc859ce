"""Tests of the tokenizer: what it splits, that it survives saving, and what it refuses."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer

import hf_lstm  # noqa: F401  (registers the tokenizer with AutoTokenizer)
from hf_lstm.models.tokenization_lstm import ALGORITHMS, LstmTokenizer

CORPUS = [
    "I don't think it's a good film.",
    "The film was good, the story wasn't!",
    "我爱北京天安门，很好看",
    "我爱北京",
    "Ｆｕｌｌ width Full (width) 3.5 %",
    "mixed 中文 and English 👍🏽 ok",
] * 4
UNSEEN = [
    "",
    "   ",
    "The good film",
    "zzz qqq 龘",
    "👨‍👩‍👧 ❤️ 👍🏽",
    "北京 is 很好 — naïve café مرحبا",
    "tabs\tand\nnew lines",
    "<s> special </s> tokens <pad> in <unk> text",
]


def train(algorithm: str = "word", corpus: list[str] | None = None, **arguments) -> LstmTokenizer:
    settings = {"vocab_size": 420, "min_frequency": 1, "show_progress": False, **arguments}
    return LstmTokenizer.train_from_iterator(corpus or CORPUS, algorithm=algorithm, **settings)


def tokens(tokenizer: LstmTokenizer, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("surround", [False, True])
def test_ids_offsets_and_decoding_stay_equal_after_reloading(algorithm, surround, tmp_path):
    tokenizer = train(algorithm, add_bos=surround, add_eos=surround, model_max_length=17)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(reloaded) is LstmTokenizer
    assert (reloaded.add_bos_token, reloaded.add_eos_token) == (surround, surround)
    assert reloaded.model_max_length == 17
    assert reloaded.get_vocab() == tokenizer.get_vocab()
    for text in CORPUS[:6] + UNSEEN:
        expected = tokenizer(text, return_offsets_mapping=True)
        assert reloaded(text, return_offsets_mapping=True) == expected
        assert reloaded.decode(expected["input_ids"]) == tokenizer.decode(expected["input_ids"])
        assert reloaded(text, "and a pair") == tokenizer(text, "and a pair")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_switch_set_after_reloading_keeps_the_other_switch(algorithm, tmp_path):
    train(algorithm, add_eos=True).save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    reloaded.add_bos_token = True
    ids = reloaded("good")["input_ids"]
    assert (ids[0], ids[-1]) == (2, 3)
    assert 3 not in ids[1:-1]


@pytest.mark.parametrize(("missing", "kept"), [("bos", "</s>"), ("eos", "<s>")])
def test_switch_of_a_missing_token_stays_off(missing, kept, tmp_path):
    train("word", add_bos=True, add_eos=True).save_pretrained(tmp_path)
    tokenizer = LstmTokenizer.from_pretrained(tmp_path, **{f"{missing}_token": None})
    setattr(tokenizer, f"add_{missing}_token", True)
    assert getattr(tokenizer, f"add_{missing}_token") is False
    assert tokens(tokenizer, "good") == (["good", kept] if missing == "bos" else [kept, "good"])
    pair = tokenizer.convert_ids_to_tokens(tokenizer("good", "good")["input_ids"])
    assert pair == (["good", kept, "good", kept] if missing == "bos" else [kept, "good", "good"])


def test_saved_tokenizer_loads_where_the_package_is_missing(tmp_path):
    tokenizer = train("word", add_eos=True)
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    program = (
        "import sys; sys.modules['hf_lstm'] = None\n"
        "from transformers import AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / 'checkpoint')!r}, trust_remote_code=True)\n"
        "print(type(tokenizer).__name__, tokenizer('The good film', 'zzz')['input_ids'])\n"
    )
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == f"LstmTokenizer {tokenizer('The good film', 'zzz')['input_ids']}", result.stderr


def test_special_tokens_have_the_first_ids():
    for algorithm in ALGORITHMS:
        tokenizer = train(algorithm)
        assert tokenizer.convert_tokens_to_ids(["<pad>", "<unk>", "<s>", "</s>"]) == [0, 1, 2, 3]
        assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (2, 3)
        assert tokenizer.model_input_names == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't think it's bad!", ["i", "do", "n't", "think", "it", "'s", "bad", "!"]),
        ("You can’t, we’ll see", ["you", "ca", "n’t", ",", "we", "’ll", "see"]),
        ("O'Brien's l'homme", ["o'brien", "'s", "l'homme"]),
        ("a well-known film...", ["a", "well", "-", "known", "film", ".", ".", "."]),
        ("1,000.5 points (20 %)", ["1,000.5", "points", "(", "20", "%", ")"]),
        ("ca n't stop", ["ca", "n't", "stop"]),
        ("我爱NLP，很好", ["我", "爱", "nlp", ",", "很", "好"]),
        ("コーヒー", ["コ", "ー", "ヒ", "ー"]),
        ("👍🏽👨‍👩‍👧 ok", ["👍🏽", "👨‍👩‍👧", "ok"]),
        ("🇩🇪🇫🇷🇩 a🇩🇪️b", ["🇩🇪", "🇫🇷", "🇩", "a", "🇩🇪️", "b"]),
        ("مرحبا हिन्दी naïve", ["مرحبا", "हिन्दी", "naïve"]),
        ("covid19 snake_case", ["covid19", "snake_case"]),
        ("  \t\n", []),
    ],
)
def test_word_splits_text_into_words_and_marks(text, expected):
    tokenizer = train("word", corpus=[text or "x", "x"])
    assert tokens(tokenizer, text) == expected


def test_capital_contractions_are_split_as_small_ones_are():
    tokenizer = train("word", corpus=["I DON'T, SHE'LL"], lowercase=False)
    assert tokens(tokenizer, "SHE DON'T, I'LL") == ["SHE", "DO", "N'T", ",", "I", "'LL"]


@pytest.mark.parametrize("algorithm", ["word", "wordpiece"])
def test_words_decode_to_natural_spacing(algorithm):
    for text in ["i don't know, it's (very) good!", "我爱北京,很好", "a 3.5 % share: yes?"]:
        tokenizer = train(algorithm, corpus=[text])
        assert tokenizer.decode(tokenizer(text)["input_ids"]).replace(" %", "%") == text.replace(" %", "%").replace(
            "京,很", "京, 很"
        )


@pytest.mark.parametrize("algorithm", ["char", "bpe"])
def test_decoding_gives_the_text_back(algorithm):
    for text in [*CORPUS[:6], "  two  spaces ", "tab\tline\n"]:
        tokenizer = train(algorithm, corpus=[text], lowercase=False, normalization=None)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_bpe_gives_a_word_one_token_wherever_it_stands():
    tokenizer = train("bpe", corpus=["film film film"] * 3)
    first, second = tokenizer("film film")["input_ids"]
    assert first == second


def test_bpe_keeps_contractions_apart_from_words():
    tokenizer = train("bpe", corpus=["don't can't it's o'malley"] * 3)
    assert tokens(tokenizer, "don't it's o'malley") == ["Ġdon", "'t", "Ġit", "'s", "Ġo", "'", "malley"]


def test_bpe_knows_every_byte():
    tokenizer = train("bpe", vocab_size=260, corpus=["abc"])
    assert len(tokenizer) == 260
    text = "龘 🦄 ñ"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_unknown_words_and_characters_become_the_unknown_token():
    assert tokens(train("word"), "good zzz") == ["good", "<unk>"]
    assert tokens(train("char"), "龘good") == ["<unk>", "g", "o", "o", "d"]
    assert "<unk>" in tokens(train("unigram"), "龘")
    assert tokens(train("wordpiece"), "龘") == ["<unk>"]


def test_each_line_break_is_a_character():
    assert tokens(train("char", corpus=["a\n\nb"]), "a\n\nb") == ["a", "\n", "\n", "b"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty_text_gives_no_tokens_but_the_surrounding_ones(algorithm):
    tokenizer = train(algorithm)
    assert tokenizer("")["input_ids"] == []
    assert train(algorithm, add_bos=True, add_eos=True)("")["input_ids"] == [2, 3]
    batch = tokenizer(["", "good"], padding=True)
    assert batch["attention_mask"][0] == [0] * len(batch["input_ids"][1])
    assert set(batch["input_ids"][0]) == {0}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "line", ["good film " * 100_000, "a" * 1_000_000, "我爱北京" * 84_000, "👨‍👩‍👧" * 56_000, "🇩🇪" * 125_000]
)
def test_megabyte_line_is_encoded_quickly(algorithm, line):
    tokenizer = train(algorithm)
    start = time.perf_counter()
    ids = tokenizer(line)["input_ids"]
    tokenizer.decode(ids)
    assert time.perf_counter() - start < 30  # seconds; a quadratic algorithm takes hours
    assert 1 <= len(ids) <= 1_100_000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_on_a_megabyte_line_is_quick(algorithm):
    start = time.perf_counter()
    tokenizer = train(algorithm, corpus=["我爱北京" * 50_000 + "a" * 500_000], vocab_size=2_000)
    assert time.perf_counter() - start < 60  # seconds
    assert len(tokenizer) > 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pair_is_joined_by_the_end_token(algorithm):
    tokenizer = train(algorithm)
    first, second = tokenizer("good film")["input_ids"], tokenizer("the story")["input_ids"]
    assert tokenizer("good film", "the story")["input_ids"] == [*first, 3, *second]
    assert set(tokenizer("good film", "the story")) == {"input_ids", "attention_mask"}
    tokenizer = train(algorithm, add_bos=True, add_eos=True)
    assert tokenizer("good film", "the story")["input_ids"] == [2, *first, 3, *second, 3]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3


def test_empty_second_text_is_a_pair_alone_as_in_a_batch():
    tokenizer = train(add_eos=True)
    first = tokenizer("good film")["input_ids"]
    assert tokenizer(["good film"], [""])["input_ids"] == [[*first, 3]]
    encoding = tokenizer("good film", "")
    assert encoding["input_ids"] == [*first, 3] and encoding["attention_mask"] == [1] * (len(first) + 1)
    assert encoding.tokens()[-2:] == ["</s>", "</s>"]
    assert tokenizer("good film", "", return_tensors="pt")["input_ids"].tolist() == [[*first, 3]]
    assert tokenizer("good film", "", truncation=True, max_length=3)["input_ids"] == [first[0], 3, 3]
    assert tokenizer.encode("", "") == [3, 3]
    parts = tokenizer("good film", "", truncation=True, max_length=3, return_overflowing_tokens=True)
    assert parts["input_ids"] == [[token_id, 3, 3] for token_id in first[:2]]
    assert parts["overflow_to_sample_mapping"] == [0, 0]


def test_bos_and_eos_are_switched_one_by_one():
    good = train()("good")["input_ids"]
    assert train(add_bos=True)("good")["input_ids"] == [2, *good]
    assert train(add_eos=True)("good")["input_ids"] == [*good, 3]
    assert train(add_eos=True)("good", add_special_tokens=False)["input_ids"] == good


def test_padding_fills_the_right_side_unless_told():
    tokenizer = train()
    batch = tokenizer(["good", "the good film"], padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 3)
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    tokenizer.padding_side = "left"
    assert tokenizer(["good", "the good film"], padding=True)["attention_mask"][0] == [0, 0, 1]


def test_batch_equals_single_texts():
    tokenizer = train("unigram", add_eos=True)
    texts = CORPUS[:6] + UNSEEN
    assert tokenizer(texts)["input_ids"] == [tokenizer(text)["input_ids"] for text in texts]


def test_truncation_keeps_the_end_token():
    tokenizer = train(add_eos=True, model_max_length=3)
    assert tokens(tokenizer, "the good film")[-1] == "</s>"
    ids = tokenizer("the good film was", truncation=True)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["the", "good", "</s>"]


def test_words_below_the_minimum_frequency_are_unknown():
    tokenizer = train(corpus=["often often often rare", "twice twice"], min_frequency=2)
    assert tokens(tokenizer, "often twice rare") == ["often", "twice", "<unk>"]
    tokenizer = train(corpus=["often often often rare", "twice twice"], min_frequency=3)
    assert tokens(tokenizer, "often twice rare") == ["often", "<unk>", "<unk>"]


def test_unigram_drops_characters_below_the_minimum_frequency():
    corpus = ["北京北京北京", "北京北京龘"]
    assert "<unk>" in tokens(train("unigram", corpus=corpus, min_frequency=2), "龘")
    assert "<unk>" not in tokens(train("unigram", corpus=corpus, min_frequency=1), "龘")


def test_word_pieces_hold_characters_that_are_frequent_enough_where_they_occur():
    tokenizer = train("wordpiece", corpus=["zebra zebra", "zebraq"], min_frequency=2)
    learnt = {*"zebra", "##e", "##b", "##r", "##a", "zebra"}
    assert learnt <= set(tokenizer.get_vocab())
    assert {"q", "##q", "##z"}.isdisjoint(tokenizer.get_vocab())


def test_rare_characters_of_unigram_stand_in_the_order_of_their_frequency():
    rare = [character for count, character in enumerate("öñßåéçä", start=1) for _ in range(count)]
    tokenizer = train("unigram", corpus=["good film"] * 50 + rare)
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer)))[-7:] == list("äçéåßñö")


def test_lower_casing_and_normalization_can_be_switched_off():
    assert train()("GOOD")["input_ids"] == train()("good")["input_ids"]
    assert train()("Ｆｕｌｌ")["input_ids"] == train()("full")["input_ids"]
    cased = train(lowercase=False)
    assert cased("The")["input_ids"] != cased("the")["input_ids"]
    assert tokens(train(normalization=None), "Ｆｕｌｌ") == ["ｆｕｌｌ"]
    assert tokens(train(corpus=["mhz"]), "㎒") == ["mhz"]


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "char"])
def test_offsets_are_those_of_words_without_the_space_before(algorithm):
    text = "On a x, 中文 dog"
    tokenizer = train(algorithm, [text] * 4, vocab_size=400)
    for switch in (False, True):
        tokenizer.add_eos_token = switch
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        covered = {place for start, end in offsets for place in range(start, end)}
        assert covered == {place for place, character in enumerate(text) if character != " "}


def test_offsets_point_into_the_original_text():
    tokenizer = train()
    text = "The Ｆｕｌｌ film"
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert [text[start:end] for start, end in offsets] == ["The", "Ｆｕｌｌ", "film"]


def test_special_tokens_in_text_are_found_unless_split():
    tokenizer = train()
    assert tokenizer("<s> good </s><unk>")["input_ids"] == [2, *tokenizer("good")["input_ids"], 3, 1]
    split = tokenizer("<s> good", split_special_tokens=True)["input_ids"]
    assert 2 not in split


@pytest.mark.parametrize("algorithm", ["char", "unigram", "bpe"])
def test_chinese_text_needs_no_word_splitter(algorithm):
    corpus = ["我爱北京天安门", "北京欢迎你", "天安门在北京", "我在北京"] * 5
    tokenizer = train(algorithm, corpus=corpus, vocab_size=300, min_frequency=2)
    found = tokenizer("我爱北京")["input_ids"]
    assert tokenizer.unk_token_id not in found
    assert tokenizer.decode(found) == "我爱北京"
    if algorithm == "char":
        assert tokens(tokenizer, "我爱北京") == ["我", "爱", "北", "京"]
    else:
        assert len(found) < 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_vocabulary_keeps_to_its_size(algorithm):
    corpus = ["".join(chr(0x4E00 + (7 * row * column) % 911) for column in range(30)) for row in range(200)]
    tokenizer = train(algorithm, corpus=corpus, vocab_size=300)
    assert 150 < len(tokenizer) <= 300
    assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


@pytest.mark.parametrize(
    ("algorithm", "smallest"), [("word", 5), ("char", 5), ("bpe", 260), ("unigram", 6), ("wordpiece", 6)]
)
def test_smallest_vocabulary_knows_what_is_most_frequent(algorithm, smallest):
    tokenizer = train(algorithm, corpus=["b", "b", "b c a"], vocab_size=smallest)
    assert len(tokenizer) <= smallest
    assert tokenizer.unk_token_id not in tokenizer("b")["input_ids"]
    with pytest.raises(ValueError, match=f"which needs at least {smallest}"):
        train(algorithm, vocab_size=smallest - 1)


def test_white_space_takes_no_place_in_a_vocabulary_of_unigram():
    tokenizer = train("unigram", corpus=["b c\nd a b\x1ce"], vocab_size=6)
    assert tokens(tokenizer, "b\nb") == ["▁", "b", "▁", "b"]
    assert len(tokenizer) == 6


def test_separators_that_part_no_words_are_characters_of_unigram():
    tokenizer = train("unigram", corpus=["a\x1fb\x1fc d"] * 50, vocab_size=300)
    assert tokenizer.decode(tokenizer("a\x1fb c")["input_ids"]) == "a\x1fb c"


@pytest.mark.parametrize(("text", "letter"), [("aaaa", "a"), ("abbabbabbb", "b")])
def test_unigram_learns_no_more_tokens_than_asked_for(text, letter):
    tokenizer = train("unigram", corpus=[text] * 9, vocab_size=6)
    assert {*tokenizer.convert_ids_to_tokens(range(4, len(tokenizer)))} == {"▁", letter}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_twice_gives_the_same_vocabulary(algorithm):
    assert train(algorithm).get_vocab() == train(algorithm).get_vocab()


def test_batches_and_generators_train_the_same_tokenizer():
    expected = train().get_vocab()
    for batches in ([CORPUS[:7], CORPUS[7:]], [tuple(CORPUS), ["", "  "]]):
        assert train(corpus=batches).get_vocab() == expected
    assert train(corpus=(text for text in CORPUS), length=len(CORPUS)).get_vocab() == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_on_many_lines_takes_seconds(algorithm):
    lines = [
        f"line {row % 977} of the {row % 31} film was {'good' if row % 2 else 'bad'} 北京{row % 53}"
        for row in range(100_000)
    ]
    start = time.perf_counter()
    tokenizer = train(algorithm, corpus=lines, vocab_size=1_000)
    assert time.perf_counter() - start < 60
    assert tokens(tokenizer, "film")


def capture_terminal(action) -> str:
    """Returns what an action writes to standard error when that is a terminal."""
    controller, terminal = os.openpty()
    saved = os.dup(2)
    os.dup2(terminal, 2)
    try:
        action()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(terminal)
    output = b""
    # Reading past the end of a closed terminal is an error on Linux and an empty answer elsewhere.
    with contextlib.suppress(OSError):
        while part := os.read(controller, 4096):
            output += part
    os.close(controller)
    return output.decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_shows_progress_in_a_terminal_when_asked(algorithm):
    assert "sequences" in capture_terminal(lambda: train(algorithm, show_progress=True))
    assert capture_terminal(lambda: train(algorithm, show_progress=False)) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "words"}, "Unknown algorithm 'words': choose one of 'word', 'char', 'bpe'"),
        ({"normalization": "nfd"}, "Unknown normalization 'nfd'"),
        ({"vocab_size": 4}, "vocab_size=4 is too small for algorithm 'word', which needs at least 5"),
        ({"vocab_size": 259, "algorithm": "bpe"}, "vocab_size=259 is too small for algorithm 'bpe', which needs at"),
        ({"min_frequency": 0}, "min_frequency=0 must be 1"),
        ({"model_max_length": 0}, "model_max_length=0 must be 1 or more"),
        ({"min_frequency": 1000}, "No word occurs min_frequency=1000 times"),
        ({"min_frequency": 1000, "algorithm": "unigram"}, "No character occurs min_frequency=1000 times"),
    ],
)
def test_invalid_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LstmTokenizer.train_from_iterator(CORPUS, show_progress=False, **arguments)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("corpus", [[], ["", "  \n"], [[], [""]]])
def test_empty_corpus_is_refused(algorithm, corpus):
    with pytest.raises(ValueError, match="The corpus is empty"):
        LstmTokenizer.train_from_iterator(corpus, algorithm=algorithm, show_progress=False)


def test_text_that_is_no_string_is_named():
    with pytest.raises(TypeError, match=r"Text number 1 is None \(NoneType\) but must be a string"):
        LstmTokenizer.train_from_iterator(["fine", None], show_progress=False)
    with pytest.raises(TypeError, match="are one string"):
        LstmTokenizer.train_from_iterator("a single text", show_progress=False)
    with pytest.raises(TypeError, match="are a dict"):
        LstmTokenizer.train_from_iterator({"text": CORPUS}, show_progress=False)
    with pytest.raises(TypeError, match="vocabsize"):
        LstmTokenizer.train_from_iterator(CORPUS, vocabsize=100)


def test_half_of_a_surrogate_pair_is_shown_between_what_stands_beside_it():
    with pytest.raises(ValueError, match=r"The text 'ab\\ud83dc{19}' has half of a surrogate pair at character 2"):
        train()("ab\ud83d" + "c" * 50)


def test_saved_configuration_names_class_and_code(tmp_path):
    train().save_pretrained(tmp_path)
    configuration = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert configuration["tokenizer_class"] == "LstmTokenizer"
    assert "tokenization_lstm.LstmTokenizer" in configuration["auto_map"]["AutoTokenizer"]
    assert (tmp_path / "tokenization_lstm.py").is_file()


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_words_that_were_joined_from_tokens_can_be_joined_again(algorithm):
    # As the pipeline for tokens does with the words of an entity.
    tokenizer = train(algorithm)
    pieces = [tokens(tokenizer, word) for word in ("the", "good", "film")]
    words = [tokenizer.convert_tokens_to_string(piece) for piece in pieces]
    assert words == [" the", " good", " film"]
    for parts in (words, [token for piece in pieces for token in piece]):
        assert tokenizer.convert_tokens_to_string(parts) == " the good film"
    assert tokenizer.convert_tokens_to_string(["o", "k"]) == "ok"
    assert tokenizer.convert_tokens_to_string([]) == ""


def test_tokens_of_another_backend_are_joined_as_it_joins_them():
    backend = Tokenizer(models.BPE({"Ġ": 0, "Ġa": 1, "b": 2}, []))
    backend.decoder = decoders.ByteLevel()
    tokenizer = LstmTokenizer(tokenizer_object=backend)
    assert tokenizer.convert_tokens_to_string(["Ġa", "b", "Ġa"]) == " ab a"
    assert tokenizer.convert_tokens_to_string(["Ġ", "Ġa"]) == "  a"
