"""Computed: values that are computed from a view once and kept for the requests that follow, such as boosts by item."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar, cast

MAX_KEPT = 32  # some take a few bytes per item
T = TypeVar("T")


class Computed:
    """The values by key, the least recently used dropped first. A value belongs to the objects that it was computed
    from: with other objects it is computed again.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[tuple[object, ...], object]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, of: tuple[object, ...], compute: Callable[[], T]) -> T:
        entry = self._kept.get(key)
        if entry is not None and _same(entry[0], of):
            return cast(T, entry[1])
        value = compute()
        with self._lock:
            self._kept[key] = (of, value)
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return value


def _same(kept: tuple[object, ...], now: tuple[object, ...]) -> bool:
    """The same objects; numbers and text are the same where they are equal."""
    return len(kept) == len(now) and all(
        one is other or (isinstance(one, int | str) and one == other) for one, other in zip(kept, now, strict=True)
    )
