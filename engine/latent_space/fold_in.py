"""Fold-in: the functions that compute a user vector from a history, for training and serving alike. Pure numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.latent_space import dislikes
from engine.latent_space.dislikes import FoldInWithDislikes
from engine.latent_space.space import FoldIn
from engine.values.vectors import Matrix, normalise_rows

Padded = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]  # rows, columns, weights
Arrays = Mapping[str, npt.NDArray[np.float32]]
BATCH_FLOATS = 2**21  # 8 MiB of float32 in a padded batch, which fits the CPU cache; 2^25 takes up to twice as long


@dataclass(frozen=True, eq=False)
class LinearFoldIn:
    """user = (history * item_scale) @ items * dim_scale: a linear autoencoder with one basis for both sides."""

    items: Matrix  # (n_items, dim)
    item_scale: npt.NDArray[np.float32]  # (n_items,)
    dim_scale: npt.NDArray[np.float32]  # (dim,)

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        rows = histories.indices
        scaled = histories.data * self.item_scale[rows]
        if histories.shape[0] == 1:  # a live request: two small gathers are faster than a sparse product
            return ((scaled @ self.items[rows]) * self.dim_scale)[None].astype(np.float32)
        cells = sp.csr_matrix((scaled, rows, histories.indptr), shape=histories.shape)
        return np.asarray((cells @ self.items) * self.dim_scale, dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        return "linear", {"item_scale": self.item_scale, "dim_scale": self.dim_scale}


@dataclass(frozen=True, eq=False)
class SumFoldIn:
    """Several fold-ins, one per block of dimensions: the sum of the scores of several models as one model.

    A block is scaled to unit length if its model uses cosine, and then multiplied by its scale.
    """

    parts: tuple[FoldIn, ...]
    ends: tuple[int, ...]  # where each block ends, the last at dim
    scales: npt.NDArray[np.float32]  # (n_parts,)
    is_unit: npt.NDArray[np.bool_]  # (n_parts,)

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        blocks = []
        for part, scale, is_unit in zip(self.parts, self.scales, self.is_unit, strict=True):
            block = part.vectors(histories)
            if is_unit:
                block = normalise_rows(block)
            blocks.append(block * scale)
        return np.concatenate(blocks, axis=1)

    def state(self) -> tuple[str, Arrays]:
        ends = np.array(self.ends, np.float32)  # exact in float32, as dimensions are far below 2^24
        arrays = {"ends": ends, "scales": self.scales, "is_unit": self.is_unit.astype(np.float32)}
        for row, part in enumerate(self.parts):
            name, own = part.state()
            arrays |= {f"{row}.{name}.{key}": array for key, array in own.items()}
        return "sum", arrays


@dataclass(frozen=True, eq=False)
class TwoTableFoldIn:
    """user = history @ inputs: a linear model with an input table that differs from the item vectors."""

    inputs: Matrix  # (n_items, dim)

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        if histories.shape[0] == 1:
            return (histories.data @ self.inputs[histories.indices])[None].astype(np.float32)
        return np.asarray(histories @ self.inputs, dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        return "two_tables", {"inputs": self.inputs}


@dataclass(frozen=True, eq=False)
class PerceptronFoldIn:
    """user = [perceptron(unit history), 1]; the constant 1 multiplies the item biases of a linear decoder.

    Layer i is `weight{i}` (n_in, n_out) and `bias{i}` (n_out,). The input is a (n_items,) history of unit length. A
    tanh follows each layer except those in `straight`, such as the mean of a variational encoder.
    """

    arrays: Arrays
    straight: tuple[int, ...]

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        if not self._is_known_item.all():
            histories = sp.csr_matrix(histories @ sp.diags(self._is_known_item.astype(np.float32)))
        norms = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=1))).ravel()
        unit_histories = sp.csr_matrix(sp.diags(1 / np.maximum(norms, 1e-12)) @ histories, dtype=np.float32)
        out = self._after_first_layer(np.asarray(unit_histories @ self.arrays["weight0"], dtype=np.float32))
        out[norms == 0] = 0
        return out

    def without_each(self, history: sp.csr_matrix) -> Matrix:
        """The vectors of one history, (1, n_items), with each of its cells left out in turn: (cells, dim)."""
        rows = history.indices
        weights = history.data * self._is_known_item[rows].astype(np.float64)
        cells = weights[:, None] * self.arrays["weight0"][rows]
        squares = weights * weights
        norms = np.sqrt(np.maximum(squares.sum() - squares, 0))
        remaining = (cells.sum(axis=0) - cells) / np.maximum(norms, 1e-12)[:, None]
        out = self._after_first_layer(remaining.astype(np.float32))
        out[norms == 0] = 0
        return out

    @cached_property
    def _is_known_item(self) -> npt.NDArray[np.bool_]:
        """(n_items,) whether the first layer has weights for an item; other items are ignored in a history."""
        return np.asarray(self.arrays["weight0"].any(axis=1))

    def _after_first_layer(self, value: Matrix) -> Matrix:
        """The rest of the network, from the product of the first layer: (n, width) -> (n, dim)."""
        value = value + self.arrays["bias0"]
        for layer in range(1, sum(name.startswith("weight") for name in self.arrays)):
            value = value if layer - 1 in self.straight else np.tanh(value)
            value = value @ self.arrays[f"weight{layer}"] + self.arrays[f"bias{layer}"]
        return np.concatenate([np.tanh(value), np.ones((len(value), 1), np.float32)], axis=1).astype(np.float32)

    def state(self) -> tuple[str, Arrays]:
        return "perceptron", {**self.arrays, "straight": np.array(self.straight, np.float32)}


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
        """Solve one system per user, in batches of users with similar numbers of cells."""
        out = np.zeros((histories.shape[0], self.items.shape[1]), np.float32)
        for rows, columns, weights in padded(histories, self.items.shape[1]):
            out[rows] = self._solve(columns, weights)
        return np.asarray(out @ self._turned[1].T, dtype=np.float32)

    def without_each(self, history: sp.csr_matrix) -> Matrix:
        """The vectors of one history, (1, n_items), with each of its cells left out in turn: (cells, dim).

        Leaving out a cell subtracts u u' from the system A; by Sherman and Morrison the solution becomes
        x + A^-1 u (u'x - r) / (1 - u'A^-1 u).
        """
        values, basis, turned = self._turned
        n = history.nnz
        if n < 2:
            return np.zeros((n, len(basis)), np.float32)
        roots = np.sqrt(history.data.astype(np.float64))
        vectors = turned[history.indices] * roots[:, None]
        reg = self.reg * (n - 1 + self.unobserved * len(self.items)) ** self.nu
        over = np.linalg.solve(vectors.T @ vectors + np.diag(values + reg), vectors.T).T
        whole = roots @ over
        change = (vectors @ whole - roots) / (1 - np.einsum("ij,ij->i", vectors, over))
        return np.asarray((whole + over * change[:, None]) @ basis.T, dtype=np.float32)

    @cached_property
    def _turned(self) -> tuple[npt.NDArray[np.float32], Matrix, Matrix]:
        """The Gram matrix's eigenvalues (dim,) and basis (dim, dim), and the items in that basis."""
        values, basis = np.linalg.eigh(self.gram.astype(np.float64))
        narrow = np.asarray(basis, dtype=np.float32)
        return np.maximum(values, 0).astype(np.float32), narrow, self.items @ narrow

    def _solve(self, columns: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]) -> Matrix:
        """Solve in the eigenbasis of the Gram matrix: (users, cells) -> (users, dim).

        (D + V'V)^-1 V'r = D^-1 V' (I + V D^-1 V')^-1 r, where the rows of V are scaled by the roots of their weights.
        With fewer cells than dimensions, the right-hand side is the smaller system.
        """
        values, _, turned = self._turned
        roots = np.sqrt(weights)
        vectors = turned[columns] * roots[:, :, None]  # padding has weight 0
        cells = np.count_nonzero(weights, axis=1)
        reg = (self.reg * (cells + self.unobserved * len(self.items)) ** self.nu).astype(np.float32)
        diagonal = values + reg[:, None]
        right = roots[:, :, None]
        if vectors.shape[1] < vectors.shape[2]:
            over = vectors / diagonal[:, None]
            left = over @ vectors.transpose(0, 2, 1) + np.eye(vectors.shape[1], dtype=np.float32)
            return np.asarray((np.linalg.solve(left, right).transpose(0, 2, 1) @ over)[:, 0], dtype=np.float32)
        left = vectors.transpose(0, 2, 1) @ vectors + diagonal[:, None] * np.eye(vectors.shape[2], dtype=np.float32)
        return np.asarray(np.linalg.solve(left, vectors.transpose(0, 2, 1) @ right)[:, :, 0], dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        options = np.array([self.reg, self.nu, self.unobserved], np.float32)
        return "least_squares", {"gram": self.gram, "options": options}


def padded(cells: sp.csr_matrix, dim: int, floats: int = 0) -> Iterator[Padded]:
    """Batches (rows, columns, weights) of the rows with cells; columns and weights are (rows, longest), zero-padded.

    Rows are sorted by their number of cells, which keeps the padding small. A batch has at most `floats` / dim cells;
    BATCH_FLOATS / dim if `floats` is 0.
    """
    floats = floats or BATCH_FLOATS
    lengths = np.diff(cells.indptr)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, min(len(order) - start, floats // (dim * (dim + int(lengths[order[start]])))))
        while size > 1 and size * (dim + int(lengths[order[start + size - 1]])) * dim > floats:
            size //= 2
        rows = order[start : start + size]
        filled = np.arange(lengths[rows[-1]]) < lengths[rows][:, None]
        where = (cells.indptr[rows][:, None] + np.arange(lengths[rows[-1]]))[filled]
        columns = np.zeros(filled.shape, np.int64)
        weights = np.zeros(filled.shape, np.float32)
        columns[filled], weights[filled] = cells.indices[where], cells.data[where]
        yield rows, columns, weights
        start += size


def restore(name: str, items: Matrix, arrays: Arrays) -> FoldIn:
    """Restore a fold-in from its `state()` (name, arrays) and the item matrix."""
    if name == "linear":
        return LinearFoldIn(items, arrays["item_scale"], arrays["dim_scale"])
    if name == "sum":
        return _restore_sum(items, arrays)
    if name == "two_tables":
        return TwoTableFoldIn(arrays["inputs"])
    if name == "perceptron":
        straight = tuple(int(layer) for layer in arrays["straight"])
        return PerceptronFoldIn({key: value for key, value in arrays.items() if key != "straight"}, straight)
    if name == dislikes.NAME:
        inner = next(key.split(".", 1)[0] for key in arrays if key != "weight")
        own = {key.split(".", 1)[1]: array for key, array in arrays.items() if key != "weight"}
        return FoldInWithDislikes(restore(inner, items, own), float(arrays["weight"][0]))
    if name == "least_squares":
        reg, nu, unobserved = (float(value) for value in arrays["options"])
        return LeastSquaresFoldIn(items, arrays["gram"], reg, nu, unobserved)
    raise ValueError(f"unknown fold-in {name!r}; expected one of `engine.latent_space.fold_in`")


def _restore_sum(items: Matrix, arrays: Arrays) -> SumFoldIn:
    ends = tuple(int(end) for end in arrays["ends"])
    parts = []
    for row, (start, end) in enumerate(zip((0, *ends[:-1]), ends, strict=True)):
        own = {tuple(key.split(".", 2)[1:]): array for key, array in arrays.items() if key.startswith(f"{row}.")}
        name = next(name for name, _ in own)
        parts.append(restore(name, items[:, start:end], {key: array for (_, key), array in own.items()}))
    return SumFoldIn(tuple(parts), ends, arrays["scales"], arrays["is_unit"] > 0)
