"""The stages of shaping against plain implementations of their definitions, alone and through the pipeline."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.recommending import pipeline
from engine.recommending.pipeline import recommend
from engine.recommending.shaping.diversity import most_relevant_and_different
from engine.recommending.shaping.registry import SHAPING
from engine.recommending.sources.registry import SOURCES
from engine.recommending.values.answer import Hit
from engine.recommending.values.request import ChooseBy, Request
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.vectors import normalise_rows
from tests.engine.recommending.small_view import SmallView, answer_to
from tests.engine.recommending.test_guarantee import MAX_ITEMS, MadeView, requests, views

WEIGHTING = Weighting()


def grouped(values, order: list[int], shown: list[int]) -> list[int]:
    """The first row of each group, except groups of rows that were shown."""
    chosen: list[int] = []
    for row in order:
        group = values.get(row, frozenset())
        if not group or all(values.get(each, frozenset()) != group for each in [*shown, *chosen]):
            chosen.append(row)
    return chosen


def capped(values, n: int, order: list[int]) -> list[int]:
    chosen: list[int] = []
    for row in order:
        mine = values.get(row, frozenset())
        if all(sum(value in values.get(each, ()) for each in chosen) < n for value in mine):
            chosen.append(row)
    return chosen


def marginal_values(vectors, diversity: float, chosen: list[int]) -> list[float]:
    """Maximal marginal relevance of every candidate after some have been chosen, item by item."""
    n, values = len(vectors), []
    for at in range(n):
        relevance = 1 - at / max(1, n - 1)
        similarity = max([0.0, *(float(vectors[at] @ vectors[each]) for each in chosen)])
        values.append((1 - diversity) * relevance - diversity * similarity)
    return values


fields = st.fixed_dictionaries(
    {
        name: st.dictionaries(st.integers(0, MAX_ITEMS - 1), st.frozensets(st.sampled_from("abc"), max_size=most))
        for name, most in (("brand", 1), ("categories", 3))
    }
)


def rows_of(answer) -> list[int]:
    return [hit.row for hit in answer.hits]


def chosen_rows(order: list[int], view: MadeView, request: Request, group_by, caps) -> list[int]:
    if group_by is not None:
        shown = [row for id_ in request.shown if (row := view.items.row(id_)) is not None]
        order = grouped(view.fields[group_by], order, shown)
    chosen: list[int] = []
    for row in order:  # with several caps, a row is left out by any of them
        candidates = [*chosen, row]
        if all(capped(view.fields[field], n, candidates) == candidates for field, n in caps.items()):
            chosen = candidates
    return chosen


@given(
    view=views,
    request=requests,
    fields=fields,
    group_by=st.sampled_from([None, "brand", "categories"]),
    caps=st.dictionaries(st.sampled_from(["brand", "categories"]), st.integers(1, 3)),
    diversity=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
    source=st.sampled_from(list(SOURCES)),
)
def test_groups_and_caps_choose_as_their_definitions_say(
    view: MadeView, request: Request, fields, group_by, caps, diversity, source
) -> None:
    view = replace(view, fields=fields)
    request = replace(request, source=source, item_ids=["i0"] if source in ("similar", "given_items") else [])
    shaped = replace(request, group_by=group_by, caps=tuple(caps.items()), diversity=diversity)
    n = max(stage.n_candidates(shaped) for stage in SHAPING)
    while True:
        [plain] = recommend(view, [replace(request, k=n)], weighting=WEIGHTING, now_us=0)
        order = chosen_rows(rows_of(plain), view, request, group_by, caps)
        if len(order) >= request.k or len(plain.hits) < n:
            break
        n *= pipeline.WIDEN
    [answer] = recommend(view, [shaped], weighting=WEIGHTING, now_us=0)
    if diversity:
        assert set(rows_of(answer)) <= set(order)
        assert len(set(rows_of(answer))) == len(answer.hits) == min(request.k, len(order))
    else:
        assert rows_of(answer) == order[: request.k]
    assert (answer.shortfall is None) == (len(order) >= request.k)


@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 40),
    k=st.integers(1, 45),
    diversity=st.floats(0.01, 1).map(lambda value: round(value, 2)),
)
def test_diversity_is_maximal_marginal_relevance(seed, n, k, diversity) -> None:
    vectors = normalise_rows(np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32))
    vectors[::7] = 0  # items without a vector
    chosen = most_relevant_and_different(vectors, diversity, k)
    assert len(set(chosen)) == len(chosen) == min(n, k)
    for step, at in enumerate(chosen):  # equal values differ by rounding
        values = marginal_values(vectors.astype(np.float64), diversity, chosen[:step])
        assert values[at] >= max(values[each] for each in range(n) if each not in chosen[:step]) - 1e-5


def test_a_diverse_shelf_alternates_between_directions() -> None:
    view = SmallView()
    vector = np.array([1, 0.9], np.float32)
    plain = [hit.item_id for hit in answer_to(view, vector=vector, k=4).hits]
    assert plain == ["cap", "cup", "mug", "hat"]
    assert [hit.item_id for hit in answer_to(view, vector=vector, k=4, diversity=0.0).hits] == plain
    shown = [hit.item_id for hit in answer_to(view, source="popular", k=2, diversity=0.9).hits]
    assert shown == ["cap", "cup"]
    shown = [hit.item_id for hit in answer_to(view, source="similar", item_ids=["cup"], k=2, diversity=1.0).hits]
    assert shown[0] == "mug"


def test_a_shortfall_names_the_stages_that_left_items_out() -> None:
    view = SmallView(fields={"brand": {row: frozenset("a") for row in range(6)}})
    shortfall = answer_to(view, source="popular", k=3, caps=(("brand", 2),)).shortfall
    assert shortfall.reason.startswith("caps left out 4 of the eligible items; ")
    assert shortfall.returned == 2


def test_a_stage_that_nobody_asks_for_does_nothing() -> None:
    hits = [Hit("cup", 0, 1.0, "popular", "popular")]
    context = pipeline.Context(SmallView(), Request(), WEIGHTING, 0)
    for stage in pipeline.SHAPING:
        assert stage.shape(context, hits) is hits
        assert stage.n_candidates(Request()) == Request().k


@pytest.mark.parametrize("n_items", [1, 5000])
def test_caps_search_through_the_whole_catalogue_until_the_shelf_is_full(n_items) -> None:
    """All items but the last have one brand."""
    view = SmallView(
        items=IdMap(f"i{row}" for row in range(n_items)),
        most_popular=np.arange(n_items),
        popularity=np.ones(n_items, np.float32),
        fields={"brand": {row: frozenset("a") for row in range(n_items - 1)} | {n_items - 1: frozenset("b")}},
    )
    answer = answer_to(view, source="popular", k=2, caps=(("brand", 1),))
    assert rows_of(answer) == ([0, n_items - 1] if n_items > 1 else [0])


@given(
    view=views,
    request=requests,
    fields=fields,
    stock=st.dictionaries(st.integers(0, MAX_ITEMS - 1), st.integers(0, 3).map(lambda n: frozenset([n])), min_size=1),
    descending=st.booleans(),
    source=st.sampled_from(["for_you", "popular", "new"]),
)
def test_the_shown_item_of_a_group_is_chosen_among_the_whole_group(
    view: MadeView, request: Request, fields, stock, descending, source
) -> None:
    stock = {row: value for row, value in stock.items() if row < len(view.items)} or {0: frozenset([1])}
    view = replace(view, fields=fields | {"stock": stock})
    request = replace(request, source=source)
    [plain] = recommend(view, [replace(request, k=MAX_ITEMS)], weighting=WEIGHTING, now_us=0)
    shown = [row for id_ in request.shown if (row := view.items.row(id_)) is not None]
    sign = -1 if descending else 1

    def rank(hit: Hit):
        number = next(iter(stock.get(hit.row, ())), None)
        return (number is None, sign * (number or 0), -hit.score)

    best = []
    for row in grouped(view.fields["brand"], rows_of(plain), shown):
        group = view.fields["brand"].get(row)
        members = [hit for hit in plain.hits if (group and view.fields["brand"].get(hit.row) == group)]
        best.append(min(rank(hit) for hit in members or [hit for hit in plain.hits if hit.row == row]))
    choose = ChooseBy("stock", descending)
    [answer] = recommend(view, [replace(request, group_by="brand", choose_by=choose)], weighting=WEIGHTING, now_us=0)
    found = [rank(hit) for hit in answer.hits]
    assert [each[:2] for each in found] == [each[:2] for each in best[: request.k]]
    assert [each[2] for each in found] == pytest.approx([each[2] for each in best[: request.k]], abs=1e-5)
    by_id = {hit.item_id: hit for hit in plain.hits}
    for hit in answer.hits:
        group = view.fields["brand"].get(hit.row)
        expected = {id_ for id_, each in by_id.items() if group and view.fields["brand"].get(each.row) == group}
        assert set(answer.siblings[hit.item_id]) == expected - {hit.item_id}


def test_a_field_without_numbers_cannot_choose_the_item_of_a_group() -> None:
    view = SmallView(fields={"brand": {row: frozenset("a") for row in range(6)}})
    with pytest.raises(InputError, match="no item has a number or a time in 'stock'") as error:
        answer_to(view, source="popular", group_by="brand", choose_by=ChooseBy("stock"))
    assert error.value.problems[0].loc == ("group_by", "choose", "field")
