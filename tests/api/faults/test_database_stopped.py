"""PostgreSQL is stopped without a checkpoint under load and returns.

Reads continue with `stale`, writes get 503 with Retry-After and no other error, and acknowledged writes are kept.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from api.server import START_S, bound, running
from engine.settings import Settings
from engine.store import events, items, spaces
from engine.store.database.connections import Database
from tests.api.faults.test_durability import free_port, start, workers
from tests.api.test_operations import eventually

AWAY_S = 2.0
READ = ("/recommend?user_id=odd-user-1&k=5", "/search?item_id=even-01&k=5")
ROOT = Path(__file__).parent.parent.parent.parent
pytestmark = pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="kills a PostgreSQL of its own")


@dataclass
class Load:
    """Clients that read and write until they are stopped, with the answers that they got."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    reads: Counter[tuple[str, int, bool | None]] = field(default_factory=Counter)  # route, status, stale
    writes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    events: set[str] = field(default_factory=set)  # acknowledged, by item id
    prices: dict[str, int] = field(default_factory=dict)  # last acknowledged
    maybe: dict[str, set[int]] = field(default_factory=dict)  # written later, without an acknowledgement

    def read(self, path: str) -> None:
        with httpx.Client(timeout=30) as client:
            while not self.stop.is_set():
                answer = client.get(self.url + path)
                stale = answer.json()["stale"] if answer.status_code == 200 else None
                self.reads[path, answer.status_code, stale] += 1
                if stale is not None and len(answer.json()["items"]) != 5:
                    self.wrong.append(answer.text)

    def write_events(self) -> None:
        with httpx.Client(timeout=30) as client:
            at = 0
            while not self.stop.is_set():
                at += 1
                row = {"user_id": "writer", "item_id": f"seen-{at}", "event_id": f"event-{at}"}
                if self._is_acknowledged(client.post(self.url + "/events", json=[row])):
                    self.events.add(f"seen-{at}")

    def write_items(self, item_id: str) -> None:
        with httpx.Client(timeout=30) as client:
            price = 100
            while not self.stop.is_set():
                price += 1
                self.maybe.setdefault(item_id, set()).add(price)
                if self._is_acknowledged(
                    client.put(f"{self.url}/items/{item_id}", json={"attributes": {"price": price}})
                ):
                    self.prices[item_id], self.maybe[item_id] = price, set()

    def _is_acknowledged(self, answer: httpx.Response) -> bool:
        self.writes[answer.status_code] += 1
        if answer.status_code == 503 and answer.headers.get("Retry-After") != "1":
            self.wrong.append(f"a 503 without Retry-After: {answer.text}")
        if answer.status_code not in (200, 503):
            self.wrong.append(answer.text)
        return answer.status_code == 200

    @contextmanager
    def running(self) -> Iterator[None]:
        tasks: list[Callable[[], None]] = [
            *(partial(self.read, path) for path in READ),
            self.write_events,
            lambda: self.write_items("odd-00"),
            lambda: self.write_items("even-00"),
        ]
        with ThreadPoolExecutor(len(tasks)) as pool:
            done = [pool.submit(task) for task in tasks]
            try:
                yield
            finally:
                self.stop.set()
        assert [each.exception() for each in done] == [None] * len(tasks)


def kill_postgres(home: Path) -> None:
    """Stop as `pg_ctl stop -m immediate` does: without a checkpoint, so that the next start recovers."""
    pid_file = home / "postgres" / "postmaster.pid"
    pid = pid_file.read_text().split("\n", 1)[0]
    os.kill(int(pid), signal.SIGQUIT)

    def is_gone() -> bool:
        try:
            return pid not in pid_file.read_text()  # or it has already restarted
        except FileNotFoundError:
            return True

    eventually(is_gone)


def nothing_is_lost(load: Load, database: Database) -> None:
    with database.connect() as conn:
        key = spaces.get(conn, "default").key
        assert load.events <= set(events.history(conn, key, "writer", 100_000).item_ids)
        for item_id, price in load.prices.items():
            stored = items.get(conn, key, item_id).attributes["price"]
            assert stored in load.maybe[item_id] | {price}


