"""Dry runs: the stored requests are answered with the presets as they are, and with one of them changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest

from api.served.shelf_writer import ShelfWriter
from api.server import bound, running
from engine.catalogue.request_cost import ANSWER_ITEM_COST
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf
from tests.api.conftest import Shop

HOME = {"k": 4, "exclude": "none", "filter": {"price": {"lt": 12}}}
USERS = [f"{side}-user-{n}" for n in range(3) for side in ("odd", "even")]
DICE = {"strategy": "random", "k": 6}
ONLY = {"k": 1, "strategy": "list", "item_ids": ["odd-01"], "exclude": "none"}


@pytest.fixture(scope="module", autouse=True)
def stored(shop: Shop, database: Database) -> Iterator[None]:
    """Requests of six users for placement `home`, of the same users without a placement, one for a lost one, three of
    nobody for `dice`, and one of a user who was shown odd-01. The server keeps no others."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ShelfWriter, "keep", lambda *shelf: None)
        fill(shop, database)
        yield


def fill(shop: Shop, database: Database) -> None:
    for name, document in {"home": HOME, "lost": HOME, "dice": DICE, "fresh": ONLY}.items():
        assert shop.put(f"/placements/{name}", document).status_code == 200
    dice = {"placement": "dice", "explore": 0.5}
    served = [(dice, None, "dice"), (dice, None, "dice"), (dice | {"seed": 7}, None, "dice")]
    served += [({"placement": "fresh"}, "odd-user-9", "fresh")]
    served += [({"placement": "home"}, user, "home") for user in USERS]
    served += [({"k": 5, "exclude": "none", "fields": ["title"]}, user, None) for user in USERS]
    served += [({"placement": "gone"}, USERS[0], "gone"), ({"placement": "lost"}, None, "lost")]
    written(shop, database, served)


def written(shop: Shop, database: Database, served: Sequence[tuple[dict, str | None, str | None]]) -> None:
    with database.begin() as conn:
        served_shelves.make_partitions(conn, datetime.now(UTC).date())
    now_us = time.time_ns() // 1000
    rows = [
        ServedShelf(now_us + at, f"r-{now_us}-{at}", user, None, placement, orjson.dumps(asked).decode(), ["odd-01"])
        for at, (asked, user, placement) in enumerate(served)
    ]
    with database.begin() as conn:
        assert served_shelves.write(conn, shop.space.key, rows) == len(rows)


