"""A real server over a real database, with a small shop whose correct answers are obvious."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest

from api import fresh_view
from api.server import bound, running
from engine.embedders.registry import make
from engine.settings import Settings
from engine.store import events, generations, items, spaces
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space
from engine.values.events import Event
from engine.values.items import Item
from indexing.building.reindex import reindex

ITEMS = [
    Item(f"{side}-{n:02}", f"{side.title()} thing {n}", (side,), {"price": n})
    for side in ("odd", "even")
    for n in range(20)
]


@dataclass(frozen=True)
class Shop:
    space: Space
    url: str
    settings: Settings

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **options)

    def post(self, path: str, body: object, **options: object) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=30, **options)

    def put(self, path: str, body: object, **options: object) -> httpx.Response:
        return httpx.put(self.url + path, json=body, timeout=30, **options)

    def delete(self, path: str, **options: object) -> httpx.Response:
        return httpx.delete(self.url + path, timeout=30, **options)


@pytest.fixture(scope="module")
def shop(
    database: Database, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    """Sixty users: odd ones had eight odd items each, even ones eight even items. A module may have SETTINGS of the
    server, and EVENTS beside those."""
    own = getattr(request.module, "SETTINGS", {})
    settings = Settings(home=tmp_path_factory.mktemp("shop"), poll_s=0.2, **own)
    name = "shop-" + request.module.__name__.rsplit(".", 1)[-1].replace("test_", "").replace("_", "-")
    with database.begin() as conn:
        space = spaces.ensure(conn, name)
        items.upsert(conn, space.key, ITEMS)
        events.append(conn, space.key, [*seed_events(), *getattr(request.module, "EVENTS", [])])
    reindex(database, space, make("spectral", {"dim": 8}), settings.generations, force=True)
    with (
        pytest.MonkeyPatch.context() as patched,
        bound("127.0.0.1", 0) as listener,
        running(settings, database, listener),
    ):
        patched.setattr(fresh_view, "MAX_WAIT_S", 20.0)  # a second is short on a busy machine
        yield Shop(space, f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{name}", settings)
    with database.begin() as conn:
        spaces.delete(conn, name)  # each server opens every space it finds, and builds the index it has no files of


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Database]]:
    """A PostgreSQL to kill and to freeze, with a shop in it."""
    settings = Settings(home=tmp_path_factory.mktemp("own"), poll_s=0.3)
    with open_database(settings) as database:
        filled(settings, database)
        yield settings, database


def listing(patched: pytest.MonkeyPatch, listed: Callable[..., list[object]]) -> None:
    """GET /generations calls `listed`: the route alone, as the upkeep of every server lists them too, when it likes."""
    whole = {name: getattr(generations, name) for name in dir(generations)}
    patched.setattr("api.routes.models.generations", SimpleNamespace(**whole | {"list_all": listed}))


def filled(settings: Settings, database: Database) -> None:
    with database.begin() as conn:
        space = spaces.ensure(conn, "default")
        items.upsert(conn, space.key, ITEMS)
        events.append(conn, space.key, seed_events())
    reindex(database, space, make("spectral", {"dim": 8}), settings.generations, force=True)


def seed_events() -> list[Event]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Event(
            f"{side}-user-{user}",
            f"{side}-{(user * 3 + step * 7) % 20:02}",
            "view",
            begin + timedelta(hours=user + 30 * step),
        )
        for side in ("odd", "even")
        for user in range(30)
        for step in range(8)
    ]
