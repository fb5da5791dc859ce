"""
What a summary is held against: the beginning of the text, and the summary of the most similar training text.

Both choose their settings on validation data, by the protocol's main figure.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.seq2seq.neighbours import Neighbours
from benchmarks.seq2seq.protocols import Protocol
from benchmarks.seq2seq.scores import Examples, score

Settings = dict[str, Any]
Summarise = Callable[[Sequence[str]], list[str]]

# How much of the beginning: words of an email, characters of an abstract.
LEAD_LENGTHS = {"word": tuple(range(1, 21)), "char": tuple(range(8, 65, 4))}
NGRAM_RANGES = {"word": ((1, 1), (1, 2)), "char": ((1, 2), (1, 3))}
SENTENCE_END = {"word": re.compile(r"\n"), "char": re.compile("[。！？!?；;\n]")}


def lead(text: str, unit: str, first_sentence: bool, length: int | None) -> str:
    """
    Returns the beginning of a text.

    Args:
        text (`str`): The text. For words, each of its lines is a sentence.
        unit (`str`): `"word"` or `"char"`.
        first_sentence (`bool`): Whether to stop where the first sentence ends.
        length (`int`, *optional*): How many words or characters at most.
    """
    if first_sentence:
        sentences = (sentence.strip() for sentence in SENTENCE_END[unit].split(text))
        text = next((sentence for sentence in sentences if sentence), "")
    if unit == "word":
        return " ".join(text.split()[:length])
    return " ".join(text.split())[:length]


def lead_candidates(unit: str) -> Iterable[tuple[Settings, Summarise]]:
    """Yields every beginning that is tried."""
    for first_sentence in (True, False):
        for length in (*LEAD_LENGTHS[unit], None):
            if first_sentence or length is not None:
                settings = {"first_sentence": first_sentence, f"{unit}s": length}
                yield settings, _make_lead(unit, first_sentence, length)


def _make_lead(unit: str, first_sentence: bool, length: int | None) -> Summarise:
    return lambda texts: [lead(text, unit, first_sentence, length) for text in texts]


def nearest_candidates(unit: str, train: Examples) -> Iterable[tuple[Settings, Summarise]]:
    """Yields the neighbour by every kind of n-grams that is tried."""
    for ngram_range in NGRAM_RANGES[unit]:
        yield {"ngrams": list(ngram_range)}, fit_nearest(unit, ngram_range, train)


def fit_nearest(unit: str, ngram_range: tuple[int, int], train: Examples) -> Summarise:
    """
    Weighs the training texts' n-grams by TF-IDF, and returns a function that finds the nearest one's target.

    Args:
        unit (`str`): N-grams of what: `"word"` or `"char"`.
        ngram_range (`tuple[int, int]`): Their shortest and longest length.
        train (`Examples`): The training rows.
    """
    neighbours = Neighbours(train.sources, unit, ngram_range)

    def summarise(texts: Sequence[str]) -> list[str]:
        places, _ = neighbours.find(texts, 1)
        return [" ".join(train.targets[place].split()) for place in places[:, 0].tolist()]

    return summarise


def measure_baselines(
    protocol: Protocol, train: Examples, validation: Examples, tests: dict[str, Examples]
) -> tuple[dict[str, Any], dict[str, dict[str, list[str]]]]:
    """
    Chooses each baseline's settings on validation data and scores it on the test files.

    Args:
        protocol (`Protocol`): Which baselines, and how they are scored.
        train (`Examples`): The training rows.
        validation (`Examples`): The rows to choose on.
        tests (`dict[str, Examples]`): The rows of each test file.

    Returns:
        `tuple[dict, dict]`: For each baseline its `settings`, its figures on `validation`, and those on each of the
        `tests`; and for each baseline its hypotheses by test file.
    """
    candidates: dict[str, Callable[[], Iterable[tuple[Settings, Summarise]]]] = {
        "lead": lambda: lead_candidates(protocol.unit),
        "nearest": lambda: nearest_candidates(protocol.unit, train),
    }
    figures, hypotheses = {}, {}
    for name in protocol.baselines:
        tried = []
        for settings, summarise in candidates[name]():
            # What other people said plays no part in the choice.
            rows = Examples(validation.sources, validation.targets)
            tried.append((score(protocol, summarise(rows.sources), rows), settings, summarise))
        on_validation, settings, summarise = max(tried, key=lambda trial: trial[0][protocol.main])
        hypotheses[name] = {test: summarise(examples.sources) for test, examples in tests.items()}
        scores = {test: score(protocol, hypotheses[name][test], examples) for test, examples in tests.items()}
        figures[name] = {"settings": settings, "validation": on_validation, "tests": scores}
    return figures, hypotheses
