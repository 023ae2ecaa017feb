"""Maintenance: one process at a time rebuilds an index with many changes; logs and abandoned files are removed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from engine.errors import Conflict, StoreUnavailable
from engine.store import generations, items, spaces
from engine.store.change_feeds import item_feed, snapshots
from engine.store.database.leader_election import LeaderElection
from engine.values.items import Item, ItemVector
from indexing.building.build import NAME_PATTERN
from indexing.building.publish import publish
from indexing.generations.folder_locks import create_locked, lock_for_serving
from indexing.generations.manifest import MANIFEST
from indexing.refresh.maintenance import ChangedShares, Maintenance, changed_shares, rebuild, remove_unfinished
from tests.indexing.shop import ITEMS


@pytest.fixture
def upkeep(shop):
    made = Maintenance(shop.database, shop.folder)
    yield made
    made.close()


def active(shop) -> str:
    with shop.database.connect() as conn:
        return generations.active(conn, shop.space.key).generation


def hide(shop, n):
    shop.change(items.set_availability, {f"i{row}": False for row in range(n)})


def forget(shop, name):
    with shop.database.begin() as conn:
        conn.exec_driver_sql("DELETE FROM generations WHERE generation = %s", (name,))


def age(folder, age_s):
    for path in (*folder.iterdir(), folder):
        os.utime(path, (time.time() - age_s, time.time() - age_s))


def new_items(n):
    return [Item(f"new{row}", vector=ItemVector(1, (1.0, float(row + 1)))) for row in range(n)]


def test_changed_shares_count_rows_outside_the_index_and_tombstones_in_it(shop):
    shop.publish()
    live = shop.live()
    assert changed_shares(live.current()) == ChangedShares(0.0, 0.0)
    hide(shop, 3)
    shop.change(items.upsert, new_items(2))
    worn = changed_shares(live.refresh())
    assert worn == ChangedShares(2 / ITEMS, 3 / ITEMS)
    assert worn.needs_rebuild  # by the delta
    assert not ChangedShares(0.05, 0.10).needs_rebuild
    assert ChangedShares(0.0, 0.11).needs_rebuild


def test_an_index_with_many_changes_is_rebuilt_by_another_process(shop, upkeep):
    first = shop.publish()
    live = shop.live()
    hide(shop, 4)
    shop.change(items.upsert, new_items(2))
    started = time.monotonic()
    upkeep(live.refresh())
    assert time.monotonic() - started < 5  # it is begun, not waited for
    until = time.monotonic() + 60
    while upkeep._running and time.monotonic() < until:
        time.sleep(0.1)
        upkeep(live.refresh())
    view = live.refresh()
    assert view.generation.generation == active(shop) != first
    assert changed_shares(view) == ChangedShares(0.0, 0.0)
    assert {"new0", "new1"} <= set(view.generation.items.ids)
    assert view.allowed is not None
    assert view.allowed.sum() == ITEMS - 4 + 2
    upkeep(view)
    assert not upkeep._running


def test_one_process_rebuilds_at_a_time(shop, upkeep):
    first = shop.publish()
    hide(shop, 10)
    view = shop.live().current()
    other = LeaderElection(shop.database, f"rebuild {shop.space.key}")
    assert other.try_acquire()
    try:
        upkeep(view)
        assert not upkeep._running
    finally:
        other.release()
    assert active(shop) == first


def test_an_index_with_few_changes_is_not_rebuilt(shop, upkeep):
    shop.publish()
    hide(shop, 3)
    upkeep(shop.live().current())
    assert not upkeep._running


def test_a_rebuild_does_not_replace_a_generation_published_meanwhile(shop):
    first, second = shop.publish(), shop.publish()
    made = shop.build()
    with pytest.raises(Conflict, match=f"expected {first} to be active, got {second}, which"):
        publish(shop.database, shop.space, made, shop.folder, instead_of=first)
    assert active(shop) == second
    assert not shop.path(made).exists()
    rebuild(shop.database.url, str(shop.folder), shop.space.name, first)  # says so and ends well
    assert active(shop) == second
    assert sorted(path.name for path in (shop.folder / shop.space.name).iterdir()) == sorted([first, second])


def test_the_change_log_is_pruned_periodically(shop, upkeep):
    shop.change(items.upsert, [Item("old")])
    shop.publish()
    before = shop.live().current().snapshot
    upkeep(shop.live().current())
    with shop.database.connect() as conn:
        left = conn.exec_driver_sql(
            "SELECT count(*) FROM change_log WHERE space_key = %s AND xid < %s::text::xid8",
            (shop.space.key, str(before.xmin)),
        ).scalar_one()
        assert item_feed.read_since(conn, shop.space.key, before)[0] == []
    assert left == 0 or shop.space.key > 1  # another space of the run may need more of the log


def test_an_unfinished_folder_is_removed_when_no_process_holds_its_lock(shop):
    name = shop.publish()
    left, in_use = (shop.folder / shop.space.name / f".{each}.partial" for each in ("left", "in-use"))
    left.mkdir()
    (left / "items.npy").write_bytes(b"half")
    lock = create_locked(in_use)
    (in_use / "items.npy").write_bytes(b"half")
    age(in_use, 10 * 86_400)  # the clock was put forward since
    age(left, -86_400)  # or back
    assert remove_unfinished(shop.folder) == 1
    assert sorted(path.name for path in (shop.folder / shop.space.name).iterdir()) == [in_use.name, name]
    lock.close()
    assert remove_unfinished(shop.folder) == 1
    assert [path.name for path in (shop.folder / shop.space.name).iterdir()] == [name]


def test_items_hidden_before_the_build_are_no_tombstones(shop):
    hide(shop, 5)
    shop.publish()
    live = shop.live()
    live.current()
    hide(shop, 6)
    assert changed_shares(live.refresh()) == ChangedShares(0.0, 1 / ITEMS)


def test_a_build_that_cannot_be_recorded_leaves_no_files(shop, monkeypatch):
    def away(*arguments):
        raise StoreUnavailable("PostgreSQL is unreachable")

    monkeypatch.setattr(generations, "add", away)
    with pytest.raises(StoreUnavailable):
        shop.build()
    assert list((shop.folder / shop.space.name).iterdir()) == []


def test_generations_without_a_record_are_removed(shop, upkeep):
    before, active = shop.publish(), shop.publish()
    left, restored, half, later, foreign, at_work, recorded = (shop.build() for _ in range(7))
    for name in (left, restored, half, later, foreign, at_work):
        forget(shop, name)
    (shop.path(half) / MANIFEST).unlink()
    with shop.database.connect() as conn:
        system, timeline, of = snapshots.epoch(conn).split("-")
    epochs = {restored: (system, 0, of), later: (system, int(timeline) + 1, of), foreign: ("7", timeline, of)}
    for name, epoch in epochs.items():
        manifest = json.loads((shop.path(name) / MANIFEST).read_text())
        manifest["start"]["epoch"] = "-".join(map(str, epoch))
        (shop.path(name) / MANIFEST).write_text(json.dumps(manifest))
    shutil.copytree(shop.path(active), shop.path("kept by hand"))
    lock = lock_for_serving(shop.path(at_work))
    upkeep(shop.live().current())
    remaining = sorted(path.name for path in (shop.folder / shop.space.name).iterdir())
    assert remaining == sorted([later, foreign, at_work, recorded, before, active, "kept by hand"])
    lock.close()


def test_generations_of_a_deleted_space_are_removed(shop, upkeep, database):
    with database.begin() as conn:
        deleted = spaces.ensure(conn, shop.space.name + "-gone")
    name = shop.publish()
    shutil.copytree(shop.path(name), shop.folder / deleted.name / name)  # as one that was killed as it deleted it
    with database.begin() as conn:
        spaces.delete(conn, deleted.name)
    upkeep(shop.live().current())
    assert list((shop.folder / deleted.name).iterdir()) == []
    assert shop.path(name).exists()


STEPS = [  # the last thing that is done before the process dies
    "indexing.generations.generation_writer._write_arrays",
    "indexing.generations.generation_writer._write_arrow",
    "indexing.generations.generation_writer._write_indexes",
    "indexing.generations.generation_writer.seal",
    "indexing.generations.generation_writer.fsync",
    "indexing.building.publish.verify",
    "indexing.building.publish._unlink",
]
KILLED = """
import os, signal, sys
from importlib import import_module
from pathlib import Path
from indexing.building.build import build_generation
from indexing.building.publish import publish
from engine.store import spaces
from engine.store.database.connections import Database

