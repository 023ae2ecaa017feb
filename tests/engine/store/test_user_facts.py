"""What users did: the facts of one user equal those of all users, and a plain Python definition of them."""

import random
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.segments.user_fields import COUNTED, COUNTS, LISTS, TIMES, UserFacts
from engine.segments.user_filter import parse_user_filter
from engine.store import events, items, spaces, user_facts, users
from engine.store.spaces import Space
from engine.store.users import User
from engine.values.events import Event, Weighting
from engine.values.items import Item
from tests.engine.store.worlds import MORNING, ODD_IDS

WORDS = ("view", "Page Viewed", "click", "cart", "purchase", "order completed", "return", "impression", "waved", "like")
CATEGORIES = ("shoes", "hats", "a, b", 'q"q')
COUNTRIES = ("DE", "FR", "de", None)
VOCABULARY = Weighting().vocabulary
NOW_US = round(MORNING.timestamp() * 1e6)


class World:
    """A plain class: hypothesis writes all fields of a dataclass when a test fails."""

    def __init__(self, space: Space, catalogue: list[Item], people: list[User], log: list[Event]):
        self.space, self.catalogue, self.people, self.log = space, catalogue, people, log


@pytest.fixture(scope="module")
def world(database):
    """Users with random attributes and events; the last ones have none."""
    draw = random.Random(7)
    catalogue = [Item(f"item-{n}", None, tuple(draw.sample(CATEGORIES, draw.randrange(3))), {}) for n in range(12)]
    people = [User(id_, _attributes(draw)) for id_ in (*ODD_IDS, *(f"user-{n}" for n in range(30)))]
    log = [
        Event(
            draw.choice(people[:-5]).user_id,
            draw.choice(catalogue).item_id,
            draw.choice(WORDS),
            MORNING - timedelta(seconds=draw.randrange(100 * 86_400)),
            event_id=f"e{n}",
        )
        for n in range(400)
    ]
    with database.begin() as conn:
        space = spaces.ensure(conn, "test-user-facts")
        items.upsert(conn, space.key, catalogue)
        users.upsert(conn, space.key, people)
        events.append(conn, space.key, log)
        other = spaces.ensure(conn, "test-user-facts-of-others")
        events.append(conn, other.key, [Event("user-1", "item-1", "purchase", MORNING)])
    yield World(space, catalogue, people, log)
    with database.begin() as conn:
        for name in ("test-user-facts", "test-user-facts-of-others"):
            spaces.delete(conn, name)


def _attributes(draw):
    made = {"country": draw.choice(COUNTRIES), "age": draw.choice([18, 30, 30.5, "unknown", None])}
    made |= {"joined": draw.choice(["2026-02-01", "2025-01-01T10:00:00Z"]), "tags": draw.sample(["vip", "b2b"], 1)}
    return {name: value for name, value in made.items() if draw.random() < 0.7}


def facts_by_definition(user, catalogue, log):
    """UserFacts without the times of the row of the user, from the events one by one."""
    own = [each for each in log if each.user_id == user.user_id and VOCABULARY.kind(each.kind) != "impression"]
    bought = [each for each in own if VOCABULARY.kind(each.kind) == "purchase"]
    counts = {"n_events": len(own)} | {
        name: sum(VOCABULARY.kind(each.kind) == kind for each in own) for name, kind in COUNTED.items()
    }
    times, lists = {}, {}
    for noun, of in (("event", own), ("purchase", bought)):
        for order, choose in (("first", min), ("last", max)):
            if of:
                times[f"{order}_{noun}_at"] = round(choose(each.occurred_at for each in of).timestamp() * 1e6)
    categories = {item.item_id: item.categories for item in catalogue}
    for verb, of in (("seen", own), ("bought", bought)):
        lists[f"items_{verb}"] = frozenset(each.item_id for each in of)
        lists[f"categories_{verb}"] = frozenset(each for event in of for each in categories[event.item_id])
    return UserFacts(user.user_id, user.attributes, counts, times, lists)


def test_the_facts_of_a_user_are_as_defined(database, world):
    with database.connect() as conn:
        for user in world.people:
            found = user_facts.of_user(conn, world.space.key, user.user_id, VOCABULARY, LISTS)
            created = found.times.pop("created_at")
            assert created > 0
            assert found == facts_by_definition(user, world.catalogue, world.log)


def test_an_unknown_user_has_no_facts(database, space):
    with database.connect() as conn:
        assert user_facts.of_user(conn, space.key, "nobody", VOCABULARY, LISTS) == UserFacts("nobody")


TIMES_OF_DAYS = st.integers(0, 110).map(lambda days: f"now-{days}d" if days else "now")
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(COUNTS), st.sampled_from(["eq", "lt", "gte"]), st.integers(0, 6)),
    st.tuples(st.sampled_from(TIMES), st.sampled_from(["lt", "lte", "gt", "gte"]), TIMES_OF_DAYS),
    st.tuples(st.sampled_from([*TIMES, *LISTS, "attributes.age", "n_views"]), st.just("exists"), st.booleans()),
    st.tuples(st.sampled_from(LISTS[2:]), st.sampled_from(["contains", "eq"]), st.sampled_from(CATEGORIES)),
    st.tuples(st.sampled_from(LISTS[:2]), st.just("contains"), st.sampled_from(["item-1", "item-7", "none"])),
    st.tuples(st.just("attributes.country"), st.sampled_from(["eq", "contains"]), st.sampled_from(["DE", "fr"])),
    st.tuples(st.just("attributes.age"), st.sampled_from(["eq", "gt", "lte"]), st.sampled_from([18, 30, 30.5])),
    st.tuples(st.just("attributes.joined"), st.sampled_from(["lt", "gte"]), TIMES_OF_DAYS),
    st.tuples(st.just("attributes.tags"), st.just("contains"), st.sampled_from(["vip", "no"])),
    st.tuples(st.just("user_id"), st.just("in"), st.lists(st.sampled_from([*ODD_IDS, "user-1"]), min_size=1)),
).map(lambda each: {each[0]: {each[1]: each[2]}})
FILTERS = st.recursive(
    CONDITIONS,
    lambda parts: st.one_of(
        parts.map(lambda part: {"not": part}),
        st.lists(parts, min_size=1, max_size=3).flatmap(lambda each: st.sampled_from([{"and": each}, {"or": each}])),
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(filter_=FILTERS)
def test_the_members_among_all_users_are_the_users_who_are_members_one_by_one(database, world, filter_):
    space, people = world.space, world.people
    parsed = parse_user_filter(filter_)
    with database.connect() as conn:
        everyone = user_facts.of_all(conn, space.key, VOCABULARY, parsed.lists)
        mask = everyone.members(parsed, NOW_US)
        found = {id_ for id_, member in zip(everyone.user_ids.to_pylist(), mask.tolist(), strict=True) if member}
        one_by_one = {
            user.user_id
            for user in people
            if parsed.matches(user_facts.of_user(conn, space.key, user.user_id, VOCABULARY, parsed.lists), NOW_US)
        }
        members = user_facts.members(conn, space.key, VOCABULARY, parsed, NOW_US)
    assert len(everyone) == len(people)
    assert found == one_by_one == set(members)
    assert members == sorted(members)


def test_a_space_without_users_has_no_members(database, space):
    filter_ = parse_user_filter({"n_events": 0, "categories_bought": {"exists": False}})
    with database.connect() as conn:
        everyone = user_facts.of_all(conn, space.key, VOCABULARY, filter_.lists)
    assert everyone.members(filter_, NOW_US).tolist() == []
