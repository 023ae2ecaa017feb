"""Histories: what is known of the users of a request, from its session and from PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from api.messages.request_schemas import PastEvent
from engine.errors import StoreUnavailable
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import History
from engine.values.ids import check_id
from engine.values.vectors import Matrix
from indexing.live.view import LiveView


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a user: live history, or the stored vector while PostgreSQL is away."""

    history: History
    vector: Matrix | None = None
    degraded: bool = False


def session(past: Sequence[PastEvent], now_us: int, loc: tuple[str | int, ...] = ()) -> History:
    """Events of a request as a history; those without a time are of now."""
    for at, event in enumerate(past):
        check_id(event.item_id, (*loc, "history", at, "item_id"))
    return History(
        tuple(event.item_id for event in past),
        tuple(event.kind for event in past),
        np.array([event.value for event in past], np.float32),
        np.array([now_us if event.occurred_at is None else _us(event.occurred_at) for event in past], np.int64),
    )


def known(user_id: str | None, asked: History, view: LiveView, database: Database, limit: int) -> Known:
    """The session of one user before the newest `limit` events that are stored."""
    if user_id is None:
        return Known(asked)
    try:
        with database.connect() as conn:
            stored = events.history(conn, view.space.key, user_id, limit)
    except StoreUnavailable:
        return without_database(user_id, asked, view)
    return joined(asked, stored)


def joined(asked: History, stored: History) -> Known:
    """A session before what is stored."""
    return Known(asked.followed_by(stored) if len(asked) else stored)


def known_each(
    asked: Sequence[tuple[str | None, History]], view: LiveView, database: Database, limit: int
) -> list[Known]:
    """As `known` for each (user_id, session), read in one statement."""
    names = sorted({user_id for user_id, _ in asked if user_id is not None})
    stored: Mapping[str, History] = {}
    try:
        if names:
            with database.connect() as conn:
                stored = events.histories(conn, view.space.key, names, limit)
    except StoreUnavailable:
        return [Known(past) if user is None else without_database(user, past, view) for user, past in asked]
    return [Known(past) if user is None else joined(past, stored.get(user, History())) for user, past in asked]


def without_database(user_id: str, asked: History, view: LiveView) -> Known:
    row = view.users.ids.row(user_id) if view.users is not None and not len(asked) else None
    vector = None if row is None or view.users is None else np.asarray(view.users.matrix[row])
    return Known(asked, vector if vector is not None and vector.any() else None, degraded=True)


def _us(at: datetime) -> int:
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
