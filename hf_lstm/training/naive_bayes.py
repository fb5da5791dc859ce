"""Starts the n-gram classifier from counts of the training texts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ..data.noisy_texts import NoisyTexts
from ..models.modeling_lstm import LstmForSequenceClassification
from ..models.ngrams_lstm import NgramClassifier

BATCH_SIZE = 256


@torch.no_grad()
def start_from_naive_bayes(
    model: LstmForSequenceClassification,
    dataset: Sequence[dict[str, Any]] | NoisyTexts,
    collator: Callable[[list], dict],
) -> None:
    """
    Sets the weights of the model's n-gram classifier to each n-gram's log-count ratio.

    The ratio compares how often the n-gram is in texts with the label and in texts without it, each count raised by
    one (https://aclanthology.org/P12-2018, equation in section 2.1). Training goes on from there. Labels of -100 do
    not count.

    Args:
        model (`LstmForSequenceClassification`): A classifier with `classifier_ngram_orders`.
        dataset (`Sequence[dict]` or `NoisyTexts`): The tokenised training texts, with `input_ids` and `labels`.
        collator (`Callable`): Makes a batch of a list of examples, without random changes.

    Raises:
        ValueError: If the model has no n-gram classifier, or predicts numbers and not labels.
    """
    classifier = model.ngram_classifier
    if classifier is None or model.config.problem_type == "regression":
        raise ValueError(
            f"Naive Bayes needs a classifier with n-grams, but `classifier_ngram_orders` is "
            f"{model.config.classifier_ngram_orders} and `problem_type` is {model.config.problem_type!r}."
        )
    is_multi_label = model.config.problem_type == "multi_label_classification"
    with_label = torch.zeros(classifier.weight.shape)
    without_label = torch.zeros(classifier.weight.shape)
    num_with, num_texts = torch.zeros(len(classifier.bias)), torch.zeros(len(classifier.bias))
    for start in range(0, len(dataset), BATCH_SIZE):
        batch = collator([dataset[index] for index in range(start, min(start + BATCH_SIZE, len(dataset)))])
        labels = batch["labels"]
        is_known = (labels != -100).view(len(labels), -1).float()
        has_label = labels if is_multi_label else F.one_hot(labels.clamp(min=0), len(num_with))
        has_label = has_label * is_known
        num_with += has_label.sum(dim=0)
        num_texts += is_known.sum(dim=0)
        count_ngrams(classifier, batch, has_label, with_label)
        count_ngrams(classifier, batch, is_known - has_label, without_label)
    log_ratio = _log_shares(with_label) - _log_shares(without_label)
    share = (num_with + 1) / (num_texts + 2)
    bias = share.logit() if is_multi_label else share.log()
    classifier.weight.copy_(log_ratio)
    classifier.bias.copy_(bias)


def count_ngrams(
    classifier: NgramClassifier, batch: dict[str, torch.Tensor], has_label: torch.Tensor, counts: torch.Tensor
) -> None:
    """
    Adds to `counts` how many texts of each label hold each n-gram.

    Args:
        classifier (`NgramClassifier`): Finds the n-grams.
        batch (`dict`): `input_ids` and `attention_mask`, each of shape `(batch_size, sequence_length)`.
        has_label (`torch.Tensor` of shape `(batch_size, num_labels)`): Ones where a text has a label, else zeros.
        counts (`torch.Tensor` of shape `(num_buckets, num_labels)`): Changed in place.
    """
    buckets, is_new = classifier.find_ngrams(batch["input_ids"], batch["attention_mask"])
    rows, places = is_new.nonzero(as_tuple=True)
    counts.index_add_(0, buckets[rows, places], has_label[rows])


def _log_shares(counts: torch.Tensor) -> torch.Tensor:
    raised = counts + 1
    return raised.log() - raised.sum(dim=0).log()
