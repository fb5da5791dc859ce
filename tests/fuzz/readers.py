"""Target of fuzzing: everything of the package that reads a file of data, settings or records."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from hf_lstm.cli.card import collect_facts, read_metadata, stated_facts
from hf_lstm.cli.inference.resumption import SETTINGS_SUFFIX, ResumableOutput
from hf_lstm.data.checks import InputError
from hf_lstm.data.columns import select_texts
from hf_lstm.data.flags import read_config
from hf_lstm.data.loading import load_file
from hf_lstm.data.pairs import load_pairs
from hf_lstm.hub.card_facts import load_facts
from hf_lstm.training.arguments import DataArguments
from hf_lstm.training.checkpoints import check_same_settings, find_last_checkpoint
from hf_lstm.training.tasks.classification_data import load_classification_data
from tests.fuzz.choices import Choices, damage_json

ENCODINGS = ("utf-8", "gb18030", "utf-16", "cp1252", "utf-7", "no-such-encoding")

_TABLE = {"text": ["a dog ran", "the cat sat", "rain fell"], "label": ["x", "y", "x"]}
_PAIRS = {"source": ["a dog", "a cat"], "target": ["ein Hund", "eine Katze"]}
_TRANSLATIONS = {"translation": [{"de": "Hund", "en": "dog"}, {"de": "Tag", "en": "day"}]}
_LOG = {"log_history": [{"epoch": 1.0, "loss": 0.5, "step": 3}, {"epoch": 1.0, "eval_loss": 0.4, "step": 3}]}
_CARD = "---\nlanguage: en\nlicense: apache-2.0\ndatasets:\n- user/data\ntags:\n- hf_lstm\n---\n# Model\n"


def _read_table(path: Path, encoding: str) -> None:
    # So few rows cannot be split.
    options = {"file_encoding": encoding, "cache_dir": str(path.parent / "cache"), "validation_split_percentage": 0}
    load_classification_data(DataArguments(train_file=str(path), **options))


def _read_texts(path: Path, encoding: str) -> None:
    select_texts(load_file(path, encoding, str(path.parent / "cache")), "predict")


def _read_pairs(path: Path, encoding: str) -> None:
    load_pairs(path, "train", encoding=encoding, drop_empty=True, cache_dir=str(path.parent / "cache"))


def _read_translations(path: Path, encoding: str) -> None:
    load_pairs(path, "train", source_lang="de", target_lang="en", cache_dir=str(path.parent / "cache"))


def _read_lines(path: Path, encoding: str) -> None:
    load_pairs(path, "train", path, encoding=encoding)


def _read_config(path: Path, encoding: str) -> None:
    read_config(path, ("learning_rate", "train_file"))


def _read_facts(path: Path, encoding: str) -> None:
    load_facts(path.parent)


def _read_records(path: Path, encoding: str) -> None:
    collect_facts(path.parent)
    stated_facts(read_metadata(path.parent))


def _read_settings(path: Path, encoding: str) -> None:
    check_same_settings(path.parent, {"hidden_size": 6})


def _read_state(path: Path, encoding: str) -> None:
    folder = path.parent / "checkpoint-3"
    folder.mkdir()
    path.rename(folder / path.name)
    find_last_checkpoint(path.parent)


def _read_output_settings(path: Path, encoding: str) -> None:
    path.with_name("out.jsonl").write_text('{"text": "a dog"}\n')
    ResumableOutput(path.with_name("out.jsonl"), {"model": "m"}).close()


def _read_output(path: Path, encoding: str) -> None:
    path.with_name(path.name + SETTINGS_SUFFIX).write_text('{"model": "m"}')
    output = ResumableOutput(path, {"model": "m"})
    try:
        output.check_written([{"text": "a dog"}] * 3)
        output.check_end()
    finally:
        output.close()


def _csv(table: dict[str, list[str]], delimiter: str = ",") -> bytes:
    rows = [list(table), *zip(*table.values(), strict=True)]
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


def _jsonl(table: dict[str, Any]) -> bytes:
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(table: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(arrow.table(table), file)
    return file.getvalue()


def _json(values: Any) -> bytes:
    return json.dumps(values).encode()


# A file's name, what reads it, and a whole file.
READERS: tuple[tuple[str, Callable[[Path, str], None], bytes], ...] = (
    ("data.csv", _read_table, _csv(_TABLE)),
    ("data.tsv", _read_table, _csv(_TABLE, "\t")),
    ("data.json", _read_table, b"[" + _jsonl(_TABLE).strip().replace(b"\n", b",") + b"]"),
    ("data.jsonl", _read_table, _jsonl(_TABLE | {"label": [["x"], ["y", "x"], []]})),
    ("data.parquet", _read_table, _parquet(_TABLE)),
    ("data.csv.gz", _read_table, gzip.compress(_csv(_TABLE), mtime=0)),
    ("data.txt", _read_texts, b"a dog ran\nthe cat sat\n"),
    ("pairs.csv", _read_pairs, _csv(_PAIRS)),
    ("pairs.jsonl", _read_translations, _jsonl(_TRANSLATIONS)),
    ("pairs.parquet", _read_pairs, _parquet(_PAIRS)),
    ("lines.de", _read_lines, "Ein Hund\nDer Schnee fällt\n".encode()),
    ("lines.de.gz", _read_lines, gzip.compress(b"Ein Hund\n", mtime=0)),
    ("config.yaml", _read_config, b"learning_rate: 0.01\ntrain_file: [a.csv, {b: !!binary aGk=}]\n"),
    ("config.json", _read_config, _json({"learning_rate": 0.01})),
    ("card_facts.json", _read_facts, _json({"dataset_name": "d", "metrics": {"f1": 0.5}, "curve": [{"epoch": 1.0}]})),
    ("README.md", _read_records, _CARD.encode()),
    ("run_settings.json", _read_records, _json({"train_file": "a.csv", "max_length": 9, "languages": ["en"]})),
    ("run_settings.json", _read_settings, _json({"hidden_size": 6})),
    ("metrics.json", _read_records, _json({"metrics": {"test_f1": 0.5}, "examples": [{"text": "a dog"}]} | _LOG)),
    ("trainer_state.json", _read_records, _json({"epoch": 1.0, "global_step": 3} | _LOG)),
    ("trainer_state.json", _read_state, _json({"epoch": 1.0, "global_step": 3} | _LOG)),
    ("out.jsonl.settings.json", _read_output_settings, _json({"model": "m"})),
    ("out.jsonl", _read_output, b'{"text": "a dog", "label": "x"}\n'),
)
HEADER_SIZE = 3


def seeds() -> list[bytes]:
    """Returns an input for each reader with a whole file, and one for each whose file of JSON can be damaged."""
    whole = [bytes((number, 0, 0)) + content for number, (_, _, content) in enumerate(READERS)]
    return whole + [bytes((number, 0, 1, *range(8))) for number, (name, *_) in enumerate(READERS) if _is_json(name)]


def run_input(data: bytes, folder: Path) -> None:
    """
    Reads one file.

    Args:
        data (`bytes`): The reader's number, the encoding's number, and 0 before a file's content or 1 before choices
            of the damage to a whole file.
        folder (`Path`): An empty folder.
    """
    number, encoding, is_damaged = (*data[:HEADER_SIZE], 0, 0, 0)[:HEADER_SIZE]
    name, read, whole = READERS[number % len(READERS)]
    content = data[HEADER_SIZE:]
    if is_damaged % 2 and _is_json(name):
        content = damage_json(whole, Choices(content))
    (folder / name).write_bytes(content)
    read(folder / name, ENCODINGS[encoding % len(ENCODINGS)])


def _is_json(name: str) -> bool:
    return name.endswith(".json")


def is_clear(error: BaseException, folder: Path) -> bool:
    """Tells whether an error is one for users: records say what is wrong as a `ValueError`, which commands show."""
    return isinstance(error, InputError) or (type(error) is ValueError and str(folder) in str(error))
