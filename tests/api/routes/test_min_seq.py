"""Every read of a space takes `min_seq` and `deadline_ms`: asked of the OpenAPI document, so a new route cannot forget.

An operation with a space in its path is a read unless it is named here as a write.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.coalescing.history_reader import HistoryReader
from api.merchandising import shelf_batch
from api.routes import recommend, search
from api.routes.merchandising import page
from engine.settings import Settings
from engine.store import items
from engine.store.change_feeds.snapshots import transaction_seq
from engine.store.database.connections import Database
from tests.api.conftest import Shop

FUTURE, SPACE = 10**12, "/v1/{space}"
WRITES = {
    "/events": {"post"},
    "/items": {"post"},
    "/items/availability": {"post"},
    "/items/{item_id}": {"put", "delete"},
    "/users/{user_id}": {"put", "delete"},
    "/users/{user_id}/erasure": {"delete"},
    "/users/{user_id}/merge": {"post"},
    "/generations/{generation}/activate": {"post"},
    "/segments/{name}": {"put", "delete"},
    "/segments/{name}/rollback": {"post"},
    "/placements/{name}": {"put", "delete"},
    "/placements/{name}/rollback": {"post"},
    "/pages/{name}": {"put", "delete"},
    "/pages/{name}/rollback": {"post"},
    "/rules/{name}": {"put", "delete"},
    "/rules/{name}/rollback": {"post"},
    "": {"put", "delete"},
}
WRITTEN: dict[str, dict[str, Any]] = {
    "/events": {"events": [{"user_id": "odd-user-1", "item_id": "odd-01"}]},
    "/items": {"items": [{"item_id": "odd-01"}]},
    "/items/availability": {"items": [{"item_id": "odd-01", "available": True}]},
    "/users/{user_id}/merge": {"from_user_id": "odd-user-2"},
    "/segments/{name}": {"of": "items", "filter": {"price": {"lt": 3}}},
    "/segments/{name}/rollback": {"version": 1},
    "/placements/{name}": {"k": 3},
    "/placements/{name}/rollback": {"version": 1},
    "/pages/{name}": {"shelves": [{"name": "best"}]},
    "/pages/{name}/rollback": {"version": 1},
    "/rules/{name}": {"then": {"caps": {"categories": 3}}},
    "/rules/{name}/rollback": {"version": 1},
}
QUERIES: dict[str, dict[str, Any]] = {"/search": {"item_id": "odd-01"}, "/recommend/values": {"field": "categories"}}
BODIES: dict[str, dict[str, Any]] = {
    "/recommend": {},
    "/recommend/batch": {"shelves": [{}]},
    "/rank": {"item_ids": ["odd-01"]},
    "/page": {"page": "mine"},
    "/search": {"item_id": "odd-01"},
    "/encode": {"record": {"heat": 1}},
    "/reconstruct": {"record": {"heat": 1}},
    "/anomalies": {"record": {"heat": 1}},
    "/decode": {"vector": [1.0]},
    "/interpolate": {"start": {"item_id": "odd-01"}, "end": {"item_id": "odd-02"}},
    "/sample": {},
    "/segments/{name}/dry-run": {"document": {"of": "items", "filter": {"price": {"lt": 3}}}},
    "/placements/{name}/dry-run": {"document": {"k": 3}},
    "/rules/{name}/dry-run": {"document": {"then": {"caps": {"categories": 3}}}},
    "/dry-run": {"placements": {"tried": {"k": 3}}},
}
MODULES = {"/search": search, "/recommend/batch": shelf_batch, "/page": page}  # that call the pipeline
PATHS = create_app(Settings()).openapi()["paths"]
READS = [
    (method, path.removeprefix(SPACE))
    for path, operations in PATHS.items()
    if path.startswith(SPACE)
    for method in operations
    if method not in WRITES.get(path.removeprefix(SPACE), ())
]
every_read = pytest.mark.parametrize(("method", "path"), READS, ids=[f"{method} {path}" for method, path in READS])


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[httpx.Client]:
    """Of a server with one preset of each kind, named `mine`, for the reads."""
    for path, note in {"segments": "title", "placements": "description", "pages": "description"}.items():
        answer = shop.put(f"/{path}/mine", WRITTEN[f"/{path}/{{name}}"] | {note: "for the reads"})
        assert answer.status_code == 200, answer.text
    assert shop.put("/rules/mine", WRITTEN["/rules/{name}"] | {"priority": 2}).status_code == 200
    with httpx.Client(base_url=shop.url, timeout=30) as made:
        yield made


def ask(client: httpx.Client, method: str, path: str, **fresh: object) -> httpx.Response:
    filled = path.format(item_id="odd-01", user_id="odd-user-1", name="mine", version=1)
    url = str(client.base_url).rstrip("/") + filled  # "" joined would ask for the space with a slash
    if method == "post":
        return client.post(url, json=BODIES[path] | fresh)
    return client.get(url, params=QUERIES.get(path, {}) | fresh)


def test_the_writes_named_here_exist() -> None:
    assert {(SPACE + path, method) for path, methods in WRITES.items() for method in methods} <= {
        (path, method) for path, operations in PATHS.items() for method in operations
    }
    assert len(READS) >= 24


def test_every_write_answers_with_its_seq(client: httpx.Client, shop: Shop) -> None:
    active = client.get("/status").json()["generation"]
    throwaway = f"{client.base_url}".rstrip("/") + "-throwaway"
    seqs = [client.put(throwaway).json()["seq"], client.delete(throwaway).json()["seq"]]
    for path, methods in WRITES.items():
        for method in sorted(methods, reverse=True):  # PUT before DELETE
            if (path, method) == ("", "delete"):
                continue
            url = shop.url + path.format(item_id="mine", user_id="me", name="mine", generation=active)
            body = WRITTEN.get(path, {} if method == "put" and path else None)
            answer = client.request(method, url, json=body)
            assert answer.status_code == 200, answer.text
            seqs.append(answer.json()["seq"])
    assert len(seqs) == sum(map(len, WRITES.values())) + 1
    assert seqs == sorted(set(seqs)), "each its own, later ones larger"


@every_read
def test_a_read_of_a_seq_that_nobody_wrote_is_unavailable_within_its_deadline(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = ask(client, method, path, min_seq=FUTURE, deadline_ms=200)
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"] == "1"
    passed = "the deadline of 200 ms has passed"  # on a busy machine before the read begins to wait
    assert any(each in answer.json()["detail"] for each in (f"asked for min_seq {FUTURE}", passed))
    assert answer.elapsed.total_seconds() < 10  # of the 30 s that one without a deadline has


@pytest.mark.parametrize("path", ["/recommend", "/recommend/batch", "/rank", "/search", "/page"])
def test_a_result_after_the_deadline_is_503(client: httpx.Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = MODULES.get(path, recommend)
    found, whole = [], module.recommend

    def slow(*args: Any, **options: Any) -> Any:
        found.append(whole(*args, **options))
        if len(found) == 2:
            time.sleep(1.1)
        return found[-1]

    monkeypatch.setattr(module, "recommend", slow)
    assert ask(client, "post", path, deadline_ms=10_000).status_code == 200
    answer = ask(client, "post", path, deadline_ms=1000)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"].startswith("the deadline of 1000 ms has passed")
    assert len(found) == 2, "it was in time when it began"


def test_no_search_begins_after_the_deadline(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = HistoryReader.read, []

    async def slow(self: HistoryReader, *question: Any) -> Any:
        await asyncio.sleep(0.15)
        return await whole(self, *question)

    monkeypatch.setattr(HistoryReader, "read", slow)
    monkeypatch.setattr(recommend, "_answered", lambda *args: asked.append(args))
    answer = client.get("/recommend", params={"user_id": "odd-user-1", "deadline_ms": 100})
    assert answer.status_code == 503
    assert asked == []


@every_read
def test_a_read_of_a_seq_that_was_written_elsewhere_is_answered(
    client: httpx.Client, shop: Shop, database: Database, method: str, path: str
) -> None:
    with database.begin() as conn:  # as another worker or an import does; nobody tells this server
        items.upsert(conn, shop.space.key, [items.Item(f"elsewhere-{secrets.token_hex(4)}")])
        seq = transaction_seq(conn)
    answer = ask(client, method, path, min_seq=seq, deadline_ms=10_000)
    # 409: a shop's model has no codec; 404: nobody made a map, nor was this user erased
    allowed = {409} if "latent" in PATHS[SPACE + path][method]["tags"] and method == "post" else {200}
    absent = path in ("/map", "/users/{user_id}/erasure")
    assert answer.status_code in ({404} if absent else allowed), answer.text


@every_read
@pytest.mark.parametrize("wrong", [{"min_seq": -1}, {"min_seq": "x"}, {"deadline_ms": 0}, {"minseq": 1}])
def test_an_invalid_seq_or_deadline_is_rejected_with_its_place(
    client: httpx.Client, method: str, path: str, wrong: dict[str, Any]
) -> None:
    answer = ask(client, method, path, **wrong)
    assert answer.status_code == 422, answer.text
    [name] = wrong
    assert answer.json()["errors"][0]["loc"][-1] == name
