"""Live views of spaces that another thread deletes in the middle: told as not found, and nothing else fails."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from api.deps import Lives
from engine.store import spaces
from engine.store.change_feeds import item_feed
from engine.store.database.connections import Database
from engine.store.database.notifications import Waker
from engine.store.spaces import Space
from indexing.refresh.live_space import Live
from indexing.refresh.poller import Poller
from tests.api.conftest import Shop


class Deleting(dict[str, Live]):
    """What `Lives` keeps, where a space is deleted by another thread as soon as it was seen to be there."""

    def __contains__(self, name: object) -> bool:
        there = super().__contains__(name)
        super().pop(str(name), None)
        return there

    def __iter__(self) -> Any:
        names = list(super().__iter__())
        self.clear()
        return iter(names)

    def __getitem__(self, name: str) -> Live:
        live = super().__getitem__(name)
        super().pop(name)
        return live


@pytest.fixture
def lives(database: Database, space: Space, tmp_path: Any) -> Any:
    waker = Waker(database)
    made = Lives(database, tmp_path, waker)
    made.view(space.name)
    made._lives = Deleting(made._lives)
    yield made
    waker.close()


def test_a_space_deleted_in_the_middle_fails_no_look_at_it(lives: Lives, database: Database, space: Space) -> None:
    [live] = lives._lives.values()
    with database.begin() as conn:
        seq = item_feed.sequence(conn)
    looks: list[Callable[[], object]] = [
        lambda: lives.wrote(space.name, seq),
        lambda: lives.refresh(space.name),
        lambda: lives.pop(space.name, None),
        lambda: list(lives.items()),
    ]
    for look in looks:
        lives._lives[space.name] = live
        look()


def test_who_had_a_view_of_a_space_that_is_gone_is_told_that_it_is_not_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shop.url.rsplit("/", 1)[0]
    name = f"gone-{secrets.token_hex(4)}"
    seq = httpx.put(f"{root}/{name}").json()["seq"]
    served = Lives.served

    def served_and_gone(lives: Lives, space: str) -> Any:
        view = served(lives, space) or lives.view(space)
        lives.pop(space, None)
        return view

    monkeypatch.setattr(Lives, "served", served_and_gone)
    for path in ("status", f"recommend?min_seq={seq + 10**6}"):
        answer = httpx.get(f"{root}/{name}/{path}", timeout=30)
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"there is no space '{name}'; it was deleted meanwhile",
        )
    assert httpx.post(f"{root}/{name}/items", json=[{"item_id": "hat"}], timeout=30).json()["accepted"] == 1
    monkeypatch.undo()
    assert httpx.delete(f"{root}/{name}").status_code == 200


class TakenAway(Lives):
    """A request is always a little sooner: it takes away what is about to be, and what was there a moment ago."""

    def __delitem__(self, space: str) -> None:
        super().__delitem__(space)
        super().__delitem__(space)

    def __iter__(self) -> Iterator[str]:
        return iter(["taken-away", *super().__iter__()])


def test_the_poller_goes_on_when_a_request_takes_a_space_away_at_the_same_moment(
    database: Database, space: Space, tmp_path: Path
) -> None:
    gone: list[str] = []
    polled = threading.Semaphore(0)
    lives = TakenAway(database, tmp_path, cast(Waker, None), gone=gone.append)
    for name in ("no-such-space", space.name):
        lives[name] = Live(database, tmp_path, name)
    poller = Poller(lives, poll_s=0.01, after=lambda view: polled.release())
    poller.start()
    try:
        for _ in range(3):
            assert polled.acquire(timeout=10)
    finally:
        poller.stop()
    assert gone == ["no-such-space"]


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
