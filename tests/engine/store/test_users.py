"""Users: attributes are written and read, and an erasure deletes everything."""

import hmac
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from engine.errors import Conflict, NotFound, StoreBusy
from engine.store import erasures, events, items, models, spaces, users
from engine.store.users import User
from engine.values.events import Event
from tests.engine.store.worlds import MORNING, small_space, until_one_waits

TABLES = ("users", "events", "user_vectors")


def test_a_user_comes_back_as_written_and_a_second_write_replaces_it(database, space):
    with database.begin() as conn:
        assert users.upsert(conn, space.key, [User("ann", {"city": "Łódź", "age": 31}), User("bob")]) == [
            "created",
            "created",
        ]
        assert users.upsert(conn, space.key, [User("ann", {"age": 32})]) == ["updated"]
    with database.connect() as conn:
        assert users.get(conn, space.key, "ann") == User("ann", {"age": 32})
        assert users.ids(conn, space.key) == ["ann", "bob"]
        assert users.count(conn, space.key) == 2


def test_an_unknown_user_is_not_found(database, space):
    with database.connect() as conn, pytest.raises(NotFound, match="there is no user 'ann'"):
        users.get(conn, space.key, "ann")


def test_erasing_a_user_returns_the_deleted_rows_and_keeps_other_users(database, space):
    rows = [Event("ann", item, "view", MORNING) for item in ("cup", "hat", "pen")] + [
        Event("bob", "cup", "view", MORNING)
    ]
    with database.begin() as conn:
        events.append(conn, space.key, rows)
        for _ in range(2):
            models.save(
                conn, space.key, embedder="spectral", params={}, space=small_space(), evaluation={}, publishable=True
            )
        query = "SELECT user_key FROM users WHERE space_key = %s AND user_id = 'ann'"
        key = conn.exec_driver_sql(query, (space.key,)).scalar_one()
    with database.begin() as conn:
        receipt = {"events": 3, "user_vectors": 2, "users": 1, "served_shelves": 0}
        assert users.delete(conn, space.key, "ann") == users.ErasedUser(receipt, ("ann",))
    with database.connect() as conn:
        for table in TABLES:
            assert conn.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE user_key = %s", (key,)).scalar_one() == 0
        assert len(events.history(conn, space.key, "ann", 10)) == 0
        assert events.history(conn, space.key, "bob", 10).item_ids == ("cup",)
        assert models.load_space(conn, space.key, 1).users.ids.ids == ("bob",)
    with database.begin() as conn, pytest.raises(NotFound):
        users.delete(conn, space.key, "ann")


def test_a_user_erased_during_training_is_not_in_the_saved_model(database, space):
    with database.begin() as conn:
        events.append(conn, space.key, [Event(user, "cup", "view", MORNING) for user in ("ann", "bob")])
        users.delete(conn, space.key, "ann")
        models.save(
            conn,
            space.key,
            embedder="spectral",
            params={},
            space=small_space(("cup",)),
            evaluation={},
            publishable=True,
        )
        assert models.load_space(conn, space.key, 1).users.ids.ids == ("bob",)


def hashes(conn, space):
    query = "SELECT hash FROM erased_users WHERE space_key = %s"
    return [bytes(each) for each in conn.exec_driver_sql(query, (space.key,)).scalars()]


def bought(user, item="cup"):
    return Event(user, item, "purchase", MORNING)


def test_of_an_erased_user_only_the_hmac_of_the_id_is_stored(database, space, monkeypatch):
    monkeypatch.setattr(erasures.secrets, "token_bytes", lambda n: b"k" * n)
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("änn")])
        users.delete(conn, space.key, "änn")
        assert hashes(conn, space) == [hmac.digest(b"k" * 32, "änn".encode(), "sha256")]
        assert erasures.erased_at(conn, space.key, "änn") is not None
        assert erasures.erased_at(conn, space.key, "ann") is None


def test_an_erased_user_is_refused_by_every_write_until_allowed_again(database, space):
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("ann"), User("visitor")])
        users.delete(conn, space.key, "ann")
    row = pa.table({"user_id": ["ann", "bob"], "attributes": pa.nulls(2, pa.string())})
    with database.begin() as conn:
        assert events.append(conn, space.key, [bought("ann", "new"), bought("bob")]) == ["erased", "written"]
        assert items.count(conn, space.key) == 1  # the refused event creates no item
        assert users.bulk_merge(conn, space.key, row) == users.BulkMerged(0, {"ann"})
        assert erasures.erased_among(conn, space.key, ["ann", "bob", "eve"]) == {"ann"}
    for write in (
        lambda conn: users.upsert(conn, space.key, [User("bob", {"a": 1}), User("ann")]),
        lambda conn: users.merge(conn, space.key, "visitor", "ann"),
    ):
        with pytest.raises(Conflict, match="'ann' is refused"), database.begin() as conn:
            write(conn)
    with database.begin() as conn:
        assert users.get(conn, space.key, "bob").attributes == {}
        assert users.ids(conn, space.key) == ["bob", "visitor"]
        erasures.allow(conn, space.key, "ann")
        assert events.append(conn, space.key, [bought("ann", "new")]) == ["written"]
        with pytest.raises(NotFound, match="no erasure of 'ann' is on record"):
            erasures.allow(conn, space.key, "ann")


