"""If k eligible items exist, k come back: whatever source, filter, exclusions, boosts and shaping a request uses."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.behaviour.behaviour import Behaviour
from engine.behaviour.item_counts import from_table
from engine.behaviour.item_lists import from_lists
from engine.behaviour.trending import rank_trends
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.score_floor import longest_length
from engine.merchandising.rules import BURY, Effect, Rule, When, by_priority
from engine.recommending import pipeline
from engine.recommending.pipeline import recommend
from engine.recommending.shaping.registry import SHAPING
from engine.recommending.shaping.stage import Stage
from engine.recommending.sources.registry import SOURCES
from engine.recommending.sources.shortfall import COMPLETE
from engine.recommending.sources.source import Source
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.request import Pin, Request
from engine.templates.situation import Situation
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.vectors import normalise_rows
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import MetricSearcher
from tests.engine.recommending.small_view import SmallView, answer_to, history

WEIGHTING = Weighting()
MAX_ITEMS = 14


@dataclass(frozen=True, eq=False)
class MadeView(SmallView):
    raw: Any = None

    def vector(self, row):
        return self.raw[row] if row < len(self.raw) else None


def made_behaviour(draw: np.random.Generator, n_items: int, n_built: int) -> Behaviour:
    """Lists of up to three items, trends of which many are 0 or tie, and intervals of which some are unknown."""
    lists = [
        (draw.permutation(n_built)[:n].astype(np.int32), np.sort(draw.integers(1, 3, n).astype(np.float32))[::-1])
        for n in draw.integers(0, min(3, n_built) + 1, n_built)
    ]
    days = np.where(draw.random(n_built) < 0.5, np.nan, draw.integers(1, 60, n_built)).astype(np.float32)
    trends = rank_trends(draw.integers(0, 3, n_built), draw.integers(1, 3, n_built), 0)
    counts = from_table(draw.integers(0, 2, (4, n_built)).astype(np.float64))
    return Behaviour(from_lists(lists), trends, days, counts).extended(n_items)


def made_view(seed: int, n_items: int, n_vectors: int, share_allowed: float, metric: str) -> MadeView:
    """Vectors of few distinct directions: many scores tie, many are 0."""
    draw = np.random.default_rng(seed)
    raw = draw.integers(-1, 2, (n_vectors, 3)).astype(np.float32)
    popularity = np.round(draw.normal(size=n_items), 1).astype(np.float32)
    by_metric = normalise_rows(raw) if metric == "cosine" else raw
    n_built = n_items - n_items // 5
    return MadeView(
        raw=raw,
        allowed=None if share_allowed == 1 else draw.random(n_items) < share_allowed,
        items=IdMap(f"i{row}" for row in range(n_items)),
        n_learnt=n_vectors,
        n_vectors=n_vectors,
        n_built=n_built,
        behaviour=made_behaviour(draw, n_items, n_built),
        longest_length=longest_length(raw),
        dim=3,
        fold_in=LinearFoldIn(raw, np.ones(n_vectors, np.float32), np.ones(3, np.float32)),
        users_to_items=MetricSearcher(ExactSearcher(by_metric), metric),
        items_to_items=MetricSearcher(ExactSearcher(normalise_rows(raw)), "cosine"),
        most_popular=np.argsort(-popularity, kind="stable"),
        popularity=popularity,
        newest=draw.permutation(n_items),
    )


views = st.builds(
    lambda seed, n_items, missing, share, metric: made_view(seed, n_items, max(1, n_items - missing), share, metric),
    st.integers(0, 2**16),
    st.integers(1, MAX_ITEMS),
    st.integers(0, 5),
    st.sampled_from([1, 0.8, 0.3, 0]),
    st.sampled_from(["dot", "cosine"]),
)
ids = st.sampled_from([f"i{row}" for row in range(MAX_ITEMS)] + ["unknown"])
some = st.lists(ids, max_size=5, unique=True).map(tuple)
predicates = st.none() | st.lists(ids, max_size=9, unique=True).map(tuple)
requests = st.builds(
    lambda past, likes, **more: Request(history=history(*past, kind="purchase" if likes else "view"), **more),
    past=some,
    likes=st.booleans(),
    k=st.integers(1, MAX_ITEMS + 2),
    predicate=predicates,
    exclude=st.sampled_from([frozenset(), frozenset({"seen"})]),
    exclude_items=some,
    shown=some,
    boosts=st.lists(st.builds(FilterBoost, some, st.sampled_from([0.1, 1.0, 3.0])), max_size=2).map(Boosts),
    fallback=st.sampled_from(
        [None, ("new",), ("popular", "new"), ("recently_viewed", "random"), ("similar", "for_you", "new")]
    ),
    explain=st.sampled_from([None, 2]),
    seed=st.integers(0, 9),
)


ON_PAGES = ("for_you", "popular", "new", "similar", "bought_together", "trending", "buy_again", "random")
ALONE = ("bought_together", "trending", "recently_viewed", "buy_again", "list")  # sources of a part of the catalogue


def only_even(context, hits):
    return [hit for hit in hits if hit.row % 2 == 0]


def every_third_last(context, hits):
    return [hit for at, hit in enumerate(hits) if at % 3] + hits[::3]


SHAPINGS = {
    "none": (),
    "drops": (Stage(only_even),),
    "reorders": (Stage(every_third_last, n_candidates=lambda request: 3 * request.k),),
    "diverse": SHAPING,
    "both": (Stage(only_even), Stage(every_third_last, n_candidates=lambda request: request.k + 2)),
}


def eligible(view: MadeView, request: Request) -> set[str]:
    """What the sources of the request and its fallback can show together."""
    allowed = {
        id_
        for row, id_ in enumerate(view.items.ids)
        if (view.allowed is None or view.allowed[row]) and (request.predicate is None or id_ in request.predicate)
    } - {*request.exclude_items, *request.shown}
    source = SOURCES[request.source]
    chain = {request.source, *(source.fallback if request.fallback is None else request.fallback)}
    seen, found = set(request.history.item_ids), set[str]()
    if COMPLETE & chain:
        found = set(view.items.ids)
    if {"search", "popular_with_vector"} & chain:
        found |= {id_ for id_ in view.items.ids if view.vector(view.items.row(id_)) is not None}
    if {"given_items", "list"} & chain:
        found |= set(request.item_ids)
    if "trending" in chain:
        found |= {id_ for row, id_ in enumerate(view.items.ids) if view.behaviour.trending.scores[row] > 0}
    if "bought_together" in chain:
        seeds = [view.items.row(id_) for id_ in request.item_ids]
        found |= {view.items.ids[row] for seed in seeds for row in view.behaviour.bought_together.of(seed)[0]}
    if request.exclude:
        of_all = [set(each.item_ids) for each in request.people]
        found -= seen | (set.intersection(*of_all) if of_all else set())
    if "recently_viewed" in chain or ("buy_again" in chain and "purchase" in request.history.kinds):
        found |= seen
    return (found & allowed) - set(source.never_shows(Context(view, request, WEIGHTING, 0)))


def hold(view: MadeView, request: Request, answer: Any, expected: set[str]) -> None:
    shown = [hit.item_id for hit in answer.hits]
    assert set(shown) <= expected
    assert len(set(shown)) == len(shown) == min(request.k, len(expected))
    assert (answer.shortfall is None) == (len(shown) == request.k)
    assert (answer.because is None) == (request.explain is None)


@pytest.mark.parametrize("shaping", SHAPINGS)
@pytest.mark.parametrize("source", SOURCES)
@given(view=views, request=requests, seed=st.integers(0, MAX_ITEMS - 1), given_ids=some)
def test_a_shelf_is_full_when_enough_items_are_eligible(source, shaping, view, request, seed, given_ids) -> None:
    request = replace(request, source=source, diversity=0.5 if shaping == "diverse" else 0.0)
    if source in ("search", "similar", "bought_together"):
        request = replace(request, item_ids=[f"i{seed % view.n_vectors}"])
    if source in ("given_items", "list"):
        request = replace(request, item_ids=[id_ for id_ in given_ids if id_ in view.items])
    if source == "random":
        request = replace(request, seed=seed)
    if source == "for_these_people":
        request = replace(request, people=[history(*given_ids), history(f"i{seed}")])
    if source in ("search", "given_items"):
        request = replace(request, fallback=None)
    if source in ALONE and seed % 2:
        request = replace(request, fallback=())
    expected = eligible(view, request)
    if shaping in ("drops", "both"):
        expected = {id_ for id_ in expected if view.items.row(id_) % 2 == 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "SHAPING", SHAPINGS[shaping])
        [answer] = recommend(view, [request], weighting=WEIGHTING, now_us=0)
        hold(view, request, answer, expected)


@given(view=views, page=st.lists(requests, min_size=2, max_size=5), sources=st.data())
def test_the_shelves_of_a_page_are_full_and_distinct(view, page, sources) -> None:
    page = [replace(each, source=sources.draw(st.sampled_from(ON_PAGES))) for each in page]
    answers = recommend(view, page, weighting=WEIGHTING, now_us=0, distinct=True)
    shown: set[str] = set()
    for request, answer in zip(page, answers, strict=True):
        hold(view, request, answer, eligible(view, request) - shown)
        shown |= {hit.item_id for hit in answer.hits}


@given(view=views, page=st.lists(requests, min_size=1, max_size=5))
def test_many_requests_are_answered_as_each_alone(view, page) -> None:
    together = recommend(view, page, weighting=WEIGHTING, now_us=0)
    for request, answer in zip(page, together, strict=True):
        [alone] = recommend(view, [request], weighting=WEIGHTING, now_us=0)
        assert [hit.score for hit in answer.hits] == pytest.approx([hit.score for hit in alone.hits], abs=1e-5)
        assert answer.shortfall == alone.shortfall


times = st.none() | st.integers(0, 9)
rules = st.lists(
    st.builds(
        lambda at, when, effect: Rule("", 1, when, lambda situation: effect, priority=at),
        at=st.integers(-2, 2),
        when=st.builds(When, from_us=times, until_us=times),
        effect=st.builds(
            Effect,
            predicate=st.none() | st.lists(ids, min_size=5, max_size=9, unique=True).map(tuple),
            boosts=st.lists(st.builds(FilterBoost, some, st.just(2.0), st.sampled_from([0.0, BURY]))).map(Boosts),
            pins=st.lists(st.builds(Pin, st.integers(1, 6), ids), max_size=2),
        ),
    ),
    max_size=4,
)


@pytest.mark.parametrize("source", ON_PAGES)
@given(view=views, request=requests, rules=rules, now_us=st.integers(0, 9), seed=st.integers(0, MAX_ITEMS - 1))
def test_a_shelf_with_rules_is_full_of_what_the_rules_that_act_let_pass(
    source, view, request, rules, now_us, seed
) -> None:
    request = replace(request, source=source)
    if source in ("similar", "bought_together"):
        request = replace(request, item_ids=[f"i{seed % view.n_vectors}"])
    if not COMPLETE & {source, *(SOURCES[source].fallback if request.fallback is None else request.fallback)}:
        request = replace(request, fallback=("new",))  # a pin also shows an item that no source of the shelf has
    rules = [replace(rule, name=str(at)) for at, rule in enumerate(rules)]
    situation = Situation(now_us=now_us)
    acting = by_priority(rules).acting(situation, None, None, frozenset)
    ruled, applied = by_priority(rules).apply(request, acting, situation, lambda effect: True, view)
    acts = [
        rule
        for rule in rules
        if (rule.when.from_us is None or rule.when.from_us <= now_us)
        and (rule.when.until_us is None or now_us < rule.when.until_us)
    ]
    assert set(applied.names) == {rule.name for rule in acts}
    effects = [rule.effect(situation) for rule in acts]
    passing = [effect.predicate for effect in effects if effect.predicate is not None]
    expected = {id_ for id_ in eligible(view, request) if all(id_ in each for each in passing)}
    [answer] = recommend(view, [ruled], weighting=WEIGHTING, now_us=now_us)
    hold(view, ruled, answer, expected)
    pinned = {hit.item_id for hit in answer.hits if hit.reason == "pinned"}
    assert pinned <= {pin.item_id for effect in effects for pin in effect.pins}


@given(view=views, request=requests)
def test_boosted_scores_are_in_their_true_order(view, request) -> None:
    hits = answer_to(view, weighting=WEIGHTING, **{name: getattr(request, name) for name in Request.__slots__}).hits
    scores = [hit.score for hit in hits if hit.reason == "history"]
    assert scores == sorted(scores, reverse=True)
    for has_vector in (True, False):  # items that the search says nothing about come before items that it cannot find
        scores = [hit.score for hit in hits if hit.reason == "popular" and (hit.row < view.n_vectors) == has_vector]
        assert scores == sorted(scores, reverse=True)


def test_a_source_is_a_file_and_a_line_and_gets_everything_else_from_the_pipeline(monkeypatch) -> None:
    """A toy source, 'last letter first', with filter, exclusions, boosts, shaping and fallback."""

    def rank(contexts):
        return [
            Listed(["pen", "mug"], np.array([4, 1]), np.array([1.0, 0.5], np.float32), "similar", "toy")
            for _ in contexts
        ]

    monkeypatch.setitem(SOURCES, "toy", Source(rank, ("popular",)))
    view = SmallView()

    def shown(**asked):
        return [(hit.item_id, hit.reason) for hit in answer_to(view, source="toy", k=3, **asked).hits]

    assert shown() == [("pen", "similar"), ("mug", "similar"), ("cap", "popular")]
    assert shown(exclude_items=["pen"]) == [("mug", "similar"), ("cap", "popular"), ("cup", "popular")]
    assert shown(predicate=("mug", "hat")) == [("mug", "similar"), ("hat", "popular")]
    assert shown(boosts=Boosts([FilterBoost(("mug",), 3.0)]))[:2] == [("mug", "similar"), ("pen", "similar")]
    assert shown(fallback=()) == [("pen", "similar"), ("mug", "similar")]
    monkeypatch.setattr(pipeline, "SHAPING", (Stage(lambda context, hits: [hit for hit in hits if hit.row != 4]),))
    assert shown() == [("mug", "similar"), ("cap", "popular"), ("cup", "popular")]
