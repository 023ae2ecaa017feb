"""nearfield status: what a space holds and serves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, table
from engine.settings import Settings
from engine.store import attribute_types, events, generations, items, users
from engine.store.database import clock_skew
from engine.store.database.connections import Connection, Database
from engine.store.database.leader_election import is_job_running
from engine.store.generations import GenerationRecord
from engine.store.spaces import Space
from indexing.building.build import rebuild_job
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace
from indexing.refresh.maintenance import changed_shares


def add_to(app: typer.Typer) -> None:
    app.command()(status)


def status(space: SpaceName = "default", json: Json = False) -> None:
    """Show what a space holds and serves.

    Prints the number of items, users and events, unknown kinds of events, types of attributes, the model and generation
    that are served, the index's age and recall, the share of new (delta) and of deleted (tombstone) items since it was
    built, and events refused because their time lies in the future.

    Example: `nearfield status --space default`
    """
    with opened(space) as (settings, database, found), database.connect() as conn:
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
            body |= _index_state(settings, database, conn, found, active)
    emit(json, body, lambda: _print_status(body, found))


def _index_state(
    settings: Settings, database: Database, conn: Connection, space: Space, active: GenerationRecord
) -> dict[str, Any]:
    """Age and recall of the active generation, and what changed since it was built."""
    view = LiveSpace(database, settings.generations, space.name).current()
    shares = changed_shares(view)
    age = datetime.now(UTC) - active.created_at
    state = {
        "generation_age_s": round(age.total_seconds()),
        "recall@20": active.manifest["indexes"]["metric"]["recall@20"],
        "popularity_half_life_days": active.manifest.get("popularity", {}).get("half_life_days"),
        "delta_share": round(shares.delta, 5),
        "tombstone_share": round(shares.tombstones, 5),
        "rebuilding": is_job_running(conn, rebuild_job(space)),
        "preset_problems": _preset_problems(view),
    }
    if view.refused is not None:
        state["refused"] = f"{view.refused.generation}: {view.refused.why}"
    return state


def _preset_problems(view: LiveView) -> list[dict[str, str]]:
    from api.merchandising.preset_problems import listed, preset_problems  # the schemas of the HTTP API load slowly

    return listed(preset_problems(view))


def _print_status(body: Mapping[str, Any], space: Space) -> None:
    unknown = ", ".join(f"{n:,} {word!r}" for word, n in body["unknown_kinds"].items())
    weight = f"each weighs {space.weighting.other:g} until `nearfield weights --kind` gives it a weight"
    types = {
        f"attributes of {noun}": ", ".join(f"{name} {kind}" for name, kind in kinds.items()) or None
        for noun, kinds in body["attribute_types"].items()
    }
    rows = {**body, "unknown_kinds": f"{unknown}: {weight}" if unknown else "none"}
    problems = [f"{each['kind']} {each['name']}: {each['problem']}" for each in body.get("preset_problems", ())]
    rows |= {"preset_problems": "; ".join(problems) or "none"}
    rows |= {"future_events": _future_events(body)} | types
    table(("", ""), [(name, value) for name, value in rows.items() if name != "attribute_types"])


def _future_events(body: Mapping[str, Any]) -> str:
    """One line about events that were refused because their time lies in the future."""
    refused = body["future_events"]
    if refused is None:
        return "none refused"
    return (
        f"{refused['refused']:,} refused, the last at {refused['last_at'][:19]}, "
        f"dated up to {refused['farthest'][:19]}: {refused['what_to_do']}"
    )
