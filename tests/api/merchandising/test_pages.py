"""POST page: all shelves of a stored page, no item twice, titles from the history, a next page for each shelf."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.embedders.registry import make
from engine.store.database.connections import Database
from indexing.building.reindex import reindex
from tests.api.conftest import Shop

SETTINGS = {"keep_shelves_days": 0}  # else a page with `rotation` shows other items when it is asked again
SHELVES: list[dict[str, Any]] = [
    {"name": "for-you", "title": "For you", "k": 4, "exclude": "none"},
    {"name": "cheap", "placement": "cheap", "k": 3},
    {"name": "again", "title": "Because you viewed {title}", "seed": {"event": "view"}, "k": 3, "exclude": "none"},
    {"name": "side", "title": "More of {value}", "best": {"field": "categories"}, "k": 3, "exclude": "none"},
]


@pytest.fixture(scope="module", autouse=True)
def stored(shop: Shop) -> None:
    put(shop, "placements/cheap", {"filter": {"price": {"lt": 9}}, "k": 5, "exclude": "none"})
    put(shop, "pages/home", {"shelves": SHELVES})
    put(shop, "pages/alike", {"shelves": SHELVES, "distinct": False})


def put(shop: Shop, path: str, document: dict) -> None:
    answer = shop.put(f"/{path}", document)
    assert answer.status_code == 200, answer.text


def page(shop: Shop, **asked: object) -> dict:
    answer = shop.post("/page", {"page": "home", "user_id": "odd-user-3"} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_name(answer: dict) -> dict[str, dict]:
    return {shelf["name"]: shelf for shelf in answer["shelves"]}


def ids(shelf: dict) -> list[str]:
    return [item["item_id"] for item in shelf["items"]]


def test_a_page_answers_its_shelves_by_name(shop: Shop) -> None:
    answer = page(shop)
    assert answer["page"] == {"name": "home", "version": 1}
    assert [shelf["name"] for shelf in answer["shelves"]] == ["for-you", "cheap", "again", "side"]
    assert [len(shelf["items"]) for shelf in answer["shelves"]] == [4, 3, 3, 3]
    shelves = by_name(answer)
    assert shelves["cheap"]["placement"] == {"name": "cheap", "version": 1}
    assert all(item["fields"]["price"] < 9 for item in shelves["cheap"]["items"])
    assert shelves["side"]["title"] == "More of odd"
    assert all(id_.startswith("odd") for id_ in ids(shelves["side"]))


def test_each_shelf_of_a_page_that_is_not_distinct_is_the_shelf_alone(shop: Shop) -> None:
    shelves = by_name(page(shop, page="alike"))
    alone = shop.post("/recommend", {"user_id": "odd-user-3", "k": 4, "exclude": "none"}).json()
    assert ids(shelves["for-you"]) == ids(alone)
    cheap = shop.post("/recommend", {"user_id": "odd-user-3", "k": 3, "placement": "cheap"}).json()
    assert ids(shelves["cheap"]) == ids(cheap)


def test_a_shelf_names_the_newest_item_of_the_history(shop: Shop) -> None:
    history = [{"item_id": "even-03"}, {"item_id": "odd-05", "kind": "purchase"}]
    again = by_name(page(shop, history=history))["again"]
    assert (again["title"], again["seed"]) == ("Because you viewed Even thing 3", "even-03")


def test_a_shelf_of_an_item_shows_what_is_like_it_and_nothing_of_the_rest_of_the_history(shop: Shop) -> None:
    put(shop, "pages/like", {"shelves": [{"name": "again", "seed": {"event": "view"}, "k": 5, "exclude": "none"}]})
    history = [{"item_id": "even-03"}]
    [again] = page(shop, page="like", history=history)["shelves"]
    assert ids(again) == ids(shop.get("/items/even-03/similar?k=5").json())
    assert {item["reason"] for item in again["items"]} == {"similar"}
    put(shop, "pages/unseen", {"shelves": [{"name": "again", "seed": {"event": "view"}, "k": 40, "fill": "none"}]})
    seen = {each["item_id"] for each in shop.get("/users/odd-user-3/export").json()["events"]}
    [unseen] = page(shop, page="unseen", history=history)["shelves"]
    assert not {*ids(unseen)} & {*seen, "even-03"}


@pytest.mark.parametrize(
    ("order", "names"), [("given", ["cheap", "none", "dear"]), ("revenue", ["dear", "cheap", "none"])]
)
def test_shelves_are_ordered_by_the_expected_value_of_a_slot(shop: Shop, order: str, names: list[str]) -> None:
    shelves: list[dict[str, Any]] = [
        {"name": "cheap", "filter": {"price": {"gt": 0, "lt": 4}}},
        {"name": "none", "filter": {"price": {"gt": 99}}},
        {"name": "dear", "filter": {"price": {"gte": 16}}},
    ]
    put(shop, f"pages/by-{order}", {"shelves": [each | {"k": 3} for each in shelves], "order": order})
    answer = page(shop, page=f"by-{order}", user_id="nobody")
    assert [shelf["name"] for shelf in answer["shelves"]] == names
    assert [len(by_name(answer)[name]["items"]) for name in ("cheap", "none", "dear")] == [3, 0, 3]


def test_a_shelf_without_anything_to_start_from_says_so(shop: Shop) -> None:
    again = by_name(page(shop, user_id="nobody"))["again"]
    assert again["items"] == []
    assert again["title"] is None
    assert again["shortfall"]["reason"].startswith(
        "the history of the visitor has no items with an event view to start from"
    )
    assert again["cursor"] is None


def test_the_next_page_of_a_shelf_keeps_its_seed(shop: Shop) -> None:
    first = by_name(page(shop, history=[{"item_id": "even-03"}]))
    cursors = {name: shelf["cursor"] for name, shelf in first.items()}
    second = page(shop, history=[{"item_id": "odd-01"}, {"item_id": "even-03"}], cursors=cursors, shelves=["again"])
    assert [shelf["name"] for shelf in second["shelves"]] == ["again"]
    [again] = second["shelves"]
    assert again["title"] == "Because you viewed Even thing 3"
    assert not {*ids(again)} & {id_ for shelf in first.values() for id_ in ids(shelf)}


@given(
    turns=st.lists(st.sets(st.sampled_from(["for-you", "cheap", "again", "side"]), min_size=1), max_size=6),
    user=st.sampled_from(["odd-user-3", "even-user-7", "nobody"]),
    viewed=st.lists(st.sampled_from(["odd-01", "even-02"]), max_size=2),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_item_is_twice_on_a_page_and_its_next_pages(
    shop: Shop, turns: list[set[str]], user: str, viewed: list[str]
) -> None:
    asked: dict[str, Any] = {"user_id": user, "history": [{"item_id": id_} for id_ in viewed]}
    answer = page(shop, **asked)
    shown = [id_ for shelf in answer["shelves"] for id_ in ids(shelf)]
    cursors = answer["cursors"]
    for names in turns:
        more = sorted(names & cursors.keys())
        if not more:
            break
        answer = page(shop, **asked, cursors=cursors, shelves=more)
        assert [shelf["name"] for shelf in answer["shelves"]] == [n for n in by_name(answer) if n in more]
        for shelf in answer["shelves"]:
            shown += ids(shelf)
        cursors = answer["cursors"]
    assert len(shown) == len(set(shown))


def test_pages_of_one_shelf_show_every_item_once(shop: Shop) -> None:
    put(shop, "pages/one", {"shelves": [{"name": "all", "k": 7, "exclude": "none"}]})
    shown, cursors = list[str](), dict[str, str]()
    for _ in range(7):
        [shelf] = page(shop, page="one", cursors=cursors)["shelves"]
        shown += ids(shelf)
        if shelf["cursor"] is None:
            break
        cursors = {"all": shelf["cursor"]}
    assert len(shown) == len(set(shown)) == 40


@pytest.mark.parametrize(
    ("asked", "place", "message"),
    [
        ({"page": "nowhere"}, ["body", "page"], "this space has: alike, "),
        ({"shelves": ["attic"]}, ["body", "shelves", 0], "has no shelf 'attic'"),
        ({"cursors": {"for-you": "x"}}, ["body", "cursors", "for-you"], "unchanged"),
        ({"cursors": {"attic": "x"}}, ["body", "cursors", "attic"], "has no shelf 'attic'"),
        ({"kk": 3}, ["body", "kk"], "no such parameter"),
        ({"filter": {"price": {"lt": {}}}}, ["body", "filter"], ""),
    ],
)
def test_a_wrong_request_is_refused_with_the_place(shop: Shop, asked: dict, place: list, message: str) -> None:
    refused = shop.post("/page", {"page": "home"} | asked)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["loc"][: len(place)] == place
    assert message in refused.text


def test_a_cursor_belongs_to_its_page_shelf_and_visitor(shop: Shop) -> None:
    cursor = by_name(page(shop))["for-you"]["cursor"]

    def refused(**asked: object) -> httpx.Response:
        answer = shop.post("/page", {"page": "home", "user_id": "odd-user-3"} | asked)
        assert answer.status_code == 422, answer.text
        return answer

    assert "shelf 'for-you' of page 'home'" in refused(cursors={"cheap": cursor}).text
    assert "shelf 'for-you' of page 'home'" in refused(page="alike", cursors={"for-you": cursor}).text
    assert "another request" in refused(user_id="even-user-7", cursors={"for-you": cursor}).text
    assert "shelf 'for-you' of page 'home'" in shop.post("/recommend", {"cursor": cursor}).text


@pytest.mark.parametrize(
    ("shelves", "place", "message"),
    [
        ([], ["shelves"], "at least 1 item"),
        ([{"k": 3}], ["shelves", 0, "name"], "required"),
        ([{"name": "a"}, {"name": "a"}], ["shelves", 1, "name"], "two shelves have the name 'a'"),
        ([{"name": "a", "placement": "none-such"}], ["shelves", 0, "placement"], "there is no placement 'none-such'"),
        ([{"name": "a", "title": "For {title}"}], ["shelves", 0, "title"], "expected a shelf with `seed` or `best`"),
        ([{"name": "a", "user_id": "x"}], ["shelves", 0, "user_id"], "a stored shelf cannot have it"),
        ([{"name": "a", "best": {"field": "x"}, "seed": {}}], ["shelves", 0, "best"], "not both"),
        ([{"name": "a", "best": {"field": "x"}, "title": "{y}"}], ["shelves", 0, "title"], "can name {value}"),
        ([{"name": "a", "kk": 1}], ["shelves", 0, "kk"], "there is no such parameter"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(shop: Shop, shelves: list, place: list, message: str) -> None:
    refused = shop.put("/pages/wrong", {"shelves": shelves})
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["loc"] == ["body", *place]
    assert message in refused.text


def test_a_placement_of_a_page_cannot_be_deleted(shop: Shop) -> None:
    refused = shop.delete("/placements/cheap")
    assert refused.status_code == 409
    assert "page alike, home shows placement 'cheap'" in refused.json()["detail"]


def test_placements_and_shelves_of_pages_take_all_shaping_parameters(shop: Shop) -> None:
    shaped = {"explore": 0.5, "rotation": "1d", "exclude": "none", "k": 4}
    group_by = {"field": "categories", "choose": {"field": "price", "order": "asc"}}
    put(shop, "placements/explored", shaped)
    shelves = [
        {"name": "explored", "placement": "explored"},
        {"name": "cheapest", "group_by": group_by, "k": 2, "exclude": "none"},
        {"name": "certain", "min_score": "high", "k": 40, "exclude": "none"},
    ]
    put(shop, "pages/shaped", {"shelves": shelves, "distinct": False})
    first, again = (page(shop, page="shaped", seed=3)["shelves"] for _ in range(2))
    assert [shelf["items"] for shelf in first] == [shelf["items"] for shelf in again]
    assert [item["reason"] for item in first[0]["items"]].count("explored") == 2
    assert set(ids(first[1])) == {"odd-00", "even-00"}
    assert "min_score high asks for" in first[2]["shortfall"]["reason"]
    alone = shop.post("/recommend", {"user_id": "odd-user-3", "placement": "explored", "seed": 3}).json()
    assert ids(alone) == ids(first[0])


def test_pages_of_all_shelves_go_on_over_swaps_of_the_generation(shop: Shop, database: Database) -> None:
    """Together the shelves show every item once, whatever the generations rank."""
    shelves = [
        {"name": "all", "k": 5, "exclude": "none"},
        {"name": "odd", "k": 4, "filter": {"categories": "odd"}, "exclude": "none"},
        {"name": "popular", "k": 3, "strategy": "popular", "exclude": "none"},
    ]
    put(shop, "pages/long", {"shelves": shelves})
    shown, generations, cursors = list[str](), list[str](), dict[str, str]()
    for dim in (4, 2, None, None, None, None):
        answer = page(shop, page="long", cursors=cursors, shelves=[*cursors] or None)
        shown += [id_ for each in answer["shelves"] for id_ in ids(each)]
        generations.append(answer["generation"])
        cursors = answer["cursors"]
        if not cursors:
            break
        if dim is not None:
            reindex(database, shop.space, make("spectral", {"dim": dim}), shop.settings.generations, force=True)
            until = time.monotonic() + 60
            while page(shop)["generation"] == generations[-1] and time.monotonic() < until:
                time.sleep(0.05)
    assert len(set(generations)) == 3
    assert len(shown) == len(set(shown)) == 40
    reindex(database, shop.space, make("spectral", {"dim": 8}), shop.settings.generations, force=True)
