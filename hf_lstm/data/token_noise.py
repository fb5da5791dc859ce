"""Noise on token ids, so that an autoencoder learns more than to copy."""

from collections.abc import Collection, Sequence

import torch

from .checks import InputError


def add_noise(
    input_ids: Sequence[int],
    word_dropout: float,
    shuffle_distance: int,
    unk_token_id: int | None,
    special_ids: Collection[int],
    generator: torch.Generator,
) -> list[int]:
    """
    Drops random tokens of a text and shuffles the others a little.

    This is the noise of https://huggingface.co/papers/1711.00043, section 2.3: each word is removed with probability
    p_wd, and then the words are sorted by q_i = i + U(0, k + 1), where U is a uniform draw; such a permutation σ
    satisfies |σ(i) - i| ≤ k. There p_wd is 0.1 and k is 3. Here a word is a token, and a text whose tokens would all
    be removed keeps one of them.

    Args:
        input_ids (`Sequence[int]` of length `sequence_length`): The tokens of one text; left as they are.
        word_dropout (`float`): p_wd, at least 0 and below 1.
        shuffle_distance (`int`): k, how many places a token moves at most; 0 keeps the order.
        unk_token_id (`int`, *optional*): Takes the place of dropped tokens; they are removed if it is `None`.
        special_ids (`Collection[int]`): Tokens that are neither dropped nor moved, such as `</s>`.
        generator (`torch.Generator`): Draws the random numbers; one in the same state gives the same noise.

    Returns:
        `list[int]`: The disturbed tokens, at most as many as before.

    Raises:
        InputError: If `word_dropout` or `shuffle_distance` is out of its range.
    """
    _check_arguments(word_dropout, shuffle_distance)
    special = set(special_ids)
    kept = _drop(list(input_ids), word_dropout, unk_token_id, special, generator)
    places = [place for place, token in enumerate(kept) if token not in special]
    if shuffle_distance == 0 or len(places) < 2:
        return kept
    keys = torch.arange(len(places), dtype=torch.float64)
    keys += (shuffle_distance + 1) * torch.rand(len(places), dtype=torch.float64, generator=generator)
    noisy = list(kept)
    for place, origin in zip(places, torch.argsort(keys, stable=True).tolist(), strict=True):
        noisy[place] = kept[places[origin]]
    return noisy


def _drop(
    input_ids: list[int], probability: float, unk_token_id: int | None, special: set[int], generator: torch.Generator
) -> list[int]:
    """Removes random tokens, or replaces them by the unknown token."""
    places = [place for place, token in enumerate(input_ids) if token not in special]
    if probability == 0 or not places:
        return input_ids
    is_dropped = torch.rand(len(places), dtype=torch.float64, generator=generator) < probability
    if unk_token_id is None and bool(is_dropped.all()):
        is_dropped[int(torch.randint(len(places), (1,), generator=generator))] = False
    dropped = {place for place, drop in zip(places, is_dropped.tolist(), strict=True) if drop}
    if unk_token_id is None:
        return [token for place, token in enumerate(input_ids) if place not in dropped]
    return [unk_token_id if place in dropped else token for place, token in enumerate(input_ids)]


def _check_arguments(word_dropout: float, shuffle_distance: int) -> None:
    if not 0 <= word_dropout < 1:
        raise InputError(f"`word_dropout` is {word_dropout}, but must be at least 0 and below 1. Try 0.1.")
    if shuffle_distance < 0:
        raise InputError(f"`shuffle_distance` is {shuffle_distance}, but must be 0 (no shuffle) or more. Try 3.")
