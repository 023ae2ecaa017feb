"""pca: principal components in closed form, exact for narrow records, randomised for wide ones, batch by batch.

The components are the eigenvectors of the covariance, which one pass over batches computes. Wide records use a few
passes of a randomised range finder instead. Both read a memory-mapped matrix block by block, so it may be larger than
memory. Signs follow scikit-learn (svd_flip); the vectors agree with its PCA to 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy.linalg

from engine.codec.encoder_decoder import LinearCore
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix

EXACT_WIDTH = 1500  # columns up to which the width x width covariance is cheaper than randomised passes
BATCH_CELLS = 2**19  # a batch that fits into the cache while it is centred and multiplied
OVERSAMPLING, ITERATIONS = 20, 6  # Halko et al. 2011; scikit-learn uses 10 and 4 to 7
VARIANCE_KEPT = 0.99  # by the default dimension; anomalies often show where records vary least
MAX_DEFAULT_DIM = 64


@dataclass(frozen=True)
class PCA:
    name: ClassVar[str] = "pca"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True, gpu=False)

    dim: int = 0  # 0: as many as keep 99% of the variance, at most 64

    def __post_init__(self) -> None:
        if self.dim < 0:
            raise InputError("pca: dim cannot be negative", loc=("dim",))

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> LinearCore:
        """The core of (n, width) float32 records, in memory or memory-mapped, computed on the CPU.

        Raises InputError for more dimensions than columns or records, DeviceUnavailable for a missing GPU.
        """
        if device != "cpu":
            # imported here, because pca needs torch for nothing else
            from engine.embedders.training.device import torch_device

            torch_device(device)
        n, width = prepared.shape
        check_dim(self.name, self.dim, n, width)
        if width > EXACT_WIDTH and width > 3 * (self.dim or MAX_DEFAULT_DIM):
            return self._randomised(prepared, seed, progress)
        if width > 2 * n:
            return self._from_rows(prepared)
        return self.fit_batches(_batches(prepared, progress, "covariance"), width)

    def fit_batches(self, batches: Iterable[Matrix], width: int) -> LinearCore:
        """The core of records from an iterable of (n, width) batches, which are never all in memory.

        One pass in the memory of one batch and two width x width matrices. The covariance is summed in float64 around
        the mean of the first rows, so that large means lose no precision.
        """
        n, total, gram = 0, np.zeros(width), np.zeros((width, width))
        buffer = np.empty((_rows_per_batch(width), width), np.float32)
        ones = np.ones(len(buffer), np.float32)
        offset: npt.NDArray | None = None
        for part in _split_batches(batches, width):
            if offset is None:
                offset = part.mean(axis=0, dtype=np.float64).astype(np.result_type(part.dtype, np.float32))
            centred = np.subtract(part, offset, out=buffer[: len(part)], casting="same_kind")
            n += len(part)
            total += ones[: len(part)] @ centred
            gram += centred.T @ centred
        if offset is None or n < 2:
            raise InputError(f"expected at least 2 records to learn from, got {n}")
        check_dim(self.name, self.dim, n, width)
        shift = total / n
        covariance = (gram - n * np.outer(shift, shift)) / (n - 1)
        variances, vectors = _leading_eigenvectors(covariance, self.dim, min(n - 1, width))
        return _linear_core(offset + shift, vectors.T, variances, self.dim, float(np.trace(covariance)))

    def _from_rows(self, prepared: Matrix) -> LinearCore:
        """The exact singular vectors, for fewer records than columns."""
        mean = prepared.mean(axis=0, dtype=np.float64)
        _, singular, right = scipy.linalg.svd(prepared - mean, full_matrices=False)
        variances = singular**2 / (len(prepared) - 1)
        return _linear_core(mean, right, variances, self.dim, float(variances.sum()))

    def _randomised(self, prepared: Matrix, seed: int, progress: Progress) -> LinearCore:
        """Randomised components (Halko, Martinsson and Tropp 2011), each pass block by block."""
        dim = self.dim or min(MAX_DEFAULT_DIM, *prepared.shape)
        mean, total = _mean_and_variance(_batches(prepared))
        basis = np.random.default_rng(seed).standard_normal((prepared.shape[1], dim + OVERSAMPLING), np.float32)
        for turn in range(ITERATIONS):
            progress(f"pass {turn + 1} of {ITERATIONS}", turn / ITERATIONS)
            left, _ = np.linalg.qr(_project(prepared, mean, basis))
            basis, _ = np.linalg.qr(_transposed_product(prepared, mean, left))
        _, singular, right = np.linalg.svd(_project(prepared, mean, basis), full_matrices=False)
        components = (right @ basis.T)[:dim]
        return _linear_core(mean, components, singular[:dim] ** 2 / (len(prepared) - 1), self.dim, total)


def check_dim(name: str, dim: int, n: int, width: int) -> None:
    if dim > width:
        raise InputError(
            f"{name}: expected at most {width} dimensions, one per prepared column, got {dim}", loc=("dim",)
        )
    if dim > n - 1:
        raise InputError(f"{name}: {n} records span at most {n - 1} dimensions, got {dim}", loc=("dim",))


def _split_batches(batches: Iterable[Matrix], width: int) -> Iterator[Matrix]:
    """The rows of `batches` in batches of limited size; InputError for another number of columns."""
    for batch in batches:
        if batch.ndim != 2 or batch.shape[1] != width:
            raise InputError(f"pca: expected batches of {width} columns, got shape {batch.shape}")
        yield from _batches(batch)


def _rows_per_batch(width: int) -> int:
    return max(64, BATCH_CELLS // width)


def _batches(prepared: Matrix, progress: Progress = no_progress, what: str = "") -> Iterator[Matrix]:
    rows = _rows_per_batch(prepared.shape[1])
    for start in range(0, len(prepared), rows):
        progress(what, start / len(prepared))
        yield prepared[start : start + rows]


def _mean_and_variance(batches: Iterable[Matrix]) -> tuple[Matrix, float]:
    """The mean, (width,), and the variance summed over the columns."""
    n, total, squares = 0, np.zeros(1), 0.0
    offset: Matrix | None = None
    for batch in batches:
        offset = batch.mean(axis=0) if offset is None else offset
        centred = batch - offset
        n, total = n + len(batch), total + centred.sum(axis=0, dtype=np.float64)
        squares += float(np.einsum("ij,ij->i", centred, centred).sum(dtype=np.float64))
    if offset is None:
        raise InputError("expected at least 2 records to learn from, got 0")
    shift = total / n
    return (offset + shift).astype(np.float32), (squares - n * float(shift @ shift)) / (n - 1)


def _project(prepared: Matrix, mean: Matrix, basis: Matrix) -> Matrix:
    """(prepared - mean) @ basis."""
    return np.concatenate([batch @ basis for batch in _batches(prepared)]) - mean @ basis


def _transposed_product(prepared: Matrix, mean: Matrix, left: Matrix) -> Matrix:
    """(prepared - mean).T @ left."""
    out, at = np.zeros((prepared.shape[1], left.shape[1]), np.float32), 0
    for batch in _batches(prepared):
        out += batch.T @ left[at : at + len(batch)]
        at += len(batch)
    return out - np.outer(mean, left.sum(axis=0))


def _leading_eigenvectors(covariance: npt.NDArray[np.float64], dim: int, rank: int) -> tuple[npt.NDArray, npt.NDArray]:
    """The wanted eigenvalues, largest first, and their eigenvectors as columns."""
    width = len(covariance)
    wanted = min(dim or MAX_DEFAULT_DIM, rank)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[width - wanted, width - 1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _linear_core(
    mean: npt.NDArray, components: npt.NDArray, variances: npt.NDArray, dim: int, total: float
) -> LinearCore:
    if not dim:
        kept = np.cumsum(variances) / max(total, 1e-300)
        dim = min(int(np.searchsorted(kept, VARIANCE_KEPT)) + 1, len(variances))
    components = components[:dim]
    signs = np.sign(components[np.arange(dim), np.abs(components).argmax(axis=1)])
    return LinearCore(
        mean.astype(np.float32), (components * signs[:, None]).astype(np.float32), variances[:dim].astype(np.float32)
    )
