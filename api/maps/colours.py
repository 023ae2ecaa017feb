"""Colours of a map: one for each of the most common labels, grey for the rest and for none; a ramp for scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

# distinguishable also by most who see red and green alike (after Paul Tol's bright and muted schemes)
PALETTE = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#332288", "#44bb99", "#775533"),
    *("#999933", "#dd77cc", "#117733", "#77aadd", "#ddaa33"),
)
REST = "#bbbbbb"
LOW, HIGH = np.array([0xC8, 0xD4, 0xE0]), np.array([0xC0, 0x10, 0x20])


def by_label(labels: Sequence[str | None]) -> tuple[list[str], list[tuple[str, str]]]:
    """A colour for each point, and the legend: (label, colour), most common first."""
    common = [label for label, _ in Counter(each for each in labels if each is not None).most_common(len(PALETTE))]
    ordered = sorted(common, key=_natural)
    colour_of = dict(zip(ordered, PALETTE, strict=False))
    legend = list(colour_of.items())
    if any(label not in colour_of for label in labels):
        legend.append(("other", REST))
    return [colour_of.get(label, REST) if label is not None else REST for label in labels], legend


def by_score(scores: Sequence[float | None], threshold: float | None) -> tuple[list[str], list[tuple[str, str]]]:
    """From pale at the lowest to red at the threshold and above, or at the 99th percentile where there is none."""
    known = np.array([np.nan if score is None else score for score in scores], np.float64)
    if np.isnan(known).all():
        return [REST] * len(known), [("no scores", REST)]
    low, high = np.nanquantile(known, 0.01), threshold or np.nanquantile(known, 0.99)
    share = np.clip((known - low) / max(high - low, 1e-30), 0, 1)
    mixed = [REST if np.isnan(each) else _hex(LOW + (HIGH - LOW) * each) for each in share]
    return mixed, [(f"{low:.3g}", _hex(LOW)), (f"{high:.3g} and above", _hex(HIGH))]


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in colour.tolist())


def _natural(label: str) -> tuple[int, float, str]:
    """Numbers by size, before words."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label
