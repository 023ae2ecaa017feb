"""Random: every item, in an order that the seed of the request determines; without a seed, another order each time.

The order is a permutation of the rows that is computed where it is needed: a Feistel network of four rounds (Luby and
Rackoff, 1988) maps the numbers below a power of four onto each other, and numbers that are no row are left out. A shelf
of ten items reads a few hundred numbers, however large the catalogue is.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.recommending.values.answer import Hit, Reason
from engine.recommending.values.boosts import Boost, Rows
from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View

ROUNDS = 4
FIRST_PIECE, GROWTH = 256, 8
MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose bits look random


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking:
    seed = context.request.seed
    return Shuffled(len(context.view.items), secrets.randbits(63) if seed is None else seed, "random", "random")


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Every row once. Scores fall from 1 to 0 in equal steps over the whole order."""

    n_rows: int
    seed: int
    reason: Reason
    source: str

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        if boost is not None:
            return self._whole.best(view, n, excluded, boost)
        hits: list[Hit] = []
        names = view.items.ids
        for place, row in self._eligible(view, excluded):
            if len(hits) == n:
                break
            hits.append(Hit(names[row], row, 1 - place / self._n_places, self.reason, self.source))
        return hits

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        return self._whole.among(view, rows, boost)

    @cached_property
    def _half_bits(self) -> int:
        return max(1, (max(1, self.n_rows - 1).bit_length() + 1) // 2)

    @property
    def _n_places(self) -> int:
        return 1 << (2 * self._half_bits)

    @cached_property
    def _keys(self) -> npt.NDArray[np.uint64]:
        return np.random.default_rng(self.seed).integers(0, 2**64, ROUNDS, dtype=np.uint64)

    @cached_property
    def _whole(self) -> Ordered:
        """For boosts, which may lift any item."""
        places = np.arange(self._n_places)
        rows = self._rows(places)
        is_row = rows < self.n_rows
        scores = np.empty(self.n_rows, np.float32)
        scores[rows[is_row]] = 1 - places[is_row] / self._n_places
        return Ordered(rows[is_row], scores, lambda view, row, score: self.reason, self.source)

    def _rows(self, places: Rows) -> Rows:
        """A bijection of the numbers below `_n_places`."""
        bits, mask = np.uint64(self._half_bits), np.uint64((1 << self._half_bits) - 1)
        left, right = places.astype(np.uint64) >> bits, places.astype(np.uint64) & mask
        for key in self._keys:
            mixed = (right + key) * MIX
            mixed = (mixed ^ (mixed >> np.uint64(29))) * MIX
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return ((left << bits) | right).astype(np.int64)

    def _eligible(self, view: View, excluded: AbstractSet[int]) -> Iterator[tuple[int, int]]:
        start, size = 0, FIRST_PIECE
        while start < self._n_places:
            places = np.arange(start, min(start + size, self._n_places))
            rows = self._rows(places)
            kept = rows < self.n_rows
            if view.allowed is not None:
                kept[kept] = view.allowed[rows[kept]]
            for place, row in zip(places[kept].tolist(), rows[kept].tolist(), strict=True):
                if row not in excluded:
                    yield place, row
            start, size = start + size, size * GROWTH
