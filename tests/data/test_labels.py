import datetime
import math

import pytest
from datasets import ClassLabel, Dataset, Features, Json, LargeList, List, Value

from hf_lstm.data.checks import InputError
from hf_lstm.data.labels import (
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    LabelScheme,
    learn_scheme,
    read_labels,
    sorted_names,
)


def read(values, feature=None, delimiter=None):
    features = None if feature is None else Features({"label": feature})
    return read_labels(Dataset.from_dict({"label": values}, features=features), "label", delimiter)


def test_names_are_sorted_by_value_if_all_are_integers():
    assert sorted_names(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert sorted_names(["10", "9", "x"]) == ["10", "9", "x"]
    assert sorted_names(["1", "01", "+1"]) == sorted_names(["+1", "01", "1"]) == ["+1", "01", "1"]


@pytest.mark.parametrize("values", [[10, 9, 10], ["10", "9", "10 "]])
def test_integer_labels_and_their_digits_are_the_same(values):
    labels = read(values)
    scheme = learn_scheme(labels)
    assert scheme == LabelScheme(SINGLE_LABEL, ("9", "10"))
    assert scheme.encode(labels, "training") == [1, 0, 1]


def test_names_do_not_depend_on_the_rows_order():
    assert learn_scheme(["b", "a", "c"]) == learn_scheme(["c", "b", "a"])


def test_class_label_keeps_the_order_of_the_data_set():
    feature = ClassLabel(names=["world", "sports", "business"])
    labels = read([2, 0, 1, -1], feature)
    assert labels == ["business", "world", "sports", None]
    assert learn_scheme(labels[:3], feature=feature).names == ("world", "sports", "business")


def test_lists_of_labels_are_multi_label():
    labels = read([["b", "a"], [], ["c"]])
    scheme = learn_scheme(labels)
    assert scheme == LabelScheme(MULTI_LABEL, ("a", "b", "c"))
    assert scheme.encode(labels, "training") == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("problem_type", "labels", "message"),
    [
        (MULTI_LABEL, [["a"], "b"], r"row 2 of the test data is 'b', but a row has a list.*--label_delimiter"),
        (
            SINGLE_LABEL,
            ["a", ["b"]],
            r"row 2 of the test data is \['b'\], but a row has one label.*--label_delimiter out",
        ),
    ],
)
def test_single_labels_and_lists_of_them_are_not_taken_for_each_other(problem_type, labels, message):
    with pytest.raises(InputError, match=message):
        LabelScheme(problem_type, ("a", "b")).encode(labels, "test")


def test_lists_of_class_labels_keep_their_order():
    feature = List(ClassLabel(names=["z", "a"]))
    labels = read([[0, 1], [1]], feature)
    assert learn_scheme(labels, feature=feature).encode(labels, "training") == [[1.0, 1.0], [0.0, 1.0]]


def test_large_lists_of_labels_are_multi_label():
    feature = LargeList(Value("string"))
    assert read([["b", "a"], [], None], feature) == [["b", "a"], [], None]
    labels = read([[0], [1, 0]], LargeList(ClassLabel(names=["z", "a"])))
    assert learn_scheme(labels, feature=LargeList(ClassLabel(names=["z", "a"]))).names == ("z", "a")


def test_lists_in_some_rows_of_json_are_an_error_that_names_a_row_without():
    labels = read([["x", "y"], "z"], Json())
    with pytest.raises(InputError, match="label of row 2 of the training data is 'z', but a row has a list of labels"):
        learn_scheme(labels).encode(labels, "training")


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        (["a", {"name": "x"}], Json()),
        ([{"name": "w"}, {"name": "x"}], None),
        ([[["w"]], [["x"]]], None),
        ([b"w", b"x"], Value("binary")),
        ([datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 3)], Value("timestamp[s]")),
        ([[datetime.datetime(2020, 1, 2)], [datetime.datetime(2020, 1, 3)]], List(Value("timestamp[s]"))),
    ],
)
@pytest.mark.parametrize("delimiter", [None, ";"])
def test_label_of_another_type_is_an_error_that_names_the_row(values, feature, delimiter):
    with pytest.raises(InputError, match=r"The label of row [12] is .*, but must be an integer, a string"):
        read(values, feature, delimiter)


def test_delimiter_separates_labels_within_a_cell():
    labels = read(["rain; ;wind", ";", "wind;", None], delimiter=";")
    assert labels == [["rain", "wind"], [], ["wind"], None]
    assert learn_scheme(labels[:3]).problem_type == MULTI_LABEL


def test_delimiter_separates_names_of_class_labels_and_leaves_missing_numbers_missing():
    feature = ClassLabel(names=["rain", "dry; wind"])
    assert read([1, 0, -1, None], feature, ";") == [["dry", "wind"], ["rain"], None, None]
    assert read([1.5, math.nan], delimiter=";") == [["1.5"], None]
    assert read(["rain", ""], delimiter=";") == [["rain"], []]


@pytest.mark.parametrize("labels", [read(["a|b", None, "|"], delimiter="|"), read([["a", "b"], None, []])])
def test_missing_labels_are_not_taken_for_none_that_applies(labels):
    with pytest.raises(InputError, match=r"1 of 3 rows .* have no label .*: rows 2.* the delimiter alone"):
        learn_scheme(labels)


