"""
Makes further pairs of a text and its title from few: the title's traces in a text are exchanged for another title's.

The longest common stretches of a text and its title show where the text names its subject. In the clause that is most
like the title, the other title takes the place of all of them together; elsewhere, each gives way to a piece of it
that is as long, the same one wherever the stretch stands. What comes out is no good reading, but it names its subject
where and as often as an abstract does, in other words.
"""

import random
import re
from collections.abc import Sequence
from difflib import SequenceMatcher

CLAUSE_END = re.compile("([。；;，,！？!?\n:：])")
SHORTEST = 2  # characters of a stretch that counts as a trace

Stretch = tuple[int, int]


def common_stretches(clause: str, title: str) -> list[Stretch]:
    """Returns where a clause repeats stretches of the title, in order: start and length of each."""
    matcher = SequenceMatcher(None, clause, title, autojunk=False)
    return [(match.a, match.size) for match in matcher.get_matching_blocks() if match.size >= SHORTEST]


def likeness(clause: str, title: str) -> float:
    """Returns how much of the clause and of the title are common stretches, 0 to 1."""
    total = len(clause) + len(title)
    return 2 * sum(size for _, size in common_stretches(clause, title)) / total if total else 0.0


def exchange_title(text: str, title: str, other: str, generator: random.Random) -> str:
    """
    Returns the text as if it were about another title.

    Args:
        text (`str`): The text.
        title (`str`): Its title.
        other (`str`): The title to put in its place; not empty.
        generator (`random.Random`): Draws the pieces of `other`.
    """
    parts = CLAUSE_END.split(text)  # clauses at even places, what ends them between
    scores = [likeness(part, title) if place % 2 == 0 else -1.0 for place, part in enumerate(parts)]
    best = scores.index(max(scores))
    pieces: dict[str, str] = {}
    for place in range(0, len(parts), 2):
        clause, stretches = parts[place], common_stretches(parts[place], title)
        if place == best:
            first, last = (stretches[0], stretches[-1]) if stretches else ((0, 0), (len(clause), 0))
            parts[place] = clause[: first[0]] + other + clause[sum(last) :]
            continue
        for start, size in reversed(stretches):
            stretch = clause[start : start + size]
            begin = generator.randrange(max(1, len(other) - size + 1))
            piece = pieces.setdefault(stretch, other[begin : begin + size])
            clause = clause[:start] + piece + clause[start + size :]
        parts[place] = clause
    return "".join(parts)


def make_pairs(
    pairs: Sequence[tuple[str, str]], titles: Sequence[str], number: int, seed: int
) -> list[tuple[str, str]]:
    """
    Returns `number` pairs of a text and its title, each a given text with a title drawn from `titles`.

    Args:
        pairs (`Sequence[tuple[str, str]]`): Texts and their titles.
        titles (`Sequence[str]`): The titles to draw from.
        number (`int`): How many pairs.
        seed (`int`): Determines them.
    """
    generator = random.Random(seed)
    drawn = [(*generator.choice(pairs), generator.choice(titles)) for _ in range(number)]
    return [(exchange_title(text, title, other, generator), other) for text, title, other in drawn]
