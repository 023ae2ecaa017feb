"""Diversity: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) over similarity vectors.

The next item is the candidate with the largest (1 - diversity) * relevance - diversity * similarity. The relevance
falls from 1 to 0 with the place among the candidates, because the scores of a source and of its fallback have different
scales. The similarity is the largest cosine to a chosen item, at least 0; an item without a vector has similarity 0.
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
    vectors = normalise_rows(context.view.similarity_vectors([hit.row for hit in considered]))
    return [considered[at] for at in most_relevant_and_different(vectors, request.diversity, request.k)]


def most_relevant_and_different(vectors: Matrix, diversity: float, k: int) -> list[int]:
    """The places of the chosen candidates, in the order of choice; of equal candidates the first.

    `vectors` are (n, dim), of unit length or 0, the most relevant candidate first.
    """
    n = len(vectors)
    values: npt.NDArray[np.float32] = np.linspace(1 - diversity, 0, n, dtype=np.float32)  # relevance times its weight
    penalties = np.zeros(n, np.float32)
    weighted, chosen = np.float32(diversity) * vectors, []
    for _ in range(min(k, n)):
        at = int(np.argmax(values - penalties))
        chosen.append(at)
        values[at] = -np.inf
        np.maximum(penalties, weighted @ vectors[at], out=penalties)
    return chosen
