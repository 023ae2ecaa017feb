"""Drift: whether the distribution of recent records differs from that of the training records."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov

from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError, NotEnoughData
from engine.latent_analysis.reconstruction import reconstruct
from engine.values.features import Values
from engine.values.lenient_records import LenientRecords

BINS = 10  # of the population stability index, each a tenth of the training records
ALERT = 0.2  # usual PSI threshold of a large shift
SURE = 0.01  # significance level over all tests together (Bonferroni)
LEAST = 50  # records; fewer do not estimate a distribution
FLOOR = 1e-4  # lower bound of a share, so that the logarithm of an empty bin exists

NAMED = 5  # unseen values of a column, in a report

Sample = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


def measure(codec: FeatureCodec, given: Values | LenientRecords, *, alert: float = ALERT) -> dict[str, Any]:
    """PSI and Kolmogorov-Smirnov distance of the reconstruction error, each latent dimension, and unread cells.

    Unread cells of a column are missing ones, and unseen ones, whose values no training record had (listed in
    `unseen`). `alert` is true if a PSI is above the threshold and significant over all tests together. Raises
    NotEnoughData for fewer than 50 records.
    """
    readings = given if isinstance(given, LenientRecords) else LenientRecords(codec.columns, given)
    values = readings.values
    if not alert > 0:
        raise InputError(f"expected a threshold above 0, got {alert:g}", loc=("threshold",))
    if len(values) < LEAST:
        raise NotEnoughData(f"expected at least {LEAST} recent records to compare, got {len(values)}")
    unseen = codec.preprocessing.unseen(values) | codec.preprocessing.changed_constants(values)
    read = np.where(unseen, np.nan, values)
    _, errors = reconstruct(codec, read)
    latents = codec.encode(read)
    named: list[tuple[str, Sample, Sample]] = [("reconstruction_error", codec.normal.errors, errors)]
    named += [(f"latent.{at}", codec.normal.latents[:, at], latents[:, at]) for at in range(codec.dim)]
    rows: list[dict[str, Any]] = [
        {"of": name, "psi": round(psi(before, after), 5), "ks": round(ks(before, after), 5)}
        | {"p": float(kolmogorov(ks(before, after) * np.sqrt(len(after))))}
        for name, before, after in named
    ]
    rows += _unread(codec, np.isnan(values), unseen)
    moved = [row["of"] for row in rows if row["psi"] > alert and row["p"] * len(rows) < SURE]
    return {
        "records": len(values),
        "psi": max(row["psi"] for row in rows),
        "ks": max(row["ks"] for row in rows),
        "mean_error": float(np.mean(errors)),
        "threshold": alert,
        "alert": bool(moved),
        "moved": moved,
        "unseen": _unseen(readings, unseen),
        "records_with_nothing_read": int(np.isnan(read).all(axis=1).sum()),
        "distributions": rows,
    }


def _unread(codec: FeatureCodec, missing: Flags, unseen: Flags) -> list[dict[str, Any]]:
    """A row for each column with unseen or missing cells: their share against that in training."""
    n, learnt = len(missing), len(codec.normal.memory)  # lower bound of the number of training records
    before = codec.preprocessing.missing
    rows = []
    for at, column in enumerate(codec.columns):
        if unseen[:, at].any():
            rows.append(_shares(f"unseen.{column.name}", 0.0, float(unseen[:, at].mean()), learnt, n))
        if before is not None and missing[:, at].any():
            rows.append(_shares(f"missing.{column.name}", float(before[at]), float(missing[:, at].mean()), learnt, n))
    return rows


def _shares(name: str, before: float, after: float, n_before: int, n_after: int) -> dict[str, Any]:
    """The drift figures of a share of the records, as a distribution with two bins."""
    expected, got = (np.maximum(np.array([each, 1 - each]), FLOOR) for each in (before, after))
    if before == 0:  # probability that all such cells are among the recent records if each record is equally likely
        p = (n_after / (n_before + n_after)) ** round(after * n_after)
    else:
        pooled = (before * n_before + after * n_after) / (n_before + n_after)
        spread = math.sqrt(max(pooled * (1 - pooled) * (1 / n_before + 1 / n_after), 1e-300))
        p = math.erfc(abs(after - before) / spread / math.sqrt(2))
    moved = float(((got - expected) * np.log(got / expected)).sum())
    return {"of": name, "psi": round(moved, 5), "ks": round(abs(after - before), 5), "p": p}


def _unseen(readings: LenientRecords, unseen: Flags) -> dict[str, dict[str, int]]:
    """column -> the most frequent unseen values with their counts."""
    counts_of = {}
    for at in np.flatnonzero(unseen.any(axis=0)).tolist():
        counts = Counter(readings.cell_text(row, at) for row in np.flatnonzero(unseen[:, at]).tolist())
        counts_of[readings.columns[at].name] = dict(counts.most_common(NAMED))
    return counts_of


def psi(quantiles: Sample, recent: Sample) -> float:
    """Population stability index of a sample against equally spaced quantiles of another; 0 for equal distributions."""
    edges = np.unique(np.quantile(quantiles, np.linspace(0, 1, BINS + 1)[1:-1]))
    expected, observed = (
        np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (quantiles, recent)
    )
    p, q = (np.maximum(counts / counts.sum(), FLOOR) for counts in (expected, observed))
    return float(((q - p) * np.log(q / p)).sum())


def ks(quantiles: Sample, recent: Sample) -> float:
    """Kolmogorov-Smirnov distance, 0 to 1, minus the error that the spacing of the quantiles may add."""
    before, after = np.sort(quantiles), np.sort(recent)
    at = np.concatenate([before, after])
    apart = np.searchsorted(before, at, side="right") / len(before) - np.searchsorted(after, at, side="right") / len(
        after
    )
    return max(float(np.abs(apart).max()) - 1 / len(before), 0.0)
