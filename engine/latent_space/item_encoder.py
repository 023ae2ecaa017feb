"""ItemEncoder: predicts the vector of a new item from its title, categories, attributes and feature record.

A ridge regression in closed form from catalogue features to learned vectors (Gantner et al. 2010,
"Learning attribute-to-feature mappings for cold-start recommendations", in its linear form).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.catalogue.comparable_values import comparables
from engine.catalogue.predicate import PREFIX, ItemFields
from engine.values.vectors import Matrix

MAX_ROWS = 50_000  # a sample is enough for as many features
MAX_FEATURES = 1024
MIN_ITEMS = 20
RIDGES = (0.1, 1.0, 10.0, 100.0)
WORD = re.compile(r"\w+")
MAX_WORD = 60
MEASURED = "features."  # prefix of fields that come from the feature record of an item
FeatureValues = list[tuple[str, float | None]]


@dataclass(frozen=True, eq=False)
class ItemEncoder:
    """vector = mean + features @ weights; a number feature is (log value - centre) / scale."""

    features: tuple[str, ...]
    centre: npt.NDArray[np.float32]  # (n_features,), 0 for words
    scale: npt.NDArray[np.float32]  # (n_features,), 1 for words
    weights: Matrix  # (n_features, dim)
    mean: npt.NDArray[np.float32]  # (dim,)
    explained: float  # share of explained variance on held-out items; at most 1

    def encode(self, items: Sequence[ItemFields]) -> Matrix:
        """(n, dim) float32; a zero row for an item without known features."""
        column_of = {name: column for column, name in enumerate(self.features)}
        cells = _cells(map(item_features, items), column_of, self.centre, self.scale)
        known = np.diff(cells.indptr) > 0
        vectors = np.asarray(cells @ self.weights, dtype=np.float32) + self.mean
        return np.where(known[:, None], vectors, np.float32(0))

    def state(self) -> Mapping[str, npt.NDArray]:
        """The arrays that `restore` reads. Names are joined by NUL, which no text contains."""
        names = np.frombuffer("\x00".join(self.features).encode(), np.uint8)
        numbers = np.array([self.explained], np.float32)
        arrays = {"centre": self.centre, "scale": self.scale, "weights": self.weights, "mean": self.mean}
        return {**arrays, "names": names, "explained": numbers}


def restore(arrays: Mapping[str, npt.NDArray]) -> ItemEncoder:
    names = tuple(arrays["names"].tobytes().decode().split("\x00"))
    explained = float(arrays["explained"][0])
    return ItemEncoder(names, arrays["centre"], arrays["scale"], arrays["weights"], arrays["mean"], explained)


def learn(items: Sequence[ItemFields], vectors: Matrix, *, seed: int = 0) -> ItemEncoder | None:
    """Fit to items and their (n, dim) vectors; None if the features predict no better than the mean vector.

    The ridge is the best of four on a held-out tenth of the items.
    """
    if len(items) < MIN_ITEMS:
        return None
    features = [item_features(item) for item in items]
    names, centre, scale = _vocabulary(features)
    if not names:
        return None
    cells = _cells(features, {name: column for column, name in enumerate(names)}, centre, scale).astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(items))
    held_out, used = order[: max(2, len(order) // 10)], order[max(2, len(order) // 10) :]
    targets = vectors.astype(np.float64)
    scores = [
        _explained(_solve(cells[used], targets[used], ridge), cells[held_out], targets[held_out]) for ridge in RIDGES
    ]
    best = int(np.argmax(scores))
    if scores[best] <= 0:
        return None
    weights, mean = _solve(cells, targets, RIDGES[best])
    return ItemEncoder(names, centre, scale, weights.astype(np.float32), mean.astype(np.float32), scores[best])


def item_features(item: ItemFields) -> FeatureValues:
    """The features of an item: words as (name, None), numbers as (name, log value), measured numbers unchanged."""
    features: dict[str, float | None] = {}
    for category in item.get("categories") or ():  # type: ignore[attr-defined]
        features[f"category {category}"] = None
    for word in WORD.findall(str(item.get("title") or "").lower()):
        features[f"title {word[:MAX_WORD]}"] = None
    for field, value in item.items():
        if field.startswith(MEASURED):
            is_number = isinstance(value, int | float)
            features[field if is_number else f"{field} {value}"] = float(value) if is_number else None  # type: ignore[arg-type]
        if not field.startswith(PREFIX):
            continue
        for kind, each in comparables(value):
            if kind == "number":
                features[f"number {field}"] = float(np.sign(each) * np.log1p(abs(float(each))))
            elif kind in ("text", "texts", "bool") and len(str(each)) <= MAX_WORD:
                features[f"{field} {each}"] = None
    return list(features.items())


def _vocabulary(
    items: Iterable[FeatureValues],
) -> tuple[tuple[str, ...], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The most frequent features with centre and scale; features of a single item are left out."""
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    squares: Counter[str] = Counter()
    for item in items:
        for name, value in item:
            counts[name] += 1
            if value is not None:
                sums[name] += value  # type: ignore[assignment]
                squares[name] += value * value  # type: ignore[assignment]
    names = tuple(name for name, n in counts.most_common(MAX_FEATURES) if n > 1)
    mean = np.array([sums[name] / counts[name] for name in names], np.float64)
    spread = np.array([squares[name] / counts[name] for name in names], np.float64) - mean**2
    return (
        names,
        mean.astype(np.float32),
        np.where(spread > 1e-9, np.sqrt(np.maximum(spread, 1e-9)), 1).astype(np.float32),
    )


def _cells(
    items: Iterable[FeatureValues],
    column_of: Mapping[str, int],
    centre: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
) -> sp.csr_matrix:
    """(n_items, n_features) float32."""
    columns: list[int] = []
    values: list[float] = []
    indptr = [0]
    for item in items:
        for name, value in item:
            column = column_of.get(name)
            if column is not None:
                columns.append(column)
                values.append(1.0 if value is None else (value - float(centre[column])) / float(scale[column]))
        indptr.append(len(columns))
    shape = (len(indptr) - 1, len(column_of))
    return sp.csr_matrix((np.array(values, np.float32), np.array(columns, np.int64), np.array(indptr)), shape=shape)


Solved = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _solve(cells: sp.csr_matrix, targets: npt.NDArray[np.float64], ridge: float) -> Solved:
    mean = targets.mean(axis=0)
    gram = (cells.T @ cells).toarray()
    gram[np.diag_indices_from(gram)] += ridge
    return np.linalg.solve(gram, np.asarray(cells.T @ (targets - mean))), mean


def _explained(solved: Solved, cells: sp.csr_matrix, targets: npt.NDArray[np.float64]) -> float:
    weights, mean = solved
    left = float(((targets - mean - cells @ weights) ** 2).sum())
    return 1 - left / max(float(((targets - mean) ** 2).sum()), 1e-12)
