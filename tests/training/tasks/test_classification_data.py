import json

import pytest
from datasets import Dataset

from hf_lstm.data.checks import InputError
from hf_lstm.data.labels import MULTI_LABEL, REGRESSION, SINGLE_LABEL, LabelScheme
from hf_lstm.training.arguments import DataArguments
from hf_lstm.training.tasks.classification_data import load_classification_data


@pytest.fixture
def write(tmp_path):
    def write_rows(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write_rows


@pytest.fixture
def load(tmp_path):
    def load_data(do_train=True, scheme=None, **arguments):
        return load_classification_data(
            DataArguments(cache_dir=str(tmp_path / "cache"), **arguments), do_train, scheme
        )

    return load_data


def rows(labels, start=0):
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(labels, start)]


def test_validation_data_is_split_off_where_it_is_missing(write, load):
    data = load(train_file=write("train.jsonl", rows("ab" * 10)), validation_split_percentage=20)
    assert (len(data.train), len(data.validation)) == (16, 4)
    assert sorted(data.validation["labels"][:]) == [0, 0, 1, 1]
    assert data.test is None and data.predict is None
    assert data.scheme == LabelScheme(SINGLE_LABEL, ("a", "b"))


def test_no_validation_data_is_split_off_at_zero_percent(write, load):
    data = load(train_file=write("train.jsonl", rows("ab" * 10)), validation_split_percentage=0)
    assert len(data.train) == 20 and data.validation is None


def test_given_validation_data_is_taken(write, load):
    data = load(train_file=write("train.jsonl", rows("abab")), validation_file=write("dev.jsonl", rows("bab", 50)))
    assert len(data.train) == 4
    assert data.validation.to_dict() == {"text": ["text 50", "text 51", "text 52"], "labels": [1, 0, 1]}


def test_md5_split_takes_the_share_asked_for(write, load):
    train_file = write("train.jsonl", rows("ab" * 200))
    data = load(train_file=train_file, validation_split_method="md5", validation_split_percentage=25)
    assert 70 <= len(data.validation) <= 130


def test_max_samples_limits_every_split(write, load):
    data = load(
        train_file=write("train.jsonl", rows("ab" * 10)),
        validation_file=write("dev.jsonl", rows("abab")),
        test_file=write("test.jsonl", rows("ababa")),
        predict_file=write("new.jsonl", [{"text": "x"}, {"text": "y"}, {"text": "z"}]),
        max_train_samples=7,
        max_eval_samples=3,
        max_predict_samples=2,
    )
    assert [len(split) for split in data.splits().values()] == [7, 3, 3, 2]
    assert data.predict.to_dict() == {"text": ["x", "y"]}


def test_drawn_samples_depend_on_the_seed_alone(write, load):
    train_file = write("train.jsonl", rows("ab" * 50))
    texts = [load(train_file=train_file, max_train_samples=9, sample_seed=seed).train["text"][:] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_label_that_only_the_split_off_rows_have_is_no_error(write, load):
    data = load(train_file=write("train.jsonl", rows(["rare", *"ab" * 30])), validation_split_percentage=50)
    assert data.scheme.names == ("a", "b", "rare")


def test_pairs_and_joined_columns_are_read(tmp_path, load):
    path = tmp_path / "train.parquet"
    Dataset.from_dict({"a": ["1", "2"], "b": ["3", "4"], "c": ["5", "6"], "kind": ["x", "y"]}).to_parquet(path)
    data = load(
        train_file=str(path),
        text_column_names=["a", "b"],
        text_column_delimiter="+",
        text_pair_column_name="c",
        label_column_name="kind",
        validation_split_percentage=0,
    )
    assert data.train.to_dict() == {"text": ["1+3", "2+4"], "text_pair": ["5", "6"], "labels": [0, 1]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_column_names": ["text", "label"]}, "'label' of the train data is both text and label, which must"),
        ({"label_column_name": "text"}, "'text' of the train data is both text and label"),
        ({"text_pair_column_name": "label"}, "'label' of the train data is both second text and label"),
        ({"text_pair_column_name": "text"}, "'text' of the train data is both text and second text"),
    ],
)
def test_column_of_two_roles_is_an_error(write, load, arguments, message):
    with pytest.raises(InputError, match=message):
        load(train_file=write("train.jsonl", rows("ab")), **arguments)


def test_multi_label_data_is_encoded_for_every_class(write, load):
    train_file = write("train.jsonl", rows([["a"], ["a", "b"], [], ["b"]]))
    data = load(train_file=train_file, validation_split_percentage=0)
    assert data.scheme == LabelScheme(MULTI_LABEL, ("a", "b"))
    assert data.train["labels"][:] == [[1, 0], [1, 1], [0, 0], [0, 1]]


def test_regression_keeps_the_numbers(write, load):
    data = load(
        train_file=write("train.jsonl", rows([0.5, 2, 3.25, 1])),
        problem_type="regression",
        validation_split_percentage=25,
    )
    assert data.scheme == LabelScheme(REGRESSION)
    assert sorted(data.train["labels"][:] + data.validation["labels"][:]) == [0.5, 1, 2, 3.25]


