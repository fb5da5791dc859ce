"""Hashed n-grams and the classifier over them."""

import math

import pytest
import torch

from hf_lstm.models.ngrams_lstm import NgramClassifier, hash_ngrams
from tests.models.factories import MASK, make_input_ids, randomize


def test_hash_ngrams_depends_on_all_tokens_of_the_ngram_and_nothing_else():
    first, second = torch.tensor([[4, 5, 6, 7, 8]]), torch.tensor([[9, 5, 6, 7, 4]])
    same = hash_ngrams(first, 2, 10**6) == hash_ngrams(second, 2, 10**6)
    assert same.tolist() == [[False, False, True, True, False]]
    same = hash_ngrams(first, 3, 10**6) == hash_ngrams(second, 3, 10**6)
    assert same.tolist() == [[False, False, False, True, False]]
    assert hash_ngrams(torch.tensor([[4, 5]]), 2, 10**6)[0, 1] != hash_ngrams(torch.tensor([[5, 4]]), 2, 10**6)[0, 1]


def test_hash_ngrams_gives_the_buckets_that_saved_weights_were_trained_with():
    tokens = torch.tensor([[4, 5, 6]])

    assert hash_ngrams(tokens, 1, 1009).tolist() == [[504, 588, 672]]
    assert hash_ngrams(tokens, 3, 1009).tolist() == [[617, 133, 662]]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_hash_ngrams_spreads_over_the_buckets_like_chance(order):
    num_buckets = 2**14
    tokens = torch.randint(0, 200_000, (20_000, order), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    buckets = hash_ngrams(tokens, order, num_buckets)[:, -1]
    assert buckets.min() >= 0
    assert buckets.max() < num_buckets
    by_chance = num_buckets * (1 - math.exp(-len(tokens) / num_buckets))
    assert len(buckets.unique()) == pytest.approx(by_chance, rel=0.03)


def test_ngram_classifier_sums_each_different_ngram_once():
    classifier = randomize(NgramClassifier([1, 2], 10_007, 3))
    scores = classifier(torch.tensor([[7, 8, 7, 8], [7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]))
    buckets = [hash_ngrams(torch.tensor([[7, 8, 7]]), order, 10_007)[0].tolist() for order in (1, 2)]
    unigrams, bigrams = {*buckets[0]}, {*buckets[1]}
    assert (len(unigrams), len(bigrams)) == (2, 3)  # 7, 8; start-7, 7-8, 8-7
    expected = classifier.weight[[*unigrams, *bigrams]].sum(dim=0) / math.sqrt(5) + classifier.bias
    torch.testing.assert_close(scores[0], expected)
    expected = classifier.weight[[*unigrams, *buckets[1][:2]]].sum(dim=0) / math.sqrt(4) + classifier.bias
    torch.testing.assert_close(scores[1], expected)


def test_ngram_classifier_ignores_padding_and_scores_an_empty_row_by_its_bias():
    classifier = randomize(NgramClassifier([1, 2, 3], 500, 3))
    input_ids = make_input_ids()
    scores = classifier(input_ids, MASK)
    for row, is_token in enumerate(MASK.bool()):
        alone = input_ids[row][is_token].unsqueeze(0)
        expected = classifier(alone, None)[0] if is_token.any() else classifier.bias
        torch.testing.assert_close(scores[row], expected)
    torch.testing.assert_close(scores, classifier(input_ids.masked_fill(MASK == 0, 0), MASK))


def test_ngram_classifier_scores_marked_buckets_as_the_text_they_are_from():
    classifier = randomize(NgramClassifier([1, 2], 11, 3)).eval()
    input_ids = make_input_ids()
    buckets, is_new = classifier.find_ngrams(input_ids, MASK)
    seen = torch.stack([torch.isin(torch.arange(11), row[new]) for row, new in zip(buckets, is_new, strict=True)])
    torch.testing.assert_close(classifier.score_buckets(seen), classifier(input_ids, MASK))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_ngram_classifier_scores_in_the_type_of_its_weights(dtype):
    classifier = randomize(NgramClassifier([1, 2], 11, 3)).eval()
    input_ids, seen = make_input_ids(), torch.arange(22).view(2, 11) % 3 == 0
    expected = classifier(input_ids, MASK), classifier.score_buckets(seen)
    classifier.to(dtype)
    for scores, other in zip((classifier(input_ids, MASK), classifier.score_buckets(seen)), expected, strict=True):
        assert scores.dtype == dtype
        torch.testing.assert_close(scores.float(), other, rtol=0.02, atol=0.02)


def test_ngram_classifier_dropout_is_for_training_only():
    classifier = randomize(NgramClassifier([1], 500, 3, dropout=0.5))
    input_ids = make_input_ids()
    assert not torch.equal(classifier(input_ids, None), classifier(input_ids, None))
    classifier.eval()
    assert torch.equal(classifier(input_ids, None), classifier(input_ids, None))
