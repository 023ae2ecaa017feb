"""What routes are given: settings, database, live views, ids from the path.

FastAPI moves each dependency that is no coroutine to a thread, which costs more than a search; so these are coroutines,
and only what may wait for PostgreSQL goes to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, ItemsView, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from api.auth import check_key_space
from api.coalescing.event_writer import EventWriter
from api.coalescing.history_reader import HistoryReader
from api.messages.encoded_paths import restored
from api.monitoring.clock_skew import ClockSkew
from api.monitoring.metrics import Metrics
from engine.errors import InputError, NotFound
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.database.notifications import Notifier
from engine.values.ids import check_id
from indexing.live.recall_sampler import Sampler
from indexing.live.view import LiveView
from indexing.refresh.live_space import Live


class LiveSpaces(MutableMapping[str, Live]):
    """The live view of each space, opened at its first request. Any thread may take one out while others look."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        notifier: Notifier,
        sampler: Sampler | None = None,
        owner: str = "",
        gone: Callable[[str], None] = lambda space: None,
    ):
        self._database, self._folder, self._notifier = database, folder, notifier
        self._sampler, self._owner = sampler, owner
        self._gone = gone  # told of a space that is not served any more
        self._lives: dict[str, Live] = {}

    def view(self, space: str) -> LiveView:
        """What is live in a space; NotFound when there is no such space."""
        live = self._lives.get(space)
        if live is not None:
            return live.current()
        live = Live(self._database, self._folder, space, self._sampler, self._owner)
        view = live.current()
        self._lives.setdefault(space, live)
        return view

    def view_if_open(self, space: str) -> LiveView | None:
        """The same without waiting for anything: None when the space is not open yet."""
        live = self._lives.get(space)
        return None if live is None else live.served

    def notify_write(self, space: str, seq: int) -> None:
        """This process sees its write at once, the others within milliseconds."""
        self._notifier.notify(space)
        live = self._lives.get(space)
        if live is not None:
            live.catch_up(seq)

    def refresh(self, space: str) -> None:
        """Look at all of a space anew: another generation is active. Other processes do so at their next poll."""
        live = self._lives.get(space)
        if live is not None:
            live.refresh()

    def get_existing(self, space: str) -> Live:
        """That of a space which this request had a view of; NotFound when it was deleted meanwhile."""
        live = self._lives.get(space)
        if live is None:
            raise NotFound(f"there is no space {space!r}; it was deleted meanwhile")
        return live

    def __getitem__(self, space: str) -> Live:
        return self._lives[space]

    def __setitem__(self, space: str, live: Live) -> None:
        self._lives[space] = live

    def __delitem__(self, space: str) -> None:
        """Of a space that another thread took out already: nothing."""
        if self._lives.pop(space, None) is not None:
            self._gone(space)

    def items(self) -> ItemsView[str, Live]:
        """As they are now: the mixin's looks each name up again, and one may be gone by then."""
        return dict(self._lives).items()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._lives))

    def __len__(self) -> int:
        return len(self._lives)


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def get_live_spaces(request: Request) -> LiveSpaces:
    live_spaces: LiveSpaces = request.app.state.live_spaces
    return live_spaces


async def get_event_writer(request: Request) -> EventWriter:
    event_writer: EventWriter = request.app.state.event_writer
    return event_writer


async def get_clock_skew(request: Request) -> ClockSkew:
    found: ClockSkew = request.app.state.clock
    return found


async def get_metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


@dataclass(frozen=True)
class ReadContext:
    """What the busiest routes need, as one dependency: each costs."""

    settings: Settings
    history_reader: HistoryReader
    metrics: Metrics


async def get_read_context(request: Request) -> ReadContext:
    state = request.app.state
    return ReadContext(state.settings, state.history_reader, state.metrics)


async def get_view(request: Request, space: str) -> LiveView:
    live_spaces: LiveSpaces = request.app.state.live_spaces
    view = live_spaces.view_if_open(space)
    if view is None:
        view = await asyncio.to_thread(live_spaces.view, space)
    check_key_space(request, view.space.key)
    return view


async def get_item_id(item_id: str) -> str:
    return check_id(restored(item_id), ("path", "item_id"))


async def get_user_id(user_id: str) -> str:
    return check_id(restored(user_id), ("path", "user_id"))


def check_k(k: int, settings: Settings, loc: tuple[str | int, ...] = ("k",)) -> int:
    if not 1 <= k <= settings.max_k:
        raise InputError(f"expected a k of 1 to {settings.max_k}, got {k}", loc=loc)
    return k


def check_indexed(view: LiveView) -> LiveView:
    """The view, once there is something to search in it."""
    if view.generation is None:
        raise NotFound(f"nothing is indexed in space {view.space.name!r} yet; run `nearfield reindex`")
    return view


AppSettings = Annotated[Settings, Depends(get_settings)]
AppDatabase = Annotated[Database, Depends(get_database)]
AppLiveSpaces = Annotated[LiveSpaces, Depends(get_live_spaces)]
AppEventWriter = Annotated[EventWriter, Depends(get_event_writer)]
AppClockSkew = Annotated[ClockSkew, Depends(get_clock_skew)]
AppMetrics = Annotated[Metrics, Depends(get_metrics)]
AppReadContext = Annotated[ReadContext, Depends(get_read_context)]
View = Annotated[LiveView, Depends(get_view)]
ItemId = Annotated[str, Depends(get_item_id)]
UserId = Annotated[str, Depends(get_user_id)]
