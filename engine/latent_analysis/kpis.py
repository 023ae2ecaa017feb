"""Figures of a codec: reconstruction error, compression, separation of groups, and latency."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.codec.encoder_decoder import NetworkCore, QuantisedCore
from engine.codec.feature_codec import FeatureCodec
from engine.values.features import Features
from engine.values.vectors import Matrix

SAMPLE = 1500  # records for the figures that compare all pairs
NEIGHBOURS = 10
CLUSTERS = 8  # of k-means, where there are no labels
REPEATS = 200
ACTIVE = 0.01  # variance of a latent mean above which a unit counts as used (Burda et al. 2016)


def measure(codec: FeatureCodec, features: Features, learnt: Features, *, seed: int = 0) -> dict[str, Any]:
    """The figures stored with a model version: errors over the training records, separation over all records."""
    prepared = codec.preprocessing.apply(learnt.values)
    latent = codec.core.encode(prepared)
    squared = (prepared - codec.core.decode(latent)) ** 2
    error, variance = float(squared.mean()), float(prepared.var(axis=0).mean())
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:SAMPLE])
    before = codec.preprocessing.apply(features.values[rows])
    after = codec.core.encode(before)
    groups, by = _groups(after, features, rows, seed)
    p50, p99 = latency_ms(codec, features)
    return {
        "reconstruction_error": error,
        "explained_variance": 1 - error / max(variance, 1e-30),
        "reduction_ratio": prepared.shape[1] / codec.dim,
        "silhouette": silhouette(after, groups),
        "silhouette_by": by,
        "trustworthiness": trustworthiness(before, after),
        "encode_ms_p50": p50,
        "encode_ms_p99": p99,
        "records": len(features),
        "columns": len(features.columns),
        "dim": codec.dim,
        **_of_core(codec, prepared, latent),
    }


def silhouette(points: Matrix, groups: npt.NDArray[np.int64]) -> float | None:
    """Mean of (b - a) / max(a, b) over points (Rousseeuw 1987), -1 to 1; None with fewer than two groups."""
    names, member = np.unique(groups, return_inverse=True)
    if not 2 <= len(names) < len(points):
        return None
    apart = _distances(points)
    sizes = np.bincount(member)
    sums = np.stack([apart[:, member == group].sum(axis=1) for group in range(len(names))], axis=1)
    own = sums[np.arange(len(points)), member] / np.maximum(sizes[member] - 1, 1)
    means = sums / sizes
    means[np.arange(len(points)), member] = np.inf
    other = means.min(axis=1)
    scores = np.where(sizes[member] > 1, (other - own) / np.maximum(np.maximum(own, other), 1e-30), 0)
    return float(scores.mean())


def trustworthiness(before: Matrix, after: Matrix, k: int = NEIGHBOURS) -> float | None:
    """Share of neighbours after encoding that were neighbours before (Venna and Kaski 2001), 0 to 1; None: too few."""
    n = len(before)
    if n < 2 * k + 2:
        return None
    ranks = np.empty((n, n), np.int64)
    order = np.argsort(_distances(before, own=np.inf), axis=1, kind="stable")
    ranks[np.arange(n)[:, None], order] = np.arange(1, n + 1)
    near = np.argsort(_distances(after, own=np.inf), axis=1, kind="stable")[:, :k]
    excess = np.maximum(ranks[np.arange(n)[:, None], near] - k, 0).sum()
    return float(1 - excess * 2 / (n * k * (2 * n - 3 * k - 1)))


def latency_ms(codec: FeatureCodec, features: Features) -> tuple[float, float]:
    """p50 and p99 of encoding one record."""
    took = []
    for at in range(REPEATS):
        row = features.values[at % len(features)][None]
        started = time.perf_counter()
        codec.encode(row)
        took.append((time.perf_counter() - started) * 1000)
    p50, p99 = np.percentile(took, [50, 99])
    return round(float(p50), 4), round(float(p99), 4)


def _groups(
    latent: Matrix, features: Features, rows: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.int64], str]:
    """The group of each sampled record: its label, or its k-means cluster."""
    from scipy.cluster.vq import kmeans2  # imported here: it takes 0.2 s, which other commands save

    if features.labels is not None and len({features.labels[row] for row in rows} - {None}) > 1:
        return _codes([features.labels[row] for row in rows]), "label"
    count = min(CLUSTERS, max(2, len(latent) // 4))
    if len(np.unique(latent, axis=0)) <= count:
        return np.zeros(len(latent), np.int64), "none"
    draw = np.random.default_rng(seed)
    start = latent[draw.permutation(len(latent))[:count]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")  # fewer groups are groups as well
        _, groups = kmeans2(latent.astype(np.float64), start, minit="matrix", missing="warn")
    return groups.astype(np.int64), f"{count}-means"


def _codes(labels: Sequence[str | None]) -> npt.NDArray[np.int64]:
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return np.array([places[label] for label in labels], np.int64)


def _of_core(codec: FeatureCodec, prepared: Matrix, latent: Matrix) -> dict[str, Any]:
    """The figures that only some kinds of model have."""
    core = codec.core
    if isinstance(core, NetworkCore) and core.kl is not None:
        return {
            "kl_per_dimension": [round(float(each), 5) for each in core.kl],
            "active_units": int((latent.var(axis=0) > ACTIVE).sum()),
        }
    if isinstance(core, QuantisedCore):
        codes = core.codes(prepared)
        shares = [np.bincount(slot, minlength=core.codebook.shape[1]) / len(codes) for slot in codes.T]
        entropy = [-(share[share > 0] * np.log(share[share > 0])).sum() for share in shares]
        return {
            "codebook_use": float(np.mean([(share > 0).mean() for share in shares])),
            "codebook_perplexity": float(np.mean(np.exp(entropy))),
        }
    return {}


def _distances(points: Matrix, own: float = 0.0) -> npt.NDArray[np.float64]:
    wide = points.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0))
    np.fill_diagonal(apart, own)
    return apart
