"""The picture of a run: bars of rates for sections, lines for curves."""

from itertools import groupby
from pathlib import Path
from typing import Any

OURS, PEER = "tab:orange", "tab:blue"
COLUMNS = 2


def draw_chart(rows: list[dict[str, Any]], path: Path) -> bool:
    """
    Draws a panel for each section, and two for each curve: rate and memory.

    Args:
        rows (`list[dict[str, Any]]`): The rows of a run.
        path (`Path`): The PNG file.

    Returns:
        `bool`: Whether there was anything to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list_panels([row for row in rows if "rates" in row])
    if not panels:
        return False
    height = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(height, COLUMNS, figsize=(8 * COLUMNS, 3.2 * height), squeeze=False)
    for axis, (title, kind, panel_rows) in zip(axes.flat, panels):
        axis.set_title(title, fontsize=10)
        if kind == "bars":
            draw_bars(axis, panel_rows)
        else:
            draw_curve(axis, panel_rows, kind)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def list_panels(rows: list[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Returns title, kind and rows of each panel, in the order of the rows."""
    panels = []
    for (case, threads), grouped in groupby(rows, key=lambda row: (row["case"], row["threads"])):
        by_panel: dict[str, list[dict[str, Any]]] = {}
        for row in grouped:
            by_panel.setdefault(row["curve"] or row["section"], []).append(row)
        for name, of_panel in by_panel.items():
            title = f"{case}: {name}, threads {threads}"
            if of_panel[0]["curve"] is None:
                panels.append((title, "bars", of_panel))
                continue
            panels.append((title, "rate", of_panel))
            if any(row.get("memory") is not None for row in of_panel):
                panels.append((f"{title}: memory", "memory", of_panel))
    return panels


def draw_bars(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Draws the median rates with their extremes, the first variant on top."""
    rows = rows[::-1]
    medians = [row["rate"]["median"] for row in rows]
    errors = [
        [row["rate"]["median"] - row["rate"]["least"] for row in rows],
        [row["rate"]["most"] - row["rate"]["median"] for row in rows],
    ]
    colours = [OURS if row["variant"].startswith("ours") else PEER for row in rows]
    axis.barh([row["variant"] for row in rows], medians, xerr=errors, color=colours)
    axis.set_xlabel(f"{rows[0]['unit']} a second", fontsize=8)
    axis.tick_params(labelsize=8)


def draw_curve(axis: Any, rows: list[dict[str, Any]], kind: str) -> None:
    """Draws rate or memory against what was varied, both logarithmic."""
    for name in dict.fromkeys(row["variant"] for row in rows):
        of_variant = [row for row in rows if row["variant"] == name]
        if kind == "memory":
            # Less than a MiB is not told apart from what a process does by itself.
            points = [
                (row["point"], max(row["memory"] / 2**20, 1)) for row in of_variant if row.get("memory") is not None
            ]
        else:
            points = [(row["point"], row["rate"]["median"]) for row in of_variant]
        if points:
            axis.plot(*zip(*points), marker="o", label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(rows[0]["curve"], fontsize=8)
    axis.set_ylabel("MiB" if kind == "memory" else f"{rows[0]['unit']} a second", fontsize=8)
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