def test_data_set_with_renamed_splits_and_hidden_test_labels(tmp_path, write, load):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, labels in (("train", "ab"), ("test", [None, None]), ("validation", "abab")):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(labels)))
    data = load(
        dataset_name=str(folder),
        train_split_name="validation",
        remove_splits=["train"],
        validation_split_name="validation",
    )
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 4, "validation": 4}


def test_missing_test_labels_of_a_file_are_an_error(write, load):
    with pytest.raises(InputError, match=r"2 of 2 rows of the test data have no label"):
        load(
            train_file=write("train.jsonl", rows("ab")),
            test_file=write("test.jsonl", [{"text": "a", "label": None}, {"text": "b", "label": None}]),
        )


def test_test_label_absent_from_training_is_an_error(write, load):
    with pytest.raises(InputError, match=r"The test data has labels that are absent from training: 'c' \(1 rows\)"):
        load(train_file=write("train.jsonl", rows("ab" * 5)), test_file=write("test.jsonl", rows("ac")))


def test_no_training_data_is_an_error(load):
    with pytest.raises(InputError, match=r"There is no training data. Pass --train_file"):
        load()


def test_trained_labels_are_kept_where_they_cover_the_data(write, load):
    trained = LabelScheme(SINGLE_LABEL, ("b", "c", "a"))
    train_file = write("train.jsonl", rows("ab" * 5))
    assert load(scheme=trained, train_file=train_file).scheme == trained
    other = LabelScheme(SINGLE_LABEL, ("b", "c"))
    assert load(scheme=other, train_file=train_file).scheme.names == ("a", "b")


def test_data_is_scored_without_training_by_the_trained_labels(write, load):
    trained = LabelScheme(SINGLE_LABEL, ("b", "a"))
    data = load(do_train=False, scheme=trained, test_file=write("test.jsonl", rows("aab")))
    assert data.test["labels"][:] == [1, 1, 0] and data.train is None


def test_scoring_without_a_trained_model_is_an_error(write, load):
    with pytest.raises(InputError, match=r"pass its folder as --model_name_or_path"):
        load(do_train=False, test_file=write("test.jsonl", rows("ab")))


def test_named_rows_are_dropped_from_training_and_never_from_what_is_scored(write, load, caplog):
    train = [{"text": text, "label": label} for text, label in [("a", 0), ("a", 0), ("b", 1), ("c", 0), ("", 1)]]
    test = [{"text": "b", "label": 1}, {"text": "", "label": 0}, {"text": "d", "label": 0}, {"text": "d", "label": 0}]
    files = {name: write(f"{name}.jsonl", rows) for name, rows in (("train", train), ("test", test))}
    files = {f"{name}_file": path for name, path in files.items()} | {"validation_split_percentage": 0}
    whole = load(**files)
    assert len(whole.train) == 5
    assert all(kind in caplog.text for kind in ("duplicates", "leaked", "empty"))
    data = load(**files, drop_rows=["duplicates", "leaked", "empty"])
    assert data.train["text"][:] == ["a", "c"]
    assert data.test["text"][:] == ["b", "", "d", "d"]


def test_rows_that_leak_into_validation_data_split_off_are_told_and_dropped(write, load, caplog):
    train = [{"text": f"text {number % 25}", "label": number % 2} for number in range(100)]
    train_file = write("train.jsonl", train)
    whole = load(train_file=train_file)
    shared = set(whole.train["text"][:]) & set(whole.validation["text"][:])
    num_leaked = sum(text in shared for text in whole.train["text"][:])
    assert shared and f"{num_leaked} of 90 rows of the training data have a text that is also in" in caplog.text
    dropped = load(train_file=train_file, drop_rows=["leaked"])
    assert dropped.validation.to_dict() == whole.validation.to_dict()
    assert dropped.train["text"][:] == [text for text in whole.train["text"][:] if text not in shared]
    caplog.clear()
    load(train_file=train_file, validation_split_method="md5")
    assert "also in the validation data" not in caplog.text


def test_wrong_labels_are_looked_for_among_the_rows_that_are_left(write, load, caplog):
    words = ["bad dull poor", "good warm funny"]
    rows = [{"text": f"{words[number % 2]} {number}", "label": number % 2} for number in range(40)]
    rows[12]["label"] = 1
    train_file = write("train.jsonl", [{"text": "", "label": 0}, *rows])
    flags = {"train_file": train_file, "validation_split_percentage": 0}
    assert len(load(**flags, find_wrong_labels=True).train) == 41
    assert "wrong_labels" in caplog.text and "rows 14;" in caplog.text
    kept = load(**flags, drop_rows=["empty", "wrong_labels"]).train
    assert len(kept) == 39 and rows[12]["text"] not in kept["text"][:]


def test_unknown_kind_of_rows_is_named():
    with pytest.raises(InputError, match="'duplicate', but may hold .* Did you mean 'duplicates'"):
        DataArguments(drop_rows=["duplicate"])
