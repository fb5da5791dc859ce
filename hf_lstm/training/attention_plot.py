"""Pictures of which source tokens a decoder looks at while it writes each target token."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.checks import InputError
from .fonts import find_fonts, import_matplotlib, save_figure, shorten_text, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from transformers import PreTrainedTokenizerBase

ATTENTION_NAME = "attention_{number}.png"
SPACE_MARK = "·"

_COLORS = "Blues"
_MAX_TOKEN_WIDTH = 18
# Inches.
_CELL_SIZE, _MAX_SIDE, _MAX_GRID_SIDE = 0.32, 16.0, 20.0
# Points, of 1/72 inch. A letter is about 0.62 as wide as its font is high.
_MAX_FONT_SIZE, _MIN_FONT_SIZE, _LETTER_WIDTH = 9.0, 5.0, 0.62


@dataclass(frozen=True)
class AttentionExample:
    """
    What one picture shows.

    Args:
        attention (`torch.Tensor` or `np.ndarray` of shape `(target_length, source_length)` or \
`(heads, target_length, source_length)`): The weights.
        source_tokens (`Sequence[str]`): The tokens read, as [`readable_tokens`] writes them.
        target_tokens (`Sequence[str]`): The tokens written.
        title (`str`, *optional*): What stands above the picture.
    """

    attention: torch.Tensor | np.ndarray
    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    title: str | None = None


def plot_attention(
    attention: torch.Tensor | np.ndarray,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    title: str | None = None,
    separate_heads: bool = False,
) -> "Figure":
    """
    Draws attention weights as a heat map, source tokens along the top and target tokens down the side.

    A letter that no installed font has is written as its code point, `\\u4f60`. Where there are too many tokens for
    letters of a legible size, only every second (third, …) is named.

    Args:
        attention (`torch.Tensor` or `np.ndarray` of shape `(target_length, source_length)` or \
`(heads, target_length, source_length)`):
            The weights: one example's part of `cross_attentions[0]`, without its padding.
        source_tokens (`Sequence[str]`): The `source_length` tokens read.
        target_tokens (`Sequence[str]`): The `target_length` tokens written.
        title (`str`, *optional*): What stands above the picture.
        separate_heads (`bool`, defaults to `False`): Whether each head has a map of its own, instead of their mean.

    Returns:
        `matplotlib.figure.Figure`: The figure; save it with its `savefig`.

    Raises:
        ImportError: If matplotlib is not installed.
        InputError: If the shape does not fit the tokens, or a weight is not finite.
    """
    import_matplotlib()
    maps = _check_attention(attention, source_tokens, target_tokens)
    if not separate_heads:
        maps = maps.mean(axis=0, keepdims=True)
    families, missing = find_fonts([*source_tokens, *target_tokens, title or ""])
    source, target = ([_escape(token, missing) for token in tokens] for tokens in (source_tokens, target_tokens))
    figure = _draw_maps(maps, source, target, families)
    if title:
        text = shorten_text(_escape_letters(title, missing), max(40, int(figure.get_figwidth() / 0.09)))
        figure.suptitle(text, fontfamily=families, fontsize=10, parse_math=False)
    return figure


def save_attention_plots(directory: str | Path, examples: Sequence[AttentionExample]) -> list[Path]:
    """
    Draws one picture per example, `attention_1.png` and so on.

    Args:
        directory (`str` or `Path`): The folder, made if needed.
        examples (`Sequence[AttentionExample]`): What to draw.

    Returns:
        `list[Path]`: The files written.

    Raises:
        ImportError: If matplotlib is not installed.
        InputError: If an example's shape does not fit its tokens.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for number, example in enumerate(examples, start=1):
        figure = plot_attention(example.attention, example.source_tokens, example.target_tokens, example.title)
        written.append(directory / ATTENTION_NAME.format(number=number))
        save_figure(figure, written[-1])
    return written


