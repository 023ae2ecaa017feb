"""models, generations and status: trained model versions, built generations, and what the space serves."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.auth import require
from api.deps import AppDatabase, AppLiveSpaces, AppSettings, View
from api.fresh_view import FreshView
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.merchandising.preset_problems import listed, preset_problems
from api.messages.request_schemas import NoParameters
from api.messages.responses import json_response
from engine.store import attribute_types, events, generations, items, models, users
from engine.store.database import clock_skew
from engine.store.database.leader_election import is_job_running
from engine.store.generations import GenerationRecord
from engine.store.models import ModelRecord
from indexing.building.build import rebuild_job
from indexing.building.publish import publish

router = APIRouter(route_class=DeadlineRoute, prefix="/v1/{space}", tags=["models"])
READ, ADMIN = [Depends(require("read"))], [Depends(require("admin"))]
Nothing = Annotated[NoParameters, Query()]


@router.get("/models", dependencies=READ, summary="Model versions, newest first, with their evaluation")
def get_models(view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        return json_response({"models": [model_json(record) for record in models.list_all(conn, view.space.key)]})


@router.get("/models/{version}", dependencies=READ, summary="A model version")
def get_model(version: int, view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        return json_response(model_json(models.get(conn, view.space.key, version)))


@router.get("/generations", dependencies=READ, summary="Generations, newest first")
def get_generations(view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        found = generations.list_all(conn, view.space.key)
    return json_response({"generations": [generation_json(record) for record in found]})


@router.post("/generations/{generation}/activate", dependencies=ADMIN, summary="Make this the served generation")
@writes
def activate(
    generation: str, none: Nothing, view: View, database: AppDatabase, live_spaces: AppLiveSpaces, settings: AppSettings
) -> Response:
    with database.connect() as conn:
        generations.get(conn, view.space.key, generation)
    seq = publish(database, view.space, generation, settings.generations)
    live_spaces.refresh(view.space.name)
    return json_response({"generation": generation, "active": True, "seq": seq})


@router.get("/status", dependencies=READ, summary="What this space stores and serves")
def get_status(view: FreshView, database: AppDatabase, live_spaces: AppLiveSpaces) -> Response:
    key = view.space.key
    with database.connect() as conn:
        kinds = events.kind_counts(conn, key)
        sizes = {"items": items.count(conn, key), "users": users.count(conn, key), "events": sum(kinds.values())}
        types = attribute_types.by_subject(conn, key)
        is_rebuilt = is_job_running(conn, rebuild_job(view.space))
        clocks = clock_skew.report(conn, key)
    served, refused = view.generation, view.refused
    return json_response(
        {
            "space": view.space.name,
            **sizes,
            "unknown_kinds": view.space.weighting.vocabulary.unknown_words(kinds),
            "attribute_types": types,
            **clocks,
            "model": served.model if served else None,
            "generation": served.generation if served else None,
            "popularity_half_life_days": served.manifest["popularity"]["half_life_days"] if served else None,
            "indexed_items": len(view.items),
            "new_items": len(view.newcomers),
            "hidden_items": 0 if view.allowed is None else int((~view.allowed).sum()),
            "preset_problems": listed(preset_problems(view)),
            "degraded": view.degraded,
            "refused": None if refused is None else {"generation": refused.generation, "why": refused.why},
            "rebuilding": is_rebuilt,
            "stale": view.stale,
            "seconds_since_refresh": round(time.time() - live_spaces.get_existing(view.space.name).refreshed_at, 3),
        }
    )


def model_json(record: ModelRecord) -> dict[str, Any]:
    return {
        "model": record.version,
        "embedder": record.embedder,
        "params": dict(record.params),
        "metric": record.metric,
        "dim": record.dim,
        "items": record.n_items,
        "users": record.n_users,
        "publishable": record.publishable,
        "evaluation": dict(record.evaluation),
        "created_at": record.created_at.isoformat(),
    }


def generation_json(record: GenerationRecord) -> dict[str, Any]:
    return {
        "generation": record.generation,
        "model": record.model,
        "active": record.active,
        "indexes": record.manifest.get("indexes"),
        "created_at": record.created_at.isoformat(),
        "activated_at": record.activated_at.isoformat() if record.activated_at else None,
    }
