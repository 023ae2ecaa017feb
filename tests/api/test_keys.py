"""Keys and scopes, on a database of their own: once a key exists, every request needs one."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Request

from api import auth
from api.app import create_app
from api.auth import CACHE_S, LOOKUP_TIMEOUT_S, MAX_LOOKUPS, Keyring, require
from api.server import bound, running, serve
from engine.errors import Conflict, StoreBusy, StoreUnavailable
from engine.settings import Settings
from engine.store import api_keys, spaces
from engine.store.database.connections import Database, open_database


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Database]]:
    settings = Settings(home=tmp_path_factory.mktemp("keys"))
    with open_database(settings) as opened:
        with opened.begin() as conn:
            spaces.ensure(conn, "default")
            spaces.ensure(conn, "other")
        yield settings, opened


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_opens_its_space_for_its_scope_and_nothing_else(
    own: tuple[Settings, Database], capfd: pytest.CaptureFixture[str]
) -> None:
    with bound("127.0.0.1", 0) as listener, running(*own, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert httpx.get(f"{url}/default/status").status_code == 200  # no key yet, on loopback: open
        admin = httpx.post(f"{url}/keys", json={"scope": "admin"}).json()
        time.sleep(CACHE_S + 0.1)
        closed = httpx.get(f"{url}/default/status")
        assert closed.status_code == 401
        assert closed.headers["www-authenticate"] == "Bearer"
        assert httpx.get(f"{url}/default/status", headers=bearer("nf_no_such")).status_code == 401
        assert httpx.get(f"{url}/default/status", headers={"Authorization": "Basic eA=="}).status_code == 401
        headers = bearer(admin["key"])
        made = {
            scope: httpx.post(f"{url}/keys", json={"scope": scope, "space": "default"}, headers=headers).json()["key"]
            for scope in ("read", "write")
        }
        event = [{"user_id": "u", "item_id": "i"}]
        assert httpx.get(f"{url}/default/recommend", headers=bearer(made["read"])).status_code == 200
        assert httpx.get(f"{url}/other/recommend", headers=bearer(made["read"])).status_code == 403
        assert httpx.post(f"{url}/default/events", json=event, headers=bearer(made["read"])).status_code == 403
        assert httpx.post(f"{url}/default/events", json=event, headers=bearer(made["write"])).status_code == 200
        assert httpx.delete(f"{url}/default", headers=bearer(made["write"])).status_code == 403
        assert httpx.get(f"{url}/keys", headers=bearer(made["write"])).status_code == 403
        listed = httpx.get(f"{url}/keys", headers=headers)
        assert not any(key in listed.text for key in (admin["key"], *made.values()))
        assert len(listed.json()["keys"]) == 3
        assert httpx.delete(f"{url}/keys/{made['read'].split('_')[1]}", headers=headers).status_code == 200
        time.sleep(CACHE_S + 0.1)
        assert httpx.get(f"{url}/default/recommend", headers=bearer(made["read"])).status_code == 401
    written = capfd.readouterr()
    assert not any(key in written.out + written.err for key in (admin["key"], *made.values()))


def test_beyond_loopback_without_a_key_the_server_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"beyond this machine.*nearfield keys create"):
        serve(Settings(home=tmp_path / "home"), "0.0.0.0", 0, 1)


def test_the_event_loop_never_queries_the_database_even_if_the_cache_is_cleared(
    own: tuple[Settings, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = list[bool]()

    class Watched:
        @contextmanager
        def connect(self) -> Iterator[object]:
            try:
                asyncio.get_running_loop()
                loops.append(True)
            except RuntimeError:
                loops.append(False)
            with own[1].connect() as conn:
                yield conn

    class Forgetful(dict[bytes, object]):
        def get(self, digest: bytes, otherwise: object = None) -> object:  # type: ignore[override]
            return self.pop(digest, otherwise)  # another thread clears what is remembered as soon as it was read

    with own[1].begin() as conn:
        text, _ = api_keys.create(conn, scope="read", space=None)
    keyring = Keyring(Watched(), require_keys=True)  # type: ignore[arg-type]
    keyring._cache = Forgetful()  # type: ignore[assignment]
    app = SimpleNamespace(state=SimpleNamespace(keyring=keyring))
    headers = [(b"authorization", f"Bearer {text}".encode())]
    request = Request({"type": "http", "app": app, "path_params": {}, "headers": headers})

    async def ask() -> None:
        for _ in range(4):
            await require("read")(request)

    asyncio.run(ask())
    assert loops == [False, False]


def test_a_server_that_has_seen_a_key_requires_one_from_then_on() -> None:
    found: list[object] = [None]

    class Shop:
        @contextmanager
        def connect(self) -> Iterator[object]:
            if not found:
                raise StoreUnavailable("away")
            yield None

    keyring = Keyring(Shop(), require_keys=False)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(api_keys, "any_created", lambda conn: False)
        patched.setattr(api_keys, "find", lambda conn, text: found[0])
        assert keyring.requires_key() is False
        found[0] = SimpleNamespace(scope="read")
        assert keyring.find("nf_first") is found[0]
        found.clear()
        keyring._key_required = (keyring._key_required[0] - CACHE_S - 1, keyring._key_required[1])
        assert keyring.requires_key() is True


class Silent(Database):
    """A database that says nothing while `speaks` is not set."""

    speaks = threading.Event()

    def _open(self) -> sa.Connection:
        self.speaks.wait(60)
        return super()._open()


def test_while_postgres_does_not_answer_known_keys_work_and_unknown_keys_get_503(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with open_database(settings) as opened, closing(Silent(opened.url)) as silent:
        silent.speaks.set()
        with silent.begin() as conn:
            spaces.ensure(conn, "default")
            text, _ = api_keys.create(conn, scope="read", space=None)
        with bound("127.0.0.1", 0) as listener, running(settings, silent, listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/default/recommend"
            assert httpx.get(url, headers=bearer(text)).status_code == 200
            assert httpx.get(url).status_code == 401
            silent.speaks.clear()
            try:
                time.sleep(CACHE_S + 0.1)
                for sent, status in ((bearer(text), 200), ({}, 401), (bearer("nf_new_key"), 503)):
                    again_s = LOOKUP_TIMEOUT_S if status < 500 else LOOKUP_TIMEOUT_S + 10
                    for most_s in (LOOKUP_TIMEOUT_S + 10, again_s):  # a known status is not waited for again
                        started = time.monotonic()
                        assert httpx.get(url, headers=sent, timeout=30).status_code == status
                        assert time.monotonic() - started < most_s
                answer = httpx.get(url, params={"user_id": "ann"}, headers=bearer(text), timeout=30)
                assert (answer.status_code, answer.json()["degraded"]) == (200, True)
            finally:
                silent.speaks.set()
            assert httpx.get(url, params={"user_id": "ann"}, headers=bearer(text)).json()["degraded"] is False


def sent(url: str, lines: list[str], path: str = "/v1/default/events") -> tuple[socket.socket, bytes]:
    """A connection that sends the headers of a body of 16 MB and none of it, and what comes back."""
    parts = urlsplit(url)
    sender = socket.create_connection((parts.hostname, parts.port), timeout=30)
    length = ["Content-Type: application/json", f"Content-Length: {16 * 2**20}"]
    sender.sendall("\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *length, *lines, "", ""]).encode())
    return sender, sender.recv(4000)


def test_key_scope_and_space_are_checked_before_the_body_arrives(own: tuple[Settings, Database]) -> None:
    settings, database = own
    with database.begin() as conn:
        read, write = (api_keys.create(conn, scope=scope, space="default")[0] for scope in ("read", "write"))
        everywhere, _ = api_keys.create(conn, scope="write", space=None)
    settings = settings.model_copy(update={"require_keys": True})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for key, path, status in (
            ("", "/v1/default/events", 401),
            ("nf_no_such", "/v1/default/events", 401),
            (read, "/v1/default/events", 403),
            (write, "/v1/other/events", 403),
            (everywhere, "/v1/nowhere/events", 404),
            (everywhere, "/v1/default/recommend/batch", 200),
        ):
            lines = [f"Authorization: Bearer {key}"] if key else []
            if status == 200:  # else it would wait
                lines.append("Expect: 100-continue")
            connection, answer = sent(url, lines, path)
            connection.close()
            assert answer.startswith(b"HTTP/1.1 100" if status == 200 else b"HTTP/1.1 %d" % status), (path, answer)


def test_expect_100_continue_without_a_valid_key_is_rejected_at_once_and_the_connection_closes(
    own: tuple[Settings, Database],
) -> None:
    settings = own[0].model_copy(update={"require_keys": True, "max_body_bytes": 1000})
    with own[1].begin() as conn:
        write, _ = api_keys.create(conn, scope="write", space="default")
    with bound("127.0.0.1", 0) as listener, running(settings, own[1], listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for lines, status in (([], b"401"), ([f"Authorization: Bearer {write}"], b"413")):
            connection, answer = sent(url, ["Expect: 100-continue", *lines])
            with connection:
                assert answer.startswith(b"HTTP/1.1 " + status)
                assert b"connection: close" in answer.lower()
                while connection.recv(4000):
                    pass


def test_the_body_of_a_request_without_a_key_is_dropped_and_the_next_request_is_answered(
    own: tuple[Settings, Database],
) -> None:
    settings = own[0].model_copy(update={"require_keys": True})
    with own[1].begin() as conn:
        read, _ = api_keys.create(conn, scope="read", space="default")
    with bound("127.0.0.1", 0) as listener, running(settings, own[1], listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connection, answer = sent(url, [])
        with connection:
            assert answer.startswith(b"HTTP/1.1 401")
            connection.sendall(b"[" + (16 * 2**20 - 2) * b" " + b"]")
            path = "/v1/default/recommend"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {read}\r\n\r\n".encode())
            assert connection.recv(4000).startswith(b"HTTP/1.1 200")


def test_lookups_of_unknown_keys_are_limited_and_a_known_key_is_accepted() -> None:
    class Waiting:
        asked, answers = list[object](), threading.Event()

        @contextmanager
        def connect(self) -> Iterator[object]:
            self.asked.append(None)
            self.answers.wait(20)
            yield None

    keyring = Keyring(Waiting(), require_keys=True)  # type: ignore[arg-type]
    keyring._cache[auth._digest("nf_good")] = (-1e9, SimpleNamespace(scope="read"))  # type: ignore[assignment]

    async def ask() -> list[object]:
        made_up = [asyncio.create_task(keyring.look_up(f"nf_made_{n}")) for n in range(MAX_LOOKUPS)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy, match="keys are being looked up"):
            await keyring.look_up("nf_one_more")
        good = asyncio.create_task(keyring.look_up("nf_good"))
        await asyncio.sleep(0)
        Waiting.answers.set()
        return [each.record for each in await asyncio.gather(good, *made_up)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(api_keys, "find", lambda conn, text: SimpleNamespace() if text == "nf_good" else None)
        found = asyncio.run(ask())
    assert (found[0] is not None, found[1:]) == (True, [None] * MAX_LOOKUPS)


@pytest.fixture
def closed(own: tuple[Settings, Database]) -> Iterator[tuple[str, dict[str, str], Database]]:
    """A server, and what the admin of every space sends."""
    with own[1].begin() as conn:
        admin, _ = api_keys.create(conn, scope="admin", space=None)
    with bound("127.0.0.1", 0) as listener, running(*own, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", bearer(admin), own[1]


def test_a_key_of_a_deleted_space_is_not_valid_for_a_new_space_of_that_name(
    closed: tuple[str, dict[str, str], Database],
) -> None:
    url, admin, _ = closed
    httpx.put(f"{url}/tenant", headers=admin)
    old = bearer(httpx.post(f"{url}/keys", json={"scope": "admin", "space": "tenant"}, headers=admin).json()["key"])
    assert httpx.get(f"{url}/tenant", headers=old).status_code == 200
    assert httpx.delete(f"{url}/tenant", headers=old).status_code == 200
    assert httpx.put(f"{url}/tenant", headers=admin).status_code == 200
    asked = [
        httpx.get(f"{url}/tenant/recommend", headers=old),  # it is remembered for a moment yet
        httpx.put(f"{url}/tenant", headers=old),
        httpx.post(f"{url}/tenant/events", json=[{"user_id": "u", "item_id": "i"}], headers=old),
        httpx.post(f"{url}/keys", json={"space": "tenant"}, headers=old),
        httpx.delete(f"{url}/tenant", headers=old),
    ]
    assert [each.status_code for each in asked] == [401] * len(asked)
    assert httpx.delete(f"{url}/tenant", headers=admin).status_code == 200


def test_the_admin_of_a_space_creates_lists_and_revokes_the_keys_of_that_space_only(
    closed: tuple[str, dict[str, str], Database],
) -> None:
    url, admin, _ = closed

    def made(headers: dict[str, str], **body: object) -> httpx.Response:
        return httpx.post(f"{url}/keys", json=body, headers=headers)

    tenant = bearer(made(admin, scope="admin", space="default").json()["key"])
    foreign = made(admin, scope="read", space="other").json()["key_id"]
    for body in ({"scope": "read"}, {"scope": "read", "space": "other"}, {"scope": "admin", "space": "nowhere"}):
        refused = made(tenant, **body)
        assert (refused.status_code, "space 'default'" in refused.json()["detail"]) == (403, True)
    new = made(tenant, scope="admin", space="default", label="the next").json()
    listed = httpx.get(f"{url}/keys", headers=tenant).json()["keys"]
    assert {each["space"] for each in listed} == {"default"}
    assert listed[-1]["label"] == "the next"
    assert {"default", "other", None} <= {
        each["space"] for each in httpx.get(f"{url}/keys", headers=admin).json()["keys"]
    }
    assert httpx.delete(f"{url}/keys/{foreign}", headers=tenant).status_code == 404
    old = tenant["Authorization"].split("_")[1]
    assert httpx.delete(f"{url}/keys/{old}", headers=bearer(new["key"])).status_code == 200  # rotated
    write = bearer(made(admin, scope="write", space="default").json()["key"])
    assert (made(write, space="default").status_code, httpx.get(f"{url}/keys", headers=write).status_code) == (403, 403)


def test_a_server_whose_last_key_is_revoked_stays_closed(
    closed: tuple[str, dict[str, str], Database], own: tuple[Settings, Database]
) -> None:
    url, admin, database = closed
    with database.begin() as conn:
        for record in api_keys.list_all(conn):
            if record.revoked_at is None:
                api_keys.revoke(conn, record.key_id)
    time.sleep(CACHE_S + 0.1)
    assert httpx.get(f"{url}/default/status").status_code == 401
    assert httpx.get(f"{url}/default/status", headers=admin).status_code == 401
    with bound("127.0.0.1", 0) as listener, running(*own, listener):  # after it starts anew too
        assert httpx.get(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/default/status").status_code == 401


def test_the_openapi_document_names_the_key_of_every_route_that_needs_one(tmp_path: Path) -> None:
    document = create_app(Settings(home=tmp_path)).openapi()
    assert document["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    without_key = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") != [{"HTTPBearer": []}]
    }
    assert without_key == {"/healthz", "/readyz"}
