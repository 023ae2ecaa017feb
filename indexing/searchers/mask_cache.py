"""MaskCache: values computed from a mask, cached by the identity of the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from engine.recommending.values.searcher import Mask

MAX_MASKS = 16  # a byte per item each
Value = TypeVar("Value")


class MaskCache(Generic[Value]):
    """Caches only for read-only masks, such as masks of filters and views: the same object then has the same content.

    The cache holds a reference to each mask, so that no other array can get the same id.
    """

    def __init__(self) -> None:
        self._cached: dict[int, tuple[Mask, Value]] = {}

    def get(self, mask: Mask, compute: Callable[[Mask], Value]) -> Value:
        cached = self._cached.get(id(mask))
        if cached is not None and cached[0] is mask:
            return cached[1]
        value = compute(mask)
        if not mask.flags.writeable:
            if len(self._cached) >= MAX_MASKS:
                self._cached = {}  # one assignment, so that threads need no lock
            self._cached[id(mask)] = (mask, value)
        return value
