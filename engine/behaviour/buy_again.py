"""Which of a user's own purchases are due again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.values.interactions import DAY_US


def due_scores(
    last_us: npt.NDArray[np.int64],
    n_bought: npt.NDArray[np.int64],
    interval_days: npt.NDArray[np.float32],
    now_us: int,
) -> npt.NDArray[np.float64]:
    """(n,) > 0, the item due soonest first.

    For each item that a user bought: the time of the last purchase, on how many days the user bought it, and the
    item's usual interval (NaN: nobody bought it again yet).
    """
    age_days = np.maximum(now_us - last_us, 0) / DAY_US
    known = np.where(np.isnan(interval_days), 365.0, np.maximum(interval_days, 1.0)).astype(np.float64)
    lateness = np.log((age_days + 1.0) / known)
    scores: npt.NDArray[np.float64] = n_bought.astype(np.float64) * np.exp(-0.5 * lateness**2)
    return np.maximum(scores, float(np.finfo(np.float64).tiny))
