"""What the users of requests were shown: stored shelves, and those that wait in this process to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from api.served.shelf_writer import ShelfWriter, Shown
from engine.errors import StoreUnavailable
from engine.recommending.impressions import impressions_since
from engine.recommending.values.request import NO_HISTORY, Request
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.values.events import History
from indexing.live.view import LiveView

EARLY_US, LATE_US = 60_000_000, 1_800_000_000  # an event may report a served shelf so long before, and after it


def needs_impressions(request: Request, now_us: int) -> bool:
    return impressions_since(request, now_us) is not None


def with_impressions(
    requests: Sequence[Request], view: LiveView, database: Database, writer: ShelfWriter | None, now_us: int
) -> tuple[list[Request], bool]:
    """The requests, those that need it with what their user was shown, read once for each user; whether PostgreSQL is
    away, so that only the history and the waiting shelves count. Without a writer, only stored shelves count."""
    since = [impressions_since(request, now_us) for request in requests]
    if not any(each is not None for each in since):
        return list(requests), False
    oldest = dict[tuple[str, str | None], int]()
    for request, start in zip(requests, since, strict=True):
        if start is not None and request.user_id is not None:
            person = (request.user_id, request.session_id)
            oldest[person] = min(start, oldest.get(person, start))
    shown, degraded = _shown(oldest, view.space.key, database, writer)
    made = []
    for request, start in zip(requests, since, strict=True):
        if start is not None:
            found = NO_HISTORY if request.user_id is None else shown[request.user_id, request.session_id]
            events = of_events(request.history, found, view)
            request = replace(request, impressions=found.followed_by(events) if len(events) else found)
        made.append(request)
    return made, degraded


def _shown(
    oldest: dict[tuple[str, str | None], int], space_key: int, database: Database, writer: ShelfWriter | None
) -> tuple[dict[tuple[str, str | None], History], bool]:
    waiting: dict[tuple[str, str | None], list[Shown]] = {person: [] for person in oldest}
    if writer is not None:  # first: see `ShelfWriter.waiting`
        waiting = {person: writer.waiting(space_key, person[0]) for person in oldest}
    stored, degraded = dict[tuple[str, str | None], History](), False
    if oldest:
        try:
            with database.connect() as conn:
                for (user_id, session_id), since in oldest.items():
                    found = served_shelves.shown_to(conn, space_key, user_id, since, session_id)
                    stored[user_id, session_id] = found
        except StoreUnavailable:
            degraded = True
    shown = {}
    for person, since in oldest.items():
        of_person = stored.get(person) or NO_HISTORY
        known = set(zip(of_person.occurred_us.tolist(), of_person.item_ids, strict=True))
        new = [
            (each.served_us, [id_ for id_ in each.item_ids if (each.served_us, id_) not in known])
            for each in reversed(waiting[person])
            if each.served_us >= since and person[1] in (None, each.session_id)
        ]
        recent = served_shelves.impressions(new)
        shown[person] = recent.followed_by(of_person) if len(recent) else of_person
    return shown, degraded


def of_events(history: History, served: History, view: LiveView) -> History:
    """The impressions among the events of a history, without those that report an item of a served shelf: that was
    shown once, not twice."""
    vocabulary = view.space.weighting.vocabulary
    kinds = {kind for kind in set(history.kinds) if vocabulary.meaning(kind).kind == "impression"}
    if not kinds:
        return NO_HISTORY
    served_at: dict[str, list[int]] = {}
    for item_id, at in zip(served.item_ids, served.occurred_us.tolist(), strict=True):
        served_at.setdefault(item_id, []).append(at)
    events = zip(history.item_ids, history.kinds, history.occurred_us.tolist(), strict=True)
    rows = [
        row
        for row, (item_id, kind, at) in enumerate(events)
        if kind in kinds and not any(-EARLY_US < at - served < LATE_US for served in served_at.get(item_id, ()))
    ]
    item_ids = tuple(history.item_ids[row] for row in rows)
    return History(item_ids, ("impression",) * len(rows), history.values[rows], history.occurred_us[rows])
