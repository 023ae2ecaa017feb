"""What a latent space with a codec is for: reconstruct, find anomalies, interpolate, sample. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.codec.encoder_decoder import Core
from engine.codec.feature_codec import BATCH, FeatureCodec, Normal
from engine.errors import InputError
from engine.values.features import Values
from engine.values.vectors import Matrix

NEIGHBOURS = 5  # known records a record is reconstructed from; one alone would let a single odd record excuse others
MEMORY = 10_000  # training latents kept; more cost search time and move the scores little
SAME = 1e-9  # of the mean square length: closer than this is the same record
QUANTILES = np.linspace(0, 1, 1001)
FALSE_ALARM_RATE = 0.01
DENSEST = 1e-2  # of the usual distance between known records: copies of one record are no infinitely dense crowd
DEPARTED = 2.0  # squared scales, as of another category: what a number that never changed has no scale of its own for
FLOATS = 2**24  # decoded at a time
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Of n records: how far each is from the nearest known records, and through which columns."""

    scores: Scores  # (n,) in scales of the columns, as they would be where known records lie as close as they mostly do
    threshold: float
    false_alarm_rate: float  # share of the training records above the threshold
    contributions: Matrix  # (n, n_columns) shares of the score, each row sums to 1
    expected: Values  # (n, n_columns) what the nearest known records would have here

    @property
    def flags(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.scores > self.threshold)


@dataclass(frozen=True, eq=False)
class Explained:
    """Of n prepared records, what the nearest of the memory decode to."""

    near: npt.NDArray[np.int64]  # (n, k) rows of the memory, nearest first
    expected: Matrix  # (n, width) their mean
    squares: Matrix  # (n, k) mean squared difference per prepared column to each


def reconstruct(codec: FeatureCodec, values: Values) -> tuple[Values, Scores]:
    """What the codec makes of records, (n, n_columns), and the mean squared error of each in scales, (n,)."""
    prepared = codec.preprocessing.apply(values)
    again = codec.core.decode(codec.core.encode(prepared))
    return codec.preprocessing.invert(again), np.mean((prepared - again) ** 2, axis=1)


def anomalies(
    codec: FeatureCodec,
    values: Values,
    *,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    quantile: float | None = None,
    known: bool = True,
) -> Anomalies:
    """Records far from everything known; the threshold leaves `false_alarm_rate` of the training records above it.

    `quantile` says the same the other way round: 0.99 is a false-alarm rate of 0.01. With `known` training records are
    judged as the threshold was made: without themselves. What no training record had (an unseen category, what is no
    number, nothing at all) makes a record odder than any of them.
    """
    rate = 1 - quantile if quantile is not None else false_alarm_rate
    if not 0 <= rate < 1:
        raise InputError(f"expected a false-alarm rate of 0 to below 1, got {rate:g}", loc=("false_alarm_rate",))
    how, normal = codec.preprocessing, codec.normal
    threshold = float(np.interp(1 - rate, QUANTILES, normal.scores))
    strange = how.strange(values)
    read = np.where(strange, np.nan, values)
    prepared = how.apply(read)
    explained = explain(codec.core, normal.memory, prepared, known=known)
    departed = DEPARTED * how.departed(values)
    by_column = how.by_column((prepared - explained.expected) ** 2) + departed
    if normal.spread is None:  # learnt before it was kept: the squared error, which its quantiles are of
        scores = np.asarray(by_column.sum(axis=1) / how.width, np.float32)
    else:
        apart = np.sqrt(explained.squares + departed.sum(axis=1, keepdims=True) / how.width).mean(axis=1)
        scores = _by_density(apart, explained.near, normal.spread)
    nothing = np.isnan(read).all(axis=1, keepdims=True) & ~strange.any(axis=1, keepdims=True)
    odd = np.asarray(strange | nothing)
    scores, contributions = _with_odd(scores, by_column, odd, 2 * float(normal.scores[-1]) or 1.0)
    return Anomalies(scores, threshold, rate, contributions, how.invert(explained.expected))


def _by_density(apart: npt.NDArray[np.floating], near: npt.NDArray[np.int64], spread: Matrix) -> Scores:
    """(n,) distances to the nearest known records by the root of how far those are from their own nearest.

    So a record apart from a dense crowd is odder than one as far from a loose one. All of the crowd's distance, as LOF
    divides by, makes too much of that (`scripts/LOG.md`).
    """
    usual = float(spread.mean())
    if usual == 0:
        return np.asarray(apart, np.float32)
    return np.asarray(apart / np.sqrt(np.maximum(spread[near].mean(axis=1) / usual, DENSEST)), np.float32)


