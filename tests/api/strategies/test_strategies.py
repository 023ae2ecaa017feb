"""Each strategy over HTTP: what it shows, right after an event too, and what it says about bad requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from engine.embedders.registry import make
from engine.recommending.sources.registry import STRATEGIES
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import Event
from indexing.building.reindex import reindex
from tests.api.conftest import Shop

NOW = datetime.now(UTC)
ANN = [Event("ann", "odd-10", "purchase", NOW - timedelta(days=9)), Event("ann", "odd-11", "view", NOW)]
ASKED: dict[str, dict[str, Any]] = {
    "similar": {"item_ids": ["odd-01"]},
    "bought_together": {"item_ids": ["odd-01"]},
    "for_these_people": {"user_ids": ["odd-user-1", "odd-user-2"]},
    "list": {"item_ids": ["odd-09", "even-03", "odd-02"]},
    "random": {"seed": 4},
}
users = (f"visitor-{number}" for number in count())


def orders() -> list[Event]:
    """Thirty orders, ten days apart by each of ten users: odd-01 with even-01, odd-02 with even-02, and so on to 10."""
    return [
        Event(f"buyer-{user}", f"{side}-{user + 1:02}", "purchase", NOW - timedelta(days=10 * ago), order_id=order)
        for user in range(10)
        for ago in (1, 2, 3)
        for order in (f"order-{user}-{ago}",)
        for side in ("odd", "even")
    ]


@pytest.fixture(scope="module")
def sold(shop: Shop, database: Database) -> Shop:
    """The shop after some orders, and the index built again."""
    before = shop.get("/recommend").json()["generation"]
    with database.begin() as conn:
        events.append(conn, shop.space.key, orders() + ANN)
    reindex(database, shop.space, make("spectral", {"dim": 8}), shop.settings.generations, force=True)
    wait_for(lambda: shop.get("/recommend").json()["generation"] != before)
    return shop


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not happen within 60 s"
        time.sleep(0.05)


def ask(shop: Shop, strategy: str, **asked: Any) -> list[tuple[str, str]]:
    """The item and the source of each slot."""
    answer = shop.post("/recommend", {"strategy": strategy, **asked})
    assert answer.status_code == 200, answer.text
    return [(item["item_id"], item["source"]) for item in answer.json()["items"]]


def shown(shop: Shop, strategy: str, **asked: Any) -> list[str]:
    return [item_id for item_id, _ in ask(shop, strategy, **asked)]


def write(shop: Shop, *rows: dict[str, Any]) -> None:
    assert shop.post("/events", {"events": list(rows)}).json()["accepted"] == len(rows)


def test_a_view_made_now_is_first_among_the_recently_viewed(sold: Shop) -> None:
    user = next(users)
    assert shown(sold, "recently_viewed", user_id=user) == []
    for item in ("odd-07", "even-03", "odd-07", "even-11"):
        write(sold, {"user_id": user, "item_id": item, "kind": "view"})
        assert ask(sold, "recently_viewed", user_id=user)[0] == (item, "recently_viewed")
    assert shown(sold, "recently_viewed", user_id=user) == ["even-11", "odd-07", "even-03"]
    write(sold, {"user_id": user, "item_id": "odd-07", "kind": "purchase", "order_id": "o-1"})
    assert shown(sold, "recently_viewed", user_id=user) == ["even-11", "even-03"]
    assert shown(sold, "recently_viewed", user_id=user, exclude="none") == ["odd-07", "even-11", "even-03"]


def test_a_session_has_recently_viewed_items_too(sold: Shop) -> None:
    history = [{"item_id": "odd-05", "kind": "view"}, {"item_id": "odd-06", "kind": "impression"}]
    assert shown(sold, "recently_viewed", history=history) == ["odd-05"]


def test_a_purchase_made_now_counts_in_buy_again(sold: Shop) -> None:
    user = next(users)
    write(sold, {"user_id": user, "item_id": "odd-04", "kind": "view"})
    assert shown(sold, "buy_again", user_id=user) == []
    write(sold, {"user_id": user, "item_id": "odd-03", "kind": "purchase", "order_id": "o-2"})
    assert ask(sold, "buy_again", user_id=user) == [("odd-03", "buy_again")]
    write(sold, {"user_id": user, "item_id": "odd-03", "kind": "return"})
    assert shown(sold, "buy_again", user_id=user) == []


def test_what_was_bought_on_more_days_is_due_first(sold: Shop) -> None:
    user = next(users)
    for item, days in (("odd-01", (10,)), ("odd-02", (30, 20, 10))):
        for ago in days:
            bought = (NOW - timedelta(days=ago)).isoformat()
            write(sold, {"user_id": user, "item_id": item, "kind": "purchase", "occurred_at": bought})
    assert shown(sold, "buy_again", user_id=user) == ["odd-02", "odd-01"]


def test_what_many_do_now_is_trending_within_a_poll(sold: Shop) -> None:
    assert shown(sold, "trending", k=1) != ["even-19"]
    write(sold, *({"user_id": f"crowd-{n}", "item_id": "even-19", "kind": "purchase"} for n in range(40)))
    wait_for(lambda: ask(sold, "trending", k=1) == [("even-19", "trending")])


def test_the_partner_of_an_order_is_bought_together(sold: Shop) -> None:
    assert ask(sold, "bought_together", item_ids=["odd-04"])[0] == ("even-04", "bought_together")
    both = shown(sold, "bought_together", item_ids=["odd-04", "even-06"], k=2)
    assert sorted(both) == ["even-04", "odd-06"]


def test_bought_together_continues_with_similar_items_of_other_categories(sold: Shop) -> None:
    def similar() -> list[str]:
        slots = ask(sold, "bought_together", item_ids=["odd-04"], k=30)
        return [item for item, source in slots if source == "similar"]

    nearest = [item for item in similar() if item.startswith("odd")][3]
    assert similar()[0] != nearest
    seq = sold.put(f"/items/{nearest}", {"title": "Moved", "categories": ["third"]}).json()["seq"]
    slots = ask(sold, "bought_together", item_ids=["odd-04"], k=30, min_seq=seq)
    assert slots[:2] == [("even-04", "bought_together"), (nearest, "similar")]


def test_random_items_follow_their_seed(sold: Shop) -> None:
    one = shown(sold, "random", seed=1)
    assert one == shown(sold, "random", seed=1) != shown(sold, "random", seed=2)
    assert len({tuple(shown(sold, "random", k=5)) for _ in range(5)}) > 1
    assert sorted(shown(sold, "random", k=40)) == sorted(shown(sold, "new", k=40))


def test_a_list_keeps_its_order_and_leaves_out_what_may_not_be_shown(sold: Shop) -> None:
    item_ids = ["odd-09", "even-03", "no-such-item", "odd-02", "even-03"]
    asked = {"item_ids": item_ids, "user_id": "odd-user-1"}
    assert ask(sold, "list", **asked) == [(item, "list") for item in ("odd-09", "even-03", "odd-02")]
    assert shown(sold, "list", **asked, filter={"categories": {"eq": "odd"}}) == ["odd-09", "odd-02"]
    assert shown(sold, "list", **asked, exclude_items=["odd-09"]) == ["even-03", "odd-02"]


def test_a_shelf_for_people_suits_their_histories(sold: Shop) -> None:
    for side in ("odd", "even"):
        slots = ask(sold, "for_these_people", user_ids=[f"{side}-user-{n}" for n in range(5)], k=5, exclude="none")
        assert {item.split("-")[0] for item, _ in slots} == {side}
        assert {source for _, source in slots} == {"for_these_people"}
    assert {source for _, source in ask(sold, "for_these_people", user_ids=["nobody"])} == {"popular"}


def test_a_shelf_for_people_leaves_out_what_all_of_them_have_seen(sold: Shop) -> None:
    one, other = next(users), next(users)
    for user, item in ((one, "odd-07"), (one, "odd-05"), (other, "odd-07")):
        write(sold, {"user_id": user, "item_id": item, "kind": "view"})
    for people, seen in (([one, other], {"odd-07"}), ([one], {"odd-05", "odd-07"})):
        found = shown(sold, "for_these_people", user_ids=people, k=40)
        assert {"odd-05", "odd-07"} - set(found) == seen


def test_an_included_item_that_runs_out_is_named_by_the_shortfall(sold: Shop) -> None:
    asked = {"user_id": next(users), "include_items": ["odd-07"], "k": 2}
    answer = sold.post("/recommend", asked).json()
    assert answer["shortfall"]["reason"] == "no more items in include_items are eligible"


def test_a_fallback_continues_the_shelf_in_its_order(sold: Shop) -> None:
    user = next(users)
    write(sold, {"user_id": user, "item_id": "odd-07", "kind": "view"})
    slots = ask(sold, "recently_viewed", user_id=user, fallback=["similar", "new"], k=40)
    sources = [source for _, source in slots]
    assert sources == sorted(sources, key=["recently_viewed", "similar", "new"].index)
    assert len(set(slots)) == 40
    [alone] = ask(sold, "recently_viewed", user_id=user, fallback=[])
    assert alone == ("odd-07", "recently_viewed")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_get_post_and_batch_give_the_same_shelf(sold: Shop, strategy: str) -> None:
    asked = {"strategy": strategy, "user_id": "ann", "k": 4, **ASKED.get(strategy, {})}
    posted: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []

    def unchanged_meanwhile() -> bool:
        """Whether no poll between the answers counted events that other tests wrote."""
        nonlocal posted, answers
        posted, got = sold.post("/recommend", asked).json(), sold.get("/recommend", params=asked).json()
        batch = sold.post("/recommend/batch", {"shelves": [{"user_id": "odd-user-1"}, asked, asked]}).json()
        answers = [got, *batch["shelves"][1:]]
        return slots(sold.post("/recommend", asked).json()) == slots(posted)

    wait_for(unchanged_meanwhile)
    assert posted["items"][0]["source"] == strategy
    for answer in answers:
        assert slots(answer) == slots(posted)
        assert answer["shortfall"] == posted["shortfall"]


def slots(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (item["item_id"], item["source"], item["reason"], pytest.approx(item["score"], rel=1e-3))
        for item in answer["items"]
    ]


@pytest.mark.parametrize(
    ("asked", "field", "told"),
    [
        ({"strategy": "newest"}, ["strategy"], "'new'"),
        ({"strategy": "list"}, ["item_ids"], "list"),
        ({"strategy": "similar"}, ["item_ids"], "starts from item_ids"),
        ({"strategy": "bought_together"}, ["item_ids"], "starts from item_ids"),
        ({"strategy": "for_these_people"}, ["user_ids"], "is empty"),
        ({"strategy": "popular", "user_ids": ["ann"]}, ["user_ids"], "for_these_people"),
        ({"strategy": "new", "fallback": ["popular", "new"]}, ["fallback", 1], "circle"),
        ({"strategy": "new", "fallback": ["popular", "popular"]}, ["fallback", 1], "circle"),
        ({"strategy": "new", "fallback": ["popular"], "fill": "popular"}, ["fill"], "short form"),
        ({"strategy": "new", "fallback": ["trendy"]}, ["fallback", 0], "'trending'"),
        ({"strategy": "recently_viewed", "exclude": ["seen"]}, ["exclude"], "seen"),
        ({"strategy": "buy_again", "exclude": "purchased", "user_id": "ann"}, ["exclude"], "purchased"),
        ({"strategy": "popular", "vector": [1.0]}, ["vector"], "for_you"),
        ({"strategy": "random", "seed": -1}, ["seed"], "greater than or equal to 0"),
    ],
)
def test_mistakes_are_told_by_their_field(sold: Shop, asked: dict[str, Any], field: list[Any], told: str) -> None:
    answer = sold.post("/recommend", asked)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["loc"][-len(field) :] == field
    assert told in json.dumps(error, ensure_ascii=False)


def test_unknown_seeds_are_not_found(sold: Shop) -> None:
    for strategy in ("similar", "bought_together"):
        answer = sold.post("/recommend", {"strategy": strategy, "item_ids": ["no-such-item"]})
        assert answer.status_code == 404
        assert "no-such-item" in answer.json()["detail"]
