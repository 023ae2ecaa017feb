"""Rotation: items that the user was shown lately sink, and come back by half-life.

Each time that an item was shown, its score is multiplied by 1 - STRENGTH x 2^(-age / half-life): by 0.2 just after it
was shown, by 0.6 a half-life later, by 0.8 after two. A negative score is divided by it. Addends sink by the same
factor. All eligible items are ranked by these scores; items without a score, such as new ones, do not sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.recommending.values.boosts import Boost, Rows
from engine.recommending.values.context import Context

STRENGTH, SMALLEST = 0.8, 1e-3
HALF_LIVES = 10  # an impression older than so many does not count: its factor is above 0.999

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Rotation:
    rows: Rows
    factors: Numbers  # in (0, 1)

    def of_rows(self, rows: Rows) -> Numbers:
        """(n,), 1 for a row that was not shown."""
        factors = dict(zip(self.rows.tolist(), self.factors.tolist(), strict=True))
        return np.array([factors.get(row, 1.0) for row in rows.tolist()], np.float64)


def rotation_of(context: Context) -> Rotation | None:
    """None: the user was shown nothing, or the request asks for none."""
    request, items = context.request, context.view.items
    half_life_us, shown = request.rotation_us, request.impressions
    if half_life_us is None or not len(shown):
        return None
    ages = np.maximum(context.now_us - shown.occurred_us, 0) / half_life_us
    rows = np.array([-1 if (row := items.row(id_)) is None else row for id_ in shown.item_ids], np.int64)
    counts = (rows >= 0) & (ages < HALF_LIVES)
    different, places = np.unique(rows[counts], return_inverse=True)
    factors = np.ones(len(different))
    np.multiply.at(factors, places, 1 - STRENGTH * np.exp2(-ages[counts]))
    return Rotation(different, np.maximum(factors, SMALLEST)) if len(different) else None


def rotated(context: Context, boost: Boost | None) -> Boost | None:
    """The boost of a request and its rotation as one boost."""
    rotation = rotation_of(context)
    if rotation is None:
        return boost
    rows = rotation.rows
    if boost is None:
        factors = np.ones(len(context.view.items), np.float32)
        factors[rows] = rotation.factors
        return Boost(factors)
    factors = boost.factors.copy()
    factors[rows] *= rotation.factors
    if boost.addends is None:
        return Boost(factors)
    addends = boost.addends.copy()
    addends[rows] = np.where(addends[rows] > 0, addends[rows] * rotation.factors, addends[rows] / rotation.factors)
    return Boost(factors, addends)
