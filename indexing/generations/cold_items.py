"""Vectors of cold items, which the model has not learnt: given by the caller, or predicted from the item's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from engine.catalogue.predicate import ItemFields, item_fields
from engine.latent_space.item_encoder import MAX_ROWS, ItemEncoder, learn
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Matrix


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """All items of a generation in row order: learnt items, then cold items with a vector, then items without one."""

    catalogue: pa.Table
    vectors: Matrix  # (n_vectors, dim), raw
    n_learnt: int
    learnt: Matrix | None  # (n_learnt, dim), as the model made them; None: equal to the first rows of `vectors`
    encoder: ItemEncoder | None

    @property
    def is_learnt(self) -> npt.NDArray[np.bool_]:
        """(n_vectors,) True where the model made the vector; False where it is the caller's or predicted."""
        is_learnt = np.arange(len(self.vectors)) < self.n_learnt
        if self.learnt is not None:
            is_learnt[: self.n_learnt] = (self.vectors[: self.n_learnt] == self.learnt).all(axis=1)
        return is_learnt


def item_vectors(
    latent: LatentSpace,
    catalogue: pa.Table,
    caller_vectors: Mapping[int, Matrix],
    record_fields: Mapping[int, ItemFields] = MappingProxyType({}),
) -> ItemVectors:
    """Vectors for as many items as can have one. `caller_vectors`, by item_key, take precedence over learnt ones.

    `catalogue` has the learnt items first, in the order of `latent.items`. `record_fields`, by item_key, are the values
    of an item's feature record, which the catalogue does not hold.
    """
    learnt = latent.items.matrix
    encoder = _learn(catalogue, learnt, record_fields)
    cold_vectors = _cold(catalogue, len(learnt), caller_vectors, encoder, record_fields)
    with_vector = sorted(cold_vectors)
    rest = [row for row in range(len(learnt), catalogue.num_rows) if row not in cold_vectors]
    added = np.array([cold_vectors[row] for row in with_vector], np.float32).reshape(-1, latent.dim)
    keys = catalogue["item_key"].to_numpy()[: len(learnt)]
    replaced = np.flatnonzero(np.isin(keys, np.fromiter(caller_vectors, np.int64, len(caller_vectors))))
    vectors = np.concatenate([learnt, added]) if len(added) or len(replaced) else learnt
    for row in replaced.tolist():
        vectors[row] = caller_vectors[int(keys[row])]
    if rest and with_vector:
        catalogue = catalogue.take(pa.array(np.r_[: len(learnt), with_vector, rest], pa.int64()))
    return ItemVectors(catalogue, vectors, len(learnt), learnt if len(replaced) else None, encoder)


def _learn(catalogue: pa.Table, learnt: Matrix, record_fields: Mapping[int, ItemFields]) -> ItemEncoder | None:
    rows = np.random.default_rng(0).permutation(len(learnt))[:MAX_ROWS]
    rows.sort()
    known = catalogue.take(pa.array(rows, pa.int64())).to_pylist()
    return learn(fields_of_items(known, record_fields), np.asarray(learnt)[rows])


def _cold(
    catalogue: pa.Table,
    n_learnt: int,
    caller_vectors: Mapping[int, Matrix],
    encoder: ItemEncoder | None,
    record_fields: Mapping[int, ItemFields],
) -> dict[int, Matrix]:
    """Row -> vector of the cold items that can have one."""
    cold = catalogue.slice(n_learnt).to_pylist()
    cold_vectors: dict[int, Matrix] = {}
    if encoder is not None:
        cold_vectors = dict(enumerate(encoder.encode(fields_of_items(cold, record_fields)), n_learnt))
    keys = [item["item_key"] for item in cold]
    cold_vectors |= {row: caller_vectors[key] for row, key in enumerate(keys, n_learnt) if key in caller_vectors}
    return {row: vector for row, vector in cold_vectors.items() if vector.any()}


def fields_of_items(
    items: Sequence[Mapping[str, Any]], record_fields: Mapping[int, ItemFields] = MappingProxyType({})
) -> list[ItemFields]:
    """The fields of catalogue rows for filters and the encoder; `record_fields`, by item_key, is for the encoder
    only."""
    return [
        {**item_fields(item, orjson.loads(item["attributes"] or "{}")), **record_fields.get(item["item_key"], {})}
        for item in items
    ]
