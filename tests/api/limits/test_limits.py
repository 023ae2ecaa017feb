"""Overload, slow clients, request ids and metrics, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.limits.slow_clients import HEADERS_S, SlowClientProtocol
from api.logs import VALID_REQUEST_ID, configure_logging
from api.server import bound, running
from engine.settings import Settings
from engine.store.database.connections import Database
from tests.api.conftest import Shop, listing
from tests.api.test_operations import eventually

DASHBOARD = Path(__file__).parent.parent.parent.parent / "operations" / "grafana.json"


@pytest.fixture
def narrow(database: Database, shop: Shop) -> Iterator[str]:
    """A server with two places and a queue of two, over the same shop."""
    settings = shop.settings.model_copy(
        update={"max_active": 2, "max_waiting": 2, "max_wait_s": 5.0, "max_body_s": 1.0, "max_body_bytes": 1000}
    )
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def answered(connection: socket.socket) -> bytes:
    """One answer to its end: head and body may come apart."""
    answer = b""
    while b"\r\n\r\n" not in answer and (part := connection.recv(4000)):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    n_bytes = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < n_bytes and (part := connection.recv(4000)):
        body += part
    return head + b"\r\n\r\n" + body


def test_at_ten_times_the_capacity_accepted_requests_are_answered_and_the_rest_gets_429(narrow: str) -> None:
    async def flood() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            asked = [client.get(narrow + "/recommend", params={"user_id": "odd-user-1", "k": 5}) for _ in range(200)]
            return await asyncio.gather(*asked)

    answers = asyncio.run(flood())
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() == {200, 429}
    assert statuses[200] >= 4
    for answer in answers:
        if answer.status_code == 200:
            assert len(answer.json()["items"]) == 5
        else:
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["title"] == "Too Many Requests"
    after = httpx.get(narrow + "/recommend", params={"user_id": "odd-user-1"})
    assert after.status_code == 200
    root = narrow.rsplit("/v1/", 1)[0]
    assert (
        f'nearfield_refused_requests_total{{status="429"}} {float(statuses[429])}' in httpx.get(root + "/metrics").text
    )


def test_slow_headers_close_the_connection(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowClientProtocol, "headers_s", 0.3)
    with connected(narrow) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert slow.recv(100) == b""
        assert time.monotonic() - started < HEADERS_S - 1


TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


@pytest.mark.parametrize(
    ("begin", "line"),
    [("GET /healthz HTTP/1.1\r\n", "X-Much: "), ("GET /healthz HTTP/1.1\r\n", "X-Some: 1\r\n"), ("GET /", "a")],
    ids=["one without an end", "ever more of them", "an address"],
)
def test_endless_headers_get_431_and_other_connections_go_on(
    narrow: str, begin: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowClientProtocol, "headers_s", 2.0)
    with connected(narrow) as endless:
        endless.sendall(begin.encode())
        time.sleep(0.05)
        for _ in range(40):
            endless.sendall((line * 10_000)[:10_000].encode())
        answer = answered(endless)
        assert endless.recv(100) == b""
    assert answer.startswith(TOO_LONG)
    assert b"expected a URL and headers of at most 65,536 bytes" in answer
    assert httpx.get(narrow + "/recommend", params={"k": 1}).status_code == 200


@pytest.mark.parametrize(("n_bytes", "status"), [(60_000, b"200"), (70_000, b"431")])
@pytest.mark.parametrize("in_parts", [False, True])
def test_the_header_limit_does_not_depend_on_the_size_of_reads(
    narrow: str, n_bytes: int, status: bytes, in_parts: bool
) -> None:
    parts = (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Much: ", b"y" * n_bytes, b"\r\n\r\n")
    with connected(narrow) as long:
        for _ in range(3 if status == b"200" else 1):  # each request is counted by itself
            for part in parts if in_parts else (b"".join(parts),):
                long.sendall(part)
                time.sleep(0.05 if in_parts else 0)
            assert answered(long).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("line", ["X-Much: ", "X-Some: 1\r\n"], ids=["one without an end", "ever more of them"])
def test_endless_trailers_close_the_connection(narrow: str, line: str) -> None:
    head = f"POST {urlsplit(narrow).path}/recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    much = (line * 10_000)[:10_000].encode()
    with connected(narrow) as endless:
        endless.sendall(head.encode() + much)
        with pytest.raises(ConnectionError):
            endless.sendall(much * 4000)  # 40 MB


def test_a_body_in_many_reads_does_not_count_as_headers(narrow: str) -> None:
    with connected(narrow) as long:
        long.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n")
        for _ in range(9):
            long.sendall(b"y" * 100)
            time.sleep(0.01)
        assert long.recv(4000).startswith(b"HTTP/1.1 200")


def test_the_response_before_endless_headers_is_still_sent(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse, refused = SlowClientProtocol._reject_headers, threading.Event()

    def refusing(connection: SlowClientProtocol) -> None:
        refuse(connection)
        refused.set()

    def held(*args: object, **options: object) -> list[object]:
        assert refused.wait(20)
        return []

    listing(monkeypatch, held)
    monkeypatch.setattr(SlowClientProtocol, "_reject_headers", refusing)
    with connected(narrow) as both:
        both.sendall(f"GET {urlsplit(narrow).path}/generations HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        both.sendall(b"GET /healthz HTTP/1.1\r\nX-Much: " + b"y" * 1_000_000)  # more than one read takes
        answer = b""
        while part := both.recv(4000):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"431" not in answer


def test_a_slow_body_gets_408(narrow: str) -> None:
    path = urlsplit(narrow).path
    with connected(narrow) as slow:
        head = (
            f"POST {path}/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"
        )
        slow.sendall(head.encode() + b"{")
        answer = answered(slow)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 1 s" in answer


def test_slow_bodies_hold_no_concurrency_slot(shop: Shop, database: Database) -> None:
    settings = shop.settings.model_copy(update={"max_active": 1, "max_waiting": 0, "max_body_s": 20.0})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
        slow = [connected(url) for _ in range(4)]
        for each in slow:
            head = f"POST {urlsplit(url).path}/recommend HTTP/1.1"
            each.sendall("\r\n".join([head, "Host: x", "Content-Length: 90", "", "{"]).encode())
        time.sleep(0.2)
        started = time.monotonic()
        statuses = [httpx.get(url + "/recommend", params={"k": 1}, timeout=30).status_code for _ in range(20)]
        assert time.monotonic() - started < 15
        assert statuses == [200] * 20
        for each in slow:
            each.close()


def taken(url: str) -> bool:
    answer = httpx.get(url + "/recommend", timeout=30)
    assert answer.status_code in (200, 429)
    return answer.status_code == 429


def test_a_client_that_does_not_read_responses_holds_no_slot(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SlowClientProtocol, "unread_s", 1.0)
    settings = shop.settings.model_copy(update={"max_active": 1, "max_waiting": 0})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
        with connected(url) as deaf:
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 300)  # more than the sockets hold
            eventually(lambda: taken(url))
            eventually(lambda: not taken(url))
    assert not caplog.records


def test_a_client_that_disconnects_during_its_body_is_no_error(narrow: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    with connected(narrow) as leaving:
        head = f"POST {urlsplit(narrow).path}/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{{"
        leaving.sendall(head.encode())
        time.sleep(0.1)
    counted = 'nearfield_request_seconds_count{method="POST",route="none",status="499"} 1.0'
    eventually(lambda: counted in httpx.get(narrow.rsplit("/v1/", 1)[0] + "/metrics", timeout=30).text)
    [line] = [json.loads(line) for line in "".join(capfd.readouterr()).splitlines() if '"POST"' in line]
    assert (line["status"], line["level"]) == (499, "debug")


def test_a_body_that_no_route_reads_has_the_same_time_limit(narrow: str) -> None:
    with connected(narrow) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert slow.recv(4000).startswith(b"HTTP/1.1 408")


def test_a_request_that_waited_too_long_gets_503(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, late = threading.Event(), threading.Event()

    def held(*args: object, **options: object) -> list[object]:
        begun.set()
        late.wait(20)
        return []

    listing(monkeypatch, held)
    settings = shop.settings.model_copy(update={"max_active": 1, "max_waiting": 5, "max_wait_s": 0.1})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(httpx.get, url + "/generations", timeout=30)
            assert begun.wait(20)
            answer = httpx.get(url + "/recommend", timeout=30)
            late.set()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert first.result().status_code == 200


def test_a_keep_alive_connection_may_idle_between_requests(narrow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowClientProtocol, "headers_s", 1.0)
    with httpx.Client() as client:
        for _ in range(2):
            assert client.get(narrow + "/recommend", params={"k": 1}).status_code == 200
            time.sleep(1.5)  # longer than headers may take


def test_every_response_has_the_id_of_its_request(shop: Shop) -> None:
    url = shop.url + "/recommend"
    assert httpx.get(url, headers={"X-Request-ID": "from.the-shop_7"}).headers["X-Request-ID"] == "from.the-shop_7"
    for strange in ("with space", "x" * 65, 'quo"te'):
        made = httpx.get(url, headers={"X-Request-ID": strange}).headers["X-Request-ID"]
        assert made != strange
        assert VALID_REQUEST_ID.fullmatch(made)


def test_a_failure_is_logged_with_its_id_and_without_the_key(
    shop: Shop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> list[object]:
        raise RuntimeError("the disk is on fire")

    listing(monkeypatch, broken)
    configure_logging()
    headers = {"Authorization": "Bearer nf_secret", "X-Request-ID": "abc-1"}
    answer = httpx.get(shop.url + "/generations", headers=headers)
    assert answer.status_code in (401, 500)
    if answer.status_code == 401:  # another test has made a key
        answer = httpx.get(shop.url + "/generations", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert answer.json()["title"] == "Internal Server Error"
    text = "".join(capfd.readouterr())
    assert "nf_secret" not in text
    assert "disk is on fire" in text
    [failure] = [json.loads(line) for line in text.splitlines() if "disk is on fire" in line]
    assert failure["request_id"] == "abc-1"


def test_searches_are_timed_by_strategy_and_the_view_has_gauges(shop: Shop) -> None:
    shop.get("/recommend", params={"user_id": "odd-user-1"})
    metrics = httpx.get(shop.url.rsplit("/v1/", 1)[0] + "/metrics").text
    name = shop.space.name
    assert f'nearfield_search_seconds_count{{space="{name}",strategy="exact"}}' in metrics
    for gauge in ("delta_share", "tombstone_share", "stale", "live_refreshed_timestamp_seconds"):
        assert f'nearfield_{gauge}{{space="{name}"}}' in metrics


def test_every_metric_of_the_dashboard_exists(shop: Shop) -> None:
    metrics = httpx.get(shop.url.rsplit("/v1/", 1)[0] + "/metrics").text
    asked = {
        name
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"nearfield_\w+", target["expr"])
    }
    assert len(asked) >= 10
    there = set(re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert families - there - {f"{each}_total" for each in there} == set()


def test_the_gauge_of_gpu_memory_exists_only_while_a_gpu_searches_and_its_driver_answers(
    shop: Shop, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = 'nearfield_gpu_free_bytes{gpu="1"}'
    assert told not in httpx.get(shop.url.rsplit("/v1/", 1)[0] + "/metrics", timeout=30).text
    driver = tmp_path / "nvidia-smi"  # stands in for the program: most machines of tests have none
    driver.write_text('#!/bin/sh\n[ "$1" = --id=1 ] && echo 70000\n')
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    settings = shop.settings.model_copy(update={"device": "cuda:1"})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        values = re.findall(rf"^{re.escape(told)} (.+)$", httpx.get(url, timeout=30).text, re.MULTILINE)
        assert [float(value) for value in values] == [70000 * 2**20]
        driver.write_text("#!/bin/sh\nexit 9\n")
        assert told not in httpx.get(url, timeout=30).text


def test_settings_set_the_limits(shop: Shop) -> None:
    assert Settings(max_active=3).max_active == 3
    with pytest.raises(ValueError, match="max_active"):
        Settings(max_active=0)
