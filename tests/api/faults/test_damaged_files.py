"""Index files truncated under a running server: the worker crashes, another replaces it and refuses the files."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.server import START_S
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from indexing.building.build import build_generation
from indexing.building.publish import publish
from tests.api.conftest import filled
from tests.api.faults.test_durability import end, free_port, start, workers


@dataclass
class Served:
    settings: Settings
    database: Database
    log: Path

    def publish(self) -> str:
        with self.database.begin() as conn:
            space = spaces.get(conn, "default")
        name = build_generation(self.database, space, 1, self.settings.generations)
        publish(self.database, space, name, self.settings.generations)
        return name

    def folder(self, name: str) -> Path:
        return self.settings.generations / "default" / name


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Served]:
    """A shop whose only generation is published."""
    settings = Settings(home=tmp_path)
    with open_database(settings) as database:
        filled(settings, database)
        yield Served(settings, database, tmp_path / "log")


def cut(folder: Path) -> None:
    """Truncate every array of a generation in place: a process that reads a mapped array gets SIGBUS."""
    for path in folder.glob("*.npy"):
        os.truncate(path, 0)


def asked(url: str) -> dict[str, Any]:
    try:
        answer = httpx.get(url, timeout=30)
        return answer.json() if answer.status_code == 200 else {}
    except httpx.TransportError:  # its worker crashed on this request
        return {}


def until(holds: Callable[[], bool], why: str) -> None:
    at = time.monotonic() + START_S
    while not holds():
        assert time.monotonic() < at, why
        time.sleep(0.2)


def test_workers_that_crash_on_truncated_files_are_replaced_and_serve_another_generation(shop: Served) -> None:
    before = shop.publish()
    damaged = shop.publish()
    port = free_port()
    shop.folder(before).chmod(0o755)  # the mode in earlier versions
    with shop.log.open("w") as log:
        process = start(shop.settings.home, port, "--workers", "2", log=log)
    assert stat.S_IMODE(shop.folder(before).stat().st_mode) == 0o700
    url = f"http://127.0.0.1:{port}/v1/default"
    similar = f"{url}/search?item_id=odd-03&k=5"
    try:
        first = workers(process.pid)
        assert {asked(similar)["generation"] for _ in range(10)} == {damaged}
        cut(shop.folder(damaged))
        refused: list[dict[str, Any]] = []

        def replaced() -> bool:
            asked(similar)
            status = asked(f"{url}/status")
            if status.get("refused"):
                refused.append(status)
            return not set(first) & set(workers(process.pid))

        until(replaced, "a worker that cannot read its files is still there")
        until(lambda: asked(f"{url}/status").get("degraded") is False, "it was not built anew")
        assert {asked(similar).get("generation") for _ in range(10)}.isdisjoint({damaged, None})
        assert {(each["generation"], each["refused"]["generation"]) for each in refused} <= {(before, damaged)}
    finally:
        end(process)
    assert "generation refused" in shop.log.read_text()


def test_a_server_of_one_process_crashes_and_the_next_refuses_the_damaged_generation(shop: Served) -> None:
    before = shop.publish()
    damaged = shop.publish()
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/default"
    with shop.log.open("w") as log:
        process = start(shop.settings.home, port, log=log)
        cut(shop.folder(damaged))
        for _ in range(50):
            if process.poll() is not None:
                break
            asked(f"{url}/search?item_id=odd-03&k=5")
        assert process.wait(timeout=30) == -signal.SIGBUS
        process = start(shop.settings.home, port, log=log)
    try:
        status = asked(f"{url}/status")
        assert status["generation"] != damaged
        until(lambda: asked(f"{url}/status")["generation"] not in (before, damaged), "it was not built anew")
        status = asked(f"{url}/status")
        assert (status["degraded"], status["refused"]) == (False, None)
        assert not shop.folder(damaged).exists()
    finally:
        end(process)
    told = [json.loads(line) for line in shop.log.read_text().splitlines() if line.startswith("{")]
    assert "rebuilt" in {each["event"] for each in told}, "the process that rebuilds logs as its server does"
