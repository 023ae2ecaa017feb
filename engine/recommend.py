"""Recommend, rank and search: pure functions of a view (what is live), a history and a request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import InputError, NotFound
from engine.events import History, Weighting
from engine.ids import IdMap
from engine.interactions import from_history
from engine.space import FoldIn
from engine.vectors import Matrix, Vectors

Mask = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Reason = Literal["history", "popular", "similar", "vector", "new", "rank", "unranked"]


class Searcher(Protocol):
    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        """Scores (n, k) float32 and rows (n, k) int64, best first; -1 where there are no more."""
        ...


class View(Protocol):
    """What is served at one moment; see indexing.live. Rows below `n_vectors` have a vector, later ones do not."""

    @property
    def items(self) -> IdMap: ...
    @property
    def n_vectors(self) -> int: ...
    @property
    def fold_in(self) -> FoldIn | None: ...
    @property
    def users_to_items(self) -> Searcher | None:
        """By the metric of the space; takes raw user vectors."""

    @property
    def items_to_items(self) -> Searcher | None:
        """By cosine; takes raw item vectors."""

    @property
    def vectors(self) -> Matrix:
        """(n_vectors, dim), raw."""
        ...

    @property
    def users(self) -> Vectors | None:
        """As of the build."""

    @property
    def popular(self) -> npt.NDArray[np.int64]:
        """Every row, most popular first."""
        ...

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Share of the most popular, per row."""
        ...

    @property
    def allowed(self) -> Mask | None:
        """Rows that may be shown, None: all."""

    @property
    def newcomers(self) -> Collection[str]:
        """Live items without a row yet."""
        ...


@dataclass(frozen=True)
class Hit:
    item_id: str
    row: int  # -1: an item without a row yet
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


def recommend(
    view: View,
    *,
    k: int,
    weighting: Weighting,
    now_us: int,
    history: History | None = None,
    vector: Matrix | None = None,
    exclude: Collection[str] = (),
) -> Answer:
    """The k best items for a history, a (dim,) user vector or nobody; popular and new items fill up, labelled."""
    rows_out = {row for id_ in exclude if (row := view.items.row(id_)) is not None}
    hits: list[Hit] = []
    user = vector if vector is not None else user_vector(view, history, weighting, now_us)
    if user is not None and view.users_to_items is not None:
        reason: Reason = "vector" if vector is not None else "history"
        hits = _take(view, view.users_to_items, user, k, rows_out, reason)
    return fill(view, hits, k, rows_out, set(exclude))


def user_vector(view: View, history: History | None, weighting: Weighting, now_us: int) -> Matrix | None:
    """The (dim,) vector of a history; None when it says nothing about items that have vectors."""
    if history is None or len(history) == 0 or view.fold_in is None:
        return None
    cells = from_history(history, view.items, weighting, now_us, n_columns=view.n_vectors)
    if cells.nnz == 0:
        return None
    vector: Matrix = view.fold_in.vectors(cells)[0]
    return vector if vector.any() else None


def rank(
    view: View, item_ids: Sequence[str], *, weighting: Weighting, now_us: int, history: History | None
) -> tuple[Hit, ...]:
    """The given items in the order of this user; items without a vector come last, as given. Nobody: by popularity."""
    user = user_vector(view, history, weighting, now_us)
    rows = np.array([-1 if (row := view.items.row(id_)) is None else row for id_ in item_ids], dtype=np.int64)
    known = (rows >= 0) & (rows < view.n_vectors) if user is not None else rows >= 0
    scores = np.zeros(len(rows), np.float32)
    if user is not None and view.users_to_items is not None:
        mask = np.zeros(view.n_vectors, dtype=bool)
        mask[rows[known]] = True
        found, at = view.users_to_items.search(user[None], int(mask.sum()), mask)
        by_row = dict(zip(at[0].tolist(), found[0].tolist(), strict=True))
        scores[known] = [by_row[row] for row in rows[known].tolist()]
    else:
        scores[known] = view.popularity[rows[known]]
    order = np.lexsort((-scores, ~known))
    reasons: dict[bool, Reason] = {True: "rank" if user is not None else "popular", False: "unranked"}
    return tuple(Hit(item_ids[i], int(rows[i]), float(scores[i]), reasons[bool(known[i])]) for i in order)


