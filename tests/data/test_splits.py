import pytest
from datasets import Dataset, DatasetDict

from hf_lstm.data.checks import InputError
from hf_lstm.data.splits import select_split, split_off_validation


def numbered_texts(num_rows):
    return Dataset.from_dict({"text": [f"text {number}" for number in range(num_rows)]})


def test_split_is_selected_by_the_given_or_the_usual_name():
    splits = DatasetDict({"train": numbered_texts(3), "unlabelled": numbered_texts(2)})
    assert len(select_split(splits, "unlabelled", "train")) == 2
    assert len(select_split(splits, None, "train")) == 3
    assert select_split(splits, None, "test") is None


def test_misspelt_split_is_an_error_that_names_the_nearest():
    splits = DatasetDict({"train": numbered_texts(3), "validation": numbered_texts(3)})
    with pytest.raises(
        InputError, match=r"no split 'validaton', only 'train', 'validation'. Did you mean 'validation'\?"
    ):
        select_split(splits, "validaton", "validation")


def test_random_split_keeps_the_share_of_each_stratum():
    strata = [0] * 70 + [1] * 30
    train, validation = split_off_validation(numbered_texts(100).add_column("label", strata), 20, strata=strata)
    assert (len(train), len(validation)) == (80, 20)
    assert sum(validation["label"][:]) == 6


def test_random_split_depends_on_the_seed_alone():
    splits = [split_off_validation(numbered_texts(50), 10, seed=seed)[1]["text"][:] for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_random_split_of_strata_depends_on_the_seed():
    strata = ["a", "b"] * 25
    splits = [split_off_validation(numbered_texts(50), 10, seed=seed, strata=strata)[1]["text"][:] for seed in (1, 2)]
    assert splits[0] != splits[1]


def test_md5_split_tells_pairs_apart_that_are_the_same_when_joined():
    text = "abcdefghijklmnopqrstuvwxyz" * 2
    pairs = Dataset.from_dict(
        {"text": [text[:place] for place in range(52)], "text_pair": [text[place:] for place in range(52)]}
    )
    train, validation = split_off_validation(pairs, 50, "md5", hashed_columns=("text", "text_pair"))
    assert len(train) > 9 and len(validation) > 9


def test_md5_split_follows_the_text_and_not_the_order():
    dataset = numbered_texts(300)
    validation = split_off_validation(dataset, 10, "md5")[1]["text"][:]
    backwards = split_off_validation(dataset.select(range(299, -1, -1)), 10, "md5")[1]["text"][:]
    assert sorted(validation) == sorted(backwards)
    assert 15 <= len(validation) <= 45


def test_md5_split_keeps_equal_texts_together():
    dataset = Dataset.from_dict({"text": [f"text {number % 40}" for number in range(200)]})
    train, validation = split_off_validation(dataset, 30, "md5")
    assert not set(train["text"][:]) & set(validation["text"][:])


def test_md5_split_is_the_one_of_every_release():
    validation = split_off_validation(numbered_texts(40), 10, "md5")[1]["text"][:]
    assert validation == ["text 13", "text 17"]


@pytest.mark.parametrize("percentage", [0, 100, -3])
def test_split_of_everything_or_nothing_is_an_error(percentage):
    with pytest.raises(InputError, match=r"`validation_split_percentage` is .* above 0 and below 100"):
        split_off_validation(numbered_texts(10), percentage)


def test_split_that_leaves_a_side_empty_is_an_error():
    with pytest.raises(InputError, match=r"10 % of 4 rows leaves no row"):
        split_off_validation(numbered_texts(4), 10)
    with pytest.raises(InputError, match=r"99.9 % of 1 rows leaves no row"):
        split_off_validation(numbered_texts(1), 99.9, "md5")


def test_unknown_split_method_is_an_error():
    with pytest.raises(InputError, match=r"`validation_split_method` is 'sha1', but must be 'random' or 'md5'"):
        split_off_validation(numbered_texts(10), 10, "sha1")
