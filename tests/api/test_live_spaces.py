"""Live spaces that another thread deletes during a request: not found, and no other error."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from api.deps import LiveSpaces
from engine.store import spaces
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Database
from engine.store.database.notifications import Notifier
from engine.store.spaces import Space
from indexing.refresh.live_space import LiveSpace
from indexing.refresh.poller import Poller
from tests.api.conftest import Shop


class Deleting(dict[str, LiveSpace]):
    """What `LiveSpaces` keeps, where a space is deleted by another thread as soon as it was seen to be there."""

    def __contains__(self, name: object) -> bool:
        there = super().__contains__(name)
        super().pop(str(name), None)
        return there

    def __iter__(self) -> Any:
        names = list(super().__iter__())
        self.clear()
        return iter(names)

    def __getitem__(self, name: str) -> LiveSpace:
        live = super().__getitem__(name)
        super().pop(name)
        return live


@pytest.fixture
def live_spaces(database: Database, space: Space, tmp_path: Any) -> Any:
    notifier = Notifier(database)
    made = LiveSpaces(database, tmp_path, notifier)
    made.view(space.name)
    made._open_spaces = Deleting(made._open_spaces)
    yield made
    notifier.close()


def test_a_space_deleted_during_an_iteration_raises_no_error(
    live_spaces: LiveSpaces, database: Database, space: Space
) -> None:
    [live] = live_spaces._open_spaces.values()
    with database.begin() as conn:
        seq = snapshots.transaction_seq(conn)
    looks: list[Callable[[], object]] = [
        lambda: live_spaces.notify_write(space.name, seq),
        lambda: live_spaces.refresh(space.name),
        lambda: live_spaces.pop(space.name, None),
        lambda: list(live_spaces.items()),
    ]
    for look in looks:
        live_spaces._open_spaces[space.name] = live
        look()


def test_a_request_with_a_view_of_a_deleted_space_gets_not_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shop.url.rsplit("/", 1)[0]
    name = f"gone-{secrets.token_hex(4)}"
    seq = httpx.put(f"{root}/{name}").json()["seq"]
    served = LiveSpaces.view_if_open

    def served_and_gone(live_spaces: LiveSpaces, space: str) -> Any:
        view = served(live_spaces, space) or live_spaces.view(space)
        live_spaces.pop(space, None)
        return view

    monkeypatch.setattr(LiveSpaces, "view_if_open", served_and_gone)
    for path in ("status", f"recommend?min_seq={seq + 10**6}"):
        answer = httpx.get(f"{root}/{name}/{path}", timeout=30)
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"there is no space '{name}'; it was deleted a moment ago",
        )
    assert httpx.post(f"{root}/{name}/items", json=[{"item_id": "hat"}], timeout=30).json()["accepted"] == 1
    monkeypatch.undo()
    assert httpx.delete(f"{root}/{name}").status_code == 200


class TakenAway(LiveSpaces):
    """A request is always a little sooner: it takes away what is about to be, and what was there a moment ago."""

    def __delitem__(self, space: str) -> None:
        super().__delitem__(space)
        super().__delitem__(space)

    def __iter__(self) -> Iterator[str]:
        return iter(["taken-away", *super().__iter__()])


def test_the_poller_goes_on_when_a_request_removes_a_space_at_the_same_moment(
    database: Database, space: Space, tmp_path: Path
) -> None:
    removed: list[str] = []
    polled = threading.Semaphore(0)
    live_spaces = TakenAway(database, tmp_path, cast(Notifier, None), on_removed=removed.append)
    for name in ("no-such-space", space.name):
        live_spaces[name] = LiveSpace(database, tmp_path, name)
    poller = Poller(live_spaces, poll_s=0.01, after=lambda view: polled.release())
    poller.start()
    try:
        for _ in range(3):
            assert polled.acquire(timeout=10)
    finally:
        poller.stop()
    assert removed == ["no-such-space"]


def test_a_write_to_a_space_that_another_worker_deleted_is_not_found(shop: Shop, database: Database) -> None:
    root = shop.url.rsplit("/", 1)[0]
    name = f"gone-{secrets.token_hex(4)}"
    for method, path, body in (
        ("PUT", "/items/hat", {"title": "Hat"}),
        ("POST", "/items", [{"item_id": "hat"}]),
        ("POST", "/events", [{"user_id": "ann", "item_id": "hat"}]),
        ("PUT", "/users/ann", {"attributes": {}}),
    ):
        httpx.put(f"{root}/{name}").raise_for_status()
        httpx.get(f"{root}/{name}/status", timeout=30).raise_for_status()
        with database.begin() as conn:
            spaces.delete(conn, name)
        answer = httpx.request(method, f"{root}/{name}{path}", json=body, timeout=30)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found"), (path, answer.text)
