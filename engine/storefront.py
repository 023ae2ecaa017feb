"""A generated furniture storefront: items with believable titles, customers with tastes, six months of events.

A customer prefers some styles and categories and has a budget. The probability of an item is its popularity times
its match with these preferences. Most views of a session are in one category; some views lead to a cart event, some
cart events to a purchase. All random numbers come from one seed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from engine.errors import InputError
from engine.values.events import DAY_S, EventColumns
from engine.values.items import Item

UNTIL = datetime(2025, 7, 1, tzinfo=UTC)
KINDS = ("view", "cart", "purchase")
VARIANTS = {
    "hard": ("small", "large", "tall", "low", "wide", "slim", "compact", "extra large"),
    "soft": ("sand", "moss", "navy", "rust", "cream", "charcoal", "blush", "indigo"),
    "ware": ("small", "large", "ribbed", "speckled", "glossy", "plain", "two-tone", "hand-finished"),
}

# department -> category: group of materials (hard, soft, ware), typical price, nouns
CATALOGUE: dict[str, dict[str, tuple[str, float, tuple[str, ...]]]] = {
    "Bedroom": {
        "Bedside tables": ("hard", 90, ("bedside table", "nightstand")),
        "Beds": ("hard", 480, ("bed frame", "daybed", "bunk bed")),
        "Wardrobes": ("hard", 420, ("wardrobe", "chest of drawers", "clothes rail")),
        "Bedding": ("soft", 60, ("duvet cover", "bedspread", "pillowcase pair")),
    },
    "Living room": {
        "Sofas": ("soft", 890, ("two-seat sofa", "corner sofa", "armchair")),
        "Coffee tables": ("hard", 190, ("coffee table", "side table", "nest of tables")),
        "Shelves": ("hard", 150, ("bookcase", "wall shelf", "ladder shelf")),
        "Cushions": ("soft", 28, ("cushion", "floor cushion", "bolster")),
    },
    "Dining": {
        "Dining tables": ("hard", 520, ("dining table", "extending table", "bar table")),
        "Dining chairs": ("hard", 110, ("dining chair", "bar stool", "bench")),
        "Plates": ("ware", 14, ("dinner plate", "side plate", "pasta bowl")),
        "Table linen": ("soft", 24, ("tablecloth", "napkin set", "table runner")),
    },
    "Kitchen": {
        "Mugs": ("ware", 9, ("mug", "espresso cup", "tumbler")),
        "Serving": ("ware", 26, ("serving bowl", "jug", "platter")),
        "Storage jars": ("ware", 12, ("storage jar", "bread bin", "spice rack")),
        "Trolleys": ("hard", 160, ("kitchen trolley", "wine rack", "plate rack")),
    },
    "Lighting": {
        "Floor lamps": ("hard", 130, ("floor lamp", "reading lamp", "arc lamp")),
        "Table lamps": ("ware", 65, ("table lamp", "desk lamp", "bedside lamp")),
        "Pendants": ("hard", 95, ("pendant light", "chandelier", "cluster pendant")),
        "Shades": ("soft", 32, ("lampshade", "drum shade", "pleated shade")),
    },
    "Textiles": {
        "Rugs": ("soft", 140, ("rug", "runner", "doormat")),
        "Curtains": ("soft", 75, ("curtain pair", "roman blind", "voile panel")),
        "Throws": ("soft", 45, ("throw", "blanket", "quilt")),
        "Towels": ("soft", 18, ("bath towel", "hand towel", "bath mat")),
    },
    "Garden": {
        "Garden furniture": ("hard", 260, ("garden chair", "bistro table", "sun lounger")),
        "Planters": ("ware", 34, ("planter", "hanging pot", "trough")),
        "Lanterns": ("hard", 29, ("lantern", "candle holder", "torch")),
        "Outdoor textiles": ("soft", 55, ("hammock", "parasol", "picnic blanket")),
    },
    "Decoration": {
        "Vases": ("ware", 35, ("vase", "bud vase", "carafe")),
        "Mirrors": ("hard", 85, ("wall mirror", "floor mirror", "vanity mirror")),
        "Frames": ("hard", 19, ("picture frame", "photo ledge", "shadow box")),
        "Baskets": ("soft", 27, ("basket", "laundry basket", "storage box")),
    },
}
# style -> group of materials -> materials
STYLES: dict[str, dict[str, tuple[str, ...]]] = {
    "Scandinavian": {"hard": ("Oak", "Birch", "Ash"), "soft": ("Linen", "Wool"), "ware": ("Stoneware", "White glass")},
    "Industrial": {"hard": ("Steel", "Black iron"), "soft": ("Canvas", "Leather"), "ware": ("Concrete", "Enamel")},
    "Rustic": {"hard": ("Reclaimed pine", "Elm"), "soft": ("Jute", "Hemp"), "ware": ("Terracotta", "Earthenware")},
    "Mid-century": {
        "hard": ("Teak", "Walnut"),
        "soft": ("Velvet", "Bouclé"),
        "ware": ("Smoked glass", "Retro ceramic"),
    },
    "Coastal": {
        "hard": ("Driftwood", "Rattan"),
        "soft": ("Striped cotton", "Chambray"),
        "ware": ("Sea glass", "Blue clay"),
    },
    "Classic": {"hard": ("Mahogany", "Cherry", "Brass"), "soft": ("Damask", "Silk"), "ware": ("Bone china", "Crystal")},
    "Minimalist": {
        "hard": ("White lacquer", "Aluminium"),
        "soft": ("Felt", "Percale"),
        "ware": ("Matt porcelain", "Glass"),
    },
    "Bohemian": {"hard": ("Mango wood", "Bamboo"), "soft": ("Kilim", "Macramé"), "ware": ("Painted ceramic", "Mosaic")},
}
CATEGORIES = tuple((department, name) for department, names in CATALOGUE.items() for name in names)
POPULARITY = 1.0  # standard deviation of log popularity: the top tenth has at least 3.6 times the median
SESSIONS, VIEWS = 5.0, 4.0  # median sessions of a user, mean views of a session
STAYS, CARTED, BOUGHT = 0.75, 0.2, 0.45  # views in the session's category; views to cart; carts to purchase
STEP = 7  # through the titles of a category and style, so that successive titles differ; coprime to their number
BLOCK_USERS = 1_000  # bounds the matrix of probabilities, (users, items)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Storefront:
    items: tuple[Item, ...]
    events: EventColumns  # sorted by time

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `items.jsonl` and `events.parquet`, for `nearfield import items` and `nearfield import events`."""
        folder.mkdir(parents=True, exist_ok=True)
        items, events = folder / "items.jsonl", folder / "events.parquet"
        items.write_bytes(b"".join(_line(item) for item in self.items))
        self.event_frame().write_parquet(events)
        return items, events

    def event_frame(self) -> pl.DataFrame:
        """The events as rows: user_id, item_id, kind, value, occurred_at."""
        events = self.events
        return pl.DataFrame(
            {
                "user_id": pl.Series(events.user_ids).gather(events.user_rows),
                "item_id": pl.Series(events.item_ids).gather(events.item_rows),
                "kind": pl.Series(events.kinds).gather(events.kind_codes),
                "value": events.values,
                "occurred_at": pl.Series(events.occurred_us).cast(pl.Datetime("us", "UTC")),
            }
        )


