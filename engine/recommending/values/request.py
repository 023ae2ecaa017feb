"""Request: one shelf as it was asked for, parsed once: valid ids, filters as predicates, sessions as histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.catalogue.predicate import Predicate
from engine.recommending.values.boosts import NO_BOOSTS, Boosts
from engine.values.events import History
from engine.values.vectors import Matrix

Objective = Literal["clicks", "purchases", "revenue", "margin"]
MinScore = Literal["low", "medium", "high"]
Caps = tuple[tuple[str, int], ...]  # a field, and how many items of a shelf may have the same value of it

NO_HISTORY = History()


@dataclass(frozen=True, slots=True)
class ChooseBy:
    """Which item of a group is shown: the one with the largest, or smallest, number or time in a field."""

    field: str  # as `Condition.field` names it
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Pin:
    """Exactly one of `item_id` and `predicate` is given."""

    position: int  # from 1, over all pages
    item_id: str | None = None
    predicate: Predicate | None = None  # the best item that passes
    rule: str | None = None  # the rule that pins it; None: the request


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    source: str = "for_you"  # a name in `engine.recommending.sources.registry.SOURCES`
    k: int = 10
    user_id: str | None = None  # whose stored events are read
    session_id: str | None = None  # only the events of this session are read; None: all of the user
    history: History = NO_HISTORY  # the events of the session, followed by the stored ones
    vector: Matrix | None = None  # (dim,), raw: a user vector instead of a history, or a vector to search from
    item_ids: Sequence[str] = ()  # the items to rank, to search from, or to show
    people: Sequence[History] = ()  # the histories of the users that a shelf is for together
    people_vectors: Sequence[Matrix] = ()  # (dim,) stored vectors of such users whose history cannot be read now
    unlike: Sequence[str] = ()  # a search goes away from these
    predicate: Predicate | None = None
    boosts: Boosts = NO_BOOSTS
    objective: Objective | None = None  # scores are multiplied by the expected value of an item
    group_by: str | None = None  # a field; one item of those with the same value is shown
    choose_by: ChooseBy | None = None  # None: the item of a group that comes first
    caps: Caps = ()
    min_score: MinScore | None = None
    diversity: float = 0.0  # 0 to 1
    pins: Sequence[Pin] = ()  # of different positions
    exclude: frozenset[str] = frozenset()  # of `engine.recommending.exclude_parameter.RELATIONS`
    exclude_within: Sequence[tuple[str, int]] = ()  # relations that hold only for a time, and the time in microseconds
    exclude_items: Sequence[str] = ()
    include_items: Sequence[str] | None = None  # only these items may be shown; None: all
    impressions: History = NO_HISTORY  # what the user was shown, read if `needs_impressions`: item ids and times count
    rotation_us: int | None = None  # half-life by which the items of `impressions` come back; None: none sink
    shown: Sequence[str] = ()  # the items of the pages before this one
    explore: float = 0.0  # 0 to 1, the share of slots for items about which little is known
    seed: int | None = None  # of random choices; None: others for each answer
    fallback: tuple[str, ...] | None = None  # sources that continue the shelf, in turn; None: the default of the source
    explain: int | None = None  # so many items of the history beside each item; None: no explanation
