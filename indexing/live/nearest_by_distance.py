"""The items nearest to a point by Euclidean distance, which a decoder depends on; cosine ignores length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.deadline import until_deadline
from engine.values.vectors import Matrix
from indexing.live.view import LiveView

BLOCK_ROWS, BLOCK_POINTS = 65_536, 32  # rows and points per block: 16 MB of distances

Block = tuple[Matrix, npt.NDArray[np.int64]]
Found = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def nearest_by_distance(view: LiveView, points: Matrix, k: int) -> Found:
    """Distances (n, k) and rows (n, k) of items that may be shown, nearest first; row -1 where there are no more.

    Exact search over all vectors; meant for the few points of a path, not for traffic.
    """
    blocks = _blocks(view) if k and len(points) else []
    found = [
        _nearest(view, points[at : at + BLOCK_POINTS], blocks, k) for at in range(0, max(len(points), 1), BLOCK_POINTS)
    ]
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def _nearest(view: LiveView, points: Matrix, blocks: list[Block], k: int) -> Found:
    distances, rows = np.full((len(points), k), np.inf), np.full((len(points), k), -1, np.int64)
    for vectors, block_rows in until_deadline(blocks, every=1):
        is_allowed = np.ones(len(block_rows), bool) if view.allowed is None else view.allowed[block_rows]
        new_distances, shown = _distances(points, vectors[is_allowed]), block_rows[is_allowed]
        distances = np.concatenate([distances, new_distances], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(shown, new_distances.shape)], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances, rows = np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)
    return distances, rows


def _blocks(view: LiveView) -> list[Block]:
    """Blocks of vectors with their rows: rows of the generation that the delta does not replace, then the delta."""
    built = view.generation.vectors if view.generation else np.zeros((0, 1), np.float32)
    changed, beside = (view.delta.vectors, view.delta.beside) if view.delta else ({}, {})
    kept = np.setdiff1d(np.arange(len(built)), np.fromiter(changed, np.int64, len(changed)))
    parts = [kept[start : start + BLOCK_ROWS] for start in range(0, len(kept), BLOCK_ROWS)]
    blocks = [(built[part], part) for part in parts]
    if beside:
        blocks.append((np.array(list(beside.values()), np.float32), np.fromiter(beside, np.int64, len(beside))))
    return blocks


def _distances(points: Matrix, vectors: Matrix) -> npt.NDArray[np.float64]:
    left, right = points.astype(np.float64), vectors.astype(np.float64)
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0))
