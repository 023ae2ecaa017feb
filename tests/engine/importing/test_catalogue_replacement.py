"""A whole-catalogue file hides the items that it does not contain; a later file shows them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Conflict, InputError
from engine.importing import CatalogueReplacement, ImportSummary, import_items
from engine.store import items
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item

Import = Callable[..., ImportSummary]
Shown = Callable[[], list[str]]
TEN = [f"i{n}" for n in range(10)]


@pytest.fixture
def catalogue(database: Database, space: Space, tmp_path: Path) -> Import:
    """Import a file of these items."""

    def load(item_ids: Sequence[str], *, rows: str = "", header: str = "item_id", **options: Any) -> ImportSummary:
        path = tmp_path / "items.csv"
        path.write_text("\n".join([header, *item_ids]) + f"\n{rows}")
        return import_items(database, space.name, path, **options)

    return load


@pytest.fixture
def shown(database: Database, space: Space) -> Shown:
    def ids() -> list[str]:
        with database.connect() as conn:
            table = items.read_catalogue(conn, space.key)
        rows = zip(*(table[name].to_pylist() for name in ("item_id", "available", "deleted")), strict=True)
        return [item_id for item_id, available, deleted in rows if available and not deleted]

    return ids


def test_items_that_are_no_longer_in_the_file_are_hidden_until_a_later_file_has_them(
    catalogue: Import, shown: Shown
) -> None:
    catalogue(TEN)
    summary = catalogue(TEN[:8], replacement=CatalogueReplacement())
    assert (summary.hidden, summary.written, summary.notes) == (
        2,
        0,
        ("2 items no longer in the file, hidden, such as 'i8', 'i9'",),
    )
    assert shown() == TEN[:8]
    again = catalogue(TEN[:8], replacement=CatalogueReplacement())
    assert (again.hidden, again.notes) == (0, ())
    summary = catalogue(TEN[8:])
    assert (summary.back, summary.notes) == (2, ("2 items back in the file, shown again, such as 'i8', 'i9'",))
    assert shown() == TEN
    assert summary.to_json().keys() == {"read", "written", "duplicates", "rejected", "back", "notes", "seconds"}


def test_without_replace_nothing_is_hidden(catalogue: Import, shown: Shown) -> None:
    catalogue(TEN)
    assert catalogue(TEN[:1]).hidden is None
    assert shown() == TEN


def test_more_than_a_fifth_is_hidden_only_with_force(catalogue: Import, shown: Shown) -> None:
    catalogue(TEN)
    with pytest.raises(
        Conflict, match="3 of 10 available items are not in the file, such as 'i7'; that is more than 20%"
    ):
        catalogue([*TEN[:7], "new"], replacement=CatalogueReplacement())
    assert shown() == TEN  # nothing of the file was written
    assert catalogue(TEN[:7], replacement=CatalogueReplacement(max_hidden_share=0.3)).hidden == 3
    assert catalogue(TEN[:1], replacement=CatalogueReplacement(force=True)).hidden == 6
    assert shown() == TEN[:1]


def test_items_hidden_by_a_request_stay_hidden(
    catalogue: Import, shown: Shown, database: Database, space: Space
) -> None:
    catalogue(TEN)
    with database.begin() as conn:
        items.set_availability(conn, space.key, {"i0": False})
    catalogue(TEN[:9], replacement=CatalogueReplacement())
    with database.begin() as conn:
        items.set_availability(conn, space.key, {"i9": False})  # after the file had hidden it
    catalogue(TEN, replacement=CatalogueReplacement())
    assert shown() == TEN[1:9]


def test_the_file_decides_whether_an_item_that_is_back_is_available(catalogue: Import, shown: Shown) -> None:
    catalogue(TEN)
    catalogue(TEN[:8], replacement=CatalogueReplacement())
    summary = catalogue(["i8,no", "i9,yes"], header="item_id,available")
    assert summary.back == 1
    assert catalogue(TEN).back == 0  # i8 is hidden by the column available, not because it was missing
    assert shown() == [*TEN[:8], "i9"]


def test_an_item_in_a_rejected_row_is_not_hidden(catalogue: Import, shown: Shown) -> None:
    catalogue(TEN)
    summary = catalogue(
        [f"{item_id}," for item_id in TEN[:9]],
        header="item_id,available",
        rows="i9,perhaps\n",
        replacement=CatalogueReplacement(),
    )
    assert (summary.hidden, summary.rejected) == (0, {"available is not true or false": 1})
    assert shown() == TEN


def test_a_deleted_item_is_not_counted_as_hidden(
    catalogue: Import, shown: Shown, database: Database, space: Space
) -> None:
    catalogue(TEN)
    with database.begin() as conn:
        items.delete(conn, space.key, "i9")
    assert catalogue(TEN[:8], replacement=CatalogueReplacement()).hidden == 1
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("i8")])
    assert shown() == TEN[:9]


def test_an_invalid_share_is_refused() -> None:
    with pytest.raises(InputError, match="expected a share of items to hide from 0 to 1, got 20"):
        CatalogueReplacement(max_hidden_share=20)