def written_and_shown(url: str, name: str) -> bool:
    answer = httpx.put(f"{url}/items/{name}", json={"title": name}, timeout=30)
    if answer.status_code == 503:
        return False
    assert answer.status_code == 200, answer.text
    asked = {"k": 1, "filter": {"title": name}, "min_seq": answer.json()["seq"], "deadline_ms": 5000}
    shown = httpx.post(url + "/recommend", json=asked, timeout=30)
    assert shown.status_code == 200, shown.text
    assert [item["item_id"] for item in shown.json()["items"]] == [name]
    return True


def test_postgres_is_stopped_under_load_and_comes_back(own: tuple[Settings, Database], tmp_path: Path) -> None:
    settings, database = own
    variables = {"NEARFIELD_DATABASE_URL": database.url, "NEARFIELD_POLL_S": "0.3"}  # a server that cannot start it
    port, log = free_port(), tmp_path / "log"  # a file: a full pipe would block the server
    with log.open("w") as written:
        process = start(settings.home, port, log=written, **variables)
    load = Load(f"http://127.0.0.1:{port}/v1/default")
    try:
        with load.running():
            eventually(lambda: load.writes[200] > 50 and sum(load.reads.values()) > 50)
            kill_postgres(settings.home)
            before, gone = load.reads.copy(), time.monotonic()
            eventually(lambda: load.writes[503] > 10)
            time.sleep(max(0.0, gone + AWAY_S - time.monotonic()))
            eventually(lambda: {path for path, _, stale in load.reads - before if stale} == {*READ})
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
            with database.connect():  # starts it again
                back, acknowledged = time.monotonic(), load.writes[200]
            eventually(lambda: written_and_shown(load.url, "back"))
            eventually(lambda: load.writes[200] > acknowledged + 20)
            eventually(lambda: not httpx.get(load.url + "/status", timeout=30).json()["stale"])
            assert time.monotonic() - back < 20
        nothing_is_lost(load, database)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert load.wrong == []
    assert {status for _, status, _ in load.reads} == {200}
    assert 'nearfield_stale{space="default"} 1.0' in metrics
    assert "Traceback" not in log.read_text()


def test_a_worker_that_dies_during_an_outage_does_not_end_the_others(
    own: tuple[Settings, Database], tmp_path: Path
) -> None:
    settings, database = own
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as written:
        process = start(settings.home, port, "--workers", "2", log=written, NEARFIELD_DATABASE_URL=database.url)
    url = f"http://127.0.0.1:{port}/v1/default"
    try:
        for _ in range(20):  # a new connection each, to reach both workers
            assert httpx.get(url + "/recommend", timeout=30).status_code == 200
        first = workers(process.pid)
        time.sleep(1.0)
        kill_postgres(settings.home)
        os.kill(first[0], signal.SIGKILL)
        eventually(lambda: "a worker waits for its database" in log.read_text(), START_S)
        for _ in range(10):
            assert httpx.get(url + "/recommend?user_id=odd-user-1", timeout=30).status_code == 200
        assert process.poll() is None
        with database.connect():  # starts it again
            pass
        eventually(lambda: len(workers(process.pid)) == 2 and first[0] not in workers(process.pid), START_S)
        eventually(lambda: written_and_shown(url, "after"))
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_worker_that_loses_postgres_during_start_up_exits_without_an_error(tmp_path: Path) -> None:
    code = f"""
import uvicorn
from api.app import create_app
from api.logs import configure_logging
from api.server import exit_without_database, uvicorn_config
from engine.settings import Settings
from engine.store.database.connections import Database

configure_logging()
gone = Database("postgresql://ann@127.0.0.1:{free_port()}/shop")
uvicorn.Server(uvicorn_config(exit_without_database(create_app(Settings(home={str(tmp_path)!r}), gone)), 1)).run()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == os.EX_TEMPFAIL, done.stderr  # not uvicorn's 3, which ends the other workers too
    assert "a worker waits for its database" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_embedded_postgres_is_killed_under_load_and_the_server_starts_it_again(
    own: tuple[Settings, Database],
) -> None:
    settings, database = own
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        load = Load(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/default")
        with load.running():
            eventually(lambda: load.writes[200] > 50 and sum(load.reads.values()) > 50)
            kill_postgres(settings.home)
            acknowledged = load.writes[200]
            eventually(lambda: load.writes[200] > acknowledged + 50)
            eventually(lambda: written_and_shown(load.url, "again"))
        nothing_is_lost(load, database)
    assert load.wrong == []
    assert {status for _, status, _ in load.reads} == {200}
