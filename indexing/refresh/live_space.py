"""LiveSpace: holds the current view of one space and replaces it when a generation is published or data changes."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import structlog

from engine.errors import Conflict, CorruptGeneration, DeadlineExceeded, StoreUnavailable
from engine.merchandising.presets import parse_presets
from engine.store import generations, items, spaces
from engine.store.change_feeds import item_feed, snapshots
from engine.store.database.connections import Connection, Database
from engine.store.database.leader_election import LeaderElection
from engine.store.generations import GenerationRecord
from engine.store.shelves import presets
from engine.store.spaces import Space
from indexing.building.build import rebuild_generation, rebuild_job
from indexing.building.publish import publish
from indexing.generations.folder_identity import built_in_folder
from indexing.generations.generation import open_generation
from indexing.generations.refused_generation import RefusedGeneration
from indexing.gpu.gpu_process import with_gpu_searchers
from indexing.live.apply_changes import apply_changed_items
from indexing.live.behaviour_updates import BehaviourUpdater
from indexing.live.encoded_records import encode_records, predict_vectors
from indexing.live.recall_sampler import RecallSampler
from indexing.live.view import LiveView
from indexing.searchers.filter_masks import FilterMasks

log = structlog.get_logger()
POLL_INTERVAL_S = 0.01  # of `wait_for`
SWITCH_INTERVAL_S = 0.005  # Python's default
REBUILD_WAIT_S = 0.2


class LiveSpace:
    """The live view of one space. A poller calls `refresh` every second and `catch_up` at every notification."""

    def __init__(
        self, database: Database, folder: Path, name: str, sampler: RecallSampler | None = None, gpu_address: str = ""
    ):
        self._database, self._folder, self._name, self._sampler = database, folder, name, sampler
        self._gpu_address = gpu_address  # socket of the GPU process; empty: search on the CPU
        self._swap = threading.Lock()  # held while a generation is opened (seconds)
        self._lock = threading.Lock()  # held while changes are read (milliseconds)
        self._view: LiveView | None = None
        self._behaviour = BehaviourUpdater(database)
        self._refused: dict[str, str] = {}  # damaged generation -> reason
        self.refreshed_at = 0.0

    @property
    def view_if_built(self) -> LiveView | None:
        """The current view, or None before the first request."""
        return self._view

    def current(self) -> LiveView:
        """The current view, built at the first call. NotFound if the space does not exist."""
        return self._view or self.refresh()

    def refresh(self) -> LiveView:
        """Check the active generation and read changes; replace the view if anything changed."""
        with self._swap:
            try:
                opened = self._open_active()
                with self._lock:
                    view = self._view if opened is None else opened
                    assert view is not None
                    self._view = self._replay(view)
            except StoreUnavailable:
                with self._lock:
                    if self._view is None:
                        raise
                    self._view = replace(self._view, stale=True)
                    return self._view  # refreshed_at stays, so that the reported lag grows
            self.refreshed_at = time.time()
            self._update_behaviour(self._view)
            return self._view

    def _update_behaviour(self, view: LiveView) -> None:
        """Update popularity, trends and counts, outside the lock for changes: after an import it takes long."""
        with suppress(StoreUnavailable):  # the next refresh tries again
            updated = self._behaviour.updated(view, time.time_ns() // 1000)
            if updated is not None:
                with self._lock:
                    assert self._view is not None
                    self._view = replace(
                        self._view, updated_popularity=updated.popularity, updated_behaviour=updated.behaviour
                    )

    def catch_up(self, seq: int | None = None, asked_at: float = -math.inf) -> LiveView:
        """Read changes only; no-op if the view already shows `seq` to a read that arrived at `asked_at`.

        If PostgreSQL is unreachable, the view becomes stale.
        """
        if self._view is None:
            return self.refresh()
        with self._lock:
            if seq is None or not self._view.shows(seq, asked_at):  # another thread may have read it meanwhile
                try:
                    self._view = self._replay(self._view)
                except StoreUnavailable:
                    self._view = replace(self._view, stale=True)
            return self._view

    def wait_for(self, seq: int, within_s: float, asked_at: float | None = None) -> LiveView:
        """Wait for a view with the write `seq` and all lower-numbered writes acknowledged before `asked_at`.

        `asked_at` is by time.perf_counter; the default is now. DeadlineExceeded after `within_s`, and at once where
        PostgreSQL has not begun a write of that number, because a write is acknowledged only after it ended.
        """
        view, until = self.current(), time.monotonic() + within_s
        asked_at = time.perf_counter() if asked_at is None else asked_at
        while not view.shows(seq, asked_at):
            view = self.catch_up(seq, asked_at)
            if view.shows(seq, asked_at):
                break
            not_begun = not view.stale and seq >= view.snapshot.xmax
            if not_begun or time.monotonic() + POLL_INTERVAL_S > until:
                why = "no write has that number yet" if not_begun else f"{max(within_s, 0) * 1000:.0f} ms are over"
                if view.stale and view.snapshot.includes(seq):
                    why = "PostgreSQL is unreachable, and earlier writes may have ended since"
                seen = view.snapshot.xmax - 1
                raise DeadlineExceeded(
                    f"changes up to {seen} are seen here, asked for min_seq {seq}, and {why}; try again"
                )
            time.sleep(POLL_INTERVAL_S)
        return view

    def _open_active(self) -> LiveView | None:
        """A view of another generation than the served one; None: keep the served one.

        Tries the active generation, then the previous one. If both are damaged, a generation that is served already
        stays, and the view's `refused` makes maintenance rebuild the active one; otherwise it is rebuilt here.
        """
        with self._database.begin() as conn:
            space = spaces.get(conn, self._name)
            active = generations.active(conn, space.key)
            before = generations.previous(conn, space.key)
        wanted = [record for record in (active, before) if record is not None]
        here = self._view if self._view is not None and self._view.space.key == space.key else None
        served = here.generation.generation if here is not None and here.generation is not None else None
        for record in wanted:
            if record.generation == served:
                break
            opened = self._open_or_refuse(space, record)
            if opened is not None:
                return self._replay(replace(opened, refused=self._refusal(wanted)))
        else:
            if here is None:
                return self._replay(self._rebuild_and_open(space) if wanted else LiveView(space))
        with self._lock:
            if self._view is not None and self._view.refused != (refused := self._refusal(wanted)):
                self._view = replace(self._view, refused=refused)
        return None

    def _refusal(self, wanted: list[GenerationRecord]) -> RefusedGeneration | None:
        why = self._refused.get(wanted[0].generation) if wanted else None
        return (
            None
            if why is None
            else RefusedGeneration(wanted[0].generation, why, built_in_folder(wanted[0].manifest, self._folder))
        )

    def _open_or_refuse(self, space: Space, record: GenerationRecord) -> LiveView | None:
        """A view of a generation; None where it is damaged, now or at an earlier attempt."""
        if record.generation in self._refused:
            return None
        try:
            return self._open_view(space, record)
        except CorruptGeneration as error:
            log.error("generation refused", space=space.name, generation=record.generation, error=str(error))
            self._refused[record.generation] = str(error)
            return None

    def _open_view(self, space: Space, record: GenerationRecord) -> LiveView:
        path = self._folder / space.name / record.generation
        with _yielding_to_requests():
            opened = open_generation(path, record.manifest)
        if self._gpu_address:
            opened = with_gpu_searchers(opened, path, self._gpu_address)
        start = opened.manifest["start"]
        return LiveView(
            space,
            opened,
            opened.shown,
            snapshot=snapshots.parse(start["snapshot"], start["epoch"]),
            filters=FilterMasks(opened.columns),
            sampler=self._sampler,
        )

    def _rebuild_and_open(self, space: Space) -> LiveView:
        """Rebuild the active generation in one process by leader election; other processes wait for it."""
        election = LeaderElection(self._database, rebuild_job(space))
        while not election.try_acquire():
            time.sleep(REBUILD_WAIT_S)
        try:
            active = self._active(space)
            if active.generation in self._refused:
                log.warning("rebuilding the index from PostgreSQL", space=space.name, model=active.model)
                name = rebuild_generation(self._database, space, active, self._folder)
                damaged = built_in_folder(active.manifest, self._folder)
                with suppress(Conflict):  # another generation was published meanwhile
                    publish(self._database, space, name, self._folder, instead_of=active.generation, damaged=damaged)
            return self._open_view(space, self._active(space))
        finally:
            election.release()

    def _active(self, space: Space) -> GenerationRecord:
        with self._database.begin() as conn:
            active = generations.active(conn, space.key)
        assert active is not None
        return active

    def _replay(self, view: LiveView) -> LiveView:
        """The view after the changes since its snapshot, or after the whole catalogue if the change log is pruned.

        View and snapshot are replaced together, so a database failure in between loses no change. The space and its
        active generation are read after the snapshot, so that the view shows at least their state at the snapshot.
        """
        looked_at = time.perf_counter()
        with self._database.begin() as conn:
            keys, snapshot = item_feed.read_since(conn, view.space.key, view.snapshot)
            view = _with_presets(conn, replace(view, space=spaces.find_by_key(conn, view.space.key) or view.space))
            activated = generations.active_with_xid(conn, view.space.key)
            if activated is not None and (view.generation is None or view.generation.generation != activated[0]):
                snapshot = snapshot.hiding(activated[1])  # opened at the next refresh, which may take seconds
            if keys is not None and not keys:
                return replace(view, snapshot=snapshot, looked_at=looked_at, stale=False)
            found = items.read_catalogue(conn, view.space.key, keys)
            model = view.generation.model if view.generation else 0
            own = items.read_vectors(conn, view.space.key, model, keys) if view.generation else {}
            own = encode_records(conn, view.space.key, view.codec, keys) | predict_vectors(conn, view, found) | own
        view = apply_changed_items(view, found, own, whole=keys is None)
        return replace(view, snapshot=snapshot, looked_at=looked_at, stale=False)


def _with_presets(conn: Connection, view: LiveView) -> LiveView:
    """The view with the current presets, which are read again when the space has another version of them."""
    version = view.space.presets_version
    if view.presets.version == version:
        return view
    read = parse_presets(version, presets.list_current(conn, view.space.key))
    for (kind, name), why in read.broken.items():
        if view.presets.broken.get((kind, name)) != why:
            log.warning(f"a {kind} cannot be used", space=view.space.name, name=name, error=why)
    return replace(view, presets=read)


@contextmanager
def _yielding_to_requests() -> Iterator[None]:
    """Shorten Python's thread switch interval, because each request needs the interpreter lock several times."""
    sys.setswitchinterval(SWITCH_INTERVAL_S / 10)
    try:
        yield
    finally:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
