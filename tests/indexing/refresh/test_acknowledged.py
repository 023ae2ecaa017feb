"""Whatever was acknowledged before a read with `min_seq` is in its answer, in whatever order the writes ended.

A write has its number from when it begins; one that takes longer ends after others with higher numbers.
"""

import pytest

from engine.errors import DeadlineExceeded, StoreUnavailable
from engine.store import items
from engine.store.change_feeds import item_feed, snapshots
from engine.values.items import Item


@pytest.fixture
def live(shop):
    shop.publish()
    made = shop.live()
    made.current()
    return made


def hidden(conn, shop, item_id):
    """Hide an item in a transaction that stays open; yields its seq."""
    items.set_availability(conn, shop.space.key, {item_id: False})
    return snapshots.transaction_seq(conn)


def written(shop, item_id):
    with shop.database.begin() as conn:
        items.upsert(conn, shop.space.key, [Item(item_id)])
        return snapshots.transaction_seq(conn)


def test_a_read_with_min_seq_shows_a_lower_numbered_write_that_ended_later(shop, live):
    with shop.database.begin() as slow:
        lower = hidden(slow, shop, "i0")
        higher = written(shop, "new")
        assert "i0" in shop.shown(live.wait_for(higher, 5.0)), "no view hides it yet"
    assert lower < higher
    assert "i0" not in shop.shown(live.wait_for(higher, 5.0))


def test_a_read_with_min_seq_shows_a_write_that_ran_while_the_generation_was_opened(shop, live):
    before = live.current().generation.generation
    with shop.database.begin() as slow:
        lower = hidden(slow, shop, "i0")
        higher = written(shop, "new")
        after = shop.publish()
        view = live.refresh()
        assert (view.generation.generation, "i0" in shop.shown(view)) == (after, True)
    assert before != after
    assert lower < higher
    assert view.snapshot.includes(higher)
    assert "i0" not in shop.shown(live.wait_for(higher, 5.0))
    started_anew = shop.live()
    assert "i0" not in shop.shown(started_anew.wait_for(higher, 5.0))


def test_a_running_write_does_not_delay_a_read_that_names_a_later_one(shop, live):
    with shop.database.begin() as slow:
        hidden(slow, shop, "i0")
        higher = written(shop, "new")
        for _ in range(3):
            assert "new" in shop.shown(live.wait_for(higher, 0.0))


def test_a_read_is_answered_without_a_new_snapshot_when_no_lower_write_was_running(shop, live, monkeypatch):
    higher = written(shop, "new")
    live.wait_for(higher, 5.0)
    monkeypatch.setattr(item_feed, "read_since", None)
    assert "new" in shop.shown(live.wait_for(higher, 0.0))


def test_while_postgresql_is_unreachable_only_certainly_current_reads_are_answered(shop, live, monkeypatch):
    def unreachable(*arguments):
        raise StoreUnavailable("PostgreSQL is unreachable")

    lower = written(shop, "first")
    live.wait_for(lower, 5.0)
    with shop.database.begin() as slow:
        hidden(slow, shop, "i0")
        higher = written(shop, "new")
        live.wait_for(higher, 5.0)
    monkeypatch.setattr(item_feed, "read_since", unreachable)
    assert "first" in shop.shown(live.wait_for(lower, 0.0))
    with pytest.raises(DeadlineExceeded, match=f"asked for min_seq {higher}, and PostgreSQL is unreachable"):
        live.wait_for(higher, 0.0)
