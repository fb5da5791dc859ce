"""The linear model that an LSTM should beat: TF-IDF of n-grams with a support vector machine."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.checks import InputError
from ..data.tokenization import choose_algorithm

logger = logging.getLogger(__name__)

# Small values for large noisy data, large ones for small clean data.
C_VALUES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_ANALYZERS = {"word": (1, 2), "char": (1, 3)}


@dataclass
class LinearBaseline:
    """
    A fitted linear classifier of texts.

    Args:
        vectorizer (`TfidfVectorizer`): Turns texts into weighted n-gram counts.
        classifier (`LinearSVC`): Reads these.
        settings (`dict[str, Any]`): How it was made: `analyzer`, `ngram_range`, `C` and `num_features`.
        dev_accuracy (`float`): Share of the development texts that it labels rightly.
    """

    vectorizer: Any
    classifier: Any
    settings: dict[str, Any]
    dev_accuracy: float

    def predict(self, texts: Sequence[str]) -> list[Any]:
        """Predicts the label of each text."""
        return self.classifier.predict(self.vectorizer.transform(texts)).tolist()


def fit_linear_baseline(
    train_texts: Sequence[str],
    train_labels: Sequence[Any],
    dev_texts: Sequence[str],
    dev_labels: Sequence[Any],
    analyzer: str = "auto",
) -> LinearBaseline:
    """
    Fits TF-IDF of word 1- to 2-grams or character 1- to 3-grams with a linear support vector machine.

    The penalty is the best of `C_VALUES` on the development texts.

    Args:
        train_texts (`Sequence[str]`): Texts to learn from.
        train_labels (`Sequence`): A label for each: strings or integers.
        dev_texts (`Sequence[str]`): Texts to choose the penalty on.
        dev_labels (`Sequence`): Their labels.
        analyzer (`str`, defaults to `"auto"`):
            `"word"`, `"char"`, or `"auto"` for characters where the texts are written without spaces.

    Raises:
        ImportError: If scikit-learn is not installed.
        InputError: If `analyzer` is unknown, or there is nothing to learn from or to choose on.
    """
    if analyzer not in (*_ANALYZERS, "auto"):
        raise InputError(f"`analyzer` is {analyzer!r}, but must be 'auto', 'word' or 'char'.")
    labels = np.asarray(train_labels)
    if len(np.unique(labels)) < 2 or len(dev_texts) == 0:
        raise InputError(
            f"A linear baseline needs training texts of two labels and one development text, but there are "
            f"{len(np.unique(labels))} and {len(dev_texts)}."
        )
    vectorizer = make_vectorizer(train_texts, analyzer)
    _, classifier_class = _import_sklearn()
    train_features, dev_features = _vectorize(vectorizer, train_texts), vectorizer.transform(dev_texts)
    best: tuple[float, float, Any] | None = None
    for penalty in C_VALUES:
        classifier = classifier_class(C=penalty, random_state=0).fit(train_features, labels)
        accuracy = float((classifier.predict(dev_features) == np.asarray(dev_labels)).mean())
        logger.info("Linear baseline with C=%g: %.4f accuracy on the development texts.", penalty, accuracy)
        if best is None or accuracy > best[0]:
            best = (accuracy, penalty, classifier)
    assert best is not None
    accuracy, penalty, classifier = best
    settings = {
        "analyzer": vectorizer.analyzer,
        "ngram_range": list(vectorizer.ngram_range),
        "C": penalty,
        "num_features": train_features.shape[1],
    }
    return LinearBaseline(vectorizer, classifier, settings, accuracy)


def make_vectorizer(texts: Sequence[str], analyzer: str = "auto") -> Any:
    """
    Makes a `TfidfVectorizer`, not yet fitted, that suits texts.

    Args:
        texts (`Sequence[str]`): The texts.
        analyzer (`str`, defaults to `"auto"`): As for `fit_linear_baseline`.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    vectorizer_class, _ = _import_sklearn()
    kind = choose_algorithm(texts) if analyzer == "auto" else analyzer
    # Words of one letter count as well; sublinear counts are the usual choice for long texts.
    options = {"token_pattern": r"(?u)\w+|[^\w\s]"} if kind == "word" else {}
    return vectorizer_class(analyzer=kind, ngram_range=_ANALYZERS[kind], sublinear_tf=True, **options)


def _vectorize(vectorizer: Any, texts: Sequence[str]) -> Any:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        if re.search("empty vocabulary", str(error)) is None:
            raise
        raise InputError(
            "The training texts hold no words or signs to count. Check that the right text column is read."
        ) from error


def _import_sklearn() -> tuple[Any, Any]:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise ImportError(
            "The linear baseline needs scikit-learn, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    return TfidfVectorizer, LinearSVC
