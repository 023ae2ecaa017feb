"""Users for an item: the users whose vectors score an item highest, for a campaign. The reverse of a recommendation.

The score of a user is the score that the item has in the recommendations of that user. Users are read in chunks, whose
vectors are multiplied by the vector of the item; only the best `k` are kept between chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.deadline import until_deadline
from engine.errors import NotFound
from engine.latent_space.score_floor import score_floors
from engine.recommending.all_users import histories
from engine.recommending.exclude_parameter import ExcludedRelations
from engine.recommending.exclusions import related_pairs, window_starts
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.events import EventColumns, Weighting
from engine.values.splits import select_events
from engine.values.vectors import Matrix, normalise_rows

CHUNK_FLOATS = 2**23  # numbers in the user vectors of one chunk

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class UsersForItem:
    """The best users first. `because` is the item of the history that is most similar to the item; None: no item of the
    history has a vector."""

    user_ids: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    because: tuple[str | None, ...]
    n_excluded: int  # users who bought it, or stand in another excluded relation to it
    n_without_vector: int  # users whose history says nothing yet, so that they have no score


def users_for_item(
    view: View,
    events: EventColumns,
    users: Sequence[str],
    item_id: str,
    *,
    k: int,
    exclude: ExcludedRelations,
    weighting: Weighting,
    now_us: int,
) -> UsersForItem:
    """The `k` of `users` with the highest scores. NotFound for an item that is unknown or has no vector."""
    row, vector = _item(view, item_id)
    assert view.fold_in is not None
    cells = histories(Context(view, Request(), weighting, now_us), events, users)
    excluded = _excluded(events, users, item_id, exclude, weighting, now_us)
    candidates = np.flatnonzero(~excluded)
    best, scores, n_without = np.zeros(0, np.int64), np.zeros(0, np.float32), 0
    size = max(1, CHUNK_FLOATS // max(1, view.dim))
    for start in until_deadline(range(0, len(candidates), size), every=1):
        chunk = candidates[start : start + size]
        vectors = view.fold_in.vectors(cells[chunk])
        known = vectors.any(axis=1)
        n_without += int((~known).sum())
        best = np.concatenate([best, chunk[known]])
        scores = np.concatenate([scores, _scores(view, vectors[known], vector)])
        order = np.argsort(-scores, kind="stable")[:k]
        best, scores = best[order], scores[order]
    because = _because(view, row, sp.csr_matrix(cells[best]))
    names = tuple(None if each < 0 else view.items.ids[each] for each in because.tolist())
    return UsersForItem(tuple(users[each] for each in best.tolist()), scores, names, int(excluded.sum()), n_without)


def _item(view: View, item_id: str) -> tuple[int, Matrix]:
    row = view.items.row(item_id)
    if row is None:
        raise NotFound(f"there is no item {item_id!r}")
    vector = view.vector(row)
    if vector is None or view.fold_in is None or view.users_to_items is None:
        raise NotFound(f"item {item_id!r} has no vector yet; it gets one at the next reindex after its first events")
    return row, vector


def _excluded(
    events: EventColumns,
    users: Sequence[str],
    item_id: str,
    exclude: ExcludedRelations,
    weighting: Weighting,
    now_us: int,
) -> npt.NDArray[np.bool_]:
    """(len(users),): whether a user stands in one of the relations to the item."""
    rows = [row for row, id_ in enumerate(events.item_ids) if id_ == item_id]
    of_item = select_events(events, np.isin(events.item_rows, rows))
    starts = window_starts(exclude.within, now_us)
    user_rows, _ = related_pairs(of_item, weighting, exclude.relations, starts)
    related = {of_item.user_ids[row] for row in user_rows.tolist()}
    return np.fromiter((user_id in related for user_id in users), bool, len(users))


def _scores(view: View, vectors: Matrix, item: Matrix) -> npt.NDArray[np.float32]:
    """(n,), as a search scores the item; scores that are rounding errors are 0."""
    assert view.users_to_items is not None
    if view.users_to_items.metric == "cosine":
        scores = normalise_rows(vectors) @ normalise_rows(item[None])[0]
    else:
        scores = vectors @ item
    floors = score_floors(vectors, view.users_to_items.metric, view.longest_length) if len(vectors) else np.zeros(0)
    return np.where(np.abs(scores) <= floors, np.float32(0), scores).astype(np.float32)


def _because(view: View, row: int, cells: sp.csr_matrix) -> Rows:
    """(n_users,) the row of the liked item of each history that is most similar to the item; -1: there is none."""
    wanted = view.similarity_vector(row)
    liked = cells.multiply(cells > 0).tocsr()
    liked.eliminate_zeros()
    columns, of_cell = np.unique(liked.indices, return_inverse=True)
    found = np.full(cells.shape[0], -1, np.int64)
    if wanted is None or not len(columns):
        return found
    others = normalise_rows(view.similarity_vectors(columns.tolist()))
    similar = (others @ normalise_rows(wanted[None])[0])[of_cell]
    user_of = np.repeat(np.arange(cells.shape[0]), np.diff(liked.indptr))
    order = np.lexsort((similar, user_of))  # the most similar item of a user comes last and stays
    found[user_of[order]] = columns[of_cell[order]]
    return found
