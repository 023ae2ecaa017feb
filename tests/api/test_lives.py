"""The live views of a process, when a space goes away under those who look at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from api.deps import Lives
from engine.store.database import Database
from engine.store.spaces import Space
from engine.store.wake import Waker
from indexing.live import Live
from indexing.poller import Poller


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
