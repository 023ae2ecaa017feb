"""PostgreSQL is frozen on a live host: the kernel acknowledges packets, and no query is answered.

Every route of the OpenAPI document is still answered within seconds, also a route that is added later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.auth import LOOKUP_TIMEOUT_S
from api.coalescing.history_reader import MAX_WAIT_S
from api.limits.executors import EVENT_WRITERS, KEY_LOOKUPS, LONG_READERS, READERS, WRITERS
from engine.settings import Settings
from engine.store import events, spaces
from engine.store.database.connections import Database
from engine.store.database.liveness_probe import TIMEOUT_S
from tests.api.faults.test_database_stopped import written_and_shown
from tests.api.faults.test_durability import end, free_port, start
from tests.api.routes.test_min_seq import BODIES, PATHS, QUERIES, READS, SPACE, WRITTEN
from tests.api.test_operations import eventually

WATCHING = {("get", "/healthz"), ("get", "/metrics")}
WITHOUT_POSTGRES = {  # answered as stale
    ("get", SPACE + "/recommend"),
    ("post", SPACE + "/recommend"),
    ("post", SPACE + "/recommend/batch"),
    ("get", SPACE + "/recommend/values"),
    ("post", SPACE + "/page"),
    ("post", SPACE + "/rank"),
    ("get", SPACE + "/search"),
    ("post", SPACE + "/search"),
    ("get", SPACE + "/items/{item_id}/similar"),
}
USER = "odd-user-1"
OF_A_USER = {
    "/recommend": {"user_id": USER},
    "/rank": {"user_id": USER},
    "/recommend/batch": {"shelves": [{"user_id": USER}]},
    "/recommend/values": {"user_id": USER},
    "/page": {"user_id": USER},
}
WRITING: dict[str, dict[str, Any]] = WRITTEN | {
    "/events": {"events": [{"user_id": "pair", "item_id": f"odd-0{n}", "event_id": f"pair-{n}"} for n in (1, 2)]},
    "/items": {"items": [{"item_id": "spare"}]},
    "/users/{user_id}/merge": {"from_user_id": "nobody"},
    "/v1/keys": {"scope": "read", "label": "ours", "space": "spare"},
}
Answers = dict[tuple[str, str], httpx.Response]
pytestmark = pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="freezes a PostgreSQL of its own")


@dataclass(frozen=True)
class Server:
    client: httpx.Client
    process: psutil.Process
    home: Path
    generation: str

    @property
    def shop(self) -> str:
        return str(self.client.base_url).rstrip("/") + "/v1/default"

    def ask_all(self, only: set[tuple[str, str]] | None = None, **fresh: object) -> Answers:
        """Send the requests of all routes concurrently, or of `only` some; returns each answer with its duration."""
        routes = [(method, path) for path, operations in PATHS.items() for method in operations]
        asked = routes if only is None else [route for route in routes if route in only]
        with ThreadPoolExecutor(len(asked)) as pool:
            return dict(zip(asked, pool.map(lambda route: self.ask(*route, **fresh), asked), strict=True))

    def ask(self, method: str, path: str, **fresh: object) -> httpx.Response:
        """Send one request. A write changes only data of this test, because it may succeed in spite of the error."""
        rest = path.removeprefix(SPACE)
        reads = method == "get" or rest in BODIES
        names = {"item_id": "odd-01" if reads else "spare", "user_id": USER if reads else "spare"}
        names["name"] = "mine" if reads else "spare"
        names |= {"space": "spare" if (method, rest) == ("delete", "") else "default", "generation": self.generation}
        url = path.format(version=1, key_id="spare", **names)
        body = BODIES.get(rest, {}) | OF_A_USER.get(rest, {}) if reads else WRITING.get(rest, {})
        if method == "get":
            return self.client.get(url, params=QUERIES.get(rest, {}) | OF_A_USER.get(rest, {}) | fresh)
        return self.client.request(method, url, json=body | fresh if method in ("post", "put") else None)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend PostgreSQL; the postmaster first, so that it starts no child afterwards."""
        main = psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))
        main.suspend()
        stopped = [main, *main.children(recursive=True)]
        try:
            for each in stopped:
                each.suspend()
            yield
        finally:
            for each in reversed(stopped):
                each.resume()

    def n_connections(self) -> int:
        return len([each for each in self.process.net_connections("unix") if ".s.PGSQL" in str(each.raddr)])


