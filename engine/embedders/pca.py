"""pca: principal components in closed form, exact for narrow data, randomised for wide, batch by batch for long.

The covariance of n x width records costs one pass over batches whatever their number; its eigenvectors are the
components. Signs follow scikit-learn (svd_flip), so that the vectors agree with its PCA to 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy.linalg

from engine.cores import LinearCore
from engine.embedders.progress import Progress, silent
from engine.errors import InputError
from engine.vectors import Matrix

EXACT_WIDTH = 1500  # up to here the width x width covariance is cheaper than a randomised pass
BATCH = 8192
OVERSAMPLING, ITERATIONS = 20, 6  # Halko et al. 2011; scikit-learn takes 10 and 4 to 7
SHARE = (
    0.99  # of the variance that the default dimension keeps; 0.95 loses rare ways to be odd (mean AUC .923 for .935)
)
MOST = 64


@dataclass(frozen=True)
class PCA:
    name: ClassVar[str] = "pca"

    dim: int = 0  # 0: what keeps 99% of the variance, at most 64

    def __post_init__(self) -> None:
        if self.dim < 0:
            raise InputError("pca: dim cannot be negative", loc=("dim",))

    def fit(self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = silent) -> LinearCore:
        """The core of (n, width) float32 records. InputError for more dimensions than columns or records."""
        n, width = prepared.shape
        check_dim(self.name, self.dim, n, width)
        if width > EXACT_WIDTH and width > 3 * (self.dim or MOST):
            return self._randomised(prepared, seed)
        if width > 2 * n:
            return self._from_rows(prepared)
        return self.fit_batches(_batches(prepared), width, progress=progress)

    def fit_batches(self, batches: Iterable[Matrix], width: int, *, progress: Progress = silent) -> LinearCore:
        """The core of records that come in (n, width) float32 batches and are never all in memory.

        One pass; the covariance is summed in float64 about the mean of the first batch, so large means lose nothing.
        """
        n, total, gram = 0, np.zeros(width), np.zeros((width, width))
        offset: Matrix | None = None
        for batch in batches:
            if offset is None:
                offset = batch.mean(axis=0, dtype=np.float64).astype(np.float32)
            centred = batch - offset
            n += len(batch)
            total += centred.sum(axis=0, dtype=np.float64)
            gram += centred.T @ centred
            progress("covariance", 0.5)
        if offset is None or n < 2:
            raise InputError(f"expected at least 2 records to learn from, got {n}")
        check_dim(self.name, self.dim, n, width)
        shift = total / n
        covariance = (gram - n * np.outer(shift, shift)) / (n - 1)
        variances, vectors = _leading(covariance, self.dim, min(n - 1, width))
        return _core(offset + shift, vectors.T, variances, self.dim, float(np.trace(covariance)))

    def _from_rows(self, prepared: Matrix) -> LinearCore:
        """Few wide records: the exact singular vectors."""
        mean = prepared.mean(axis=0, dtype=np.float64)
        _, singular, right = scipy.linalg.svd(prepared - mean, full_matrices=False)
        variances = singular**2 / (len(prepared) - 1)
        return _core(mean, right, variances, self.dim, float(variances.sum()))

    def _randomised(self, prepared: Matrix, seed: int) -> LinearCore:
        dim = self.dim or min(MOST, *prepared.shape)
        mean = prepared.mean(axis=0, dtype=np.float64).astype(np.float32)
        basis = np.random.default_rng(seed).standard_normal((prepared.shape[1], dim + OVERSAMPLING), np.float32)
        for _ in range(ITERATIONS):
            left, _ = np.linalg.qr(prepared @ basis - mean @ basis)
            basis, _ = np.linalg.qr(prepared.T @ left - np.outer(mean, left.sum(axis=0)))
        _, singular, right = np.linalg.svd(prepared @ basis - mean @ basis, full_matrices=False)
        components = (right @ basis.T)[:dim]
        total = float(prepared.var(axis=0, dtype=np.float64).sum()) * len(prepared) / (len(prepared) - 1)
        return _core(mean, components, singular[:dim] ** 2 / (len(prepared) - 1), self.dim, total)


def check_dim(name: str, dim: int, n: int, width: int) -> None:
    if dim > width:
        raise InputError(
            f"{name}: expected at most {width} dimensions, one per prepared column, got {dim}", loc=("dim",)
        )
    if dim > n - 1:
        raise InputError(f"{name}: {n} records span at most {n - 1} dimensions, got {dim}", loc=("dim",))


def _batches(prepared: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(prepared), BATCH):
        yield prepared[start : start + BATCH]


def _leading(covariance: npt.NDArray[np.float64], dim: int, rank: int) -> tuple[npt.NDArray, npt.NDArray]:
    """Eigenvalues, largest first, and their vectors as columns; only as many as are wanted."""
    width = len(covariance)
    wanted = min(dim or MOST, rank)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[width - wanted, width - 1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _core(mean: npt.NDArray, components: npt.NDArray, variances: npt.NDArray, dim: int, total: float) -> LinearCore:
    if not dim:
        kept = np.cumsum(variances) / max(total, 1e-300)
        dim = min(int(np.searchsorted(kept, SHARE)) + 1, len(variances))
    components = components[:dim]
    signs = np.sign(components[np.arange(dim), np.abs(components).argmax(axis=1)])
    return LinearCore(
        mean.astype(np.float32), (components * signs[:, None]).astype(np.float32), variances[:dim].astype(np.float32)
    )