def readable_tokens(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int] | torch.Tensor) -> list[str]:
    """
    Writes token ids as people read them: a space as `·`, the bytes of byte-level BPE as the letters they make.

    Bytes that are only part of a letter appear in hexadecimal, such as `<E4BD>`.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer that made the ids.
        ids (`Sequence[int]` or `torch.Tensor` of shape `(sequence_length,)`): The ids.

    Returns:
        `list[str]`: One text per id; special tokens under their own names.

    Raises:
        InputError: If an id is negative.
    """
    numbers = [int(number) for number in ids]
    if negative := [number for number in numbers if number < 0]:
        raise InputError(
            f"Token ids must be 0 or more, but there is {negative[0]}. Leave out the positions of labels that the "
            "loss ignores."
        )
    special = set(tokenizer.all_special_ids)
    kinds = _decoder_kinds(tokenizer)
    tokens: list[str] = []
    for number, token in zip(numbers, tokenizer.convert_ids_to_tokens(numbers), strict=True):
        if token is None:
            # A model may have more rows than its tokenizer has tokens.
            tokens.append(f"<{number}>")
        elif number in special:
            tokens.append(token)
        elif "ByteLevel" in kinds:
            tokens.append(_decode_bytes(token))
        else:
            tokens.append(_show_spaces(token.replace("▁", " ") if "Metaspace" in kinds else token))
    return tokens


def _check_attention(
    attention: torch.Tensor | np.ndarray, source_tokens: Sequence[str], target_tokens: Sequence[str]
) -> np.ndarray:
    """Returns the weights as an array of shape `(heads, target_length, source_length)` that fits the tokens."""
    if isinstance(attention, torch.Tensor):
        attention = attention.detach().float().cpu().numpy()
    weights = np.asarray(attention, dtype=np.float64)
    lengths = (len(target_tokens), len(source_tokens))
    if weights.ndim not in (2, 3) or weights.shape[-2:] != lengths:
        raise InputError(
            f"Attention has the shape {weights.shape}, but {lengths[0]} target tokens and {lengths[1]} source tokens "
            f"need {lengths} or (heads, {lengths[0]}, {lengths[1]}). Take one example of the batch, and leave out its "
            "padding."
        )
    if weights.size == 0:
        raise InputError(f"Attention of shape {weights.shape} has nothing to draw: give a token on each side.")
    if not np.isfinite(weights).all():
        head, row, column = np.argwhere(~np.isfinite(weights.reshape(-1, *lengths)))[0].tolist()
        raise InputError(
            f"The attention of target token {row} to source token {column} in head {head} is not finite. Leave out "
            "padding, or look for the step at which training diverged."
        )
    return weights.reshape(-1, *lengths)


def _draw_maps(maps: np.ndarray, source: Sequence[str], target: Sequence[str], families: Sequence[str]) -> "Figure":
    """
    Draws one map per head on a grid.

    Args:
        maps (`np.ndarray` of shape `(heads, target_length, source_length)`): The weights.
        source (`Sequence[str]`): Names of the columns.
        target (`Sequence[str]`): Names of the rows.
        families (`Sequence[str]`): Fonts for the names.
    """
    _, figure_class, _ = import_matplotlib()
    num_columns = math.ceil(math.sqrt(len(maps)))
    num_rows = math.ceil(len(maps) / num_columns)
    max_side = _MAX_SIDE if len(maps) == 1 else _MAX_GRID_SIDE / num_columns
    x_cell, y_cell = (min(_CELL_SIZE, max_side / len(names)) for names in (source, target))
    # About the room for the longest name, the colour bar and the axes' names, which the layout then divides exactly.
    width = num_columns * x_cell * len(source) + 0.075 * _longest(target) + 1.6
    height = num_rows * (y_cell * len(target) + 0.3) + 0.075 * _longest(source) + 0.9
    figure = figure_class(figsize=(max(width, 3.5), max(height, 2.0)), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    # Maps without any weight are white.
    scale = {"vmin": 0.0, "vmax": float(maps.max()) or 1.0}
    for number, (axes, weights) in enumerate(zip(grid.flat, maps, strict=False)):
        axes.imshow(weights, cmap=_COLORS, aspect="auto", interpolation="nearest", **scale)
        row, column = divmod(number, num_columns)
        _name_columns(axes, source, x_cell, families, is_named=row == 0)
        _name_rows(axes, target, y_cell, families, is_named=column == 0)
        if len(maps) > 1:
            axes.text(0.5, -0.02, f"head {number + 1}", transform=axes.transAxes, ha="center", va="top", fontsize=9)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    figure.colorbar(grid[0, 0].images[0], ax=list(grid.flat), label="attention weight", aspect=30, fraction=0.05)
    return figure


def _name_columns(axes: "Axes", names: Sequence[str], cell: float, families: Sequence[str], is_named: bool) -> None:
    size, step = _letter_size(cell)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=2)
    axes.set_xticks(range(0, len(names), step), [])
    if is_named:
        is_upright = step == 1 and _longest(names) * _LETTER_WIDTH * size < cell * 72
        axes.set_xticklabels(
            names[::step], fontfamily=families, fontsize=size, parse_math=False, rotation=0 if is_upright else 90
        )
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("source", fontsize=9)


