"""Gate: so many requests are worked on at once, some more wait for a moment, the rest are told to come back.

A burst may wait its time. A queue that was not empty for as long is no burst: whoever waits in it will be answered
late, and so would everybody after them (after Nichols and Jacobson, Controlling Queue Delay, 2012). From then on half
as many are worked on, which answers as many a second in half of the time, a few wait for a tenth of the time so that no
place is idle, and the rest is refused at once; until nobody had to be for as long as a burst may wait, or for a tenth
of that while nobody is at work. Figures are in scripts/LOG.md.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

STANDING = 0.1  # of the wait, in a queue that stands
ACTIVE = 0.5  # of those at work
WAITING = 0.125  # of the same, so many wait
HELD_S = 0.1
MOST_HELD = 64


class Place:
    """Of one request that was let in. It may have to wait for its turn."""

    __slots__ = ("held", "left", "patience_s", "turn")

    def __init__(self, turn: asyncio.Future[None] | None = None, patience_s: float = 0.0):
        self.turn = turn  # None: at once
        self.patience_s = patience_s
        self.held = self.left = False

    async def come(self) -> bool:
        """Wait for the turn; False when it did not come in time, and the place is to be left all the same."""
        if self.turn is None:
            return True
        try:
            async with asyncio.timeout(self.patience_s):
                await self.turn
        except TimeoutError:
            return False
        return True


class Gate:
    """Of one event loop. Who enters leaves."""

    def __init__(self, *, active: int, waiting: int, wait_s: float, clock: Callable[[], float] = time.monotonic):
        self.active, self.waiting, self.wait_s = active, waiting, wait_s
        self.standing = False
        self.at_work, self.held, self.queue = 0, 0, deque[Place]()
        self._clock = clock
        self._emptied = self._turned_away = clock()  # when nobody waited; when somebody was turned away

    def full(self) -> bool:
        """Whether whoever comes now is turned away."""
        now = self._clock()
        self._look(now)
        if self.at_work < self._most_at_work() and not self.queue:
            return False
        most = min(self.waiting, max(1, int(WAITING * self.active))) if self.standing else self.waiting
        if len(self.queue) < most:
            return False
        self._turned_away = now
        return True

    def enter(self) -> Place | None:
        """A place, which is to be left; None when the gate is full."""
        if self.full():
            return None
        if self.at_work < self._most_at_work() and not self.queue:
            self.at_work += 1
            return Place()
        patience_s = STANDING * self.wait_s if self.standing else self.wait_s
        place = Place(asyncio.get_running_loop().create_future(), patience_s)
        self.queue.append(place)
        return place

    def leave(self, place: Place) -> None:
        """Its turn, if it came, goes to the next; once."""
        if place.left:
            return
        place.left = True
        if place.turn is not None and (place.turn.cancelled() or not place.turn.done()):
            with suppress(ValueError):  # passed over
                self.queue.remove(place)
            self._turned_away = self._clock()
            return
        self.at_work -= 1
        while self.queue and self.at_work < self._most_at_work():
            turn = self.queue.popleft().turn
            if turn is not None and not turn.done():  # done: it gave up a moment ago
                self.at_work += 1
                turn.set_result(None)

    @contextmanager
    def giving_way(self, place: Place) -> Iterator[None]:
        """For what may have to wait for something else than the cores: after HELD_S it is `held`, and its place is
        another's. Whoever begins such work sees to it that no more than MOST_HELD are."""
        timer = asyncio.get_running_loop().call_later(HELD_S, self._hold, place)
        try:
            yield
        finally:
            timer.cancel()
            self.held -= place.held

    def _hold(self, place: Place) -> None:
        place.held = True
        self.held += 1
        self.leave(place)

    def _most_at_work(self) -> int:
        return max(1, int(ACTIVE * self.active)) if self.standing else self.active

    def _look(self, now: float) -> None:
        """Whether the queue stands."""
        if self.standing and now - self._turned_away > (self.wait_s if self.at_work else STANDING * self.wait_s):
            self.standing, self._emptied = False, now
        if not self.queue:
            self._emptied = now
        elif now - self._emptied > self.wait_s and not self.standing:
            self.standing, self._turned_away = True, now
