"""Keys and scopes, on a database of its own: the first key closes the server for everybody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials

from api.auth import ASK_S, REMEMBER_S, Keyring, require
from api.server import bound, running, serve
from engine.errors import Conflict, StoreUnavailable
from engine.settings import Settings
from engine.store import keys, spaces
from engine.store.database import Database, open_database


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
        time.sleep(REMEMBER_S + 0.1)
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
        time.sleep(REMEMBER_S + 0.1)
        assert httpx.get(f"{url}/default/recommend", headers=bearer(made["read"])).status_code == 401
    written = capfd.readouterr()
    assert not any(key in written.out + written.err for key in (admin["key"], *made.values()))


def test_beyond_loopback_without_a_key_the_server_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"beyond this machine.*nearfield keys create"):
        serve(Settings(home=tmp_path / "home"), "0.0.0.0", 0, 1)


def test_whatever_is_forgotten_meanwhile_the_event_loop_asks_no_database(
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
        text, _ = keys.create(conn, scope="read", space=None)
    keyring = Keyring(Watched(), require_keys=True)  # type: ignore[arg-type]
    keyring._found = Forgetful()  # type: ignore[assignment]
    app = SimpleNamespace(state=SimpleNamespace(keyring=keyring))
    request = Request({"type": "http", "app": app, "path_params": {}, "headers": []})
    sent = HTTPAuthorizationCredentials(scheme="Bearer", credentials=text)

    async def ask() -> None:
        for _ in range(4):
            await require("read")(request, sent)

    asyncio.run(ask())
    assert loops == [False, False]


def test_a_server_that_has_seen_a_key_is_closed_though_nobody_asked_without_one_since() -> None:
    found: list[object] = [None]

    class Shop:
        @contextmanager
        def connect(self) -> Iterator[object]:
            if not found:
                raise StoreUnavailable("away")
            yield None

    keyring = Keyring(Shop(), require_keys=False)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "any_live", lambda conn: False)
        patched.setattr(keys, "find", lambda conn, text: found[0])
        assert keyring.closed() is False
        found[0] = SimpleNamespace(scope="read")
        assert keyring.find("nf_first") is found[0]
        found.clear()
        keyring._closed = (keyring._closed[0] - REMEMBER_S - 1, keyring._closed[1])
        assert keyring.closed() is True


class Silent(Database):
    """A database that says nothing while `speaks` is not set."""

    speaks = threading.Event()

    def _open(self) -> sa.Connection:
        self.speaks.wait(60)
        return super()._open()


def test_while_postgres_says_nothing_what_was_known_of_a_key_holds_and_a_new_one_is_told_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with open_database(settings) as opened, closing(Silent(opened.url)) as silent:
        silent.speaks.set()
        with silent.begin() as conn:
            spaces.ensure(conn, "default")
            text, _ = keys.create(conn, scope="read", space=None)
        with bound("127.0.0.1", 0) as listener, running(settings, silent, listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/default/recommend"
            assert httpx.get(url, headers=bearer(text)).status_code == 200
            assert httpx.get(url).status_code == 401
            silent.speaks.clear()
            try:
                time.sleep(REMEMBER_S + 0.1)
                for sent, status in ((bearer(text), 200), ({}, 401), (bearer("nf_new_key"), 503)):
                    for most_s in (ASK_S + 10, ASK_S if status < 500 else ASK_S + 10):  # who knows does not wait again
                        started = time.monotonic()
                        assert httpx.get(url, headers=sent, timeout=30).status_code == status
                        assert time.monotonic() - started < most_s
                answer = httpx.get(url, params={"user_id": "ann"}, headers=bearer(text), timeout=30)
                assert (answer.status_code, answer.json()["degraded"]) == (200, True)
            finally:
                silent.speaks.set()
            assert httpx.get(url, params={"user_id": "ann"}, headers=bearer(text)).json()["degraded"] is False
