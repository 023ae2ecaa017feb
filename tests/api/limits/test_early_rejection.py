"""Early rejection: a connection answers 429 without the app, in the same form as the app."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.limits.early_rejection import EarlyRejectionProtocol
from api.limits.slow_clients import HEADERS_S
from api.server import bound, running
from engine.store.database.connections import Database
from tests.api.conftest import Shop, listing
from tests.api.test_operations import eventually

BODY_S = 2.0  # that a refused body may take: long enough for the parts of one on a busy machine


class Occupied:
    """A server of one place, which a request holds until `freed`."""

    def __init__(self, url: str, freed: threading.Event):
        self.url, self.freed = url, freed
        self.root, self.path = url.rsplit("/v1/", 1)[0], urlsplit(url).path

    def free(self) -> None:
        self.freed.set()
        eventually(lambda: httpx.get(self.url + "/recommend", timeout=30).status_code == 200)

    def refused(self) -> float:
        name = 'nearfield_refused_requests_total{status="429"}'
        lines = httpx.get(self.root + "/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)

    def head(self, method: str, *lines: str, path: str = "/recommend", version: str = "1.1") -> bytes:
        return "\r\n".join([f"{method} {self.path}{path} HTTP/{version}", "Host: x", *lines, "", ""]).encode()


@contextmanager
def occupied(shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch, **limits: object) -> Iterator[Occupied]:
    begun, freed = threading.Event(), threading.Event()

    def held(*args: object, **options: object) -> list[object]:
        begun.set()
        freed.wait(60)
        return []

    listing(monkeypatch, held)
    settings = shop.settings.model_copy(update={"max_active": 1, "max_waiting": 0, **limits})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        server = Occupied(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}", freed)
        holder = threading.Thread(target=httpx.get, args=(server.url + "/generations",), kwargs={"timeout": 90})
        holder.start()
        assert begun.wait(30)
        try:
            yield server
        finally:
            freed.set()
            holder.join()


@pytest.fixture
def full(shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Occupied]:
    monkeypatch.setattr(EarlyRejectionProtocol, "headers_s", BODY_S)
    with occupied(shop, database, monkeypatch, max_body_bytes=1000) as server:
        yield server


class Wire:
    """A raw connection, and what came over it."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        self.socket.settimeout(30)
        self.socket.connect((parts.hostname, parts.port))
        self.read = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.read.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], Any]:
        """Status, headers, JSON."""
        status = int(self.read.readline().split()[1])
        headers = {}
        while line := self.read.readline().strip().decode():
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        return status, headers, json.loads(self.read.read(int(headers["content-length"]))) if body else None

    def ended(self) -> bool:
        return self.read.read(1) == b""


def test_an_early_rejection_equals_that_of_the_app_and_the_connection_stays_open(full: Occupied) -> None:
    before = full.refused()
    with Wire(full.url) as wire:
        for asked in ("mine-1", "mine-2"):
            wire.send(full.head("GET", f"X-Request-ID: {asked}"))
            status, headers, body = wire.answer()
            assert (status, headers["retry-after"], headers["x-request-id"]) == (429, "1", asked)
            assert headers["content-type"] == "application/problem+json"
            assert "date" in headers
            assert (body["status"], body["title"]) == (429, "Too Many Requests")
        assert full.refused() - before == 2
        full.free()
        wire.send(full.head("GET"))
        status, headers, body = wire.answer()
        assert status == 200
        assert body["items"]


