import pytest
from datasets import Dataset
from torch.utils.data import DataLoader

from hf_lstm import LstmTokenizer
from hf_lstm.data.noisy_texts import NoisyTexts
from hf_lstm.data.text_noise import TextNoise

TEXTS = ["the film was dull", "a warm and funny film", "", "superb music in a poor story"]


@pytest.fixture(scope="module")
def tokenizer():
    return LstmTokenizer.train_from_iterator(TEXTS, algorithm="char", min_frequency=1, show_progress=False)


def make(tokenizer, rate=0.5, seed=3, max_length=30, **columns):
    dataset = Dataset.from_dict({"text": TEXTS, "labels": [0, 1, 1, 0]} | columns)
    return NoisyTexts(dataset, tokenizer, max_length, TextNoise("typo", TEXTS), rate, seed)


def ids(texts):
    return [row["input_ids"] for row in texts]


def test_noise_is_new_each_epoch_and_the_same_in_each_run(tokenizer):
    texts, resumed = make(tokenizer), make(tokenizer)
    first = ids(texts)
    texts.set_epoch(1)
    resumed.set_epoch(1)
    assert ids(texts) == ids(resumed) != first
    assert ids(make(tokenizer, seed=4)) != first


def test_noise_of_a_row_does_not_depend_on_the_order(tokenizer):
    texts = make(tokenizer)
    assert [texts[number]["input_ids"] for number in (3, 1)] == [ids(texts)[number] for number in (3, 1)]
    assert [row["input_ids"] for row in texts.__getitems__([3, 1])] == [ids(texts)[number] for number in (3, 1)]


def test_labels_stay_and_long_texts_are_cut(tokenizer):
    texts = make(tokenizer, max_length=7)
    assert [row["labels"] for row in texts] == [0, 1, 1, 0]
    assert max(map(len, ids(texts))) == 7
    assert len(texts) == 4 and set(texts[0]) == {"input_ids", "labels"}


def test_rate_zero_gives_the_texts_themselves(tokenizer):
    assert ids(make(tokenizer, rate=0.0)) == tokenizer(TEXTS, truncation=True, max_length=30)["input_ids"]


def test_texts_of_a_pair_get_noise_of_their_own(tokenizer):
    pairs = make(tokenizer, text_pair=TEXTS)
    separate = make(tokenizer)
    assert all(len(pair) > len(one) for pair, one in zip(ids(pairs)[:2], ids(separate)))
    assert ids(pairs)[0][: len(ids(separate)[0])] != ids(pairs)[0][len(ids(separate)[0]) :]


def test_worker_processes_that_outlive_an_epoch_see_the_next(tokenizer):
    texts = make(tokenizer)
    loader = DataLoader(texts, 2, num_workers=1, persistent_workers=True, collate_fn=ids)
    for epoch in (0, 1):
        texts.set_epoch(epoch)
        assert [row for batch in loader for row in batch] == ids(texts)
