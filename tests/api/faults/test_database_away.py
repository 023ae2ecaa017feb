"""PostgreSQL becomes unreachable under load and returns: reads continue as stale, writes get 503, nothing is lost.

A proxy socket forwards to the real one. When it closes, every connection through it ends, as in a restart.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from api.server import bound, running
from engine.store.database import bulk_copy
from engine.store.database.connections import Database, open_database
from tests.api.conftest import Shop
from tests.api.test_operations import eventually

PORT = "5432"


class Door:
    """A Unix socket that forwards to PostgreSQL and can be closed."""

    def __init__(self, real: str):
        self.real, self.folder = real, Path(tempfile.mkdtemp(prefix="nf-door-"))
        self.sockets: list[socket.socket] = []
        self.listener: socket.socket | None = None

    def open(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / f".s.PGSQL.{PORT}"))
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()

    def shut(self) -> None:
        assert self.listener is not None
        (self.folder / f".s.PGSQL.{PORT}").unlink()
        for each in [self.listener, *self.sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                inside, _ = listener.accept()
                outside = socket.socket(socket.AF_UNIX)
                outside.connect(self.real)
                self.sockets += [inside, outside]
                for pair in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def door(database: Database) -> Iterator[tuple[Door, str]]:
    with database.connect() as conn:
        info = bulk_copy.driver_connection(conn).info
        host, port, user, name, password = info.host, info.port, info.user, info.dbname, info.password
    if not host.startswith("/"):
        pytest.skip("TEST_DATABASE_URL is reached by TCP; this test forwards a Unix socket")
    made = Door(f"{host}/.s.PGSQL.{port}")
    made.open()
    login = f"{user}:{password}" if password else user
    yield made, f"postgresql://{login}@/{name}?host={made.folder}&port={PORT}"
    with suppress(FileNotFoundError):
        made.shut()
    shutil.rmtree(made.folder, ignore_errors=True)


def test_reads_go_on_and_writes_recover(shop: Shop, door: tuple[Door, str]) -> None:
    gate, url = door
    settings = shop.settings.model_copy(update={"database_url": SecretStr(url)})
    stop, answers = threading.Event(), Counter[tuple[int, bool]]()

    def ask(base: str) -> None:
        with httpx.Client(base_url=base, timeout=30) as client:
            while not stop.is_set():
                answer = client.get("/recommend", params={"user_id": "odd-user-1", "k": 5})
                answers[answer.status_code, answer.json().get("degraded", True)] += 1

    with (
        open_database(settings) as through,
        bound("127.0.0.1", 0) as listener,
        capture_logs() as lines,
        running(settings, through, listener),
    ):
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask, base) for _ in range(3)]
            try:
                eventually(lambda: answers[200, False] > 20)
                gate.shut()
                eventually(lambda: answers[200, True] > 20)
                time.sleep(2.5)  # longer than keys are cached
                for _ in range(3):
                    away = httpx.post(base + "/events", json=[{"user_id": "u", "item_id": "odd-01"}], timeout=30)
                    assert (away.status_code, away.headers["Retry-After"]) == (503, "1")
                known = httpx.get(base + "/recommend", params={"user_id": "odd-user-1", "k": 5}, timeout=30).json()
                assert known["degraded"] is True
                assert len(known["items"]) == 5
                similar = httpx.get(base + "/search", params={"item_id": "odd-01", "k": 5}, timeout=30)
                assert similar.status_code == 200
                eventually(lambda: httpx.get(base + "/search?item_id=odd-01", timeout=30).json()["stale"])
                assert httpx.get(base.rsplit("/v1/", 1)[0] + "/readyz", timeout=30).status_code == 503
                gate.open()
                name = f"back-{secrets.token_hex(4)}"
                row = [{"user_id": name, "item_id": "odd-01", "event_id": name}]
                eventually(lambda: httpx.post(base + "/events", json=row, timeout=30).status_code == 200)
                eventually(lambda: not httpx.get(base + "/search?item_id=odd-01", timeout=30).json()["stale"])
                before = answers[200, False]
                eventually(lambda: answers[200, False] > before + 20)
            finally:
                stop.set()
        assert [each.exception() for each in asking] == [None] * 3
    assert {status for status, _ in answers} == {200}
    [noticed] = [line for line in lines if line["event"] == "PostgreSQL is unreachable"]
    assert noticed["log_level"] == "warning"
    [over] = [line for line in lines if line["event"] == "PostgreSQL is back"]
    assert over["requests_answered_503"] >= 4
    assert over["seconds"] > 0
    assert [
        line
        for line in lines
        if line["event"] == "request" and line.get("status") == 503 and line["log_level"] == "warning"
    ] == []
