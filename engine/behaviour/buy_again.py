"""Which of a user's own purchases are due again.

An item is due when its usual interval has passed since the last purchase. The score falls with the distance from that
moment, by a normal curve over the logarithm of age / interval. It grows with the number of days on which the user
bought the item, and with the rate at which users buy it again:

    score = n ** HABIT * interval ** -RATE * exp(-0.5 * (ln((age + 1) / interval) / width) ** 2)

The width is EARLY before the item is due and LATE afterwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.values.interactions import DAY_US

HABIT, RATE = 4.0, 2.0
EARLY, LATE = 8.0, 2.0  # in units of the natural logarithm
UNKNOWN_DAYS = 365.0  # the interval of an item of unknown interval


def due_scores(
    last_us: npt.NDArray[np.int64],
    n_bought: npt.NDArray[np.int64],
    interval_days: npt.NDArray[np.float32],
    now_us: int,
    *,
    habit: float = HABIT,
    rate: float = RATE,
    early: float = EARLY,
    late: float = LATE,
    unknown_days: float = UNKNOWN_DAYS,
) -> npt.NDArray[np.float64]:
    """(n,) > 0, the item due soonest first; see the module.

    For each item that a user bought: the time of the last purchase, on how many days the user bought it, and the
    item's usual interval (NaN: not known).
    """
    age_days = np.maximum(now_us - last_us, 0) / DAY_US
    known = np.where(np.isnan(interval_days), unknown_days, np.maximum(interval_days, 1.0)).astype(np.float64)
    lateness = np.log((age_days + 1.0) / known)
    width = np.where(lateness < 0, early, late)
    scores: npt.NDArray[np.float64] = np.exp(-0.5 * (lateness / width) ** 2)
    scores *= n_bought.astype(np.float64) ** habit * known**-rate
    return np.maximum(scores, float(np.finfo(np.float64).tiny))