@pytest.fixture(scope="module")
def server(own: tuple[Settings, Database]) -> Iterator[Server]:
    settings, database = own
    with database.begin() as conn:
        spaces.ensure(conn, "spare")
    port, log = free_port(), settings.home / "frozen.log"
    variables = {"NEARFIELD_DATABASE_URL": database.url, "NEARFIELD_POLL_S": "0.3", "NEARFIELD_MAX_ACTIVE": "100"}
    with log.open("w") as written:
        process = start(settings.home, port, log=written, **variables)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=httpx.Limits()) as client:
            generation = client.get("/v1/default/status").json()["generation"]
            assert client.put("/v1/default/pages/mine", json=WRITTEN["/pages/{name}"]).status_code == 200
            yield Server(client, psutil.Process(process.pid), settings.home, generation)
    finally:
        end(process)
    assert "Traceback" not in log.read_text()


def describe(method: str, path: str, answer: httpx.Response) -> str:
    return f"{method} {path}: {answer.status_code} after {answer.elapsed.total_seconds():.1f} s, {answer.text[:200]}"


def check_answers(answers: Answers, *, within_s: float) -> None:
    """Check that each answer is in time: data that needs no PostgreSQL, or an error that it is unreachable."""
    for (method, path), answer in answers.items():
        what = describe(method, path, answer)
        assert answer.elapsed.total_seconds() < within_s, what
        if (method, path) in WATCHING | WITHOUT_POSTGRES:
            assert answer.status_code == 200, what
        elif answer.status_code != 409:  # the model has no codec, known without PostgreSQL
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1"), what
            assert answer.headers["Content-Type"] == "application/problem+json", what


def test_every_route_responds_while_postgres_is_frozen_and_recovers(
    server: Server, own: tuple[Settings, Database]
) -> None:
    server.ask_all(WITHOUT_POSTGRES)
    n_threads, n_connections = server.process.num_threads(), server.n_connections()
    with server.frozen():
        check_answers(server.ask_all(), within_s=15)
        answers = server.ask_all()
        check_answers(answers, within_s=min(LOOKUP_TIMEOUT_S, MAX_WAIT_S))  # no request waits for PostgreSQL again
        assert [route for route in WITHOUT_POSTGRES if not answers[route].json()["stale"]] == []
        assert (
            server.process.num_threads() <= n_threads + READERS + LONG_READERS + WRITERS + EVENT_WRITERS + KEY_LOOKUPS
        )
        assert server.n_connections() <= n_connections
    thawed = time.monotonic()
    eventually(lambda: written_and_shown(server.shop, "thawed"))
    eventually(lambda: not server.client.get("/v1/default/status").json()["stale"])
    assert time.monotonic() - thawed < 10
    with own[1].connect() as conn:
        pair = events.history(conn, spaces.get(conn, "default").key, "pair", 10)
    assert len(pair) in (0, 2), "all of what was asked for, or nothing of it"
    assert {answer.status_code for answer in server.ask_all(WITHOUT_POSTGRES).values()} == {200}


def test_every_read_meets_its_deadline_before_the_freeze_is_detected(server: Server) -> None:
    with server.frozen():
        answers = server.ask_all({(method, SPACE + path) for method, path in READS}, deadline_ms=500)
    for (method, path), answer in answers.items():
        what = describe(method, path, answer)
        assert answer.elapsed.total_seconds() < 5 * TIMEOUT_S, what  # all reads at once, on a busy machine
        assert answer.status_code in (200, 409) or answer.headers.get("Retry-After") == "1", what
    eventually(lambda: written_and_shown(server.shop, "thawed-again"))
