"""Given items: the items of the request in the order of its user; without a user, by popularity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.nearest import search
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View
from engine.recommending.vectors.user_vectors import user_vectors
from engine.values.vectors import Matrix


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context, vector) for context, vector in zip(contexts, user_vectors(contexts), strict=True)]


def shortfall(context: Context, sources: Sequence[str]) -> str:
    filtered = " or do not pass the filter" if context.view.filtered else ""
    return f"the other items may not be shown{filtered}"


def _ranking(context: Context, vector: Matrix | None) -> Listed:
    view, item_ids = context.view, context.request.item_ids
    rows = np.array([-1 if (row := view.items.row(id_)) is None else row for id_ in item_ids], np.int64)
    if vector is not None:
        return Listed(item_ids, rows, _scores(view, vector, rows), "rank", "rank")
    return Listed(item_ids, rows, _popularity(view, rows), "popular", "rank")


def _scores(view: View, vector: Matrix, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(n,), by the metric of the space; NaN for rows without a vector and rows that the view does not allow."""
    mask = np.zeros(view.n_vectors, dtype=bool)
    mask[rows[(rows >= 0) & (rows < view.n_vectors)]] = True
    if view.allowed is not None:
        mask &= view.allowed[: view.n_vectors]
    if view.users_to_items is None or not mask.any():
        return np.full(len(rows), np.nan, np.float32)
    scores, found = search(view, "users_to_items", vector[None], int(mask.sum()), mask)
    by_row = dict(zip(found[0].tolist(), scores[0].tolist(), strict=True))
    return np.array([by_row.get(row, np.nan) if row >= 0 else np.nan for row in rows.tolist()], np.float32)


def _popularity(view: View, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(n,), the share of the most popular item; NaN for unknown items."""
    scores = np.full(len(rows), np.nan, np.float32)
    scores[rows >= 0] = view.popularity[rows[rows >= 0]]
    return scores
