"""The rules of `shelf_rules` over HTTP: random catalogues and parameters on one server, page after page, alone, as GET
and in a batch.

The server keeps no shelves, because a kept one is what its user was shown before the same request is asked again:
`rotation` would answer that with other items, as it should. What the users were shown is in impression events.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.values.events import Event
from tests.api.conftest import ITEMS, Shop
from tests.engine.recommending import shelf_rules
from tests.engine.recommending.shelf_rules import Asked, Facts

SETTINGS = {"keep_shelves_days": 0}
IDS = [item.item_id for item in ITEMS]
EVENTS = [
    Event(user, id_, "impression", datetime.now(UTC))
    for user, shown in (("odd-user-3", IDS[:30:2]), ("even-user-7", IDS[20:]), ("nobody", IDS[:9]))
    for id_ in shown
]
DEADLINE_MS = 10_000  # for `min_seq`, which otherwise waits for a second: short on a machine with much to do
ids = st.sampled_from(IDS)
facts = st.tuples(
    st.sampled_from([None, "acme", "best", "core", "dune"]), st.sets(st.sampled_from("xyz")), st.integers(0, 9)
)
BOOSTS = [{"filter": {"brand": "acme"}, "factor": 3}, {"filter": {"stock": 1}, "add": 0.5}]
catalogues = st.lists(facts, min_size=len(IDS), max_size=len(IDS))
pins = st.dictionaries(st.integers(1, 12), ids, max_size=3).map(
    lambda by_position: {item: at for at, item in by_position.items()}
)
bodies = st.fixed_dictionaries(
    {"k": st.integers(1, 12), "seed": st.integers(0, 9), "explore": st.sampled_from([0, 0, 0.3])},
    optional={
        "user_id": st.sampled_from(["odd-user-3", "even-user-7", "nobody"]),
        "caps": st.dictionaries(st.sampled_from(["brand", "categories"]), st.integers(1, 4), min_size=1),
        "group_by": st.sampled_from(["brand", {"field": "brand", "choose": {"field": "stock", "order": "desc"}}]),
        "diversity": st.sampled_from([0, 0.5]),
        "exclude_items": st.lists(ids, max_size=8, unique=True),
        "include_items": st.lists(ids, min_size=10, max_size=30, unique=True),
        "filter": st.sampled_from([{"stock": {"gte": 3}}, {"stock": {"lt": 8}}]),
        "boost": st.lists(st.sampled_from(BOOSTS), min_size=1, max_size=2),
        "rotation": st.sampled_from(["1d"]),
    },
)


@given(made=catalogues, unavailable=st.sets(ids, max_size=12), body=bodies, pinned=pins)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shelves_of_random_catalogues_keep_the_rules_on_every_page(
    shop: Shop, made: list[tuple], unavailable: set[str], body: dict[str, Any], pinned: dict[str, int]
) -> None:
    seq = stored(shop, made, unavailable)
    out = {*body.get("exclude_items", ())}
    pinned = {id_: at for id_, at in pinned.items() if id_ not in out and id_ in body.get("include_items", IDS)}
    body = body | {"exclude": "none", "explain": 1, "min_seq": seq, "deadline_ms": DEADLINE_MS}
    if pinned:
        body["pins"] = [{"position": at, "item_id": id_} for id_, at in pinned.items()]
    catalogue = {
        id_: Facts(brand, frozenset(categories), id_ not in unavailable and passes(body.get("filter"), stock))
        for id_, (brand, categories, stock) in zip(IDS, made, strict=True)
    }
    included = frozenset(body["include_items"]) if "include_items" in body else None
    group_by = "brand" if "group_by" in body else None
    asked = Asked(
        body["k"], body.get("caps", {}), group_by, [(at, id_) for id_, at in pinned.items()], frozenset(out), included
    )
    earlier: list[str] = []
    cursor = None
    for _ in range(4):
        answer = same_alone_as_get_and_in_a_batch(shop, body | ({"cursor": cursor} if cursor else {}))
        on_page = ids_of(answer)
        shelf_rules.hold(on_page, earlier, catalogue, asked)
        assert (answer["shortfall"] is None) == (len(on_page) == body["k"])
        for item in answer["items"]:
            assert math.isclose(sum(part["adds"] for part in item["parts"]), item["score"], abs_tol=1e-4)
        earlier, cursor = earlier + on_page, answer["cursor"]
        if cursor is None:
            break
    shelf_rules.hold(earlier[: body["k"]], [], catalogue, replace(asked, k=max(1, len(earlier[: body["k"]]))))


def stored(shop: Shop, made: list[tuple], unavailable: set[str]) -> int:
    rows = [
        {
            "item_id": id_,
            "categories": sorted(categories),
            "available": id_ not in unavailable,
            "attributes": {"stock": stock} | ({"brand": brand} if brand else {}),
        }
        for id_, (brand, categories, stock) in zip(IDS, made, strict=True)
    ]
    return int(shop.post("/items", {"items": rows}).json()["seq"])


def passes(filter_: dict | None, stock: int) -> bool:
    if filter_ is None:
        return True
    [(name, bound)] = filter_["stock"].items()
    return stock >= bound if name == "gte" else stock < bound


def same_alone_as_get_and_in_a_batch(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request. A rebuilt generation may come between two requests, when many items are unavailable."""
    whole = {name: body[name] for name in ("min_seq", "deadline_ms")}
    shelf = {name: value for name, value in body.items() if name not in (*whole, "explain")}
    as_text = {
        name: json.dumps(value) if isinstance(value, dict) or name in ("boost", "pins") else value
        for name, value in shelf.items()
    }
    while True:
        answers = [
            shop.post("/recommend", body),
            shop.get("/recommend", params=as_text | whole),
            shop.post("/recommend/batch", {"shelves": [{"k": 3}, shelf], **whole}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200], [answer.text for answer in answers]
        alone, as_get, batch = (answer.json() for answer in answers)
        if alone["generation"] == as_get["generation"] == batch["generation"]:
            assert ids_of(alone) == ids_of(as_get) == ids_of(batch["shelves"][1])
            return alone


def ids_of(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]
