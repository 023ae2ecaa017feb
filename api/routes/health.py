"""healthz, readyz and metrics: for monitoring."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Depends, Request, Response

from api.auth import require
from api.deps import AppDatabase, AppLiveSpaces, AppMetrics, AppSettings
from api.limits.deadline_route import DeadlineRoute
from api.merchandising.preset_problems import preset_problems
from api.messages.responses import json_response
from api.monitoring.drift_gauges import set_drift
from api.monitoring.gpu_gauge import set_gpu
from api.monitoring.view_gauges import set_view
from engine.errors import StoreUnavailable

router = APIRouter(route_class=DeadlineRoute, tags=["health"])


@router.get("/healthz", summary="Whether this process responds")
async def healthz() -> Response:  # a coroutine: it responds while every thread is blocked
    return json_response({"status": "ok"})


@router.get("/readyz", summary="Whether PostgreSQL responds too; 503 if not")
def readyz(database: AppDatabase) -> Response:
    with database.connect() as conn:
        conn.exec_driver_sql("SELECT 1")
    return json_response({"status": "ready"})


@router.get("/metrics", dependencies=[Depends(require("read"))], summary="Prometheus metrics")
def get_metrics(
    request: Request, metrics: AppMetrics, live_spaces: AppLiveSpaces, database: AppDatabase, settings: AppSettings
) -> Response:
    with suppress(StoreUnavailable):  # the gauges keep their last values
        set_drift(metrics, live_spaces, database)
    set_gpu(metrics, settings.device)
    for space, live in live_spaces.items():
        view, recall = live.current(), request.app.state.sampler.recall_in(space)
        set_view(metrics, live_spaces, view, recall, len(preset_problems(view)))
    return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