@dataclass(frozen=True, eq=False)
class ItemArrays:
    """The items as arrays, sorted by category."""

    category: Ints
    style: Ints
    price: Floats
    popularity: Floats


def generate(
    *, n_items: int = 3000, n_users: int = 5000, seed: int = 0, until: datetime | None = None, days: int = 180
) -> Storefront:
    """About 30 events per user in the `days` before `until`. The same arguments give the same storefront."""
    if n_items < len(CATEGORIES) or n_users < 1 or days < 2:
        raise InputError(f"a storefront has at least {len(CATEGORIES)} items, 1 user and 2 days")
    rng = np.random.default_rng(seed)
    items, arrays = _items(n_items, rng)
    users, viewed, sessions = _views(arrays, n_users, rng)
    begin_us = round(((until or UNTIL).timestamp() - days * DAY_S) * 1e6)
    at_us = begin_us + (_moments(users, sessions, days * DAY_S, rng) * 1e6).astype(np.int64)
    return Storefront(items, _funnel(users, viewed, at_us, items, rng))


def _items(n_items: int, rng: np.random.Generator) -> tuple[tuple[Item, ...], ItemArrays]:
    every = np.arange(len(CATEGORIES))
    category = np.sort(np.concatenate([every, rng.integers(0, len(CATEGORIES), n_items - len(every))]))
    style = rng.integers(0, len(STYLES), n_items)
    typical = np.array([CATALOGUE[department][name][1] for department, name in CATEGORIES])
    price = np.ceil(typical[category] * rng.lognormal(0, 0.35, n_items) * 2) / 2
    popularity = rng.lognormal(0, POPULARITY, n_items)
    n_titles: Counter[tuple[int, int]] = Counter()
    items = []
    for row, cell in enumerate(zip(category.tolist(), style.tolist(), strict=True)):
        department, name = CATEGORIES[cell[0]]
        style_name = tuple(STYLES)[cell[1]]
        title, material = _title(department, name, style_name, n_titles[cell])
        n_titles[cell] += 1
        attributes = {"price": float(price[row]), "style": style_name, "material": material}
        items.append(Item(f"{department[:3].upper()}-{row:05d}", title, (department, name), attributes))
    return tuple(items), ItemArrays(category, style, price, popularity)


