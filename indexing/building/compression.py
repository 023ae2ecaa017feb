"""Compression report: the size of vectors at lower precision, and the loss of accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from engine.codec.feature_codec import FeatureCodec
from engine.errors import NotEnoughData
from engine.store import features, models
from engine.store.database.connections import Connection
from engine.values.features import align_columns
from engine.values.vectors import Matrix, normalise_rows, rescale_extremes

QUERIES, SHELF_ROWS, NEIGHBOURS = 300, 20_000, 10
PQ_8_BIT_ROWS = 1000  # with fewer vectors, a product quantiser has 16 centroids per part instead of 256


@dataclass(frozen=True, eq=False)
class Compressed:
    """`restored`: (n, dim) vectors after decompression; `tables`: bytes of scales or centroids, independent of n."""

    restored: Matrix
    bytes_per_vector: float
    tables: int


def of_model(conn: Connection, space_key: int, version: int) -> dict[str, Any]:
    """`compression` of the item vectors of a model version; for a model of feature records, of the stored records.

    NotEnoughData when there are no vectors.
    """
    latent = models.load_space(conn, space_key, version)
    codec = latent.codec if isinstance(latent.codec, FeatureCodec) else None
    vectors, prepared = latent.items.matrix, None
    if codec is not None:
        stored = features.read(conn, space_key)
        known = [row for row, id_ in enumerate(stored.ids.ids) if id_ in latent.items.ids]
        values = align_columns(codec.columns, stored.columns, stored.values[known], unseen="skip")
        prepared = codec.preprocessing.apply(values)
        vectors = codec.core.encode(prepared)
    if len(vectors) == 0:
        raise NotEnoughData(f"model {version} has no vectors")
    kinds = compression(vectors, codec, prepared)
    return {"model": version, "vectors": len(vectors), "dim": int(vectors.shape[1]), "kinds": kinds}


def compression(
    vectors: Matrix, codec: FeatureCodec | None = None, prepared: Matrix | None = None
) -> list[dict[str, Any]]:
    """A row for each of float32, float16, int8 and pq: size, relative error of vectors, recall of 10 neighbours.

    `prepared` are the preprocessed records of the vectors, row by row. With these, each row also has the mean squared
    error of the decoded vectors and the ratio of sizes to the records in float32.
    """
    rows = []
    if codec is None:  # these are only compared by cosine
        vectors = rescale_extremes(vectors)
    for name, compress in COMPRESSORS.items():
        made = compress(vectors)
        size = made.bytes_per_vector * len(vectors) + made.tables
        row: dict[str, Any] = {
            "kind": name,
            "bytes_per_vector": made.bytes_per_vector,
            "megabytes": size / 1e6,
            "ratio": 4 * vectors.size / size,
            "vector_error": _relative_error(vectors, made.restored),
            "recall@10": _neighbour_recall(vectors, made.restored),
        }
        if codec is not None and prepared is not None:
            row["reconstruction_error"] = float(np.mean((prepared - codec.core.decode(made.restored)) ** 2))
            row["ratio_to_records"] = 4 * prepared.size / size
        rows.append(row)
    return rows


def _float32(vectors: Matrix) -> Compressed:
    return Compressed(vectors, 4 * vectors.shape[1], 0)


def _float16(vectors: Matrix) -> Compressed:
    largest = float(np.abs(vectors).max(initial=0)) or 1.0  # so that no value overflows float16
    return Compressed((vectors / largest).astype(np.float16).astype(np.float32) * largest, 2 * vectors.shape[1], 4)


def _int8(vectors: Matrix) -> Compressed:
    """255 steps from the smallest to the largest value of each dimension."""
    low, high = vectors.min(axis=0).astype(np.float64), vectors.max(axis=0).astype(np.float64)
    step = np.where(high > low, (high - low) / 255, 1)
    restored = np.round((vectors - low) / step) * step + low
    return Compressed(restored.astype(np.float32), vectors.shape[1], 8 * vectors.shape[1])


def _pq(vectors: Matrix) -> Compressed:
    """A product quantiser (Jegou et al. 2011): parts of four dimensions if possible, 8 or 4 bits each."""
    dim = vectors.shape[1]
    largest = np.float32(np.abs(vectors).max(initial=0)) or np.float32(1)  # k-means squares its input
    parts = next(dim // each for each in (4, 3, 2, 1) if dim % each == 0)
    bits = 8 if len(vectors) >= PQ_8_BIT_ROWS else 4
    if len(vectors) < 2**bits:
        bits = max(1, int(np.log2(max(len(vectors), 2))))
    quantiser = faiss.ProductQuantizer(dim, parts, bits)
    quantiser.cp.min_points_per_centroid = 1
    vectors = np.ascontiguousarray(vectors / largest, dtype=np.float32)
    quantiser.train(np.repeat(vectors, 2, axis=0) if len(vectors) == 1 else vectors)
    restored = quantiser.decode(quantiser.compute_codes(vectors))
    return Compressed(np.asarray(restored, np.float32) * largest, parts * bits / 8, 4 * dim * 2**bits)


def _relative_error(vectors: Matrix, restored: Matrix) -> float:
    wide = vectors.astype(np.float64)
    spread = float(((wide - wide.mean(axis=0)) ** 2).sum())
    return float(((wide - restored) ** 2).sum()) / (spread or 1.0)


def _neighbour_recall(vectors: Matrix, restored: Matrix) -> float:
    """Share of the 10 nearest neighbours by cosine that stay among the 10 nearest after compression."""
    rng = np.random.default_rng(0)
    shelf = np.sort(rng.permutation(len(vectors))[:SHELF_ROWS])
    asked = normalise_rows(vectors[shelf[:QUERIES]])
    k = min(NEIGHBOURS, len(shelf))
    before, after = (
        np.argsort(-(asked @ normalise_rows(each[shelf]).T), axis=1)[:, :k] for each in (vectors, restored)
    )
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)]))


COMPRESSORS: Mapping[str, Callable[[Matrix], Compressed]] = {
    "float32": _float32,
    "float16": _float16,
    "int8": _int8,
    "pq": _pq,
}
