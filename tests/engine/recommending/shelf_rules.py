"""What holds for every shelf, in plain Python: checked for shelves of the pipeline and of the HTTP API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    brand: str | None = None
    categories: frozenset[str] = frozenset()
    is_shown: bool = True  # available, and passes the filter

    def values(self, name: str) -> frozenset[str]:
        return self.categories if name == "categories" else frozenset([self.brand] if self.brand else [])


@dataclass(frozen=True)
class Asked:
    k: int
    caps: Mapping[str, int] = field(default_factory=dict)
    group_by: str | None = None
    pins: Sequence[tuple[int, str]] = ()  # position, item
    excluded: frozenset[str] = frozenset()
    included: frozenset[str] | None = None


def eligible(catalogue: Mapping[str, Facts], asked: Asked) -> set[str]:
    shown = {id_ for id_, facts in catalogue.items() if facts.is_shown} - asked.excluded
    return shown if asked.included is None else shown & asked.included


def hold(shown: Sequence[str], earlier: Sequence[str], catalogue: Mapping[str, Facts], asked: Asked) -> None:
    """`earlier` are the items of the pages before."""
    may_show = eligible(catalogue, asked) - set(earlier)
    assert len(set(shown)) == len(shown) <= asked.k, "an item is twice on a page"
    assert set(shown) <= may_show, "an item may not be shown, or is on an earlier page"
    pinned = {id_ for _, id_ in asked.pins}
    others = [id_ for id_ in shown if id_ not in pinned]
    for name, n in asked.caps.items():
        counts = Counter(value for id_ in shown for value in catalogue[id_].values(name))
        assert all(counts[value] <= n for id_ in others for value in catalogue[id_].values(name)), "a cap is broken"
    if asked.group_by is not None:
        before = {catalogue[id_].values(asked.group_by) for id_ in earlier}
        groups = Counter(catalogue[id_].values(asked.group_by) for id_ in shown)
        for group in (catalogue[id_].values(asked.group_by) for id_ in others):
            assert not group or (groups[group] == 1 and group not in before), "a group is twice on its pages"
    if len(shown) == asked.k:
        for position, id_ in asked.pins:
            place = position - 1 - len(earlier)
            if id_ in may_show and 0 <= place < asked.k:
                assert shown[place] == id_, "a pinned item is not at its position"
    _is_full(shown, earlier, catalogue, asked, may_show)


def _is_full(
    shown: Sequence[str], earlier: Sequence[str], catalogue: Mapping[str, Facts], asked: Asked, may_show: set[str]
) -> None:
    if not asked.caps and asked.group_by is None:
        assert len(shown) == min(asked.k, len(may_show)), "items are left and the shelf is not full"
    if not asked.caps and asked.group_by is not None and not asked.pins:
        before = {catalogue[id_].values(asked.group_by) for id_ in earlier}
        groups = [catalogue[id_].values(asked.group_by) for id_ in may_show]
        n_groups = len({group for group in groups if group} - before) + sum(not group for group in groups)
        assert len(shown) == min(asked.k, n_groups), "groups are left and the shelf is not full"
