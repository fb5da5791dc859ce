"""Inputs that fuzzing found are errors for users now, and whole files are still accepted."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.fuzz import checkpoints, readers
from tests.fuzz.choices import Choices, damage_json

TARGETS: dict[str, ModuleType] = {"checkpoints": checkpoints, "readers": readers}
FOUND = json.loads((Path(__file__).parent / "found.json").read_text(encoding="utf-8"))
CASES = [(name, entry) for name, entries in FOUND.items() for entry in entries]


@pytest.mark.parametrize(("name", "entry"), CASES, ids=lambda value: value if isinstance(value, str) else value["was"])
def test_input_that_was_a_crash_is_a_clear_error_or_accepted(name, entry, tmp_path):
    target = TARGETS[name]
    try:
        target.run_input(bytes.fromhex(entry["input"]), tmp_path)
    except Exception as error:
        if not target.is_clear(error, tmp_path):
            raise


@pytest.mark.parametrize("number", range(len(readers.READERS)), ids=lambda number: readers.READERS[number][0])
def test_whole_file_is_accepted(number, tmp_path):
    readers.run_input(readers.seeds()[number], tmp_path)


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_whole_model_is_accepted(kind):
    saved = checkpoints.load_saved_model(str(checkpoints.originals()[kind]), "predict", tuple(checkpoints.KINDS))
    assert checkpoints.use(saved) is not None


def test_choices_are_the_same_each_time_and_leave_their_values_alone():
    content = json.dumps({"a": {"b": [1, 2]}, "c": 3}).encode()
    damages = {damage_json(content, Choices(bytes(range(start, start + 30)))) for start in range(60)}
    assert len(damages) > 20
    assert damages == {damage_json(content, Choices(bytes(range(start, start + 30)))) for start in range(60)}
