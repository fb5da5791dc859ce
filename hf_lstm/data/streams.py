"""Endless data: streamed data sets that each rank reads a share of, shuffled in windows and resumed at any batch."""

import glob
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, IterableDataset, Value
from datasets.distributed import split_dataset_by_node
from datasets.streaming import extend_dataset_builder_for_streaming
from torch.utils.data import IterableDataset as TorchIterableDataset

from .checks import InputError, listing
from .json_files import check_first_row, write_rows
from .loading import file_options
from .readers import READERS
from .text_files import check_readable_file, check_text_encoding, iterate_lines, open_bytes

Columns = dict[str, list[Any]]


def stream_files(pattern: str | Path, encoding: str = "utf-8") -> IterableDataset:
    """
    Opens files as `load_file` reads them, but reads them piece by piece when they are iterated over.

    Args:
        pattern (`str` or `Path`): A file, or a pattern such as `data/train-*.jsonl.gz` for files of one format. Each
            file is a shard: ranks read different ones where their number is a multiple of the ranks.
        encoding (`str`, defaults to `"utf-8"`): How text is written in them.

    Raises:
        InputError: If no file is found, or one is empty, unreadable, of another format than the first, or lacks a
            column of a first one with a header; and while rows are read, if a file cannot be read as its ending says.
    """
    found = [] if Path(pattern).exists() else sorted(glob.glob(str(pattern)))
    paths = [Path(path) for path in found] or [Path(pattern)]
    loader, options = file_options(check_readable_file(paths[0]), encoding)
    for path in paths[1:]:
        other, its_options = file_options(check_readable_file(path), encoding)
        if other != loader:
            raise InputError(
                f"The files of {str(pattern)!r} are of several formats: {str(paths[0])!r} is read as {loader} and "
                f"{str(path)!r} as {other}. Stream files of one format."
            )
        missing = [name for name in options.get("features", ()) if name not in its_options["features"]]
        if missing:
            raise InputError(
                f"The file {str(path)!r} has no column {listing(missing)}, as {str(paths[0])!r} has, only "
                f"{listing(list(its_options['features']))}. Stream files of the same columns."
            )
        if "header" in options and its_options.get("header", options["header"]) != options["header"]:
            raise InputError(
                f"The header of {str(path)!r} stands after {its_options['header']} blank lines, but that of "
                f"{str(paths[0])!r} after {options['header']}. Remove the blank lines before the headers."
            )
    if loader == "text":  # of which the reader of `datasets` also ends lines at carriage returns alone
        arguments = {"paths": paths, "encoding": encoding}
        features = Features({"text": Value("string")})
        return _record_files(IterableDataset.from_generator(_line_rows, features, gen_kwargs=arguments), paths)
    if loader == "json":
        lists = {path: rows for path in paths if (rows := check_first_row(path, encoding)) is not None}
        read_paths = [write_rows(path, lists[path], encoding) if path in lists else path for path in paths]
    else:
        read_paths = paths
    files = [glob.escape(str(path)) for path in read_paths]
    reader = READERS[loader](data_files=files, **options)
    extend_dataset_builder_for_streaming(reader)  # as `load_dataset` does, for packed files
    return _record_files(reader.as_streaming_dataset(split="train"), paths)


def _record_files(stream: IterableDataset, paths: list[Path]) -> IterableDataset:
    """Notes the files and their sizes where `datasets` keeps those of what it downloads."""
    stream.info.download_checksums = {str(path): {"num_bytes": path.stat().st_size} for path in paths}
    return stream


def _line_rows(paths: list[Path], encoding: str) -> Iterator[dict[str, str]]:
    for path in paths:
        with open_bytes(path) as file:
            try:
                for line in iterate_lines(file, encoding):
                    if "\0" in line:
                        check_text_encoding(path, encoding)
                    yield {"text": line}
            except (UnicodeError, OSError, EOFError, zlib.error):
                check_text_encoding(path, encoding)  # which says where
                raise


