"""kpis, map and compress: figures of a model version, a map of its vectors, size and loss of compressed vectors."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.auth import require
from api.deps import AppDatabase, View
from api.fresh_view import fresh_view
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.maps.page import html_page
from api.messages.kpi_responses import kpis
from api.messages.request_schemas import ReadOptions
from api.messages.responses import json_response
from engine.errors import NotFound
from engine.store import model_reports, models
from engine.store.database.connections import Connection
from indexing.building import compression
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["latent"], dependencies=[Depends(require("read"))]
)
Version = Annotated[int | None, Field(description="a model version; default: the served one, or else the newest", ge=1)]


class KpisQuery(ReadOptions):
    model: Version = None


class MapQuery(ReadOptions):
    model: Version = None
    method: Literal["pca", "tsne", "umap"] | None = Field(None, description="default: the newest map of any method")
    format: Literal["json", "html"] = "json"


@router.get("/kpis", summary="The figures of a model version and its newest drift report")
@long_running
def get_kpis(query: Annotated[KpisQuery, Query()], request: Request, view: View, database: AppDatabase) -> Response:
    view = fresh_view(request, view, query)
    with database.connect() as conn:
        return json_response(kpis(conn, view.space.key, _version(conn, view, query.model)))


@router.get("/map", summary="The map that `nearfield map` made, as JSON or as a page")
@long_running
def get_map(query: Annotated[MapQuery, Query()], request: Request, view: View, database: AppDatabase) -> Response:
    view = fresh_view(request, view, query)
    with database.connect() as conn:
        latent_map = model_reports.get_map(conn, view.space.key, _version(conn, view, query.model), query.method)
    if query.format == "json":
        return json_response(latent_map)
    return Response(html_page(latent_map), media_type="text/html; charset=utf-8")


@router.get("/compress", summary="Size and loss of vectors as float32, float16, int8 and PQ")
@long_running
def get_compress(query: Annotated[KpisQuery, Query()], request: Request, view: View, database: AppDatabase) -> Response:
    view = fresh_view(request, view, query)
    with database.begin() as conn:
        return json_response(compression.of_model(conn, view.space.key, _version(conn, view, query.model)))


def _version(conn: Connection, view: LiveView, requested: int | None) -> int:
    if requested is not None:
        return models.get(conn, view.space.key, requested).version
    if view.generation is not None:
        return view.generation.model
    newest = models.latest(conn, view.space.key)
    if newest is None:
        raise NotFound(f"space {view.space.name!r} has no model yet; run `nearfield reindex`")
    return newest.version
