"""Recommendations for every user at once: histories from the whole event table, folded in and searched in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.latent_space.dislikes import reads_dislikes
from engine.recommending import exclusions, rounding
from engine.recommending.exclusions import EXCLUDES
from engine.recommending.recommend import Answer, Hit, fill, pick, searchable
from engine.recommending.values.view import View
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import dislikes, from_events
from engine.values.vectors import Matrix

BATCH_FLOATS = 2**24


def recommend_all(
    view: View,
    events: EventColumns,
    users: Sequence[str],
    *,
    k: int,
    weighting: Weighting,
    now_us: int,
    exclude: Collection[str] = EXCLUDES["seen"],
) -> Iterator[tuple[str, Answer]]:
    """(user id, answer) for each of `users`, as `recommend` answers one by one; `exclude` is of `exclusions.PARTS`."""
    cells = _histories(view, events, users, weighting, now_us)
    away = _away(view, events, users, weighting, exclude)
    n_away = np.diff(away.indptr)
    order = np.argsort(n_away, kind="stable")  # users with about as much to leave out share a batch
    size = max(1, BATCH_FLOATS // max(1, view.n_vectors))
    for start in range(0, len(users), size):
        rows = order[start : start + size]
        vectors = None if view.fold_in is None else view.fold_in.vectors(cells[rows])
        found = _search(view, vectors, k + int(n_away[rows].max(initial=0)))
        for at, row in enumerate(rows.tolist()):
            out = set(away.indices[away.indptr[row] : away.indptr[row + 1]].tolist())
            hits = [] if vectors is None or not vectors[at].any() else _hits(view, found, at, out, k)
            yield users[row], fill(view, hits, k, out)


def _hits(view: View, found: tuple[Matrix, npt.NDArray[np.int64]], at: int, out: set[int], k: int) -> list[Hit]:
    return pick(view, found[0][at].tolist(), found[1][at].tolist(), k, out, "history")


def _search(view: View, vectors: Matrix | None, width: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    if vectors is None or view.users_to_items is None:
        return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int64)
    return rounding.told(view, view.users_to_items, vectors, min(width, view.n_vectors), searchable(view))


def _histories(
    view: View, events: EventColumns, users: Sequence[str], weighting: Weighting, now_us: int
) -> sp.csr_matrix:
    """Weighted cells, (n_users, n_learnt), in the rows of `users` and the columns of the fold-in."""
    made = from_events(events, weighting, now_us)
    found = [_placed(view, users, made.matrix, made.users.ids, made.items.ids)]
    if reads_dislikes(view.fold_in) and (against := dislikes(events, weighting, now_us)) is not None:
        found.append(_placed(view, users, -against, events.user_ids, events.item_ids))
    return sp.csr_matrix(sum(found[1:], found[0]), dtype=np.float32)


def _placed(
    view: View, users: Sequence[str], cells: sp.csr_matrix, user_ids: Sequence[str], item_ids: Sequence[str]
) -> sp.csr_matrix:
    """Cells of some users and items in the rows of `users` and the columns of the fold-in."""
    each = cells.tocoo()
    rows = _aligned(user_ids, {id_: row for row, id_ in enumerate(users)})[each.row]
    columns = _aligned(item_ids, {id_: view.items.row(id_) for id_ in item_ids})[each.col]
    kept = (rows >= 0) & (columns >= 0) & (columns < view.n_learnt)
    shape = (len(users), view.n_learnt)
    return sp.csr_matrix((each.data[kept], (rows[kept], columns[kept])), shape=shape, dtype=np.float32)


def _away(
    view: View, events: EventColumns, users: Sequence[str], weighting: Weighting, exclude: Collection[str]
) -> sp.csr_matrix:
    """Which items are left out for each user, (n_users, n_rows)."""
    user_rows, item_rows = exclusions.of_events(events, weighting, exclude)
    rows = _aligned(events.user_ids, {id_: row for row, id_ in enumerate(users)})[user_rows]
    columns = _aligned(events.item_ids, {id_: view.items.row(id_) for id_ in events.item_ids})[item_rows]
    kept = (rows >= 0) & (columns >= 0)
    ones = np.ones(int(kept.sum()), np.float32)
    return sp.csr_matrix((ones, (rows[kept], columns[kept])), shape=(len(users), len(view.items)))


def _aligned(ids: Sequence[str], row_of: dict[str, int] | dict[str, int | None]) -> npt.NDArray[np.int64]:
    found = [row_of.get(id_) for id_ in ids]
    return np.array([-1 if row is None else row for row in found], dtype=np.int64)
