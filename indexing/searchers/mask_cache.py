"""Remembered: what was made of a mask, by the identity of the mask, for as long as it is among the newest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from engine.recommending.values.searcher import Mask

MOST = 16  # masks, a byte per item each
Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """Only for masks that cannot be written to, as those of filters and views: identity says that they are the same.

    It keeps its masks alive, so that no other can take their identity.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Mask, Made]] = {}

    def get(self, mask: Mask, make: Callable[[Mask], Made]) -> Made:
        found = self._made.get(id(mask))
        if found is not None and found[0] is mask:
            return found[1]
        made = make(mask)
        if not mask.flags.writeable:
            if len(self._made) >= MOST:
                self._made = {}  # one step, so that threads need no lock
            self._made[id(mask)] = (mask, made)
        return made
