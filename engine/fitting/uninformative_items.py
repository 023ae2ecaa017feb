"""Uninformative items: items about which a model knows nothing except rounding errors or chance. They get no vector.

An item is isolated when none of its users has another item, so that nothing connects it with other items. An item is
negligible when its vector is so short that its product with itself is a rounding error beside that of the longest item,
as in data with more factors than the model has dimensions. Cosine would scale such a vector to unit length and present
it as taste.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.latent_space.fold_in import LeastSquaresFoldIn, LinearFoldIn, PerceptronFoldIn, SumFoldIn, TwoTableFoldIn
from engine.latent_space.score_floor import EPSILON
from engine.latent_space.space import FoldIn, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors, row_lengths

Flags = npt.NDArray[np.bool_]


def without_uninformative_items(space: LatentSpace, interactions: Interactions) -> LatentSpace:
    """The space where uninformative items have zero vectors and add nothing to a history."""
    uninformative = isolated_items(interactions.matrix) | _negligible(space.items.matrix)
    if not uninformative.any():
        return space
    items = space.items.matrix
    if not isinstance(space.fold_in, PerceptronFoldIn):  # its items also hold a bias, so a score of 0 is not neutral
        items = _zeroed(items, uninformative)
    fold_in = _without_items(space.fold_in, items, uninformative)
    users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
    return replace(space, items=Vectors(space.items.ids, items), users=users, fold_in=fold_in)


def isolated_items(matrix: sp.csr_matrix) -> Flags:
    """(n_items,): items whose users have no other item."""
    n_cells = np.diff(matrix.indptr)
    shared = np.bincount(matrix.indices[np.repeat(n_cells > 1, n_cells)], minlength=matrix.shape[1])
    return np.asarray(shared == 0)


def _negligible(items: Matrix) -> Flags:
    lengths = row_lengths(items)
    return np.asarray(lengths <= np.sqrt(EPSILON) * lengths.max(initial=0.0))


def _zeroed(rows: Matrix, uninformative: Flags) -> Matrix:
    zeroed = rows.copy()
    zeroed[uninformative] = 0
    return zeroed


def _without_items(fold_in: FoldIn, items: Matrix, uninformative: Flags) -> FoldIn:
    """The fold-in over `items` that ignores the uninformative items of a history."""
    if isinstance(fold_in, LinearFoldIn):
        return replace(fold_in, items=items, item_scale=np.where(uninformative, np.float32(0), fold_in.item_scale))
    if isinstance(fold_in, TwoTableFoldIn):
        return replace(fold_in, inputs=_zeroed(fold_in.inputs, uninformative))
    if isinstance(fold_in, SumFoldIn):
        blocks = np.split(items, fold_in.ends[:-1], axis=1)
        return replace(
            fold_in,
            parts=tuple(
                _without_items(part, block, uninformative) for part, block in zip(fold_in.parts, blocks, strict=True)
            ),
        )
    if isinstance(fold_in, LeastSquaresFoldIn):
        return replace(fold_in, items=items)
    assert isinstance(fold_in, PerceptronFoldIn)
    return replace(fold_in, arrays={**fold_in.arrays, "weight0": _zeroed(fold_in.arrays["weight0"], uninformative)})
