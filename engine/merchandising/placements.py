"""Placements: stored requests of a space. A storefront names a placement and says for whom; it may narrow it.

A parameter that a placement leaves away is open: the request may set it. Of a parameter that the placement sets, the
request may narrow what the shelf shows, by the rule in `NARROWING`; any other parameter is fixed. A request that would
widen a placement is an error, never a silently different shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.errors import InputError, short_repr
from engine.recommending.exclude_parameter import UNWANTED, ExcludedRelations

Loc = tuple[str | int, ...]
OF_REQUEST = frozenset(  # says for whom and where a shelf is, which a placement cannot know
    {"user_id", "session_id", "history", "vector", "context", "cursor", "placement"}
)
PERSONALIZATION = ("none", "session", "full")  # each reads more of a user than the one before
MIN_SCORES = ("low", "medium", "high")


@dataclass(frozen=True, eq=False)
class Placement:
    """The parameters of `recommend` that a placement sets, valid and parsed."""

    name: str
    version: int
    parameters: Mapping[str, Any]
    rules: frozenset[str] | None = None  # the rules that may act; None: every rule of the space


def narrowed(placement: Placement, asked: Mapping[str, Any], loc: Loc = ()) -> dict[str, Any]:
    """The parameters of the placement that a request with the parameters `asked` gets, in place of its own.

    InputError names the parameter by which the request would show what the placement does not.
    """
    made = dict(placement.parameters)
    for name in asked.keys() & placement.parameters.keys():
        narrow = NARROWING.get(name, _fixed)
        try:
            made[name] = narrow(placement.parameters[name], asked[name])
        except ValueError as error:
            raise InputError(f"placement {placement.name!r} {error}", loc=(*loc, name)) from None
    if "fallback" in asked or "fill" in asked:
        _narrow_fallback(placement, asked, made, loc)
    return made


def _fixed(placed: Any, asked: Any) -> Any:
    if placed != asked:
        raise ValueError(f"sets this to {short_repr(placed)} and does not leave it open; got {short_repr(asked)}")
    return placed


def _k(placed: int, asked: int) -> int:
    if asked > placed:
        raise ValueError(f"shows at most {placed} items; got a k of {asked}")
    return asked


def _filter(placed: Any, asked: Any) -> dict[str, Any]:
    return {"and": [placed, asked]}


def _include_items(placed: Sequence[str], asked: Sequence[str] | None) -> Sequence[str]:
    if asked is None:
        return placed
    allowed = set(placed)
    if asked and not allowed.intersection(asked):
        raise ValueError("allows none of these items; leave include_items away or name some that it allows")
    return [id_ for id_ in asked if id_ in allowed]


def _exclude_items(placed: Sequence[str], asked: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*placed, *asked)))


def _exclude(placed: ExcludedRelations, asked: ExcludedRelations | None) -> ExcludedRelations:
    """The groups of both; of two times for a group, the longer one."""
    if asked is None:  # the default, which a body can name
        return placed
    if asked.relations == UNWANTED and placed.relations - UNWANTED:
        left_out = ", ".join(sorted(placed.relations))
        raise ValueError(f"leaves out {left_out}, to which a request can add groups; got none, which takes groups away")
    sets = [(each.relations, dict(each.within)) for each in (placed, asked)]
    windows: dict[str, int] = {}
    for relation in placed.relations | asked.relations:
        times = [within.get(relation) for relations, within in sets if relation in relations]
        bounded = [time for time in times if time is not None]
        if len(bounded) == len(times):
            windows[relation] = max(bounded)
    return ExcludedRelations(placed.relations | asked.relations, tuple(sorted(windows.items())))


def _caps(placed: Mapping[str, int], asked: Mapping[str, int]) -> dict[str, int]:
    return {
        field: min(caps[field] for caps in (placed, asked) if field in caps)
        for field in dict.fromkeys((*placed, *asked))
    }


def _boost(placed: Sequence[Any], asked: Sequence[Any]) -> Sequence[Any]:
    """The boosts of both act. The list of the placement stays the same object, because it was parsed once."""
    return [*placed, *asked] if asked else placed


def _personalization(placed: str, asked: str) -> str:
    if PERSONALIZATION.index(asked) > PERSONALIZATION.index(placed):
        raise ValueError(f"allows personalization={placed} or less; got {asked}")
    return asked


def _min_score(placed: str, asked: str) -> str:
    return max(placed, asked, key=MIN_SCORES.index)


NARROWING: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "k": _k,
        "filter": _filter,
        "include_items": _include_items,
        "exclude_items": _exclude_items,
        "exclude": _exclude,
        "caps": _caps,
        "boost": _boost,
        "personalization": _personalization,
        "min_score": _min_score,
        "fill": lambda placed, asked: placed,  # together, see `_narrow_fallback`
        "fallback": lambda placed, asked: placed,
    }
)


def _narrow_fallback(placement: Placement, asked: Mapping[str, Any], made: dict[str, Any], loc: Loc) -> None:
    """A request may leave sources of the chain out, and all of them with `fill=none`; it may not add or reorder any."""
    placed = placement.parameters
    if "fallback" not in placed and "fill" not in placed:
        return
    if asked.get("fill") == "none" and not asked.get("fallback"):
        made.pop("fallback", None)
        made["fill"] = "none"
        return
    if "fallback" in asked:
        chain, wanted = list(placed.get("fallback") or ()), list(asked["fallback"] or ())
        rest = iter(chain)
        if not all(source in rest for source in wanted):
            expected = f"falls back to {chain}, of which a request can leave some out, in this order"
            raise InputError(f"placement {placement.name!r} {expected}; got {wanted}", loc=(*loc, "fallback"))
        made["fallback"] = wanted
    elif asked["fill"] != placed.get("fill"):
        message = f"does not leave the fallback open; expected fill=none or no fill, got {asked['fill']!r}"
        raise InputError(f"placement {placement.name!r} {message}", loc=(*loc, "fill"))
