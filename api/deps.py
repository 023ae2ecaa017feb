"""FastAPI dependencies of the routes: settings, database, live views, ids from the path.

All are coroutines: FastAPI runs a plain function in a thread, which takes longer than a search. Only work that may wait
for PostgreSQL goes to a thread.
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
from api.served.shelf_writer import ShelfWriter
from engine.errors import InputError, NotFound
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.database.notifications import Notifier
from engine.values.ids import check_id
from indexing.live.recall_sampler import RecallSampler
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace


class LiveSpaces(MutableMapping[str, LiveSpace]):
    """The live state of each space, opened at its first request. A space may be removed during an iteration."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        notifier: Notifier,
        sampler: RecallSampler | None = None,
        gpu_address: str = "",
        on_removed: Callable[[str], None] = lambda space: None,
    ):
        self._database, self._folder, self._notifier = database, folder, notifier
        self._sampler, self._gpu_address = sampler, gpu_address
        self._on_removed = on_removed  # called with the name of a removed space
        self._open_spaces: dict[str, LiveSpace] = {}

    def view(self, space: str) -> LiveView:
        """The current view of a space; opens the space if needed. NotFound when there is no such space."""
        live = self._open_spaces.get(space)
        if live is not None:
            return live.current()
        live = LiveSpace(self._database, self._folder, space, self._sampler, self._gpu_address)
        view = live.current()
        self._open_spaces.setdefault(space, live)
        return view

    def view_if_open(self, space: str) -> LiveView | None:
        """The current view without blocking; None when the space is not open yet."""
        live = self._open_spaces.get(space)
        return None if live is None else live.view_if_built

    def notify_write(self, space: str, seq: int) -> None:
        """Show a committed write: in this process at once, in other processes within milliseconds."""
        self._notifier.notify(space)
        live = self._open_spaces.get(space)
        if live is not None:
            live.catch_up(seq)

    def refresh(self, space: str) -> None:
        """Load the active generation of a space. Other processes do so at their next poll."""
        live = self._open_spaces.get(space)
        if live is not None:
            live.refresh()

    def get_existing(self, space: str) -> LiveSpace:
        """The live state of a space; NotFound when it was deleted after the request got its view."""
        live = self._open_spaces.get(space)
        if live is None:
            raise NotFound(f"there is no space {space!r}; it was deleted a moment ago")
        return live

    def __getitem__(self, space: str) -> LiveSpace:
        return self._open_spaces[space]

    def __setitem__(self, space: str, live: LiveSpace) -> None:
        self._open_spaces[space] = live

    def __delitem__(self, space: str) -> None:
        """Does nothing when another thread removed the space already."""
        if self._open_spaces.pop(space, None) is not None:
            self._on_removed(space)

    def items(self) -> ItemsView[str, LiveSpace]:
        """A snapshot. The mixin looks each name up again, and a space may be removed by then."""
        return dict(self._open_spaces).items()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._open_spaces))

    def __len__(self) -> int:
        return len(self._open_spaces)


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def get_live_spaces(request: Request) -> LiveSpaces:
    live_spaces: LiveSpaces = request.app.state.live_spaces
    return live_spaces


async def get_metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def get_shelf_writer(request: Request) -> ShelfWriter:
    shelf_writer: ShelfWriter = request.app.state.shelf_writer
    return shelf_writer


@dataclass(frozen=True)
class ReadContext:
    """The dependencies of the busiest routes in one value: FastAPI takes time for each dependency."""

    settings: Settings
    history_reader: HistoryReader
    metrics: Metrics
    database: Database
    shelf_writer: ShelfWriter


async def get_read_context(request: Request) -> ReadContext:
    state = request.app.state
    return ReadContext(state.settings, state.history_reader, state.metrics, state.database, state.shelf_writer)


@dataclass(frozen=True)
class EventContext:
    """The dependencies of event writes in one value, as `ReadContext` is for reads."""

    settings: Settings
    event_writer: EventWriter
    live_spaces: LiveSpaces
    metrics: Metrics
    clock_skew: ClockSkew


async def get_event_context(request: Request) -> EventContext:
    state = request.app.state
    return EventContext(state.settings, state.event_writer, state.live_spaces, state.metrics, state.clock_skew)


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


def check_k(k: int, settings: Settings, loc: tuple[str | int, ...]) -> int:
    if not 1 <= k <= settings.max_k:
        raise InputError(f"expected a k of 1 to {settings.max_k}, got {k}", loc=loc)
    return k


def check_indexed(view: LiveView) -> LiveView:
    """The view; NotFound when the space has no generation yet."""
    if view.generation is None:
        raise NotFound(f"nothing is indexed in space {view.space.name!r} yet; run `nearfield reindex`")
    return view


AppSettings = Annotated[Settings, Depends(get_settings)]
AppDatabase = Annotated[Database, Depends(get_database)]
AppLiveSpaces = Annotated[LiveSpaces, Depends(get_live_spaces)]
AppMetrics = Annotated[Metrics, Depends(get_metrics)]
AppShelfWriter = Annotated[ShelfWriter, Depends(get_shelf_writer)]
AppReadContext = Annotated[ReadContext, Depends(get_read_context)]
AppEventContext = Annotated[EventContext, Depends(get_event_context)]
View = Annotated[LiveView, Depends(get_view)]
ItemId = Annotated[str, Depends(get_item_id)]
UserId = Annotated[str, Depends(get_user_id)]
