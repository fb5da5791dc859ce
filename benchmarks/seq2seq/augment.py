"""
Makes more training rows of a few, from which a model without a copy mechanism can learn to copy.

Everything is made of the training rows alone: their summaries with the topic's characters exchanged, the clause that
says most of the summary, and pieces that are to be repeated.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]
Table = dict[int, str]

# Stand before a source whose target is no summary, so that the model tells the tasks apart; summaries have no mark.
CLAUSE_MARK, COPY_MARK = "■", "▲"
# Shortest and longest piece: characters or words.
PIECES = {"char": (10, 35), "word": (3, 12)}
MARKS = ",，。;；:：!！?？"
_CLAUSE = re.compile(f"[^{MARKS}]+[{MARKS}]*")
_LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]


def split_clauses(text: str) -> list[str]:
    """Cuts a text behind its punctuation marks; one of nothing else is a clause."""
    return _CLAUSE.findall(text) or [text]


def likeness(first: str, second: str) -> float:
    """Returns the F-measure, from 0 to 1, of the longest common subsequence of characters."""
    lengths = [0] * (len(second) + 1)
    for character in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if character == other else max(above, lengths[place - 1])
            diagonal = above
    return 2 * lengths[-1] / max(1, len(first) + len(second))


class Renamer:
    """
    Exchanges characters of texts among each other, always the same ones, so that only their places tell what to copy.

    The commonest characters stay: they hold what shows which part is the topic. Chinese characters become others that
    are not among the commonest, and capital letters become other capital letters.

    Args:
        texts (`Sequence[str]`): What the characters are counted in.
        common (`int`, defaults to 250): How many of the commonest stay.
    """

    def __init__(self, texts: Sequence[str], common: int = 250):
        counts = Counter(character for text in texts for character in text if character.isalpha())
        # What occurs once is unknown to a vocabulary that is made of the rows themselves.
        rare = [character for character, count in counts.most_common()[common:] if count > 1]
        self.groups = [sorted(character for character in rare if not character.isascii()), _LETTERS]

    def draw(self, share: float, generator: random.Random) -> Table:
        """
        Draws a table for `str.translate`.

        Args:
            share (`float`): About how many of the characters are exchanged, from 0 to 1.
            generator (`random.Random`): Draws them.
        """
        table: Table = {}
        for group in self.groups:
            chosen = [character for character in group if generator.random() < share]
            table |= {ord(old): new for old, new in zip(chosen, generator.sample(chosen, len(chosen)), strict=True)}
        return table


def shorten(clauses: Sequence[str], kept: int, share: float, generator: random.Random) -> str:
    """Leaves out about a share of the clauses, but never the one of the number `kept`."""
    return "".join(clause for number, clause in enumerate(clauses) if number == kept or generator.random() >= share)


def cut_piece(text: str, unit: str, generator: random.Random) -> str:
    """
    Returns a piece of a text, from anywhere in it.

    Args:
        text (`str`): The text.
        unit (`str`): `"word"` or `"char"`, which the piece is measured in.
        generator (`random.Random`): Draws the piece.
    """
    units = text.split() if unit == "word" else list(text)
    size = generator.randint(*PIECES[unit])
    start = generator.randint(0, max(0, len(units) - size))
    return (" " if unit == "word" else "").join(units[start : start + size])


def add_copies(rows: Sequence[Row], seed: int = 0) -> Iterator[Row]:
    """
    Yields each row, followed by one whose source is a piece of its source, of words, and whose target is the piece.

    Args:
        rows (`Sequence[Row]`): Rows with `source` and `target`.
        seed (`int`, defaults to 0): Makes the result repeatable.
    """
    generator = random.Random(seed)
    for row in rows:
        yield {"source": row["source"], "target": row["target"]}
        piece = cut_piece(row["source"], "word", generator)
        if piece:
            yield {"source": f"{COPY_MARK} {piece}", "target": piece}


def augment(
    rows: Sequence[Row], summaries: int, clauses: int, copies: int, length: int, seed: int = 0
) -> Iterator[Row]:
    """
    Yields each row, followed by the rows that are made of it.

    Args:
        rows (`Sequence[Row]`): Rows with `source` and `target`, the summary.
        summaries (`int`): Variants of a row with other characters and fewer clauses.
        clauses (`int`): Such variants whose target is the clause most like the summary.
        copies (`int`): Pieces of a source, with other characters, whose target is the piece itself.
        length (`int`): Characters of a source that variants are made of.
        seed (`int`, defaults to 0): Makes the result repeatable.
    """
    generator = random.Random(seed)
    renamer = Renamer([row["source"] + row["target"] for row in rows])
    for row in rows:
        yield {"source": row["source"], "target": row["target"]}
        parts = split_clauses(row["source"][:length])
        best = max(range(len(parts)), key=lambda number: likeness(parts[number], row["target"]))
        for number in range(summaries + clauses):
            table = renamer.draw(generator.random(), generator)
            source = shorten(parts, best, generator.uniform(0, 0.6), generator)
            mark, target = ("", row["target"]) if number < summaries else (CLAUSE_MARK, parts[best].rstrip(MARKS))
            yield {"source": mark + source.translate(table), "target": target.translate(table)}
        for _ in range(copies):
            table = renamer.draw(generator.random(), generator)
            piece = cut_piece(row["source"], "char", generator).translate(table)
            yield {"source": COPY_MARK + piece, "target": piece}
