"""How a classifier's score falls while its texts are disturbed more and more: the figures, a table and a picture."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..data.text_noise import TextNoise
from .fonts import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = (0.0, 0.05, 0.1, 0.2, 0.3)
_PANEL_WIDTH, _PANEL_HEIGHT, _MAX_COLUMNS = 4.0, 3.0, 3

Row = Mapping[str, str]


def add_noise(rows: Sequence[Row], noise: TextNoise, rate: float, seed: int = 0) -> list[dict[str, str]]:
    """
    Returns rows of texts with noise that depends on the seed, the row and the column.

    Args:
        rows (`Sequence[dict[str, str]]`): The texts, of which all columns are disturbed.
        noise (`TextNoise`): The kind of noise.
        rate (`float`): Its rate.
        seed (`int`, defaults to 0): Its seed.
    """
    return [
        {name: noise(text, rate, seed, number, column) for column, (name, text) in enumerate(row.items())}
        for number, row in enumerate(rows)
    ]


def measure_noise_curves(
    rows: Sequence[Row],
    score: Callable[[list[dict[str, str]]], float],
    kinds: Iterable[str],
    rates: Sequence[float] = RATES,
    seed: int = 0,
) -> dict[str, list[float]]:
    """
    Scores a model on ever more disturbed texts.

    Args:
        rows (`Sequence[dict[str, str]]`): The texts, `text` and for pairs `text_pair`.
        score (`Callable`): Returns the model's score on rows like these.
        kinds (`Iterable[str]`): Kinds of noise, of those of `TextNoise`.
        rates (`Sequence[float]`): Rates of noise.
        seed (`int`, defaults to 0): Seed of the noise; several models with the same seed read the same texts.

    Returns:
        `dict[str, list[float]]`: For each kind the score at each rate.
    """
    noises = {kind: TextNoise(kind, [row["text"] for row in rows]) for kind in kinds}
    clean = score([dict(row) for row in rows]) if 0 in rates else 0.0
    return {
        kind: [clean if rate == 0 else score(add_noise(rows, noise, rate, seed)) for rate in rates]
        for kind, noise in noises.items()
    }


def format_noise_table(curves: Mapping[str, Sequence[float]], rates: Sequence[float]) -> str:
    """Writes a line for each kind of noise with the score at each rate, below a line of the rates."""
    width = max(map(len, ("noise", *curves)))
    lines = [f"{'noise':<{width}}" + "".join(f"{f'{100 * rate:g} %':>9}" for rate in rates)]
    lines += [f"{kind:<{width}}" + "".join(f"{score:>9.4f}" for score in scores) for kind, scores in curves.items()]
    return "\n".join(lines)


def draw_noise_curves(
    panels: Mapping[str, Mapping[str, Sequence[float]]], rates: Sequence[float], metric_name: str
) -> "Figure":
    """
    Draws scores against the rate of noise.

    Args:
        panels (`Mapping[str, Mapping[str, Sequence[float]]]`):
            By the title of each panel its curves: by name, the score at each rate.
        rates (`Sequence[float]`): The rates.
        metric_name (`str`): What the score is called.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    _, figure_class, _ = import_matplotlib()
    columns = min(len(panels), _MAX_COLUMNS)
    rows = -(-len(panels) // columns)
    # A single panel has room for its legend at its side.
    size = (max(6.5, _PANEL_WIDTH * columns), max(4.0, _PANEL_HEIGHT * rows + 0.5))
    figure = figure_class(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, (title, curves) in zip(axes, panels.items(), strict=False):
        for name, scores in curves.items():
            panel.plot([100 * rate for rate in rates], scores, label=name, marker="o", markersize=3)
        panel.set_title(title, fontsize=10, parse_math=False)
        panel.grid(axis="y", color="#e4e7eb")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    figure.supxlabel("noise, in percent", fontsize=10)
    figure.supylabel(metric_name, fontsize=10)
    return figure
