"""The n-gram classifier's start from counts."""

import pytest
import torch

from hf_lstm import LstmConfig, LstmForSequenceClassification
from hf_lstm.training.naive_bayes import start_from_naive_bayes

TEXTS = [[5, 6, 6], [5, 7], [8, 9], [8, 10, 11, 10]]


def collate(examples):
    width = max(len(example["input_ids"]) for example in examples)
    ids = torch.tensor([example["input_ids"] + [0] * (width - len(example["input_ids"])) for example in examples])
    labels = torch.tensor([example["labels"] for example in examples])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}


def build_classifier(**config):
    arguments = {"vocab_size": 13, "embedding_size": 3, "hidden_size": 5, "num_labels": 2}
    arguments |= {"classifier_ngram_orders": [1], "classifier_ngram_buckets": 1009}
    arguments |= {"problem_type": "single_label_classification"}
    return LstmForSequenceClassification(LstmConfig(**arguments | config)).eval()


def test_start_from_naive_bayes_gives_log_count_ratios_of_presence():
    model = build_classifier()
    dataset = [{"input_ids": text, "labels": label} for text, label in zip(TEXTS, [0, 0, 1, 1], strict=True)]
    start_from_naive_bayes(model, dataset, collate)
    bucket = model.ngram_classifier.find_ngrams(torch.tensor([[6]]), None)[0]
    weights = model.ngram_classifier.weight[bucket.item()]
    # Token 6 is in one text of class 0, however often, and in none of class 1; each class holds 4 and 5 n-grams.
    expected = torch.tensor(2 / (4 + 1009)).log() - torch.tensor(1 / (5 + 1009)).log()
    assert weights[0].item() == pytest.approx(expected.item(), abs=1e-5)
    assert weights[1].item() == pytest.approx(-expected.item(), abs=1e-5)


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification"])
def test_start_from_naive_bayes_classifies_the_training_texts_by_itself(problem_type):
    model = build_classifier(problem_type=problem_type)
    labels = [0, 0, 1, 1]
    if problem_type == "multi_label_classification":
        labels = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    dataset = [{"input_ids": text, "labels": label} for text, label in zip(TEXTS, labels, strict=True)]
    start_from_naive_bayes(model, dataset, collate)
    batch = collate(dataset)
    scores = model.ngram_classifier(batch["input_ids"], batch["attention_mask"])
    assert scores.argmax(dim=1).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("problem_type", "labels", "missing"),
    [
        ("single_label_classification", [0, 0, 1], -100),
        ("multi_label_classification", [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [-100.0, -100.0]),
    ],
)
def test_start_from_naive_bayes_does_not_count_texts_without_a_label(problem_type, labels, missing):
    expected, found = (build_classifier(problem_type=problem_type) for _ in range(2))
    dataset = [{"input_ids": text, "labels": label} for text, label in zip(TEXTS, [*labels, missing], strict=True)]
    start_from_naive_bayes(expected, dataset[:3], collate)
    start_from_naive_bayes(found, dataset, collate)
    assert torch.equal(found.ngram_classifier.weight, expected.ngram_classifier.weight)
    assert torch.equal(found.ngram_classifier.bias, expected.ngram_classifier.bias)


def test_start_from_naive_bayes_refuses_model_without_ngrams():
    with pytest.raises(ValueError, match="classifier_ngram_orders"):
        start_from_naive_bayes(build_classifier(classifier_ngram_orders=[]), [], collate)


def test_start_from_naive_bayes_refuses_regression():
    with pytest.raises(ValueError, match="regression"):
        start_from_naive_bayes(build_classifier(problem_type="regression"), [], collate)
