"""events: record what users did, in bulk, with a status for each row."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Response

from api.auth import require
from api.coalescing.event_writer import MAX_COALESCED_EVENTS
from api.deps import AppEventContext, View
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages.bulk_rows import check_rows
from api.messages.request_schemas import EventBody, EventsBody, NoParameters
from api.messages.response_schemas import EventsAnswer
from api.messages.responses import rows_response
from engine.errors import InputError, Problem
from engine.store import erasures
from engine.values.events import Event
from engine.values.ids import check_id
from engine.values.items import check_text

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["events"], dependencies=[Depends(require("write"))]
)
MAX_AHEAD = timedelta(days=1)  # clocks differ; an event further in the future is an error
ERASED = Problem(("user_id",), erasures.WHY)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@router.post("/events", responses={200: {"model": EventsAnswer}}, summary="Record 1 to 10,000 events")
@writes
async def post_events(
    body: EventsBody,
    none: Annotated[NoParameters, Query()],
    view: View,
    context: AppEventContext,
) -> Response:
    """The status of a row is `written`, `duplicate` (an event with this `event_id` is stored; harmless), or `rejected`
    with the reason in `detail`. Events of erased users are rejected.

    `user_id` may be left away where `session_id` is given: the visitor is then a user whose id is the session id, until
    `POST /users/{user_id}/merge` gives their events to a known user. Purchases with one `order_id` are one basket.

    Every row that is not rejected is durable when the response arrives. If no row is valid the response is 422. Common
    names of kinds are understood (`Order Completed` is a purchase). Events of `unknown_kinds` are stored; they have no
    weight until the weighting of the space lists their kind.
    """
    if len(body.events) > context.settings.max_events:
        message = f"a request has at most {context.settings.max_events} events, got {len(body.events)}"
        raise InputError(message, loc=("body", "events"))
    now, future = datetime.now(UTC), list[datetime]()
    check = partial(check_rows, "events", body.events, partial(parse, now=now, future=future))
    try:
        checked = check() if len(body.events) <= MAX_COALESCED_EVENTS else await asyncio.to_thread(check)
    finally:
        context.clock_skew.count_rejected(view.space, future, now)
    written = await context.event_writer.write(view.space.key, list(checked.valid.values()))
    if any(event.item_id not in view.items for event in checked.valid.values()):
        # A new item can be found and shown at once.
        await asyncio.to_thread(context.live_spaces.notify_write, view.space.name, written.seq)
    checked, statuses = checked.reject("erased", written.statuses, ERASED)
    kinds = Counter(event.kind for event in checked.valid.values())
    unknown = view.space.weighting.vocabulary.unknown_words(dict(kinds))
    if unknown:
        context.metrics.unknown_kinds.labels(view.space.name).inc(sum(unknown.values()))
    results = checked.results(statuses)
    for status in {status for status, _ in results}:
        context.metrics.events.labels(view.space.name, status).inc(sum(each == status for each, _ in results))
    return rows_response(results, len(checked.valid), written.seq, unknown_kinds=unknown)


def parse(row: dict[str, Any], now: datetime, future: list[datetime]) -> Event:
    """The event of a row; InputError for an invalid row. The date of an event in the future is added to `future`."""
    event = EventBody.model_validate(row)
    at = event.occurred_at or now
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if at > now + MAX_AHEAD:
        future.append(at)
        why = f"dated in the future: {at.isoformat()}, and it is {now.isoformat()} by this server's clock"
        raise InputError(why, loc=("occurred_at",))
    if at < EARLIEST:
        raise InputError(f"dated before 1970: {at.isoformat()}", loc=("occurred_at",))
    user = "user_id" if event.user_id is not None or event.session_id is None else "session_id"
    if (user_id := getattr(event, user)) is None:
        raise InputError("expected a user_id, or a session_id for a visitor who is not known", loc=("user_id",))
    return Event(
        check_id(user_id, (user,)),
        check_id(event.item_id, ("item_id",)),
        check_text(event.kind, ("kind",)),
        at,
        float(np.float32(event.value)),
        *(
            None if (id_ := getattr(event, name)) is None else check_id(id_, (name,))
            for name in ("event_id", "order_id", "session_id")
        ),
    )
