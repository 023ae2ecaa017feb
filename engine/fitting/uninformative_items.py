"""Silent items: those of which a model can know nothing but rounding, or chance, make no vector, and are found by none.

One is silent when none of its users has another item, so that nothing connects it with any; or when its vector is so
short that even its product with itself is rounding beside that of the longest, as where the data has more factors than
the model has dimensions. Cosine would blow such a vector up to full length, and a history of it would be told as taste.
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


def without_silent(space: LatentSpace, interactions: Interactions) -> LatentSpace:
    """The space where silent items have zero vectors and add nothing to a history."""
    silent = alone(interactions.matrix) | _rounding(space.items.matrix)
    if not silent.any():
        return space
    items = space.items.matrix
    if not isinstance(space.fold_in, PerceptronFoldIn):  # there a score of 0 is not nothing, and has a bias beside it
        items = _muted(items, silent)
    fold_in = _deaf(space.fold_in, items, silent)
    users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
    return replace(space, items=Vectors(space.items.ids, items), users=users, fold_in=fold_in)


def alone(matrix: sp.csr_matrix) -> Flags:
    """(n_items,): items none of whose users has another one."""
    n_cells = np.diff(matrix.indptr)
    shared = np.bincount(matrix.indices[np.repeat(n_cells > 1, n_cells)], minlength=matrix.shape[1])
    return np.asarray(shared == 0)


def _rounding(items: Matrix) -> Flags:
    each = row_lengths(items)
    return np.asarray(each <= np.sqrt(EPSILON) * each.max(initial=0.0))


def _muted(rows: Matrix, silent: Flags) -> Matrix:
    made = rows.copy()
    made[silent] = 0
    return made


def _deaf(fold_in: FoldIn, items: Matrix, silent: Flags) -> FoldIn:
    """The fold-in over `items` to which silent items are as if they had not been taken up."""
    if isinstance(fold_in, LinearFoldIn):
        return replace(fold_in, items=items, item_scale=np.where(silent, np.float32(0), fold_in.item_scale))
    if isinstance(fold_in, TwoTableFoldIn):
        return replace(fold_in, inputs=_muted(fold_in.inputs, silent))
    if isinstance(fold_in, SumFoldIn):
        blocks = np.split(items, fold_in.ends[:-1], axis=1)
        return replace(
            fold_in, parts=tuple(_deaf(part, block, silent) for part, block in zip(fold_in.parts, blocks, strict=True))
        )
    if isinstance(fold_in, LeastSquaresFoldIn):
        return replace(fold_in, items=items)
    assert isinstance(fold_in, PerceptronFoldIn)
    return replace(fold_in, arrays={**fold_in.arrays, "weight0": _muted(fold_in.arrays["weight0"], silent)})
