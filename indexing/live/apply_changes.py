"""Derives the next view from changed catalogue rows: new, changed, hidden and deleted items."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.gc_pauses import paused_gc
from engine.values.vectors import Matrix
from indexing.generations.cold_items import fields_of_items
from indexing.generations.generation import Generation, fields_json
from indexing.live.delta import Delta
from indexing.live.view import EMPTY_IDS, LiveView
from indexing.searchers.filter_masks import LiveItem

GC_PAUSE_ROWS = 10_000  # from so many rows, such as an import, garbage collection is postponed
BATCH_ROWS = 1024  # Arrow holds the interpreter lock while it converts a batch


def apply_changed_items(
    view: LiveView, changed: pa.Table, caller_vectors: Mapping[int, Matrix], *, whole: bool = False
) -> LiveView:
    """The view after these catalogue rows changed; `caller_vectors` are the callers' own vectors, by item_key.

    `whole`: the rows are the whole catalogue, so all other items are hidden.
    """
    if changed.num_rows == 0 and not whole:
        return view
    with paused_gc() if changed.num_rows >= GC_PAUSE_ROWS else nullcontext():
        return _apply(view, changed, caller_vectors, whole)


def _apply(view: LiveView, changed: pa.Table, caller_vectors: Mapping[int, Matrix], whole: bool) -> LiveView:
    built = view.generation.items if view.generation else EMPTY_IDS
    new_rows, n_built = dict(view.new_rows), view.n_built
    changed_items: dict[int, LiveItem] = {}
    for start in range(0, changed.num_rows, BATCH_ROWS):
        rows = changed.slice(start, BATCH_ROWS).to_pylist()
        for item, facts in zip(rows, fields_of_items(rows), strict=True):
            shown = item["available"] and not item["deleted"]
            row = built.row(item["item_id"])
            if row is None:
                row = new_rows.get(item["item_id"])
            if row is None:  # hidden items too: `rank` accepts ids without a row as unknown items
                row = new_rows[item["item_id"]] = n_built + len(new_rows)
            changed_items[row] = LiveItem(item["item_id"], item["item_key"], fields_json(item), facts, shown)
    return replace(
        view,
        allowed=_allowed(view, changed_items, n_built + len(new_rows), whole),
        changed={**view.changed, **changed_items},
        new_rows=new_rows,
        delta=_delta(view, changed_items, caller_vectors),
    )


def _allowed(view: LiveView, changed_items: Mapping[int, LiveItem], n_rows: int, whole: bool) -> np.ndarray | None:
    allowed = np.full(n_rows, not whole)
    if view.allowed is not None and not whole:
        allowed[: len(view.allowed)] = view.allowed
    for row, item in changed_items.items():
        allowed[row] = item.shown
    allowed.flags.writeable = False  # searchers cache by read-only mask
    return None if allowed.all() else allowed


def _delta(view: LiveView, changed_items: Mapping[int, LiveItem], caller_vectors: Mapping[int, Matrix]) -> Delta | None:
    """The delta with the vectors of changed items: the caller's own, else learnt, else predicted."""
    generation = view.generation
    if generation is None:
        return None
    vectors = dict(view.delta.vectors) if view.delta else {}
    changed = False
    for row, vector in _vectors(generation, changed_items, caller_vectors).items():
        built = generation.vectors[row] if row < len(generation.vectors) else None
        if _as_built(vector, built):
            changed |= row in vectors
            vectors.pop(row, None)
        else:
            changed = True
            vectors[row] = vector
    if not changed:
        return view.delta
    return Delta(generation, vectors) if vectors else None


def _as_built(vector: Matrix | None, built: Matrix | None) -> bool:
    if vector is None or built is None:
        return vector is built
    return bool(np.allclose(vector, built, rtol=1e-5, atol=1e-7))


def _vectors(
    generation: Generation, changed_items: Mapping[int, LiveItem], caller_vectors: Mapping[int, Matrix]
) -> dict[int, Matrix | None]:
    vectors: dict[int, Matrix | None] = {}
    without_vector: list[int] = []
    for row, item in changed_items.items():
        own = caller_vectors.get(item.key)
        if own is not None and own.shape == generation.vectors.shape[1:]:
            vectors[row] = own
        elif row < len(generation.learnt):
            vectors[row] = np.asarray(generation.learnt[row])
        else:
            vectors[row] = None
            without_vector.append(row)
    if without_vector and generation.encoder is not None:
        predicted = generation.encoder.encode([changed_items[row].facts for row in without_vector])
        vectors |= {row: vector for row, vector in zip(without_vector, predicted, strict=True) if vector.any()}
    return vectors
