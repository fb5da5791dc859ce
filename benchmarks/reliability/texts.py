"""Small data for runs that are only there to be disturbed."""

import random
from pathlib import Path

from benchmarks.common.files import write_rows

_LETTERS = "abcdefgh"
_WORDS = {"good": ("great", "lovely", "superb"), "bad": ("awful", "dull", "poor")}
_FILLERS = ("the", "film", "was", "a", "story", "with", "music")


def write_reviews(path: Path, num_rows: int, seed: int = 0) -> Path:
    """Writes `text` and `label`: short reviews of which one word tells the label."""
    generator = random.Random(seed)
    rows = []
    for _ in range(num_rows):
        label = generator.choice(sorted(_WORDS))
        words = [*generator.choices(_FILLERS, k=generator.randint(2, 16)), generator.choice(_WORDS[label])]
        generator.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    write_rows(path, rows)
    return path


def write_pairs(path: Path, num_rows: int, seed: int = 0) -> Path:
    """Writes `source` and `target`: letters, and the same in capitals from the last to the first."""
    generator = random.Random(seed)
    rows = []
    for _ in range(num_rows):
        letters = generator.choices(_LETTERS, k=generator.randint(2, 12))
        rows.append({"source": " ".join(letters), "target": " ".join(reversed(letters)).upper()})
    write_rows(path, rows)
    return path
