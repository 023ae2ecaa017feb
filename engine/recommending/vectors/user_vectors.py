"""User vectors: the histories of many requests folded in with one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import scipy.sparse as sp

from engine.latent_space.dislikes import accepts_dislikes
from engine.recommending.values.context import Context
from engine.recommending.values.view import View
from engine.values.events import History, Weighting
from engine.values.interactions import from_history
from engine.values.vectors import Matrix


def user_vector(view: View, history: History, weighting: Weighting, now_us: int) -> Matrix | None:
    """The (dim,) vector of a history; None when no item of the history has a vector."""
    if view.fold_in is None or not len(history):
        return None
    cells = history_cells(view, history, weighting, now_us)
    if cells.nnz == 0:
        return None
    vector: Matrix = view.fold_in.vectors(cells)[0]
    return vector if vector.any() else None


def user_vectors(contexts: Sequence[Context]) -> list[Matrix | None]:
    """`user_vector` of each request. All views are of one generation, so their fold-in is the same. Requests with the
    same history, such as the shelves of a page, share one vector."""
    if len(contexts) == 1:
        [context] = contexts
        return [_vector_of(context)]
    vectors: list[Matrix | None] = [None] * len(contexts)
    with_history = [at for at, context in enumerate(contexts) if len(context.request.history)]
    fold_in = contexts[0].view.fold_in if contexts else None
    if fold_in is None or not with_history:
        return vectors
    places: dict[int, list[int]] = {}
    for at in with_history:
        places.setdefault(id(contexts[at].request.history), []).append(at)
    cells = [cells_of(contexts[same[0]]) for same in places.values()]
    found = fold_in.vectors(cells[0] if len(cells) == 1 else sp.csr_matrix(sp.vstack(cells)))
    for same, of_history, vector in zip(places.values(), cells, found, strict=True):
        known = vector if vector.any() else None
        for at in same:
            contexts[at].computed["cells"], vectors[at] = of_history, known
    return vectors


def cells_of(context: Context) -> sp.csr_matrix:
    """`history_cells` of a request, computed once."""
    cells = context.computed.get("cells")
    if cells is None:
        cells = history_cells(context.view, context.request.history, context.weighting, context.now_us)
        context.computed["cells"] = cells
    return cast(sp.csr_matrix, cells)


def _vector_of(context: Context) -> Matrix | None:
    view = context.view
    if view.fold_in is None or not len(context.request.history):
        return None
    cells = cells_of(context)
    vector: Matrix | None = view.fold_in.vectors(cells)[0] if cells.nnz else None
    return vector if vector is not None and vector.any() else None


def history_cells(view: View, history: History, weighting: Weighting, now_us: int) -> sp.csr_matrix:
    """(1, n_learnt): the weighted history as the fold-in reads it."""
    signed = accepts_dislikes(view.fold_in)
    return from_history(history, view.items, weighting, now_us, n_columns=view.n_learnt, signed=signed)
