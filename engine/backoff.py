"""Backoff: pauses between the tries of what fails, each twice as long as the one before."""

from __future__ import annotations

import time

FIRST_S, MOST_S = 0.1, 5.0


class Backoff:
    """`failed` after a try that failed says how long to pause; `worked` after one that did not begins anew."""

    def __init__(self, first_s: float = FIRST_S, most_s: float = MOST_S):
        self._first_s, self._most_s = first_s, max(first_s, most_s)
        self._next_s = first_s
        self._until = 0.0

    def record_failure(self) -> float:
        pause = self._next_s
        self._next_s = min(2 * pause, self._most_s)
        self._until = time.monotonic() + pause
        return pause

    def record_success(self) -> None:
        self._next_s, self._until = self._first_s, 0.0

    @property
    def is_pausing(self) -> bool:
        """Whether the pause after the last failure is not over."""
        return time.monotonic() < self._until
