"""Exponential backoff: each pause between failed attempts is twice as long as the one before, up to a maximum."""

from __future__ import annotations

import time

FIRST_S, MAX_S = 0.1, 5.0


class Backoff:
    """Pauses between attempts: each failure doubles the next pause, a success resets it."""

    def __init__(self, first_s: float = FIRST_S, max_s: float = MAX_S):
        self._first_s, self._max_s = first_s, max(first_s, max_s)
        self._next_s = first_s
        self._paused_until = 0.0

    def record_failure(self) -> float:
        """Return the seconds to pause before the next attempt."""
        pause = self._next_s
        self._next_s = min(2 * pause, self._max_s)
        self._paused_until = time.monotonic() + pause
        return pause

    def record_success(self) -> None:
        self._next_s, self._paused_until = self._first_s, 0.0

    @property
    def is_pausing(self) -> bool:
        """Whether the pause after the last failure is still running."""
        return time.monotonic() < self._paused_until
