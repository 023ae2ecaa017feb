"""Exclusions: the items that a shelf leaves out, because of what its user did with them or because they are listed.

A user stands in six relations to items. Seen: there is any event except impressions, because an item that was only
shown on a shelf was not looked at. Purchased: there is a purchase. Carted: there is a cart event, and no later removal
from the cart. Returned: at least as much was returned as purchased. Disliked: the newest opinion of the user is a
dislike; a later like, purchase or cart event takes it back. Impressed: the item was shown to the user.

A relation can have a window: it then holds only if its newest event is in the window, such as a purchase of the last
30 days. A live history and the whole event table follow the same rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from engine.recommending.values.context import Context
from engine.recommending.values.searcher import Mask
from engine.recommending.values.view import View
from engine.values.event_kinds import KindMeaning
from engine.values.events import EventColumns, History, Weighting

NEVER = np.iinfo(np.int64).min
NO_STARTS: Mapping[str, int] = MappingProxyType({})
KIND_OF = {"impressed": "impression", "purchased": "purchase", "carted": "cart", "returned": "return"}
ORDERED = frozenset({"carted", "returned", "disliked"})  # other events of the pair can take these back
Times = npt.NDArray[np.int64]


def excluded_rows(context: Context, never_shown: Iterable[str] = (), shows: frozenset[str] = frozenset()) -> set[int]:
    """The rows that the history, the list and the earlier pages of a request exclude, and the rows of `never_shown`.

    The relations `shows` count only within a window: the source is made of the items that stand in them.
    """
    request = context.request
    ids: set[str] = set()
    relations = request.exclude
    if shows:
        relations = relations - (shows - {relation for relation, _ in request.exclude_within})
    if relations:
        starts = window_starts(request.exclude_within, context.now_us)
        if len(request.history):
            ids = related_items(request.history, context.weighting, relations, starts)
        if request.people:
            ids = ids | _related_to_all(request.people, context.weighting, relations, starts)
        if "impressed" in relations:
            ids = ids | _shown_since(request.impressions, starts.get("impressed", NEVER))
    if request.exclude_items or request.shown or never_shown:
        ids = ids.union(request.exclude_items, request.shown, never_shown)
    return set(rows_of(context.view, ids))


def _related_to_all(
    people: Sequence[History], weighting: Weighting, relations: Collection[str], starts: Mapping[str, int]
) -> set[str]:
    """The items to which each of several people stands in one of the relations, so that they are new to nobody."""
    shared = related_items(people[0], weighting, relations, starts)
    for history in people[1:]:
        if not shared:
            break
        shared = shared & related_items(history, weighting, relations, starts)
    return shared


def rows_of(view: View, item_ids: Iterable[str]) -> list[int]:
    """Without the ids that are not in the catalogue."""
    row_of = view.items.row
    return [row for id_ in item_ids if (row := row_of(id_)) is not None]


def window_starts(within: Sequence[tuple[str, int]], now_us: int) -> Mapping[str, int]:
    """By relation, the time where its window starts."""
    return {relation: now_us - window_us for relation, window_us in within} if within else NO_STARTS


def related_items(
    history: History, weighting: Weighting, relations: Collection[str], starts: Mapping[str, int] = NO_STARTS
) -> set[str]:
    """The ids of the items to which the user stands in one of the relations. `starts` are of relations with a
    window."""
    if not relations or not len(history):
        return set()
    meanings = {word: weighting.vocabulary.meaning(word) for word in dict.fromkeys(history.kinds)}
    if "seen" in relations and "seen" not in starts and "impressed" not in relations:
        relations = {"seen"}  # contains the other relations
    else:
        relations = [each for each in relations if any(_may_found(each, meaning) for meaning in meanings.values())]
    if ORDERED.isdisjoint(relations) and starts.keys().isdisjoint(relations):
        words = {word for word, meaning in meanings.items() if any(_may_found(each, meaning) for each in relations)}
        if len(words) == len(meanings):
            return set(history.item_ids)
        return {id_ for id_, kind in zip(history.item_ids, history.kinds, strict=True) if kind in words}
    rows = {id_: row for row, id_ in enumerate(dict.fromkeys(history.item_ids))}
    items = np.array([rows[id_] for id_ in history.item_ids], np.int64)
    codes, kinds = _codes(history.kinds)
    events = _PairEvents(len(rows), items, kinds, codes, history.values, history.occurred_us, weighting)
    related = _related(events, relations, starts)
    return {id_ for id_, row in rows.items() if related[row]}


def related_pairs(
    events: EventColumns, weighting: Weighting, relations: Collection[str], starts: Mapping[str, int] = NO_STARTS
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The user rows and item rows of the pairs that stand in one of the relations."""
    n_items = max(1, len(events.item_ids))
    pairs, pair_of = np.unique(events.user_rows * n_items + events.item_rows, return_inverse=True)
    columns = (events.kinds, events.kind_codes, events.values, events.occurred_us)
    pairs = pairs[_related(_PairEvents(len(pairs), pair_of, *columns, weighting), relations, starts)]
    return pairs // n_items, pairs % n_items


