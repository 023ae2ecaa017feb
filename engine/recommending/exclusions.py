"""Exclusions: the items that a shelf leaves out, because of what its user did with them or because they are listed.

A user stands in four relations to items. Seen: there is any event except impressions, because an item that was only
shown on a shelf was not looked at. Purchased: there is a purchase. Returned: at least as much was returned as
purchased. Disliked: the newest opinion of the user is a dislike; a later like, purchase or cart event takes it back.
A live history and the whole event table follow the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from engine.recommending.values.context import Context
from engine.recommending.values.searcher import Mask
from engine.values.event_kinds import KindMeaning, Vocabulary
from engine.values.events import EventColumns, History, Weighting

RELATIONS = ("seen", "purchased", "returned", "disliked")
UNWANTED = frozenset({"returned", "disliked"})  # every word excludes these too
WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"seen": UNWANTED | {"seen", "purchased"}, "purchased": UNWANTED | {"purchased"}, "none": UNWANTED}
)
EXPECTED = (
    "expected seen, purchased or none, each with returned and disliked items, or a list of the only kinds to exclude, "
    'such as ["disliked"], of seen, purchased, returned, disliked'
)
NEVER = np.iinfo(np.int64).min


def parse_exclude(exclude: object) -> frozenset[str]:
    """The relations that a word or a list of relations excludes; ValueError for anything else."""
    if isinstance(exclude, str) and exclude in WORDS:
        return WORDS[exclude]
    if isinstance(exclude, list | tuple) and all(isinstance(each, str) and each in RELATIONS for each in exclude):
        return frozenset(exclude)
    raise ValueError(EXPECTED)


def exclude_from_text(exclude: object) -> object:
    """A word, a JSON list or a list of words, given as one text or as several."""
    text = exclude[0] if isinstance(exclude, list) and len(exclude) == 1 else exclude
    if not isinstance(text, str) or not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(EXPECTED) from None


def excluded_rows(context: Context, never_shown: Iterable[str] = ()) -> set[int]:
    """The rows that the history, the list and the earlier pages of a request exclude, and the rows of `never_shown`."""
    request, row_of = context.request, context.view.items.row
    ids: set[str] = set()
    if len(request.history) and request.exclude:
        ids = related_items(request.history, context.weighting, request.exclude)
    if request.exclude_items or request.shown or never_shown:
        ids = ids.union(request.exclude_items, request.shown, never_shown)
    return {row for id_ in ids if (row := row_of(id_)) is not None}


def related_items(history: History, weighting: Weighting, relations: Collection[str]) -> set[str]:
    """The ids of the items to which the user stands in one of the relations."""
    if "seen" in relations:  # contains all other relations
        impressions = _impressions(tuple(dict.fromkeys(history.kinds)), weighting.vocabulary)
        if not impressions:
            return set(history.item_ids)
        return {id_ for id_, kind in zip(history.item_ids, history.kinds, strict=True) if kind not in impressions}
    if not relations or not len(history):
        return set()
    rows = {id_: row for row, id_ in enumerate(dict.fromkeys(history.item_ids))}
    items = np.array([rows[id_] for id_ in history.item_ids], np.int64)
    codes, kinds = _codes(history.kinds)
    related = _related(len(rows), items, kinds, codes, history.values, history.occurred_us, weighting, relations)
    return {id_ for id_, row in rows.items() if related[row]}


def related_pairs(
    events: EventColumns, weighting: Weighting, relations: Collection[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The user rows and item rows of the pairs that stand in one of the relations."""
    n_items = max(1, len(events.item_ids))
    pairs, pair_of = np.unique(events.user_rows * n_items + events.item_rows, return_inverse=True)
    if "seen" in relations:
        impressions = _impressions(events.kinds, weighting.vocabulary)
        is_seen = np.array([kind not in impressions for kind in events.kinds], dtype=bool)
        n_seen = np.bincount(pair_of[is_seen[events.kind_codes]], minlength=len(pairs))
        pairs = pairs[n_seen > 0] if impressions else pairs
    else:
        columns = (events.kind_codes, events.values, events.occurred_us)
        pairs = pairs[_related(len(pairs), pair_of, events.kinds, *columns, weighting, relations)]
    return pairs // n_items, pairs % n_items


def _impressions(kinds: Sequence[str], vocabulary: Vocabulary) -> set[str]:
    return {kind for kind in kinds if vocabulary.meaning(kind).kind == "impression"}


def _codes(kinds: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    return np.array([codes[kind] for kind in kinds], np.int64), list(codes)


def _related(
    n_pairs: int,
    pair_of: npt.NDArray[np.int64],
    words: Sequence[str],
    codes: npt.NDArray[np.integer],
    values: npt.NDArray[np.float32],
    occurred_us: npt.NDArray[np.int64],
    weighting: Weighting,
    relations: Collection[str],
) -> Mask:
    """(n_pairs,) for pairs of a user and an item; the other arrays have an entry per event, `pair_of` its pair."""
    understood = [weighting.vocabulary.meaning(word) for word in words]
    kinds = np.array([each.kind or "" for each in understood], dtype=object)[codes] if words else np.zeros(0, object)
    is_purchase, is_return = kinds == "purchase", kinds == "return"
    related = np.zeros(n_pairs, dtype=bool)
    if "purchased" in relations:
        related[pair_of[is_purchase]] = True
    if "returned" in relations:
        sizes = np.ones(len(pair_of)) if weighting.value == "ignore" else np.abs(values.astype(np.float64))
        purchased, returned = (np.bincount(pair_of[of], sizes[of], n_pairs) for of in (is_purchase, is_return))
        related |= (returned > 0) & (purchased <= returned * (1 + 1e-6))
    if "disliked" in relations:
        opinion = np.array([_opinion(each) for each in understood], np.int8)[codes] if words else np.zeros(0, np.int8)
        newest = {sign: np.full(n_pairs, NEVER) for sign in (-1, 1)}
        for sign, moment in newest.items():
            np.maximum.at(moment, pair_of[opinion == sign], occurred_us[opinion == sign])
        related |= (newest[-1] > NEVER) & (newest[-1] >= newest[1])
    return related


def _opinion(word: KindMeaning) -> int:
    """-1: a dislike; 1: takes a dislike back; 0: neither."""
    if word.kind is None:
        return int(np.sign(word.weight))
    return -1 if word.kind == "dislike" else int(word.kind in ("like", "cart", "purchase"))