def tried(shop: Shop, path: str, document: dict | None, **options: object) -> dict:
    answer = shop.post(f"{path}/dry-run", {"document": document} | options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def shelf(shop: Shop, **asked: object) -> list[str]:
    answer: httpx.Response = shop.post("/recommend", asked)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_the_same_placement_changes_no_shelf(shop: Shop) -> None:
    found = tried(shop, "/placements/home", HOME)
    assert (found["n_requests"], found["n_changed"], found["share_changed"]) == (6, 0, 0.0)
    assert found["examples"] == []
    assert found["shortfall"] == {
        "requested": 200,
        "returned": 6,
        "reason": "the server keeps no more requests of placement 'home'",
    }
    assert all(each["before"] == each["after"] for each in (*found["categories"], *found["prices"]))


def test_a_changed_placement_is_shown_before_it_is_stored(shop: Shop) -> None:
    changed = HOME | {"filter": {"price": {"lt": 12}, "categories": "even"}}
    before = {user: shelf(shop, placement="home", user_id=user) for user in USERS}
    found = tried(shop, "/placements/home", changed)
    assert found["n_requests"] == 6
    after = {each["user_id"]: each["items_after"] for each in found["examples"]}
    assert {each["user_id"]: each["items_before"] for each in found["examples"]} == {u: before[u] for u in after}
    assert {*after} == {user for user in USERS if any(id_.startswith("odd") for id_ in before[user])}
    assert found["share_changed"] == len(after) / 6
    n_odd = sum(id_.startswith("odd") for ids in before.values() for id_ in ids)
    shares = {each["category"]: (each["before"], each["after"]) for each in found["categories"]}
    assert shares["odd"] == (pytest.approx(n_odd / 24), 0)
    assert shares["even"] == (pytest.approx(1 - n_odd / 24), pytest.approx(1))
    assert shop.get("/placements/home").json()["version"] == 1
    assert shop.put("/placements/home", changed).status_code == 200
    assert {user: shelf(shop, placement="home", user_id=user) for user in after} == after
    shop.post("/placements/home/rollback", {"version": 1})


def test_price_bands_are_filters_that_cover_the_catalogue(shop: Shop) -> None:
    prices = tried(shop, "/placements/home", HOME | {"filter": {"price": {"gte": 16}}})["prices"]
    assert [each["price"] for each in prices] == [
        {"lt": 3.0},
        {"gte": 3.0, "lt": 7.0},
        {"gte": 7.0, "lt": 11.0},
        {"gte": 11.0, "lt": 15.0},
        {"gte": 15.0},
        None,
    ]
    assert [each["after"] for each in prices] == [0, 0, 0, 0, 1, 0]
    assert sum(each["before"] for each in prices) == pytest.approx(1)
    assert prices[4]["before"] == 0


def test_empty_short_and_refused_shelves_are_counted(shop: Shop) -> None:
    short = HOME | {"filter": {"price": 3}}
    assert tried(shop, "/placements/home", short)["short"] == {"before": 0, "after": 6}
    empty = tried(shop, "/placements/home", HOME | {"filter": {"price": 300}})
    assert (empty["empty"], empty["short"]["after"]) == ({"before": 0, "after": 6}, 0)
    refused = tried(shop, "/placements/lost", None)
    assert refused["n_requests"] == refused["n_changed"] == refused["refused"]["after"] == 1
    assert "there is no placement 'lost'" in refused["refused"]["reasons"][0]
    assert refused["examples"][0]["items_after"] is None


def test_a_new_placement_takes_requests_without_a_placement(shop: Shop) -> None:
    found = tried(shop, "/placements/new", {"k": 2, "filter": {"categories": "even"}})
    assert (found["n_requests"], found["placement"]) == (6, "new")
    assert found["refused"]["after"] == 0  # of its k of 5 too, which the placement sets
    assert all(len(each["items_before"]) == 5 for each in found["examples"])
    assert all(len(each["items_after"]) == 2 for each in found["examples"])


def test_a_rule_is_tried_on_all_requests_or_on_those_of_a_placement(shop: Shop) -> None:
    rule = {"when": {"placements": ["home"]}, "then": {"filter": {"categories": "even"}}}
    found = tried(shop, "/rules/evens", rule)
    assert (found["n_requests"], found["acted"]) == (17, {"before": 0, "after": 6})
    assert found["refused"] == {
        "before": 1,
        "after": 1,
        "reasons": ["placement: there is no placement 'gone'; this space has: dice, fresh, home, lost"],
    }
    assert all(id_.startswith("even") for each in found["examples"] for id_ in each["items_after"])
    assert tried(shop, "/rules/evens", rule, placement="home")["n_requests"] == 6
    assert tried(shop, "/rules/evens", rule, n=3)["n_requests"] == 2
    shop.put("/rules/evens", rule)
    assert tried(shop, "/rules/evens", None, placement="home")["acted"] == {"before": 6, "after": 0}
    assert tried(shop, "/rules/evens", rule | {"enabled": False})["n_changed"] == found["n_changed"]
    shop.delete("/rules/evens")


def test_a_rule_that_begins_later_is_tried_at_that_moment(shop: Shop) -> None:
    begins = datetime.now(UTC) + timedelta(days=30)
    rule = {"when": {"from": begins.isoformat()}, "then": {"filter": {"categories": "even"}}}
    assert tried(shop, "/rules/later", rule)["n_changed"] == 0
    assert tried(shop, "/rules/later", rule, at=(begins + timedelta(days=1)).isoformat())["acted"]["after"] == 17


def test_random_shelves_differ_by_the_change_alone(shop: Shop) -> None:
    same = tried(shop, "/placements/dice", DICE | {"description": "the same"})
    assert (same["n_requests"], same["n_changed"]) == (3, 0)


@pytest.mark.parametrize(
    ("path", "asked", "place", "message"),
    [
        ("/placements/home", {"document": {"kk": 3}}, ["body", "document", "kk"], "there is no such parameter"),
        ("/placements/home", {"document": {"filter": {"price": {"lt": {}}}}}, ["body", "document", "filter"], ""),
        ("/placements/home", {"document": {}, "n": 0}, ["body", "n"], ""),
        ("/placements/home", {"document": {}, "n": 1001}, ["body", "n"], ""),
        ("/placements/home", {"document": [1]}, ["body", "document"], ""),
        ("/placements/home", {}, ["body", "document"], ""),
        ("/placements/home", {"document": {}, "placement": "home"}, ["body", "placement"], "no such parameter"),
        ("/placements/home", {"document": {}, "at": "2020-01-01"}, ["body", "at"], "expected a later moment"),
        ("/placements/Home", {"document": {}}, ["path", "name"], "expected a name"),
        ("/rules/x", {"document": {"then": {}}}, ["body", "document", "then"], ""),
        ("/rules/x", {"document": {"then": {"caps": {"brand": 1}}}, "placement": "nope"}, ["body", "placement"], ""),
    ],
)
def test_a_mistake_is_refused_with_the_place(shop: Shop, path: str, asked: dict, place: list, message: str) -> None:
    refused = shop.post(f"{path}/dry-run", asked)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["loc"][: len(place)] == place
    assert message in refused.text


def test_the_deletion_of_what_is_not_there_is_not_found(shop: Shop) -> None:
    assert shop.post("/rules/nowhere/dry-run", {"document": None}).status_code == 404


def test_what_a_user_was_shown_counts_in_a_dry_run(shop: Shop) -> None:
    """The stored shelf of this user showed odd-01."""
    found = tried(shop, "/placements/fresh", ONLY | {"exclude": {"impressed": "1d"}})
    assert [(each["items_before"], each["items_after"]) for each in found["examples"]] == [(["odd-01"], [])]


def test_a_dry_run_of_more_work_than_is_allowed_is_refused(shop: Shop, database: Database) -> None:
    """It counts both answers of all requests together; the other requests of the server count alone."""
    for_one = 2 * HOME["k"] * ANSWER_ITEM_COST
    settings = shop.settings.model_copy(update={"max_work": 2 * for_one})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}/placements/home/dry-run"
        one, all_ = (httpx.post(url, json={"document": HOME, "n": n}, timeout=30) for n in (1, 6))
    assert (one.status_code, one.json()["n_requests"]) == (200, 1)
    assert all_.status_code == 422
    assert all_.json()["errors"][0]["loc"] == ["body", "n"]
    assert "NEARFIELD_MAX_WORK" in all_.json()["detail"]
    assert tried(shop, "/placements/home", HOME, n=6)["n_requests"] == 6


