import logging

import pytest
from datasets import Dataset, Features, Value

from hf_lstm.data.checks import InputError
from hf_lstm.data.columns import find_column, select_texts
from hf_lstm.data.streams import read_rows, stream_files


@pytest.fixture
def dataset():
    return Dataset.from_dict(
        {"title": ["Rain", None], "body": ["It rains.", "It snows."], "stars": [4, 2], "words": [["a"], ["b", "c"]]}
    )


def test_given_columns_are_joined_in_their_order(dataset):
    texts = select_texts(dataset, "training", ["stars", "title", "body"], delimiter=" | ")
    assert texts.to_dict() == {"text": ["4 | Rain | It rains.", "2 |  | It snows."]}


def test_nan_counts_as_an_empty_text():
    numbers = Dataset.from_dict({"text": ["a", "b", "c"], "number": [1.5, float("nan"), None]})
    assert select_texts(numbers, "training", ["text", "number"])["text"][:] == ["a 1.5", "b ", "c "]


def test_pair_column_becomes_the_second_text(dataset):
    texts = select_texts(dataset, "training", ["body"], pair_column="title")
    assert texts.to_dict() == {"text": ["It rains.", "It snows."], "text_pair": ["Rain", ""]}


@pytest.mark.parametrize("name", ["text", "sentence"])
def test_usual_text_column_is_found_by_itself(name):
    texts = select_texts(Dataset.from_dict({"label": [1], name: ["hello"]}), "training")
    assert texts.to_dict() == {"text": ["hello"]}


def test_misspelt_column_is_an_error_that_names_the_nearest(dataset):
    with pytest.raises(
        InputError,
        match=r"The test data has no column 'titel', only 'title', .*Did you mean 'title'\?.*--text_column_names",
    ):
        select_texts(dataset, "test", ["body", "titel"])


def test_empty_name_of_a_column_is_an_error_that_lists_the_columns(dataset):
    with pytest.raises(InputError, match=r"The test data has no column '', only 'title', .*--text_column_names"):
        select_texts(dataset, "test", [""])


def test_missing_usual_column_is_an_error_that_lists_the_columns(dataset):
    with pytest.raises(
        InputError, match=r"no column 'label', only 'title', 'body', 'stars', 'words'. .*--label_column_name"
    ):
        find_column(dataset, None, ("label", "labels"), "label_column_name", "training")


def test_column_of_lists_is_no_text(dataset):
    with pytest.raises(InputError, match=r"The column 'words' of the training data is of type .* must hold text"):
        select_texts(dataset, "training", ["words"])


def test_second_text_that_is_no_text_is_an_error_that_names_its_argument(dataset):
    with pytest.raises(InputError, match=r"The column 'words' .* must hold text. .* with --text_pair_column_name\."):
        select_texts(dataset, "training", ["body"], pair_column="words")


def test_column_of_dates_that_json_was_read_as_is_no_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "2014-03-04"}\n')
    dataset = read_rows(stream_files(tmp_path / "a.jsonl"), None)
    with pytest.raises(InputError, match=r"'text' of the training data is of type .*timestamp.* save them as csv, or"):
        select_texts(dataset, "training")


@pytest.mark.parametrize("dtype", ["binary", "large_binary"])
def test_column_of_bytes_is_no_text(dtype):
    dataset = Dataset.from_dict({"text": [b"a\xff"]}, features=Features({"text": Value(dtype)}))
    with pytest.raises(InputError, match=r"column 'text' of the training data is of type .*binary.* must hold text"):
        select_texts(dataset, "training")


def test_column_without_any_text_is_an_error():
    dataset = Dataset.from_dict({"text": ["", None, " \t"]})
    with pytest.raises(
        InputError, match=r"All 3 texts of the training data \(column 'text'\) are empty.*--text_column_names"
    ):
        select_texts(dataset, "training")


def test_few_empty_texts_are_kept_with_a_warning(caplog):
    dataset = Dataset.from_dict({"text": ["a", "", "b", None]})
    with caplog.at_level(logging.WARNING):
        texts = select_texts(dataset, "training")
        select_texts(Dataset.from_dict({"text": [""] * 9 + ["a"]}), "test")
    assert texts["text"][:] == ["a", "", "b", ""]
    assert "2 of 4 texts of the training data are empty: rows 2, 4." in caplog.text
    assert "9 of 10 texts of the test data are empty: rows 1, 2, 3, 4, 5 and 4 more." in caplog.text


def test_other_delimiter_reads_the_columns_anew(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": "one", "b": "two"}\n')
    dataset = Dataset.from_json(str(file), cache_dir=str(tmp_path / "cache"))
    joined = [select_texts(dataset, "train", ["a", "b"], delimiter=delimiter)["text"][0] for delimiter in (" ", "-")]
    assert joined == ["one two", "one-two"]
