"""Finds labels that are probably wrong, by what a linear model says that has not seen them."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.checks import InputError, listing
from .baseline import make_vectorizer

logger = logging.getLogger(__name__)

NUM_FOLDS = 5


def find_wrong_labels(texts: Sequence[str], labels: Sequence[int], seed: int = 0) -> np.ndarray:
    """
    Finds rows whose labels are probably wrong by confident learning (https://arxiv.org/abs/1911.00068, section 3.1).

    A logistic regression over TF-IDF predicts each fifth of the texts after it was trained on the others. A label is
    suspected if another class is more probable, and at least as probable as it is on average for texts with that
    class's label. cleanlab decides that.

    Args:
        texts (`Sequence[str]`): The texts.
        labels (`Sequence[int]`): A class for each.
        seed (`int`, defaults to 0): Seed of the parts.

    Returns:
        `np.ndarray` of shape `(num_found,)`: The rows' places, from 0 on, in order.

    Raises:
        ImportError: If scikit-learn or cleanlab is not installed.
        InputError: If there are too few texts of two classes to leave out a fifth.
    """
    find_label_issues = _import_cleanlab()
    names, numbers = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(numbers)
    most_frequent = sorted(counts.tolist(), reverse=True)
    # Texts are left out in turn: of a second label, one must remain to be learnt.
    if len(names) < 2 or most_frequent[0] < NUM_FOLDS or most_frequent[1] < 2:
        raise InputError(
            f"Wrong labels can only be looked for where one label has at least {NUM_FOLDS} texts and another at least "
            f"2, but there are {len(texts)} texts of {len(names)} labels, which have {listing(most_frequent)} texts "
            "each. Give more texts of these labels, or leave `find_wrong_labels` out."
        )
    chances = _predict_unseen(make_vectorizer(texts).fit_transform(texts), numbers, seed)
    is_suspected = find_label_issues(numbers, chances, filter_by="confident_learning", n_jobs=1)
    logger.info("A linear model guesses %.1f %% of unseen labels.", 100 * (chances.argmax(axis=1) == numbers).mean())
    return np.flatnonzero(is_suspected)


def _predict_unseen(features: Any, labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns the probability of each class, of shape `(num_texts, num_classes)`, from models trained without it."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold

    chances = np.zeros((len(labels), labels.max() + 1))
    with warnings.catch_warnings():
        # A rare class is missing in some parts: it has no chance there.
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = list(StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(features, labels))
    for seen, unseen in parts:
        model = SGDClassifier(loss="log_loss", random_state=seed).fit(features[seen], labels[seen])
        chances[np.ix_(unseen, model.classes_)] = model.predict_proba(features[unseen])
    return chances


def _import_cleanlab() -> Any:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ImportError(
            "The search for wrong labels needs cleanlab, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    return find_label_issues
