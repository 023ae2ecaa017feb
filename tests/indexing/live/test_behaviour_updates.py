"""Popularity: computed with the event weighting at the build, and updated from new events in every process."""

import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from engine.behaviour.popularity import pair_weights
from engine.catalogue import predicate
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.store import events, items, spaces, users
from engine.store.change_feeds import event_feed as stored
from engine.store.change_feeds import snapshots
from engine.values.events import Event
from engine.values.items import Item
from indexing.live import behaviour_updates
from indexing.live.behaviour_updates import BehaviourUpdater
from tests.indexing.shop import ITEMS, NOW, NOW_US

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch):
    """On a busy machine an update is slow, and the next one would be delayed."""
    monkeypatch.setattr(behaviour_updates, "SLOW_S", 60.0)


def bought(n, item_id, at=NOW, kind="purchase", who="v"):
    return [Event(f"{who}{user}", item_id, kind, at) for user in range(n)]


def nobody(shop, view, k=3, **asked):
    answer = shop.answer_to(view, k=k, **asked)
    return [(hit.item_id, hit.reason) for hit in answer.hits]


def from_scratch(shop, view):
    """Item id -> sum over all events with the half-life of the generation."""
    told = view.generation.manifest["popularity"]
    with shop.database.connect() as conn:
        made = stored.read_all(conn, shop.space.key)
        ids = stored.item_ids(conn, sorted(set(made.item_rows.tolist())))
    keys, rows = np.unique(made.item_rows, return_inverse=True)
    cells = pair_weights(replace(made, item_rows=rows), shop.space.weighting)
    sums = cells.item_sums(told["half_life_days"], told["as_of_us"], len(keys))
    return {ids[key]: sum_ for key, sum_ in zip(keys.tolist(), sums.tolist(), strict=True)}


def live_sums(view):
    return {view.items.ids[row]: view.popularity_ranking.sums[row] for row in range(len(view.items))}


def test_returned_or_disliked_items_are_last_and_not_labelled_popular(shop):
    shop.change(
        events.append,
        [
            *bought(60, "hated", kind="dislike"),
            *bought(50, "broken"),
            *bought(50, "broken", NOW + DAY / 24, "return"),
            *bought(30, "good"),
        ],
    )
    shop.train()
    shop.publish(2)
    view = shop.live().current()
    shown = nobody(shop, view, k=ITEMS + 3)
    assert shown[0] == ("good", "popular")
    assert [id_ for id_, _ in shown[-2:]] == ["broken", "hated"]
    assert shown[-1] == ("hated", "unranked")
    hits = shop.ranked(view, ["hated", "broken", "good"])
    assert [hit.item_id for hit in hits] == ["good", "broken", "hated"]


def test_forty_buyers_of_the_last_days_are_before_a_hundred_of_last_summer(shop):
    summer = bought(100, "i1", NOW - 150 * DAY, who="summer")
    shop.change(events.append, summer + bought(40, "i2", NOW - 2 * DAY, who="autumn"))
    shop.publish()
    view = shop.live().current()
    assert view.generation.manifest["popularity"]["half_life_days"] in (7.0, 14.0, 28.0)
    assert nobody(shop, view, k=1) == [("i2", "popular")]


def test_purchases_move_popularity_between_reindexes_and_a_bot_does_not(shop):
    shop.publish()
    live = shop.live()
    before = live.current()
    shop.change(events.append, bought(60, "i7"))
    clicks = [Event("bot", "i9", "click", NOW, event_id=f"click {at}") for at in range(1000)]
    shop.change(events.append, clicks)
    view = live.refresh()
    assert nobody(shop, view, k=1) == [("i7", "popular")]
    assert nobody(shop, before, k=1) != [("i7", "popular")]
    assert live_sums(view) == pytest.approx(from_scratch(shop, view))
    gained = {id_: live_sums(view)[id_] - live_sums(before)[id_] for id_ in ("i7", "i9")}
    assert gained["i9"] < gained["i7"] / 50
    shop.change(events.append, bought(60, "i7", NOW + DAY / 24, "return"))
    assert live_sums(live.refresh()) == pytest.approx(from_scratch(shop, view), abs=1e-9)
    assert shop.live().current().popularity_ranking.order.tolist() == live.current().popularity_ranking.order.tolist()


