"""The known history of the users of a request: the events of the session and the history stored in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import StoreUnavailable
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import History
from engine.values.vectors import Matrix
from indexing.live.view import LiveView


@dataclass(frozen=True, eq=False)
class UserProfile:
    """The live history of a user, or the stored user vector while PostgreSQL is unavailable."""

    history: History
    vector: Matrix | None = None
    degraded: bool = False


def read_profile(
    user_id: str | None,
    session: History,
    view: LiveView,
    database: Database,
    limit: int,
    session_id: str | None = None,
) -> UserProfile:
    """The session of one user, followed by the newest `limit` stored events; with `session_id`, only events of it."""
    if user_id is None:
        return UserProfile(session)
    try:
        with database.connect() as conn:
            if session_id is None:
                stored = events.history(conn, view.space.key, user_id, limit)
            else:
                stored = events.of_session(conn, view.space.key, user_id, session_id, limit)
    except StoreUnavailable:
        return profile_without_database(user_id, session, view, session_id)
    return with_session(session, stored)


def with_session(session: History, stored: History) -> UserProfile:
    """The session first, then the stored history."""
    return UserProfile(session.followed_by(stored) if len(session) else stored)


def read_profiles(
    users: Sequence[tuple[str | None, History]], view: LiveView, database: Database, limit: int
) -> list[UserProfile]:
    """As `read_profile` for each (user_id, session), with one SQL statement and without `session_id`."""
    user_ids = sorted({user_id for user_id, _ in users if user_id is not None})
    stored: Mapping[str, History] = {}
    try:
        if user_ids:
            with database.connect() as conn:
                stored = events.histories(conn, view.space.key, user_ids, limit)
    except StoreUnavailable:
        return [
            UserProfile(session) if user_id is None else profile_without_database(user_id, session, view)
            for user_id, session in users
        ]
    return [
        UserProfile(session) if user_id is None else with_session(session, stored.get(user_id, History()))
        for user_id, session in users
    ]


def profile_without_database(
    user_id: str, session: History, view: LiveView, session_id: str | None = None
) -> UserProfile:
    """The session; for an empty session, the user vector that the generation stores, unless only the events of
    `session_id` may be read."""
    is_known = view.users is not None and session_id is None and not len(session)
    row = view.users.ids.row(user_id) if is_known and view.users is not None else None
    vector = None if row is None or view.users is None else np.asarray(view.users.matrix[row])
    return UserProfile(session, vector if vector is not None and vector.any() else None, degraded=True)
