"""Live: the generation being served plus what changed since. One immutable view is swapped for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from engine.errors import CorruptGeneration, StoreUnavailable
from engine.ids import IdMap
from engine.recommend import Mask, Searcher
from engine.space import FoldIn
from engine.store import changes, generations, items, spaces
from engine.store.changes import Cursor
from engine.store.database import Database
from engine.store.spaces import Space
from engine.vectors import Matrix, Vectors
from indexing.build import build_generation
from indexing.generation import Generation, fields_json, open_generation
from indexing.publish import publish

log = structlog.get_logger()
NOTHING = IdMap(())


@dataclass(frozen=True, eq=False)
class LiveView:
    """What one request is answered from."""

    space: Space
    generation: Generation | None = None
    allowed: Mask | None = None  # (n_rows,), None: every row
    overrides: Mapping[int, bytes] = field(default_factory=dict)  # row -> fields that changed since the build
    newcomers: Mapping[str, bytes] = field(default_factory=dict)  # items without a row yet, with their fields
    degraded: bool = False  # an older generation than the active one is served
    stale: bool = False  # PostgreSQL is away: this is what was true when it was last seen

    @property
    def items(self) -> IdMap:
        return self.generation.items if self.generation else NOTHING

    @property
    def n_vectors(self) -> int:
        return len(self.generation.vectors) if self.generation else 0

    @property
    def fold_in(self) -> FoldIn | None:
        return self.generation.fold_in if self.generation else None

    @property
    def users_to_items(self) -> Searcher | None:
        return self.generation.users_to_items if self.generation else None

    @property
    def items_to_items(self) -> Searcher | None:
        return self.generation.items_to_items if self.generation else None

    @property
    def vectors(self) -> Matrix:
        return self.generation.vectors if self.generation else np.zeros((0, 0), np.float32)

    @property
    def users(self) -> Vectors | None:
        return self.generation.users if self.generation else None

    @property
    def popular(self) -> npt.NDArray[np.int64]:
        return self.generation.popular if self.generation else np.zeros(0, np.int64)

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        return self.generation.popularity if self.generation else np.zeros(0, np.float32)

    def fields(self, item_id: str, row: int) -> bytes:
        """The item's fields as JSON."""
        if row < 0 or self.generation is None:
            return self.newcomers.get(item_id, b"{}")
        return self.overrides.get(row) or self.generation.fields(row)


class Live:
    """The live view of one space, refreshed by `refresh` and, once started, every `poll_s` seconds."""

    def __init__(self, database: Database, folder: Path, name: str):
        self._database, self._folder, self._name = database, folder, name
        self._lock = threading.Lock()
        self._view: LiveView | None = None
        self._cursor: Cursor | None = None
        self._refused: set[str] = set()  # generations that failed their checksums here
        self.refreshed_at = 0.0

    def current(self) -> LiveView:
        """The view to answer from; made at the first call. NotFound when there is no such space."""
        return self._view or self.refresh()

    def refresh(self) -> LiveView:
        """Look at the active generation and at what changed; swap the view if anything did."""
        with self._lock:
            try:
                self._view, self._cursor = self._next()
                self.refreshed_at = time.time()
            except StoreUnavailable:
                if self._view is None:
                    raise
                self._view = replace(self._view, stale=True)
            return self._view

    def _next(self) -> tuple[LiveView, Cursor]:
        with self._database.begin() as conn:
            space = spaces.get(conn, self._name)
            active = generations.active(conn, space.key)
            before = generations.previous(conn, space.key)
        wanted = [record.generation for record in (active, before) if record is not None]
        view = self._view
        if view is None or view.space.key != space.key or (wanted and not self._serves(view, wanted)):
            return self._changed(self._open(space, wanted), None)
        served = view.generation.generation if view.generation else None
        behind = bool(wanted) and served != wanted[0]
        return self._changed(replace(view, space=space, stale=False, degraded=behind), self._cursor)

    def _serves(self, view: LiveView, wanted: list[str]) -> bool:
        served = view.generation.generation if view.generation else None
        usable = [name for name in wanted if name not in self._refused]
        return bool(usable) and served == usable[0]

    def _open(self, space: Space, wanted: list[str]) -> LiveView:
        """The first of the wanted generations that is whole; when none is, it is rebuilt from PostgreSQL."""
        for name in wanted:
            if name in self._refused:
                continue
            try:
                opened = open_generation(self._folder / space.name / name)
            except CorruptGeneration as error:
                log.error("generation refused", space=space.name, generation=name, error=str(error))
                self._refused.add(name)
                continue
            return LiveView(space, opened, opened.shown, degraded=name != wanted[0])
        return self._rebuilt(space) if wanted else LiveView(space)

    def _rebuilt(self, space: Space) -> LiveView:
        with self._database.begin() as conn:
            active = generations.active(conn, space.key)
        assert active is not None
        log.warning("rebuilding the index from PostgreSQL", space=space.name, model=active.model)
        name = build_generation(self._database, space, active.model, self._folder)
        publish(self._database, space, name, self._folder)
        opened = open_generation(self._folder / space.name / name)
        return LiveView(space, opened, opened.shown)

    def _changed(self, view: LiveView, cursor: Cursor | None) -> tuple[LiveView, Cursor]:
        """The view after replaying what changed since `cursor`; all of the catalogue where there is none to go on.

        View and cursor are kept together or not at all: a database that goes away in between loses no change.
        """
        with self._database.begin() as conn:
            if cursor is None:
                cursor, known = self._start(changes.head(conn), changes.epoch(conn), view)
                if not known:
                    return _apply(view, items.read_catalogue(conn, view.space.key)), cursor
            found: list[int] = []
            while True:
                keys, after = changes.read_since(conn, view.space.key, cursor)
                if after == cursor:
                    break
                found += keys
                cursor = after
            if not found:
                return view, cursor
            return _apply(view, items.read_catalogue(conn, view.space.key, sorted(set(found)))), cursor

    @staticmethod
    def _start(head: Cursor, epoch: str, view: LiveView) -> tuple[Cursor, bool]:
        """Where to replay from, and whether that is the snapshot the generation was exported from, of this database."""
        if view.generation is None or view.generation.manifest["start"]["epoch"] != epoch:
            return head, False
        return Cursor(int(view.generation.manifest["start"]["xid"]), 0), True


def _apply(view: LiveView, changed: pa.Table) -> LiveView:
    """The view with these catalogue rows as they are now."""
    row_of = view.generation.row_of_key if view.generation else {}
    n_rows = len(view.items)
    allowed = np.ones(n_rows, dtype=bool) if view.allowed is None else view.allowed.copy()
    overrides, newcomers = dict(view.overrides), dict(view.newcomers)
    for item in changed.to_pylist():
        row, shown = row_of.get(item["item_key"]), item["available"] and not item["deleted"]
        if row is not None:
            allowed[row] = shown
            overrides[row] = fields_json(item)
        elif shown:
            newcomers[item["item_id"]] = fields_json(item)
        else:
            newcomers.pop(item["item_id"], None)
    return replace(view, allowed=None if allowed.all() else allowed, overrides=overrides, newcomers=newcomers)


class Poller:
    """A thread that refreshes every live space; the poll is the truth, a write only refreshes sooner."""

    def __init__(self, lives: Mapping[str, Live], poll_s: float):
        self._lives, self._poll_s = lives, poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            for name, live in list(self._lives.items()):
                try:
                    live.refresh()
                except Exception as error:  # the next poll tries again; a request sees the last good view
                    log.warning("refresh failed", space=name, error=str(error))
