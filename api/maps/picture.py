"""A map as a PNG. Needs matplotlib (extra `map`), which is imported on the first call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.maps.page import colourings, title
from engine.errors import InputError


def write_png(latent_map: Mapping[str, Any], file: Path, colour: str | None = None) -> None:
    """Write the PNG of a map of `engine.latent_analysis`; `colour` is `label` or `anomaly score`."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError:
        raise InputError("a PNG needs matplotlib: install the extra `map`, or write .html") from None
    available = colourings(latent_map)
    name = colour or next(iter(available))
    if name not in available:
        raise InputError(f"this map can be coloured by {' or '.join(available)}, got {name!r}", loc=("colour",))
    points, legend = available[name]
    order = (
        range(len(points))
        if name == "label"
        else sorted(range(len(points)), key=lambda at: latent_map["scores"][at] or 0)
    )
    figure = Figure(figsize=(10, 8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    xs, ys, colours = ([each[at] for at in order] for each in (latent_map["x"], latent_map["y"], points))
    axes.scatter(xs, ys, c=colours, s=9 if len(points) > 1500 else 22, alpha=0.75, linewidths=0)
    axes.set_title(f"{title(latent_map)}, by {name}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    marks = [Line2D([], [], marker="o", linestyle="", color=each, label=text) for text, each in legend]
    axes.legend(handles=marks, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(file)
