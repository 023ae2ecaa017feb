"""Replay: a view after catalogue rows changed."""

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
from indexing.live.view import NOTHING, LiveView
from indexing.searchers.filter_masks import LiveItem

MANY = 10_000  # rows, as an import changes
AT_A_TIME = 1024  # rows: Arrow lets no other thread go on until it made all that it is asked for


def applied(view: LiveView, changed: pa.Table, own: Mapping[int, Matrix], *, whole: bool = False) -> LiveView:
    """The view with these catalogue rows as they are now; `own` are the callers' vectors, by item_key.

    `whole`: they are all that there is, so what is not among them is not shown.
    """
    if changed.num_rows == 0 and not whole:
        return view
    with paused_gc() if changed.num_rows >= MANY else nullcontext():
        return _applied(view, changed, own, whole)


def _applied(view: LiveView, changed: pa.Table, own: Mapping[int, Matrix], whole: bool) -> LiveView:
    built = view.generation.items if view.generation else NOTHING
    new_rows, n_built = dict(view.new_rows), view.n_built
    touched: dict[int, LiveItem] = {}
    for start in range(0, changed.num_rows, AT_A_TIME):
        rows = changed.slice(start, AT_A_TIME).to_pylist()
        for item, facts in zip(rows, fields_of_items(rows), strict=True):
            shown = item["available"] and not item["deleted"]
            row = built.row(item["item_id"])
            if row is None:
                row = new_rows.get(item["item_id"])
            if row is None:  # hidden ones too: without a row they would be strangers, which are ranked
                row = new_rows[item["item_id"]] = n_built + len(new_rows)
            touched[row] = LiveItem(item["item_id"], item["item_key"], fields_json(item), facts, shown)
    return replace(
        view,
        allowed=_allowed(view, touched, n_built + len(new_rows), whole),
        changed={**view.changed, **touched},
        new_rows=new_rows,
        delta=_delta(view, touched, own),
    )


def _allowed(view: LiveView, touched: Mapping[int, LiveItem], n_rows: int, whole: bool) -> np.ndarray | None:
    allowed = np.full(n_rows, not whole)
    if view.allowed is not None and not whole:
        allowed[: len(view.allowed)] = view.allowed
    for row, item in touched.items():
        allowed[row] = item.shown
    allowed.flags.writeable = False  # what a searcher made of it may be kept
    return None if allowed.all() else allowed


def _delta(view: LiveView, touched: Mapping[int, LiveItem], own: Mapping[int, Matrix]) -> Delta | None:
    """The delta with the vectors of what changed: the caller's own, else the learnt, else the predicted ones."""
    generation = view.generation
    if generation is None:
        return None
    vectors = dict(view.delta.vectors) if view.delta else {}
    changed = False
    for row, vector in _vectors(generation, touched, own).items():
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
    generation: Generation, touched: Mapping[int, LiveItem], own: Mapping[int, Matrix]
) -> dict[int, Matrix | None]:
    found: dict[int, Matrix | None] = {}
    cold: list[int] = []
    for row, item in touched.items():
        given = own.get(item.key)
        if given is not None and given.shape == generation.vectors.shape[1:]:
            found[row] = given
        elif row < len(generation.learnt):
            found[row] = np.asarray(generation.learnt[row])
        else:
            found[row] = None
            cold.append(row)
    if cold and generation.encoder is not None:
        predicted = generation.encoder.encode([touched[row].facts for row in cold])
        found |= {row: vector for row, vector in zip(cold, predicted, strict=True) if vector.any()}
    return found
