"""Replacing: a file that is the whole catalogue takes what it has no more off the shelf."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.errors import Conflict, InputError

MOST = 0.2


@dataclass(frozen=True)
class Replacing:
    """Of the items that are available at most this share may leave the shelf, or any on `insist`."""

    most: float = MOST
    insist: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise InputError(f"expected a share of 0 to 1 that may leave the shelf, got {self.most}")

    def gone(self, available: Sequence[str], there: Collection[str]) -> list[str]:
        """Those `available` before that are not `there` in the file; Conflict where they are too many."""
        found = [item_id for item_id in available if item_id not in there]
        if len(found) > self.most * len(available) and not self.insist:
            raise Conflict(
                f"{len(found):,} of {len(available):,} available items are not in the file, such as {found[0]!r}; that "
                f"is more than {self.most:.0%}, so nothing was written; if it is the whole catalogue say --yes"
            )
        return found
