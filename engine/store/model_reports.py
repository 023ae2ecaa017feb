"""Reports of a model version: drift reports, and maps of the items, one per method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from engine.errors import NotFound

OF_MODEL = "(SELECT model_key FROM models WHERE space_key = %s AND version = %s)"


def add_drift(conn: sa.Connection, space_key: int, version: int, report: Mapping[str, Any]) -> None:
    insert = f"INSERT INTO drift_reports (model_key, report) VALUES ({OF_MODEL}, %s)"
    conn.exec_driver_sql(insert, (space_key, version, json.dumps(dict(report))))


def latest_drift(conn: sa.Connection, space_key: int, version: int) -> dict[str, Any] | None:
    """The newest drift report of a version, with `made_at`; None when drift was never measured."""
    query = f"""SELECT report, made_at FROM drift_reports WHERE model_key = {OF_MODEL}
                ORDER BY made_at DESC LIMIT 1"""
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    return None if row is None else {**row.report, "made_at": row.made_at.isoformat()}


def set_map(conn: sa.Connection, space_key: int, version: int, method: str, points: Mapping[str, Any]) -> None:
    insert = f"""INSERT INTO maps (model_key, method, points) VALUES ({OF_MODEL}, %s, %s)
                 ON CONFLICT (model_key, method) DO UPDATE SET points = excluded.points, made_at = now()"""
    conn.exec_driver_sql(insert, (space_key, version, method, json.dumps(dict(points))))


def get_map(conn: sa.Connection, space_key: int, version: int, method: str | None) -> dict[str, Any]:
    """The stored map of a method, or the newest map of any method; NotFound when there is none."""
    query = f"""SELECT points FROM maps WHERE model_key = {OF_MODEL} AND (%s::text IS NULL OR method = %s)
                ORDER BY made_at DESC LIMIT 1"""
    points: dict[str, Any] | None = conn.exec_driver_sql(query, (space_key, version, method, method)).scalar()
    if points is None:
        by_method = f" by {method}" if method else ""
        raise NotFound(f"there is no map{by_method} of model {version} yet; `nearfield map` makes one")
    return points
