"""Pins against a plain implementation of their definition, and what a person who pins items expects."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.recommending.pipeline import recommend
from engine.recommending.sources.registry import SOURCES
from engine.recommending.values.request import Pin, Request
from engine.values.events import Weighting
from tests.engine.recommending.shaping.test_stages import fields, rows_of
from tests.engine.recommending.small_view import SmallView, answer_to
from tests.engine.recommending.test_guarantee import MAX_ITEMS, MadeView, eligible, ids, requests, views

WEIGHTING = Weighting()


def asked_pins(drawn: list[tuple[int, str, tuple[str, ...] | None]]) -> tuple[Pin, ...]:
    """With different positions and items."""
    pins: dict[int, Pin] = {}
    for position, item_id, passing in drawn:
        if passing is not None:
            pins.setdefault(position, Pin(position, predicate=passing))
        elif all(pin.item_id != item_id for pin in pins.values()):
            pins.setdefault(position, Pin(position, item_id))
    return tuple(pins.values())


pins = st.lists(
    st.tuples(st.integers(1, 9), ids, st.none() | st.lists(ids, max_size=4, unique=True).map(tuple)), max_size=4
).map(asked_pins)


def placed(order: list[str], pins: tuple[Pin, ...], k: int, may_show: set[str], n_before: int) -> list[str]:
    """The shelf by the definition: item pins first, then pins of filters, then the other items in their order."""
    at: dict[int, str] = {}
    for pin in pins:
        place = pin.position - 1 - n_before
        if pin.item_id in may_show and place >= 0:
            at[place] = pin.item_id
    for pin in pins:
        place = pin.position - 1 - n_before
        if pin.predicate is not None and 0 <= place < k:
            best = [id_ for id_ in order if id_ in pin.predicate and id_ not in at.values()]
            if best:
                at[place] = best[0]
    others = [id_ for id_ in order if id_ not in at.values()]
    shelf = []
    for place in range(k):
        if place in at:
            shelf.append(at.pop(place))
        elif others:
            shelf.append(others.pop(0))
        else:
            return [*shelf, *(at[each] for each in sorted(at))][:k]
    return shelf


@given(view=views, request=requests, pins=pins, source=st.sampled_from(["for_you", "popular", "new"]))
def test_pins_are_placed_as_their_definition_says(view: MadeView, request: Request, pins, source) -> None:
    # a link that shows seen items has exclusions of its own, which hold for no pin
    fallback = None if request.fallback is None else tuple({*request.fallback} - {"recently_viewed", "buy_again"})
    request = replace(request, source=source, explain=None, fallback=fallback)
    [plain] = recommend(view, [replace(request, k=MAX_ITEMS)], weighting=WEIGHTING, now_us=0)
    # of items that the model says nothing about, a short shelf shows others than the begin of a long one
    assume(source != "for_you" or all(hit.reason == "history" and hit.score > 0 for hit in plain.hits))
    order = [hit.item_id for hit in plain.hits]
    [answer] = recommend(view, [replace(request, pins=pins)], weighting=WEIGHTING, now_us=0)
    expected = placed(order, pins, request.k, eligible(view, request), len(request.shown))
    scores = {hit.item_id: hit.score for hit in plain.hits}
    pinned_items = {pin.item_id for pin in pins if pin.position > len(request.shown)}
    for hit, item_id in zip(answer.hits, expected, strict=True):  # scores that tie differ by rounding
        assert hit.item_id == item_id or not {hit.item_id, item_id} & pinned_items
        assert hit.score == pytest.approx(scores[hit.item_id], abs=1e-5)
        assert hit.score == pytest.approx(scores[item_id], abs=1e-5)
    on_page = {pin.item_id for pin in pins if 0 <= pin.position - 1 - len(request.shown) < request.k} - {None}
    n_missing = len(on_page - eligible(view, request))
    assert sum("item" in each.msg.split(": ", 1)[1][:5] for each in answer.warnings) == n_missing


@given(
    view=views,
    request=requests,
    fields=fields,
    pins=pins,
    caps=st.dictionaries(st.sampled_from(["brand", "categories"]), st.integers(1, 3)),
    group_by=st.sampled_from([None, "brand"]),
    diversity=st.sampled_from([0.0, 0.5]),
    source=st.sampled_from(list(SOURCES)),
)
def test_the_other_items_keep_to_groups_and_caps_beside_the_pinned_ones(
    view: MadeView, request: Request, fields, pins, caps, group_by, diversity, source
) -> None:
    view = replace(view, fields=fields)
    request = replace(request, source=source, item_ids=["i0"] if source in ("similar", "given_items") else [])
    shaped = replace(request, pins=pins, caps=tuple(caps.items()), group_by=group_by, diversity=diversity)
    [answer] = recommend(view, [shaped], weighting=WEIGHTING, now_us=0)
    rows, item_pins = rows_of(answer), {pin.item_id for pin in pins}
    assert len(set(rows)) == len(rows) <= request.k
    others = [hit.row for hit in answer.hits if hit.item_id not in item_pins]
    for field, n in caps.items():
        for row in others:
            for value in fields[field].get(row, ()):
                assert sum(value in fields[field].get(each, ()) for each in rows) <= max(
                    n, sum(value in fields[field].get(each, ()) for each in rows if each not in others)
                )
    if group_by is not None:
        groups = [group for row in others if (group := fields[group_by].get(row))]
        assert len(set(groups)) == len(groups)
    shown_at = {hit.item_id: place + 1 for place, hit in enumerate(answer.hits) if hit.reason == "pinned"}
    for pin in pins:
        position = pin.position - len(request.shown)
        if pin.item_id in shown_at and answer.shortfall is None and position <= request.k:
            assert shown_at[pin.item_id] == position


def shown(**asked) -> list[str]:
    return [hit.item_id for hit in answer_to(SmallView(), source="popular", **asked).hits]


def test_a_pinned_item_is_at_its_position_on_its_page_and_on_no_earlier_one() -> None:
    assert shown(k=3) == ["cap", "cup", "mug"]
    assert shown(k=3, pins=[Pin(1, "hat")]) == ["hat", "cap", "cup"]
    assert shown(k=3, pins=[Pin(2, "hat"), Pin(3, "cap")]) == ["cup", "hat", "cap"]
    assert shown(k=2, pins=[Pin(4, "cap")]) == ["cup", "mug"]
    assert shown(k=2, pins=[Pin(4, "cap")], shown=["cup", "mug"]) == ["hat", "cap"]
    assert shown(k=9, pins=[Pin(8, "cap")])[-1] == "cap", "the shelf ends before the position"
    assert shown(k=3, pins=[Pin(2, predicate=("hat", "mug"))]) == ["cap", "mug", "cup"]
    assert shown(k=3, pins=[Pin(1, predicate=("cap", "hat")), Pin(2, "cap")]) == ["hat", "cap", "cup"]


def test_a_pin_that_cannot_be_shown_leaves_its_position_and_a_warning_says_why() -> None:
    view = SmallView(allowed=np.array([True, True, True, True, False, True]))
    answer = answer_to(
        view,
        source="popular",
        k=3,
        pins=[Pin(1, "pen"), Pin(2, "cap"), Pin(3, "ghost"), Pin(4, "hat"), Pin(5, predicate=("pen",))],
        exclude_items=["cap"],
    )
    assert [hit.item_id for hit in answer.hits] == ["cup", "mug", "new"]
    assert [each.loc for each in answer.warnings] == [("pins", 0), ("pins", 1), ("pins", 2)]
    reasons = ["is not available, or does not pass the filter", "is excluded", "is not in the catalogue"]
    assert all(reason in each.msg for reason, each in zip(reasons, answer.warnings, strict=True))
    assert "position 1, the next item has it: item 'pen'" in answer.warnings[0].msg


def test_pinned_items_count_for_caps_and_groups_and_are_not_held_back_by_them() -> None:
    view = SmallView(fields={"brand": {0: frozenset("a"), 1: frozenset("a"), 2: frozenset("a"), 3: frozenset("b")}})

    def shelf(**asked):
        return [hit.item_id for hit in answer_to(view, source="popular", k=4, **asked).hits]

    assert shelf(pins=[Pin(1, "hat")], caps=(("brand", 1),))[:2] == ["hat", "cap"]
    assert not {"cup", "mug"} & set(shelf(pins=[Pin(1, "hat")], caps=(("brand", 1),)))
    assert not {"cup", "mug"} & set(shelf(pins=[Pin(1, "hat")], group_by="brand"))
    assert shelf(pins=[Pin(1, "hat"), Pin(2, "mug")], group_by="brand")[:3] == ["hat", "mug", "cap"]
    assert shelf(pins=[Pin(1, "hat"), Pin(2, predicate=("cup", "cap"))], caps=(("brand", 1),))[:2] == ["hat", "cap"]


def test_an_item_that_a_pin_shows_is_on_no_later_shelf_of_the_page() -> None:
    page = [Request(source="popular", k=2), Request(source="popular", k=2, pins=[Pin(1, "cap"), Pin(2, "hat")])]
    first, second = recommend(SmallView(), page, weighting=WEIGHTING, now_us=0, distinct=True)
    assert [hit.item_id for hit in first.hits] == ["cap", "cup"]
    assert [hit.item_id for hit in second.hits] == ["mug", "hat"]
    assert "earlier shelf" in second.warnings[0].msg


def test_an_item_of_a_later_page_that_fills_a_short_shelf_counts_for_its_group() -> None:
    brands = dict(enumerate(frozenset([brand]) for brand in "aabbcc"))
    for explore in (0.0, 0.5, 1.0):
        asked = {"k": 6, "group_by": "brand", "pins": [Pin(9, "mug")], "explore": explore, "seed": 3}
        hits = answer_to(SmallView(fields={"brand": brands}), source="popular", **asked).hits
        shown = [brands[hit.row] for hit in hits]
        assert len(shown) == len(set(shown)) == 3
        assert (hits[-1].item_id, hits[-1].reason) == ("mug", "pinned")