def similar(
    view: View, positive: Sequence[str], negative: Sequence[str], *, k: int, exclude: Collection[str]
) -> Answer:
    """Items by cosine to the mean of unit `positive` less the mean of unit `negative`; NotFound for an unknown one."""
    for id_ in (*positive, *negative):
        row = view.items.row(id_)
        if row is None and id_ not in view.newcomers:
            raise NotFound(f"there is no item {id_!r} to search from")
        if row is None or row >= view.n_vectors:
            raise NotFound(f"item {id_!r} has no vector yet; it gets one at the next reindex after its first events")
    query = _mean(view, positive) - _mean(view, negative)
    if not query.any():
        raise InputError("the positive and negative items cancel out; leave some away", loc=("body", "negative"))
    return nearest(view, query, k=k, exclude={*positive, *negative, *exclude}, reason="similar")


def nearest(view: View, vector: Matrix, *, k: int, exclude: Collection[str] = (), reason: Reason = "vector") -> Answer:
    """Items by cosine to a raw (dim,) vector."""
    if view.items_to_items is None:
        return Answer((), Shortfall(k, 0, "nothing is indexed yet; run `nearfield reindex`"))
    rows_out = {row for id_ in exclude if (row := view.items.row(id_)) is not None}
    hits = _take(view, view.items_to_items, vector, k, rows_out, reason)
    short = Shortfall(k, len(hits), "no more items have a vector") if len(hits) < k else None
    return Answer(tuple(hits), short)


def similar_users(view: View, vector: Matrix, *, k: int) -> list[tuple[str, float]]:
    """The k users whose stored vectors are nearest to a (dim,) user vector by cosine, best first."""
    if view.users is None or len(view.users) == 0:
        return []
    matrix = view.users.matrix
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix)) * np.linalg.norm(vector)
    scores = np.divide(matrix @ vector, norms, out=np.full(len(matrix), -1.0, np.float32), where=norms > 0)
    k = min(k, len(scores))
    best = np.argpartition(-scores, k - 1)[:k]
    order = best[np.argsort(-scores[best], kind="stable")]
    return [(view.users.ids.ids[row], float(scores[row])) for row in order.tolist()]


def _mean(view: View, item_ids: Sequence[str]) -> Matrix:
    if not item_ids:
        return np.zeros(view.vectors.shape[1], np.float32)
    vectors = view.vectors[view.items.rows(item_ids, missing="error")]
    return np.asarray((vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).mean(axis=0))


def _take(view: View, searcher: Searcher, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
    """Search past what is excluded, then drop it: cheaper than a mask of its own for every user."""
    allowed = None if view.allowed is None else view.allowed[: view.n_vectors]
    width = min(k + sum(row < view.n_vectors for row in out), view.n_vectors)
    scores, rows = searcher.search(vector[None].astype(np.float32), width, allowed)
    hits: list[Hit] = []
    for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True):
        if row >= 0 and row not in out and len(hits) < k:
            hits.append(Hit(view.items.ids[row], row, score, reason))
    return hits


def fill(view: View, hits: list[Hit], k: int, out: set[int], excluded: set[str]) -> Answer:
    """Popular items, then new ones, until the shelf is full: if k eligible items exist, k come back."""
    if len(hits) < k:
        taken = out | {hit.row for hit in hits}
        for row in view.popular.tolist():
            if len(hits) == k:
                break
            if row not in taken and (view.allowed is None or view.allowed[row]):
                hits.append(Hit(view.items.ids[row], row, float(view.popularity[row]), "popular"))
        new = [id_ for id_ in view.newcomers if id_ not in excluded]
        hits += [Hit(id_, -1, 0.0, "new") for id_ in new[: k - len(hits)]]
    short = Shortfall(k, len(hits), "no more items are eligible") if len(hits) < k else None
    return Answer(tuple(hits), short)
