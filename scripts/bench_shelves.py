"""Requests per second of a server by the shape of the shelf, relative to plain `recommend`.

Shapes: plain; filter, which a tenth of the items match; diversity, .5; caps, 2 items per brand and 3 per category;
group_by, one of the variants of a product; boost, 20 boosts of price bands and brands; rules, 50 stored rules that act
on it; explain; a shape for each strategy; page, six shelves in one call (plain to boost). `not_kept` is plain on a
second server, which does not keep the shelves that it served. Shapes that a server does not know are left out.

Items are generated (made_items.py): 4 variants of a product on average, which are near each other, and 500 brands, half
of whose items are near each other, so that groups and caps leave out many candidates. Users have live histories: views,
orders of several items, and purchases that they repeat. The server is the app of the product in its own process; the
load comes from a third process (http_load.py).

    python scripts/bench_shelves.py [--items 100000] [--users 2000] [--events 30] [--connections 16]
        [--shapes boost,caps] [--json]

The shapes alternate in rounds. `rps` and `p99_ms` are medians of the rounds, `ratio` is the median of the ratios to
plain in the same round. `page` also has `cost`, the time of a page over that of the dearest of its six shapes, where
all are measured. Text goes to stderr; --json writes one object per shape to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bench_serve import SPACE, TENTH, K, Route, add_events, add_shop, answers, load, median, server, tell
from http_load import Figures, post
from made_items import clustered, store

from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store import events, items
from engine.store.database.connections import Database, open_database
from engine.store.shelves import presets
from engine.store.spaces import Space
from engine.values.vectors import Matrix
from indexing.building.build import build_generation
from indexing.building.publish import publish

N_BRANDS, N_CATEGORIES, VARIANTS = 500, 97, 4
PRICE_BOOSTS = [
    {"filter": {"price": {"gte": low, "lt": low + 30}}, "factor": 1 + low / 1000} for low in range(0, 300, 30)
]
BRAND_BOOSTS = [{"filter": {"brand": f"Brand {brand}"}, "factor": 1.3} for brand in range(10)]
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "filter": {"filter": TENTH},
    "diversity": {"diversity": 0.5},
    "caps": {"caps": {"brand": 2, "categories": 3}},
    "group_by": {"group_by": "parent_id"},
    "boost": {"boost": PRICE_BOOSTS + BRAND_BOOSTS},
    "rules": {"context": {"page": "ruled"}},
    "explain": {"explain": 3},
    "trending": {"strategy": "trending"},
    "bought_together": {"strategy": "bought_together"},
    "buy_again": {"strategy": "buy_again"},
    "recently_viewed": {"strategy": "recently_viewed"},
    "popular": {"strategy": "popular"},
    "new": {"strategy": "new"},
    "similar": {"strategy": "similar"},
}
PAGE = "page"  # six shelves, the dearest of which are shaped and boosted
PAGE_SHELVES: list[dict[str, Any]] = [
    {"name": "plain"},
    {"name": "filter", **SHAPES["filter"]},
    {"name": "diversity", **SHAPES["diversity"]},
    {"name": "caps", **SHAPES["caps"]},
    {"name": "group_by", **SHAPES["group_by"]},
    {"name": "boost", **SHAPES["boost"]},
]
OF_ITEMS = ("bought_together", "similar")  # strategies that start from an item
NOT_KEPT = "not_kept"
N_RULES = 50
N_ORDERS, ORDER_SIZE, DAY_US = 5, 3, 86_400_000_000
Requests = dict[str, list[bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shop(parser)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", help="only these beside plain, such as boost,caps")
    try:
        run(parser.parse_args())
    except NearfieldError as error:
        raise SystemExit(f"bench_shelves: {error}") from None


def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        with open_database(settings) as database:
            users = fill(database, settings, options)
        tell(f"{options.items} items and {len(users)} users are ready")
        rounds = measured(settings, users, options)
    for shape in rounds[0]:
        figures = median([each[shape] for each in rounds])
        row = {
            "shape": shape,
            "rps": round(figures.rps, 1),
            "p99_ms": round(figures.p99_ms, 3),
            "ratio": round(statistics.median(each[shape].rps / each["plain"].rps for each in rounds), 3),
            "errors": figures.errors,
        }
        if shape == PAGE and all(each["name"] in rounds[0] for each in PAGE_SHELVES):
            dearest = [min(each[shelf["name"]].rps for shelf in PAGE_SHELVES) for each in rounds]
            costs = [least / each[PAGE].rps for least, each in zip(dearest, rounds, strict=True)]
            row["cost"] = round(statistics.median(costs), 2)
        tell("  ".join(f"{name} {value}" for name, value in row.items()))
        if options.json:
            print(json.dumps(row))


def measured(settings: Settings, users: list[str], options: argparse.Namespace) -> list[dict[str, Figures]]:
    asked = requests_of(users, options.items)
    if options.shapes:
        asked = {shape: asked[shape] for shape in asked if shape in ("plain", *options.shapes.split(","))}
    with server(settings, 1) as (port, _), server_without_shelves(settings) as other_port:
        known = {shape: each for shape, each in asked.items() if answers(port, Route(shape, each, None))}
        for each in known.values():  # filters and fields are read at their first use
            load(port, each, options)
        load(other_port, known["plain"], options)
        rounds = []
        for _ in range(options.rounds):
            figures = {shape: load(port, each, options) for shape, each in known.items()}
            rounds.append(figures | {NOT_KEPT: load(other_port, known["plain"], options)})
        return rounds


@contextmanager
def server_without_shelves(settings: Settings) -> Iterator[int]:
    """The port of a server that keeps no served shelves."""
    os.environ["NEARFIELD_KEEP_SHELVES_DAYS"] = "0"
    try:
        with server(settings, 1) as (port, _):
            yield port
    finally:
        del os.environ["NEARFIELD_KEEP_SHELVES_DAYS"]


def requests_of(users: list[str], n_items: int) -> Requests:
    """The requests of each shape, one per user."""
    seeds = [f"item-{row:07d}" for row in first_items(len(users), n_items)]  # of all orders of a user
    requests: Requests = {}
    for shape, asked in SHAPES.items():
        bodies = [
            {"user_id": user, "k": K, **asked} | ({"item_ids": [seed]} if shape in OF_ITEMS else {})
            for user, seed in zip(users, seeds, strict=True)
        ]
        requests[shape] = [post(f"/v1/{SPACE}/recommend", json.dumps(body).encode()) for body in bodies]
    pages = [{"user_id": user, "page": PAGE} for user in users]
    requests[PAGE] = [post(f"/v1/{SPACE}/page", json.dumps(body).encode()) for body in pages]
    return requests


def fill(database: Database, settings: Settings, options: argparse.Namespace) -> list[str]:
    """Create a served shop and users with histories; returns the user ids."""
    vectors = clustered(options.items, options.dim)
    space, version = store(database, SPACE, vectors, metric="dot")
    with database.begin() as conn:
        items.bulk_merge(conn, space.key, catalogue(vectors))
    users = [f"user-{row:05d}" for row in range(options.users)]
    add_events(database, space, vectors, users, options.events)
    add_orders(database, space, vectors, users)
    add_rules(database, space)
    with database.begin() as conn:
        presets.put(conn, space.key, "page", PAGE, {"shelves": [{"k": K, **each} for each in PAGE_SHELVES]}, "local")
    built = build_generation(database, space, version, settings.generations, recipe=options.recipe)
    publish(database, space, built, settings.generations)
    return users


def add_rules(database: Database, space: Space) -> None:
    """N_RULES rules that act on the requests of the shape `rules` alone: boosts and buried items of brands."""
    when = {"context": {"page": "ruled"}, "from": "2020-01-01", "time_zone": "Europe/Berlin"}
    with database.begin() as conn:
        for at in range(N_RULES):
            brand = {"brand": f"Brand {at}"}
            then = {"bury": brand} if at % 5 == 0 else {"boost": [{"filter": brand, "factor": 1 + at / 100}]}
            document = {"when": when, "then": then, "priority": at}
            presets.put(conn, space.key, "rule", f"rule-{at}", document, "local")


def add_orders(database: Database, space: Space, vectors: Matrix, users: list[str]) -> None:
    """Orders of each user in the last weeks: items near a random item, the first of which is in every order."""
    draw = np.random.default_rng(5)
    width = min(len(vectors) - 1, 100)
    orders, items_of, moments = [], [], []
    now_us = time.time_ns() // 1000
    for start in first_items(len(users), len(vectors)).tolist():
        near = np.argpartition(-(vectors @ vectors[start]), width)[:width]
        for at in range(N_ORDERS):
            items_of += [start, *draw.choice(near, ORDER_SIZE - 1).tolist()]
            orders += [len(moments) // ORDER_SIZE] * ORDER_SIZE
            moments += [now_us - (N_ORDERS - at) * 7 * DAY_US + int(draw.integers(0, DAY_US))] * ORDER_SIZE
    table = pa.table(
        {
            "event_id": [f"purchase-{row:08d}" for row in range(len(orders))],
            "user_id": np.repeat(users, N_ORDERS * ORDER_SIZE).tolist(),
            "item_id": [f"item-{row:07d}" for row in items_of],
            "kind": ["purchase"] * len(orders),
            "value": pa.array(np.ones(len(orders), np.float32)),
            "occurred_at": pa.array(np.array(moments).astype("datetime64[us]"), pa.timestamp("us", "UTC")),
            "order_id": [f"order-{number}" for number in orders],
        }
    )
    with database.begin() as conn:
        events.bulk_append(conn, space.key, table)


def first_items(n_users: int, n_items: int) -> npt.NDArray[np.int64]:
    """(n_users,) the item that is in every order of a user."""
    return np.random.default_rng(5).integers(0, n_items, n_users)


def catalogue(vectors: Matrix) -> pa.Table:
    n, draw = len(vectors), np.random.default_rng(3)
    parents = nearest_centre(vectors, max(1, n // VARIANTS))
    is_near = draw.random(n) < 0.5
    brands = np.where(is_near, nearest_centre(vectors, min(n, N_BRANDS)), draw.integers(0, N_BRANDS, n))
    prices = draw.integers(1, 300, n)
    columns = zip(prices.tolist(), brands.tolist(), parents.tolist(), strict=True)
    return pa.table(
        {
            "item_id": [f"item-{row:07d}" for row in range(n)],
            "title": [f"Item {row}" for row in range(n)],
            "categories": pa.array([[f"category {row % N_CATEGORIES}"] for row in range(n)], pa.list_(pa.string())),
            "attributes": [
                json.dumps({"price": price, "brand": f"Brand {brand}", "parent_id": f"product-{parent}"})
                for price, brand, parent in columns
            ],
        }
    )


def nearest_centre(vectors: Matrix, n_centres: int) -> npt.NDArray[np.int64]:
    """(n,), the nearest of `n_centres` random items."""
    centres = vectors[np.random.default_rng(4).choice(len(vectors), n_centres, replace=False)]
    return np.asarray(faiss.knn(vectors, centres, 1)[1][:, 0])


if __name__ == "__main__":
    main()
