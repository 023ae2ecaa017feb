"""Unsure: what a search found by a score that is rounding takes the order, and the label, of what fills up.

Between what is known to be liked and what is known not to be: there the model says nothing, and the fallback speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from engine.recommending.recommend import Hit


def among(hits: Sequence[Hit]) -> bool:
    return any(hit.reason == "unranked" for hit in hits)


def settled(hits: list[Hit], k: int, order: npt.NDArray[np.int64], filler: Callable[[int], Hit]) -> list[Hit]:
    """At most k `hits`, best first, with `filler` of each row that is unsure, in `order`; those not in it go.

    They go as well where the list ends with them: there may be more, and what fills up chooses among all.
    """
    unsure = [at for at, hit in enumerate(hits) if hit.reason == "unranked"]
    if not unsure:
        return hits
    first, last = unsure[0], unsure[-1] + 1
    if last == len(hits) == k:
        return hits[:first]
    rows = order[np.isin(order, [hit.row for hit in hits[first:last]])]
    return [*hits[:first], *(filler(row) for row in rows.tolist()), *hits[last:]]
