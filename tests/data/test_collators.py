import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from hf_lstm.data.collators import LstmDataCollator, drop_words


def make_tokenizer(**options):
    backend = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1, "<pad>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{"pad_token": "<pad>", "unk_token": "<unk>"} | options)


def test_batch_is_padded_to_its_longest_text_with_a_mask():
    batch = LstmDataCollator(make_tokenizer())(
        [{"input_ids": [5, 6, 7], "labels": 1}, {"input_ids": [8], "labels": 0}]
    )

    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 2, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["labels"].dtype == batch["input_ids"].dtype == torch.long


def test_left_padding_and_multiples():
    collator = LstmDataCollator(make_tokenizer(padding_side="left"), pad_to_multiple_of=4)
    batch = collator([{"input_ids": [5, 6, 7, 8, 9]}, {"input_ids": [8]}])

    assert batch["input_ids"].shape == (2, 8)
    assert batch["input_ids"][1].tolist() == [2] * 7 + [8]
    assert batch["attention_mask"][0].tolist() == [0] * 3 + [1] * 5
    assert "labels" not in batch


def test_given_mask_and_features_are_padded_along():
    examples = [
        {"input_ids": [5, 6], "attention_mask": [0, 1], "feature_ids": [[1, 2, 3], [4, 5, 6]]},
        {"input_ids": [7, 8, 9], "attention_mask": [1, 1, 1], "feature_ids": [[7, 8, 9]] * 3},
    ]
    batch = LstmDataCollator(make_tokenizer())(examples)

    assert batch["attention_mask"].tolist() == [[0, 1, 0], [1, 1, 1]]
    assert batch["feature_ids"].shape == (2, 3, 3)
    assert batch["feature_ids"][0].tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0]]


def test_columns_that_are_not_as_long_as_the_tokens_are_left_as_they_are():
    rows = [{"input_ids": [5, 6], "weight": 0.5, "pair": [3, 4]}, {"input_ids": [7], "weight": 2.0, "pair": [1, 2]}]
    batch = LstmDataCollator(make_tokenizer())(rows)

    assert batch["weight"].tolist() == [0.5, 2.0]
    assert batch["pair"].tolist() == [[3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("labels", "expected", "dtype"),
    [
        ([1.5, -2.0], [1.5, -2.0], torch.float),
        ([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [[1, 0, 1], [0, 0, 1]], torch.float),
        ([[4, 3], [2]], [[4, 3], [2, -100]], torch.long),
        ([[4], [3]], [[4], [3]], torch.long),  # of which only one has as many as its tokens
    ],
    ids=["regression", "multi-label", "token", "integers of the text"],
)
def test_labels_keep_their_kind(labels, expected, dtype):
    rows = [{"input_ids": ids, "label": label} for ids, label in zip([[5, 6], [7]], labels, strict=True)]
    batch = LstmDataCollator(make_tokenizer())(rows)

    assert batch["labels"].tolist() == expected
    assert batch["labels"].dtype == dtype


def test_multi_label_rows_as_long_as_the_text_stay_floats():
    collator = LstmDataCollator(make_tokenizer(), pad_to_multiple_of=4)
    batch = collator([{"input_ids": [5, 6], "labels": [1.0, 0.0]}])

    assert batch["labels"].dtype == torch.float
    assert batch["labels"].tolist() == [[1.0, 0.0]]


def test_empty_texts_keep_one_padded_position():
    batch = LstmDataCollator(make_tokenizer())([{"input_ids": []}, {"input_ids": []}])

    assert batch["input_ids"].tolist() == [[2], [2]]
    assert batch["attention_mask"].tolist() == [[0], [0]]
    assert batch["input_ids"].dtype == torch.long


def test_tokenizer_without_padding_token_raises():
    with pytest.raises(ValueError, match="has no padding token"):
        LstmDataCollator(make_tokenizer(pad_token=None))


def test_dropped_words_become_unknown_except_kept_ones():
    torch.manual_seed(3)
    input_ids = torch.tensor([[4, 5, 6, 2, 2] * 200])
    dropped = drop_words(input_ids, 0.3, 1, kept_ids=[2, 6])
    is_word = (input_ids == 4) | (input_ids == 5)

    assert (dropped[is_word] == 1).float().mean() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(dropped[~is_word], input_ids[~is_word])
    assert 1 not in input_ids
