"""Anomalies: records that differ from the training records, and the columns that make them differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.codec.encoder_decoder import Core
from engine.codec.feature_codec import BATCH, FeatureCodec, Normal
from engine.errors import InputError
from engine.values.features import Values
from engine.values.vectors import Matrix

NEIGHBOURS = 5  # training records that explain a record; with one, a single odd training record would excuse others
MEMORY = 10_000  # stored training latents; more cost search time and change the scores little
SAME = 1e-9  # of the mean squared length: a smaller squared distance means the same record
QUANTILES = np.linspace(0, 1, 1001)
FALSE_ALARM_RATE = 0.01
MIN_RELATIVE_SPREAD = 1e-2  # of the mean spread; without it, copies of one record would have an infinite density
CHANGED_CONSTANT_ERROR = 2.0  # squared error of a changed constant, which has no scale; as of a changed category
FLOATS = 2**24  # decoded per batch
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Anomaly scores of n records: the distances to the nearest training records, and the columns behind them."""

    scores: Scores  # (n,) in column scales, normalised by the density of the training records nearby
    threshold: float
    false_alarm_rate: float  # share of the training records above the threshold
    contributions: Matrix  # (n, n_columns) share of each column in the score, rows sum to 1
    expected: Values  # (n, n_columns) values of the nearest training records

    @property
    def flags(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.scores > self.threshold)


@dataclass(frozen=True, eq=False)
class Explained:
    """For n prepared records, the decoded latents of memory that are nearest."""

    neighbours: npt.NDArray[np.int64]  # (n, k) rows of the memory, nearest first
    expected: Matrix  # (n, width) mean of the decoded neighbours
    squares: Matrix  # (n, k) mean squared difference to each neighbour over the prepared columns


def anomalies(
    codec: FeatureCodec,
    values: Values,
    *,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    quantile: float | None = None,
    known: bool = True,
) -> Anomalies:
    """Score records by their distance to the training records.

    `false_alarm_rate` is the share of the training records above the threshold; a `quantile` of 0.99 is a rate of 0.01.
    With `known`, a training record is not compared with itself, as when the threshold was computed. A record with an
    unseen category, an unreadable number or no value at all scores above all training records.
    """
    rate = 1 - quantile if quantile is not None else false_alarm_rate
    if not 0 <= rate < 1:
        raise InputError(f"expected a false-alarm rate of 0 to below 1, got {rate:g}", loc=("false_alarm_rate",))
    preprocessing, normal = codec.preprocessing, codec.normal
    threshold = float(np.interp(1 - rate, QUANTILES, normal.scores))
    unseen = preprocessing.unseen(values)
    readable = np.where(unseen, np.nan, values)
    prepared = preprocessing.apply(readable)
    explained = explain(codec.core, normal.memory, prepared, known=known)
    changed = CHANGED_CONSTANT_ERROR * preprocessing.changed_constants(values)
    by_column = preprocessing.by_column((prepared - explained.expected) ** 2) + changed
    if normal.spread is None:  # an older model has no spread; its quantiles are of the squared error
        scores = np.asarray(by_column.sum(axis=1) / preprocessing.width, np.float32)
    else:
        distances = np.sqrt(explained.squares + changed.sum(axis=1, keepdims=True) / preprocessing.width).mean(axis=1)
        scores = _by_density(distances, explained.neighbours, normal.spread)
    empty = np.isnan(readable).all(axis=1, keepdims=True) & ~unseen.any(axis=1, keepdims=True)
    anomalous_cells = np.asarray(unseen | empty)
    scores, contributions = _with_anomalous_cells(
        scores, by_column, anomalous_cells, 2 * float(normal.scores[-1]) or 1.0
    )
    return Anomalies(scores, threshold, rate, contributions, preprocessing.invert(explained.expected))


