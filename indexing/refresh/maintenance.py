"""Background maintenance of a server: prunes the change log, drops old served shelves, removes abandoned files and
rebuilds indexes.

A rebuild runs in a separate process, so that no request waits for it. One rebuild of a space runs at a time among all
servers of a database.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import structlog

from engine.errors import Conflict, NearfieldError, NotFound, StoreBusy
from engine.settings import Settings
from engine.store import generations, spaces
from engine.store.change_feeds import item_feed, snapshots
from engine.store.database.connections import Database
from engine.store.database.leader_election import LeaderElection
from engine.store.shelves import served_shelves
from indexing.building.build import NAME_PATTERN, rebuild_generation, rebuild_job
from indexing.building.publish import publish
from indexing.generations.folder_locks import lock_if_abandoned
from indexing.generations.generation_writer import PARTIAL
from indexing.generations.manifest import MANIFEST
from indexing.live.view import LiveView

log = structlog.get_logger()
MAX_DELTA, MAX_TOMBSTONES = 0.05, 0.10  # shares of the indexed rows beyond which a rebuild pays
PRUNE_S = 60.0
NEXT_REBUILD_S, RETRY_S = 10.0, 60.0  # pause after a rebuild, and after a failed one
MAX_DOUBLINGS = 8  # of the pause, while rebuilt generations are damaged again: the disk may be faulty


@dataclass(frozen=True)
class ChangedShares:
    """Rows outside the index and tombstones in it, as shares of the indexed rows."""

    delta: float
    tombstones: float

    @property
    def needs_rebuild(self) -> bool:
        return self.delta > MAX_DELTA or self.tombstones > MAX_TOMBSTONES


def changed_shares(view: LiveView) -> ChangedShares:
    """Counts vectors in the delta, and tombstones: rows of the index that are hidden since the build or replaced."""
    built = view.generation
    if built is None or len(built.vectors) == 0:
        return ChangedShares(0.0, 0.0)
    n_rows = len(built.vectors)
    shown = built.shown
    hidden = sum(
        not item.shown and (shown is None or bool(shown[row])) for row, item in view.changed.items() if row < n_rows
    )
    delta, replaced = (len(view.delta.beside), view.delta.replaced) if view.delta else (0, 0)
    return ChangedShares(delta / n_rows, (hidden + replaced) / n_rows)


class Maintenance:
    """The poller calls it with every refreshed view."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        prepare: Callable[[], None] | None = None,
        keep_shelves_days: int = Settings.model_fields["keep_shelves_days"].default,
    ):
        self._database, self._folder, self._keep_shelves_days = database, folder, keep_shelves_days
        self._prepare = prepare  # called first in a rebuild process, to set up logging
        self._elections: dict[str, LeaderElection] = {}
        self._running: dict[str, BaseProcess] = {}
        self._not_before: dict[str, float] = {}  # space -> time.monotonic()
        self._repairs: dict[str, int] = {}  # space -> rebuilds since its active generation was last served
        self._lock = threading.Lock()

    def __call__(self, view: LiveView) -> None:
        if view.stale:
            return
        self._prune()
        name = view.space.name
        with self._lock:
            if view.refused is None:
                self._repairs.pop(name, None)
            self._finish_rebuild(name)
            if name in self._running or time.monotonic() < self._not_before.get(name, 0.0):
                return
            instead_of = self._generation_to_replace(view)
            if instead_of is not None:
                self._start(view, instead_of)

    def close(self) -> None:
        """Kill running rebuilds; their files are removed later."""
        with self._lock:
            for process in self._running.values():
                process.kill()
                process.join()
            for election in self._elections.values():
                election.release()
            self._running.clear()
            self._elections.clear()

    @staticmethod
    def _generation_to_replace(view: LiveView) -> str | None:
        """The generation to rebuild: damaged, of another epoch, or with too many changes; else None."""
        if view.refused is not None:
            return view.refused.generation if view.refused.ours else None
        if view.generation is None:
            return None
        foreign = view.generation.manifest["start"]["epoch"] != view.snapshot.epoch
        return view.generation.generation if foreign or changed_shares(view).needs_rebuild else None

    def _start(self, view: LiveView, instead_of: str) -> None:
        name, election = view.space.name, LeaderElection(self._database, rebuild_job(view.space))
        if not election.try_acquire():
            self._not_before[name] = time.monotonic() + NEXT_REBUILD_S  # another process is rebuilding
            return
        refused = view.refused is not None
        if refused:
            self._repairs[name] = self._repairs.get(name, 0) + 1
        log.info("rebuild begins", space=name, generation=instead_of, wear=str(changed_shares(view)), refused=refused)
        arguments = (self._database.url, str(self._folder), name, instead_of, refused, self._prepare)
        process = multiprocessing.get_context("spawn").Process(target=rebuild, args=arguments, daemon=True)
        process.start()
        self._running[name], self._elections[name] = process, election

    def _finish_rebuild(self, name: str) -> None:
        process = self._running.get(name)
        if process is None or process.is_alive():
            return
        process.join()
        if process.exitcode:
            log.warning("rebuild failed", space=name, exit=process.exitcode)
        wait_s = (RETRY_S if process.exitcode else NEXT_REBUILD_S) * 2 ** min(self._repairs.get(name, 0), MAX_DOUBLINGS)
        self._not_before[name] = time.monotonic() + wait_s
        del self._running[name]
        self._elections.pop(name).release()

    def _prune(self) -> None:
        if time.monotonic() < self._not_before.get("", 0.0):
            return
        self._not_before[""] = time.monotonic() + PRUNE_S
        with self._database.begin() as conn:
            item_feed.prune(conn)
        drop_old_shelves(self._database, self._keep_shelves_days)
        remove_unfinished(self._folder)
        remove_unrecorded(self._database, self._folder)


