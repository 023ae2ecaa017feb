"""Rank: given items in the order of a user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.recommending import rounding
from engine.recommending.boost import Factors, boosted
from engine.recommending.recommend import Hit, Reason, user_vector
from engine.recommending.values.view import View
from engine.values.events import History, Weighting
from engine.values.vectors import Matrix


def rank(
    view: View,
    item_ids: Sequence[str],
    *,
    weighting: Weighting,
    now_us: int,
    history: History | None,
    factors: Factors | None = None,
) -> tuple[Hit, ...]:
    """The given items in the order of this user; items without a vector come last, as given. Nobody: by popularity.

    `factors` boost the scores, also those of popularity. Items that may not be shown are left out; so are unknown ones,
    which pass no filter, where there is one.
    """
    all_rows = [-1 if (row := view.items.row(id_)) is None else row for id_ in item_ids]
    kept = [at for at, row in enumerate(all_rows) if _may_show(view, row)]
    rows = np.array([all_rows[at] for at in kept], dtype=np.int64)
    user = user_vector(view, history, weighting, now_us)
    scores = _scores(view, user, rows) if user is not None else _popularity(view, rows)
    if factors is not None:
        there = rows >= 0
        scores[there] = boosted(scores[there], factors[rows[there]])
    known = ~np.isnan(scores)
    order = np.lexsort((-np.where(known, scores, 0), ~known))
    reasons: dict[bool, Reason] = {True: "rank" if user is not None else "popular", False: "unranked"}
    scored = np.where(known, scores, 0).tolist()
    return tuple(Hit(item_ids[kept[i]], int(rows[i]), scored[i], reasons[bool(known[i])]) for i in order)


def _may_show(view: View, row: int) -> bool:
    if row < 0:
        return not view.filtered
    return view.allowed is None or bool(view.allowed[row])


def _scores(view: View, user: Matrix, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """By the metric of the space, (n,); NaN for rows without a vector."""
    scores = np.full(len(rows), np.nan, np.float32)
    mask = np.zeros(view.n_vectors, dtype=bool)
    mask[rows[(rows >= 0) & (rows < view.n_vectors)]] = True
    if view.users_to_items is not None and mask.any():
        found, at = rounding.told(view, view.users_to_items, user[None], int(mask.sum()), mask)
        by_row = dict(zip(at[0].tolist(), found[0].tolist(), strict=True))
        scores[:] = [by_row.get(row, np.nan) if row >= 0 else np.nan for row in rows.tolist()]
    return scores


def _popularity(view: View, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Share of the most popular, (n,); NaN for unknown ones."""
    scores = np.full(len(rows), np.nan, np.float32)
    scores[rows >= 0] = view.popularity[rows[rows >= 0]]
    return scores
