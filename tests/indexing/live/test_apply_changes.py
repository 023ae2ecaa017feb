"""A large import is applied to a view in a process that keeps answering requests."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from engine.store import items
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item
from indexing.live import apply_changes
from indexing.live.apply_changes import apply_changed_items
from indexing.live.view import LiveView

N_ITEMS = 2 * apply_changes.BATCH_ROWS + 1


@contextmanager
def collections_counted() -> Iterator[list[int]]:
    """The garbage collector generations that Python collected."""
    seen: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            seen.append(about["generation"])

    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)


def test_a_large_import_is_applied_in_batches_without_garbage_collection(
    database: Database, space: Space, monkeypatch
) -> None:
    monkeypatch.setattr(apply_changes, "GC_PAUSE_ROWS", N_ITEMS)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(f"i{n:04}", f"Thing {n}", available=n % 3 > 0) for n in range(N_ITEMS)])
        found = items.read_catalogue(conn, space.key)
    empty = LiveView(space)
    with collections_counted() as few:
        part = apply_changed_items(empty, found.slice(0, N_ITEMS - 1), {}, whole=True)
    with collections_counted() as none:
        view = apply_changed_items(empty, found, {}, whole=True)
    assert few, "so many are looked at where they are not many"
    assert (none, gc.isenabled()) == ([], True)
    assert len(part.changed) == N_ITEMS - 1
    assert [view.changed[row].item_id for row in range(N_ITEMS)] == [f"i{n:04}" for n in range(N_ITEMS)]
    assert [view.changed[row].shown for row in range(4)] == [False, True, True, False]
    gone = weakref.ref(view)
    del view
    assert gone() is None, "without being looked for"
