"""The files of a recipe, and the rows that they hold."""

from pathlib import Path
from typing import Any

import yaml

from benchmarks.common.files import read_lines, read_rows
from benchmarks.seq2seq.protocols import PROTOCOLS, Protocol
from benchmarks.seq2seq.scores import Examples

NEEDED = ("train_file", "validation_file")
FILES = (*NEEDED, "train_target_file", "validation_target_file")


def read_recipe(path: Path) -> tuple[dict[str, Any], Protocol]:
    """
    Reads a recipe and finds its protocol: that of the folder which the training file lies in, and of the languages.

    Raises:
        SystemExit: If the recipe names no task with a protocol, or a test file, which the benchmark decodes itself.
    """
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = [name for name in NEEDED if name not in recipe]
    if missing:
        raise SystemExit(f"{path} does not name its {', '.join(missing)}. A recipe needs {', '.join(NEEDED)}.")
    if "test_file" in recipe:
        raise SystemExit(
            f"{path} names a test_file, which training would decode with settings of its own. Leave it out: the "
            "protocol names the test files."
        )
    languages = [recipe[side] for side in ("source_lang", "target_lang") if side in recipe]
    name = "_".join([Path(recipe["train_file"]).parts[0], *languages])
    if name not in PROTOCOLS:
        raise SystemExit(f"{path} is about {name!r}, which has no protocol. There are: {', '.join(PROTOCOLS)}.")
    return recipe, PROTOCOLS[name]


def resolve(recipe: dict[str, Any], data: Path) -> dict[str, Any]:
    """
    Returns the recipe with its data files in place.

    Args:
        recipe (`dict[str, Any]`): The recipe as read.
        data (`Path`): Folder of the prepared data.

    Raises:
        SystemExit: If a data file does not exist.
    """
    files = {name: data / recipe[name] for name in FILES if name in recipe}
    for file in files.values():
        check_exists(file)
    return recipe | {name: str(file.resolve()) for name, file in files.items()}


def check_exists(file: Path) -> None:
    """Raises if a prepared file does not exist."""
    if not file.is_file():
        raise SystemExit(f"There is no {file}. Make it with benchmarks/seq2seq/prepare.py.")


def held_files(recipe: dict[str, Any], name: str) -> list[Path]:
    """
    Returns the file, or the two files, of a test set: they lie beside those of the validation data.

    Args:
        recipe (`dict[str, Any]`): The recipe with its data files in place.
        name (`str`): Name of the test set.
    """
    beside = [Path(recipe[key]) for key in ("validation_file", "validation_target_file") if key in recipe]
    return [file.with_name(f"{name}{file.suffix}") for file in beside]


def split_files(recipe: dict[str, Any], split: str) -> list[Path]:
    """Returns the file, or the two files, of `"train"` or `"validation"`."""
    return [Path(recipe[key]) for key in (f"{split}_file", f"{split}_target_file") if key in recipe]


def as_released(recipe: dict[str, Any]) -> dict[str, Any]:
    """Returns the recipe with the released texts as sources, whatever column its model reads."""
    return recipe | {"source_column_name": "source"} if "source_column_name" in recipe else recipe


def read_examples(recipe: dict[str, Any], files: list[Path]) -> Examples:
    """
    Reads the rows of one split.

    Args:
        recipe (`dict[str, Any]`): The recipe, which says which columns hold what.
        files (`list[Path]`): One file with columns, or two whose lines belong together.
    """
    if len(files) == 2:
        sources, targets = (read_lines(file) for file in files)
        if len(sources) != len(targets):
            raise ValueError(f"{files[0]} has {len(sources)} lines, but {files[1]} has {len(targets)}.")
        return Examples(sources, targets)
    rows = read_rows(files[0])
    source = recipe.get("source_column_name") or recipe.get("source_lang") or "source"
    target = recipe.get("target_column_name") or recipe.get("target_lang") or "target"
    humans = [row["annotations"] for row in rows] if "annotations" in rows[0] else None
    return Examples([row[source] for row in rows], [row[target] for row in rows], humans)
