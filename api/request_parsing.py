"""Request parsing: bodies and queries to the one request value of the engine. Ids are checked, filters and boosts are
predicates, a session is a history, a cursor is opened. What the view must tell, such as the dimensions of a vector, is
checked against the view that answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from api.coalescing.user_profile import UserProfile
from api.messages import cursors
from api.messages.boost_schemas import Boost, BoostList
from api.messages.cursors import Series
from api.messages.merchandising.page_schemas import PageBody
from api.messages.request_schemas import SearchOptions
from api.messages.shelf_schemas import PastEvent, RankBody, RecommendQuery, Shelf, ShelfBody
from api.shaping_parsing import parse_group_by, parse_pins
from api.strategies.strategy_parsing import parse_strategy
from engine.catalogue import predicate
from engine.catalogue.predicate import Predicate
from engine.errors import InputError
from engine.merchandising.references import depends_on_request
from engine.recommending.values.boosts import NO_BOOSTS, Boosts, CurveBoost, FilterBoost
from engine.recommending.values.request import NO_HISTORY, Caps, Request
from engine.segments.references import Expander
from engine.segments.segments import NO_SEGMENTS
from engine.values.durations import parse_duration
from engine.values.events import History, view_history
from engine.values.ids import check_id
from engine.values.vectors import MAX_QUERY_LENGTH, Matrix, check_length, check_vector
from indexing.live.view import LiveView

Loc = tuple[str | int, ...]
OF_ITEMS = frozenset({"similar", "bought_together", "list"})  # the strategies of which `item_ids` are seeds or items


def parse_recommend(
    body: ShelfBody | RecommendQuery,
    now_us: int,
    *,
    pages: Series,
    filter_loc: Loc,
    loc: Loc = (),
    explain: int | None = None,
    segments: Expander = NO_SEGMENTS,
) -> Request:
    """Without the vector, see `with_vector`, and the stored history, see `with_profile`."""
    filter_ = parse_filter(body.filter, filter_loc, segments)
    user_id, session_id = parse_person(body, loc)
    check_ids("item_ids", body.item_ids, loc)
    check_ids("exclude_items", body.exclude_items, loc)
    check_ids("include_items", body.include_items or (), loc)
    if body.vector is not None and (body.history or body.item_ids):
        message = "a vector already says who it is for; leave history and item_ids away"
        raise InputError(message, loc=(*loc, "vector"))
    if body.vector is not None and body.personalization == "none":
        message = "a vector says who it is for, and with personalization=none a shelf is for nobody; leave one away"
        raise InputError(message, loc=(*loc, "vector"))
    group_by, choose_by = parse_group_by(body.group_by, (*loc, "group_by"))
    strategy = parse_strategy(body, loc)
    return Request(
        source=strategy.source,
        fallback=strategy.fallback,
        k=body.k,
        user_id=user_id,
        session_id=session_id,
        history=_session(body, now_us, loc),
        item_ids=body.item_ids if strategy.source in OF_ITEMS else (),
        predicate=filter_,
        boosts=parse_boosts(body.boost, loc, segments),
        objective=body.objective,
        group_by=group_by,
        choose_by=choose_by,
        caps=parse_caps(body.caps, (*loc, "caps")),
        min_score=body.min_score,
        rotation_us=None if body.rotation is None else parse_duration(body.rotation, (*loc, "rotation")),
        diversity=body.diversity,
        pins=parse_pins(body, loc, segments),
        exclude=strategy.exclude.relations,
        exclude_within=strategy.exclude.within,
        exclude_items=body.exclude_items,
        include_items=body.include_items,
        shown=cursors.shown(body.cursor, pages, (*loc, "cursor")),
        explore=body.explore,
        seed=body.seed,
        explain=explain,
    )


def parse_person(body: Shelf | PageBody, loc: Loc = ()) -> tuple[str | None, str | None]:
    """Whose stored events a request may read, and of which session alone. A visitor is a user whose id is that of the
    session."""
    for name in ("user_id", "session_id"):
        if (id_ := getattr(body, name)) is not None:
            check_id(id_, (*loc, name))
    if body.personalization == "full":
        return (body.session_id if body.user_id is None else body.user_id), None
    if body.personalization == "none" or body.session_id is None:
        return None, None
    return body.session_id if body.user_id is None else body.user_id, body.session_id


def parse_rank(body: RankBody, now_us: int, segments: Expander = NO_SEGMENTS, loc: Loc = ()) -> Request:
    check_ids("item_ids", body.item_ids, loc)
    if len(set(body.item_ids)) != len(body.item_ids):
        raise InputError("item_ids names an item twice", loc=(*loc, "item_ids"))
    if body.user_id is not None:
        check_id(body.user_id, (*loc, "user_id"))
    return Request(
        source="given_items",
        k=len(body.item_ids),
        user_id=body.user_id,
        history=parse_session(body.history, now_us, loc),
        item_ids=body.item_ids,
        predicate=parse_filter(body.filter, (*loc, "filter"), segments),
        boosts=parse_boosts(body.boost, loc, segments),
        explain=body.explain,
    )


def parse_search(
    near: SearchOptions,
    filter_: Mapping[str, Any] | str | None,
    loc: Loc,
    item_ids: Sequence[str],
    unlike: Sequence[str],
    pages: Series,
    segments: Expander = NO_SEGMENTS,
) -> Request:
    """A search from items; a search from a vector or a record gets it by `dataclasses.replace`."""
    parsed = parse_filter(filter_, (*loc, "filter"), segments)
    check_ids("positive", item_ids, loc)
    check_ids("negative", unlike, loc)
    check_ids("exclude_items", near.exclude_items, loc)
    return Request(
        source="search",
        k=near.k,
        item_ids=item_ids,
        unlike=unlike,
        predicate=parsed,
        exclude_items=near.exclude_items,
        shown=cursors.shown(near.cursor, pages, (*loc, "cursor")),
    )


def with_vector(request: Request, values: Sequence[float] | None, view: LiveView, loc: Loc = ()) -> Request:
    """The request with its user vector, checked against the model that answers."""
    return request if values is None else replace(request, vector=_user_vector(values, view, (*loc, "vector")))


def with_profile(request: Request, profile: UserProfile) -> Request:
    """The request with the history and the vector of its user. A vector of the request wins."""
    vector = profile.vector if request.vector is None else request.vector
    return replace(request, history=profile.history, vector=vector)


def parse_filter(
    text_or_json: Mapping[str, Any] | str | None, loc: Loc, segments: Expander = NO_SEGMENTS
) -> Predicate | None:
    """The filter of a body, or the JSON text of a query; InputError names the part that is wrong."""
    if text_or_json is None:
        return None
    return predicate.parse(segments.expand(json_of_filter(text_or_json, loc), loc), loc)


def json_of_filter(text_or_json: Mapping[str, Any] | str, loc: Loc) -> Any:
    """The filter of a body as it is, or the JSON that the text of a query holds."""
    if not isinstance(text_or_json, str):
        return text_or_json
    try:
        return orjson.loads(text_or_json)
    except orjson.JSONDecodeError as error:
        raise InputError(f'a filter is JSON such as {{"price": {{"lt": 30}}}}; {error}', loc=loc) from None


def parse_boosts(boosts: Sequence[Boost], loc: Loc = (), segments: Expander = NO_SEGMENTS) -> Boosts:
    """The boosts of a body, whose conditions have places within the request, because requests share them. A `BoostList`
    is parsed once, unless it refers to segments or the request; InputError names the part that is wrong."""
    if not boosts:
        return NO_BOOSTS
    parsed = boosts.parsed if isinstance(boosts, BoostList) else None
    if parsed is None:
        try:
            parsed = Boosts(parse_boost(boost, ("boost", at), segments) for at, boost in enumerate(boosts))
        except InputError as error:
            raise error.within(loc) from None
        if isinstance(boosts, BoostList) and not any(_depends_on_request(boost) for boost in boosts):
            boosts.parsed = parsed
    return parsed


def _depends_on_request(boost: Boost) -> bool:
    return depends_on_request(boost.filter) or "{" in (boost.field or boost.age_of or "")


def parse_boost(boost: Boost, loc: Loc, segments: Expander) -> FilterBoost | CurveBoost:
    passing = parse_filter(boost.filter, (*loc, "filter"), segments)
    if boost.curve is None:
        assert passing is not None
        return FilterBoost(passing, boost.factor or 1.0, boost.add or 0.0)
    place, name = ("field", boost.field) if boost.age_of is None else ("age_of", boost.age_of)
    name = segments.field_name(name or "", (*loc, place))
    field, adds = predicate.canonical_field(name, (*loc, place)), boost.as_ == "add"
    missing = boost.missing if boost.missing is not None else float(not adds)
    return CurveBoost(field, tuple(boost.curve), boost.age_of is not None, adds, missing, passing)


def parse_caps(caps: Mapping[str, int], loc: Loc) -> Caps:
    parsed = {predicate.canonical_field(name, (*loc, name)): n for name, n in caps.items()}
    if len(parsed) < len(caps):
        raise InputError("two caps are for the same attribute, with and without `attributes.`; leave one out", loc=loc)
    return tuple(parsed.items())


def check_ids(name: str, ids: Iterable[str], loc: Loc = ()) -> None:
    for at, id_ in enumerate(ids):
        check_id(id_, (*loc, name, at))


def _session(body: ShelfBody | RecommendQuery, now_us: int, loc: Loc) -> History:
    """The events of the session, then a view of each listed item, unless they are the items to show."""
    session = NO_HISTORY if body.personalization == "none" else parse_session(body.history, now_us, loc)
    if not body.item_ids or body.strategy == "list":
        return session
    viewed = view_history(body.item_ids, now_us)
    return session.followed_by(viewed) if len(session) else viewed


def _user_vector(values: Sequence[float], view: LiveView, loc: Loc) -> Matrix:
    if view.generation is None:
        raise InputError("there is no model yet that this vector could belong to", loc=loc)
    vector = check_vector(values, view.dim, loc)
    return vector if view.generation.metric == "cosine" else check_length(vector, MAX_QUERY_LENGTH, loc)


def parse_session(session_events: Sequence[PastEvent], now_us: int, loc: Loc = ()) -> History:
    """The events of a request as a history. An event without a time has the time `now_us`."""
    if not session_events:
        return NO_HISTORY
    for at, event in enumerate(session_events):
        check_id(event.item_id, (*loc, "history", at, "item_id"))
    return History(
        tuple(event.item_id for event in session_events),
        tuple(event.kind for event in session_events),
        np.array([event.value for event in session_events], np.float32),
        np.array(
            [now_us if event.occurred_at is None else _microseconds(event.occurred_at) for event in session_events],
            np.int64,
        ),
    )


def _microseconds(time: datetime) -> int:
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e6)
