"""Metrics of two workers, when only one of them is scraped."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from api.monitoring.metrics import Metrics, forget
from engine.settings import Settings
from engine.store.database.connections import Database, open_database
from tests.api.conftest import filled
from tests.api.faults.test_database_stopped import kill_postgres
from tests.api.faults.test_durability import free_port, start, workers
from tests.api.test_operations import eventually


@dataclass(frozen=True)
class Two:
    """A server of two workers, over a PostgreSQL of its own."""

    settings: Settings
    database: Database
    root: str
    pid: int

    def told(self, name: str, space: str = "default", client: httpx.Client | None = None) -> float | None:
        """By one worker; without a client, by whichever takes a new connection."""
        text = (client or httpx).get(self.root + "/metrics", timeout=30).text
        found = re.search(rf'^nearfield_{name}{{space="{space}"}} (.+)$', text, re.MULTILINE)
        return None if found is None else float(found[1])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    settings, port = Settings(home=tmp_path_factory.mktemp("two")), free_port()
    with open_database(settings) as database:
        filled(settings, database)
        variables = {"NEARFIELD_DATABASE_URL": database.url, "NEARFIELD_POLL_S": "0.2"}
        with (settings.home / "log").open("w") as log:
            process = start(settings.home, port, "--workers", "2", log=log, **variables)
        try:
            for _ in range(20):  # a connection each, so that both have started
                assert httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).status_code == 200
            yield Two(settings, database, f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_a_worker_that_stopped_polling_shows_in_the_metrics_of_another(two: Two) -> None:
    halted = workers(two.pid)[0]
    os.kill(halted, signal.SIGSTOP)
    try:
        time.sleep(2.0)
        last = two.told("live_refreshed_timestamp_seconds")
        assert last is not None
        assert time.time() - last > 1.5
    finally:
        os.kill(halted, signal.SIGCONT)
    halt_ended = time.time()
    eventually(lambda: (two.told("live_refreshed_timestamp_seconds") or 0) > halt_ended)


def test_every_worker_reports_the_tombstone_share(two: Two) -> None:
    for n in range(3):
        answer = httpx.delete(f"{two.root}/v1/default/items/odd-{n:02}", timeout=30)
        assert answer.status_code == 200, answer.text
    with httpx.Client() as one:
        eventually(lambda: two.told("tombstone_share", client=one) == 3 / 40)


def test_every_worker_removes_the_gauges_of_a_deleted_space(two: Two) -> None:
    name = f"made-{secrets.token_hex(4)}"
    url = f"{two.root}/v1/{name}"
    assert httpx.put(url, json={}, timeout=30).status_code in (200, 201)
    for _ in range(20):  # opened by both
        assert httpx.get(url + "/status", timeout=30).status_code == 200
    eventually(lambda: two.told("stale", name) == 0)
    assert httpx.delete(url, timeout=30).status_code == 200
    for gauge in ("stale", "live_refreshed_timestamp_seconds", "delta_share"):
        eventually(lambda gauge=gauge: two.told(gauge, name) is None)


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="kills a PostgreSQL of its own")
def test_stale_ends_with_the_outage_in_a_worker_without_requests(two: Two) -> None:
    kill_postgres(two.settings.home)

    def stale() -> bool:
        return two.told("stale") == 1

    eventually(stale)
    for _ in range(20):
        assert stale()
    with two.database.connect():  # starts it again
        pass
    with httpx.Client() as one:
        eventually(lambda: two.told("stale", client=one) == 0)


@pytest.mark.parametrize("gauge", ["stale", "sampled_recall", "drift"])
def test_a_forgotten_gauge_is_hidden_until_it_is_set_again(gauge: str) -> None:
    metrics = Metrics()
    found = getattr(metrics, gauge)
    found.labels("default").set(0.5)
    assert b'{space="default"} 0.5' in metrics.text()
    forget(found, "default")
    assert b'{space="default"}' not in metrics.text()
    found.labels("default").set(0.25)
    assert b'{space="default"} 0.25' in metrics.text()