@pytest.mark.parametrize("values", [[0.5, 2, -1.25], ["0.5", "2", "-1.25"]])
def test_regression_reads_numbers(values):
    labels = read(values)
    scheme = learn_scheme(labels, REGRESSION)
    assert scheme == LabelScheme(REGRESSION) and scheme.num_labels == 1
    assert scheme.encode(labels, "training") == [0.5, 2.0, -1.25]


@pytest.mark.parametrize("values", [[0.0, 1.0, 0.5], ["0", "1", "0.5"], [1.0, 2.0], ["-.5", "1"], ["1.5E3", "2"]])
def test_float_labels_are_an_error_for_a_classification(values):
    with pytest.raises(
        InputError, match=r"The labels are floats, such as .*--problem_type regression, else .* integers"
    ):
        learn_scheme(read(values))


def test_names_that_only_look_like_numbers_are_labels():
    assert learn_scheme(["nan", "inf"]).names == ("inf", "nan")
    assert learn_scheme(["1.5", "B-2"]).names == ("1.5", "B-2")


@pytest.mark.parametrize("names", [("-1", "+1"), ("2021_01", "2022_02"), ("1e1", "2e2"), ("１", "２"), ("١", "٢")])
def test_numbers_that_are_names_of_classes_are_labels(names):
    assert learn_scheme(names[::-1]).names == names


@pytest.mark.parametrize("values", [[1.0, math.nan, 2.0], ["a", None, "b"], ["a", "", "b"]])
def test_missing_label_is_an_error_that_names_the_row(values):
    with pytest.raises(
        InputError, match=r"1 of 3 rows of the training data have no label \(NaN or an empty cell\): rows 2"
    ):
        learn_scheme(read(values))


@pytest.mark.parametrize("label", ["high", math.inf, "nan"])
def test_label_that_is_no_number_is_an_error_for_a_regression(label):
    with pytest.raises(
        InputError, match=f"row 2 of the test data is {label!r}, but a regression needs a finite number"
    ):
        LabelScheme(REGRESSION).encode([1.0, label], "test")


def test_configuration_gets_the_names_that_there_are():
    scheme = LabelScheme(SINGLE_LABEL, ("negative", "positive"))
    assert scheme.label_maps() == {
        "id2label": {0: "negative", 1: "positive"},
        "label2id": {"negative": 0, "positive": 1},
    }
    assert LabelScheme(REGRESSION).label_maps() == {}


def test_label_absent_from_training_is_one_error_for_all():
    scheme = LabelScheme(SINGLE_LABEL, ("negative", "positive"))
    with pytest.raises(
        InputError,
        match=r"The validation data has labels that are absent from training: "
        r"'neutral' \(1 rows\), 'positiv' \(2 rows\). Training knows 'negative', 'positive'",
    ):
        scheme.encode(["positive", "positiv", "neutral", "positiv"], "validation")


@pytest.mark.parametrize(("unknown", "shown"), [([1.0, 0.5], r"0.5 \(1 rows\), 1.0"), ([0.5, "x"], "0.5 .*, 'x'")])
def test_label_absent_from_training_may_be_no_string(unknown, shown):
    with pytest.raises(InputError, match=f"absent from training: {shown}"):
        LabelScheme(SINGLE_LABEL, ("0", "1")).encode(unknown, "test")
    with pytest.raises(InputError, match=r"absent from training: None \(1 rows\), 'zzz'"):
        LabelScheme(MULTI_LABEL, ("x",)).encode([["x", None], ["zzz"]], "test")


def test_label_absent_from_training_is_an_error_for_multi_label():
    with pytest.raises(InputError, match=r"'c' \(1 rows\)"):
        LabelScheme(MULTI_LABEL, ("a", "b")).encode([["a"], ["b", "c"]], "test")


def test_single_class_is_an_error():
    with pytest.raises(
        InputError, match=r"All 3 training rows have the label 'a', but a classifier needs at least two"
    ):
        learn_scheme(["a", "a", "a"])


def test_lists_without_any_label_are_an_error():
    with pytest.raises(InputError, match=r"All 2 training rows .* a classifier needs at least two"):
        learn_scheme([[], []])
    assert learn_scheme([[], ["a"]]).names == ("a",)


def test_misspelt_problem_type_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match=r"`problem_type` is 'regresion'.*Did you mean 'regression'\?"):
        learn_scheme(["1", "2"], "regresion")


def test_problem_type_that_does_not_fit_the_labels_is_an_error():
    with pytest.raises(InputError, match=r"`problem_type` is 'multi_label_classification', but .*--label_delimiter"):
        learn_scheme(["a", "b"], MULTI_LABEL)
    with pytest.raises(InputError, match=r"The labels are lists, but `problem_type` is 'single_label_classification'"):
        learn_scheme([["a"], ["b"]], SINGLE_LABEL)


def test_missing_value_in_a_column_of_class_labels_is_read_as_missing():
    assert read([0, None], ClassLabel(names=["a", "b"])) == ["a", None]
    assert read([1, None], Value("int64")) == ["1", None]
