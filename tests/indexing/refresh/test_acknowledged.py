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
    """Hide an item in a transaction that goes on; its number."""
    items.set_availability(conn, shop.space.key, {item_id: False})
    return snapshots.transaction_seq(conn)


def written(shop, item_id):
    with shop.database.begin() as conn:
        items.upsert(conn, shop.space.key, [Item(item_id)])
        return snapshots.transaction_seq(conn)


def test_a_write_that_ended_after_one_with_a_higher_number_was_seen_is_shown_to_who_names_the_higher(shop, live):
    with shop.database.begin() as slow:
        lower = hidden(slow, shop, "i0")
        higher = written(shop, "new")
        assert "i0" in shop.shown(live.wait_for(higher, 5.0)), "nobody was told that it is hidden yet"
    assert lower < higher
    assert "i0" not in shop.shown(live.wait_for(higher, 5.0))


def test_the_same_where_the_generation_was_opened_while_the_write_went_on(shop, live):
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


def test_a_write_that_goes_on_holds_up_nobody_who_names_a_later_one(shop, live):
    with shop.database.begin() as slow:
        hidden(slow, shop, "i0")
        higher = written(shop, "new")
        for _ in range(3):
            assert "new" in shop.shown(live.wait_for(higher, 0.0))


def test_who_names_a_number_below_which_nothing_went_on_is_answered_without_another_look(shop, live, monkeypatch):
    higher = written(shop, "new")
    live.wait_for(higher, 5.0)
    monkeypatch.setattr(item_feed, "read_since", None)
    assert "new" in shop.shown(live.wait_for(higher, 0.0))


def test_while_postgresql_is_away_only_what_nobody_can_have_changed_since_is_told_as_new_enough(
    shop, live, monkeypatch
):
    def away(*arguments):
        raise StoreUnavailable("PostgreSQL is away")

    lower = written(shop, "first")
    live.wait_for(lower, 5.0)
    with shop.database.begin() as slow:
        hidden(slow, shop, "i0")
        higher = written(shop, "new")
        live.wait_for(higher, 5.0)
    monkeypatch.setattr(item_feed, "read_since", away)
    assert "first" in shop.shown(live.wait_for(lower, 0.0))
    with pytest.raises(
        DeadlineExceeded, match=f"asked for min_seq {higher}, and PostgreSQL, which is away, may have ended"
    ):
        live.wait_for(higher, 0.0)
