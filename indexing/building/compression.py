"""Compression: what vectors cost at lower precision, and what that loses."""

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

QUERIES, AGAINST, NEIGHBOURS = 300, 20_000, 10
FEW = 1000  # vectors; below, a product quantiser has 16 centroids a part and not 256


@dataclass(frozen=True, eq=False)
class Compressed:
    """`restored` is what comes back, (n, dim); `tables` are the bytes of scales or centroids, whatever n is."""

    restored: Matrix
    bytes_per_vector: float
    tables: int


def of_model(conn: Connection, space_key: int, version: int) -> dict[str, Any]:
    """`compression` of the item vectors of a model version; of a model of records, of those that are stored now.

    NotEnoughData when it has no vectors.
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
    """One row for each of float32, float16, int8 and pq: sizes, relative error of vectors, recall of 10 neighbours.

    `prepared` are the records of the vectors, row for row: then also the error of what the vectors decode to, in
    squared scales, beside that of the record size in float32.
    """
    rows = []
    if codec is None:  # only compared by cosine
        vectors = rescale_extremes(vectors)
    for name, compress in KINDS.items():
        made = compress(vectors)
        size = made.bytes_per_vector * len(vectors) + made.tables
        row: dict[str, Any] = {
            "kind": name,
            "bytes_per_vector": made.bytes_per_vector,
            "megabytes": size / 1e6,
            "ratio": 4 * vectors.size / size,
            "vector_error": _relative(vectors, made.restored),
            "recall@10": _recall(vectors, made.restored),
        }
        if codec is not None and prepared is not None:
            row["reconstruction_error"] = float(np.mean((prepared - codec.core.decode(made.restored)) ** 2))
            row["ratio_to_records"] = 4 * prepared.size / size
        rows.append(row)
    return rows


def _float32(vectors: Matrix) -> Compressed:
    return Compressed(vectors, 4 * vectors.shape[1], 0)


def _float16(vectors: Matrix) -> Compressed:
    largest = float(np.abs(vectors).max(initial=0)) or 1.0  # so that none is beyond float16
    return Compressed((vectors / largest).astype(np.float16).astype(np.float32) * largest, 2 * vectors.shape[1], 4)


def _int8(vectors: Matrix) -> Compressed:
    """Each dimension from its least to its largest value in 255 steps."""
    low, high = vectors.min(axis=0).astype(np.float64), vectors.max(axis=0).astype(np.float64)
    step = np.where(high > low, (high - low) / 255, 1)
    restored = np.round((vectors - low) / step) * step + low
    return Compressed(restored.astype(np.float32), vectors.shape[1], 8 * vectors.shape[1])


def _pq(vectors: Matrix) -> Compressed:
    """A product quantiser (Jegou et al. 2011): parts of four dimensions where that goes, a byte or half of one each."""
    dim = vectors.shape[1]
    largest = np.float32(np.abs(vectors).max(initial=0)) or np.float32(1)  # k-means squares what it is given
    parts = next(dim // each for each in (4, 3, 2, 1) if dim % each == 0)
    bits = 8 if len(vectors) >= FEW else 4
    if len(vectors) < 2**bits:
        bits = max(1, int(np.log2(max(len(vectors), 2))))
    quantiser = faiss.ProductQuantizer(dim, parts, bits)
    quantiser.cp.min_points_per_centroid = 1
    vectors = np.ascontiguousarray(vectors / largest, dtype=np.float32)
    quantiser.train(np.repeat(vectors, 2, axis=0) if len(vectors) == 1 else vectors)
    restored = quantiser.decode(quantiser.compute_codes(vectors))
    return Compressed(np.asarray(restored, np.float32) * largest, parts * bits / 8, 4 * dim * 2**bits)


def _relative(vectors: Matrix, restored: Matrix) -> float:
    wide = vectors.astype(np.float64)
    spread = float(((wide - wide.mean(axis=0)) ** 2).sum())
    return float(((wide - restored) ** 2).sum()) / (spread or 1.0)


def _recall(vectors: Matrix, restored: Matrix) -> float:
    """Share of the 10 neighbours by cosine that are still among the 10 when the shelf is compressed."""
    draw = np.random.default_rng(0)
    shelf = np.sort(draw.permutation(len(vectors))[:AGAINST])
    asked = normalise_rows(vectors[shelf[:QUERIES]])
    k = min(NEIGHBOURS, len(shelf))
    before, after = (
        np.argsort(-(asked @ normalise_rows(each[shelf]).T), axis=1)[:, :k] for each in (vectors, restored)
    )
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)]))


KINDS: Mapping[str, Callable[[Matrix], Compressed]] = {
    "float32": _float32,
    "float16": _float16,
    "int8": _int8,
    "pq": _pq,
}
