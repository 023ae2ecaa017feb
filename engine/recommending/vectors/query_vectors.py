"""Query vectors for similar items: a given vector, or the mean of positive items minus the mean of negative items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import InputError, NotFound
from engine.latent_space.score_floor import rounding_error
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.vectors import Matrix, normalise_rows, row_lengths


def query_vector(view: View, request: Request) -> Matrix:
    """(n,), to search `items_to_items` with; NotFound for an item that is unknown or has no vector."""
    if request.vector is not None:
        vector = request.vector if view.items_to_items is None else check_dim(request.vector, view)
        return view.to_similarity_vector(vector)
    if len(request.item_ids) == 1 and not request.unlike:  # one item cannot cancel itself out
        return np.asarray(normalise_rows(_similarity_vector(view, request.item_ids[0])[None])[0])
    return _difference(view, request.item_ids, request.unlike)


def check_dim(vector: Matrix, view: View) -> Matrix:
    """The vector; InputError when a swap to a model with other dimensions came after the vector was checked."""
    if vector.shape != (view.dim,):
        raise InputError(f"expected {view.dim} dimensions, got shape {vector.shape}", loc=("vector",))
    return vector


def _difference(view: View, item_ids: Sequence[str], unlike: Sequence[str]) -> Matrix:
    """The mean unit vector of `item_ids` minus the mean unit vector of `unlike`."""
    query = _mean(view, item_ids) - _mean(view, unlike)
    is_zero = row_lengths(query[None])[0] <= rounding_error(len(query))
    if is_zero and any(_similarity_vector(view, id_).any() for id_ in (*item_ids, *unlike)):
        raise InputError("the positive and negative items cancel out; leave some away", loc=("body", "negative"))
    return query


def _mean(view: View, item_ids: Sequence[str]) -> Matrix:
    """(n,); 0 without items."""
    vectors = [_similarity_vector(view, id_) for id_ in item_ids] or [np.zeros(1, np.float32)]
    return np.asarray(normalise_rows(np.array(vectors, np.float32)).mean(axis=0))


def _similarity_vector(view: View, item_id: str) -> Matrix:
    row = view.items.row(item_id)
    if row is None:
        raise NotFound(f"there is no item {item_id!r} to search from")
    vector = view.similarity_vector(row)
    if vector is None:
        raise NotFound(f"item {item_id!r} has no vector yet; it gets one at the next reindex after its first events")
    return vector
