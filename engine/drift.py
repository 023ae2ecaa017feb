"""Drift: whether recent records still look like those a model was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov

from engine.codec import FeatureCodec
from engine.errors import InputError, NotEnoughData
from engine.features import Values
from engine.latent import reconstruct

BINS = 10  # of the population stability index, each a tenth of the training records
ALERT = 0.2  # where a shift is usually called large
SURE = 0.01  # of all the tests together: below it, chance is no explanation
LEAST = 50  # records; fewer say nothing about a distribution
FLOOR = 1e-4  # of a share, so that an empty bin has a logarithm

Sample = npt.NDArray[np.floating]


def measure(codec: FeatureCodec, values: Values, *, alert: float = ALERT) -> dict[str, Any]:
    """PSI and Kolmogorov-Smirnov distance of the reconstruction error and of each latent dimension.

    `alert` is true when a PSI is above the threshold and chance does not explain it, over all the dimensions together.
    Raises NotEnoughData for fewer than 50 records.
    """
    if not alert > 0:
        raise InputError(f"expected a threshold above 0, got {alert:g}", loc=("threshold",))
    if len(values) < LEAST:
        raise NotEnoughData(f"expected at least {LEAST} recent records to compare, got {len(values)}")
    _, errors = reconstruct(codec, values)
    latents = codec.encode(values)
    named: list[tuple[str, Sample, Sample]] = [("reconstruction_error", codec.normal.errors, errors)]
    named += [(f"latent.{at}", codec.normal.latents[:, at], latents[:, at]) for at in range(codec.dim)]
    rows: list[dict[str, Any]] = [
        {"of": name, "psi": round(psi(before, after), 5), "ks": round(ks(before, after), 5)}
        | {"p": float(kolmogorov(ks(before, after) * np.sqrt(len(after))))}
        for name, before, after in named
    ]
    moved = [row["of"] for row in rows if row["psi"] > alert and row["p"] * len(rows) < SURE]
    return {
        "records": len(values),
        "psi": max(row["psi"] for row in rows),
        "ks": max(row["ks"] for row in rows),
        "mean_error": float(np.mean(errors)),
        "threshold": alert,
        "alert": bool(moved),
        "moved": moved,
        "distributions": rows,
    }


def psi(quantiles: Sample, recent: Sample) -> float:
    """Population stability index of a sample against equally spaced quantiles of another, 0 for the same."""
    edges = np.unique(np.quantile(quantiles, np.linspace(0, 1, BINS + 1)[1:-1]))
    expected, found = (
        np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (quantiles, recent)
    )
    p, q = (np.maximum(counts / counts.sum(), FLOOR) for counts in (expected, found))
    return float(((q - p) * np.log(q / p)).sum())


def ks(quantiles: Sample, recent: Sample) -> float:
    """Largest distance between the two distributions, 0 to 1, less what the spacing of the quantiles may make up."""
    before, after = np.sort(quantiles), np.sort(recent)
    at = np.concatenate([before, after])
    apart = np.searchsorted(before, at, side="right") / len(before) - np.searchsorted(after, at, side="right") / len(
        after
    )
    return max(float(np.abs(apart).max()) - 1 / len(before), 0.0)
