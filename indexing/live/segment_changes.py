"""The dry run of a segment: who and what would join and leave it, before a changed document is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.catalogue import predicate
from engine.catalogue.columns import Mask
from engine.catalogue.comparable_values import Loc
from engine.errors import InputError
from engine.segments.segments import Document, parse_segment
from engine.segments.user_filter import UserFilter
from engine.store import user_facts
from engine.store.database.connections import Connection
from indexing.live.view import LiveView

MAX_EXAMPLES = 10


@dataclass(frozen=True)
class SegmentChange:
    before: int | None  # members now; None: the segment is new, or another kind of segment
    after: int
    total: int  # items that may be shown, or users
    joined: Sequence[str]  # ids, sorted
    left: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """With the numbers of members that join and leave, and up to ten of each."""
        examples = {"joined": list(self.joined[:MAX_EXAMPLES]), "left": list(self.left[:MAX_EXAMPLES])}
        sizes = {"before": self.before, "after": self.after, "total": self.total}
        return {**sizes, "joined": len(self.joined), "left": len(self.left), "examples": examples}


def segment_change(
    view: LiveView,
    conn: Connection,
    name: str,
    document: Document,
    documents: Mapping[str, Document],
    *,
    now_us: int,
    loc: Loc = ("body",),
    beside: Mapping[str, Document] = {},
) -> SegmentChange:
    """What `document` changes for the segment `name`, among the stored documents of segments, or with other changed
    ones `beside` it. InputError as `parse_segment`."""
    asked = parse_segment(name, {**documents, **beside, name: document}, loc)
    try:
        stored = parse_segment(name, documents) if name in documents else None
    except InputError:  # the stored segment cannot be used, so it has no members
        stored = None
    if isinstance(asked, UserFilter):
        return _of_users(view, conn, asked, stored if isinstance(stored, UserFilter) else None, now_us)
    return _of_items(view, asked, None if isinstance(stored, UserFilter) else stored)


def _of_users(
    view: LiveView, conn: Connection, asked: UserFilter, stored: UserFilter | None, now_us: int
) -> SegmentChange:
    lists = asked.lists | (frozenset() if stored is None else stored.lists)
    everyone = user_facts.of_all(conn, view.space.key, view.space.weighting.vocabulary, lists)
    ids = everyone.user_ids.to_pylist()
    before = None if stored is None else _selected(ids, everyone.members(stored, now_us))
    return _change(len(ids), before, _selected(ids, everyone.members(asked, now_us)))


def _of_items(view: LiveView, asked: object, stored: object) -> SegmentChange:
    ids = [view.items.ids[row] for row in range(len(view.items))]

    def passing(filter_: object) -> set[str]:
        mask = view.where(predicate.parse(filter_)).allowed
        return set(ids) if mask is None else _selected(ids, mask)

    total = len(ids) if view.allowed is None else int(np.count_nonzero(view.allowed))
    return _change(total, None if stored is None else passing(stored), passing(asked))


def _selected(ids: Sequence[str], mask: Mask) -> set[str]:
    return {ids[row] for row in np.flatnonzero(mask).tolist()}


def _change(total: int, before: set[str] | None, after: set[str]) -> SegmentChange:
    had = before or set()
    return SegmentChange(
        None if before is None else len(before), len(after), total, sorted(after - had), sorted(had - after)
    )
