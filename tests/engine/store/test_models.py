"""Model versions: vectors are stored bit for bit, versions count up, and retiring one drops its partitions."""

import threading

import numpy as np
import pytest

from engine.errors import NotFound
from engine.store import events, items, models, users
from engine.store.database import bulk_copy
from engine.store.users import User
from engine.values.events import Event
from engine.values.items import Item
from tests.engine.store.worlds import MORNING, small_space


def save(conn, space, latent, publishable=True):
    evaluation = {"recall@20": 0.25, "popularity": {"recall@20": 0.1}}
    return models.save(
        conn,
        space.key,
        embedder="spectral",
        params={"dim": 4},
        space=latent,
        evaluation=evaluation,
        publishable=publishable,
    )


@pytest.fixture
def shop(database, space):
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(item_id) for item_id in ("pen", "hat", "cup")])
        users.upsert(conn, space.key, [User("bob"), User("ann")])
    return space


def test_a_model_comes_back_with_its_rows_in_training_order_and_every_bit(database, shop):
    latent = small_space()
    with database.begin() as conn:
        record = save(conn, shop, latent)
    with database.connect() as conn:
        loaded = models.load_space(conn, shop.key, 1)
        assert models.get(conn, shop.key, 1) == record
    assert (record.embedder, record.params, record.metric, record.dim) == ("spectral", {"dim": 4}, "dot", 4)
    assert (record.n_items, record.n_users, record.evaluation["popularity"]) == (3, 2, {"recall@20": 0.1})
    assert loaded.items.ids.ids == ("cup", "hat", "pen")
    assert loaded.users.ids.ids == ("ann", "bob")
    assert loaded.items.matrix.tobytes() == latent.items.matrix.tobytes()
    assert loaded.users.matrix.tobytes() == latent.users.matrix.tobytes()
    assert loaded.fold_in.state()[0] == "linear"
    for name, array in latent.fold_in.state()[1].items():
        assert np.array_equal(loaded.fold_in.state()[1][name], array)


def test_binary_copy_keeps_every_float32_that_pgvector_takes(database):
    matrix = np.array([[0.1, -0.0, 3.4e38, 1e-45], [1e-30, -3.4e38, 2**-126, 16777217]], np.float32)
    keys = np.array([2**40, -5], np.int64)
    with database.begin() as conn:
        conn.exec_driver_sql("CREATE TEMPORARY TABLE kept (model_key bigint, k bigint, vector vector) ON COMMIT DROP")
        bulk_copy.write_vectors(conn, "kept", 9, keys, matrix)
        read_keys, read = bulk_copy.read_vectors(conn, "kept", "k", 4)
    assert read_keys.tolist() == [2**40, -5]
    assert read.tobytes() == matrix.tobytes()


@pytest.mark.parametrize("dim", [2, 700])  # vectors of 700 dimensions are stored out of line (TOAST)
@pytest.mark.parametrize("n", [1, bulk_copy.CHUNK_ROWS + 1])
def test_vectors_that_need_several_chunks_are_written_and_read(database, monkeypatch, n, dim):
    monkeypatch.setattr(bulk_copy, "VALUE_BYTES", 2**18)
    matrix = np.arange(2 * n, dtype=np.float32).repeat(dim // 2).reshape(n, dim)
    with database.begin() as conn:
        conn.exec_driver_sql("CREATE TEMPORARY TABLE kept (model_key bigint, k bigint, vector vector) ON COMMIT DROP")
        bulk_copy.write_vectors(conn, "kept", 1, np.arange(n), matrix)
        keys, read = bulk_copy.read_vectors(conn, "kept", "k", dim)
    assert np.array_equal(keys, np.arange(n))
    assert np.array_equal(read, matrix)


def test_copy_of_no_rows_is_no_rows(database):
    with database.begin() as conn:
        conn.exec_driver_sql("CREATE TEMPORARY TABLE kept (model_key bigint, k bigint, vector vector) ON COMMIT DROP")
        bulk_copy.write_vectors(conn, "kept", 1, np.zeros(0, np.int64), np.zeros((0, 8), np.float32))
        keys, read = bulk_copy.read_vectors(conn, "kept", "k", 8)
    assert keys.shape == (0,)
    assert read.shape == (0, 8)


def test_versions_count_up_and_the_latest_publishable_is_known(database, shop):
    with database.begin() as conn:
        assert models.latest(conn, shop.key) is None
        versions = [save(conn, shop, small_space(), publishable).version for publishable in (True, True, False)]
        assert versions == [1, 2, 3]
        assert models.latest(conn, shop.key).version == 3
        assert models.latest(conn, shop.key, publishable_only=True).version == 2
        assert [record.version for record in models.list_all(conn, shop.key)] == [3, 2, 1]


def test_models_saved_at_once_get_different_versions(database, shop):
    versions = []

    def one():
        with database.begin() as conn:
            versions.append(save(conn, shop, small_space()).version)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == [1, 2, 3, 4]


def test_events_are_written_while_a_model_is_being_saved(database, shop):
    with database.begin() as saving:
        save(saving, shop, small_space())
        with database.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            assert events.append(conn, shop.key, [Event("ann", "cup", "view", MORNING)]) == ["written"]


def test_retiring_a_version_drops_its_partitions_and_the_version_is_not_found(database, shop):
    with database.begin() as conn:
        save(conn, shop, small_space())
        save(conn, shop, small_space())
        parents = "('item_vectors'::regclass, 'user_vectors'::regclass)"
        partitions = f"SELECT count(*) FROM pg_inherits WHERE inhparent IN {parents}"
        before = conn.exec_driver_sql(partitions).scalar_one()
        models.retire(conn, shop.key, 1)
        assert conn.exec_driver_sql(partitions).scalar_one() == before - 2
        assert models.load_space(conn, shop.key, 2).items.ids.ids == ("cup", "hat", "pen")
        for ask in (models.get, models.load_space, models.retire):
            with pytest.raises(NotFound, match="there is no model version 1"):
                ask(conn, shop.key, 1)
