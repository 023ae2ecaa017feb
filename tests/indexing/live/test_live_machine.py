"""A live view over a real PostgreSQL against a plain dict, by hypothesis: any order of writes, rebuilds and reads.

Its index is exact, IVF4 or a graph. IVF4 reads one list of four, so it misses items; what it may miss is only the best
of what is not in the delta. No shelf is short for it, no item forbidden, no score untrue.

NEARFIELD_TEST_EXAMPLES=300 tries more than the suite has time for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.messages import cursors
from api.routes.recommend import without_deleted
from engine.catalogue import predicate
from engine.errors import Conflict, NotFound
from engine.latent_space.item_similarity import EVIDENCE
from engine.latent_space.score_floor import score_floors
from engine.recommending.values.answer import Answer
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import NO_HISTORY
from engine.recommending.vectors.user_vectors import user_vector
from engine.store import events, items, spaces, users
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Database
from engine.values.events import Event, History
from engine.values.items import Item, ItemVector
from indexing.building.publish import rollback
from indexing.live.view import LiveView
from indexing.searchers import approximate
from tests.indexing.shop import NOW, NOW_US, Shop

EXAMPLES = int(os.environ.get("NEARFIELD_TEST_EXAMPLES", "10"))
LEARNT, NEW = [f"i{n}" for n in range(16)], [f"n{n}" for n in range(6)]
USERS = [f"u{n}" for n in range(10)]
CATEGORIES = ("red", "blue")
CLOSE = 1e-4
NAMES = count()
NOTHING: Mapping[str, float] = {}
SUBSET_ROWS = 5  # fewer allowed rows are searched exactly: a third of the world, as it has no 20,000

ids, user_ids = st.sampled_from(LEARNT + NEW), st.sampled_from([*USERS, "stranger"])
ks = st.sampled_from([1, 3, 7, 30])
# twentieths: nothing rounds, and no two lengths are so near to each other that float32 cannot tell them apart
coordinates = st.integers(-20, 20).map(lambda n: n / 20)
vectors = st.tuples(coordinates, coordinates).filter(any)
recipes = st.sampled_from(["flat", "IVF4,Flat", "hnsw"])


@dataclass
class Thing:
    category: str | None = None
    price: int | None = None
    available: bool = True
    own: tuple[float, ...] | None = None


Sent = dict[str, Any]
tests = st.one_of(
    st.sampled_from([0, 3, 7]).map(lambda n: {"price": {"lt": n}}),
    st.sampled_from([3, 7]).map(lambda n: {"price": {"gte": n}}),
    st.sampled_from(CATEGORIES).map(lambda name: {"categories": {"contains": name}}),
)
filters: st.SearchStrategy[Sent | None] = st.none() | st.recursive(
    tests,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"and": parts})
        | st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"or": parts})
        | inner.map(lambda part: {"not": part})
    ),
    max_leaves=3,
)


RED: Sent = {"categories": {"contains": "red"}}
CHEAP: Sent = {"price": {"lt": 3}}


def passes(sent: Sent | None, thing: Thing) -> bool:
    """What a filter means, by its words."""
    if sent is None:
        return True
    [(name, value)] = sent.items()
    if name == "not":
        return not passes(value, thing)
    if name in ("and", "or"):
        return (all if name == "and" else any)(passes(part, thing) for part in value)
    [(operator, wanted)] = value.items()
    if operator == "contains":
        return thing.category == wanted
    return thing.price is not None and (thing.price < wanted if operator == "lt" else thing.price >= wanted)


@dataclass
class Truth:
    things: dict[str, Thing] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    seen: dict[str, set[str]] = field(default_factory=dict)
    n_published: int = 0
    seq: int = 0

    def eligible(self, sent: Sent | None, out: Collection[str] = ()) -> set[str]:
        return {id_ for id_, thing in self.things.items() if thing.available and passes(sent, thing)} - set(out)


@dataclass
class Ways:
    """Which ways the searches of a read went, and how often each was gone in all."""

    now: list[str] = field(default_factory=list)
    gone: Counter[str] = field(default_factory=Counter)  # over a delta that replaces rows, with rows hidden

    def went(self, way: str) -> None:
        self.now.append(way)

    def count(self, view: LiveView) -> None:
        if view.delta is not None and view.delta.replaced and view.allowed is not None and not view.allowed.all():
            self.gone.update(self.now)

    @property
    def exact(self) -> bool:
        """A fallback makes the answer of the search before it exact."""
        ways = [*self.now, ""]
        return not any("ann" in way and then != "fallback" for way, then in pairwise(ways))


class LiveMachine(RuleBasedStateMachine):
    def __init__(self, database: Database, folder: Path, ways: Ways):
        super().__init__()
        self.database, self.folder, self.ways = database, folder, ways

    @initialize(recipe=recipes)
    def a_shop_is_learnt_from_and_served(self, recipe: str) -> None:
        with self.database.begin() as conn:
            space = spaces.ensure(conn, f"machine-{next(NAMES)}")
        self.shop, self.truth = Shop(self.database, space, self.folder), Truth()
        self.truth.things = {id_: Thing(CATEGORIES[n % 2], n) for n, id_ in enumerate(LEARNT)}
        first = [
            Item(id_, None, (thing.category or "",), {"price": thing.price}) for id_, thing in self.truth.things.items()
        ]
        self._write(items.upsert, first)
        draw = np.random.default_rng(5)
        self.truth.seen = {user: {LEARNT[n] for n in draw.choice(16, 6, replace=False)} for user in USERS}
        rows = [
            Event(user, id_, "view", NOW - timedelta(days=1))
            for user, seen in self.truth.seen.items()
            for id_ in sorted(seen)
        ]
        self._write(events.append, rows)
        assert self.shop.train() == 1
        self.rebuild(recipe)
        self.live = self.shop.live()
        with self.database.connect() as conn:
            self.learnt = {
                id_: np.asarray(self.live.current().vector(row))
                for id_ in LEARNT
                if (row := self.live.current().items.row(id_)) is not None
            }
        assert len(self.learnt) == 16

    # writes

    @rule(
        id_=ids,
        category=st.sampled_from(CATEGORIES),
        price=st.integers(0, 9),
        available=st.booleans(),
        own=st.none() | vectors,
    )
    def put(self, id_: str, category: str, price: int, available: bool, own: tuple[float, ...] | None) -> None:
        vector = None if own is None else ItemVector(1, own)
        self._write(items.upsert, [Item(id_, None, (category,), {"price": price}, available, vector)])
        self.truth.things[id_] = Thing(category, price, available, own)
        self.truth.deleted.discard(id_)

    @rule(id_=ids)
    def delete(self, id_: str) -> None:
        if id_ not in self.truth.things:
            with pytest.raises(NotFound):
                self._write(items.delete, id_)
            return
        self._write(items.delete, id_)
        del self.truth.things[id_]
        self.truth.deleted.add(id_)

    @rule(wanted=st.dictionaries(ids, st.booleans(), min_size=1, max_size=4))
    def flip(self, wanted: dict[str, bool]) -> None:
        told = self._write(items.set_availability, wanted)
        assert told == ["updated" if id_ in self.truth.things else "unknown" for id_ in wanted]
        for id_ in self.truth.things.keys() & wanted.keys():
            self.truth.things[id_].available = wanted[id_]

    @rule(user=user_ids, id_=ids)
    def event(self, user: str, id_: str) -> None:
        at = NOW - timedelta(minutes=next(NAMES) % 10_000 + 1)
        self._write(events.append, [Event(user, id_, "view", at)])
        self.truth.seen.setdefault(user, set()).add(id_)
        if id_ not in self.truth.deleted:
            self.truth.things.setdefault(id_, Thing())

    @rule(user=user_ids)
    def erase(self, user: str) -> None:
        if user not in self.truth.seen:
            with pytest.raises(NotFound):
                self._write(users.delete, user)
            return
        self._write(users.delete, user)
        del self.truth.seen[user]

    @rule(recipe=recipes)
    def rebuild(self, recipe: str) -> None:
        self.shop.publish(recipe=recipe)
        self.truth.n_published += 1

    @rule()
    def roll_back(self) -> None:
        if self.truth.n_published < 2:
            with pytest.raises(Conflict):
                rollback(self.database, self.shop.space, self.folder)
        else:
            rollback(self.database, self.shop.space, self.folder)

    @rule()
    def refresh(self) -> None:
        assert not self.live.refresh().stale

    # reads

    @rule(user=user_ids, k=ks, sent=filters, exclude=st.booleans(), out=st.sets(ids, max_size=3))
    def recommend(self, user: str, k: int, sent: Sent | None, exclude: bool, out: set[str]) -> None:
        view, history = self._view(sent), self.shop.history(user)
        out = out | (self.truth.seen.get(user, set()) if exclude else set())
        answer = self._recommend(view, history, k, out)
        eligible = self.truth.eligible(sent, out)
        self._shown(answer, k, eligible)
        vector = user_vector(view, history, self.shop.space.weighting, NOW_US)
        if vector is not None:
            assert view.generation is not None
            cosine = view.generation.metric == "cosine"
            self._in_order(view, vector, answer, k, eligible, cosine=cosine, reason="history")

    @rule(user=user_ids, k=ks, sent=filters, favoured=tests, factor=st.sampled_from([0.25, 3.0]))
    def boost(self, user: str, k: int, sent: Sent | None, favoured: Sent, factor: float) -> None:
        view, history = self._view(sent), self.shop.history(user)
        boosts = Boosts([FilterBoost(predicate.parse(favoured), factor)])
        answer = self.shop.answer_to(view, k=k, boosts=boosts, history=history)
        eligible = self.truth.eligible(sent)
        self._shown(answer, k, eligible)
        vector = user_vector(view, history, self.shop.space.weighting, NOW_US)
        if vector is not None:
            cosine = view.generation.metric == "cosine"
            chosen = {id_ for id_, thing in self.truth.things.items() if passes(favoured, thing)}
            by = dict.fromkeys(chosen, factor)
            self._in_order(view, vector, answer, k, eligible, cosine=cosine, reason="history", factors=by)

    @rule(user=user_ids, k=st.sampled_from([1, 2, 5]), sent=filters)
    def page_through(self, user: str, k: int, sent: Sent | None) -> None:
        view, history, shown = self._view(sent), self.shop.history(user), list[str]()
        for _ in range(30):
            answer = self._recommend(view, history, k, shown)
            shown += [hit.item_id for hit in answer.hits]
            if answer.shortfall is not None:
                break
            pages = cursors.Series(b"secret", b"8 bytes.", 1)
            assert cursors.shown(cursors.after(shown, pages), pages, ()) == shown
        assert len(set(shown)) == len(shown)
        assert set(shown) == self.truth.eligible(sent)

    @rule(vector=vectors, k=ks, sent=filters, out=st.sets(ids, max_size=3))
    def search(self, vector: tuple[float, ...], k: int, sent: Sent | None, out: set[str]) -> None:
        view, asked = self._view(sent), np.array(vector, np.float32)
        answer = self.shop.similar(view, (), vector=asked, k=k, exclude_items=out)
        eligible = self.truth.eligible(sent, out)
        with_vector = {id_ for id_ in eligible if self._vector(view, id_) is not None}
        self._shown(answer, k, with_vector)
        self._in_order(view, asked, answer, k, eligible, cosine=True, reason="vector")

    @rule(user=user_ids, wanted=st.lists(ids, min_size=1, max_size=8, unique=True), sent=filters)
    def rank(self, user: str, wanted: list[str], sent: Sent | None) -> None:
        view, history = self._view(sent), self.shop.history(user)
        hits = self.shop.ranked(view, without_deleted(wanted, view, self.database), history=history)
        unknown = set() if sent else set(wanted) - self.truth.things.keys() - self.truth.deleted
        assert {hit.item_id for hit in hits} == self.truth.eligible(sent) & set(wanted) | unknown
        assert len({hit.item_id for hit in hits}) == len(hits)
        scores = [hit.score for hit in hits if hit.reason == "rank"]
        assert scores == sorted(scores, reverse=True)

    @rule(id_=ids, own=vectors)
    def bring_a_vector(self, id_: str, own: tuple[float, ...]) -> None:
        self.put(id_, "red", 5, True, own)

    @invariant()
    @precondition(lambda self: hasattr(self, "live"))
    def everything_is_as_the_dict_has_it(self) -> None:
        self.search((1.0, -0.5), 30, None, set())
        self.recommend("u0", 30, None, False, set())
        for k, sent in ((3, None), (6, None), (3, RED), (6, RED), (3, CHEAP)):  # so few that an index is used for them
            self.search((1.0, -0.5), k, sent, set())

    @rule()
    def a_view_that_is_kept_stays_as_it_was(self) -> None:
        view = self._view(None)
        before = [hit.item_id for hit in self._recommend(view, NO_HISTORY, 30, ()).hits]
        self.put("n5", "red", 1, True, None)
        self.delete("n5")
        self._view(None)
        assert [hit.item_id for hit in self._recommend(view, NO_HISTORY, 30, ()).hits] == before

    # what is held to

    def _write(self, what: Any, *arguments: Any) -> Any:
        with self.database.begin() as conn:
            told = what(conn, self.shop.space.key, *arguments)
            self.truth.seq = snapshots.transaction_seq(conn)
        return told

    def _view(self, sent: Sent | None) -> LiveView:
        view = self.live.wait_for(self.truth.seq, 10)
        self.ways.now.clear()  # of builds and warm-ups
        return view.where(None if sent is None else predicate.parse(sent))

    def _recommend(self, view: LiveView, history: History, k: int, out: Collection[str]) -> Answer:
        answer: Answer = self.shop.answer_to(view, k=k, history=history, exclude_items=out)
        return answer

    def _shown(self, answer: Answer, k: int, eligible: set[str]) -> None:
        shown = [hit.item_id for hit in answer.hits]
        assert set(shown) <= eligible
        assert len(set(shown)) == len(shown) == min(k, len(eligible))
        assert (answer.shortfall is None) == (len(shown) == k)

    def _vector(self, view: LiveView, id_: str) -> np.ndarray | None:
        """As the dict has it; one that was predicted is the view's own."""
        own = self.truth.things[id_].own
        if own is not None:
            return np.array(own, np.float32)
        if id_ in self.learnt:
            return self.learnt[id_]
        row = view.items.row(id_)
        return None if row is None else view.vector(row)

    def _is_learnt(self, id_: str) -> bool:
        return id_ in self.learnt and self.truth.things[id_].own is None

    def _similarity(self, view: LiveView, asked: np.ndarray, vector: np.ndarray, is_learnt: bool) -> float:
        """The cosine of the projected vectors; shrunk for a learnt vector with little evidence."""
        assert view.generation is not None
        found = view.generation.similarity_vectors.transform
        assert found is not None
        here, there = found.project(np.array([asked, vector]))
        length = np.hypot(np.linalg.norm(there), EVIDENCE * found.median_length) if is_learnt else np.linalg.norm(there)
        return float(here @ there / np.linalg.norm(here) / length)

    def _in_order(
        self,
        view: LiveView,
        asked: np.ndarray,
        answer: Answer,
        k: int,
        eligible: set[str],
        *,
        cosine: bool,
        reason: str,
        factors: Mapping[str, float] = NOTHING,
    ) -> None:
        """What a search found has its true score, none that it left out has a better one, and the rest fills up.

        Of an approximate search only the delta, which is searched exactly, is held to have nothing better.
        """
        self.ways.count(view)
        true = {}
        for id_ in eligible:
            vector = self._vector(view, id_)
            if vector is not None:
                scale = np.linalg.norm(asked) * np.linalg.norm(vector) if cosine else 1.0
                true[id_] = float(asked @ vector / max(float(scale), 1e-12))
                if reason == "vector":
                    true[id_] = self._similarity(view, asked, vector, self._is_learnt(id_))
                true[id_] *= factors.get(id_, 1.0) ** (1 if true[id_] > 0 else -1)
        found = {hit.item_id: hit.score for hit in answer.hits if hit.reason == reason}
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert found == pytest.approx({id_: true[id_] for id_ in found}, abs=CLOSE)
        beside = view.delta.vectors if view.delta is not None else ()
        sure = true if self.ways.exact else {id_: true[id_] for id_ in true if view.items.row(id_) in beside}
        floor = float(score_floors(asked[None], "cosine" if cosine else "dot", view.longest_length)[0])
        if any(abs(score) < 10 * floor for score in true.values()):  # what is unsure stands behind what is liked
            assert all(abs(true[id_]) > floor / 10 for id_ in found)
            found = {id_: score for id_, score in found.items() if score > 0}
            sure = {id_: score for id_, score in sure.items() if score > 10 * floor}
        else:
            assert len(found) == min(k, len(true))
        assert [hit.reason for hit in answer.hits[: len(found)]] == [reason] * len(found)
        left_out = [score for id_, score in sure.items() if id_ not in found]
        if found and left_out:
            assert min(found.values()) >= max(left_out) - CLOSE


def test_any_order_of_writes_rebuilds_and_reads_agrees_with_a_dict(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = Ways()
    monkeypatch.setattr(approximate, "record_strategy", ways.went)
    monkeypatch.setattr(approximate, "SUBSET_ROWS", SUBSET_ROWS)
    run_state_machine_as_test(
        lambda: LiveMachine(database, tmp_path, ways),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            derandomize="NEARFIELD_TEST_EXAMPLES" not in os.environ,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert ways.gone.keys() >= {"exact", "subset", "filtered ann", "fallback"}, ways.gone