def test_items_first_heard_of_since_the_build_become_popular(shop):
    shop.publish()
    live = shop.live()
    assert len(live.current().items) == ITEMS
    shop.change(items.upsert, [Item("quiet"), Item("hot")])
    shop.change(events.append, bought(200, "hot"))
    view = live.refresh()
    assert nobody(shop, view, k=1) == [("hot", "popular")]
    assert nobody(shop, view, k=ITEMS + 2)[-1] == ("quiet", "new")
    shop.change(items.upsert, [Item("quieter")])
    view = live.catch_up()
    assert nobody(shop, view, k=ITEMS + 3)[-2:] == [("quiet", "new"), ("quieter", "new")]
    quiet = predicate.parse({"item_id": "quiet"})
    assert nobody(shop, view, k=1, boosts=Boosts([FilterBoost(quiet, 5.0)])) == [("hot", "popular")]


def test_an_event_of_an_item_without_a_row_waits_for_the_row(shop):
    shop.publish()
    live = shop.live()
    old = live.current()
    following = BehaviourUpdater(shop.database)
    assert following.updated(old, NOW_US) is None
    shop.change(events.append, bought(3, "unseen"))
    assert following.updated(old, NOW_US) is None
    view = live.catch_up()
    moved = following.updated(view, NOW_US).popularity
    assert moved.sums[view.items.row("unseen")] == pytest.approx(3 * np.log1p(5) * _fade(view, NOW_US))
    assert following.updated(view, NOW_US) is None


def _fade(view, at_us):
    told = view.generation.manifest["popularity"]
    return 2 ** ((at_us - told["as_of_us"]) / 86_400e6 / told["half_life_days"]) if told["half_life_days"] else 1.0


def test_an_event_that_commits_after_a_later_one_is_not_lost(shop):
    shop.publish()
    live = shop.live()
    live.refresh()
    with shop.database.begin() as conn:
        events.append(conn, shop.space.key, bought(5, "i3", who="late"))
        shop.change(events.append, bought(5, "i4", who="early"))
        live.refresh()
    view = live.refresh()
    assert live_sums(view) == pytest.approx(from_scratch(shop, view))
    assert live_sums(live.refresh()) == live_sums(view)


