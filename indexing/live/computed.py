"""Computed: values that are computed from a view once and kept for the requests that follow, such as boosts by item."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import TypeVar, cast

from engine.deadline import needs_more_work

MAX_KEPT = 32  # some take a few bytes per item
T = TypeVar("T")


class Computed:
    """The values by key, the ones computed first are dropped first. A value belongs to the objects that it was computed
    from: with other objects it is computed again.

    One value is computed at a time, because requests that wait for the same value come together.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[tuple[object, ...], object]] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, of: tuple[object, ...], compute: Callable[[], T]) -> T:
        entry = self._kept.get(key)
        if entry is None or not _same(entry[0], of):
            if not self._lock.acquire(blocking=False):
                needs_more_work()  # to wait is not quick
                self._lock.acquire()
            try:
                entry = self._computed(key, of, compute)
            finally:
                self._lock.release()
        return cast(T, entry[1])

    def _computed(
        self, key: Hashable, of: tuple[object, ...], compute: Callable[[], object]
    ) -> tuple[tuple[object, ...], object]:
        entry = self._kept.get(key)
        if entry is None or not _same(entry[0], of):  # no other request has computed it meanwhile
            entry = of, compute()
            self._kept[key] = entry
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return entry


def _same(kept: tuple[object, ...], now: tuple[object, ...]) -> bool:
    """The same objects; numbers and text are the same where they are equal."""
    return len(kept) == len(now) and all(
        one is other or (isinstance(one, int | str) and one == other) for one, other in zip(kept, now, strict=True)
    )