def test_the_body_of_a_rejected_request_is_dropped(full: Occupied) -> None:
    body = b'{"user_id": "odd-user-1"}'
    head = full.head("POST", "Content-Type: application/json", f"Content-Length: {len(body)}")
    with Wire(full.url) as wire:
        wire.send(head + body)
        assert wire.answer()[0] == 429
        wire.send(head)
        assert wire.answer()[0] == 429
        time.sleep(0.1)
        wire.send(body[:7])
        time.sleep(0.1)
        wire.send(body[7:])
        chunked = full.head("POST", "Content-Type: application/json", "Transfer-Encoding: chunked")
        wire.send(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert wire.answer()[0] == 429
        full.free()
        time.sleep(BODY_S + 0.1)
        wire.send(head + body)
        assert wire.answer()[0] == 200


def test_a_large_or_slow_body_of_a_rejected_request_closes_the_connection(full: Occupied) -> None:
    with Wire(full.url) as wire:
        wire.send(full.head("POST", "Content-Length: 5000"))
        assert wire.answer()[0] == 429
        wire.send(b"x" * 1500)
        assert wire.ended()
    with Wire(full.url) as wire:
        wire.send(full.head("POST", "Content-Length: 90"))
        assert wire.answer()[0] == 429
        started = time.monotonic()
        assert wire.ended()
        assert time.monotonic() - started < HEADERS_S - 1


@pytest.mark.parametrize(
    ("head", "lines", "rest"),
    [
        ("POST {path}/recommend", ["Content-Length: 4"], b"abcd"),
        ("GET {path}/recommend", [], b"\r\n"),
        ("POST /healthz", ["Content-Length: 2000"], b"abcd"),
    ],
    ids=["the body of a refused request", "an empty line", "a part of a body that is too large"],
)
def test_a_connection_with_partial_data_after_a_response_is_closed(
    full: Occupied, monkeypatch: pytest.MonkeyPatch, head: str, lines: list[str], rest: bytes
) -> None:
    monkeypatch.setattr(
        EarlyRejectionProtocol, "timeout_keep_alive", property(lambda self: 0.5, lambda self, seconds: None), False
    )
    with Wire(full.url) as wire:
        wire.send("\r\n".join([head.format(path=full.path) + " HTTP/1.1", "Host: x", *lines, "", ""]).encode())
        assert wire.answer()[0] in (413, 429)
        time.sleep(0.1)
        wire.send(rest)
        started = time.monotonic()
        assert wire.ended()
        assert time.monotonic() - started < 15  # of the 30 s that a connection is kept otherwise


def test_pipelined_requests_are_answered_in_their_order(full: Occupied) -> None:
    with Wire(full.url) as wire:
        get, post = full.head("GET"), full.head("POST", "Content-Length: 2") + b"{}"
        watched = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        wire.send(get + post + watched + get + get)
        assert [wire.answer()[0] for _ in range(3)] == [429, 429, 200]
        assert [wire.answer()[0] for _ in range(2)] == [429, 429]
        full.free()
        wire.send(get + get)
        assert [wire.answer()[0] for _ in range(2)] == [200, 200]


def test_thousands_of_pipelined_requests_with_late_reads_are_all_answered(full: Occupied) -> None:
    n = 30_000
    with Wire(full.url) as wire:
        sender = threading.Thread(target=wire.send, args=(full.head("GET", "X-Padding: " + 600 * "x") * n,))
        sender.start()
        time.sleep(0.5)
        assert sender.is_alive(), "the server reads no more than it can answer"
        assert httpx.get(full.root + "/healthz").status_code == 200
        assert [wire.answer()[0] for _ in range(n)] == [429] * n
        sender.join()


def test_a_rejected_head_request_has_no_body(full: Occupied) -> None:
    with Wire(full.url) as wire:
        wire.send(full.head("HEAD"))
        assert wire.answer(body=False)[0] == 429
        wire.send(full.head("GET"))
        assert wire.answer()[0] == 429


@pytest.mark.parametrize(
    ("lines", "version"),
    [(["Connection: close"], "1.1"), ([], "1.0"), (["Expect: 100-continue", "Content-Length: 90"], "1.1")],
)
def test_a_connection_without_keep_alive_is_closed(full: Occupied, lines: list[str], version: str) -> None:
    with Wire(full.url) as wire:
        wire.send(full.head("POST", *lines, version=version))
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (429, "close")
        assert wire.ended()


def test_a_closing_connection_reads_its_last_request_to_the_end_and_no_other(
    full: Occupied, caplog: pytest.LogCaptureFixture
) -> None:
    head = full.head("POST", "Connection: close", "Content-Length: 900")
    with Wire(full.url) as wire:
        wire.send(head)
        assert wire.answer()[0] == 429
        for _ in range(3):
            time.sleep(0.05)
            wire.send(300 * b"x")  # a broken pipe were it closed before
        assert wire.ended()
    before = full.refused()
    with Wire(full.url) as wire:
        wire.send(head + 900 * b"x" + full.head("GET") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer()[0] == 429
        assert wire.ended()
    assert full.refused() - before == 1
    assert not caplog.records


def test_health_checks_and_metrics_are_never_rejected(full: Occupied) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/healthz?a=1"):
        assert httpx.get(full.root + path).status_code == 200
    assert httpx.get(full.root + "/elsewhere").status_code == 429


def test_requests_that_never_reach_the_app_release_their_slots(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies that are too large, clients that go away at once or while they wait."""
    with occupied(shop, database, monkeypatch, max_waiting=3, max_wait_s=10.0, max_body_bytes=100) as server:
        for _ in range(6):
            with Wire(server.url) as wire:
                wire.send(server.head("POST", "Content-Length: 200") + b"x" * 200)
                assert wire.answer()[0] == 413
        leavers = [Wire(server.url) for _ in range(2)]
        for wire in leavers:
            wire.send(server.head("POST", "Content-Length: 2") + b"{}")
            wire.__exit__()
        server.free()
        for _ in range(6):
            assert httpx.post(server.url + "/recommend", json={}).status_code == 200
