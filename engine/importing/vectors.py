"""import_vectors: imports embeddings that were trained elsewhere as a model version."""

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
from engine.importing.transaction import import_transaction
from engine.learning.train_features import feature_space
from engine.progress import Progress, no_progress
from engine.store import items, models
from engine.store.database.connections import Database
from engine.store.models import ModelRecord
from engine.values.ids import IdMap, check_id, normalise_id
from engine.values.vectors import Vectors, rescale_extremes

EMBEDDER = "imported"
MAX_DIM = 16_000  # the limit of pgvector
ID_COLUMNS = ("item_id", "id")


@dataclass(frozen=True, eq=False)
class VectorRows:
    ids: list[str]
    matrix: npt.NDArray[np.float32]  # (n, dim)
    labels: list[str | None]


def import_vectors(
    database: Database, space_name: str, path: Path, layout: Layout | None = None, *, progress: Progress = no_progress
) -> tuple[ImportSummary, ModelRecord]:
    """Write the vectors of an NPY, NPZ, Parquet, CSV, JSONL or word2vec file as items and as a model version.

    One transaction. Rows with an invalid id, only zeros or a value that is not finite are rejected and counted by
    reason; of several rows with one id the last wins. The metric is cosine, so a vector whose length is outside 1e-15
    to 1e15 is rescaled. Raises InputError for a file that cannot be read or has no valid row.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    vectors = read(path, layout or Layout())
    progress("check", 0.3)
    reasons = _rejection_reasons(vectors)
    last = {id_: row for row, id_ in enumerate(vectors.ids) if reasons[row] is None}
    counts = Counter(reason for reason in reasons if reason is not None)
    if not last:
        raise InputError(f"{path.name} has no valid vector; the most frequent reason is: {counts.most_common(1)[0][0]}")
    rows = list(last.values())
    progress("write", 0.5)
    with import_transaction(database, space_name) as (conn, space):
        items.bulk_merge(conn, space.key, _item_table(list(last), [vectors.labels[row] for row in rows]))
        record = models.save(
            conn,
            space.key,
            embedder=EMBEDDER,
            params={"file": path.name},
            space=feature_space(Vectors(IdMap(last), rescale_extremes(vectors.matrix[rows])), None),
            evaluation={"note": f"{len(last):,} vectors imported from {path.name}"},
            publishable=True,
        )
    progress("done", 1.0)
    n_rows = len(vectors.ids)
    duplicates = n_rows - len(last) - sum(counts.values())
    return ImportSummary(n_rows, len(last), duplicates, counts, (), time.perf_counter() - started), record


def read(path: Path, layout: Layout) -> VectorRows:
    """The ids, vectors and labels of a file; only the shape of the vectors is checked."""
    if word2vec.is_word2vec(path):
        words, matrix = word2vec.read(path)
        return VectorRows([normalise_id(word) for word in words], matrix, [None] * len(words))
    table = records.read(path, replace(layout, default_ids=ID_COLUMNS), validate=False)
    text_columns = [column.name for column in table.columns if column.categories is not None]
    if text_columns:
        raise InputError(
            f"column {text_columns[0]!r} of {path.name} contains text, expected numbers; if it identifies the items "
            f"give --id {text_columns[0]}, else leave it out with --ignore {text_columns[0]}"
        )
    if table.values.shape[1] > MAX_DIM:
        raise InputError(f"expected at most {MAX_DIM:,} dimensions, got {table.values.shape[1]:,}")
    with np.errstate(over="ignore"):  # a value outside the range of float32 becomes infinite, and is rejected
        return VectorRows(table.ids, table.values.astype(np.float32), table.labels)


def _rejection_reasons(vectors: VectorRows) -> list[str | None]:
    """The reason to reject each row; None for a valid row."""
    is_finite = np.asarray(np.isfinite(vectors.matrix).all(axis=1))
    is_zero = np.asarray(~vectors.matrix.any(axis=1))
    reasons: list[str | None] = []
    for row, id_ in enumerate(vectors.ids):
        try:
            check_id(id_)
            reasons.append("all zeros" if is_zero[row] else None if is_finite[row] else "not finite")
        except InputError as error:
            reasons.append(str(error))
    return reasons


def _item_table(ids: Sequence[str], labels: Sequence[str | None]) -> pa.Table:
    nulls = pa.nulls(len(ids), pa.string())
    categories = pa.array([None if label is None else [label] for label in labels], pa.list_(pa.string()))
    return pa.table(
        {"item_id": pa.array(ids, pa.string()), "title": nulls, "categories": categories, "attributes": nulls}
    )
