"""Explain: how much of a score each item of the history makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from engine.latent_space.dislikes import LessDislikedFoldIn, divided, reads_dislikes
from engine.latent_space.fold_in import LeastSquaresFoldIn, LinearFoldIn, PerceptronFoldIn, SumFoldIn, TwoTableFoldIn
from engine.latent_space.space import FoldIn, Metric
from engine.recommending.recommend import Answer
from engine.recommending.values.view import View
from engine.values.events import History, Weighting
from engine.values.interactions import from_history
from engine.values.vectors import EPSILON, Matrix, row_lengths


@dataclass(frozen=True)
class Explanation:
    """Items of the history and what they add to the score, most first; those left out add less, in absolute terms."""

    by: tuple[tuple[str, float], ...]
    exact: bool  # all of them together are the score; else each is what the score loses without that item


def explain(
    view: View, answer: Answer, history: History, *, weighting: Weighting, now_us: int, metric: Metric, most: int
) -> Mapping[str, Explanation]:
    """By item id, for each item whose score is of the history: the `most` largest contributions, by absolute value."""
    hits = [hit for hit in answer.hits if hit.reason in ("history", "rank")]
    if not hits or view.fold_in is None:
        return {}
    signed = reads_dislikes(view.fold_in)
    cells = from_history(history, view.items, weighting, now_us, n_columns=view.n_learnt, signed=signed)
    parts, exact = parts_of(view.fold_in, cells)
    items = np.array([view.vector(hit.row) for hit in hits], np.float64)  # whose squares and products are in its range
    user = view.fold_in.vectors(cells)[0].astype(np.float64)
    long = np.linalg.norm(user) * np.linalg.norm(items, axis=1) if metric == "cosine" else np.ones(len(items))
    long[long == 0] = 1
    score = items @ user / long
    boosts = np.array([_ratio(hit.score, each) for hit, each in zip(hits, score.tolist(), strict=True)])
    contributions = parts @ items.T * (boosts / long)  # (cells, hits)
    largest = np.argsort(-np.abs(contributions), axis=0, kind="stable")[:most]
    names = [view.items.ids[row] for row in cells.indices.tolist()]
    return {
        hit.item_id: Explanation(
            tuple((names[at], float(contributions[at, column])) for at in largest[:, column].tolist()), exact
        )
        for column, hit in enumerate(hits)
    }


def _ratio(score: float, before: float) -> float:
    """What a boost made of a score, as a factor."""
    return score / before if abs(before) > EPSILON else 1.0


def parts_of(fold_in: FoldIn, cells: sp.csr_matrix) -> tuple[Matrix, bool]:
    """What each of n cells of a history, (1, n_columns), adds to the user vector: (n, dim), and whether the sum is it.

    It is where the fold-in is a sum over the history, as in linear models; a block that is made unit length is one
    too, once its length is known. Of others, it is what the vector loses without the cell.
    """
    n = cells.nnz
    if isinstance(fold_in, LinearFoldIn | TwoTableFoldIn):
        alone = sp.csr_matrix((cells.data, cells.indices, np.arange(n + 1)), shape=(n, cells.shape[1]))
        return fold_in.vectors(alone), True
    if isinstance(fold_in, LessDislikedFoldIn):
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


def _signed_parts(fold_in: LessDislikedFoldIn, cells: sp.csr_matrix) -> tuple[Matrix, bool]:
    """Of likes and of dislikes, which take away, in the order of the cells."""
    liked, disliked = divided(cells)
    added, exact = parts_of(fold_in.likes, liked)
    if disliked.nnz == 0:
        return added, exact
    taken, _ = parts_of(fold_in.likes, disliked)
    share = fold_in.shares(fold_in.likes.vectors(liked), fold_in.likes.vectors(disliked))
    parts = np.zeros((cells.nnz, added.shape[1]), np.float32)
    parts[cells.data > 0], parts[cells.data < 0] = added, -share * taken
    return parts, exact
