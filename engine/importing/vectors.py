"""import_vectors: embeddings made elsewhere become a model version, served as one that was learnt here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.errors import InputError
from engine.importing import records
from engine.importing.records import Layout
from engine.importing.reports.summary import ImportSummary
from engine.importing.sheets import word2vec
from engine.importing.transaction import transaction
from engine.learning.train_features import feature_space
from engine.progress import Progress, no_progress
from engine.store import items, models
from engine.store.database.connections import Database
from engine.store.models import ModelRecord
from engine.values.ids import IdMap, check_id, normalise_id
from engine.values.vectors import Vectors, rescale_extremes

EMBEDDER = "imported"
MAX_DIM = 16_000  # of pgvector
ID_COLUMNS = ("item_id", "id")


@dataclass(frozen=True, eq=False)
class Given:
    ids: list[str]
    matrix: npt.NDArray[np.float32]  # (n, dim)
    labels: list[str | None]


def import_vectors(
    database: Database, space_name: str, path: Path, layout: Layout | None = None, *, progress: Progress = no_progress
) -> tuple[ImportSummary, ModelRecord]:
    """Write the vectors of an NPY, NPZ, Parquet, CSV, JSONL or word2vec file as items and as a model version.

    All of it in one transaction. Rows that cannot be searched for are counted by reason and left out; of several rows
    with one id the last wins. Compared by cosine, so of one that is not 1e-15 to 1e15 long only the direction is kept.
    Raises InputError for a file that cannot be read or has no good row.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    found = read(path, layout or Layout())
    progress("check", 0.3)
    reasons = _reasons(found)
    last = {id_: row for row, id_ in enumerate(found.ids) if reasons[row] is None}
    counts = Counter(reason for reason in reasons if reason is not None)
    if not last:
        raise InputError(f"{path.name} has no vector to keep: {counts.most_common(1)[0][0]}")
    rows = list(last.values())
    progress("write", 0.5)
    with transaction(database, space_name) as (conn, space):
        items.bulk_merge(conn, space.key, _catalogue(list(last), [found.labels[row] for row in rows]))
        record = models.save(
            conn,
            space.key,
            embedder=EMBEDDER,
            params={"file": path.name},
            space=feature_space(Vectors(IdMap(last), rescale_extremes(found.matrix[rows])), None),
            evaluation={"note": f"{len(last):,} vectors made elsewhere, from {path.name}"},
            publishable=True,
        )
    progress("done", 1.0)
    duplicates = len(found.ids) - len(last) - sum(counts.values())
    return ImportSummary(len(found.ids), len(last), duplicates, counts, (), time.perf_counter() - started), record


def read(path: Path, layout: Layout) -> Given:
    """Ids, vectors and labels of a file, unchecked but for their shape."""
    if word2vec.is_word2vec(path):
        words, matrix = word2vec.read(path)
        return Given([normalise_id(word) for word in words], matrix, [None] * len(words))
    found = records.read(path, replace(layout, usual_ids=ID_COLUMNS), finite=False)
    text = [column.name for column in found.columns if column.categories is not None]
    if text:
        raise InputError(
            f"column {text[0]!r} of {path.name} holds text, which is no part of a vector; if it names the items give "
            f"it as --id {text[0]}, else leave it out with --ignore {text[0]}"
        )
    if found.values.shape[1] > MAX_DIM:
        raise InputError(f"expected at most {MAX_DIM:,} dimensions, got {found.values.shape[1]:,}")
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, and is rejected
        return Given(found.ids, found.values.astype(np.float32), found.labels)


def _reasons(found: Given) -> list[str | None]:
    """Why each row is left out, None for a good one."""
    finite, flat = np.asarray(np.isfinite(found.matrix).all(axis=1)), np.asarray(~found.matrix.any(axis=1))
    reasons: list[str | None] = []
    for row, id_ in enumerate(found.ids):
        try:
            check_id(id_)
            reasons.append(None if finite[row] and not flat[row] else "all zeros" if flat[row] else "not finite")
        except InputError as error:
            reasons.append(str(error))
    return reasons


def _catalogue(ids: Sequence[str], labels: Sequence[str | None]) -> pa.Table:
    blank = pa.nulls(len(ids), pa.string())
    categories = pa.array([None if label is None else [label] for label in labels], pa.list_(pa.string()))
    return pa.table(
        {"item_id": pa.array(ids, pa.string()), "title": blank, "categories": categories, "attributes": blank}
    )