def test_writers_beside_a_reader_leave_the_sums_of_all_events(shop):
    shop.publish()
    live = shop.live()
    live.refresh()

    def write(which):
        for at in range(30):
            kind = ("purchase", "view", "return", "dislike")[at % 4]
            shop.change(
                events.append, [Event(f"w{at % 7}", f"i{(at * which) % ITEMS}", kind, NOW, event_id=f"{which} {at}")]
            )

    threads = [threading.Thread(target=write, args=[which]) for which in (1, 2, 3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        live.refresh()
    for thread in threads:
        thread.join()
    view = live.refresh()
    assert live_sums(view) == pytest.approx(from_scratch(shop, view), abs=1e-9)


def test_a_generation_begins_with_what_it_was_built_with(shop):
    shop.publish()
    live = shop.live()
    shop.change(events.append, bought(20, "i5"))
    live.refresh()
    shop.publish()
    view = live.refresh()
    assert view.updated_popularity is None
    assert live_sums(view) == pytest.approx(from_scratch(shop, view))


def test_events_restored_from_another_database_are_not_taken_for_new_ones(shop):
    with shop.database.begin() as conn:
        conn.exec_driver_sql("UPDATE events SET xid = '900000000' WHERE space_key = %s", (shop.space.key,))
    shop.publish()
    with shop.database.connect() as conn:
        query = "SELECT count(*), count(xid) FROM events WHERE space_key = %s"
        n_events, n_numbered = conn.exec_driver_sql(query, (shop.space.key,)).one()
    assert n_events > 0
    assert n_numbered == 0
    assert shop.live().current().updated_popularity is None


def test_a_snapshot_of_another_database_tells_nothing_of_what_is_new(shop):
    with shop.database.connect() as conn:
        conn = conn.execution_options(isolation_level="REPEATABLE READ")
        foreign = replace(snapshots.current(conn), xmin=1, xmax=1, running=frozenset(), epoch="another")
        assert stored.read_since(conn, shop.space.key, foreign)[0] is None


def test_new_events_are_found_by_their_index(shop):
    shop.publish()
    with shop.database.begin() as conn:
        since = snapshots.current(conn)
        parameters = {"space": shop.space.key, "xmin": str(since.xmin), "since": str(since)}
        conn.exec_driver_sql(stored.USE_INDEX)
        for query in (stored.ANY_NEW, stored.CHANGED_PAIRS):
            plan = "\n".join(conn.exec_driver_sql(f"EXPLAIN {query}", parameters).scalars())
            assert "events_since" in plan
            assert "Seq Scan on events" not in plan


def test_removed_users_cause_no_error(shop):
    shop.publish()
    live = shop.live()
    shop.change(events.append, bought(4, "i3", who="gone"))
    live.refresh()
    shop.change(users.delete, "gone1")
    shop.change(users.merge, "gone2", "gone3")
    shop.change(events.append, [Event("gone3", "i3", "view", NOW)])
    view = live.refresh()
    assert view.popularity_ranking.sums[view.items.row("i3")] > 0


def test_the_weighting_of_now_is_that_of_new_events(shop):
    shop.publish()
    live = shop.live()
    before = live_sums(live.current())["i3"]
    weighting = replace(shop.space.weighting, kinds={"purchase": 0.0}, other=0.0)
    with shop.database.begin() as conn:
        spaces.set_weighting(conn, shop.space, weighting)
    shop.change(events.append, bought(50, "i3"))
    assert live_sums(live.refresh())["i3"] == pytest.approx(before)


def behaviour_from_scratch(shop, view):
    """The behaviour of a generation that is built now, by item id."""
    shop.publish()
    return by_id(shop.live().current())


def by_id(view):
    counts, scores = view.behaviour.counts.table, view.behaviour.trending.scores
    return {id_: (counts[:, row].tolist(), round(float(scores[row]), 4)) for row, id_ in enumerate(view.items.ids)}


def test_trends_and_counts_follow_events_as_if_the_generation_were_built_again(shop):
    shop.change(events.append, bought(20, "i4", NOW - 30 * DAY, who="before"))
    shop.publish()
    live = shop.live()
    live.current()
    shop.change(items.upsert, [Item("hot")])
    shop.change(events.append, bought(30, "hot", NOW + DAY) + bought(3, "i5", NOW + DAY, kind="impression"))
    shop.change(events.append, [Event("v1", "i5", "cart", NOW + DAY), Event("v1", "i5", "view", NOW + DAY)])
    view = live.refresh()
    assert view.items.ids[view.behaviour.trending.order[0]] == "hot"
    row = view.items.row("i5")
    assert view.behaviour.counts.impressions[row] == 3
    assert view.behaviour.counts.carts[row] == 1
    assert by_id(view) == behaviour_from_scratch(shop, view)


def test_orders_and_sessions_of_events_are_the_baskets_of_a_build(shop):
    """Each event is of another user and day, so that only the order or the session puts two into one basket. There are
    three such baskets, because a pair that was seen once says less than popularity."""
    days = iter(range(100))

    def basket(*item_ids, **of):
        on = {id_: next(days) for id_ in item_ids}
        return [Event(f"w{day}", id_, "purchase", NOW - day * DAY, **of) for id_, day in on.items()]

    for number in range(3):
        shop.change(events.append, basket("i1", "i2", order_id=f"o{number}"))
        shop.change(events.append, basket("i3", "i4", session_id=f"s{number}"))
    shop.change(events.append, basket("i5", "i6"))
    shop.publish()
    view = shop.live().current()

    def together(item_id):
        return [view.items.ids[row] for row in view.behaviour.bought_together.of(view.items.row(item_id))[0]]

    assert {id_: together(id_) for id_ in ("i1", "i2", "i3", "i4", "i5", "i6")} == {
        "i1": ["i2"], "i2": ["i1"], "i3": ["i4"], "i4": ["i3"], "i5": [], "i6": []
    }  # fmt: skip
