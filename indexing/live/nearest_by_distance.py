"""near: the items closest to a point by distance: that is what a decoder sees, cosine sees only direction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.deadline import until_deadline
from engine.values.vectors import Matrix
from indexing.live.view import LiveView

BLOCK, POINTS = 65_536, 32  # rows and points at a time: 16 MB of distances

Block = tuple[Matrix, npt.NDArray[np.int64]]
Found = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def near(view: LiveView, points: Matrix, k: int) -> Found:
    """Euclidean distances (n, k) and rows (n, k) of items that may be shown, nearest first; -1 where there are no more.

    Exact, over every vector: for the few points of a path, not for traffic.
    """
    blocks = _blocks(view) if k and len(points) else []
    found = [_near(view, points[at : at + POINTS], blocks, k) for at in range(0, max(len(points), 1), POINTS)]
    return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])


def _near(view: LiveView, points: Matrix, blocks: list[Block], k: int) -> Found:
    distances, rows = np.full((len(points), k), np.inf), np.full((len(points), k), -1, np.int64)
    for vectors, at in until_deadline(blocks, every=1):
        keep = np.ones(len(at), bool) if view.allowed is None else view.allowed[at]
        apart, shown = _apart(points, vectors[keep]), at[keep]
        distances = np.concatenate([distances, apart], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(shown, apart.shape)], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances, rows = np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)
    return distances, rows


def _blocks(view: LiveView) -> list[Block]:
    """Vectors and their rows: those of the generation that nothing replaces, then those of the delta."""
    built = view.generation.vectors if view.generation else np.zeros((0, 1), np.float32)
    changed, beside = (view.delta.vectors, view.delta.beside) if view.delta else ({}, {})
    kept = np.setdiff1d(np.arange(len(built)), np.fromiter(changed, np.int64, len(changed)))
    found = [(built[kept[at : at + BLOCK]], kept[at : at + BLOCK]) for at in range(0, len(kept), BLOCK)]
    if beside:
        found.append((np.array(list(beside.values()), np.float32), np.fromiter(beside, np.int64, len(beside))))
    return found


def _apart(points: Matrix, vectors: Matrix) -> npt.NDArray[np.float64]:
    wide, them = points.astype(np.float64), vectors.astype(np.float64)
    squares = (wide**2).sum(axis=1)[:, None] + (them**2).sum(axis=1) - 2 * wide @ them.T
    return np.sqrt(np.maximum(squares, 0))