def test_changes_of_several_kinds_are_tried_together_with_the_exposure_by_any_field(shop: Shop) -> None:
    body = {
        "segments": {"few": {"of": "items", "filter": {"price": {"lt": 2}}}},
        "rules": {"few": {"when": {"placements": ["home", "later"]}, "then": {"filter": {"segment": "few"}}}},
        "placements": {"later": {"k": 2, "rules": ["few"]}},
    }
    options = {"placement": "home", "category_field": "price", "band_field": "price", "n_bands": 2}
    answer = shop.post("/dry-run", body | options)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["changed"] == {"placements": ["later"], "rules": ["few"], "segments": ["few"]}
    assert (found["n_requests"], found["n_changed"]) == (6, 6)
    assert found["acted"] == {"few": {"before": 0, "after": 6}}
    assert {each["category"] for each in found["categories"] if each["after"]} == {"0", "1"}
    assert [each["price"] for each in found["prices"]] == [{"lt": 9}, {"gte": 9}, None]
    assert found["prices"][0]["after"] == 1
    assert shop.get("/rules/few").status_code == 404
    wrong = {
        "rules": body | {"segments": {}},
        "category_field": body | {"category_field": "colour"},
        "band_field": body | {"band_field": "title"},
        "placement": body | {"placement": "nowhere"},
        "n_bands": body | {"n_bands": 0},
    }
    for name, each in wrong.items():
        refused = shop.post("/dry-run", each)
        assert (refused.status_code, refused.json()["errors"][0]["loc"][:2]) == (422, ["body", name]), refused.text
    assert shop.post("/dry-run", {}).status_code == 422
    assert shop.post("/dry-run", {"rules": {"nowhere": None}}).status_code == 404
