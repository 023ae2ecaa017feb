"""Publish and roll back: move the active pointer, keep the previous generation, remove older ones."""

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
    """Verify the files of a generation and make it active; running servers swap to it. Returns the `seq` of the change.

    Conflict if `instead_of` is given and no longer active; the new generation is then removed. If `instead_of` is
    `damaged`, it is removed too, and the generation before it stays as the one to roll back to.
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
    """Make the previously active generation active again; returns its name.

    Conflict if another generation was published in the meantime, because the caller did not mean to undo that one.
    Two concurrent calls roll back once.
    """
    with database.begin() as conn:
        spaces.lock(conn, space.key)  # so that both are read in the same state
        served, before = generations.active(conn, space.key), generations.previous(conn, space.key)
    if served is None or before is None:
        raise Conflict("there is no earlier generation to go back to")
    verify(folder / space.name / before.generation, before.manifest)  # without the lock, because it may take seconds
    with database.begin() as conn:
        spaces.lock(conn, space.key)
        now = generations.active(conn, space.key)
        if now is None or now.generation != before.generation:
            generations.activate(conn, space.key, before.generation, instead_of=served.generation)
    return before.generation


def _prune(database: Database, space: Space, folder: Path) -> None:
    """Remove generations older than the active one, except the previously active one."""
    with database.begin() as conn:
        spaces.lock(conn, space.key)  # so that a concurrent rollback cannot lose its generation
        active, before = generations.active(conn, space.key), generations.previous(conn, space.key)
        assert active is not None
        keep = {active.generation} | ({before.generation} if before else set())
        old = [each.generation for each in generations.list_all(conn, space.key) if each.created_at < active.created_at]
        removed = [name for name in old if name not in keep and generations.remove(conn, space.key, name)]
    _unlink(folder / space.name, removed)


def _unlink(folder: Path, names: list[str]) -> None:
    """Remove the files of generations after their records; a server that has mapped the files can still read them."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
