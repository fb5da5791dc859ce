import pytest
from datasets import Dataset

from hf_lstm import LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.data.pair_tokenization import encode_pairs, tokenize_pairs
from hf_lstm.models.tokenization_lstm import LstmSeq2SeqTokenizer


@pytest.fixture(scope="module")
def tokenizer():
    corpus = ["one two three four five", "six seven"]
    return LstmTokenizer.train_from_iterator(
        corpus, algorithm="word", min_frequency=1, add_eos=True, show_progress=False
    )


def test_tokenised_pairs_have_ids_and_labels(tokenizer, caplog):
    dataset = Dataset.from_dict({"source": ["one two", ""], "target": ["six", "seven six one"], "id": [4, 5]})
    tokenized = tokenize_pairs(dataset, tokenizer, 3, 4, "train")
    assert sorted(tokenized.column_names) == ["id", "input_ids", "labels"]
    assert tokenized["input_ids"][:] == tokenizer(["one two", ""])["input_ids"]
    assert tokenized["labels"][:] == tokenizer(["six", "seven six one"])["input_ids"]
    assert caplog.text == ""


@pytest.mark.parametrize("num_workers", [None, 2])
def test_targets_are_tokenised_with_their_own_vocabulary(tokenizer, num_workers, caplog):
    target = LstmTokenizer.train_from_iterator(
        ["x y z", "y z", "z"], min_frequency=1, add_eos=True, show_progress=False
    )
    both = LstmSeq2SeqTokenizer.from_tokenizers(tokenizer, target)
    dataset = Dataset.from_dict({"source": ["one two", "six"], "target": ["x y z", "y"]})
    tokenized = tokenize_pairs(dataset, both, 3, 3, "train", num_workers=num_workers)
    assert tokenized["input_ids"][:] == tokenizer(["one two", "six"])["input_ids"]
    assert tokenized["labels"][:] == target(["x y", "y"])["input_ids"]
    assert "1 targets (50.0 %)" in caplog.text and "source" not in caplog.text


def test_cut_texts_keep_their_end_and_are_counted_once(tokenizer, caplog):
    sources = ["one two three", "one two three four", "five", "six seven one two five"]
    dataset = Dataset.from_dict({"source": sources, "target": ["one two", "two", "five six seven", "one"]})
    tokenized = tokenize_pairs(dataset, tokenizer, 4, 3, "validation")
    words = tokenizer.convert_tokens_to_ids
    assert tokenized["input_ids"][1] == words(["one", "two", "three", "</s>"])
    assert [len(row) for row in tokenized["input_ids"]] == [4, 4, 2, 4]
    assert tokenized["labels"][2] == words(["five", "six", "</s>"])
    assert [record.getMessage() for record in caplog.records] == [
        "Of 4 pairs of the validation data were cut: 2 sources (50.0 %) to 4 tokens (raise --max_source_length) and "
        "1 targets (25.0 %) to 3 tokens (raise --max_target_length)."
    ]


def test_only_the_side_that_was_cut_is_named(tokenizer, caplog):
    dataset = Dataset.from_dict({"source": ["one"], "target": ["one two three"]})
    tokenize_pairs(dataset, tokenizer, 5, 3, "train")
    assert "1 targets" in caplog.text and "source" not in caplog.text


def test_texts_to_predict_have_no_labels(tokenizer):
    tokenized = tokenize_pairs(Dataset.from_dict({"source": ["one two"]}), tokenizer, 5, 3, "predict")
    assert tokenized.column_names == ["input_ids"]


def test_prefix_stands_before_every_source(tokenizer):
    dataset = Dataset.from_dict({"source": ["one", "two"], "target": ["three", "four"]})
    tokenized = tokenize_pairs(dataset, tokenizer, 5, 3, "train", source_prefix="six seven: ")
    assert tokenized["input_ids"][:] == tokenizer(["six seven: one", "six seven: two"])["input_ids"]
    assert tokenized["labels"][:] == tokenizer(["three", "four"])["input_ids"]


def test_several_workers_give_the_same(tokenizer, caplog):
    dataset = Dataset.from_dict({"source": ["one two three", "one"], "target": ["two", "six"]})
    single = tokenize_pairs(dataset, tokenizer, 3, 3, "train").to_dict()
    assert tokenize_pairs(dataset, tokenizer, 3, 3, "train", num_workers=2, overwrite_cache=True).to_dict() == single


def test_limit_without_room_raises(tokenizer):
    dataset = Dataset.from_dict({"source": ["one"], "target": ["two"]})
    with pytest.raises(InputError, match="`max_source_length` is 1, but must be at least 2: it counts 1 special"):
        tokenize_pairs(dataset, tokenizer, 1, 5, "train")
    with pytest.raises(InputError, match="`max_target_length` is 0, but must be at least 2"):
        tokenize_pairs(dataset, tokenizer, 5, 0, "train")


def test_tokenizer_that_ends_no_target_raises():
    endless = LstmTokenizer.train_from_iterator(["one two"], min_frequency=1, show_progress=False)
    dataset = Dataset.from_dict({"source": ["one"], "target": ["two"]})
    with pytest.raises(InputError, match="puts no end token after a target.*add_eos=True"):
        tokenize_pairs(dataset, endless, 5, 5, "train")
    endless.add_eos_token = True
    assert tokenize_pairs(dataset, endless, 5, 5, "train")["labels"][0][-1] == endless.eos_token_id


def test_no_pairs_are_tokenised_to_none(tokenizer):
    """As where every pair of a streamed window has an empty side."""
    columns = encode_pairs({"source": [], "target": []}, tokenizer, {"text": 4, "text_target": 4}, "")
    assert columns == {"input_ids": [], "is_cut_source": [], "labels": [], "is_cut_target": []}
