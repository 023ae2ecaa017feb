"""Projection of vectors to two dimensions. The libraries of the extra `map` are imported on first use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from engine.errors import InputError, NotEnoughData
from engine.values.vectors import Matrix

LEAST = 10  # vectors; fewer make no map
Points = npt.NDArray[np.float64]
FIRST = 50  # principal components as input of t-SNE and UMAP; further ones are mostly noise and cost time


def to_2d(matrix: Matrix, method: str = "pca", *, seed: int = 0) -> Points:
    """(n, dim) -> (n, 2) by pca, tsne or umap. The same seed gives the same map.

    pca keeps large distances, tsne and umap keep neighbours (van der Maaten and Hinton 2008; McInnes et al. 2018).
    """
    if method not in METHODS:
        raise InputError(f"expected a method of {', '.join(METHODS)}, got {method!r}", loc=("method",))
    if len(matrix) < LEAST:
        raise NotEnoughData(f"expected at least {LEAST} vectors to draw a map of, got {len(matrix)}")
    wide = matrix.astype(np.float64)
    wide -= wide.mean(axis=0)
    _, _, axes = np.linalg.svd(wide, full_matrices=False)
    main = wide @ axes[:FIRST].T
    return np.asarray(METHODS[method](main, seed), dtype=np.float64)


def _pca(main: np.ndarray, seed: int) -> np.ndarray:
    return main[:, :2] if main.shape[1] > 1 else np.concatenate([main, np.zeros_like(main)], axis=1)


def _tsne(main: np.ndarray, seed: int) -> np.ndarray:
    try:
        from openTSNE import TSNE
    except ImportError:
        raise InputError("tsne needs openTSNE: install the extra `map`, or take --method pca") from None
    perplexity = min(30, (len(main) - 1) / 3)  # n_jobs=1: its threads busy-wait, 4 times slower on a busy machine
    return np.asarray(TSNE(perplexity=perplexity, random_state=seed, n_jobs=1).fit(main))


def _umap(main: np.ndarray, seed: int) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # umap warns if TensorFlow is missing
            from umap import UMAP
    except ImportError:
        raise InputError("umap needs umap-learn: install the extra `map`, or take --method pca") from None
    neighbours = min(15, len(main) - 1)
    return np.asarray(UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(main))


METHODS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {"pca": _pca, "tsne": _tsne, "umap": _umap}
