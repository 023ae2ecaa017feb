"""API keys: the text is returned once and stored as a hash."""

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module

import pytest

from engine.errors import InputError, NotFound
from engine.store import api_keys, spaces


@pytest.fixture
def conn(database):
    """Rolled back: a key that stays would make the servers of later tests refuse requests without a key."""
    with database.connect() as opened, opened.begin() as work:
        spaces.ensure(opened, "shop")
        yield opened
        work.rollback()


def test_the_table_does_not_contain_the_text_of_a_key(conn):
    text, record = api_keys.create(conn, scope="write", space="shop", label="till")
    secret = text.split("_", 2)[2]
    query = "SELECT row_to_json(api_keys)::text, hash FROM api_keys WHERE key_id = %s"
    rows = conn.exec_driver_sql(query, (record.key_id,)).all()
    assert len(rows) == 1
    assert secret not in rows[0][0]
    assert text not in rows[0][0]
    assert secret.encode() not in bytes(rows[0][1])
    assert bytes(rows[0][1]) == hashlib.sha256(text.encode()).digest()


def test_a_key_is_found_only_by_its_text(conn):
    text, record = api_keys.create(conn, scope="read", space=None)
    other, _ = api_keys.create(conn, scope="read", space=None)
    assert api_keys.find(conn, text) == record
    id_, secret = text.split("_", 2)[1:]
    wrong = [
        text[:-1],
        text + "x",
        f"nf_{id_}_",
        f"nf_{id_}_{other.split('_', 2)[2]}",
        f"xx_{id_}_{secret}",
        "",
        "nf__",
        "nf_\x00_x",
        "nf_é_\ud800",
    ]
    assert [api_keys.find(conn, one) for one in wrong] == [None] * len(wrong)


def test_a_revoked_key_is_not_found_and_stays_listed(conn):
    text, record = api_keys.create(conn, scope="admin", space=None, label="old")
    with pytest.raises(NotFound, match="there is no live key"):
        api_keys.revoke(conn, record.key_id + "\x00")
    api_keys.revoke(conn, record.key_id)
    assert api_keys.find(conn, text) is None
    listed = {one.key_id: one for one in api_keys.list_all(conn)}
    assert listed[record.key_id].revoked_at is not None
    assert listed[record.key_id].label == "old"
    for key_id in (record.key_id, "never", "a\x00b", "a\udcffb"):
        with pytest.raises(NotFound, match="there is no live key"):
            api_keys.revoke(conn, key_id)


def test_the_store_knows_whether_any_key_is_live_and_whether_any_was_ever_created(conn):
    conn.exec_driver_sql("DELETE FROM api_keys")
    assert (api_keys.any_live(conn), api_keys.any_created(conn)) == (False, False)
    _, record = api_keys.create(conn, scope="read", space=None)
    assert (api_keys.any_live(conn), api_keys.any_created(conn)) == (True, True)
    api_keys.revoke(conn, record.key_id)
    assert (api_keys.any_live(conn), api_keys.any_created(conn)) == (False, True)


def test_keys_belong_to_a_space_and_not_to_its_name(conn):
    text, record = api_keys.create(conn, scope="admin", space="shop")
    everywhere, _ = api_keys.create(conn, scope="admin", space=None)
    spaces.delete(conn, "shop")
    again = spaces.ensure(conn, "shop")
    assert api_keys.find(conn, text) is None
    assert api_keys.find(conn, everywhere) is not None
    assert record.space_key != again.key
    new, _ = api_keys.create(conn, scope="read", space="shop")
    assert api_keys.find(conn, new).space_key == again.key
    assert [each.key_id for each in api_keys.list_all(conn, again.key)] == [new.split("_")[1]]
    with pytest.raises(NotFound, match="there is no live key"):
        api_keys.revoke(conn, new.split("_")[1], record.space_key)
    api_keys.revoke(conn, new.split("_")[1], again.key)
    with pytest.raises(NotFound, match="there is no space 'nowhere'"):
        api_keys.create(conn, scope="read", space="nowhere")


def test_a_key_that_is_created_during_the_deletion_of_its_space_is_revoked(database, space):
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as making:
            text, _ = api_keys.create(making, scope="read", space=space.name)
            deleted = pool.submit(deleting, database, space.name)
            assert wait([deleted], timeout=0.3).not_done
        deleted.result(20)
    with database.begin() as conn:
        assert api_keys.find(conn, text) is None
        conn.exec_driver_sql("DELETE FROM api_keys WHERE key_id = %s", (text.split("_")[1],))


def deleting(database, name):
    with database.begin() as conn:
        spaces.delete(conn, name)


def test_the_migration_assigns_old_keys_to_the_space_that_had_the_name_when_they_were_created(conn):
    conn.exec_driver_sql("ALTER TABLE api_keys DROP COLUMN space_key")
    insert = "INSERT INTO api_keys (key_id, hash, scope, space, created_at) VALUES (%s, %s, 'read', %s, now() + %s)"
    rows = {"same": ("shop", "1s"), "older": ("shop", "-1d"), "gone": ("was-deleted", "1s"), "every": (None, "1s")}
    for key_id, (name, since) in rows.items():
        conn.exec_driver_sql(insert, (key_id, b"", name, since))
    conn.exec_driver_sql(import_module("migrations.versions.0009_keys_of_spaces").CHANGES)
    found = {each.key_id: (each.space_key, each.revoked_at is None) for each in api_keys.list_all(conn)}
    shop = spaces.get(conn, "shop").key
    assert {key_id: found[key_id] for key_id in rows} == {
        "same": (shop, True), "older": (None, False), "gone": (None, False), "every": (None, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "space", "wanted", "where", "allowed"),
    [
        ("read", "shop", "read", "shop", True),
        ("read", "shop", "write", "shop", False),
        ("write", "shop", "read", "shop", True),
        ("write", "shop", "admin", "shop", False),
        ("admin", "shop", "write", "shop", True),
        ("admin", "shop", "admin", "other", False),
        ("admin", "shop", "admin", None, False),
        ("admin", None, "admin", None, True),
        ("read", None, "read", "other", True),
    ],
)
def test_a_scope_includes_those_below_it_in_its_own_space(conn, scope, space, wanted, where, allowed):
    _, record = api_keys.create(conn, scope=scope, space=space)
    assert record.allows(wanted, where) is allowed


def test_an_unknown_scope_is_refused_with_the_scopes_there_are(conn):
    with pytest.raises(InputError, match="read, write, admin, got 'root'"):
        api_keys.create(conn, scope="root", space=None)
