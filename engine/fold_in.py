"""How a history becomes a user vector: the one fold-in, used by fit and by serving. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.space import FoldIn
from engine.vectors import Matrix

Arrays = Mapping[str, npt.NDArray[np.float32]]
ROWS = 8192


@dataclass(frozen=True, eq=False)
class LinearFoldIn:
    """user = (history * item_scale) @ items * dim_scale: every linear autoencoder whose two sides share a basis."""

    items: Matrix  # (n_items, dim)
    item_scale: npt.NDArray[np.float32]  # (n_items,)
    dim_scale: npt.NDArray[np.float32]  # (dim,)

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        scaled = sp.csr_matrix(
            (histories.data * self.item_scale[histories.indices], histories.indices, histories.indptr),
            shape=histories.shape,
        )
        if scaled.shape[0] == 1:  # the live path: two small gathers beat a sparse product
            return ((scaled.data @ self.items[scaled.indices]) * self.dim_scale)[None].astype(np.float32)
        return np.asarray((scaled @ self.items) * self.dim_scale, dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        return "linear", {"item_scale": self.item_scale, "dim_scale": self.dim_scale}


@dataclass(frozen=True, eq=False)
class LeastSquaresFoldIn:
    """user = argmin of the weighted squared error, Hu et al. 2008 with the regulariser of Rendle et al. 2021.

    `gram` is unobserved weight x items' items, (dim, dim). The regulariser is reg x (cells + weight x n_items)^nu.
    """

    items: Matrix
    gram: npt.NDArray[np.float32]
    reg: float
    nu: float
    unobserved: float

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        """A (dim, dim) system per user, solved in batches."""
        n_users, dim = histories.shape[0], self.items.shape[1]
        out = np.zeros((n_users, dim), np.float32)
        for start in range(0, n_users, max(1, min(ROWS, 2**26 // (dim * dim)))):
            part = histories[start : start + max(1, min(ROWS, 2**26 // (dim * dim)))]
            out[start : start + part.shape[0]] = self._solve(part)
        return out

    def _solve(self, part: sp.csr_matrix) -> Matrix:
        dim = self.items.shape[1]
        cells = np.diff(part.indptr)
        left = np.empty((part.shape[0], dim, dim), np.float32)
        right = np.zeros((part.shape[0], dim), np.float32)
        reg = self.reg * (cells + self.unobserved * len(self.items)) ** self.nu
        for row, (begin, end) in enumerate(zip(part.indptr[:-1], part.indptr[1:], strict=True)):
            vectors = self.items[part.indices[begin:end]]
            weights = part.data[begin:end, None]
            left[row] = self.gram + (vectors * weights).T @ vectors
            right[row] = (vectors * weights).sum(axis=0)
        left += reg[:, None, None].astype(np.float32) * np.eye(dim, dtype=np.float32)
        return np.asarray(np.linalg.solve(left, right[:, :, None])[:, :, 0], dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        options = np.array([self.reg, self.nu, self.unobserved], np.float32)
        return "least_squares", {"gram": self.gram, "options": options}


def restore(name: str, items: Matrix, arrays: Arrays) -> FoldIn:
    """The fold-in whose `state()` was (name, arrays), over the same item matrix."""
    if name == "linear":
        return LinearFoldIn(items, arrays["item_scale"], arrays["dim_scale"])
    if name == "least_squares":
        reg, nu, unobserved = (float(value) for value in arrays["options"])
        return LeastSquaresFoldIn(items, arrays["gram"], reg, nu, unobserved)
    raise ValueError(f"unknown fold-in {name!r}; expected linear or least_squares")
