"""Orders of the examples in which a batch holds texts of similar length, so that little of it is padding."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Sampler


class LengthGroupedSampler(Sampler[int]):
    """
    Draws each epoch's examples so that every global batch holds examples of similar length, in random order.

    The examples are shuffled, cut into large pieces, sorted by length within each piece, and cut into global batches;
    then these are shuffled. The batch with the longest example comes first, where a lack of memory shows at once, and
    a smaller batch that is left over comes last. The order depends on the arguments and on the epoch alone, so that a
    resumed run and every process of a distributed run see the same one.

    Args:
        lengths (`Sequence[int]`): Number of tokens of each example.
        global_batch_size (`int`): Examples of one optimizer step, over all processes and accumulated batches.
        seed (`int`): Seed of the order.
        mega_batch_multiplier (`int`, defaults to 50):
            Global batches in a piece. Small data is cut into four pieces at least, so that its batches vary by epoch.
    """

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, global_batch_size: int, seed: int, mega_batch_multiplier: int = 50
    ):
        if global_batch_size < 1 or mega_batch_multiplier < 1:
            raise ValueError(
                f"`global_batch_size` is {global_batch_size} and `mega_batch_multiplier` is {mega_batch_multiplier}, "
                "but both must be at least 1."
            )
        self.lengths = np.asarray(lengths)
        self.global_batch_size = global_batch_size
        self.seed = seed
        pieces_of_four = len(self.lengths) // (4 * global_batch_size)
        self.mega_batch_size = global_batch_size * max(1, min(mega_batch_multiplier, pieces_of_four))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.lengths))
        pieces = [order[start : start + self.mega_batch_size] for start in range(0, len(order), self.mega_batch_size)]
        order = np.concatenate([_longest_first(self.lengths, piece) for piece in pieces] or [order])
        num_full = len(order) // self.global_batch_size
        full, rest = np.split(order, [num_full * self.global_batch_size])
        batches = generator.permutation(full.reshape(num_full, self.global_batch_size))
        if num_full > 0:
            longest = self.lengths[batches].max(axis=1).argmax()
            batches[[0, longest]] = batches[[longest, 0]]
        yield from batches.reshape(-1).tolist()
        yield from rest.tolist()


class LengthSortedSampler(Sampler[int]):
    """
    Goes through the examples from the longest to the shortest, to evaluate with little padding.

    Args:
        lengths (`Sequence[int]`): Number of tokens of each example.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray):
        self.order = _longest_first(np.asarray(lengths), np.arange(len(lengths)))

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())


def find_sampler(loader: Any) -> Sampler | None:
    """Finds the sampler of a `DataLoader` that accelerate has wrapped, however deep; `None` where there is none."""
    batches: Any = getattr(loader, "batch_sampler", None)
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    return getattr(batches, "sampler", None)


def count_tokens(dataset: Any, column: str = "input_ids") -> np.ndarray:
    """
    Counts the tokens of each example.

    Args:
        dataset (`Dataset` or any sequence of dictionaries): The tokenised examples.
        column (`str`, defaults to `"input_ids"`): Where the tokens are.

    Returns:
        `np.ndarray` of shape `(num_examples,)`: The lengths.

    Raises:
        ValueError: If the examples have no such column.
    """
    names = dataset.column_names if isinstance(dataset, Dataset) else list(dataset[0]) if len(dataset) else [column]
    if column not in names:
        raise ValueError(
            f"The data must have a column {column!r} to be ordered by length, but has only {', '.join(names)}. "
            "Tokenise it, or pass train_sampling_strategy='random'."
        )
    if isinstance(dataset, Dataset):
        # Arrow knows the lengths without unpacking the tokens.
        tables = dataset.select_columns(column).with_format("arrow").iter(batch_size=10_000)
        lengths: list[Sized] = [table[column].combine_chunks().value_lengths().to_numpy(False) for table in tables]
        return np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64)  # type: ignore[arg-type]
    return np.array([len(example[column]) for example in dataset], dtype=np.int64)


def measure_pairs(dataset: Any) -> np.ndarray:
    """
    Returns numbers that order pairs by the length of their target and, where it is the same, of their source.

    Args:
        dataset (`Dataset` or any sequence of dictionaries): Tokenised pairs, with columns `input_ids` and `labels`.

    Returns:
        `np.ndarray` of shape `(num_examples,)`: target length · (longest source + 1) + source length.

    Raises:
        ValueError: If the examples lack such a column.
    """
    # Long sources times long targets are too many for 32 bits.
    sources, targets = (count_tokens(dataset, name).astype(np.int64) for name in ("input_ids", "labels"))
    return targets * (sources.max(initial=0) + 1) + sources


def _longest_first(lengths: np.ndarray, indices: np.ndarray) -> np.ndarray:
    # A stable sort keeps examples of equal length in their random order.
    return indices[np.argsort(-lengths[indices], kind="stable")]
