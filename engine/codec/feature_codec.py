"""FeatureCodec: preprocessing, core and training statistics as one value, which is stored and swapped as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.codec import encoder_decoder, preprocessing
from engine.codec.encoder_decoder import Core
from engine.codec.preprocessing import Preprocessing
from engine.errors import Conflict, InputError
from engine.values.features import Column, Values
from engine.values.vectors import Matrix

Arrays = Mapping[str, npt.NDArray]
BATCH = 1024  # rows; prepared rows and hidden layers then fit the CPU cache


@dataclass(frozen=True, eq=False)
class Normal:
    """Statistics of the training records, against which anomalies and drift are measured.

    `memory` has latents of training records. A record is reconstructed from the nearest of these, so that a record far
    from all of them is not reconstructed well (Gong et al. 2019, memory-augmented autoencoders).
    """

    memory: Matrix  # (m, dim)
    scores: Matrix  # (1001,) quantiles of the anomaly score of training records, each compared with the others only
    errors: Matrix  # (1001,) quantiles of the reconstruction error
    latents: Matrix  # (101, dim) quantiles of each latent dimension
    spread: Matrix | None = None  # (m,) distance of each memory record to its neighbours; None in older models


@dataclass(frozen=True, eq=False)
class FeatureCodec:
    embedder: str
    preprocessing: Preprocessing
    core: Core
    normal: Normal

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.preprocessing.columns

    @property
    def dim(self) -> int:
        return self.core.dim

    def encode(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(n, n_columns) values, NaN for missing -> (n, dim) float32."""
        parts = [
            self.core.encode(self.preprocessing.apply(values[start : start + BATCH]))
            for start in range(0, len(values), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def decode(self, latent: Matrix) -> Values:
        """(n, dim) -> (n, n_columns) values; InputError for a vector that decodes to no finite numbers."""
        if latent.ndim != 2 or latent.shape[1] != self.dim:
            raise InputError(f"expected vectors of {self.dim} dimensions, got shape {latent.shape}", loc=("vectors",))
        with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 are rejected below
            values = self.preprocessing.invert(self.core.decode(latent))
        beyond = ~np.isfinite(values).all(axis=1)
        if beyond.any():
            row = int(beyond.argmax())
            raise InputError(
                f"vector {row} decodes to numbers beyond float32; expected one like those that records encode to",
                loc=("vectors", row),
            )
        return values

    def state(self) -> tuple[str, Arrays]:
        core_name, core = self.core.state()
        head = {
            "embedder": self.embedder,
            "core": core_name,
            "columns": [column.to_json() for column in self.preprocessing.columns],
        }
        arrays: dict[str, npt.NDArray] = {f"core.{name}": array for name, array in core.items()}
        arrays |= self.preprocessing.state()
        arrays |= {f"normal.{name}": array for name in NORMAL if (array := getattr(self.normal, name)) is not None}
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        return "features", arrays


def required(codec: object, what: str) -> FeatureCodec:
    """Return the codec; Conflict if the model, named by `what`, has none, with the commands that make one."""
    if not isinstance(codec, FeatureCodec):
        raise Conflict(
            f"{what} has no encoder and decoder, it was not learnt from feature records; import some with "
            "`nearfield import features` and run `nearfield reindex --embedder features`"
        )
    return codec


NORMAL = ("memory", "scores", "errors", "latents", "spread")


def restore(name: str, arrays: Arrays) -> FeatureCodec:
    """Restore a codec from its `state()` (name, arrays)."""
    if name != "features":
        raise ValueError(f"unknown codec {name!r}; expected features")
    head = json.loads(arrays["head"].tobytes())
    core = {key.removeprefix("core."): array for key, array in arrays.items() if key.startswith("core.")}
    return FeatureCodec(
        head["embedder"],
        preprocessing.restore(head["columns"], arrays),
        encoder_decoder.restore(head["core"], core),
        Normal(**{part: arrays[f"normal.{part}"] for part in NORMAL if f"normal.{part}" in arrays}),
    )
