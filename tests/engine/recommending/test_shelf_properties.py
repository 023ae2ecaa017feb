"""Shelves of any combination of parameters on random catalogues keep what `shelf_rules` says, page after page."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recommending.pipeline import recommend
from engine.recommending.values.request import ChooseBy, Pin, Request
from engine.values.events import Weighting
from tests.engine.recommending import shelf_rules
from tests.engine.recommending.shelf_rules import Asked, Facts
from tests.engine.recommending.small_view import history
from tests.engine.recommending.test_guarantee import MAX_ITEMS, MadeView, eligible, ids, requests, views

WEIGHTING = Weighting()
brands = st.dictionaries(st.integers(0, MAX_ITEMS - 1), st.sampled_from("abc").map(lambda value: frozenset([value])))
categories = st.dictionaries(st.integers(0, MAX_ITEMS - 1), st.frozensets(st.sampled_from("xyz"), max_size=2))
stock = st.dictionaries(st.integers(0, MAX_ITEMS - 1), st.integers(0, 9).map(lambda n: frozenset([n])), min_size=1)
pins = st.dictionaries(st.integers(1, 9), ids, max_size=3).map(
    lambda by_position: tuple(Pin(*each) for each in {item: (at, item) for at, item in by_position.items()}.values())
)


def items_of(caps: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(caps.items())


shapes = st.fixed_dictionaries(
    {
        "caps": st.dictionaries(st.sampled_from(["brand", "categories"]), st.integers(1, 3)).map(
            lambda d: (*d.items(),)
        ),
        "group_by": st.sampled_from([None, None, "brand"]),
        "diversity": st.sampled_from([0.0, 0.4]),
        "pins": pins,
        "rotation_us": st.sampled_from([None, 1000]),
        "include_items": st.none() | st.lists(ids, min_size=4, unique=True).map(tuple),
        "explore": st.sampled_from([0.0, 0.3, 1.0]),
        "seed": st.integers(0, 9),
    }
)


@given(
    view=views,
    request=requests,
    fields=st.fixed_dictionaries({"brand": brands, "categories": categories, "stock": stock}),
    shape=shapes,
    by_stock=st.booleans(),
    shown=st.lists(ids, max_size=4).map(tuple),
    source=st.sampled_from(["for_you", "popular", "new"]),
)
def test_every_shelf_and_its_next_pages_keep_the_rules(
    view: MadeView, request: Request, fields, shape, by_stock, shown, source
) -> None:
    fields["stock"][0] = fields["stock"].get(0, frozenset([1]))
    view = replace(view, fields=fields)
    request = replace(request, source=source, shown=(), explain=1, impressions=history(*shown), **shape)
    request = replace(request, choose_by=ChooseBy("stock") if by_stock and request.group_by else None)
    may_show = eligible(view, request)
    catalogue = {
        id_: Facts(
            next(iter(fields["brand"].get(row, ())), None), fields["categories"].get(row, frozenset()), id_ in may_show
        )
        for row, id_ in enumerate(view.items.ids)
    }
    included = None if request.include_items is None else frozenset(request.include_items)
    item_pins = [(pin.position, pin.item_id) for pin in request.pins]
    asked = Asked(request.k, dict(request.caps), request.group_by, item_pins, included=included)
    earlier: list[str] = []
    for _ in range(3):
        page = replace(request, shown=tuple(earlier))
        [answer, other] = recommend(view, [page, replace(page, k=2)], weighting=WEIGHTING, now_us=0)
        [again] = recommend(view, [page], weighting=WEIGHTING, now_us=0)
        assert [hit.score for hit in again.hits] == pytest.approx([hit.score for hit in answer.hits], abs=1e-5)
        on_page = [hit.item_id for hit in answer.hits]
        shelf_rules.hold(on_page, earlier, catalogue, asked)
        shelf_rules.hold([hit.item_id for hit in other.hits], earlier, catalogue, replace(asked, k=2))
        assert (answer.shortfall is None) == (len(on_page) == request.k)
        for hit in answer.hits:
            assert np.isclose(sum(part.adds for part in answer.parts[hit.item_id]), hit.score, atol=1e-4)
        earlier += on_page
