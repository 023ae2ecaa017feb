"""Writes that wait for a lock of another transaction, such as an import."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api import auth
from api.app import LOCK_TIMEOUT_S as LONGEST_WAIT_S
from api.app import open_server_database
from api.limits import deadline, deadline_route
from api.limits.executors import WRITERS
from api.server import bound, running
from engine.settings import Settings
from engine.store import items
from engine.store.database.connections import Database
from engine.values.items import Item
from tests.api.conftest import Shop
from tests.api.faults.test_durability import waiting_for_locks
from tests.api.routes.test_min_seq import READS, ask
from tests.api.test_operations import eventually

MANY = 3 * WRITERS
MORE = 40  # than the gate has places
LOCK_S = 0.5
APART_S = 0.02


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.url, timeout=30) as made:
        yield made


@contextmanager
def held_up(client: httpx.Client, database: Database, names: list[str]) -> Iterator[list[Future[httpx.Response]]]:
    """More writes than there are threads for, until the block ends."""
    with ThreadPoolExecutor(len(names)) as pool, database.begin() as conn:
        conn.exec_driver_sql("LOCK TABLE items IN EXCLUSIVE MODE")
        yield list(_one_after_another(pool, client, names))


def _one_after_another(
    pool: ThreadPoolExecutor, client: httpx.Client, names: list[str]
) -> Iterator[Future[httpx.Response]]:
    """At once, more than the gate lets in would be refused by it."""
    for name in names:
        yield pool.submit(client.put, f"/items/{name}", json={})
        time.sleep(APART_S)


def test_every_read_works_while_writes_wait_for_a_lock(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "CACHE_S", 0.0)  # keys are asked for each time
    assert client.put("/items/beside", json={"vector": [1.0] * 8}).status_code == 200  # reads leave the event loop
    with held_up(client, database, [f"held-{n}" for n in range(MORE)]) as answers:
        eventually(lambda: waiting_for_locks(database) == WRITERS)
        for method, path in READS:
            answer = ask(client, method, path)
            assert answer.status_code < 500, answer.text
            assert answer.elapsed.total_seconds() < LONGEST_WAIT_S, path
        assert sum(not answer.done() for answer in answers) > Settings().max_active
    assert {answer.result().status_code for answer in answers} <= {200, 503}  # one may have had no turn
    assert client.put("/items/held-after", json={}).status_code == 200


def test_more_blocked_writes_than_allowed_are_rejected_at_once_and_reads_go_on(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_route, "MAX_BLOCKED", WRITERS)
    with held_up(client, database, [f"first-{n}" for n in range(MANY)]) as answers:
        eventually(lambda: waiting_for_locks(database) == WRITERS)

        def refused() -> bool:
            try:
                answer = client.put("/items/one-more", json={}, timeout=1)
            except httpx.TimeoutException:  # one of those that may wait
                return False
            assert answer.status_code == 503, "it cannot be written"
            return f"{WRITERS} writes wait for other transactions" in answer.json()["detail"]

        eventually(refused)
        assert client.get("/search?item_id=odd-01").status_code == 200
    assert {answer.result().status_code for answer in answers} <= {200, 503}
    assert client.put("/items/one-more", json={}).status_code == 200


def test_a_read_after_a_write_on_the_same_connection_runs_in_the_readers_pool(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, names = httpx.URL(shop.url), list[str]()
    whole = items.get

    def get(*asked: Any) -> Item:
        names.append(threading.current_thread().name)
        return whole(*asked)

    monkeypatch.setattr(items, "get", get)
    wire = "".join(
        f"{method} {url.path}{path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
        for method, path, body in (("PUT", "/items/before-it", "{}"), ("GET", "/items/odd-01", ""))
    )
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(wire.encode())
        told = b""
        while told.count(b"HTTP/1.1 200") < 2:
            part = connection.recv(65_536)
            assert part, told
            told += part
    [name] = names
    assert name.startswith("nearfield-reader")


def test_timed_out_writes_get_503_and_those_still_queued_are_never_carried_out(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for each thread to begin one, on a busy machine too.
    monkeypatch.setattr(deadline, "DEFAULT_DEADLINE_S", 3.0)
    names = [f"late-{n}" for n in range(MANY)]
    with held_up(client, database, names) as waiting:
        eventually(lambda: waiting_for_locks(database) == WRITERS)
        answers = [each.result() for each in waiting]
    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "may have been carried out, or may still be" in answer.json()["detail"]
        assert answer.elapsed.total_seconds() < LONGEST_WAIT_S
    monkeypatch.undo()
    assert client.put("/items/after", json={}).status_code == 200

    def n_written() -> int:
        return [client.get(f"/items/{name}").status_code for name in names].count(200)

    eventually(lambda: n_written() == WRITERS)
    time.sleep(0.1)
    assert n_written() == WRITERS


@pytest.fixture(scope="module")
def soon(shop: Shop, database: Database) -> Iterator[httpx.Client]:
    """Of a server that waits for no other transaction for long."""
    hasty = Database(database.url, lock_s=LOCK_S)
    try:
        with bound("127.0.0.1", 0) as listener, running(shop.settings, hasty, listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
            with httpx.Client(base_url=url, timeout=30) as made:
                yield made
    finally:
        hasty.close()


def test_a_write_of_a_locked_row_gets_503_and_other_writes_succeed(
    soon: httpx.Client, shop: Shop, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = soon.get("/items/odd-01").json()
    with database.begin() as conn:
        touch = "UPDATE items SET updated_at = now() WHERE space_key = %s AND item_id = 'odd-01'"
        conn.exec_driver_sql(touch, (shop.space.key,))
        for answer in (
            soon.put("/items/odd-01", json={"title": "Changed"}),
            soon.post("/items/availability", json={"items": [{"item_id": "odd-01", "available": False}]}),
        ):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), answer.text
            assert "nothing was done, try again" in answer.json()["detail"]
            assert LOCK_S <= answer.elapsed.total_seconds() < LONGEST_WAIT_S
        assert soon.put("/items/odd-02", json={"title": "Changed"}).status_code == 200
        assert soon.get("/recommend", params={"user_id": "odd-user-1"}).json()["stale"] is False
    assert soon.get("/items/odd-01").json() == before
    assert soon.put("/items/odd-01", json={"title": "Changed"}).status_code == 200
    assert "PostgreSQL is unreachable" not in capsys.readouterr().out


def test_the_database_of_a_server_has_the_lock_timeout(own: tuple[Settings, Database]) -> None:
    settings = own[0].model_copy(update={"database_url": SecretStr(own[1].url)})
    with open_server_database(settings) as served:
        for _ in range(2):  # as a new connection, and again from the pool
            with served.connect() as conn:
                assert conn.exec_driver_sql("SHOW lock_timeout").scalar_one() == f"{LONGEST_WAIT_S:g}s"
