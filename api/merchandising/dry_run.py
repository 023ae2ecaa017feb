"""Dry run: the newest stored requests, each answered twice on one view: with the current presets and with a change.

Both answers are for the same moment, the same history and the same seed, so that they differ by the change alone. The
page of a cursor is answered as a first page. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from fastapi import Request as HttpRequest
from pydantic import ValidationError

from api.merchandising.placed import placement_of, stores_seeds, wrong_document
from api.merchandising.ruled import members_of
from api.merchandising.shelf_batch import AskedShelf, asked_shelf, with_profiles
from api.messages.cursors import Series
from api.messages.shelf_schemas import ExplainOptions, ShelfBody
from api.served.impressions import with_impressions
from api.strategies.strategy_parsing import check_seeds
from engine.deadline import until_deadline
from engine.errors import InputError
from engine.merchandising.exposure import ExposureBy
from engine.merchandising.placements import OF_REQUEST
from engine.merchandising.presets import Document, parse_presets
from engine.merchandising.rules import Members
from engine.merchandising.shelf_changes import Answered, Compared, shelf_changes
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf
from indexing.live.view import LiveView

LOC = ("body", "n")
NO_PAGES = Series(b"", b"", 0)


@dataclass(frozen=True)
class Changed:
    """A document in place of a stored one, or as a new one; a body of None deletes it."""

    kind: str  # placement, rule or segment
    name: str
    version: int
    body: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class Trial:
    view: LiveView
    database: Database
    settings: Settings
    now_us: int  # the moment of which both answers are
    current: Sequence[Document]  # the stored presets of all kinds
    http: HttpRequest | None = None


def dry_run(
    trial: Trial, changed: Sequence[Changed], n: int, by: ExposureBy, placement: str | None = None
) -> dict[str, Any]:
    """What changes do together to the newest `n` requests. One change of a stored placement alone is tried on the
    requests that name it, one of a new placement on requests without a placement, as if they named it. `placement`:
    only requests that name this one. InputError for more work than is allowed.
    """
    keys = {(each.kind, each.name) for each in changed}
    others = [each for each in trial.current if (each.kind, each.name) not in keys]
    alone = changed[0].name if len(changed) == 1 and changed[0].kind == "placement" else None
    is_new = len(others) == len(trial.current)
    as_named = alone if is_new else None
    named = alone if alone is not None and not is_new else placement
    with trial.database.connect() as conn:
        key = trial.view.space.key
        served = served_shelves.newest(conn, key, n, named, without_placement=as_named is not None)
    version = trial.view.presets.version
    before, after = (
        replace(trial.view, presets=parse_presets(version, documents))
        for documents in (trial.current, [*others, *changed])
    )
    shelves = _compared(trial, served, before, after, as_named)
    shortfall = None
    if len(served) < n:
        which = f" of placement {named!r}" if named else " without a placement" if as_named else ""
        reason = f"the server keeps no more requests{which}"
        shortfall = {"requested": n, "returned": len(served), "reason": reason}
    return {
        "placement": named or as_named,
        "shortfall": shortfall,
        **shelf_changes(trial.view, shelves, by, [each.name for each in changed if each.kind == "rule"]),
    }


def _compared(
    trial: Trial, served: Sequence[ServedShelf], before: LiveView, after: LiveView, as_named: str | None
) -> list[Compared]:
    sides = [_side(trial, served, before, None), _side(trial, served, after, as_named)]
    ready = [each for side in sides for each in side if isinstance(each, AskedShelf)]
    shelves, _ = with_profiles(ready, trial.view, trial.database, trial.settings, trial.http, LOC)
    shelves, _ = with_impressions(shelves, trial.view, trial.database, None, trial.now_us)
    with_history = dict(zip(map(id, ready), shelves, strict=True))
    found = []
    for at, (each, *asked) in enumerate(until_deadline(zip(served, *sides, strict=True), every=1)):
        answered = [_answered(trial, one, with_history.get(id(one)), at) for one in asked]
        found.append(Compared(_shown(each), *answered))
    return found


def _side(
    trial: Trial, served: Sequence[ServedShelf], view: LiveView, as_named: str | None
) -> list[AskedShelf | InputError]:
    """The requests parsed with the presets of a view, each a shelf or the reason why it is refused."""

    @cache
    def members(user_id: str | None) -> Members:
        return members_of(user_id, view, trial.database, trial.now_us)

    found = list[AskedShelf | InputError]()
    for each in until_deadline(served, every=1):
        try:
            body = _body(each, view, as_named)
            asked = asked_shelf(body, (), view, trial.settings, ExplainOptions(), trial.now_us, NO_PAGES, members)
            if not stores_seeds(asked.placement):
                check_seeds(view, asked.shelf, ())
            found.append(asked)
        except InputError as error:
            found.append(error)
    return found


def _body(served: ServedShelf, view: LiveView, as_named: str | None) -> ShelfBody:
    """The request as it was asked. `as_named`: it names this placement in place of the parameters that it sets."""
    asked = orjson.loads(served.request) | {"user_id": served.user_id, "session_id": served.session_id}
    asked = {
        name: value
        for name, value in asked.items()
        if name in ShelfBody.model_fields and name != "cursor" and value is not None
    }
    if as_named is not None:
        placed = placement_of(view.presets, as_named, ("placement",)).parameters
        asked = {name: value for name, value in asked.items() if name in OF_REQUEST or name not in placed}
        asked["placement"] = as_named
    try:
        return ShelfBody.model_validate(asked)
    except ValidationError as error:
        raise wrong_document(error, ()) from None


def _answered(trial: Trial, asked: AskedShelf | InputError, shelf: Request | None, seed: int) -> Answered:
    if isinstance(asked, InputError) or shelf is None:
        return Answered(refused=_why(asked))
    if shelf.seed is None:
        shelf = replace(shelf, seed=seed)
    try:
        [answer] = recommend(trial.view, [shelf], weighting=trial.view.space.weighting, now_us=trial.now_us)
    except InputError as error:
        return Answered(refused=_why(error))
    return Answered(answer, asked.rules.names)


def _why(error: object) -> str:
    place = ".".join(map(str, error.problems[0].loc)) if isinstance(error, InputError) and error.problems else ""
    return f"{place}: {error}" if place else str(error)


def _shown(served: ServedShelf) -> dict[str, Any]:
    return {
        "served_at": datetime.fromtimestamp(served.served_us / 1e6, UTC),
        "user_id": served.user_id,
        "session_id": served.session_id,
        "request": orjson.loads(served.request),
    }
