"""Upkeep: a worn index is built anew by one process at a time, the log is pruned, what is left over goes."""

import json
import os
import shutil
import time

import pytest

from engine.errors import Conflict, StoreUnavailable
from engine.items import Item, ItemVector
from engine.store import changes, generations, items
from engine.store.election import Election
from indexing.manifest import MANIFEST
from indexing.publish import publish
from indexing.upkeep import Upkeep, Wear, rebuild, remove_orphans, wear
from tests.indexing.shop import ITEMS


@pytest.fixture
def upkeep(shop):
    made = Upkeep(shop.database, shop.folder)
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


def test_the_wear_of_a_view_is_what_lies_beside_the_index_and_what_is_passed_over_in_it(shop):
    shop.publish()
    live = shop.live()
    assert wear(live.current()) == Wear(0.0, 0.0)
    hide(shop, 3)
    shop.change(items.upsert, new_items(2))
    worn = wear(live.refresh())
    assert worn == Wear(2 / ITEMS, 3 / ITEMS)
    assert worn.worn  # by the delta
    assert not Wear(0.05, 0.10).worn
    assert Wear(0.0, 0.11).worn


def test_a_worn_index_is_built_anew_by_another_process_while_this_one_goes_on(shop, upkeep):
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
    assert wear(view) == Wear(0.0, 0.0)
    assert {"new0", "new1"} <= set(view.generation.items.ids)
    assert view.allowed is not None
    assert view.allowed.sum() == ITEMS - 4 + 2
    upkeep(view)
    assert not upkeep._running


def test_while_one_process_rebuilds_no_other_begins(shop, upkeep):
    first = shop.publish()
    hide(shop, 10)
    view = shop.live().current()
    other = Election(shop.database, f"rebuild {shop.space.key}")
    assert other.win()
    try:
        upkeep(view)
        assert not upkeep._running
    finally:
        other.resign()
    assert active(shop) == first


def test_an_index_that_is_not_worn_is_left_alone(shop, upkeep):
    shop.publish()
    hide(shop, 3)
    upkeep(shop.live().current())
    assert not upkeep._running


def test_what_was_published_meanwhile_is_not_replaced_by_a_rebuild(shop):
    first, second = shop.publish(), shop.publish()
    made = shop.build()
    with pytest.raises(Conflict, match=f"{second} was published meanwhile, expected {first}"):
        publish(shop.database, shop.space, made, shop.folder, instead_of=first)
    assert active(shop) == second
    assert not shop.path(made).exists()
    rebuild(shop.database.url, str(shop.folder), shop.space.name, first)  # says so and ends well
    assert active(shop) == second
    assert sorted(path.name for path in (shop.folder / shop.space.name).iterdir()) == sorted([first, second])


def test_the_log_of_changes_is_pruned_now_and_then(shop, upkeep):
    shop.change(items.upsert, [Item("old")])
    shop.publish()
    before = shop.live().current().snapshot
    upkeep(shop.live().current())
    with shop.database.connect() as conn:
        left = conn.exec_driver_sql(
            "SELECT count(*) FROM change_log WHERE space_key = %s AND xid < %s::text::xid8",
            (shop.space.key, str(before.xmin)),
        ).scalar_one()
        assert changes.read_since(conn, shop.space.key, before)[0] == []
    assert left == 0 or shop.space.key > 1  # another space of the run may need more of the log


def test_folders_of_builds_that_never_ended_are_removed_once_they_are_old(shop):
    name = shop.publish()
    for left, age_s in (("old", 7200), ("young", 60)):
        folder = shop.folder / shop.space.name / f".{left}.partial"
        folder.mkdir()
        (folder / "items.npy").write_bytes(b"half")
        age(folder, age_s)
    assert remove_orphans(shop.folder) == 1
    assert sorted(path.name for path in (shop.folder / shop.space.name).iterdir()) == [".young.partial", name]


def test_what_was_hidden_before_the_build_is_no_wear_however_often_it_is_written(shop):
    hide(shop, 5)
    shop.publish()
    live = shop.live()
    live.current()
    hide(shop, 6)
    assert wear(live.refresh()) == Wear(0.0, 1 / ITEMS)


def test_a_build_that_cannot_be_recorded_leaves_no_files(shop, monkeypatch):
    def away(*arguments):
        raise StoreUnavailable("PostgreSQL is away")

    monkeypatch.setattr(generations, "add", away)
    with pytest.raises(StoreUnavailable):
        shop.build()
    assert list((shop.folder / shop.space.name).iterdir()) == []


def test_generations_without_a_record_are_removed_once_they_are_old(shop, upkeep):
    before, active = shop.publish(), shop.publish()
    young, old, half, foreign, recorded = (shop.build() for _ in range(5))
    for name in (young, old, half, foreign):
        forget(shop, name)
    (shop.path(half) / MANIFEST).unlink()
    manifest = json.loads((shop.path(foreign) / MANIFEST).read_text())
    manifest["start"]["epoch"] = "another"
    (shop.path(foreign) / MANIFEST).write_text(json.dumps(manifest))
    shutil.copytree(shop.path(active), shop.path("kept by hand"))
    for path in (shop.folder / shop.space.name).iterdir():
        age(path, 60 if path.name == young else 7200)
    upkeep(shop.live().current())
    left = sorted(path.name for path in (shop.folder / shop.space.name).iterdir())
    assert left == sorted([young, foreign, recorded, before, active, "kept by hand"])


def test_a_generation_that_is_served_keeps_its_files_though_its_record_is_lost(shop, upkeep):
    name = shop.publish()
    view = shop.live().current()
    forget(shop, name)
    age(shop.path(name), 7200)
    upkeep(view)
    assert shop.path(name).exists()
