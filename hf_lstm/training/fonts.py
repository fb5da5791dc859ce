"""What all drawings share: matplotlib without its global state, and fonts that have the letters of any language."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Tried in this order beside matplotlib's own font, which has no Chinese.
_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "Arial Unicode MS",
    "Droid Sans Fallback",
)


def find_fonts(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """
    Finds installed fonts that together have the letters of some texts.

    Args:
        texts (`Iterable[str]`): The texts.

    Returns:
        `tuple[list[str], set[str]]`: Font families, matplotlib's own first, and the letters that none has.
    """
    _, _, font_manager = import_matplotlib()
    missing = {letter for text in texts for letter in text if not letter.isspace()}
    installed = {entry.name: entry.fname for entry in reversed(font_manager.fontManager.ttflist)}
    # Last Resort has a box for every letter there is.
    others = sorted(name for name in installed if not name.startswith("Last Resort"))
    families: list[str] = []
    for name in dict.fromkeys(("DejaVu Sans", *_CJK_FONTS, *others)):
        if name not in installed or (families and not missing):
            continue
        codes = font_manager.get_font(installed[name]).get_charmap()
        found = {letter for letter in missing if ord(letter) in codes}
        if found or name == "DejaVu Sans":
            families.append(name)
            missing -= found
    return families, missing


def text_width(text: str) -> int:
    """Returns the width of a text in Latin letters; Chinese, Japanese and Korean ones are twice as wide."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)


def shorten_text(text: str, max_width: int) -> str:
    """Cuts a text after a width in Latin letters, with a mark where letters are gone."""
    width = 0
    for position, letter in enumerate(text):
        width += text_width(letter)
        if width > max_width:
            return text[:position] + "…"
    return text


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Writes a figure as a PNG file."""
    canvas_class, _, _ = import_matplotlib()
    canvas_class(figure).print_figure(str(path), format="png", dpi=150, bbox_inches="tight")


def import_matplotlib() -> tuple[Any, Any, Any]:
    """
    Imports the parts of matplotlib that draw without a window.

    Returns:
        `tuple[type, type, module]`: `FigureCanvasAgg`, `Figure` and `font_manager`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    # The Agg canvas and bare figures leave alone what pyplot would set for the whole process.
    try:
        from matplotlib import font_manager
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    return FigureCanvasAgg, Figure, font_manager