def test_erasing_a_user_also_erases_the_users_merged_into_it(database, space):
    with database.begin() as conn:
        for user in ("phone", "laptop", "ann", "bob"):
            events.append(conn, space.key, [bought(user)])
        users.merge(conn, space.key, "phone", "laptop")
        users.merge(conn, space.key, "laptop", "ann")
        assert users.export(conn, space.key, "ann")["merged_from"] == ["laptop", "phone"]
        events.append(conn, space.key, [bought("phone", "hat")])  # a new event under a merged id
        erased = users.delete(conn, space.key, "ann")
        assert erased.user_ids == ("ann", "laptop", "phone")
        assert (erased.rows["events"], erased.rows["users"]) == (4, 2)
        assert events.append(conn, space.key, [bought(user) for user in ("phone", "laptop")]) == ["erased"] * 2
        assert users.ids(conn, space.key) == ["bob"]


def test_an_erasure_belongs_to_one_space_and_is_deleted_with_it(database, space):
    with database.begin() as conn:
        other = spaces.ensure(conn, f"{space.name}-b")
        for each in (space, other):
            users.upsert(conn, each.key, [User("ann")])
        users.delete(conn, space.key, "ann")
        assert users.upsert(conn, other.key, [User("ann")]) == ["updated"]
        spaces.delete(conn, space.name)
        assert hashes(conn, space) == []
        assert users.upsert(conn, spaces.ensure(conn, space.name).key, [User("ann")]) == ["created"]


def test_no_id_is_hashed_in_a_space_without_erasures(database, space):
    with database.begin() as conn:
        for query in (erasures.ERASED_AMONG, erasures.DELETE_ERASED.format("= ANY(%(ids)s::text[])")):
            plan = conn.exec_driver_sql(f"EXPLAIN (ANALYZE) {query}", {"space": space.key, "ids": ["a"]})
            assert "never executed" in "\n".join(plan.scalars())


@pytest.mark.parametrize("write", ["append", "upsert", "import"])
def test_a_user_erased_during_a_write_stays_erased(database, space, write):
    """The write begins before the erasure ends, and ends after it."""
    with database.begin() as conn:
        events.append(conn, space.key, [bought("ann", "hat")])
    row = pa.table({"user_id": ["ann"], "attributes": ['{"a": 1}']})
    writes = {
        "append": lambda conn: events.append(conn, space.key, [bought("ann")]),
        "upsert": lambda conn: users.upsert(conn, space.key, [User("ann", {"a": 1})]),
        "import": lambda conn: users.bulk_merge(conn, space.key, row),
    }

    def written():
        with database.begin() as conn:
            return writes[write](conn)

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as conn:
            users.delete(conn, space.key, "ann")
            task = pool.submit(written)
            until_one_waits(database)
        outcome = task.exception() or task.result()
    expected = {"append": StoreBusy, "upsert": Conflict, "import": users.BulkMerged}[write]
    assert isinstance(outcome, expected)
    with database.begin() as conn:
        assert users.ids(conn, space.key) == []
        assert events.count(conn, space.key) == 0


@pytest.mark.parametrize("write", ["append", "upsert", "import"])
def test_an_erasure_waits_for_an_open_write_and_deletes_its_rows_too(database, space, write):
    with database.begin() as conn:
        events.append(conn, space.key, [bought("ann", "hat")])
    row = pa.table({"user_id": ["ann"], "attributes": ['{"a": 1}']})

    def erased():
        with database.begin() as conn:
            return users.delete(conn, space.key, "ann").rows

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as conn:
            if write == "append":
                events.append(conn, space.key, [bought("ann")])
            elif write == "upsert":
                users.upsert(conn, space.key, [User("ann", {"a": 1})])
            else:
                users.bulk_merge(conn, space.key, row)
            task = pool.submit(erased)
            until_one_waits(database)
        rows = task.result()
    assert rows["events"] == (2 if write == "append" else 1)
    with database.begin() as conn:
        assert (users.ids(conn, space.key), events.count(conn, space.key)) == ([], 0)
