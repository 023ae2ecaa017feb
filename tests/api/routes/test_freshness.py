"""A write returns its seq; a read with that `min_seq` shows the write or says why not."""

from __future__ import annotations

import secrets

import pytest

from engine.store import items
from engine.store.change_feeds.snapshots import transaction_seq
from engine.store.database.connections import Database
from indexing.building.build import build_generation
from tests.api.conftest import Shop


def test_every_write_returns_a_growing_seq(shop: Shop) -> None:
    name = f"seq-{secrets.token_hex(4)}"
    answers = [
        shop.put(f"/items/{name}", {}),
        shop.post("/items", [{"item_id": name, "title": "T"}]),
        shop.post("/items/availability", {"items": [{"item_id": name, "available": False}]}),
        shop.post("/events", [{"user_id": name, "item_id": name}]),
        shop.put(f"/users/{name}", {}),
        shop.delete(f"/users/{name}"),
        shop.delete(f"/items/{name}"),
    ]
    seqs = [answer.json()["seq"] for answer in answers]
    assert seqs == sorted(set(seqs))


def test_a_read_with_min_seq_shows_what_another_process_wrote(shop: Shop, database: Database) -> None:
    for turn in range(20):
        name = f"elsewhere-{turn}-{secrets.token_hex(4)}"
        with database.begin() as conn:  # as another worker or an import does; nobody tells this server
            items.upsert(conn, shop.space.key, [items.Item(name)])
            seq = transaction_seq(conn)
        body = shop.get("/recommend", params={"k": 1, "fill": "new", "min_seq": seq}).json()
        assert [item["item_id"] for item in body["items"]] == [name]
        with database.begin() as conn:
            items.delete(conn, shop.space.key, name)
            seq = transaction_seq(conn)
        body = shop.post("/recommend", {"k": 1, "fill": "new", "min_seq": seq}).json()
        assert name not in [item["item_id"] for item in body["items"]]


def test_an_item_hidden_by_a_write_below_min_seq_is_not_shown(shop: Shop, database: Database) -> None:
    for turn in range(3):
        name, other = (f"{what}-{turn}-{secrets.token_hex(4)}" for what in ("hidden", "other"))
        shop.put(f"/items/{name}", {})
        with database.begin() as conn:  # as one of many rows, which goes on while the server looks at what changed
            items.set_availability(conn, shop.space.key, {name: False})
            lower = transaction_seq(conn)
            higher = shop.put(f"/items/{other}", {}).json()["seq"]
            asked = {"k": 50, "fill": "new", "min_seq": higher}
            before = shop.get("/recommend", params=asked).json()
        assert lower < higher
        assert name in [item["item_id"] for item in before["items"]]
        after = shop.get("/recommend", params=asked).json()
        assert name not in [item["item_id"] for item in after["items"]]


def test_min_seq_and_deadline_are_checked(shop: Shop) -> None:
    for text in ("min_seq=-1", "min_seq=x", "min_seq=9223372036854775808", "deadline_ms=0", "deadline_ms=60001"):
        assert shop.get(f"/recommend?{text}").status_code == 422, text


def test_an_item_has_the_vector_of_its_write(shop: Shop) -> None:
    name = f"own-{secrets.token_hex(4)}"
    vector = [0.5, -0.25, 0.125, 1, 0, 0, 0, 2]
    seq = shop.put(f"/items/{name}", {"vector": vector}).json()["seq"]
    stored = shop.get(f"/items/{name}").json()
    assert (stored["vector"], stored["vector_model"]) == (vector, 1)
    found = shop.post("/search", {"vector": vector, "k": 1, "min_seq": seq}).json()["items"]
    assert [(item["item_id"], round(item["score"], 4)) for item in found] == [(name, 1.0)]
    assert shop.get(f"/items/{name}/similar", params={"k": 3}).json()["shortfall"] is None
    shop.put(f"/items/{name}", {"title": "without"})
    assert shop.get(f"/items/{name}").json()["vector"] is None
    shop.delete(f"/items/{name}")


@pytest.mark.parametrize("vector", [[0.1] * 7, [0.0] * 8, [1e300] * 8, [], ["a"] * 8])
def test_an_invalid_vector_is_rejected_with_its_place(shop: Shop, vector: object) -> None:
    response = shop.put("/items/odd-01", {"vector": vector})
    assert response.status_code == 422
    assert "vector" in response.json()["errors"][0]["loc"]
    rows = shop.post("/items", [{"item_id": "odd-01", "title": "Odd thing 1", "vector": vector}])
    assert rows.status_code == 422


def test_an_unavailable_item_is_not_ranked_as_an_unknown_item(shop: Shop) -> None:
    hidden, gone, stranger = (f"{what}-{secrets.token_hex(4)}" for what in ("hidden", "gone", "stranger"))
    rows = [{"item_id": hidden, "available": False}, {"item_id": gone, "available": False}]
    shop.post("/items", rows)
    seq = shop.delete(f"/items/{gone}").json()["seq"]
    asked = {"item_ids": [hidden, "odd-01", gone, stranger], "min_seq": seq}
    for user in ({"user_id": "odd-user-3"}, {}):
        body = shop.post("/rank", asked | user).json()
        assert [item["item_id"] for item in body["items"]] == ["odd-01", stranger]
        assert body["shortfall"]["returned"] == 2
    seq = shop.post("/items/availability", {"items": [{"item_id": hidden, "available": True}]}).json()["seq"]
    body = shop.get("/recommend", params={"k": 1, "fill": "new", "min_seq": seq}).json()
    assert [item["item_id"] for item in body["items"]] == [hidden]
    shop.delete(f"/items/{hidden}")


def test_an_item_deleted_before_the_build_is_not_ranked_as_an_unknown_item(shop: Shop, database: Database) -> None:
    gone, stranger = f"gone-{secrets.token_hex(4)}", f"stranger-{secrets.token_hex(4)}"
    shop.put(f"/items/{gone}", {})
    shop.delete(f"/items/{gone}")
    name = build_generation(database, shop.space, 1, shop.settings.generations)
    shop.post(f"/generations/{name}/activate", {})
    assert shop.get("/status").json()["generation"] == name
    for user in ({"user_id": "odd-user-3"}, {}):
        body = shop.post("/rank", {"item_ids": [gone, "odd-01", stranger]} | user).json()
        assert [item["item_id"] for item in body["items"]] == ["odd-01", stranger]
        assert body["shortfall"]["returned"] == 2
