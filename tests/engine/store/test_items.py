"""Items: literal rows in and out; a deleted item is a tombstone."""

from datetime import datetime

import pyarrow as pa
import pytest

from engine.errors import NotFound
from engine.store import events, items
from engine.values.events import Event
from engine.values.items import Item
from tests.engine.store.worlds import MORNING, ODD_IDS

CUP = Item("cup", "Red cup", ("kitchen", "cups, large"), {"price": 3.5, "tags": ["a", None], "name": "Tasse ü"}, True)


def test_an_item_comes_back_as_it_was_written(database, space):
    with database.begin() as conn:
        assert items.upsert(conn, space.key, [CUP, Item("hat")]) == ["created", "created"]
    with database.connect() as conn:
        assert items.get(conn, space.key, "cup") == CUP
        assert items.get(conn, space.key, "hat") == Item("hat")
        assert items.count(conn, space.key) == 2


def test_writing_an_item_again_replaces_all_of_it(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [CUP])
        assert items.upsert(conn, space.key, [Item("cup", "Blue cup", available=False), Item("pen")]) == [
            "updated",
            "created",
        ]
        assert items.get(conn, space.key, "cup") == Item("cup", "Blue cup", (), {}, False)


def test_categories_lists_only_items_that_have_categories(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [CUP, Item("hat"), Item("mug", categories=("kitchen",))])
        items.delete(conn, space.key, "mug")
        assert items.categories(conn, space.key) == {"cup": ["kitchen", "cups, large"]}


def test_the_last_of_several_items_with_one_id_wins(database, space):
    with database.begin() as conn:
        assert items.upsert(conn, space.key, [Item("cup", "first"), Item("cup", "last")]) == ["created", "created"]
        assert items.get(conn, space.key, "cup").title == "last"


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_ids_with_slashes_emoji_and_right_to_left_text_are_ids(database, space, item_id):
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(item_id, item_id)])
        events.append(conn, space.key, [Event(item_id, item_id, "view", MORNING)])
    with database.connect() as conn:
        assert items.get(conn, space.key, item_id).title == item_id
        assert events.history(conn, space.key, item_id, 10).item_ids == (item_id,)
        assert items.read_catalogue(conn, space.key)["item_id"].to_pylist() == [item_id]
        assert events.read_columns(conn, space.key).item_ids == (item_id,)


def test_a_deleted_item_is_hidden_and_its_events_stay(database, space):
    with database.begin() as conn:
        events.append(conn, space.key, [Event("ann", "cup", "purchase", MORNING), Event("ann", "hat", "view", MORNING)])
        items.delete(conn, space.key, "cup")
    with database.connect() as conn:
        with pytest.raises(NotFound, match="there is no item 'cup'"):
            items.get(conn, space.key, "cup")
        assert items.count(conn, space.key) == 1
        assert events.count(conn, space.key) == 2
        assert events.read_columns(conn, space.key).item_ids == ("hat",)
        catalogue = items.read_catalogue(conn, space.key)
        assert {row["item_id"]: row["deleted"] for row in catalogue.to_pylist()} == {"cup": True, "hat": False}


def test_an_event_on_a_deleted_item_does_not_restore_it_and_an_upsert_does(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [CUP])
        items.delete(conn, space.key, "cup")
        assert events.append(conn, space.key, [Event("ann", "cup", "view", MORNING)]) == ["written"]
        with pytest.raises(NotFound):
            items.get(conn, space.key, "cup")
        assert items.upsert(conn, space.key, [CUP]) == ["updated"]
        assert items.get(conn, space.key, "cup") == CUP


def test_deleting_an_unknown_item_or_one_twice_is_not_found(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("cup")])
        items.delete(conn, space.key, "cup")
        for item_id in ("cup", "never"):
            with pytest.raises(NotFound):
                items.delete(conn, space.key, item_id)


def test_setting_availability_returns_a_status_for_each_item(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("cup"), Item("hat")])
        items.delete(conn, space.key, "hat")
        assert items.set_availability(conn, space.key, {"cup": False, "hat": False, "pen": True}) == [
            "updated",
            "unknown",
            "unknown",
        ]
        assert items.get(conn, space.key, "cup").available is False


def test_a_bulk_merge_completes_an_item_and_does_not_restore_a_deleted_one(database, space):
    def table(rows):
        fields = [
            ("item_id", pa.string()),
            ("title", pa.string()),
            ("categories", pa.list_(pa.string())),
            ("attributes", pa.string()),
        ]
        return pa.Table.from_pylist(rows, schema=pa.schema(fields))

    with database.begin() as conn:
        items.upsert(conn, space.key, [CUP, Item("gone", "Gone")])
        items.delete(conn, space.key, "gone")
    with database.begin() as conn:
        items.bulk_merge(
            conn,
            space.key,
            table(
                [
                    {"item_id": "cup", "title": None, "categories": None, "attributes": '{"price": 4}'},
                    {"item_id": "hat", "title": "Hat, felt", "categories": ["head", "a,b"], "attributes": None},
                    {"item_id": "gone", "title": "Back?", "categories": None, "attributes": None},
                ]
            ),
        )
    with database.connect() as conn:
        assert items.get(conn, space.key, "cup") == Item(
            "cup", CUP.title, CUP.categories, {**CUP.attributes, "price": 4}
        )
        assert items.get(conn, space.key, "hat") == Item("hat", "Hat, felt", ("head", "a,b"))
        with pytest.raises(NotFound):
            items.get(conn, space.key, "gone")


def test_the_times_of_a_catalogue_are_exact_to_the_microsecond(database, space):
    times = ["1970-01-01T00:00:00.000001+00:00", "1999-12-31T23:59:59.999999+00:00", "2041-07-09T05:06:07.123457+00:00"]
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(f"at-{n}") for n in range(len(times))])
        for n, at in enumerate(times):
            update = "UPDATE items SET created_at = %s, updated_at = %s WHERE space_key = %s AND item_id = %s"
            conn.exec_driver_sql(update, (at, at, space.key, f"at-{n}"))
        found = items.read_catalogue(conn, space.key)
    expected = [round(datetime.fromisoformat(at).timestamp() * 1e6) for at in times]
    assert found["created_at"].to_pylist() == found["updated_at"].to_pylist() == expected