def _title(department: str, name: str, style: str, nth: int) -> tuple[str, str]:
    """Title and material of the nth item of its category and style; all different."""
    group, _, nouns = CATALOGUE[department][name]
    options = list(product(STYLES[style][group], nouns, VARIANTS[group]))
    material, noun, variant = options[nth * STEP % len(options)]
    repetition = nth // len(options)
    return f"{material} {noun}, {variant}" + (f", no. {repetition + 1}" if repetition else ""), material


def _views(arrays: ItemArrays, n_users: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """User, item and session of each view; sessions are numbered in the order of users."""
    n_sessions = rng.poisson(rng.lognormal(np.log(SESSIONS), 0.6, n_users)) + 1
    n_views = np.minimum(rng.geometric(1 / VIEWS, n_sessions.sum()), 20)
    session_user = np.repeat(np.arange(n_users), n_sessions)
    sessions = np.repeat(np.arange(len(n_views)), n_views)
    users = session_user[sessions]
    items = np.empty(len(users), dtype=np.int64)
    for start in range(0, n_users, BLOCK_USERS):
        stop = min(start + BLOCK_USERS, n_users)
        cumulative = _cumulative_probabilities(arrays, stop - start, rng)
        of_sessions = slice(*np.searchsorted(session_user, [start, stop]))
        focus = arrays.category[_draw(cumulative, session_user[of_sessions] - start, rng)]
        of_views = slice(*np.searchsorted(users, [start, stop]))
        category = focus[sessions[of_views] - of_sessions.start]
        items[of_views] = _draw(cumulative, users[of_views] - start, rng, arrays.category, category)
    return users, items, sessions


def _cumulative_probabilities(arrays: ItemArrays, n_users: int, rng: np.random.Generator) -> Floats:
    """Cumulative probability of each item for new users, (n_users, n_items); each row ends at 1."""
    styles = rng.dirichlet(np.full(len(STYLES), 0.2), n_users) + 0.01
    categories = rng.dirichlet(np.full(len(CATEGORIES), 0.1), n_users) + 0.001
    typical = np.array([CATALOGUE[department][name][1] for department, name in CATEGORIES])
    relative_price = np.log(arrays.price / typical[arrays.category])
    budget = rng.normal(0, 0.35, (n_users, 1))
    weights = styles[:, arrays.style] * categories[:, arrays.category] * arrays.popularity
    weights *= np.exp(-(((relative_price - budget) / 0.35) ** 2) / 2)
    cumulative = np.cumsum(weights, axis=1)
    return cumulative / cumulative[:, -1:]


def _draw(
    cumulative: Floats, rows: Ints, rng: np.random.Generator, category: Ints | None = None, focus: Ints | None = None
) -> Ints:
    """One item for each of `rows` of `cumulative`; with `focus`, most are from that category."""
    low, high = np.zeros(len(rows)), np.ones(len(rows))
    if category is not None and focus is not None:
        stays = rng.random(len(rows)) < STAYS
        ends = np.searchsorted(category, focus, side="right") - 1
        starts = np.searchsorted(category, focus, side="left") - 1
        low = np.where(stays & (starts >= 0), cumulative[rows, np.maximum(starts, 0)], 0.0)
        high = np.where(stays, cumulative[rows, ends], 1.0)
    at = low + (high - low) * rng.random(len(rows))
    flat = (cumulative + np.arange(len(cumulative))[:, None]).ravel()  # one sorted array, shifted by 1 per user
    drawn = np.searchsorted(flat, rows + at, side="right") - rows * cumulative.shape[1]
    return np.asarray(np.clip(drawn, 0, cumulative.shape[1] - 1), dtype=np.int64)


def _moments(users: Ints, sessions: Ints, span_s: float, rng: np.random.Generator) -> Floats:
    """The time of each view in seconds from the start; cart and purchase still fit in `span_s`, a multiple of a day."""
    n_users, n_sessions = int(users[-1]) + 1, int(sessions[-1]) + 1
    first = np.unique(sessions, return_index=True)[1]
    join_share = rng.beta(1, 2, n_users) * 0.9  # two in three users join in the first half
    share = join_share[users[first]] + (1 - join_share[users[first]]) * rng.random(n_sessions)
    hour = rng.normal(15, 3.5, n_sessions).clip(0, 21)  # a session of two hours and a purchase end before midnight
    start = np.floor(share * (span_s / DAY_S)) * DAY_S + hour * 3600
    gaps = np.cumsum(rng.exponential(70, len(sessions)) + 5)
    within = np.minimum(gaps - gaps[first][sessions], 2 * 3600)
    return np.asarray(start[sessions] + within, dtype=np.float64)


def _funnel(users: Ints, viewed: Ints, at_us: Ints, items: tuple[Item, ...], rng: np.random.Generator) -> EventColumns:
    """Views, the cart events after some views, and the purchases after some cart events; sorted by time."""
    carted = np.flatnonzero(rng.random(len(users)) < CARTED)
    bought = carted[rng.random(len(carted)) < BOUGHT]
    rows = np.concatenate([np.arange(len(users)), carted, bought])
    kinds = np.repeat(np.arange(3, dtype=np.int32), [len(users), len(carted), len(bought)])
    later_s = np.where(kinds == 0, 0.0, rng.uniform(5, 60, len(rows))) + np.where(
        kinds == 2, 60 + 900 * rng.random(len(rows)), 0
    )
    moments = at_us[rows] + (later_s * 1e6).astype(np.int64)
    values = np.where(kinds == 2, np.minimum(rng.geometric(0.75, len(rows)), 6), 1).astype(np.float32)
    order = np.argsort(moments, kind="stable")
    return EventColumns(
        tuple(f"customer-{row:05d}" for row in range(int(users[-1]) + 1)),
        tuple(item.item_id for item in items),
        KINDS,
        users[rows][order],
        viewed[rows][order],
        kinds[order],
        values[order],
        moments[order],
    )


def _line(item: Item) -> bytes:
    row = {"item_id": item.item_id, "title": item.title, "categories": item.categories, "available": item.available}
    return orjson.dumps(row | dict(item.attributes), option=orjson.OPT_APPEND_NEWLINE)