url, folder, name, step = sys.argv[1:]
module, function = step.rsplit(".", 1)
done = getattr(import_module(module), function)

def last(*arguments, **options):
    if function != "_unlink":
        done(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(import_module(module), function, last)
database = Database(url)
with database.begin() as conn:
    space = spaces.get(conn, name)
publish(database, space, build_generation(database, space, 1, Path(folder)), Path(folder))
"""


def test_files_of_a_build_killed_at_any_step_are_removed_by_maintenance(shop, upkeep):
    shop.publish()
    shop.publish()
    arguments = [shop.database.url, str(shop.folder), shop.space.name]
    for step in STEPS:
        killed = subprocess.run([sys.executable, "-c", KILLED, *arguments, step], stderr=subprocess.PIPE, text=True)
        assert killed.returncode == -signal.SIGKILL, (step, killed.stderr)
    folder = shop.folder / shop.space.name
    assert len(list(folder.glob(".*.partial"))) == 4
    with shop.database.connect() as conn:
        recorded = {each.generation for each in generations.list_all(conn, shop.space.key)}
    assert len({path.name for path in folder.glob(NAME_PATTERN)} - recorded) == 3  # and two that the last was to remove
    upkeep(shop.live().current())
    assert {path.name for path in folder.iterdir()} == recorded


def test_a_generation_that_is_served_keeps_its_files_though_its_record_is_lost(shop, upkeep):
    name = shop.publish()
    view = shop.live().current()
    forget(shop, name)
    upkeep(view)
    assert shop.path(name).exists()
