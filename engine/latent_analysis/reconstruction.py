"""Reconstruction: records that a codec encodes and decodes, and the error of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.codec.feature_codec import FeatureCodec
from engine.values.features import Values

Scores = npt.NDArray[np.float32]


def reconstruct(codec: FeatureCodec, values: Values) -> tuple[Values, Scores]:
    """The reconstructed records, (n, n_columns), and the mean squared error of each in column scales, (n,)."""
    prepared = codec.preprocessing.apply(values)
    again = codec.core.decode(codec.core.encode(prepared))
    return codec.preprocessing.invert(again), np.mean((prepared - again) ** 2, axis=1)
