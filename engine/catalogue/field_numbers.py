"""The numbers of one catalogue field by item, for curves and sums. `Columns` has the same values by kind, for masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.catalogue.columns import Columns
from engine.catalogue.comparable_values import parse_moment
from engine.catalogue.predicate import CORE, field_values


def field_numbers(columns: Columns, field: str, *, is_time: bool) -> npt.NDArray[np.float64]:
    """(n_items,) the number of each item, or its time in microseconds since 1970 UTC; NaN without one.

    Lists have no number. `field` as `Condition.field` names it.
    """
    found = np.full(columns.catalogue.num_rows, np.nan)
    kind = ("time" if CORE.get(field) == "time" else "text") if is_time else "number"
    stored = columns.field_values(field, kind)  # type: ignore[arg-type]
    if stored is None:
        return found
    numbers = stored.moments if kind == "text" else stored.values
    if numbers is not None:
        found[stored.rows] = numbers
    return found


def number_of(field: str, value: object, *, is_time: bool) -> float:
    """The number of an item that has changed since the build, from its JSON value."""
    for kind, each in field_values(field, value):
        if is_time and kind == "text":
            moment = parse_moment(str(each))
            return np.nan if moment is None else moment
        if kind == ("time" if is_time else "number"):
            return float(each)
    return np.nan
