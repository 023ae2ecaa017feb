"""Load at several times the capacity: some requests are answered, the others rejected, memory does not grow."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil
import pytest

from engine.store.database.connections import Database
from tests.api.conftest import Shop
from tests.api.faults.test_durability import free_port, start

ACTIVE, CONNECTIONS, SECONDS = 4, 100, 1.5
GROWTH_MB = 40  # of rounds of which each has thousands of requests


def test_in_overload_nothing_fails_refused_requests_have_a_retry_after_and_memory_does_not_grow(
    shop: Shop, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "scripts")
    from http_load import Load, get, measure  # its process imports it by this name

    port = free_port()
    limits = {"NEARFIELD_MAX_ACTIVE": str(ACTIVE), "NEARFIELD_MAX_WAITING": "8", "NEARFIELD_MAX_WAIT_S": "0.1"}
    with (tmp_path / "log").open("w") as log:
        process = start(shop.settings.home, port, log=log, NEARFIELD_DATABASE_URL=database.url, **limits)
    asked = [get(f"/v1/{shop.space.name}/recommend?user_id=odd-user-{user}&k=5") for user in range(30)]
    rss_mb = []
    try:
        for _ in range(3):
            found = measure(Load(port, asked, CONNECTIONS, SECONDS, warm_s=0))
            assert {200, 429} <= found.statuses.keys() <= {200, 429, 503}
            assert found.statuses[200] > ACTIVE  # places are left, and taken again
            refused = sum(found.statuses.values()) - found.statuses[200]
            assert refused > found.statuses[200] / 10
            assert found.with_retry_after == refused
            assert found.errors == refused  # no connection broke
            rss_mb.append(psutil.Process(process.pid).memory_info().rss / 2**20)
        after = httpx.get(f"http://127.0.0.1:{port}/v1/{shop.space.name}/recommend", timeout=30)
        assert after.status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert rss_mb[-1] - rss_mb[0] < GROWTH_MB, rss_mb
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert (tmp_path / "log").stat().st_size < 100_000  # a line for each refused request would be load of its own
