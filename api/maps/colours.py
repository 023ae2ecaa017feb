"""The colours of a map: one per label for the most common labels, grey for other or no labels; a ramp for scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

# Distinguishable with most forms of colour blindness (after Paul Tol's bright and muted schemes).
PALETTE = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#332288", "#44bb99", "#775533"),
    *("#999933", "#dd77cc", "#117733", "#77aadd", "#ddaa33"),
)
OTHER = "#bbbbbb"
LOW, HIGH = np.array([0xC8, 0xD4, 0xE0]), np.array([0xC0, 0x10, 0x20])


def by_label(labels: Sequence[str | None]) -> tuple[list[str], list[tuple[str, str]]]:
    """A colour for each point, and the legend: (label, colour), most common first."""
    common = [label for label, _ in Counter(each for each in labels if each is not None).most_common(len(PALETTE))]
    ordered = sorted(common, key=_natural_order)
    colour_of = dict(zip(ordered, PALETTE, strict=False))
    legend = list(colour_of.items())
    if any(label not in colour_of for label in labels):
        legend.append(("other", OTHER))
    return [colour_of.get(label, OTHER) if label is not None else OTHER for label in labels], legend


def by_score(scores: Sequence[float | None], threshold: float | None) -> tuple[list[str], list[tuple[str, str]]]:
    """From pale at the 1st percentile to red at the threshold; without a threshold, at the 99th percentile."""
    values = np.array([np.nan if score is None else score for score in scores], np.float64)
    if np.isnan(values).all():
        return [OTHER] * len(values), [("no scores", OTHER)]
    low, high = np.nanquantile(values, 0.01), threshold or np.nanquantile(values, 0.99)
    share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
    colours = [OTHER if np.isnan(each) else _hex(LOW + (HIGH - LOW) * each) for each in share]
    return colours, [(f"{low:.3g}", _hex(LOW)), (f"{high:.3g} and above", _hex(HIGH))]


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in colour.tolist())


def _natural_order(label: str) -> tuple[int, float, str]:
    """A sort key: numbers by value, before words."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label
