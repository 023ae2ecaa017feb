"""status, models, generations, doctor: what is there, what is served, what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.cli.terminal.options import Json, SpaceName, opened, settings
from api.cli.terminal.output import emit, out, table
from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store import attribute_types, events, generations, items, models, users
from engine.store.database import clock_skew
from engine.store.database.connections import open_database
from engine.store.database.leader_election import is_job_running
from engine.store.doctor import checks, id_normalization
from indexing.building.build import rebuilding
from indexing.building.doctor_checks import check_disk, check_faiss, check_generations, check_loops
from indexing.refresh.live_space import Live
from indexing.refresh.maintenance import wear


def add_to(app: typer.Typer) -> None:
    app.command()(status)
    app.command(name="models")(list_models)
    app.command(name="generations")(list_generations)
    app.command()(doctor)


def status(space: SpaceName = "default", json: Json = False) -> None:
    """What a space holds and serves, and how far it has moved from its index."""
    with opened(space) as (known, database, found), database.connect() as conn:
        active, kinds = generations.active(conn, found.key), events.kind_counts(conn, found.key)
        body: dict[str, Any] = {
            "space": found.name,
            "items": items.count(conn, found.key),
            "users": users.count(conn, found.key),
            "events": sum(kinds.values()),
            "unknown_kinds": found.weighting.vocabulary.unknown_words(kinds),
            "attribute_types": attribute_types.by_subject(conn, found.key),
            **clock_skew.report(conn, found.key),
            "model": active.model if active else None,
            "generation": active.generation if active else None,
        }
        if active:
            view = Live(database, known.generations, found.name).current()
            worn = wear(view)
            age = datetime.now(UTC) - active.created_at
            body |= {
                "generation_age_s": round(age.total_seconds()),
                "recall@20": active.manifest["indexes"]["metric"]["recall@20"],
                "popularity_half_life_days": active.manifest.get("popularity", {}).get("half_life_days"),
                "delta_share": round(worn.delta, 5),
                "tombstone_share": round(worn.tombstones, 5),
                "rebuilding": is_job_running(conn, rebuilding(found)),
            }
            if view.refused is not None:
                body |= {"refused": f"{view.refused.generation}: {view.refused.why}"}

    def show() -> None:
        unknown = ", ".join(f"{n:,} {word!r}" for word, n in body["unknown_kinds"].items())
        told = f"{unknown}: each weighs {found.weighting.other:g} until `nearfield weights --kind` says more"
        types = {
            f"attributes of {noun}": ", ".join(f"{name} {kind}" for name, kind in kinds.items()) or None
            for noun, kinds in body["attribute_types"].items()
        }
        rows = body | {"unknown_kinds": told if unknown else "none", "future_events": _future(body)} | types
        table(("", ""), [(name, value) for name, value in rows.items() if name != "attribute_types"])

    emit(json, body, show)


def _future(body: Mapping[str, Any]) -> str:
    """Events refused as of the future, in one line."""
    found = body["future_events"]
    if found is None:
        return "none refused"
    return (
        f"{found['refused']:,} refused, the last at {found['last_at'][:19]}, dated up to {found['farthest'][:19]}: "
        f"{found['what_to_do']}"
    )


def list_models(space: SpaceName = "default", json: Json = False) -> None:
    """Model versions, newest first."""
    with opened(space) as (_, database, found), database.connect() as conn:
        records = models.list_all(conn, found.key)
    names = ("model", "embedder", "dim", "metric", "items", "users", "recall@20", "ndcg@20", "publishable", "created")
    rows = [
        (
            each.version,
            each.embedder,
            each.dim,
            each.metric,
            each.n_items,
            each.n_users,
            each.evaluation.get("recall@20"),
            each.evaluation.get("ndcg@20"),
            each.publishable,
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
        for each in records
    ]
    body = {"models": [dict(zip(names, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(names, rows))


def list_generations(space: SpaceName = "default", json: Json = False) -> None:
    """Generations, newest first."""
    with opened(space) as (_, database, found), database.connect() as conn:
        records = generations.list_all(conn, found.key)
    names = ("generation", "model", "recipe", "recall@20", "served", "created")
    rows = [
        (
            each.generation,
            each.model,
            each.manifest["indexes"]["metric"]["factory"],
            each.manifest["indexes"]["metric"]["recall@20"],
            each.active,
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
        for each in records
    ]
    body = {"generations": [dict(zip(names, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(names, rows))


def doctor(
    mend_ids: Annotated[
        bool, typer.Option("--mend-ids", help="Make users and items whose ids have another form one with their like.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the database, pgvector, FAISS, our own loops, checksums and the disk. Exit 1 if anything is wrong."""
    found = settings()
    mended = _mended(found) if mend_ids else None
    results = [check_faiss(), check_loops(), check_disk(found.home)]
    try:
        with open_database(found) as database:
            results += checks.check_database(database) + check_generations(database, found.generations)
    except NearfieldError as error:
        results.append(("database", False, str(error)))
    ok = all(good for _, good, _ in results)
    body: dict[str, Any] = {
        "ok": ok,
        "checks": [{"name": name, "ok": good, "detail": detail} for name, good, detail in results],
    }
    if mended is not None:
        body["ids_mended"] = mended

    def show() -> None:
        table(("check", "", "detail"), [(name, "ok" if good else "WRONG", detail) for name, good, detail in results])
        out.print("all is well" if ok else "something is wrong")
        if mended:
            out.print(f"{mended:,} ids have their one form now; run `nearfield reindex` for each space")

    emit(json, body, show)
    if not ok:
        sys.exit(1)


def _mended(found: Settings) -> int:
    with open_database(found) as database, database.begin() as conn:
        return sum(id_normalization.mend(conn, each) for each in id_normalization.find(conn))
