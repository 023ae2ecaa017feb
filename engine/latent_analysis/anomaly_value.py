"""The value of anomaly detection on labelled records: recall, precision, and saved reviews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.codec.feature_codec import FeatureCodec
from engine.latent_analysis.anomalies import FALSE_ALARM_RATE, anomalies
from engine.values.features import Features, align_columns

MOST = 10_000  # records scored; more cost time and change the figures little

Flags = npt.NDArray[np.bool_]


def bad_records(labels: Sequence[str | None] | None, normal: str | None) -> Flags | None:
    """Which records are bad: those not labelled `normal`, else those with the rarer of two labels; None: unknown."""
    known = [label for label in labels or () if label is not None]
    names, counts = np.unique(known, return_counts=True) if known else (np.array([]), np.array([]))
    if normal is None and len(names) == 2 and counts[0] != counts[1]:
        normal = str(names[counts.argmax()])
    if normal is None or labels is None or not len(names) > 1:
        return None
    return np.array([label is not None and label != normal for label in labels], bool)


def detect(
    codec: FeatureCodec,
    features: Features,
    *,
    normal: str | None = None,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    seed: int = 0,
) -> dict[str, Any] | None:
    """The figures of the anomaly scores against the labels; None if the labels do not tell which records are bad."""
    bad = bad_records(features.labels, normal)
    if bad is None:
        return None
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:MOST])
    if not bad[rows].any() or bad[rows].all():
        return None
    values = align_columns(codec.columns, features.columns, features.values[rows], unseen="keep")
    result = anomalies(codec, values, false_alarm_rate=false_alarm_rate)
    return figures(result.scores, bad[rows], result.threshold) | {"false_alarm_rate": false_alarm_rate}


def figures(scores: npt.NDArray[np.floating], bad: Flags, threshold: float) -> dict[str, Any]:
    """Detection figures of n scores under a threshold.

    `reviews_saved`: records that a person does not have to review, compared with a random order until as many bad ones
    are found. `error_reduction`: share of missed bad records that is avoided, compared with reviewing as many records
    at random.
    """
    n, flagged = len(scores), scores > threshold
    hits, n_bad, n_flagged = int((flagged & bad).sum()), int(bad.sum()), int(flagged.sum())
    recall = hits / n_bad
    missed_at_random = n_bad * (1 - n_flagged / n)
    return {
        "records": n,
        "bad": n_bad,
        "flagged": n_flagged,
        "found": hits,
        "recall": recall,
        "precision": hits / n_flagged if n_flagged else None,
        "false_alarms": (n_flagged - hits) / (n - n_bad),
        "auc_roc": auc_roc(scores, bad),
        "reviews_saved": round(recall * n) - n_flagged,
        "error_reduction": 1 - (n_bad - hits) / missed_at_random if missed_at_random else None,
        "threshold": threshold,
    }


def auc_roc(scores: npt.NDArray[np.floating], bad: Flags) -> float:
    """The probability that a bad record scores above a good one; ties count half."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[at]  # scipy.stats, which has this, takes a second to import
    n_bad = int(bad.sum())
    return float((ranks[bad].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * (len(bad) - n_bad)))
