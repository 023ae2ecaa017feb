"""ConcurrencyLimit: at most `max_active` requests run at once, `max_waiting` more wait for a moment, the rest is
rejected.

A burst may wait up to `max_wait_s`. A queue that has not been empty for that long is no burst but overload: each
request in it, and each that follows, would be answered late (after Nichols and Jacobson, Controlling Queue Delay,
2012). During overload half as many requests run, which gives the same throughput at half the latency; a few wait, for a
tenth of the time, so that no slot stays idle; the rest is rejected at once. Overload ends when no request has been
rejected for `max_wait_s`, or for a tenth of it while no request runs. Figures are in scripts/LOG.md.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OVERLOAD_WAIT = 0.1  # of `max_wait_s`, during overload
OVERLOAD_ACTIVE = 0.5  # of `max_active`, during overload
OVERLOAD_WAITING = 0.125  # of `max_active`: so many requests may wait during overload
BLOCKED_AFTER_S = 0.1
MAX_BLOCKED = 64


class Slot:
    """The slot of one accepted request. The request may have to wait for its turn."""

    __slots__ = ("is_blocked", "is_released", "max_wait_s", "turn")

    def __init__(self, turn: asyncio.Future[None] | None = None, max_wait_s: float = 0.0):
        self.turn = turn  # None: the request runs at once
        self.max_wait_s = max_wait_s
        self.is_blocked = self.is_released = False

    async def wait_for_turn(self) -> bool:
        """False when the turn did not come within `max_wait_s`. The slot has to be released in either case."""
        if self.turn is None:
            return True
        try:
            async with asyncio.timeout(self.max_wait_s):
                await self.turn
        except TimeoutError:
            return False
        return True


class ConcurrencyLimit:
    """For one event loop. Every acquired slot has to be released."""

    def __init__(
        self,
        *,
        max_active: int,
        max_waiting: int,
        max_wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.max_active, self.max_waiting, self.max_wait_s = max_active, max_waiting, max_wait_s
        self.is_overloaded = False
        self.n_active, self.n_blocked, self.queue = 0, 0, deque[Slot]()
        self._clock = clock
        self._queue_empty_at = self._rejected_at = clock()  # the last time of each

    def is_full(self) -> bool:
        """Whether a request that arrives now is rejected; counts as a rejection if so."""
        now = self._clock()
        self._update_overload(now)
        if self.n_active < self._active_limit() and not self.queue:
            return False
        max_waiting = self.max_waiting
        if self.is_overloaded:
            max_waiting = min(max_waiting, max(1, int(OVERLOAD_WAITING * self.max_active)))
        if len(self.queue) < max_waiting:
            return False
        self._rejected_at = now
        return True

    def acquire(self) -> Slot | None:
        """A slot, which has to be released; None when the request is rejected."""
        if self.is_full():
            return None
        if self.n_active < self._active_limit() and not self.queue:
            self.n_active += 1
            return Slot()
        max_wait_s = OVERLOAD_WAIT * self.max_wait_s if self.is_overloaded else self.max_wait_s
        slot = Slot(asyncio.get_running_loop().create_future(), max_wait_s)
        self.queue.append(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """Give the slot to the next request in the queue. A second release of the same slot does nothing."""
        if slot.is_released:
            return
        slot.is_released = True
        if slot.turn is not None and (slot.turn.cancelled() or not slot.turn.done()):
            with suppress(ValueError):  # already removed from the queue below
                self.queue.remove(slot)
            self._rejected_at = self._clock()
            return
        self.n_active -= 1
        while self.queue and self.n_active < self._active_limit():
            turn = self.queue.popleft().turn
            if turn is not None and not turn.done():  # done: the request timed out a moment ago
                self.n_active += 1
                turn.set_result(None)

    @contextmanager
    def released_when_blocked(self, slot: Slot) -> Iterator[None]:
        """For work that may wait for something other than the CPU, such as a lock in PostgreSQL. After BLOCKED_AFTER_S
        the request counts as blocked and its slot is released. The caller allows at most MAX_BLOCKED such requests."""
        timer = asyncio.get_running_loop().call_later(BLOCKED_AFTER_S, self._release_blocked, slot)
        try:
            yield
        finally:
            timer.cancel()
            self.n_blocked -= slot.is_blocked

    def _release_blocked(self, slot: Slot) -> None:
        slot.is_blocked = True
        self.n_blocked += 1
        self.release(slot)

    def _active_limit(self) -> int:
        return max(1, int(OVERLOAD_ACTIVE * self.max_active)) if self.is_overloaded else self.max_active

    def _update_overload(self, now: float) -> None:
        quiet_s = self.max_wait_s if self.n_active else OVERLOAD_WAIT * self.max_wait_s
        if self.is_overloaded and now - self._rejected_at > quiet_s:
            self.is_overloaded, self._queue_empty_at = False, now
        if not self.queue:
            self._queue_empty_at = now
        elif now - self._queue_empty_at > self.max_wait_s and not self.is_overloaded:
            self.is_overloaded, self._rejected_at = True, now
