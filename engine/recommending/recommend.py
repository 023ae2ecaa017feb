"""Recommend and search: pure functions of a view (what is live), a history and a request."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.latent_space.dislikes import reads_dislikes
from engine.recommending import rounding, unsure_scores
from engine.recommending.values.searcher import Mask, Scorer
from engine.recommending.values.view import View
from engine.values.events import History, Weighting
from engine.values.interactions import from_history
from engine.values.vectors import Matrix

Reason = Literal["history", "popular", "similar", "vector", "new", "rank", "unranked"]
Fill = Literal["popular", "new", "none"]  # what fills a shelf up
Popular = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]  # every row, best first; popularity by row


@dataclass(frozen=True)
class Hit:
    item_id: str
    row: int  # -1: not in the catalogue
    score: float
    reason: Reason


@dataclass(frozen=True)
class Shortfall:
    requested: int
    returned: int
    reason: str


@dataclass(frozen=True)
class Answer:
    hits: tuple[Hit, ...]
    shortfall: Shortfall | None = None


class Taking(Protocol):
    """A way of taking the best items: by their scores, or by those that a boost makes of them."""

    def take(self, view: View, searcher: Scorer, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
        """The k best for a (dim,) vector that are not `out`; unranked are those of which it says nothing."""
        ...

    def popular(self, view: View) -> Popular: ...


@dataclass(frozen=True)
class ByScore:
    def take(self, view: View, searcher: Scorer, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
        return take(view, searcher, vector, k, out, reason)

    def popular(self, view: View) -> Popular:
        return view.popular, view.popularity


BY_SCORE = ByScore()


def recommend(
    view: View,
    *,
    k: int,
    weighting: Weighting,
    now_us: int,
    history: History | None = None,
    vector: Matrix | None = None,
    exclude: Collection[str] = (),
    way: Fill = "popular",
    by: Taking = BY_SCORE,
) -> Answer:
    """The k best items for a history, a (dim,) user vector or nobody; what fills up, as `fill` says, is labelled."""
    out = rows_of(view, exclude)
    hits: list[Hit] = []
    user = vector if vector is not None else user_vector(view, history, weighting, now_us)
    if user is not None and view.users_to_items is not None:
        hits = by.take(view, view.users_to_items, user, k, out, "vector" if vector is not None else "history")
    return fill(view, hits, k, out, way, by)


def rows_of(view: View, item_ids: Collection[str]) -> set[int]:
    """The rows of those that have one."""
    return {row for id_ in item_ids if (row := view.items.row(id_)) is not None}


def user_vector(view: View, history: History | None, weighting: Weighting, now_us: int) -> Matrix | None:
    """The (dim,) vector of a history; None when it says nothing about items that have vectors."""
    if history is None or len(history) == 0 or view.fold_in is None:
        return None
    signed = reads_dislikes(view.fold_in)
    cells = from_history(history, view.items, weighting, now_us, n_columns=view.n_learnt, signed=signed)
    if cells.nnz == 0:
        return None
    vector: Matrix = view.fold_in.vectors(cells)[0]
    return vector if vector.any() else None


def take(view: View, searcher: Scorer, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
    """Search past what is excluded, then drop it: cheaper than a mask of its own for every user."""
    width = min(k + sum(row < view.n_vectors for row in out), view.n_vectors)
    scores, rows = rounding.told(view, searcher, vector[None], width, searchable(view))
    return pick(view, scores[0].tolist(), rows[0].tolist(), k, out, reason)


def searchable(view: View) -> Mask | None:
    """The mask of a search: itself, not a part of it, so that what searchers made of it is found again."""
    return view.allowed


def pick(view: View, scores: list[float], rows: list[int], k: int, out: set[int], reason: Reason) -> list[Hit]:
    """The first k of what a search found that are not `out`; a score of 0 says nothing."""
    names = view.items.ids
    hits: list[Hit] = []
    for score, row in zip(scores, rows, strict=True):
        if row >= 0 and row not in out:
            hits.append(Hit(names[row], row, score, reason if score else "unranked"))
            if len(hits) == k:
                break
    return hits


def fill(view: View, hits: list[Hit], k: int, out: set[int], way: Fill = "popular", by: Taking = BY_SCORE) -> Answer:
    """Popular items, then others, or the newest, until the shelf is full: if k eligible items exist, k come back.

    Nothing fills it up where `way` is none.
    """
    if len(hits) == k and not unsure_scores.among(hits):
        return Answer(tuple(hits))
    order, popularity = _order(view, way, by)
    named = partial(filler, view, popularity)
    hits = unsure_scores.settled(hits, k, order, named)
    hits += map(named, islice(eligible(view, order, out | {hit.row for hit in hits}), k - len(hits)))
    if len(hits) == k:
        return Answer(tuple(hits))
    what = "pass the filter" if view.filtered else "are eligible"
    why = f"no more items {what}" if way != "none" else f"no more items that a search finds {what}, and fill is none"
    return Answer(tuple(hits), Shortfall(k, len(hits), why))


def _order(view: View, way: Fill, by: Taking) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32] | None]:
    """Rows in the order in which they fill up, and by row the popularity where that is why."""
    if way == "popular":
        return by.popular(view)
    return (view.newest if way == "new" else np.zeros(0, np.int64)), None


def filler(view: View, popularity: npt.NDArray[np.float32] | None, row: int) -> Hit:
    """A row that fills up; nobody is told that what is given back or disliked more than taken up is popular."""
    share = None if popularity is None else float(popularity[row])
    reason: Reason = "popular"
    if share is None or (share == 0 and row >= view.n_built):
        reason = "new"
    elif share < 0:
        reason = "unranked"
    return Hit(view.items.ids[row], row, share or 0.0, reason)


def eligible(view: View, rows: npt.NDArray[np.int64], taken: set[int]) -> Iterator[int]:
    """Those that may be shown and are not taken, in order; looked at in growing pieces, for most need only a few."""
    start, size = 0, 64
    while start < len(rows):
        piece = rows[start : start + size]
        if view.allowed is not None:
            piece = piece[view.allowed[piece]]
        yield from (row for row in piece.tolist() if row not in taken)
        start, size = start + size, size * 4
