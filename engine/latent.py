"""What a latent space with a codec is for: reconstruct, find anomalies, interpolate, sample. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.codec import BATCH, FeatureCodec, Normal
from engine.cores import Core
from engine.errors import InputError
from engine.features import Values
from engine.vectors import Matrix

NEIGHBOURS = 5  # known records a record is reconstructed from; one alone would let a single odd record excuse others
MEMORY = 10_000  # training latents kept; more cost search time and move the scores little
SAME = 1e-9  # of the mean square length: closer than this is the same record
QUANTILES = np.linspace(0, 1, 1001)
FALSE_ALARM_RATE = 0.01
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Of n records: how badly the nearest known records explain each, and through which columns."""

    scores: Scores  # (n,) mean squared difference per prepared column, in scales
    threshold: float
    false_alarm_rate: float  # share of the training records above the threshold
    contributions: Matrix  # (n, n_columns) shares of the score, each row sums to 1
    expected: Values  # (n, n_columns) what the nearest known records would have here

    @property
    def flags(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.scores > self.threshold)


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
    """Records that nothing known explains; the threshold leaves `false_alarm_rate` of the training records above it.

    `quantile` says the same the other way round: 0.99 is a false-alarm rate of 0.01. With `known` training records are
    judged as the threshold was made: without themselves.
    """
    rate = 1 - quantile if quantile is not None else false_alarm_rate
    if not 0 <= rate < 1:
        raise InputError(f"expected a false-alarm rate of 0 to below 1, got {rate:g}", loc=("false_alarm_rate",))
    threshold = float(np.interp(1 - rate, QUANTILES, codec.normal.scores))
    prepared = codec.preprocessing.apply(values)
    explained = np.concatenate(
        [
            explain(codec.core, codec.normal.memory, prepared[start : start + BATCH], known=known)
            for start in range(0, max(len(prepared), 1), BATCH)
        ]
    )
    squared = (prepared - explained) ** 2
    scores = squared.mean(axis=1)
    contributions = codec.preprocessing.by_column(squared)
    contributions = contributions / np.maximum(contributions.sum(axis=1, keepdims=True), 1e-30)
    expected = codec.preprocessing.invert(explained)
    return Anomalies(scores, threshold, rate, contributions.astype(np.float32), expected)


def explain(core: Core, memory: Matrix, prepared: Matrix, *, known: bool = False) -> Matrix:
    """(n, width) what the nearest of `memory` to each record decode to.

    With `known` a record that is itself in the memory is not explained by itself.
    """
    latent = core.encode(prepared)
    wanted = min(NEIGHBOURS + known, len(memory))
    near = _nearest(latent, memory, wanted)
    if known and wanted > 1:
        apart = ((latent - memory[near[:, 0]]) ** 2).sum(axis=1)
        itself = apart <= SAME * float(np.mean((memory**2).sum(axis=1)))
        near = np.where(itself[:, None], near[:, 1:], near[:, :-1])
    return core.decode(memory[near].mean(axis=1))


def explained_squares(core: Core, memory: Matrix, prepared: Matrix, *, known: bool = False) -> Matrix:
    """(n, width) squared differences between records and what explains them."""
    return np.asarray((prepared - explain(core, memory, prepared, known=known)) ** 2)


def learn_normal(core: Core, prepared: Matrix, *, seed: int) -> Normal:
    """The yardsticks of a core over the records it was trained on, (n, width)."""
    draw = np.random.default_rng(seed)
    kept = np.sort(draw.choice(len(prepared), min(MEMORY, len(prepared)), replace=False))
    latents = [core.encode(prepared[start : start + BATCH]) for start in range(0, len(prepared), BATCH)]
    latent = np.concatenate(latents)
    memory, asked = latent[kept], prepared[kept]
    squared = [
        explained_squares(core, memory, asked[start : start + BATCH], known=True)
        for start in range(0, len(asked), BATCH)
    ]
    errors = np.mean((asked - core.decode(memory)) ** 2, axis=1)
    return Normal(
        memory,
        np.quantile(np.concatenate(squared).mean(axis=1), QUANTILES).astype(np.float32),
        np.quantile(errors, QUANTILES).astype(np.float32),
        np.quantile(latent, np.linspace(0, 1, 101), axis=0).astype(np.float32),
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
