"""The users of `user_ids`: their histories, for requests that are for them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from api.coalescing.user_profile import read_profiles
from engine.recommending.values.request import NO_HISTORY, Request
from engine.store.database.connections import Database
from indexing.live.view import LiveView


def with_people(
    request: Request, user_ids: Sequence[str], view: LiveView, database: Database, limit: int
) -> tuple[Request, bool]:
    """The request with the newest `limit` events of each user, read by one statement; whether it is degraded, because
    the vectors that the generation stores stand in for the histories."""
    if not user_ids:
        return request, False
    users = [(user_id, NO_HISTORY) for user_id in dict.fromkeys(user_ids)]
    profiles = read_profiles(users, view, database, limit)
    people = [profile.history for profile in profiles if len(profile.history)]
    vectors = [profile.vector for profile in profiles if profile.vector is not None]
    return replace(request, people=people, people_vectors=vectors), any(profile.degraded for profile in profiles)