def _with_odd(scores: Scores, by_column: Matrix, odd: npt.NDArray[np.bool_], much: float) -> tuple[Scores, Matrix]:
    """Scores with `much` more for each odd cell, as lengths at right angles, and the shares of the columns in them."""
    own = scores.astype(np.float64) ** 2
    total = np.maximum(by_column.sum(axis=1, keepdims=True, dtype=np.float64), 1e-30)
    parts = by_column / total * own[:, None] + odd * much**2
    shares = parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
    return np.sqrt(own + odd.sum(axis=1) * much**2).astype(np.float32), shares.astype(np.float32)


def explain(core: Core, memory: Matrix, prepared: Matrix, *, known: bool = False) -> Explained:
    """What is nearest in `memory` to each of (n, width) prepared records.

    With `known` a record that is itself in the memory is not explained by itself.
    """
    step = max(1, min(BATCH, FLOATS // (NEIGHBOURS * prepared.shape[1])))
    parts = [
        _explain(core, memory, prepared[start : start + step], known) for start in range(0, max(len(prepared), 1), step)
    ]
    return Explained(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _explain(core: Core, memory: Matrix, prepared: Matrix, known: bool) -> tuple[npt.NDArray[np.int64], Matrix, Matrix]:
    latent = core.encode(prepared)
    wanted = min(NEIGHBOURS + known, len(memory))
    near = _nearest(latent, memory, wanted)
    if known and wanted > 1:
        apart = ((latent - memory[near[:, 0]]) ** 2).sum(axis=1)
        itself = apart <= SAME * float(np.mean((memory**2).sum(axis=1)))
        near = np.where(itself[:, None], near[:, 1:], near[:, :-1])
    decoded = core.decode(memory[near.ravel()]).reshape(*near.shape, -1)
    squares = np.mean((prepared[:, None] - decoded) ** 2, axis=2)
    return near, decoded.mean(axis=1), squares


def learn_normal(core: Core, prepared: Matrix, *, seed: int) -> Normal:
    """The yardsticks of a core over the records it was trained on, (n, width)."""
    draw = np.random.default_rng(seed)
    kept = np.sort(draw.choice(len(prepared), min(MEMORY, len(prepared)), replace=False))
    latents = [core.encode(prepared[start : start + BATCH]) for start in range(0, len(prepared), BATCH)]
    latent = np.concatenate(latents)
    memory, asked = latent[kept], prepared[kept]
    explained = explain(core, memory, asked, known=True)
    spread = np.sqrt(explained.squares).mean(axis=1).astype(np.float32)
    errors = np.mean((asked - core.decode(memory)) ** 2, axis=1)
    return Normal(
        memory,
        np.quantile(_by_density(spread, explained.near, spread), QUANTILES).astype(np.float32),
        np.quantile(errors, QUANTILES).astype(np.float32),
        np.quantile(latent, np.linspace(0, 1, 101), axis=0).astype(np.float32),
        spread,
    )


def interpolate(start: Matrix, end: Matrix, steps: int) -> Matrix:
    """(steps, dim) vectors on the straight way from `start` to `end`, both (dim,), ends included."""
    if steps < 2:
        raise InputError(f"expected at least 2 steps, got {steps}", loc=("steps",))
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return np.asarray((1 - share) * start + share * end, dtype=np.float32)


def sample(codec: FeatureCodec, n: int, *, seed: int) -> tuple[Matrix, Values]:
    """(n, dim) likely latents and the records they decode to. InputError for a model that cannot."""
    latent = codec.core.sample(n, np.random.default_rng(seed))
    return latent, codec.decode(latent)


def _nearest(latent: Matrix, memory: Matrix, k: int) -> npt.NDArray[np.int64]:
    """The k rows of `memory` at the smallest Euclidean distance, nearest first, (n, k)."""
    squares = (memory**2).sum(axis=1)
    rows = []
    for start in range(0, len(latent), 1024):
        apart = squares - 2 * (latent[start : start + 1024] @ memory.T)
        best = np.argpartition(apart, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(apart, best, axis=1), axis=1)
        rows.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, k), np.int64)