def read_rows(stream: IterableDataset, limit: int | None) -> Dataset:
    """
    Reads the first rows of a stream into memory.

    Args:
        stream (`IterableDataset`): The stream.
        limit (`int`, *optional*): How many rows at most; all by default.

    Raises:
        InputError: If there are none.
    """
    rows = list(islice(stream, limit))
    if not rows:
        raise InputError("The streamed data holds no rows. It must hold at least one.")
    return Dataset.from_list(rows, features=stream.features)


@dataclass(frozen=True)
class StreamPlace:
    """
    Where in a stream training is: what `ExampleStream` starts from to give the very next batch.

    Args:
        passes (`int`): Whole passes over the data before this one.
        windows (`int`): Windows of this pass before the current one.
        batches (`int`): Batches that were taken from the current window.
        source (`dict`, *optional*): Where the current window begins, as `IterableDataset.state_dict` says; `None` for
            the beginning of the data.
    """

    passes: int = 0
    windows: int = 0
    batches: int = 0
    source: dict[str, Any] | None = None


@dataclass(frozen=True)
class StreamBatch:
    """
    The examples of one batch, and the place in the stream after it.

    Args:
        examples (`list[dict]`): What a collator takes.
        place (`StreamPlace`): Where to go on.
    """

    examples: list[dict[str, Any]]
    place: StreamPlace


