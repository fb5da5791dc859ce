import logging

import pytest
from datasets import Dataset

from hf_lstm import LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.data.tokenization import choose_algorithm, iterate_texts, tokenize


@pytest.fixture(scope="module")
def tokenizer():
    corpus = ["one two three four five", "six seven"]
    return LstmTokenizer.train_from_iterator(corpus, algorithm="word", min_frequency=1, show_progress=False)


def lengths(tokenized):
    return [len(ids) for ids in tokenized["input_ids"]]


@pytest.mark.parametrize(
    ("texts", "algorithm"),
    [
        (["The cat sat.", "12 dogs!"], "word"),
        (["Кошка сидит на окне"], "word"),
        (["고양이가 창가에 앉아 있다"], "word"),
        (["新闻标题 NBA 季后赛开始", "股市大涨"], "char"),
        (["これは日本語の文です"], "char"),
        (["ภาษาไทยไม่เว้นวรรค"], "char"),
        (["12 34", ""], "word"),
        (["これは本です"], "char"),
        (["русский текст"], "word"),
        (["abcdefg北京上"], "char"),
        (["abcdefgh北京上"], "word"),
        (["x", "x", "x", "北京上海"], "char"),
        (["x" * 20 + "北" * 30], "char"),
        (["an English text that mentions 北京 once"], "word"),
    ],
)
def test_algorithm_follows_the_script(texts, algorithm):
    assert choose_algorithm(Dataset.from_dict({"text": texts})["text"]) == algorithm
    assert choose_algorithm(texts) == algorithm


def test_texts_of_a_pair_follow_each_other():
    pairs = Dataset.from_dict({"text": ["a", "b", "c"], "text_pair": ["d", "e", "f"], "labels": [0, 1, 0]})
    assert list(iterate_texts(pairs, batch_size=2)) == ["a", "d", "b", "e", "c", "f"]


def test_tokenised_texts_have_ids_and_keep_their_labels(tokenizer):
    dataset = Dataset.from_dict({"text": ["one two", "six", ""], "labels": [1, 0, 1]})
    tokenized = tokenize(dataset, tokenizer, 7, "train")
    assert sorted(tokenized.column_names) == ["input_ids", "labels"]
    assert tokenized["input_ids"][:2] == tokenizer(["one two", "six"])["input_ids"]
    assert lengths(tokenized) == [2, 1, 0]
    assert tokenized["labels"][:] == [1, 0, 1]


def test_long_texts_are_cut_and_counted(tokenizer, caplog):
    dataset = Dataset.from_dict({"text": ["one two three", "one two three four", "five", "six seven one two five"]})
    with caplog.at_level(logging.WARNING):
        tokenized = tokenize(dataset, tokenizer, 3, "test")
    assert lengths(tokenized) == [3, 3, 1, 3]
    assert "2 of 4 texts of the test data (50.0 %) were cut to 3 tokens; raise --max_length" in caplog.text


def test_no_text_is_said_to_be_cut_if_all_fit(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        tokenize(Dataset.from_dict({"text": ["one two three"]}), tokenizer, 3, "test")
    assert "cut" not in caplog.text


@pytest.mark.parametrize(("columns", "least"), [(("text",), 3), (("text", "text_pair"), 4)])
def test_limit_leaves_room_for_a_token(columns, least):
    texts = ["one two three"]
    options = {"min_frequency": 1, "show_progress": False, "add_bos": True, "add_eos": True}
    tokenizer = LstmTokenizer.train_from_iterator(texts, **options)
    dataset = Dataset.from_dict(dict.fromkeys(columns, texts))
    assert len(tokenizer(*[""] * len(columns))["input_ids"]) == least - 1
    for max_length in range(1, least):
        with pytest.raises(InputError, match=f"`max_length` is {max_length}, but must be at least {least}: it counts"):
            tokenize(dataset, tokenizer, max_length, "train")
    assert lengths(tokenize(dataset, tokenizer, least, "train")) == [least]


def test_very_long_text_is_cut(tokenizer):
    tokenized = tokenize(Dataset.from_dict({"text": ["one " * 50_000, "two"]}), tokenizer, 11, "train")
    assert lengths(tokenized) == [11, 1]


def test_pair_is_joined_by_a_separator_and_cut_together(tokenizer):
    dataset = Dataset.from_dict({"text": ["one two", "one two three four"], "text_pair": ["six", "seven six"]})
    tokenized = tokenize(dataset, tokenizer, 5, "train")
    assert tokenized["input_ids"][0] == tokenizer("one two", "six")["input_ids"]
    assert tokenizer.eos_token_id in tokenized["input_ids"][0]
    assert lengths(tokenized) == [4, 5]
