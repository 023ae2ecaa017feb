"""What a read asks for, as the engine takes it: a view that is new enough, filtered; checked ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import Depends, Query, Request

from api.deps import LiveSpaces, View
from api.limits.deadline import check_deadline
from api.messages.request_schemas import Boost, Fresh, Near, RecommendBody, RecommendQuery
from engine.catalogue import predicate, request_cost
from engine.catalogue.predicate import Predicate
from engine.errors import InputError
from engine.recommending.recommend import Hit
from engine.settings import Settings
from engine.store import items
from engine.store.database.connections import Database
from engine.values.ids import check_id
from indexing.gpu.gpu_server import OwnedSearcher
from indexing.live.view import LiveView

QUICK_K = 100
QUICK_FLOATS = 2**20  # multiplied and added in a few tenths of a millisecond
DEADLINE_S = 1.0  # how long min_seq is waited for by a read that does not say


def fresh(request: Request, view: LiveView, asked: Fresh) -> LiveView:
    """The view, at least as new as `min_seq` and what was acknowledged before with a lower number; DeadlineExceeded
    when the deadline passes first."""
    now = time.perf_counter()  # not when the request arrived: its body, which has min_seq, may have come later
    if asked.min_seq is not None and not view.shows(asked.min_seq, now):
        live_spaces: LiveSpaces = request.app.state.live_spaces
        until = request.state.arrived + DEADLINE_S if asked.deadline_ms is None else request.state.deadline.at
        view = live_spaces.get_existing(view.space.name).reach(asked.min_seq, until - now, now)
    check_deadline(request)
    return view


async def get_fresh_view(request: Request, view: View, asked: Annotated[Fresh, Query()]) -> LiveView:
    return view if asked.min_seq is None else await asyncio.to_thread(fresh, request, view, asked)


FreshView = Annotated[LiveView, Depends(get_fresh_view)]  # of a read that has no other parameters


def at_once(
    view: LiveView,
    asked: Near | RecommendBody | RecommendQuery,
    passed: Predicate | None,
    index: Literal["cosine", "metric"] = "cosine",
) -> bool:
    """Whether an answer takes so little that moving it to a thread would cost more: nothing to wait for, few items that
    are known to pass the filter, and an index that is searched in well under a millisecond."""
    if asked.min_seq is not None or asked.deadline_ms is not None or asked.k > QUICK_K:
        return False
    if getattr(asked, "boost", None) or getattr(asked, "explain", None):
        return False
    if view.generation is None or view.delta is not None:
        return False
    generation = view.generation
    if isinstance(generation.users_to_items if index == "metric" else generation.items_to_items, OwnedSearcher):
        return False  # another process answers: waiting here, nothing would come together, and all would hang with it
    if passed is not None:
        n_passing = view.n_passing(passed)
        return n_passing is not None and n_passing * view.dim <= QUICK_FLOATS
    exact = generation.manifest["indexes"][index]["factory"] == "Flat"
    return not exact or view.n_vectors * view.dim <= QUICK_FLOATS


def without_deleted(hits: Sequence[Hit], space_key: int, database: Database) -> tuple[Hit, ...]:
    """Hits of strangers, which a generation knows nothing of, may be items deleted before it was built."""
    strangers = [hit.item_id for hit in hits if hit.row < 0]
    if not strangers:
        return tuple(hits)
    with database.connect() as conn:
        gone = items.deleted(conn, space_key, strangers)
    return tuple(hit for hit in hits if hit.item_id not in gone)


def predicate_of(given: Mapping[str, Any] | str | None, loc: tuple[str | int, ...] = ("filter",)) -> Predicate | None:
    """The filter of a body, or the JSON text of a query; InputError names the part that is wrong."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError as error:
            raise InputError(f'a filter is JSON such as {{"price": {{"lt": 30}}}}; {error}', loc=loc) from None
    return predicate.parse(given, loc)


Boosts = tuple[tuple[Predicate, float], ...]  # what is boosted, and the factor


def boosts_of(given: Sequence[Boost], loc: tuple[str | int, ...] = ()) -> Boosts:
    """As `predicate_of`."""
    return tuple(
        (predicate.parse(each.filter, (*loc, "boost", at, "filter")), each.factor) for at, each in enumerate(given)
    )


def check_work(
    view: LiveView,
    settings: Settings,
    shelves: Sequence[tuple[Predicate | None, Boosts]],
    loc: tuple[str | int, ...],
    n_shown: int = 0,
) -> None:
    """InputError for shelves whose filters and boosts would take longer than may be."""
    size = request_cost.RequestSize(len(view.items), len(view.changed))
    if view.generation is not None:
        size = replace(size, text_bytes=view.generation.columns.text_bytes)
    asked = [*{passed for passed, _ in shelves if passed}, *(of for _, boosts in set(shelves) for of, _ in boosts)]
    boosting = sum(size.boost_cost(len(boosts)) for _, boosts in shelves if boosts)
    cost = sum(map(size.filter_cost, asked)) + boosting + n_shown * request_cost.ANSWER_ITEM_COST
    request_cost.check_cost(cost, settings.max_work, loc)


def check_ids(name: str, ids: Iterable[str], loc: tuple[str | int, ...] = ()) -> None:
    for at, id_ in enumerate(ids):
        check_id(id_, (*loc, name, at))
