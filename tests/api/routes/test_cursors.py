"""Cursors over HTTP: pages neither repeat nor skip, a swap of the generation included; foreign cursors are refused."""

from __future__ import annotations

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.embedders.registry import make
from engine.store import spaces
from engine.store.database.connections import Database
from indexing.building.reindex import reindex
from tests.api.conftest import Shop

ASKED = {"user_id": "odd-user-3", "exclude": "none"}


def id_of(item: dict) -> str:
    return item["item_id"]


def is_surely_ranked(item: dict) -> bool:
    """Whether the score is far from a rounding error, which is a matter of the width of the search."""
    return item["reason"] == "history" and item["score"] > 1e-3


def ids(answer: dict) -> list[str]:
    return [id_of(item) for item in answer["items"]]


@given(
    sizes=st.lists(st.integers(1, 15), min_size=1, max_size=9),
    asked=st.fixed_dictionaries(
        {},
        optional={
            "filter": st.sampled_from([{"price": {"lt": 11}}, {"categories": "odd"}]),
            "group_by": st.just("price"),
            "boost": st.just([{"filter": {"categories": "even"}, "factor": 3}]),
        },
    ),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_of_any_size_are_the_whole_shelf(shop: Shop, sizes: list[int], asked: dict) -> None:
    whole = shop.post("/recommend", ASKED | asked | {"k": 40}).json()["items"]
    paged, cursor = list[dict](), None
    for k in [*sizes, 40]:
        answer = shop.post("/recommend", ASKED | asked | {"k": k, "cursor": cursor}).json()
        paged += answer["items"]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert sorted(map(id_of, paged)) == sorted(map(id_of, whole))
    ranked = [[id_of(item) for item in items if is_surely_ranked(item)] for items in (paged, whole)]
    assert ranked[0] == ranked[1]
    assert ranked[0]


def test_a_cursor_of_another_shelf_is_refused(shop: Shop) -> None:
    cursor = shop.post("/recommend", ASKED | {"k": 3}).json()["cursor"]
    similar = shop.get("/search?item_id=odd-03&k=3").json()["cursor"]
    for path, body, message in (
        ("/recommend", ASKED | {"user_id": "odd-user-4", "cursor": cursor}, "another request"),
        ("/recommend", ASKED | {"cursor": similar}, "placement 'search'"),
        ("/search", {"item_id": "odd-03", "cursor": cursor}, "a shelf without a placement"),
        ("/search", {"item_id": "odd-04", "cursor": similar}, "another request"),
        ("/recommend", ASKED | {"cursor": cursor[:-2]}, "unchanged"),
    ):
        refused = shop.post(path, body)
        assert refused.status_code == 422, refused.text
        assert message in refused.json()["detail"]
        assert refused.json()["errors"][0]["loc"][-1] == "cursor"
    assert shop.post("/search", {"item_id": "odd-03", "cursor": similar}).status_code == 200
    assert shop.get(f"/items/odd-03/similar?cursor={similar}").status_code == 200


def test_each_shelf_of_a_batch_goes_on_with_its_cursor(shop: Shop) -> None:
    shelves = [ASKED | {"k": 4}, ASKED | {"k": 4, "filter": {"categories": "even"}}]
    first = shop.post("/recommend/batch", {"shelves": shelves}).json()["shelves"]
    more = [shelf | {"cursor": answer["cursor"]} for shelf, answer in zip(shelves, first, strict=True)]
    second = shop.post("/recommend/batch", {"shelves": more}).json()["shelves"]
    for shelf, one, two in zip(shelves, first, second, strict=True):
        assert ids(one) + ids(two) == ids(shop.post("/recommend", shelf | {"k": 8}).json())
    swapped = [shelf | {"cursor": answer["cursor"]} for shelf, answer in zip(shelves, reversed(first), strict=True)]
    refused = shop.post("/recommend/batch", {"shelves": swapped})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["body", "shelves", 0, "cursor"]


def test_cursors_survive_a_swap_of_the_generation(shop: Shop, database: Database) -> None:
    first = shop.post("/recommend", ASKED | {"k": 15}).json()
    reindex(database, shop.space, make("spectral", {"dim": 4}), shop.settings.generations, force=True)
    shown, answer = ids(first), first
    for _ in range(100):
        answer = shop.post("/recommend", ASKED | {"k": 15, "cursor": answer["cursor"]}).json()
        shown += ids(answer)
        if answer["cursor"] is None:
            break
    assert len(shown) == len(set(shown)) == 40


def test_every_space_has_a_secret_of_its_own(shop: Shop, database: Database) -> None:
    other = "cursors-other"
    with database.begin() as conn:
        made = spaces.ensure(conn, other)
    assert len(made.cursor_secret) == 32
    assert made.cursor_secret != shop.space.cursor_secret
    assert made.cursor_secret.hex() not in repr(made)
    cursor = shop.post("/recommend", {"k": 3}).json()["cursor"]
    refused = httpx.get(f"{shop.url.rpartition('/')[0]}/{other}/recommend", params={"cursor": cursor}, timeout=30)
    assert refused.status_code == 422
    assert "of this space" in refused.json()["detail"]
    with database.begin() as conn:
        spaces.delete(conn, other)
