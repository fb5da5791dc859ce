"""Tiny sequences, files and sizes for the tests of the sequence-to-sequence task."""

import gzip
import json
import random

TINY = {
    "encoder_embedding_size": 10,
    "decoder_embedding_size": 10,
    "encoder_hidden_size": 14,
    "decoder_hidden_size": 14,
    "tokenizer_algorithm": "word",
    "target_tokenizer_algorithm": "word",
    "min_frequency": 1,
    "max_source_length": 12,
    "max_target_length": 9,
    "num_train_epochs": 1,
    "learning_rate": 0.02,
    "disable_tqdm": "true",
    "num_attention_plots": 0,
}
NO_DROPOUT = ("--input_dropout", 0, "--output_dropout", 0)
LETTERS = "abcdefgh"


def make_pairs(num_rows, seed=0, longest=6):
    """Returns sequences of letters, and the same in capitals from the last to the first."""
    generator = random.Random(seed)
    rows = [generator.choices(LETTERS, k=generator.randint(2, longest)) for _ in range(num_rows)]
    return [(" ".join(row), " ".join(reversed(row)).upper()) for row in rows]


def write_lines(path, lines):
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_json(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_json(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def flags(values):
    return [item for name, value in values.items() for item in (f"--{name}", str(value))]
