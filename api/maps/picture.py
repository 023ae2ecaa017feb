"""picture: a map as a PNG, by matplotlib, which is imported when asked for (extra `map`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.maps.page import colourings, title
from engine.errors import InputError


def picture(found: Mapping[str, Any], file: Path, colour: str | None = None) -> None:
    """Write the PNG of a map of `engine.latent_analysis.latent_map`; `colour` is `label` or `anomaly score`."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError:
        raise InputError("a PNG needs matplotlib: install the extra `map`, or write .html") from None
    made = colourings(found)
    name = colour or next(iter(made))
    if name not in made:
        raise InputError(f"this map can be coloured by {' or '.join(made)}, got {name!r}", loc=("colour",))
    points, legend = made[name]
    order = (
        range(len(points)) if name == "label" else sorted(range(len(points)), key=lambda at: found["scores"][at] or 0)
    )
    figure = Figure(figsize=(10, 8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    xs, ys, colours = ([each[at] for at in order] for each in (found["x"], found["y"], points))
    axes.scatter(xs, ys, c=colours, s=9 if len(points) > 1500 else 22, alpha=0.75, linewidths=0)
    axes.set_title(f"{title(found)}, by {name}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    marks = [Line2D([], [], marker="o", linestyle="", color=each, label=text) for text, each in legend]
    axes.legend(handles=marks, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(file)
