"""Which of a user's own purchases are due again.

A user who bought an item on n days is expected to buy it every gap = interval / n days, where `interval` is the usual
one of the item's buyers. The score is the rate 1 / gap, less while the last purchase is fresh, and less the longer the
user has stayed away:

    score = 1 / gap * age / (age + FRESH_DAYS) * (1 + age / gap) ** -GIVEN_UP

So an item that was bought a minute ago is last, and among items of one gap the best age is
FRESH_DAYS / 2 + sqrt(FRESH_DAYS ** 2 / 4 + 2 * FRESH_DAYS * gap) days: 8 for a gap of 28.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.values.interactions import DAY_US

FRESH_DAYS = 1.0  # after which the score has half of its height
GIVEN_UP = 0.5  # the power by which the score falls with age
UNKNOWN_DAYS = 365.0  # the interval of an item of unknown interval


def due_scores(
    last_us: npt.NDArray[np.int64],
    n_bought: npt.NDArray[np.int64],
    interval_days: npt.NDArray[np.float32],
    now_us: int,
    *,
    fresh_days: float = FRESH_DAYS,
    given_up: float = GIVEN_UP,
) -> npt.NDArray[np.float64]:
    """(n,) > 0, also as float32; the item due soonest has the highest; see the module.

    For each item that a user bought: the time of the last purchase, on how many days the user bought it, and the
    item's usual interval (NaN: not known).
    """
    age_days = np.maximum(now_us - last_us, 0) / DAY_US
    interval = np.where(np.isnan(interval_days), UNKNOWN_DAYS, np.maximum(interval_days, 1.0)).astype(np.float64)
    gap_days = interval / np.maximum(n_bought, 1)
    scores: npt.NDArray[np.float64] = age_days / (age_days + fresh_days) / gap_days
    scores *= (1.0 + age_days / gap_days) ** -given_up
    return np.maximum(scores, 1e-30)
