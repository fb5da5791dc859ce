"""Random texts of any amount, whose tokens are counted before they are written."""

import json
from pathlib import Path

import numpy as np

NUM_WORDS = 1000
NUM_SHARDS = 4
LABELS = ("even", "odd")


def write_corpus(folder: Path, num_tokens: int, length: int, num_sides: int = 1, seed: int = 0) -> str:
    """
    Writes json lines of texts in `NUM_SHARDS` files, unless they are there.

    Words are drawn by Zipf's law. A text's label says whether its first word has an even number; a target is its
    source with the words in another vocabulary.

    Args:
        folder (`Path`): Where to write.
        num_tokens (`int`): Words of all texts, source and target together.
        length (`int`): Words of a text.
        num_sides (`int`, defaults to 1): 2 for texts with a target.
        seed (`int`, defaults to 0): Seed of the texts.

    Returns:
        `str`: The pattern of the files.
    """
    pattern = str(folder / f"{num_tokens}-{length}-{num_sides}-*.jsonl")
    num_texts = max(num_tokens // (length * num_sides * NUM_SHARDS), 1)
    share = 1 / np.arange(1, NUM_WORDS + 1)
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(NUM_SHARDS):
        path = Path(pattern.replace("*", str(shard)))
        if path.exists():
            continue
        numbers = generator.choice(NUM_WORDS, (num_texts, length), p=share / share.sum())
        with path.open("w", encoding="utf-8") as file:
            for row in numbers:
                text = {"text": " ".join(f"w{number}" for number in row), "label": LABELS[row[0] % 2]}
                target = {"target": " ".join(f"v{number}" for number in row)} if num_sides == 2 else {}
                file.write(json.dumps(text | target) + "\n")
    return pattern
