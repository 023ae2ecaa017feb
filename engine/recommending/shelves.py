"""Many shelves in one call, searched as one matrix where they are made of the same items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.deadline import check_deadline, until_deadline
from engine.latent_space.dislikes import reads_dislikes
from engine.recommending import rounding
from engine.recommending.batch import BATCH_FLOATS
from engine.recommending.recommend import BY_SCORE, Answer, Fill, Hit, Reason, Taking, fill, pick, rows_of, searchable
from engine.recommending.values.view import View
from engine.values.events import History, Weighting
from engine.values.interactions import from_history
from engine.values.vectors import Matrix


@dataclass(frozen=True, eq=False)
class Shelf:
    """As `recommend` is asked; shelves of one filter share one `view` object."""

    view: View
    k: int
    history: History | None = None
    vector: Matrix | None = None  # (dim,), instead of a history
    exclude: Collection[str] = ()
    way: Fill = "popular"
    by: Taking = BY_SCORE


@dataclass(frozen=True, eq=False)
class _Searched:
    """A shelf's user vector, what may not be on it, and the candidates that a search of its batch found."""

    vector: Matrix | None
    out: set[int]
    scores: list[float]
    rows: list[int]


def recommend_shelves(
    shelves: Sequence[Shelf], *, weighting: Weighting, now_us: int, distinct: bool = False
) -> list[Answer]:
    """What `recommend` answers to each; with `distinct` no item is on two shelves, earlier ones choose first."""
    answers = []
    shown: set[int] = set()
    for shelf, found in until_deadline(zip(shelves, _searched(shelves, weighting, now_us), strict=True), every=1):
        answer = _answer(shelf, found, found.out | shown)
        if distinct:
            shown |= {hit.row for hit in answer.hits}
        answers.append(answer)
    return answers


def _answer(shelf: Shelf, found: _Searched, out: set[int]) -> Answer:
    hits: list[Hit] = []
    searcher = shelf.view.users_to_items
    if found.vector is not None and searcher is not None:
        reason: Reason = "vector" if shelf.vector is not None else "history"
        hits = pick(shelf.view, found.scores, found.rows, shelf.k, out, reason)
        if len(hits) < shelf.k and len(found.rows) < shelf.view.n_vectors:  # earlier shelves took it, or it is boosted
            hits = shelf.by.take(shelf.view, searcher, found.vector, shelf.k, out, reason)
    return fill(shelf.view, hits, shelf.k, out, shelf.way, shelf.by)


def _searched(shelves: Sequence[Shelf], weighting: Weighting, now_us: int) -> list[_Searched]:
    vectors = _vectors(shelves, weighting, now_us)
    outs = [rows_of(shelf.view, shelf.exclude) for shelf in shelves]
    made = [_Searched(vector, out, [], []) for vector, out in zip(vectors, outs, strict=True)]
    groups: dict[int, list[int]] = {}
    for at, shelf in enumerate(shelves):
        if vectors[at] is not None and shelf.by is BY_SCORE:  # a boost has searches of its own
            groups.setdefault(id(shelf.view), []).append(at)
    for group in groups.values():
        view = shelves[group[0]].view
        size = max(1, BATCH_FLOATS // max(1, view.n_vectors))
        group.sort(key=lambda at: shelves[at].k + len(outs[at]))  # those as wide share a batch
        for start in range(0, len(group), size):
            check_deadline()
            part = group[start : start + size]
            width = shelves[part[-1]].k + len(outs[part[-1]])
            for at, scores, rows in zip(part, *_search(view, [vectors[at] for at in part], width), strict=True):
                made[at] = _Searched(vectors[at], outs[at], scores.tolist(), rows.tolist())
    return made


def _search(view: View, vectors: Sequence[Matrix | None], width: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    if view.users_to_items is None:
        return np.zeros((len(vectors), 0), np.float32), np.zeros((len(vectors), 0), np.int64)
    asked = np.array(vectors, np.float32)
    return rounding.told(view, view.users_to_items, asked, min(width, view.n_vectors), searchable(view))


def _vectors(shelves: Sequence[Shelf], weighting: Weighting, now_us: int) -> list[Matrix | None]:
    """The user vector of each shelf, folded in at once; None for one whose history says nothing."""
    found = [shelf.vector for shelf in shelves]
    view = shelves[0].view  # all are of one generation
    with_history = [at for at, shelf in enumerate(shelves) if shelf.vector is None and shelf.history]
    if view.fold_in is None or not with_history:
        return found
    histories, signed = [shelves[at].history for at in with_history], reads_dislikes(view.fold_in)
    cells = [
        from_history(history, view.items, weighting, now_us, n_columns=view.n_learnt, signed=signed)  # type: ignore[arg-type]
        for history in histories
    ]
    for at, vector in zip(with_history, view.fold_in.vectors(sp.csr_matrix(sp.vstack(cells))), strict=True):
        found[at] = vector if vector.any() else None
    return found