def _name_rows(axes: "Axes", names: Sequence[str], cell: float, families: Sequence[str], is_named: bool) -> None:
    size, step = _letter_size(cell)
    axes.tick_params(axis="y", length=2)
    axes.set_yticks(range(0, len(names), step), [])
    if is_named:
        axes.set_yticklabels(names[::step], fontfamily=families, fontsize=size, parse_math=False)
        axes.set_ylabel("target", fontsize=9)


def _letter_size(cell: float) -> tuple[float, int]:
    """Returns the size of letters, in points, that fits cells of a size in inches, and of which cells to name one."""
    room = cell * 72 / 1.3
    return min(max(room, _MIN_FONT_SIZE), _MAX_FONT_SIZE), max(1, math.ceil(_MIN_FONT_SIZE / room))


def _longest(names: Sequence[str]) -> int:
    return max(map(text_width, names))


def _escape(token: str, missing: set[str]) -> str:
    name = token.replace(" ", SPACE_MARK) if token.isspace() else token
    return shorten_text(_escape_letters(name, missing), _MAX_TOKEN_WIDTH)


def _escape_letters(text: str, missing: set[str]) -> str:
    """Writes letters that would be drawn as boxes, or not at all, as their code points."""
    return "".join(
        letter.encode("unicode_escape").decode() if letter in missing or not letter.isprintable() else letter
        for letter in text
    )


def _show_spaces(text: str) -> str:
    return _escape_letters(text.replace(" ", SPACE_MARK), set())


def _decoder_kinds(tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    """Returns the kinds of decoders that a tokenizer applies one after another."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return set()
    state = json.loads(backend.decoder.__getstate__())
    return {state["type"], *(part["type"] for part in state.get("decoders", []))}


def _decode_bytes(token: str) -> str:
    """Turns a token of byte-level BPE, which writes each byte as a letter, into text."""
    numbers = [_BYTES.get(letter) for letter in token]
    if None in numbers:
        # A token added by hand is plain text.
        return _show_spaces(token)
    content = bytes(number for number in numbers if number is not None)
    text = content.decode("utf-8", errors="surrogateescape")
    parts: list[str] = []
    for letter in text:
        # A surrogate escape stands for one byte that belongs to no whole letter.
        is_byte = 0xDC80 <= ord(letter) <= 0xDCFF
        if is_byte and parts and parts[-1].startswith("<") and len(parts[-1]) > 1:
            parts[-1] = f"{parts[-1][:-1]}{ord(letter) - 0xDC00:02X}>"
        else:
            parts.append(f"<{ord(letter) - 0xDC00:02X}>" if is_byte else _show_spaces(letter))
    return "".join(parts)


def _byte_letters() -> dict[str, int]:
    """Returns the byte that each letter of byte-level BPE stands for: printable Latin-1 itself, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [number for number in range(256) if number not in printable]
    return {chr(number): number for number in printable} | {
        chr(256 + position): number for position, number in enumerate(others)
    }


_BYTES = _byte_letters()