class ExampleStream(TorchIterableDataset):
    """
    Gives batches of prepared examples without end, and starts from any place in them.

    A window of rows is read and prepared at a time. Its examples are shuffled, or put into batches of similar length
    that are shuffled, and handed out before the next window is read. The order follows from the arguments alone: a
    place in the stream is a few numbers, and whoever starts there reads at most one window again. At the end of the
    data the next pass begins, with the shards (files) in another order. Ranks read different shards where their
    number is a multiple of the ranks, else every rank reads all rows and prepares its share of them.

    Args:
        source (`IterableDataset`): The rows, not shuffled and not split by rank.
        prepare (`Callable`): Makes the columns of examples of the columns of rows; may leave out rows.
        batch_size (`int`): Examples of a batch; the last one of a pass may have fewer.
        window_size (`int`): Rows that are read at a time, and by how many places an example may move.
        order (`str`, defaults to `"group_by_length"`): `"random"`, `"sequential"` or `"group_by_length"`.
        seed (`int`, defaults to 42): Seed of the order.
        rank (`int`, defaults to 0): Which share is read.
        num_ranks (`int`, defaults to 1): How many shares there are.
        length_columns (`tuple[str, ...]`): Columns whose lengths order the examples; the first counts most.

    Raises:
        InputError: If the window is smaller than a batch, or a rank has no rows.
    """

    def __init__(
        self,
        source: IterableDataset,
        prepare: Callable[[Columns], Columns],
        *,
        batch_size: int,
        window_size: int,
        order: str = "group_by_length",
        seed: int = 42,
        rank: int = 0,
        num_ranks: int = 1,
        length_columns: tuple[str, ...] = ("input_ids",),
    ):
        if window_size < batch_size:
            raise InputError(
                f"`shuffle_buffer_size` is {window_size}, but must be at least the batch size, {batch_size}."
            )
        self.source = source
        self.prepare = prepare
        self.batch_size = batch_size
        # Whole batches only, or else every window would end with a small one.
        self.window_size = window_size - window_size % batch_size
        self.order = order
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.length_columns = length_columns
        self.start = StreamPlace()

    def state_dict(self, place: StreamPlace) -> dict[str, Any]:
        """Returns a place, and the arguments that it holds for, as what JSON can hold."""
        return asdict(place) | self._arguments()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Makes the next iteration start from the place in `state`.

        Raises:
            InputError: If it is a place in another order, naming what differs.
        """
        changed = [
            f"`{name}` was {state[name]!r} and is {value!r}"
            for name, value in self._arguments().items()
            if name in state and state[name] != value
        ]
        if changed:
            raise InputError(
                f"The checkpoint's place in the stream is one in another order: {'; '.join(changed)}. Set them as "
                "they were, or start over with --restart."
            )
        self.start = StreamPlace(**{name: state[name] for name in asdict(StreamPlace())})

    def __iter__(self) -> Iterator[StreamBatch]:
        place = self.start
        while True:
            has_examples = place != StreamPlace(place.passes)
            for following, rows in self._windows(place):
                batches = self._arrange(self.prepare(_to_columns(rows)), place)
                for number in range(place.batches, len(batches)):
                    has_examples = True
                    is_last = number == len(batches) - 1
                    after = following if is_last else replace(place, batches=number + 1)
                    yield StreamBatch(_to_examples(batches[number]), after)
                place = following
            if not has_examples:
                raise InputError(
                    f"Rank {self.rank} of {self.num_ranks} finds no examples in the streamed data. Stream more rows "
                    "than there are ranks."
                )
            place = StreamPlace(passes=place.passes + 1)

    def _windows(self, place: StreamPlace) -> Iterator[tuple[StreamPlace, list[dict[str, Any]]]]:
        """Yields the rest of a pass in windows, each after the place that follows it."""
        source = split_dataset_by_node(self.source, self.rank, self.num_ranks)
        if self.order != "sequential":
            # In every pass but one with the epoch 0, `datasets` shuffles the shards by the epoch.
            source.set_epoch(int(np.random.SeedSequence([self.seed, place.passes]).generate_state(1)[0]) + 1)
        if place.source is not None:
            source.load_state_dict(place.source)
        rows = iter(source)
        while window := list(islice(rows, self.window_size)):
            place = StreamPlace(place.passes, place.windows + 1, 0, source.state_dict())
            yield place, window

    def _arrange(self, examples: Columns, place: StreamPlace) -> list[dict[str, np.ndarray]]:
        """Puts the examples of a window into batches."""
        # Without the rank: ranks wait for each other, so batches of a step should be of similar length on all of them.
        generator = np.random.default_rng([self.seed, place.passes, place.windows])
        columns = {name: _as_array(values) for name, values in examples.items() if not name.startswith("is_cut")}
        num_examples = len(next(iter(columns.values())))
        order = np.arange(num_examples) if self.order == "sequential" else generator.permutation(num_examples)
        if self.order == "group_by_length":
            lengths = [np.array([-len(columns[name][row]) for row in order]) for name in reversed(self.length_columns)]
            order = order[np.lexsort(lengths)]
        batches = [order[start : start + self.batch_size] for start in range(0, num_examples, self.batch_size)]
        if self.order == "group_by_length":
            num_full = num_examples // self.batch_size
            batches = [batches[index] for index in generator.permutation(num_full)] + batches[num_full:]
        return [{name: values[batch] for name, values in columns.items()} for batch in batches]

    def _arguments(self) -> dict[str, Any]:
        files = self.source.info.download_checksums
        return ({} if files is None else {"files": _describe_files(files)}) | {
            "batch_size": self.batch_size,
            "window_size": self.window_size,
            "order": self.order,
            "seed": self.seed,
            "num_ranks": self.num_ranks,
        }


def _describe_files(files: dict[str, Any]) -> str:
    """Describes files in a few words, the same for the same names and sizes, wherever their folder is."""
    sizes = [(Path(path).name, file.get("num_bytes") or 0) for path, file in files.items()]
    code = hashlib.md5(json.dumps(sizes).encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{len(sizes)} files of {sum(size for _, size in sizes)} bytes ({code})"


def _to_columns(rows: list[dict[str, Any]]) -> Columns:
    # The rows of json files may lack keys.
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _as_array(values: list[Any]) -> np.ndarray:
    """Returns a column as an array of objects; lists of integers become arrays, which take a ninth of the memory."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
        if isinstance(value, list) and value and isinstance(value[0], int):
            numbers = np.asarray(value)
            small = numbers.astype(np.int32) if numbers.dtype == np.int64 else None
            if small is not None and np.array_equal(small, numbers):
                column[row] = small
    return column


def _to_examples(batch: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    names = list(batch)
    rows = zip(*(batch[name] for name in names), strict=True)
    return [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in zip(names, row)}
        for row in rows
    ]
