"""encode, decode, reconstruct, anomalies, interpolate and sample, for models of feature records."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth import require
from api.deps import AppDatabase, AppSettings, View, check_indexed
from api.fresh_view import fresh_view
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.messages.latent import responses as bodies
from api.messages.latent.request_schemas import (
    AnomaliesBody,
    InterpolateBody,
    PointBody,
    RecordsBody,
    SampleBody,
    VectorsBody,
)
from api.messages.request_schemas import NoParameters
from api.messages.responses import json_response
from engine.catalogue import request_cost
from engine.codec.feature_codec import FeatureCodec, required
from engine.errors import NotEnoughData, NotFound
from engine.latent_analysis import anomalies as anomaly_scores
from engine.latent_analysis import sampling
from engine.settings import Settings
from engine.store import features
from engine.store.database.connections import Database
from engine.values import lenient_records
from engine.values.features import Column, Values, align_columns, from_records, from_rows
from engine.values.ids import check_id
from engine.values.lenient_records import LenientRecords
from engine.values.vectors import Matrix, check_vectors
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["latent"], dependencies=[Depends(require("read"))]
)
Nothing = Annotated[NoParameters, Query()]


@router.post("/encode", summary="Records to vectors")
@long_running
def encode(body: RecordsBody, none: Nothing, request: Request, view: View, database: AppDatabase) -> Response:
    """Returns `vectors`, one for each record, in order; for a vqvae also `codes`."""
    view = fresh_view(request, view, body)
    codec = codec_of(view)
    return _response(view, bodies.encode_body(codec, values_of(view, codec, body, database)))


@router.post("/decode", summary="Vectors to records")
@long_running
def decode(body: VectorsBody, none: Nothing, request: Request, view: View) -> Response:
    view = fresh_view(request, view, body)
    codec = codec_of(view)
    return _response(view, bodies.decode_body(codec, _vectors(view, codec, body)))


@router.post("/reconstruct", summary="Encode and decode records, with the error of each")
@long_running
def reconstruct(body: RecordsBody, none: Nothing, request: Request, view: View, database: AppDatabase) -> Response:
    """An error is the mean squared difference over the preprocessed columns, in the scale of the training records."""
    view = fresh_view(request, view, body)
    codec = codec_of(view)
    return _response(view, bodies.reconstruct_body(codec, values_of(view, codec, body, database)))


@router.post("/anomalies", summary="Anomaly scores of records, and the columns that cause them")
@long_running
def anomalies(body: AnomaliesBody, none: Nothing, request: Request, view: View, database: AppDatabase) -> Response:
    """A value that no training record had (an unseen category, text for a number, a missing value) raises the score and
    is listed."""
    view = fresh_view(request, view, body)
    codec = codec_of(view)
    given = readings_of(view, codec, body, database)
    rate = anomaly_scores.FALSE_ALARM_RATE if body.false_alarm_rate is None else body.false_alarm_rate
    found = anomaly_scores.anomalies(codec, given.values, false_alarm_rate=rate, quantile=body.quantile)
    return _response(view, bodies.anomalies_body(codec, given, found, body.columns))


@router.post("/interpolate", summary="Points between two records, with the nearest items")
@long_running
def interpolate(body: InterpolateBody, none: Nothing, request: Request, view: View, settings: AppSettings) -> Response:
    view = fresh_view(request, view, body)
    _check_nearest_cost(view, body.steps if body.nearest else 0, settings)
    codec = codec_of(view)
    start, end = (_point(view, codec, each, name) for name, each in (("start", body.start), ("end", body.end)))
    return _response(view, bodies.interpolation_body(view, codec, start, end, body.steps, body.nearest))


@router.post("/sample", summary="Generate new records")
@long_running
def sample(body: SampleBody, none: Nothing, request: Request, view: View, settings: AppSettings) -> Response:
    """For vae, vqvae and aae. The response contains the seed, which reproduces the sample."""
    view = fresh_view(request, view, body)
    _check_nearest_cost(view, body.n if body.nearest else 0, settings)
    codec = codec_of(view)
    seed = secrets.randbits(31) if body.seed is None else body.seed
    vectors, _ = sampling.sample(codec, body.n, seed=seed)
    return _response(view, {"samples": bodies.points(view, codec, vectors, body.nearest), "seed": seed})


def _check_nearest_cost(view: LiveView, n_points: int, settings: Settings) -> None:
    cost = n_points * view.n_vectors * request_cost.DISTANCE_COST
    request_cost.check_cost(cost, settings.max_work, ("body", "nearest"), "request fewer points, or no nearest items")


def codec_of(view: LiveView) -> FeatureCodec:
    """The codec of the served model; Conflict if it has none."""
    generation = check_indexed(view).generation
    assert generation is not None
    return required(view.codec, f"model {generation.model} of space {view.space.name!r}")


def record_vector(view: LiveView, record: Mapping[str, object]) -> Matrix:
    """The vector (dim,) of one raw record; Conflict for a model without a codec."""
    codec = codec_of(view)
    return codec.encode(from_records(codec.columns, [record]))[0]


def values_of(view: LiveView, codec: FeatureCodec, body: RecordsBody, database: Database) -> Values:
    """The (n, n_columns) values of the records in a body, or of the stored records that it names."""
    if body.values is not None:
        return from_rows(codec.columns, body.values)
    if body.item_ids is None:
        return from_records(codec.columns, [body.record] if body.record is not None else body.records or [])
    return align_columns(codec.columns, *_stored(view, body.item_ids, database), unseen="error")


def readings_of(view: LiveView, codec: FeatureCodec, body: RecordsBody, database: Database) -> LenientRecords:
    """As `values_of`, for the anomaly detector, which accepts any value."""
    if body.values is not None:
        return lenient_records.parse_rows(codec.columns, body.values)
    if body.item_ids is None:
        records = [body.record] if body.record is not None else body.records or []
        return lenient_records.parse_records(codec.columns, records)
    return lenient_records.from_stored(codec.columns, *_stored(view, body.item_ids, database))


def _stored(view: LiveView, item_ids: Sequence[str], database: Database) -> tuple[Sequence[Column], Values]:
    """The columns of the stored records and the values of `item_ids`."""
    for id_ in item_ids:
        check_id(id_, ("item_ids",))
    with database.connect() as conn:
        schema = features.schema(conn, view.space.key)
        if schema is None:
            raise NotEnoughData(f"space {view.space.name!r} has no feature records")
        return schema.columns, features.get(conn, view.space.key, item_ids)


def _vectors(view: LiveView, codec: FeatureCodec, body: VectorsBody) -> Matrix:
    if body.codes is not None:
        return bodies.vectors_of_codes(codec, body.codes)
    if body.item_ids is not None:
        return check_vectors([_of_item(view, id_, ("item_ids",)) for id_ in body.item_ids], codec.dim)
    if body.vector is not None:
        return check_vectors([body.vector], codec.dim, ("vector",))
    return check_vectors(body.vectors, codec.dim)


def _point(view: LiveView, codec: FeatureCodec, body: PointBody, name: str) -> Matrix:
    if body.item_id is not None:
        return _of_item(view, body.item_id, (name, "item_id"))
    if body.record is not None:
        return record_vector(view, body.record)
    return check_vectors([body.vector], codec.dim, (name, "vector"))[0]


def _of_item(view: LiveView, item_id: str, loc: tuple[str, ...]) -> Matrix:
    row = view.items.row(check_id(item_id, loc))
    vector = None if row is None else view.vector(row)
    if vector is None:
        raise NotFound(f"there is no item {item_id!r} with a vector")
    return vector


def _response(view: LiveView, body: dict[str, Any]) -> Response:
    assert view.generation is not None
    served = {"model": view.generation.model, "generation": view.generation.generation}
    return json_response({**body, **served, "degraded": view.degraded or view.stale})
