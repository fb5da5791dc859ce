"""Types of the columns of JSON files too long for the reader of `datasets`, which goes by the first 10 MB."""

import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.json
from datasets import Features, Json

from .text_files import open_bytes

BLOCK_SIZE = 10 << 20  # what the reader of `datasets` reads at a time
_MIXED = re.compile(r"Column\(/([^/)]+)[^)]*\) changed from")


def find_types(path: Path, encoding: str) -> Features | None:
    """
    Finds types that suit all rows of a JSON file, where those of its first rows do not suit later ones.

    A column with values of several types is a `Json`, as the reader makes of one where the first rows hold them.

    Args:
        path (`Path`): The file, with a row in each line.
        encoding (`str`): How text is written in it.

    Returns:
        `Features`: The types; `None` where the reader finds them by itself, or nobody does.
    """
    if path.suffix.lower() != ".gz" and path.stat().st_size <= BLOCK_SIZE:
        return None
    schemas: list[pa.Schema] = []
    mixed: set[str] = set()
    with open_bytes(path) as file:
        while block := file.read(BLOCK_SIZE):
            block += file.readline()
            try:
                schema = _read_schema(block if encoding == "utf-8" else block.decode(encoding).encode(), mixed)
            except (ValueError, RecursionError):  # also of pyarrow
                return None
            schemas = [*schemas[:1], _merge(schemas[-1], schema, mixed) if schemas else schema]
    if not schemas or (not mixed and schemas[-1].equals(schemas[0])):
        return None
    merged = Features.from_arrow_schema(schemas[-1])
    return Features({**merged, **{name: Json() for name in sorted(mixed)}})


def _read_schema(text: bytes, mixed: set[str]) -> pa.Schema:
    """Returns the types of some rows without the columns of several types, which are noted in `mixed`."""
    while True:
        try:
            options = pyarrow.json.ReadOptions(block_size=len(text) + 1)
            return pyarrow.json.read_json(io.BytesIO(text), options).schema
        except pa.ArrowInvalid as error:
            found = _MIXED.search(str(error))
            if found is None or found[1] in mixed:
                raise
            mixed.add(found[1])
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            kept = [{name: value for name, value in row.items() if name not in mixed} for row in rows]
            text = "\n".join(map(json.dumps, kept)).encode()


def _merge(first: pa.Schema, later: pa.Schema, mixed: set[str]) -> pa.Schema:
    fields = []
    for name in dict.fromkeys([*first.names, *later.names]):
        kinds = [schema.field(name) for schema in (first, later) if name in schema.names]
        try:
            unified = pa.unify_schemas([pa.schema([kind]) for kind in kinds], promote_options="permissive")
            fields.append(unified.field(0))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            fields.append(pa.field(name, pa.string()))
            # Strings that look like times to the reader are strings to `load_file`.
            if not all(pa.types.is_string(kind.type) or pa.types.is_timestamp(kind.type) for kind in kinds):
                mixed.add(name)
    return pa.schema(fields)
