"""Similar: items by how like they are to others or to a vector, and users by cosine to a user."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import islice

import numpy as np

from engine.errors import InputError, NotFound
from engine.recommending import rounding, unsure_scores
from engine.recommending.recommend import Answer, Reason, Shortfall, eligible, filler, rows_of, take
from engine.recommending.values.view import View
from engine.values.vectors import Matrix, Vectors, normalise_rows, row_lengths


def similar(
    view: View, positive: Sequence[str], negative: Sequence[str], *, k: int, exclude: Collection[str]
) -> Answer:
    """Items like the mean of unit `positive` less the mean of unit `negative`; NotFound for an unknown one."""
    query = _mean(view, positive) - _mean(view, negative)
    is_nothing = row_lengths(query[None])[0] <= rounding.share(len(query))
    if is_nothing and any(_place(view, id_).any() for id_ in (*positive, *negative)):
        raise InputError("the positive and negative items cancel out; leave some away", loc=("body", "negative"))
    return _nearest(view, query, k=k, exclude={*positive, *negative, *exclude}, reason="similar")


def nearest(view: View, vector: Matrix, *, k: int, exclude: Collection[str] = (), reason: Reason = "vector") -> Answer:
    """Items like one that had this raw (dim,) vector; those that have nothing to do with it by popularity."""
    return _nearest(view, view.placed(vector), k=k, exclude=exclude, reason=reason)


def _nearest(view: View, place: Matrix, *, k: int, exclude: Collection[str], reason: Reason) -> Answer:
    """Items by how near they are to a place; those that have nothing to do with it by popularity, labelled so."""
    if view.items_to_items is None:
        return Answer((), Shortfall(k, 0, "nothing is indexed yet; run `nearfield reindex`"))
    out = rows_of(view, exclude)
    hits = take(view, view.items_to_items, place, k, out, reason)
    if unsure_scores.among(hits):
        named = partial(filler, view, view.popularity)
        hits = unsure_scores.settled(hits, k, view.popular, named)
        others = eligible(view, view.popular, out | {hit.row for hit in hits})
        hits += map(named, islice((row for row in others if view.vector(row) is not None), k - len(hits)))
    which = "items that pass the filter" if view.filtered else "items"
    short = Shortfall(k, len(hits), f"no more {which} have a vector") if len(hits) < k else None
    return Answer(tuple(hits), short)


def _mean(view: View, item_ids: Sequence[str]) -> Matrix:
    """Of places of unit length, (n,); 0 of no items."""
    places = [_place(view, id_) for id_ in item_ids] or [np.zeros(1, np.float32)]
    return np.asarray(normalise_rows(np.array(places, np.float32)).mean(axis=0))


def _place(view: View, item_id: str) -> Matrix:
    row = view.items.row(item_id)
    if row is None:
        raise NotFound(f"there is no item {item_id!r} to search from")
    place = view.place(row)
    if place is None:
        raise NotFound(f"item {item_id!r} has no vector yet; it gets one at the next reindex after its first events")
    return place


def similar_users(users: Vectors | None, vector: Matrix, *, k: int) -> list[tuple[str, float]]:
    """The k users whose stored vectors are nearest to a (dim,) user vector by cosine, best first."""
    if users is None or len(users) == 0:
        return []
    matrix = users.matrix
    norms = row_lengths(matrix)
    products = matrix @ normalise_rows(vector[None])[0]
    scores = np.divide(products, norms, out=np.zeros(len(matrix)), where=norms > 0)
    scores[np.abs(scores) <= rounding.share(len(vector))] = -np.inf  # they have nothing in common
    best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
    order = best[np.argsort(-scores[best], kind="stable")]
    return [(users.ids.ids[row], float(scores[row])) for row in order.tolist() if np.isfinite(scores[row])]
