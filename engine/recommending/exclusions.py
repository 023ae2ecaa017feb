"""Standing: how items stand with a user by what the events say, and which of them a shelf leaves out.

Seen: there is any event but impressions, as an item that stood on a shelf was not looked at. Purchased: there is a
purchase. Returned: as much came back as was bought. Disliked: the last that the user made known of it is a dislike; a
like, a purchase, or putting it into the cart afterwards takes it back.
One rule for a live history and for the whole event table.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from engine.recommending.values.searcher import Mask
from engine.values.event_kinds import KindMeaning, Vocabulary
from engine.values.events import EventColumns, History, Weighting

UNWANTED = frozenset({"returned", "disliked"})  # stays away whichever word is given
EXCLUDES: Mapping[str, frozenset[str]] = MappingProxyType(
    {"seen": UNWANTED | {"seen", "purchased"}, "purchased": UNWANTED | {"purchased"}, "none": UNWANTED}
)
PARTS = ("seen", "purchased", "returned", "disliked")
EXPECTED = (
    "expected seen, purchased or none, each with what was returned and disliked, or a list of what alone to leave out, "
    'such as ["disliked"], of seen, purchased, returned, disliked'
)
NEVER = np.iinfo(np.int64).min


def left_out(exclude: object) -> frozenset[str]:
    """What a word or a list stands for, of PARTS; ValueError for anything else."""
    if isinstance(exclude, str) and exclude in EXCLUDES:
        return EXCLUDES[exclude]
    if isinstance(exclude, list | tuple) and all(isinstance(each, str) and each in PARTS for each in exclude):
        return frozenset(exclude)
    raise ValueError(EXPECTED)


def written(exclude: object) -> object:
    """What is given as text, once or several times: a word, a JSON list or a list of its words."""
    text = exclude[0] if isinstance(exclude, list) and len(exclude) == 1 else exclude
    if not isinstance(text, str) or not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(EXPECTED) from None


def of_history(history: History, weighting: Weighting, parts: Collection[str]) -> set[str]:
    """The ids of the items that stand in one of these ways."""
    if "seen" in parts:  # which all others are as well
        passed = _impressions(tuple(dict.fromkeys(history.kinds)), weighting.vocabulary)
        if not passed:
            return set(history.item_ids)
        return {id_ for id_, word in zip(history.item_ids, history.kinds, strict=True) if word not in passed}
    if not parts or not len(history):
        return set()
    rows = {id_: row for row, id_ in enumerate(dict.fromkeys(history.item_ids))}
    items = np.array([rows[id_] for id_ in history.item_ids], np.int64)
    codes, words = _codes(history.kinds)
    out = _standing(len(rows), items, words, codes, history.values, history.occurred_us, weighting, parts)
    return {id_ for id_, row in rows.items() if out[row]}


def of_events(
    events: EventColumns, weighting: Weighting, parts: Collection[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The user rows and item rows of the pairs that stand in one of these ways."""
    n_items = max(1, len(events.item_ids))
    pairs, at = np.unique(events.user_rows * n_items + events.item_rows, return_inverse=True)
    if "seen" in parts:
        passed = _impressions(events.kinds, weighting.vocabulary)
        is_seen = np.array([word not in passed for word in events.kinds], dtype=bool)
        pairs = pairs[np.bincount(at[is_seen[events.kind_codes]], minlength=len(pairs)) > 0] if passed else pairs
    else:
        of_events = (events.kind_codes, events.values, events.occurred_us)
        pairs = pairs[_standing(len(pairs), at, events.kinds, *of_events, weighting, parts)]
    return pairs // n_items, pairs % n_items


def _impressions(words: Sequence[str], vocabulary: Vocabulary) -> set[str]:
    return {word for word in words if vocabulary.meaning(word).kind == "impression"}


def _codes(kinds: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    words = {word: code for code, word in enumerate(dict.fromkeys(kinds))}
    return np.array([words[kind] for kind in kinds], np.int64), list(words)


def _standing(
    n: int,
    pairs: npt.NDArray[np.int64],
    words: Sequence[str],
    codes: npt.NDArray[np.integer],
    values: npt.NDArray[np.float32],
    occurred_us: npt.NDArray[np.int64],
    weighting: Weighting,
    parts: Collection[str],
) -> Mask:
    """Of n pairs of user and item, (n,); everything else is by event, `pairs` the row of its pair."""
    known = _understood(words, weighting.vocabulary)
    kinds = np.array([each.kind or "" for each in known], dtype=object)[codes] if words else np.zeros(0, object)
    bought, back = kinds == "purchase", kinds == "return"
    out = np.zeros(n, dtype=bool)
    if "purchased" in parts:
        out[pairs[bought]] = True
    if "returned" in parts:
        sizes = np.ones(len(pairs)) if weighting.value == "ignore" else np.abs(values.astype(np.float64))
        came, went = (np.bincount(pairs[of], sizes[of], n) for of in (bought, back))
        out |= (went > 0) & (came <= went * (1 + 1e-6))
    if "disliked" in parts:
        stance = np.array([_stance(each) for each in known], np.int8)[codes] if words else np.zeros(0, np.int8)
        last = {sign: np.full(n, NEVER) for sign in (-1, 1)}
        for sign, moment in last.items():
            np.maximum.at(moment, pairs[stance == sign], occurred_us[stance == sign])
        out |= (last[-1] > NEVER) & (last[-1] >= last[1])
    return out


def _understood(words: Sequence[str], vocabulary: Vocabulary) -> list[KindMeaning]:
    return [vocabulary.meaning(word) for word in words]


def _stance(word: KindMeaning) -> int:
    """-1 for what says no, 1 for what takes that back, 0 for what says neither."""
    if word.kind is None:
        return int(np.sign(word.weight))
    return -1 if word.kind == "dislike" else int(word.kind in ("like", "cart", "purchase"))
