"""Requests per second of a server by the shape of the shelf, relative to plain `recommend`.

Shapes: plain; filter, which a tenth of the items match; boost, 3 boosts; diversity, .5; caps, 2 items per brand and 3
per category; group_by, one of the variants of a product. Items are generated (made_items.py): 4 variants of a product
on average, which are near each other, and 500 brands, half of whose items are near each other, so that groups and caps
leave out many candidates. Users have live histories. The server is the app of the product in its own process; the load
comes from a third process (http_load.py).

    python scripts/bench_shelves.py [--items 100000] [--users 2000] [--events 30] [--connections 16] [--json]

The shapes alternate in rounds. `rps` and `p99_ms` are medians of the rounds, `ratio` is the median of the ratios to
plain in the same round. Text goes to stderr; --json writes one object per shape to stdout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bench_serve import SPACE, TENTH, K, add_events, add_shop, load, median, server, tell
from http_load import Figures, post
from made_items import clustered, store

from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store import items
from engine.store.database.connections import Database, open_database
from engine.values.vectors import Matrix
from indexing.building.build import build_generation
from indexing.building.publish import publish

N_BRANDS, N_CATEGORIES, VARIANTS = 500, 97, 4
BOOSTS = [{"filter": {"price": {"gte": low, "lt": low + 30}}, "factor": 1.1} for low in (30, 90, 150)]
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "filter": {"filter": TENTH},
    "boost": {"boost": BOOSTS},
    "diversity": {"diversity": 0.5},
    "caps": {"caps": {"brand": 2, "categories": 3}},
    "group_by": {"group_by": "parent_id"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shop(parser)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
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
    for shape in SHAPES:
        figures = median([each[shape] for each in rounds])
        row = {
            "shape": shape,
            "rps": round(figures.rps, 1),
            "p99_ms": round(figures.p99_ms, 3),
            "ratio": round(statistics.median(each[shape].rps / each["plain"].rps for each in rounds), 3),
            "errors": figures.errors,
        }
        tell("  ".join(f"{name} {value}" for name, value in row.items()))
        if options.json:
            print(json.dumps(row))


def measured(settings: Settings, users: list[str], options: argparse.Namespace) -> list[dict[str, Figures]]:
    requests = {
        shape: [
            post(f"/v1/{SPACE}/recommend", json.dumps({"user_id": user, "k": K} | asked).encode()) for user in users
        ]
        for shape, asked in SHAPES.items()
    }
    with server(settings, 1) as (port, _):
        for each in requests.values():  # filters and fields are read at their first use
            load(port, each, options)
        return [{shape: load(port, each, options) for shape, each in requests.items()} for _ in range(options.rounds)]


def fill(database: Database, settings: Settings, options: argparse.Namespace) -> list[str]:
    """Create a served shop and users with histories; returns the user ids."""
    vectors = clustered(options.items, options.dim)
    space, version = store(database, SPACE, vectors, metric="dot")
    with database.begin() as conn:
        items.bulk_merge(conn, space.key, catalogue(vectors))
    users = [f"user-{row:05d}" for row in range(options.users)]
    add_events(database, space, vectors, users, options.events)
    built = build_generation(database, space, version, settings.generations, recipe=options.recipe)
    publish(database, space, built, settings.generations)
    return users


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
