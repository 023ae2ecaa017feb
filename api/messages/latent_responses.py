"""What the latent routes and commands answer: engine results as bodies for JSON, vectors as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.codec.encoder_decoder import QuantisedCore
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.latent_analysis import anomalies
from engine.latent_analysis.anomalies import Anomalies
from engine.values.features import Values, to_records
from engine.values.lenient_records import LenientRecords
from engine.values.vectors import Matrix
from indexing.live.nearest_by_distance import nearest_by_distance
from indexing.live.view import LiveView


def encoded(codec: FeatureCodec, values: Values) -> dict[str, Any]:
    """`codes` only of a model that has a codebook."""
    if isinstance(codec.core, QuantisedCore):
        codes = codec.core.codes(codec.preprocessing.apply(values))
        return {"vectors": codec.core.from_codes(codes), "codes": codes}
    return {"vectors": codec.encode(values)}


def vectors_of_codes(codec: FeatureCodec, codes: Sequence[Sequence[int]]) -> Matrix:
    """(n, dim) of codes as `encoded` gave them; InputError for a model without, or codes that are none."""
    core = codec.core
    if not isinstance(core, QuantisedCore):
        raise InputError(f"{codec.embedder} has no codes; a vqvae has", loc=("codes",))
    slots, size = core.codebook.shape[:2]
    if any(len(row) != slots or not all(0 <= code < size for code in row) for row in codes):
        raise InputError(f"expected rows of {slots} codes from 0 to {size - 1}", loc=("codes",))
    return core.from_codes(np.array(codes, np.int64))


def decoded(codec: FeatureCodec, vectors: Matrix) -> dict[str, Any]:
    return {"records": to_records(codec.columns, codec.decode(vectors))}


def reconstructed(codec: FeatureCodec, values: Values) -> dict[str, Any]:
    again, errors = anomalies.reconstruct(codec, values)
    return {"records": to_records(codec.columns, again), "errors": errors}


def judged(codec: FeatureCodec, readings: LenientRecords, found: Anomalies, top: int) -> dict[str, Any]:
    """Each record's score and the `top` columns that make most of it, with their value and what was expected."""
    given, expected = readings.to_records(), to_records(codec.columns, found.expected)
    worst = np.argsort(-found.contributions, axis=1, kind="stable")[:, :top]
    names = [column.name for column in codec.columns]
    rows = [
        {
            "score": float(found.scores[row]),
            "anomaly": bool(found.scores[row] > found.threshold),
            "columns": [
                {
                    "column": names[at],
                    "share": round(float(found.contributions[row, at]), 4),
                    "value": given[row][names[at]],
                    "expected": expected[row][names[at]],
                }
                for at in places.tolist()
            ],
        }
        for row, places in enumerate(worst)
    ]
    return {"anomalies": rows, "threshold": found.threshold, "false_alarm_rate": found.false_alarm_rate}


def path(view: LiveView, codec: FeatureCodec, start: Matrix, end: Matrix, steps: int, nearest: int) -> dict[str, Any]:
    """Each point of the way with its record and the real items nearest to it, by distance."""
    vectors = anomalies.interpolate(start, end, steps)
    return {"steps": points(view, codec, vectors, nearest)}


def points(view: LiveView, codec: FeatureCodec, vectors: Matrix, nearest: int) -> list[dict[str, Any]]:
    records = decoded(codec, vectors)["records"]
    distances, rows = nearest_by_distance(view, vectors, nearest)
    return [
        {
            "vector": vector,
            "record": record,
            "nearest": [
                {"item_id": view.items.ids[row], "distance": float(apart)}
                for apart, row in zip(distances[at].tolist(), rows[at].tolist(), strict=True)
                if row >= 0
            ],
        }
        for at, (vector, record) in enumerate(zip(vectors, records, strict=True))
    ]
