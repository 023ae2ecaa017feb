"""Strategy parsing: the source of a shelf, the sources of its fallback, and what they leave out by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engine.errors import InputError, NotFound
from engine.recommending.exclude_parameter import ExcludedRelations, parse_exclude
from engine.recommending.sources.registry import SOURCES
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.ids import check_id

Loc = tuple[str | int, ...]
NEEDS_SEEDS = frozenset({"similar", "bought_together"})
OF_PEOPLE = "for_these_people"
DEFAULT_EXCLUDE = {name: parse_exclude(source.exclude) for name, source in SOURCES.items()}


class Asked(Protocol):
    """The parts of a body or a query that a strategy reads."""

    @property
    def strategy(self) -> str: ...
    @property
    def fallback(self) -> Sequence[str] | None: ...
    @property
    def fill(self) -> str | None: ...
    @property
    def exclude(self) -> ExcludedRelations | None: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def personalization(self) -> str: ...
    @property
    def user_ids(self) -> Sequence[str]: ...
    @property
    def item_ids(self) -> Sequence[str]: ...
    @property
    def history(self) -> Sequence[object]: ...
    @property
    def vector(self) -> Sequence[float] | None: ...


class Strategy(NamedTuple):
    source: str
    fallback: tuple[str, ...]
    exclude: ExcludedRelations


def parse_strategy(asked: Asked, loc: Loc = ()) -> Strategy:
    name = asked.strategy
    if asked.vector is not None and name != "for_you":
        raise InputError(f"a vector goes with the strategy for_you, got {name}", loc=(*loc, "vector"))
    if name == "list" and not asked.item_ids:
        raise InputError("the strategy list shows the items of item_ids, which is empty", loc=(*loc, "item_ids"))
    fallback = parse_fallback(name, asked.fallback, asked.fill, loc)
    _check_people(asked, (name, *fallback), loc)
    return Strategy(name, fallback, _exclude(asked, (name, *fallback), loc))


def parse_fallback(strategy: str, fallback: Sequence[str] | None, fill: str | None, loc: Loc = ()) -> tuple[str, ...]:
    """The sources that continue a shelf; InputError for a circle, and for `fill` beside `fallback`."""
    default = SOURCES[strategy].fallback
    if fallback is None:
        if fill is None:
            return default
        return () if fill == "none" else (*default[:-1], *({fill} - {strategy}))
    if fill is not None:
        raise InputError("fill is a short form of fallback; leave one of them out", loc=(*loc, "fill"))
    for at, name in enumerate(fallback):
        if name == strategy or name in fallback[:at]:
            message = f"{name} is used before it in the same shelf, which would be a circle; leave it out"
            raise InputError(message, loc=(*loc, "fallback", at))
    return tuple(fallback)


def _check_people(asked: Asked, sources: Sequence[str], loc: Loc) -> None:
    for at, user_id in enumerate(asked.user_ids):
        check_id(user_id, (*loc, "user_ids", at))
    if OF_PEOPLE in sources and not asked.user_ids:
        message = f"the strategy {OF_PEOPLE} is for the users of user_ids, which is empty"
        raise InputError(message, loc=(*loc, "user_ids"))
    if asked.user_ids and OF_PEOPLE not in sources:
        message = f"user_ids are for the strategy {OF_PEOPLE}, got {sources[0]}; for one user, expected user_id"
        raise InputError(message, loc=(*loc, "user_ids"))
    if asked.user_ids and asked.personalization != "full":
        message = f"personalization={asked.personalization} does not read the histories of user_ids; leave one away"
        raise InputError(message, loc=(*loc, "user_ids"))


def _exclude(asked: Asked, sources: Sequence[str], loc: Loc) -> ExcludedRelations:
    """The default of the first source; InputError for a relation without a time of which a source is made."""
    if asked.exclude is None:
        return DEFAULT_EXCLUDE[sources[0]]
    always = asked.exclude.relations - {relation for relation, _ in asked.exclude.within}
    for source in sources:
        if left_out := always & SOURCES[source].shows:
            message = (
                f"{source} shows items that the user has {' and '.join(sorted(left_out))}, which exclude leaves out; "
                "leave exclude away, give a time to it, or use another strategy"
            )
            raise InputError(message, loc=(*loc, "exclude"))
    return asked.exclude


def check_seeds(view: View, request: Request, loc: Loc = ()) -> None:
    """NotFound when a shelf starts from items and none of them is in the catalogue; InputError for a request that has
    nothing to start from. A page answers such shelves as short, because one visitor of a page may have no history."""
    item_ids = request.item_ids
    if request.source in NEEDS_SEEDS and not (item_ids or len(request.history) or request.user_id is not None):
        message = f"the strategy {request.source} starts from item_ids, or from a user or session; give one of them"
        raise InputError(message, loc=(*loc, "item_ids"))
    if request.source in NEEDS_SEEDS and item_ids and all(view.items.row(id_) is None for id_ in item_ids):
        others = f" and {len(item_ids) - 1} more" if len(item_ids) > 1 else ""
        raise NotFound(f"there is no item {item_ids[0]!r}{others} to start from")