def _shown_since(impressions: History, start_us: int) -> set[str]:
    if not len(impressions):
        return set()
    shown = (impressions.occurred_us >= start_us).tolist()
    return {id_ for id_, is_in in zip(impressions.item_ids, shown, strict=True) if is_in}


def _may_found(relation: str, word: KindMeaning) -> bool:
    """Whether events of this word are those because of which the relation holds."""
    if relation == "disliked":
        return _opinion(word) < 0
    return word.kind == KIND_OF[relation] if relation in KIND_OF else word.kind != "impression"


def _codes(kinds: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    return np.array([codes[kind] for kind in kinds], np.int64), list(codes)


class _PairEvents:
    """Events by pair of a user and an item: `pair_of` has the pair of each event, (n_events,)."""

    def __init__(
        self,
        n_pairs: int,
        pair_of: npt.NDArray[np.int64],
        words: Sequence[str],
        codes: npt.NDArray[np.integer],
        values: npt.NDArray[np.float32],
        occurred_us: Times,
        weighting: Weighting,
    ):
        meanings = [weighting.vocabulary.meaning(word) for word in words]
        self.n_pairs, self.pair_of, self.occurred_us = n_pairs, pair_of, occurred_us
        self._meanings, self._codes = meanings, codes
        self.sizes = np.ones(len(pair_of)) if weighting.value == "ignore" else np.abs(values.astype(np.float64))

    def of_kind(self, kind: str) -> Mask:
        return self._which([meaning.kind == kind for meaning in self._meanings])

    def of_opinion(self, opinion: int) -> Mask:
        return self._which([_opinion(meaning) == opinion for meaning in self._meanings])

    def _which(self, words: Sequence[bool]) -> Mask:
        """(n_events,): whether the word of an event is one of these."""
        return np.array([*words, False])[self._codes]  # one more, because there may be no words

    def newest(self, which: Mask) -> Times:
        """(n_pairs,): the time of the newest of these events; NEVER without one."""
        moments = np.full(self.n_pairs, NEVER)
        np.maximum.at(moments, self.pair_of[which], self.occurred_us[which])
        return moments

    def total(self, which: Mask) -> npt.NDArray[np.float64]:
        """(n_pairs,): the summed sizes of these events."""
        return np.bincount(self.pair_of[which], self.sizes[which], self.n_pairs).astype(np.float64)


def _related(events: _PairEvents, relations: Collection[str], starts: Mapping[str, int]) -> Mask:
    """(n_pairs,): whether a pair stands in one of the relations."""
    related = np.zeros(events.n_pairs, dtype=bool)
    if "seen" in relations and "seen" not in starts:
        relations = {"seen", "impressed"} & set(relations)  # seen contains the others
    for relation in relations:
        since = starts.get(relation, NEVER)
        newest = _newest(events, relation)
        related |= (newest > NEVER) & (newest >= since)
    return related


def _newest(events: _PairEvents, relation: str) -> Times:
    """(n_pairs,): the time of the newest event because of which the relation holds; NEVER where it does not hold."""
    if relation == "seen":
        return events.newest(~events.of_kind("impression"))
    if relation == "impressed":
        return events.newest(events.of_kind("impression"))
    if relation == "purchased":
        return events.newest(events.of_kind("purchase"))
    if relation == "carted":
        carted = events.newest(events.of_kind("cart"))
        return np.where(carted >= events.newest(events.of_kind("remove_from_cart")), carted, NEVER)
    if relation == "returned":
        is_return = events.of_kind("return")
        purchased, returned = events.total(events.of_kind("purchase")), events.total(is_return)
        return np.where((returned > 0) & (purchased <= returned * (1 + 1e-6)), events.newest(is_return), NEVER)
    assert relation == "disliked", relation
    disliked = events.newest(events.of_opinion(-1))
    return np.where(disliked >= events.newest(events.of_opinion(1)), disliked, NEVER)


def _opinion(word: KindMeaning) -> int:
    """-1: a dislike; 1: takes a dislike back; 0: neither."""
    if word.kind is None:
        return int(np.sign(word.weight))
    return -1 if word.kind == "dislike" else int(word.kind in ("like", "cart", "purchase"))
