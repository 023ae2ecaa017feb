"""Feature records of catalogue items: a new item lands near those it measures like, whatever learnt the space."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engine.embedders.registry import make
from engine.events import Event
from engine.importing import Layout, import_features
from engine.recommend import similar
from engine.store import events, items
from indexing.build import build_generation
from indexing.live import Live
from indexing.publish import publish
from indexing.reindex import reindex

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(database, space, tmp_path):
    """Odd users had odd items, even users even ones; odd items are warm, even ones cold, and nothing else tells."""
    with database.begin() as conn:
        rows = [
            Event(f"{side}-user-{user}", f"{side}-{(user * 3 + step * 7) % 20}", "view", BEGIN + timedelta(hours=user))
            for side in ("odd", "even")
            for user in range(30)
            for step in range(8)
        ]
        events.append(conn, space.key, rows)
    draw = np.random.default_rng(1)
    lines = [f"odd-{n},{draw.normal(1e6 + 30, 1)},x" for n in range(20)]
    lines += [f"even-{n},{draw.normal(1e6 - 30, 1)},x" for n in range(20)]
    load(database, space, tmp_path, *lines)
    reindex(database, space, make("spectral", {"dim": 2}), tmp_path, force=True)
    return Live(database, tmp_path, space.name)


def load(database, space, folder, *lines):
    (folder / "measured.csv").write_text("item,heat,kind\n" + "\n".join(lines) + "\n")
    import_features(database, space.name, folder / "measured.csv", Layout("item", categorical=("kind",)))


def near(live, item_id, k=10):
    return {hit.item_id.split("-")[0] for hit in similar(live.refresh(), [item_id], [], k=k, exclude=()).hits}


def test_an_item_that_nobody_has_had_is_near_those_it_measures_like_at_once_and_after_a_build(
    database, space, tmp_path, shop
):
    load(database, space, tmp_path, "warm,1000031,x", "cold,999972,x")
    assert (near(shop, "warm"), near(shop, "cold")) == ({"odd"}, {"even"})
    publish(database, space, build_generation(database, space, 1, tmp_path), tmp_path)
    built = Live(database, tmp_path, space.name)
    assert built.current().generation.items.row("warm") is not None
    assert (near(built, "warm"), near(built, "cold")) == ({"odd"}, {"even"})


def test_a_learnt_item_keeps_what_was_learnt_and_one_without_a_record_has_no_vector(database, space, tmp_path, shop):
    before = shop.current().vector(shop.current().items.row("odd-3"))
    load(database, space, tmp_path, "odd-3,999970,x")
    view = shop.refresh()
    assert np.array_equal(view.vector(view.items.row("odd-3")), before)
    with database.begin() as conn:
        items.upsert(conn, space.key, [items.Item("unmeasured")])
    view = shop.refresh()
    assert view.vector(view.items.row("unmeasured")) is None
