"""Impressions: when a request needs what its user was shown, and how far back."""

from __future__ import annotations

from engine.recommending.scoring.rotation import HALF_LIVES
from engine.recommending.values.request import Request

MIN_TIME = 0  # microseconds since 1970 UTC


def impressions_since(request: Request, now_us: int) -> int | None:
    """The time in microseconds from which `Request.impressions` must be complete; None: the request needs none."""
    times = [] if request.rotation_us is None else [now_us - HALF_LIVES * request.rotation_us]
    if "impressed" in request.exclude:
        windows = dict(request.exclude_within)
        times.append(now_us - windows["impressed"] if "impressed" in windows else MIN_TIME)
    return max(min(times), MIN_TIME) if times else None
