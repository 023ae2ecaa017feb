"""Ranking: the candidates of one source for one request. `nearest`, `ordered` and `listed` are the three kinds."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Protocol

from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.view import View


class Ranking(Protocol):
    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        """The `n` best items that the view allows and whose rows are not excluded, best first; fewer: there are no
        more. A boost multiplies the scores before the best are chosen."""
        ...

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        """These rows alone, best first, without those that the ranking knows nothing about. The caller has checked
        that they may be shown."""
        ...
