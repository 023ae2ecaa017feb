"""The generated storefront: reproducible by seed, realistic, and useful for training."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.embedders.registry import make
from engine.errors import InputError
from engine.evaluation.evaluate_embedder import evaluate_embedder
from engine.importing import import_events, import_items
from engine.store import events, items
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.storefront import Storefront, generate
from engine.values.events import Weighting
from engine.values.splits import by_time

UNTIL = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop() -> Storefront:
    return generate(seed=1, until=UNTIL)


def small(seed: int = 0) -> Storefront:
    return generate(n_items=60, n_users=80, seed=seed, until=UNTIL)


def test_it_is_of_the_promised_size(shop: Storefront) -> None:
    assert len(shop.items) == 3000
    assert len(shop.events.user_ids) == 5000
    assert 120_000 < len(shop.events) < 240_000


def test_the_same_seed_gives_the_same_storefront() -> None:
    first, again, other = small(), small(), small(seed=1)
    assert first.items == again.items
    assert first.event_frame().equals(again.event_frame())
    assert not first.event_frame().equals(other.event_frame())


def test_titles_and_ids_are_distinct_and_prices_positive(shop: Storefront) -> None:
    assert len({item.item_id for item in shop.items}) == 3000
    assert len({item.title for item in shop.items}) == 3000
    many = generate(n_items=20_000, n_users=1).items
    assert len({item.title for item in many}) == 20_000
    assert all(isinstance(price := item.attributes["price"], float) and price > 0 for item in shop.items)
    assert all(len(item.categories) == 2 for item in shop.items)


def test_events_end_before_the_given_moment_and_span_six_months(shop: Storefront) -> None:
    until_us = UNTIL.timestamp() * 1e6
    assert np.all(np.diff(shop.events.occurred_us) >= 0)
    assert shop.events.occurred_us[-1] < until_us
    assert shop.events.occurred_us[-1] > until_us - 2 * 86_400e6
    assert 170 < (shop.events.occurred_us[-1] - shop.events.occurred_us[0]) / 86_400e6 < 180


def test_a_purchase_follows_a_cart_and_a_cart_a_view_of_the_same_item(shop: Storefront) -> None:
    first = shop.event_frame().group_by("user_id", "item_id", "kind").agg(pl.col("occurred_at").min())
    steps = first.pivot("kind", index=["user_id", "item_id"], values="occurred_at")
    assert steps["view"].null_count() == 0
    bought = steps.filter(pl.col("purchase").is_not_null())
    assert bought.height > 5_000
    assert (bought["cart"] < bought["purchase"]).all()
    carted = steps.filter(pl.col("cart").is_not_null())
    assert (carted["view"] < carted["cart"]).all()


def test_tastes_can_be_learnt(shop: Storefront) -> None:
    evaluation = evaluate_embedder(make("spectral", {}), by_time(shop.events, Weighting()))
    assert evaluation["recall@20"] > 1.5 * evaluation["popularity"]["recall@20"]


def test_its_files_are_imported_whole(database: Database, space: Space, tmp_path: Path) -> None:
    shop = small()
    catalogue, log = shop.write(tmp_path)
    assert import_items(database, space.name, catalogue).written == 60
    summary = import_events(database, space.name, log)
    assert (summary.written, summary.rejected) == (len(shop.events), {})
    with database.connect() as conn:
        assert items.get(conn, space.key, shop.items[0].item_id) == shop.items[0]
        assert np.array_equal(events.read_columns(conn, space.key).occurred_us, shop.events.occurred_us)
    again = import_items(database, space.name, catalogue)
    assert (again.written, again.duplicates) == (0, 60)


def test_a_storefront_smaller_than_its_catalogue_is_refused() -> None:
    with pytest.raises(InputError, match="at least 32 items"):
        generate(n_items=10)
