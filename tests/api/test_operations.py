from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from structlog.testing import capture_logs

from engine.embedders.registry import make
from engine.store.database.connections import Database
from engine.store.database.leader_election import LeaderElection
from indexing.building.build import build_generation, rebuild_job
from indexing.building.publish import publish
from indexing.building.reindex import reindex
from tests.api.conftest import Shop


def root(shop: Shop) -> str:
    return shop.url.rsplit("/v1/", 1)[0]


def test_health_ready_metrics_and_openapi_answer(shop: Shop) -> None:
    shop.get("/recommend", params={"user_id": "odd-user-1"})
    assert httpx.get(root(shop) + "/healthz").json() == {"status": "ok"}
    assert httpx.get(root(shop) + "/readyz").json() == {"status": "ready"}
    metrics = httpx.get(root(shop) + "/metrics").text
    assert 'nearfield_request_seconds_count{method="GET",route="/v1/{space}/recommend",status="200"}' in metrics
    assert f'nearfield_recommended_items_total{{reason="history",space="{shop.space.name}"}}' in metrics
    assert "nearfield_generation_built_timestamp_seconds" in metrics
    paths = httpx.get(root(shop) + "/openapi.json").json()["paths"]
    assert "/v1/{space}/recommend" in paths
    assert len(paths) >= 20


def test_a_path_with_an_encoded_character_is_counted_and_logged_under_its_route(shop: Shop) -> None:
    with capture_logs() as lines:
        assert shop.get("/items/odd%2D01/similar").status_code == 200
        shop.put("/users/a%2Fb", {"attributes": {}}).raise_for_status()
        shop.delete("/users/a%2Fb").raise_for_status()
    assert [line["log_level"] for line in lines if line["event"] == "request"] == ["debug"] * 3
    metrics = httpx.get(f"{root(shop)}/metrics").text
    for method, route in (
        ("GET", "/v1/{space}/items/{item_id:path}/similar"),
        ("PUT", "/v1/{space}/users/{user_id:path}"),
        ("DELETE", "/v1/{space}/users/{user_id:path}"),
    ):
        assert f'nearfield_request_seconds_count{{method="{method}",route="{route}",status="200"}} 1.0' in metrics


def test_status_models_and_generations_show_what_is_served(shop: Shop) -> None:
    status = shop.get("/status").json()
    assert (status["model"], status["degraded"], status["stale"]) == (1, False, False)
    assert status["items"] == 40
    [model] = shop.get("/models").json()["models"]
    assert (model["model"], model["embedder"], model["dim"]) == (1, "spectral", 8)
    assert shop.get("/models/1").json() == model
    [generation] = shop.get("/generations").json()["generations"]
    assert generation["active"] is True
    assert generation["generation"] == status["generation"]


def test_a_server_swaps_generations_without_an_error(shop: Shop, database: Database) -> None:
    statuses, seen, stop = set(), set(), threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not stop.is_set():
                response = client.get(shop.url + "/recommend", params={"user_id": "odd-user-2", "k": 5})
                statuses.add(response.status_code)
                seen.add(response.json()["generation"])

    before = shop.get("/status").json()["generation"]
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for recipe in ("hnsw", "flat"):
                embedder, folder = make("spectral", {"dim": 4}), shop.settings.generations
                made = reindex(database, shop.space, embedder, folder, recipe=recipe, force=True)
                eventually(lambda made=made: made.generation in seen)
            back = shop.post(f"/generations/{sorted(seen - {before, made.generation})[0]}/activate", {})
            assert back.status_code == 200
            eventually(lambda: shop.get("/status").json()["generation"] != made.generation)
        finally:
            stop.set()
    assert [each.exception() for each in asking] == [None] * 4
    assert statuses == {200}
    assert len(seen) == 3


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"still not so after {within_s:.0f} s"
        time.sleep(0.01)


def test_a_space_is_created_weighted_and_deleted(shop: Shop) -> None:
    name = f"made-{secrets.token_hex(4)}"
    url = f"{root(shop)}/v1/{name}"
    assert httpx.get(url).status_code == 404
    assert httpx.put(url).json()["weighting"]["kinds"]["purchase"] == 5.0
    body = {"weighting": {"kinds": {"view": 2, "buy": 7}, "half_life_days": 30}}
    assert httpx.put(url, json=body).json()["weighting"]["kinds"] == {"view": 2, "buy": 7}
    assert httpx.get(url).json()["weighting"]["half_life_days"] == 30
    assert name in [space["space"] for space in httpx.get(f"{root(shop)}/v1").json()["spaces"]]
    assert httpx.post(f"{url}/events", json=[{"user_id": "u", "item_id": "i"}]).json()["accepted"] == 1
    short = httpx.get(f"{url}/recommend", params={"k": 3}).json()
    assert [item["reason"] for item in short["items"]] == ["new"]
    assert short["shortfall"]["returned"] == 1
    gone = httpx.delete(url).json()
    assert (gone["space"], gone["status"]) == (name, "deleted")
    assert httpx.get(f"{url}/recommend").status_code == 404


def test_status_shows_which_generation_is_refused_and_why(shop: Shop, database: Database, tmp_path: Path) -> None:
    served = shop.get("/status").json()["generation"]
    elsewhere = build_generation(database, shop.space, 1, tmp_path)  # a server with a folder of its own
    publish(database, shop.space, elsewhere, tmp_path)
    until = time.monotonic() + 30
    while not (status := shop.get("/status").json())["degraded"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (status["generation"], status["refused"]["generation"]) == (served, elsewhere)
    assert f"generation {elsewhere} cannot be read" in status["refused"]["why"]
    assert status["rebuilding"] is False
    election = LeaderElection(database, rebuild_job(shop.space))
    assert election.try_acquire()
    assert shop.get("/status").json()["rebuilding"] is True
    election.release()
    here = build_generation(database, shop.space, 1, shop.settings.generations)
    publish(database, shop.space, here, shop.settings.generations)
    while (status := shop.get("/status").json())["degraded"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (status["generation"], status["refused"]) == (here, None)
