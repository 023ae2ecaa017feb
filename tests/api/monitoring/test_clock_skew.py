"""A server with a slow clock reports rejected events and the skew to PostgreSQL's clock."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from structlog.testing import capture_logs

from api.monitoring.clock_skew import ClockSkew
from api.monitoring.metrics import Metrics
from engine.errors import StoreUnavailable
from engine.store.database import clock_skew
from tests.api.conftest import Shop
from tests.api.test_operations import eventually


def event(days_ahead: float) -> dict[str, str]:
    at = datetime.now(UTC) + timedelta(days=days_ahead)
    return {"user_id": "clock", "item_id": "odd-01", "occurred_at": at.isoformat()}


def told(shop: Shop, name: str) -> float:
    text = httpx.get(shop.url.split("/v1/")[0] + "/metrics", timeout=30).text
    found = re.search(rf"^nearfield_{name}(?:{{space=\"{shop.space.name}\"}})? (.+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_events_rejected_as_in_the_future_are_counted_in_status_and_metrics(shop: Shop) -> None:
    assert shop.get("/status").json()["future_events"] is None
    before = told(shop, "future_events_refused_total")
    answer = shop.post("/events", {"events": [event(0), event(2), event(3)]})
    assert answer.status_code == 200
    assert "by this server's clock" in answer.json()["results"][1]["detail"]
    assert shop.post("/events", {"events": [event(2)]}).status_code == 422
    eventually(lambda: (shop.get("/status").json()["future_events"] or {}).get("refused") == 3)
    status = shop.get("/status").json()
    farthest = datetime.fromisoformat(status["future_events"]["farthest"])
    assert abs(farthest - datetime.now(UTC) - timedelta(days=3)) < timedelta(hours=1)
    assert status["future_events"]["what_to_do"].startswith("compare the clocks of the servers, of PostgreSQL")
    assert abs(status["clock_skew_s"]) < 5
    assert told(shop, "future_events_refused_total") == before + 3
    assert abs(told(shop, "clock_skew_seconds")) < 5


def test_the_skew_is_postgres_clock_minus_ours_and_a_large_one_is_logged_once(database, space, monkeypatch) -> None:
    monkeypatch.setattr(
        "engine.store.database.clock_skew.time.time", lambda: time.clock_gettime(time.CLOCK_REALTIME) - 100_000
    )
    with database.connect() as conn:
        assert clock_skew.skew_s(conn) == pytest.approx(100_000, abs=30)
    clock = ClockSkew(database, Metrics())
    with capture_logs() as lines:
        clock.update(space)
        clock.update(space)
    assert [line["event"] for line in lines] == ["PostgreSQL's clock differs from this server's clock"]
    assert lines[0]["skew_s"] == pytest.approx(100_000, abs=30)


def test_rejected_events_are_logged_once_a_minute_and_kept_while_postgres_is_away(database, space) -> None:
    class Away:
        def begin(self):
            raise StoreUnavailable("PostgreSQL is unreachable")

    now = datetime.now(UTC)
    clock = ClockSkew(Away(), Metrics())
    with capture_logs() as lines:
        clock.count_rejected(space, [now + timedelta(days=2)], now)
        clock.count_rejected(space, [now + timedelta(days=5), now + timedelta(days=3)], now)
        clock.update(space)
    assert [(line["event"], line["ahead_hours"]) for line in lines] == [
        ("events are rejected because they are dated in the future", 48.0)
    ]
    clock._database = database
    clock.update(space)
    with database.connect() as conn:
        found = clock_skew.refused(conn, space.key)
    assert found is not None
    assert (found.n, found.farthest) == (3, now + timedelta(days=5))