def rebuild(
    url: str,
    folder: str,
    name: str,
    instead_of: str,
    damaged: bool = False,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Rebuild the active generation from PostgreSQL and publish it, unless another was published meanwhile.

    The target of the rebuild process; it ends with its parent.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        prepare()
    database = Database(url, pool_size=2)
    try:
        with database.begin() as conn:
            space = spaces.get(conn, name)
            active = generations.get(conn, space.key, instead_of)
        made = rebuild_generation(database, space, active, Path(folder))
        publish(database, space, made, Path(folder), instead_of=instead_of, damaged=damaged)
        log.info("rebuilt", space=name, generation=made)
    except (Conflict, NotFound) as error:
        log.info("rebuild not published", space=name, error=str(error))
    except NearfieldError as error:
        log.error("rebuild failed", space=name, error=str(error))
        raise SystemExit(1) from None
    finally:
        database.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def drop_old_shelves(database: Database, keep_days: int) -> None:
    """Drop the served shelves of days before the last `keep_days` ones; today's stay in any case."""
    with suppress(StoreBusy), database.begin() as conn:  # a dump holds a lock; the next call drops them
        dropped = served_shelves.drop_partitions(conn, datetime.now(UTC).date() - timedelta(days=keep_days))
        if dropped:
            log.info("dropped old served shelves", partitions=dropped)


def remove_unfinished(folder: Path) -> int:
    """Remove the temporary folders of killed builds; returns their number."""
    return sum(_remove(path) for path in folder.glob(f"*/.*{PARTIAL}"))


def remove_unrecorded(database: Database, folder: Path) -> int:
    """Remove complete generations that no record names; returns their number.

    Killed builds and removals leave these, and deleted spaces. Generations of another database that shares the folder
    stay, and so do generations that a process serves.
    """

    def is_recorded(path: Path) -> bool:
        with database.connect() as conn:
            return (path.parent.name, path.name) in generations.list_names(conn)

    with database.connect() as conn:
        epoch, kept = snapshots.epoch(conn), generations.list_names(conn)
    found = [path for path in folder.glob(f"*/{NAME_PATTERN}") if (path.parent.name, path.name) not in kept]
    return sum(_remove(path, unless=is_recorded) for path in found if _belongs_to_database(path, epoch))


def _remove(path: Path, unless: Callable[[Path], bool] = lambda path: False) -> bool:
    """Remove a folder if no process uses it; whether it was removed. `unless` is checked under the lock, because a
    build may just have recorded the folder."""
    with lock_if_abandoned(path) as idle:
        if not idle or unless(path):
            return False
        log.info("removing an abandoned build", path=f"{path.parent.name}/{path.name}")
        shutil.rmtree(path, ignore_errors=True)
        return True


def _belongs_to_database(path: Path, epoch: str) -> bool:
    """Whether a generation was built from the database of this epoch, or from an earlier timeline of it (a restore
    starts a new timeline). True for a generation without a manifest."""
    try:
        system, timeline, database = json.loads((path / MANIFEST).read_text())["start"]["epoch"].split("-")
        here = epoch.split("-")
        return (system, database) == (here[0], here[2]) and int(timeline) <= int(here[1])
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):  # unreadable: keep it
        return False
