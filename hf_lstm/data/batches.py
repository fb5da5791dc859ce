"""Batches of rows of similar length, for models that only read."""

from collections.abc import Iterator, Sequence


def sorted_batches(lengths: Sequence[int], batch_size: int, max_tokens: int) -> Iterator[list[int]]:
    """
    Yields row numbers in batches, the longest rows first, so that what does not fit into memory fails at once.

    Args:
        lengths (`Sequence[int]`): Tokens of each row.
        batch_size (`int`): Rows of a batch at most; fewer if they are long.
        max_tokens (`int`): Tokens of a batch at most, with padding; a longer row is a batch by itself.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        # The first row is the longest one, and the others are padded to it.
        if batch and (len(batch) == batch_size or (len(batch) + 1) * lengths[batch[0]] > max_tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
