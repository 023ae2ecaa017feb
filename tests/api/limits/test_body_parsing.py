"""Limits on the contents and memory of bodies, on a real server; parsing of large bodies."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.limits import body_parsing
from api.server import bound, running
from engine.store.database.connections import Database
from tests.api.conftest import Shop
from tests.api.limits.test_early_rejection import Wire
from tests.api.limits.test_limits import TOO_LONG, answered, connected
from tests.api.test_operations import eventually

LARGE = 900_000  # bytes; two of them are more than large bodies may take


@pytest.fixture(scope="module")
def roomy(shop: Shop, database: Database) -> Iterator[str]:
    """A server whose bodies may take 2 MB together."""
    settings = shop.settings.model_copy(update={"max_body_bytes": 10**6, "max_bodies_bytes": 2 * 10**6})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"


def head(url: str, path: str = "/events", *lines: str, n_bytes: int | None = LARGE, method: str = "POST") -> bytes:
    length = ["Transfer-Encoding: chunked"] if n_bytes is None else [f"Content-Length: {n_bytes}"]
    path = path if path.startswith("/healthz") else urlsplit(url).path + path
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *length, *lines, "", ""]).encode()


JSON = "Content-Type: application/json"


def test_large_bodies_beyond_the_memory_get_503_and_small_ones_are_accepted(roomy: str) -> None:
    def refused() -> bool:
        with Wire(roomy) as wire:
            wire.send(head(roomy, "/events", JSON))
            wire.socket.settimeout(1)
            try:
                status, headers, body = wire.answer()
            except TimeoutError:
                return False  # it is waited for
        assert (status, headers["retry-after"]) == (503, "1")
        assert "take all the memory" in body["detail"]
        return True

    with ExitStack() as stack:
        partial = [stack.enter_context(Wire(roomy)) for _ in range(3)]
        for wire in partial[:2]:
            wire.send(head(roomy, "/events", JSON) + LARGE // 2 * b" ")
        eventually(refused)
        partial[2].send(head(roomy, "/events", JSON, n_bytes=None) + b"%x\r\n" % LARGE + LARGE * b" ")
        assert partial[2].answer()[0] == 503  # it did not say before how long it is
        assert httpx.post(roomy + "/recommend", json={"k": 1}, timeout=30).status_code == 200
    eventually(lambda: not refused())


def test_a_body_that_no_route_reads_is_not_buffered(roomy: str) -> None:
    with ExitStack() as stack:
        for method, path in (("GET", "/healthz"), ("GET", "/recommend"), ("POST", "/nowhere"), ("PUT", "/recommend")):
            for _ in range(2):
                wire = stack.enter_context(Wire(roomy))
                wire.send(head(roomy, path, method=method) + (LARGE - 1) * b" ")
        with Wire(roomy) as wire:
            wire.send(head(roomy, "/events", JSON) + (LARGE - 2) * b" " + b"[]")
            assert wire.answer()[0] == 422
        with Wire(roomy) as wire:
            wire.send(head(roomy, "/healthz", method="GET") + LARGE * b" ")
            assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"[" * 200 + b"]" * 200, 422, "nests at most 100 deep"),
        (b"[" * 400_000, 422, "nests at most 100 deep"),
        (b'{"a": ' * 101 + b"1" + b"}" * 101, 422, "nests at most 100 deep"),
        (b'{"k": 1' + b"0" * 1000 + b"}", 422, "numbers of at most 1000 characters"),
        (b'{"k": [' + b"1," * 50_000 + b"-1." + b"5" * 998 + b"]}", 422, "numbers of at most 1000 characters"),
        (b"[" + b"[]," * 300_000 + b"[]]", 422, "at most 10000 events, got 300001"),
    ],
)
def test_the_contents_of_a_body_are_limited_before_objects_are_created(
    roomy: str, body: bytes, status: int, told: str
) -> None:
    answer = httpx.post(roomy + "/events", content=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code == status
    assert told in answer.json()["detail"]
    assert len(answer.json()["errors"]) <= 100


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 500_000 + b"[]]", b'{"a":{' + b",".join(b'"%x":1' % at for at in range(1_000_001)) + b"}}"],
    ids=["lists", "names"],
)
def test_the_number_of_lists_and_names_is_limited(body: bytes) -> None:
    with pytest.raises(body_parsing.BodyTooComplex, match=r"at most .* send several requests") as found:
        body_parsing.parse(body)
    assert found.value.status == 413


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/recommend", {f"{at}": 1 for at in range(2000)}, " or more unknown names or wrong values"),
        ("/recommend", {f"{at}": 1 for at in range(200)}, "there is no such parameter"),
        ("/recommend/batch", {"shelves": [{"a": 1, "b": 2}] * 600}, "got 1,200 or more"),
        ("/recommend", {"history": [{f"{at}": 1 for at in range(2000)}]}, "got 1,996 or more"),
        ("/events", [{f"{at}": 1 for at in range(2000)}], "got 1,992 or more"),
        ("/items", [{f"{at}": 1 for at in range(100)}] * 50, "has 101 fields"),
        ("/items/odd-01", {"categories": [1] * 50, "x": 1}, "Input should be a valid string"),
    ],
)
def test_of_very_many_errors_only_the_number_is_reported(shop: Shop, path: str, body: object, told: str) -> None:
    answer = httpx.request("PUT" if path.endswith("odd-01") else "POST", shop.url + path, json=body, timeout=30)
    assert answer.status_code == 422
    assert told in answer.json()["errors"][0]["msg"]
    assert len(answer.json()["errors"]) <= 100


def test_text_may_look_like_anything(roomy: str) -> None:
    for text in ("[" * 5000, "1" * 5000, '\\"[' * 5000, "\\\\" * 30_000 + "{" * 30_000):
        answer = httpx.post(roomy + "/events", json=[{"user_id": "u", "item_id": "i", "kind": text}], timeout=30)
        assert answer.status_code == 422
        assert "at most 64 characters" in answer.json()["errors"][0]["msg"]


def test_a_large_body_is_parsed_outside_the_event_loop(roomy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, load = set[str](), json.loads

    def loads(text: bytes) -> object:
        threads.add(threading.current_thread().name.rsplit("_", 1)[0])
        return load(text)

    monkeypatch.setattr(body_parsing.json, "loads", loads)
    rows = [{"user_id": f"user-{row}", "item_id": "odd-01", "event_id": f"large-{row}"} for row in range(3000)]
    assert httpx.post(roomy + "/events", json=rows, timeout=60).json()["accepted"] == 3000
    assert threads - {"MainThread"} == {"nearfield-body-parser"}  # and not of "nearfield-server", the event loop


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(value=VALUES, cut=st.integers(0, 10**6), put=st.sampled_from(["", ",", "]", "}", '"', "\\", "[", ":", " "]))
def test_piecewise_parsing_gives_the_same_value_or_error_as_json_loads(value: object, cut: int, put: str) -> None:
    whole = json.dumps(value, indent=cut % 2 or None)
    at = cut % (len(whole) + 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(body_parsing, "PIECE", 20)
        patched.setattr(body_parsing, "CHUNK", 16)
        assert body_parsing.parse(whole.encode()) == value
        for text in (whole[:at] + put + whole[at:], whole[:at] + whole[at + 1 :]):
            try:
                expected = json.loads(text)
            except ValueError:
                with pytest.raises(ValueError):  # noqa: PT011
                    body_parsing.parse(text.encode())
            else:
                assert body_parsing.parse(text.encode()) == expected


def test_utf_16_and_a_byte_order_mark_are_accepted() -> None:
    value = ["é" * 50_000, {"a": list(range(30_000))}]
    for encoding in ("utf-16", "utf-8-sig", "utf-32"):
        assert body_parsing.parse(json.dumps(value, ensure_ascii=False).encode(encoding)) == value


def test_a_trailer_is_not_a_header(roomy: str) -> None:
    body = b'{"k": 1}'
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    statuses = []
    for in_head, trailer in (([JSON], b""), ([], f"{JSON}\r\n".encode())):
        with Wire(roomy) as wire:
            wire.send(head(roomy, "/recommend", *in_head, n_bytes=None))
            wire.send(chunk + trailer + b"\r\n")
            statuses.append(wire.answer()[0])
    assert statuses == [200, 422]


def test_the_size_of_headers_includes_separators(roomy: str) -> None:
    def asked(n: int) -> bytes:
        with connected(roomy) as sender:
            sender.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * n)
            sender.sendall(b"\r\n")
            return answered(sender)

    assert asked(13_000).startswith(b"HTTP/1.1 200")
    assert asked(14_000).startswith(TOO_LONG)
    with socket.create_connection(("127.0.0.1", urlsplit(roomy).port)) as sender:
        sender.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 60_000)
        assert answered(sender).startswith(TOO_LONG)
