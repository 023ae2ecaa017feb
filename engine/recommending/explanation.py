"""Explanation: how much each item of the history contributes to a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from engine.deadline import needs_more_work
from engine.latent_space.dislikes import FoldInWithDislikes, split_by_sign
from engine.latent_space.fold_in import LeastSquaresFoldIn, LinearFoldIn, PerceptronFoldIn, SumFoldIn, TwoTableFoldIn
from engine.latent_space.space import FoldIn
from engine.recommending.values.answer import Explanation, Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.context import Context
from engine.recommending.vectors.user_vectors import cells_of
from engine.values.vectors import EPSILON, Matrix, row_lengths

QUICK_CONTRIBUTIONS = 4096
QUICK_FOLD_INS = (LinearFoldIn, TwoTableFoldIn, FoldInWithDislikes)  # others solve a system for each contribution


def explain(context: Context, hits: Sequence[Hit], boost: Boost | None = None) -> Mapping[str, Explanation]:
    """By item id, for each item that the history scored: its largest contributions by absolute value."""
    view, request = context.view, context.request
    scored = [hit for hit in hits if hit.reason in ("history", "rank")]
    if not scored or view.fold_in is None or view.users_to_items is None:
        return {}
    cells = cells_of(context)
    if cells.nnz * len(scored) > QUICK_CONTRIBUTIONS or not isinstance(view.fold_in, QUICK_FOLD_INS):
        needs_more_work()
    parts, exact = parts_of(view.fold_in, cells)
    items = np.array([view.vector(hit.row) for hit in scored], np.float64)  # holds all squares and products of float32
    user = view.fold_in.vectors(cells)[0].astype(np.float64)
    norms = np.ones(len(items))
    if view.users_to_items.metric == "cosine":
        norms = np.linalg.norm(user) * np.linalg.norm(items, axis=1)
    norms[norms == 0] = 1
    scores = items @ user / norms
    factors = _factors(scored, scores, boost)
    contributions = parts @ items.T * (factors / norms)  # (cells, hits)
    largest = np.argsort(-np.abs(contributions), axis=0, kind="stable")[: request.explain]
    names = [view.items.ids[row] for row in cells.indices.tolist()]
    return {
        hit.item_id: Explanation(
            tuple((names[at], float(contributions[at, column])) for at in largest[:, column].tolist()), exact
        )
        for column, hit in enumerate(scored)
    }


def _factors(hits: Sequence[Hit], before: Matrix, boost: Boost | None) -> Matrix:
    """(n,) by how much boosts and the objective multiplied each score, apart from addends."""
    scores = np.array([hit.score for hit in hits])
    if boost is not None and boost.addends is not None:
        scores = scores - boost.addends[[hit.row for hit in hits]]
    known = np.abs(before) > EPSILON
    return np.where(known, scores / np.where(known, before, 1), 1)


def parts_of(fold_in: FoldIn, cells: sp.csr_matrix) -> tuple[Matrix, bool]:
    """What each of the n cells of a history, (1, n_columns), contributes to the user vector, (n, dim), and whether the
    contributions sum to the vector.

    They do when the fold-in is a sum over the history, as in linear models, or a block of it scaled to unit length.
    For other fold-ins a contribution is the loss of the vector without the cell.
    """
    if isinstance(fold_in, LinearFoldIn):
        scaled = cells.data * fold_in.item_scale[cells.indices]
        return scaled[:, None] * fold_in.items[cells.indices] * fold_in.dim_scale, True
    if isinstance(fold_in, TwoTableFoldIn):
        return cells.data[:, None] * fold_in.inputs[cells.indices], True
    if isinstance(fold_in, FoldInWithDislikes):
        return _signed_parts(fold_in, cells)
    if isinstance(fold_in, SumFoldIn):
        blocks, every = [], True
        for part, scale, is_unit in zip(fold_in.parts, fold_in.scales, fold_in.is_unit, strict=True):
            block, exact = parts_of(part, cells)
            if is_unit:
                block = block / (float(row_lengths(part.vectors(cells))[0]) or 1.0)
            blocks.append(block * scale)
            every = every and exact
        return np.concatenate(blocks, axis=1), every
    assert isinstance(fold_in, LeastSquaresFoldIn | PerceptronFoldIn)
    return fold_in.vectors(cells) - fold_in.without_each(cells), False


def _signed_parts(fold_in: FoldInWithDislikes, cells: sp.csr_matrix) -> tuple[Matrix, bool]:
    """The contributions of likes, and of dislikes, which are subtracted, in the order of the cells."""
    liked, disliked = split_by_sign(cells)
    added, exact = parts_of(fold_in.likes, liked)
    if disliked.nnz == 0:
        return added, exact
    taken, _ = parts_of(fold_in.likes, disliked)
    share = fold_in.shares(fold_in.likes.vectors(liked), fold_in.likes.vectors(disliked))
    parts = np.zeros((cells.nnz, added.shape[1]), np.float32)
    parts[cells.data > 0], parts[cells.data < 0] = added, -share * taken
    return parts, exact
