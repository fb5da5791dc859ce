"""
The training texts most similar to a text, by the TF-IDF of their n-grams.

Their targets can stand before the text that a model reads, so that it may take words from what others wrote about
alike texts, as the retrieved templates of https://aclanthology.org/P18-1015 (section 2) do.
"""

from collections.abc import Sequence

import numpy as np

ROWS_AT_ONCE = 256


class Neighbours:
    """
    Finds the most similar of known texts.

    Args:
        texts (`Sequence[str]`): The known texts.
        unit (`str`): N-grams of what: `"word"` or `"char"`.
        ngram_range (`tuple[int, int]`): Their shortest and longest length.
    """

    def __init__(self, texts: Sequence[str], unit: str, ngram_range: tuple[int, int]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        # Words of one letter and numbers of one digit count as well.
        options = {"token_pattern": r"(?u)\w+"} if unit == "word" else {}
        self.vectorizer = TfidfVectorizer(analyzer=unit, ngram_range=ngram_range, sublinear_tf=True, **options)
        self.known = self.vectorizer.fit_transform(texts)

    def find(self, texts: Sequence[str], number: int, known: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """
        Returns the places of each text's neighbours and how similar these are, the most similar first.

        Args:
            texts (`Sequence[str]`): The texts.
            number (`int`): How many neighbours of each.
            known (`bool`): Whether these are the known texts, each of which is no neighbour of itself.

        Returns:
            `tuple[np.ndarray, np.ndarray]`: Places and cosines, both of shape `(len(texts), number)`. Of equally
            similar texts the earlier one comes first.
        """
        asked = self.known if known else self.vectorizer.transform(texts)
        places, cosines = [], []
        for start in range(0, asked.shape[0], ROWS_AT_ONCE):
            # The vectors have length 1, so that the product is the cosine.
            similarities = (asked[start : start + ROWS_AT_ONCE] @ self.known.T).toarray()
            if known:
                rows = np.arange(len(similarities))
                similarities[rows, start + rows] = -1
            best = np.argsort(-similarities, axis=1, kind="stable")[:, :number]
            places.append(best)
            cosines.append(np.take_along_axis(similarities, best, axis=1))
        return np.concatenate(places), np.concatenate(cosines)


def put_before(text: str, targets: Sequence[str], cosines: Sequence[float]) -> str:
    """
    Returns a text with its neighbours' targets in a line before it, each after a digit that says how similar the
    neighbour is: 0 for a cosine below 0.1, 9 for one of 0.9 or more.

    Args:
        text (`str`): The text.
        targets (`Sequence[str]`): The neighbours' targets.
        cosines (`Sequence[float]`): How similar the neighbours are, 0 to 1.
    """
    digits = (min(9, int(10 * cosine)) for cosine in cosines)
    first_line = " ".join(f"[{digit}] {' '.join(target.split())} |" for digit, target in zip(digits, targets))
    return f"{first_line}\n{text}"
