"""Nearest: a ranking by a vector search. Scores that are rounding errors become 0, and their items are "unranked"."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.latent_space.score_floor import score_floor, score_floors
from engine.latent_space.space import Metric
from engine.recommending.values.answer import Hit, Reason
from engine.recommending.values.boosted_search import best_boosted
from engine.recommending.values.boosts import Boost, Rows, Scores
from engine.recommending.values.searcher import Found, Mask, Scorer
from engine.recommending.values.view import View
from engine.values.vectors import Matrix

Index = Literal["users_to_items", "items_to_items"]  # of the view


@dataclass(frozen=True, eq=False, slots=True)
class Nearest:
    """The items with the highest scores for a raw vector, (dim,) float32."""

    index: Index
    vector: Matrix
    reason: Reason
    source: str

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        """Searches past the excluded rows, then drops them: cheaper than a mask for each request."""
        if boost is not None:
            return self._boosted(view, n, excluded, boost)
        scores, rows = search(view, self.index, self.vector[None], n + len(excluded), view.allowed)
        return self.hits(view, scores[0].tolist(), rows[0].tolist(), n, excluded)

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        scores, found = self._of_rows(view, rows)
        scores, found = scores[scores != 0], found[scores != 0]
        if boost is not None:
            return self._by_boosted_score(view, scores, found, len(rows), frozenset(), boost)
        return self.hits(view, scores.tolist(), found.tolist(), len(rows), frozenset())

    def known(self, view: View, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        """All that `best` may return without the unranked items."""
        if boost is not None:
            return [hit for hit in self.best(view, view.n_vectors, excluded, boost) if hit.reason != "unranked"]
        scores, rows = search(view, self.index, self.vector[None], view.n_vectors, view.allowed)
        is_known = scores[0] != 0
        return self.hits(view, scores[0][is_known].tolist(), rows[0][is_known].tolist(), view.n_vectors, excluded)

    def unranked(self, view: View, rows: Collection[int], boost: Boost | None) -> list[int]:
        """The rows that `best` finds as "unranked"; a row without a vector is not found."""
        scores, found = self._of_rows(view, rows)
        is_unranked = scores == 0
        if boost is not None:
            is_unranked &= boost.of_rows(found, scores) == 0
        return list(found[is_unranked].tolist())

    def _of_rows(self, view: View, rows: Collection[int]) -> tuple[Scores, Rows]:
        """Scores and rows, best first, without rows that a search does not find."""
        mask = np.zeros(view.n_vectors, dtype=bool)
        mask[[row for row in rows if 0 <= row < view.n_vectors]] = True
        scores, found = search(view, self.index, self.vector[None], int(mask.sum()), mask)
        is_found = found[0] >= 0
        return scores[0][is_found], found[0][is_found]

    def hits(
        self, view: View, scores: Sequence[float], rows: Sequence[int], n: int, excluded: AbstractSet[int]
    ) -> list[Hit]:
        """The first `n` rows that are not excluded, of those a search found."""
        names, reason, source = view.items.ids, self.reason, self.source
        hits: list[Hit] = []
        for score, row in zip(scores, rows, strict=True):
            if row >= 0 and row not in excluded:
                hits.append(Hit(names[row], row, score, reason if score else "unranked", source))
                if len(hits) == n:
                    break
        return hits

    def _boosted(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost) -> list[Hit]:
        scores, rows = search_boosted(view, self.index, self.vector[None], n, excluded, boost)
        return self._by_boosted_score(view, scores[0], rows[0], n, excluded, boost)

    def _by_boosted_score(
        self, view: View, scores: Scores, rows: Rows, n: int, excluded: AbstractSet[int], boost: Boost
    ) -> list[Hit]:
        values = boost.of_rows(rows, scores)
        order = np.argsort(-values, kind="stable")
        names, reason, source = view.items.ids, self.reason, self.source
        hits: list[Hit] = []
        for row, plain, value in zip(rows[order].tolist(), scores[order].tolist(), values[order].tolist(), strict=True):
            if row not in excluded:
                hits.append(Hit(names[row], row, value, reason if plain or value else "unranked", source))
                if len(hits) == n:
                    break
        return hits


def search(view: View, index: Index, vectors: Matrix, width: int, mask: Mask | None) -> Found:
    """The `width` best rows for (n, dim) raw vectors; a score that is a rounding error is 0.

    The mask of a view is passed as it is, because searchers keep what they made of it.
    """
    searcher: Scorer | None = getattr(view, index)
    if searcher is None:
        return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
    scores, rows = searcher.search(np.asarray(vectors, np.float32), min(width, view.n_vectors), mask)
    return without_rounding(scores, vectors, searcher.metric, view.longest_length), rows


def search_boosted(view: View, index: Index, vector: Matrix, n: int, excluded: AbstractSet[int], boost: Boost) -> Found:
    """Plain scores (1, m) and rows (1, m) of the `n` rows that are not excluded with the best boosted scores, and maybe
    of excluded ones, for a raw (1, dim) vector."""
    searcher: Scorer | None = getattr(view, index)
    found = view.search_boosted(index, vector, min(n, view.n_vectors), boost, excluded)
    if found is None or searcher is None:
        return best_boosted(
            lambda width: search(view, index, vector, width, view.allowed), view.n_vectors, n + len(excluded), boost
        )
    scores, rows = found
    floor = score_floor(vector[0], searcher.metric, view.longest_length)
    return np.where(np.abs(scores) <= floor, np.float32(0), scores), rows


def without_rounding(scores: Scores, vectors: Matrix, metric: Metric, longest: float) -> Scores:
    """(n, k) scores, best first, with 0 for those that are rounding errors."""
    if scores.shape[1] == 0:
        return scores
    if len(scores) == 1 and float(scores[0, -1]) > score_floor(vectors[0], metric, longest):
        return scores
    floors = score_floors(vectors, metric, longest)
    if (scores[:, -1] > floors).all():
        return scores
    return np.where(np.abs(scores) <= floors[:, None], np.float32(0), scores)
