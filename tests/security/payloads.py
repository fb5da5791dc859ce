"""Files that would run code if they were unpickled, imported or called."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch


class Payload:
    """
    Makes a file wherever it is unpickled.

    Args:
        mark (`Path`): The file.
    """

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def write_pickles(folder: Path, names: tuple[str, ...], mark: Path) -> None:
    """Writes payloads, by turns as torch saves them and as plain pickles."""
    for number, name in enumerate(names):
        if number % 2:
            (folder / name).write_bytes(pickle.dumps(Payload(mark)))
        else:
            torch.save({"state": Payload(mark)}, folder / name)


def write_code(folder: Path, mark: Path) -> None:
    """Writes a module that makes a file when it is imported, and names it wherever transformers looks for code."""
    (folder / "hostile.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    tasks = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM")
    for name, classes in (("config.json", tasks), ("tokenizer_config.json", ("AutoTokenizer",))):
        values = json.loads((folder / name).read_text())
        values["auto_map"] = dict.fromkeys(classes, "hostile.Hostile")
        if classes == ("AutoTokenizer",):
            values["auto_map"] = {"AutoTokenizer": ["hostile.Hostile", "hostile.Hostile"]}
        (folder / name).write_text(json.dumps(values))