def _by_density(distances: npt.NDArray[np.floating], neighbours: npt.NDArray[np.int64], spread: Matrix) -> Scores:
    """(n,) distances to the nearest training records, divided by the square root of the relative spread there.

    A record near a dense group scores higher than one at the same distance from a sparse group. LOF divides by the
    full spread, which over-corrects (`scripts/LOG.md`).
    """
    mean = float(spread.mean())
    if mean == 0:
        return np.asarray(distances, np.float32)
    relative = np.maximum(spread[neighbours].mean(axis=1) / mean, MIN_RELATIVE_SPREAD)
    return np.asarray(distances / np.sqrt(relative), np.float32)


def _with_anomalous_cells(
    scores: Scores, by_column: Matrix, anomalous: npt.NDArray[np.bool_], penalty: float
) -> tuple[Scores, Matrix]:
    """Scores with `penalty` added in quadrature for each anomalous cell, and the share of each column in the score."""
    own = scores.astype(np.float64) ** 2
    total = np.maximum(by_column.sum(axis=1, keepdims=True, dtype=np.float64), 1e-30)
    parts = by_column / total * own[:, None] + anomalous * penalty**2
    shares = parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
    return np.sqrt(own + anomalous.sum(axis=1) * penalty**2).astype(np.float32), shares.astype(np.float32)


def explain(core: Core, memory: Matrix, prepared: Matrix, *, known: bool = False) -> Explained:
    """Find the nearest latents of `memory` for each of (n, width) prepared records, and decode them.

    With `known`, a record that is in the memory is not its own neighbour.
    """
    step = max(1, min(BATCH, FLOATS // (NEIGHBOURS * prepared.shape[1])))
    parts = [
        _explain(core, memory, prepared[start : start + step], known) for start in range(0, max(len(prepared), 1), step)
    ]
    return Explained(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _explain(core: Core, memory: Matrix, prepared: Matrix, known: bool) -> tuple[npt.NDArray[np.int64], Matrix, Matrix]:
    latent = core.encode(prepared)
    k = min(NEIGHBOURS + known, len(memory))
    neighbours = _nearest(latent, memory, k)
    if known and k > 1:
        squared_distances = ((latent - memory[neighbours[:, 0]]) ** 2).sum(axis=1)
        is_itself = squared_distances <= SAME * float(np.mean((memory**2).sum(axis=1)))
        neighbours = np.where(is_itself[:, None], neighbours[:, 1:], neighbours[:, :-1])
    decoded = core.decode(memory[neighbours.ravel()]).reshape(*neighbours.shape, -1)
    squares = np.mean((prepared[:, None] - decoded) ** 2, axis=2)
    return neighbours, decoded.mean(axis=1), squares


def learn_normal(core: Core, prepared: Matrix, *, seed: int) -> Normal:
    """The statistics of the training records, (n, width), against which anomalies and drift are measured."""
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(len(prepared), min(MEMORY, len(prepared)), replace=False))
    latents = [core.encode(prepared[start : start + BATCH]) for start in range(0, len(prepared), BATCH)]
    latent = np.concatenate(latents)
    memory, records = latent[rows], prepared[rows]
    explained = explain(core, memory, records, known=True)
    spread = np.sqrt(explained.squares).mean(axis=1).astype(np.float32)
    errors = np.mean((records - core.decode(memory)) ** 2, axis=1)
    return Normal(
        memory,
        np.quantile(_by_density(spread, explained.neighbours, spread), QUANTILES).astype(np.float32),
        np.quantile(errors, QUANTILES).astype(np.float32),
        np.quantile(latent, np.linspace(0, 1, 101), axis=0).astype(np.float32),
        spread,
    )


def _nearest(latent: Matrix, memory: Matrix, k: int) -> npt.NDArray[np.int64]:
    """The k rows of `memory` at the smallest Euclidean distance, nearest first, (n, k)."""
    squares = (memory**2).sum(axis=1)
    rows = []
    for start in range(0, len(latent), 1024):
        distances = squares - 2 * (latent[start : start + 1024] @ memory.T)
        best = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, best, axis=1), axis=1)
        rows.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, k), np.int64)
