"""The order of a whole shelf, by a plain definition: liked items, unknown ones as the fallback ranks them, disliked
ones, then the fallback over all that is left. A shelf of k shows the first k of them.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.behaviour.behaviour import no_behaviour
from engine.behaviour.item_counts import from_table
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.score_floor import longest_length
from engine.recommending.pipeline import answers, plans
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.vectors import normalise_rows
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import MetricSearcher
from tests.engine.recommending.small_view import SmallView, history

N_ITEMS, N_VECTORS = 120, 110
TASTE = np.array([1.0, 0.5, 0, 0], np.float32)  # items of the other two dimensions are unknown to this user


@dataclass(frozen=True, eq=False)
class TwoWorlds(SmallView):
    raw: Any = None

    def vector(self, row):
        return self.raw[row] if row < len(self.raw) else None


def made_view(seed: int, share_known: float, metric: str, share_allowed: float) -> TwoWorlds:
    """Items of two worlds that have nothing in common; no two scores are equal."""
    draw = np.random.default_rng(seed)
    raw = draw.normal(size=(N_VECTORS, 4)).astype(np.float32)
    is_known = draw.random(N_VECTORS) < share_known
    raw[is_known, 2:] = 0
    raw[~is_known, :2] = 0
    popularity = draw.normal(1, 1, N_ITEMS).astype(np.float32)
    return TwoWorlds(
        raw=raw,
        allowed=None if share_allowed == 1 else draw.random(N_ITEMS) < share_allowed,
        items=IdMap(f"i{row}" for row in range(N_ITEMS)),
        n_learnt=N_VECTORS,
        n_vectors=N_VECTORS,
        n_built=N_ITEMS,
        longest_length=longest_length(raw),
        dim=4,
        fold_in=LinearFoldIn(raw, np.ones(N_VECTORS, np.float32), np.ones(4, np.float32)),
        users_to_items=MetricSearcher(ExactSearcher(normalise_rows(raw) if metric == "cosine" else raw), metric),
        items_to_items=MetricSearcher(ExactSearcher(normalise_rows(raw)), "cosine"),
        most_popular=np.argsort(-popularity, kind="stable"),
        popularity=popularity,
        newest=draw.permutation(N_ITEMS),
        behaviour=replace(no_behaviour(N_ITEMS), counts=from_table(draw.integers(0, 2, (4, N_ITEMS)))),
    )


def order_of_search(ranking, links, view, excluded, boost):
    everything = ranking.best(view, N_ITEMS, excluded, boost)
    at = [hit.reason for hit in everything]
    if "unranked" not in at:
        return everything
    first, last = at.index("unranked"), len(at) - at[::-1].index("unranked")
    unknown = {hit.row for hit in everything[first:last]}
    ranked = []
    for link in links:
        if link.ranking is not None:
            found = known_to(link, view, set(range(N_ITEMS)) - unknown, boost)
            ranked += found
            unknown -= {hit.row for hit in found}
    return everything[:first] + ranked + everything[last:]


def known_to(link, view, excluded, boost):
    found = link.ranking.best(view, N_ITEMS, link.excluded | excluded, boost)
    return [hit for hit in found if not (isinstance(link.ranking, Nearest) and hit.reason == "unranked")]


def whole_order(plan):
    view, links, boost = plan.context.view, plan.links, plan.boost
    hits = order_of_search(plan.ranking, links, view, plan.excluded, boost)
    for at, link in enumerate(links):
        if link.ranking is not None:
            shown = link.excluded | {hit.row for hit in hits}
            if isinstance(link.ranking, Nearest):
                hits += order_of_search(link.ranking, links[at + 1 :], view, shown, boost)
            else:
                hits += link.ranking.best(view, N_ITEMS, shown, boost)
    return hits


FALLBACKS = [
    None,
    (),
    ("popular",),
    ("recently_viewed",),
    ("recently_viewed", "popular"),
    ("similar", "popular"),
    ("similar", "recently_viewed"),
    ("random", "new"),
]
ids = st.lists(st.integers(0, N_ITEMS - 1).map(lambda row: f"i{row}"), max_size=6, unique=True).map(tuple)


@given(
    made=st.tuples(
        st.integers(0, 2**16),
        st.sampled_from([0.05, 0.3, 0.9, 1]),
        st.sampled_from(["dot", "cosine"]),
        st.sampled_from([1, 0.5, 0.1]),
    ),
    request=st.builds(
        Request,
        vector=st.just(TASTE),
        history=ids.map(lambda past: history(*past)),
        item_ids=ids,
        exclude=st.sampled_from([frozenset(), frozenset({"seen"})]),
        exclude_items=ids,
        fallback=st.sampled_from(FALLBACKS),
        boosts=st.lists(st.builds(FilterBoost, ids, st.sampled_from([0.5, 3.0])), max_size=2).map(Boosts),
        seed=st.just(1),
    ),
    sizes=st.lists(st.integers(1, N_ITEMS), min_size=1, max_size=4),
)
def test_a_shelf_is_the_beginning_of_the_whole_order(made, request, sizes) -> None:
    view = made_view(*made)
    [plan] = plans(view, [request], Weighting(), 0)
    whole = [hit.item_id for hit in whole_order(plan)]
    for k in (1, *sizes, N_ITEMS):
        planned = plans(view, [replace(request, k=k)], Weighting(), 0)
        [answer] = answers(planned)
        assert [hit.item_id for hit in answer.hits] == whole[:k]


def test_an_item_that_the_user_dislikes_comes_after_all_unknown_ones_on_a_short_shelf_too() -> None:
    view = SmallView(
        fold_in=LinearFoldIn(np.zeros((4, 2), np.float32), np.ones(4, np.float32), np.ones(2, np.float32)),
        users_to_items=MetricSearcher(ExactSearcher(np.array([[1, 0], [-1, 0], [0, 1], [0, 3]], np.float32)), "dot"),
        most_popular=np.array([1, 4, 2, 3, 0, 5]),  # mug, which the user dislikes, and pen, without a vector
    )

    def shown(k, fallback):
        request = Request(vector=np.array([1, 0], np.float32), k=k, fallback=fallback)
        [answer] = answers(plans(view, [request], Weighting(), 0))
        return [hit.item_id for hit in answer.hits]

    assert [shown(k, None) for k in (1, 2, 3)] == [["cup"], ["cup", "hat"], ["cup", "hat", "cap"]]
    assert shown(5, None) == ["cup", "hat", "cap", "mug", "pen"]
    assert shown(2, ()) == shown(3, ()) == ["cup", "mug"]  # the fallback ranks no unknown item
