"""Publish and roll back: move the active pointer, keep one generation back, remove what is older."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.errors import Conflict
from engine.store import generations, spaces
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Database
from engine.store.spaces import Space
from indexing.generations.manifest import verify


def publish(
    database: Database,
    space: Space,
    generation: str,
    folder: Path,
    *,
    instead_of: str | None = None,
    damaged: bool = False,
) -> int:
    """Make a generation the active one once its files are checked; running servers swap to it. The `seq` of that.

    Conflict where another than `instead_of` is active by now; then the generation is removed. One that is `damaged` is
    nothing to go back to: it is removed, and the one before it stays.
    """
    with database.connect() as conn:
        record = generations.get(conn, space.key, generation)
    verify(folder / space.name / generation, record.manifest)
    try:
        with database.begin() as conn:
            generations.activate(conn, space.key, generation, instead_of=instead_of)
            removed = damaged and instead_of is not None and generations.remove(conn, space.key, instead_of)
            seq = snapshots.transaction_seq(conn)
    except Conflict:
        with database.begin() as conn:
            gone = generations.remove(conn, space.key, generation)
        _unlink(folder / space.name, [generation] if gone else [])
        raise
    if removed and instead_of is not None:
        _unlink(folder / space.name, [instead_of])
    _prune(database, space, folder)
    return seq


def rollback(database: Database, space: Space, folder: Path) -> str:
    """Go back to the generation that was active before; its name.

    Conflict where another was published meanwhile: that one is not what was to be taken back. Two who go back at the
    same time go back once.
    """
    with database.begin() as conn:
        spaces.lock(conn, space.key)  # else the two could be of different moments
        served, before = generations.active(conn, space.key), generations.previous(conn, space.key)
    if served is None or before is None:
        raise Conflict("there is no earlier generation to go back to")
    verify(folder / space.name / before.generation, before.manifest)  # without the lock: it may take seconds
    with database.begin() as conn:
        spaces.lock(conn, space.key)
        now = generations.active(conn, space.key)
        if now is None or now.generation != before.generation:
            generations.activate(conn, space.key, before.generation, instead_of=served.generation)
    return before.generation


def _prune(database: Database, space: Space, folder: Path) -> None:
    """Keep the active generation, the one before it and any that was never published since; remove the rest."""
    with database.begin() as conn:
        spaces.lock(conn, space.key)  # else one that is gone back to meanwhile, or the one before it, could be removed
        active, before = generations.active(conn, space.key), generations.previous(conn, space.key)
        assert active is not None
        kept = {active.generation} | ({before.generation} if before else set())
        old = [each.generation for each in generations.list_all(conn, space.key) if each.created_at < active.created_at]
        gone = [name for name in old if name not in kept and generations.remove(conn, space.key, name)]
    _unlink(folder / space.name, gone)


def _unlink(folder: Path, names: list[str]) -> None:
    """The files of generations, once their records are gone for good: a server that still maps them goes on."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
