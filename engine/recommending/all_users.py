"""All users: the pipeline over every user, whose histories and exclusions come from the whole event table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.latent_space.dislikes import accepts_dislikes
from engine.recommending.exclusions import related_pairs, window_starts
from engine.recommending.pipeline import BATCH_FLOATS, Plan, answers
from engine.recommending.sources.registry import SOURCES
from engine.recommending.values.answer import Answer
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import dislikes, from_events


def recommend_to_all(
    view: View, events: EventColumns, users: Sequence[str], request: Request, *, weighting: Weighting, now_us: int
) -> Iterator[tuple[str, Answer]]:
    """(user id, answer) for each of `users`: what `pipeline.recommend` answers to the request of each.

    The source is `for_you`; boosts and listed exclusions of the request are not applied.
    """
    view = view if request.predicate is None else view.where(request.predicate)
    context, source = Context(view, request, weighting, now_us), SOURCES["for_you"]
    cells = histories(context, events, users)
    excluded = _excluded(context, events, users)
    n_excluded = np.diff(excluded.indptr)
    order = np.argsort(n_excluded, kind="stable")  # users with about as many excluded items share a search
    size = max(1, BATCH_FLOATS // max(1, view.n_vectors))
    for start in range(0, len(users), size):
        rows = order[start : start + size]
        vectors = None if view.fold_in is None else view.fold_in.vectors(cells[rows])
        planned = []
        for at, row in enumerate(rows.tolist()):
            ranking = None
            if vectors is not None and view.users_to_items is not None and vectors[at].any():
                ranking = Nearest("users_to_items", vectors[at], "history", "for_you")
            rows_of_user = excluded.indices[excluded.indptr[row] : excluded.indptr[row + 1]]
            planned.append(Plan(context, source, ranking, set(rows_of_user.tolist())))
        yield from zip((users[row] for row in rows.tolist()), answers(planned), strict=True)


def histories(context: Context, events: EventColumns, users: Sequence[str]) -> sp.csr_matrix:
    """(n_users, n_learnt): the weighted histories in the order of `users`, with the columns of the fold-in."""
    view, weighting, now_us = context.view, context.weighting, context.now_us
    made = from_events(events, weighting, now_us)
    parts = [_aligned(view, users, made.matrix, made.users.ids, made.items.ids)]
    if accepts_dislikes(view.fold_in) and (disliked := dislikes(events, weighting, now_us)) is not None:
        parts.append(_aligned(view, users, -disliked, events.user_ids, events.item_ids))
    return sp.csr_matrix(sum(parts[1:], parts[0]), dtype=np.float32)


def _aligned(
    view: View, users: Sequence[str], cells: sp.csr_matrix, user_ids: Sequence[str], item_ids: Sequence[str]
) -> sp.csr_matrix:
    """The cells of `users` and of items that the fold-in knows, in the rows of `users`."""
    entries = cells.tocoo()
    rows = _rows_of(user_ids, {id_: row for row, id_ in enumerate(users)})[entries.row]
    columns = _rows_of(item_ids, {id_: view.items.row(id_) for id_ in item_ids})[entries.col]
    kept = (rows >= 0) & (columns >= 0) & (columns < view.n_learnt)
    shape = (len(users), view.n_learnt)
    return sp.csr_matrix((entries.data[kept], (rows[kept], columns[kept])), shape=shape, dtype=np.float32)


def _excluded(context: Context, events: EventColumns, users: Sequence[str]) -> sp.csr_matrix:
    """(n_users, n_rows): 1 where an item is excluded for a user."""
    view, request = context.view, context.request
    starts = window_starts(request.exclude_within, context.now_us)
    user_rows, item_rows = related_pairs(events, context.weighting, request.exclude, starts)
    rows = _rows_of(events.user_ids, {id_: row for row, id_ in enumerate(users)})[user_rows]
    columns = _rows_of(events.item_ids, {id_: view.items.row(id_) for id_ in events.item_ids})[item_rows]
    kept = (rows >= 0) & (columns >= 0)
    ones = np.ones(int(kept.sum()), np.float32)
    return sp.csr_matrix((ones, (rows[kept], columns[kept])), shape=(len(users), len(view.items)))


def _rows_of(ids: Sequence[str], row_of: dict[str, int] | dict[str, int | None]) -> npt.NDArray[np.int64]:
    """-1 for an id without a row."""
    rows = [row_of.get(id_) for id_ in ids]
    return np.array([-1 if row is None else row for row in rows], dtype=np.int64)
