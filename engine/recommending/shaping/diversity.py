"""Diversity: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over similarity vectors.

The next item is the candidate with the largest (1 - diversity) * relevance - diversity * similarity. The relevance
falls from 1 to 0 with the place among the candidates, because the scores of a source and of its fallback have different
scales. The similarity is the largest cosine to a chosen or fixed item, at least 0, and 0 for an item without a vector.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request
from engine.values.vectors import Matrix, normalise_rows

CANDIDATES_PER_ITEM, MIN_CANDIDATES = 4, 100


def n_candidates(request: Request) -> int:
    return max(CANDIDATES_PER_ITEM * request.k, MIN_CANDIDATES) if request.diversity else request.k


def shape(context: Context, candidates: list[Hit]) -> list[Hit]:
    request = context.request
    if not request.diversity or not candidates:
        return candidates
    considered = candidates[: n_candidates(request)]
    rows = [hit.row for hit in (*considered, *context.fixed)]
    vectors, n = normalise_rows(context.view.similarity_vectors(rows)), len(considered)
    chosen = most_relevant_and_different(vectors[:n], request.diversity, request.k, vectors[n:])
    return [considered[at] for at in chosen]


def most_relevant_and_different(vectors: Matrix, diversity: float, k: int, fixed: Matrix | None = None) -> list[int]:
    """The places of the chosen candidates, in the order of choice; of equal candidates the first.

    `vectors` are (n, dim), of unit length or 0, the most relevant candidate first. `fixed` are (n_fixed, dim), chosen
    before.
    """
    n = len(vectors)
    values: npt.NDArray[np.float32] = np.linspace(1 - diversity, 0, n, dtype=np.float32)  # relevance times its weight
    penalties = np.zeros(n, np.float32)
    weighted, chosen = np.float32(diversity) * vectors, []
    if fixed is not None and len(fixed):
        np.maximum(penalties, (weighted @ fixed.T).max(axis=1), out=penalties)
    for _ in range(min(k, n)):
        at = int(np.argmax(values - penalties))
        chosen.append(at)
        values[at] = -np.inf
        np.maximum(penalties, weighted @ vectors[at], out=penalties)
    return chosen
