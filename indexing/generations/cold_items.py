"""Vectors of items that the model has not learnt: the caller's own, or predicted from what is said of the item."""

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
    """Every item of a generation in row order: learnt ones, then others that have a vector, then the rest."""

    catalogue: pa.Table
    vectors: Matrix  # (n_vectors, dim), raw
    n_learnt: int
    learnt: Matrix | None  # (n_learnt, dim), as the model made them; None: the first rows of `vectors` are those
    encoder: ItemEncoder | None

    @property
    def is_learnt(self) -> npt.NDArray[np.bool_]:
        """(n_vectors,), whether a vector is as the model made it, and not the caller's or a predicted one."""
        found = np.arange(len(self.vectors)) < self.n_learnt
        if self.learnt is not None:
            found[: self.n_learnt] = (self.vectors[: self.n_learnt] == self.learnt).all(axis=1)
        return found


def item_vectors(
    latent: LatentSpace,
    catalogue: pa.Table,
    own: Mapping[int, Matrix],
    measured: Mapping[int, ItemFields] = MappingProxyType({}),
) -> ItemVectors:
    """Vectors for as many items as can have one; `own` are the caller's, by item_key, and beat learnt ones.

    `measured` are facts by item_key that the catalogue does not hold: an item's feature record.

    `catalogue` has the learnt items first, in their order, as `latent.items`.
    """
    learnt = latent.items.matrix
    encoder = _learn(catalogue, learnt, measured)
    found = _cold(catalogue, len(learnt), own, encoder, measured)
    with_vector = sorted(found)
    rest = [row for row in range(len(learnt), catalogue.num_rows) if row not in found]
    more = np.array([found[row] for row in with_vector], np.float32).reshape(-1, latent.dim)
    keys = catalogue["item_key"].to_numpy()[: len(learnt)]
    replaced = np.flatnonzero(np.isin(keys, np.fromiter(own, np.int64, len(own))))
    vectors = np.concatenate([learnt, more]) if len(more) or len(replaced) else learnt
    for row in replaced.tolist():
        vectors[row] = own[int(keys[row])]
    if rest and with_vector:
        catalogue = catalogue.take(pa.array(np.r_[: len(learnt), with_vector, rest], pa.int64()))
    return ItemVectors(catalogue, vectors, len(learnt), learnt if len(replaced) else None, encoder)


def _learn(catalogue: pa.Table, learnt: Matrix, measured: Mapping[int, ItemFields]) -> ItemEncoder | None:
    rows = np.random.default_rng(0).permutation(len(learnt))[:MAX_ROWS]
    rows.sort()
    known = catalogue.take(pa.array(rows, pa.int64())).to_pylist()
    return learn(facts_of(known, measured), np.asarray(learnt)[rows])


def _cold(
    catalogue: pa.Table,
    n_learnt: int,
    own: Mapping[int, Matrix],
    encoder: ItemEncoder | None,
    measured: Mapping[int, ItemFields],
) -> dict[int, Matrix]:
    """row -> vector of those behind the learnt ones that can have one."""
    cold = catalogue.slice(n_learnt).to_pylist()
    found = {} if encoder is None else dict(enumerate(encoder.encode(facts_of(cold, measured)), n_learnt))
    found |= {n_learnt + at: own[item["item_key"]] for at, item in enumerate(cold) if item["item_key"] in own}
    return {row: vector for row, vector in found.items() if vector.any()}


def facts_of(
    items: Sequence[Mapping[str, Any]], measured: Mapping[int, ItemFields] = MappingProxyType({})
) -> list[ItemFields]:
    """What filters and the encoder know of catalogue rows; `measured` by item_key is for the encoder alone."""
    return [
        {**item_fields(item, orjson.loads(item["attributes"] or "{}")), **measured.get(item["item_key"], {})}
        for item in items
    ]
