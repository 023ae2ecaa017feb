"""API keys: told once, stored as a hash."""

import hashlib

import pytest

from engine.errors import InputError, NotFound
from engine.store import keys


@pytest.fixture
def conn(database):
    """Rolled back: a key that stayed would close the servers of every test after these to who has none."""
    with database.connect() as opened, opened.begin() as work:
        yield opened
        work.rollback()


def test_the_text_of_a_key_is_nowhere_in_the_table(conn):
    text, record = keys.create(conn, scope="write", space="shop", label="till")
    secret = text.split("_", 2)[2]
    query = "SELECT row_to_json(api_keys)::text, hash FROM api_keys WHERE key_id = %s"
    rows = conn.exec_driver_sql(query, (record.key_id,)).all()
    assert len(rows) == 1
    assert secret not in rows[0][0]
    assert text not in rows[0][0]
    assert secret.encode() not in bytes(rows[0][1])
    assert bytes(rows[0][1]) == hashlib.sha256(text.encode()).digest()


def test_a_key_is_found_by_its_text_and_by_nothing_else(conn):
    text, record = keys.create(conn, scope="read", space=None)
    other, _ = keys.create(conn, scope="read", space=None)
    assert keys.find(conn, text) == record
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
    assert [keys.find(conn, one) for one in wrong] == [None] * len(wrong)


def test_a_revoked_key_is_not_found_and_stays_listed(conn):
    text, record = keys.create(conn, scope="admin", space=None, label="old")
    with pytest.raises(NotFound, match="there is no live key"):
        keys.revoke(conn, record.key_id + "\x00")
    keys.revoke(conn, record.key_id)
    assert keys.find(conn, text) is None
    listed = {one.key_id: one for one in keys.list_all(conn)}
    assert listed[record.key_id].revoked_at is not None
    assert listed[record.key_id].label == "old"
    for key_id in (record.key_id, "never", "a\x00b", "a\udcffb"):
        with pytest.raises(NotFound, match="there is no live key"):
            keys.revoke(conn, key_id)


def test_whether_any_key_lives_is_known(conn):
    conn.exec_driver_sql("UPDATE api_keys SET revoked_at = now()")
    assert keys.any_live(conn) is False
    keys.create(conn, scope="read", space=None)
    assert keys.any_live(conn) is True


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
    _, record = keys.create(conn, scope=scope, space=space)
    assert record.allows(wanted, where) is allowed


def test_an_unknown_scope_is_refused_with_the_scopes_there_are(conn):
    with pytest.raises(InputError, match="read, write, admin, got 'root'"):
        keys.create(conn, scope="root", space=None)
