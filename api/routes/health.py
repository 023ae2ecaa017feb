"""healthz, readyz and metrics: for the machines that watch this one."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime

from fastapi import APIRouter, Depends, Request, Response

from api.answers import json_response
from api.auth import require
from api.deps import AppDatabase, AppLives, AppMetrics
from api.drift_gauges import set_drift
from engine.errors import StoreUnavailable
from indexing.upkeep import wear

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="This process answers")
async def healthz() -> Response:  # on the event loop, which answers while every thread waits for something
    return json_response({"status": "ok"})


@router.get("/readyz", summary="PostgreSQL answers too; 503 when it does not")
def readyz(database: AppDatabase) -> Response:
    with database.connect() as conn:
        conn.exec_driver_sql("SELECT 1")
    return json_response({"status": "ready"})


@router.get("/metrics", dependencies=[Depends(require("read"))], summary="Prometheus metrics")
def get_metrics(request: Request, metrics: AppMetrics, lives: AppLives, database: AppDatabase) -> Response:
    with suppress(StoreUnavailable):  # the gauges keep what they had
        set_drift(metrics, lives, database)
    now = time.time()
    for space, live in lives.items():
        metrics.refresh_age_s.labels(space).set(now - live.refreshed_at)
        view = live.current()
        worn = wear(view)
        metrics.delta_share.labels(space).set(worn.delta)
        metrics.tombstone_share.labels(space).set(worn.tombstones)
        metrics.stale.labels(space).set(int(view.stale))
        served = view.generation
        if served is not None:
            built = datetime.strptime(served.generation.split("-")[0] + "+0000", "%Y%m%dT%H%M%S%z")
            metrics.generation_age_s.labels(space).set(now - built.timestamp())
    for space, recall in request.app.state.sampler.recall.items():
        metrics.sampled_recall.labels(space).set(recall)
    return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
