"""The response bodies of the latent routes and commands, as dictionaries; vectors stay numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.codec.encoder_decoder import QuantisedCore
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.latent_analysis.anomalies import Anomalies
from engine.latent_analysis.interpolation import interpolate
from engine.latent_analysis.reconstruction import reconstruct
from engine.values.features import Values, to_records
from engine.values.lenient_records import LenientRecords
from engine.values.vectors import Matrix
from indexing.live.nearest_by_distance import nearest_by_distance
from indexing.live.view import LiveView


def encode_body(codec: FeatureCodec, values: Values) -> dict[str, Any]:
    """`vectors`; for a model with a codebook also `codes`."""
    if isinstance(codec.core, QuantisedCore):
        codes = codec.core.codes(codec.preprocessing.apply(values))
        return {"vectors": codec.core.from_codes(codes), "codes": codes}
    return {"vectors": codec.encode(values)}


def vectors_of_codes(codec: FeatureCodec, codes: Sequence[Sequence[int]]) -> Matrix:
    """(n, dim) of codes from `encode_body`. InputError for a model without codes, or codes outside the codebook."""
    core = codec.core
    if not isinstance(core, QuantisedCore):
        raise InputError(f"{codec.embedder} has no codes; only a vqvae has", loc=("codes",))
    slots, size = core.codebook.shape[:2]
    if any(len(row) != slots or not all(0 <= code < size for code in row) for row in codes):
        raise InputError(f"expected rows of {slots} codes from 0 to {size - 1}", loc=("codes",))
    return core.from_codes(np.array(codes, np.int64))


def decode_body(codec: FeatureCodec, vectors: Matrix) -> dict[str, Any]:
    return {"records": to_records(codec.columns, codec.decode(vectors))}


def reconstruct_body(codec: FeatureCodec, values: Values) -> dict[str, Any]:
    reconstructed, errors = reconstruct(codec, values)
    return {"records": to_records(codec.columns, reconstructed), "errors": errors}


def anomalies_body(codec: FeatureCodec, records: LenientRecords, result: Anomalies, n_columns: int) -> dict[str, Any]:
    """The score of each record, and the `n_columns` columns with the largest shares, with value and expected value."""
    values, expected = records.to_records(), to_records(codec.columns, result.expected)
    largest = np.argsort(-result.contributions, axis=1, kind="stable")[:, :n_columns]
    names = [column.name for column in codec.columns]
    rows = [
        {
            "score": float(result.scores[row]),
            "anomaly": bool(result.scores[row] > result.threshold),
            "columns": [
                {
                    "column": names[column],
                    "share": round(float(result.contributions[row, column]), 4),
                    "value": values[row][names[column]],
                    "expected": expected[row][names[column]],
                }
                for column in columns.tolist()
            ],
        }
        for row, columns in enumerate(largest)
    ]
    return {"anomalies": rows, "threshold": result.threshold, "false_alarm_rate": result.false_alarm_rate}


def interpolation_body(
    view: LiveView, codec: FeatureCodec, start: Matrix, end: Matrix, steps: int, nearest: int
) -> dict[str, Any]:
    """Each point between `start` and `end`, with its record and its nearest items by distance."""
    vectors = interpolate(start, end, steps)
    return {"steps": points(view, codec, vectors, nearest)}


def points(view: LiveView, codec: FeatureCodec, vectors: Matrix, nearest: int) -> list[dict[str, Any]]:
    records = decode_body(codec, vectors)["records"]
    distances, rows = nearest_by_distance(view, vectors, nearest)
    return [
        {
            "vector": vector,
            "record": record,
            "nearest": [
                {"item_id": view.items.ids[row], "distance": float(distance)}
                for distance, row in zip(distances[at].tolist(), rows[at].tolist(), strict=True)
                if row >= 0
            ],
        }
        for at, (vector, record) in enumerate(zip(vectors, records, strict=True))
    ]
