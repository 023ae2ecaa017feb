"""A slow PostgreSQL is waited for, a silent one is not. tests/api/faults freezes it for real."""

import threading
import time

import pytest

from engine.errors import StoreUnavailable
from engine.store.database import bulk_copy, liveness_probe
from engine.store.database.connections import Database
from engine.store.database.liveness_probe import Pulse

SLOW_COMMIT = """
CREATE TEMPORARY TABLE slow (n int);
CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pg_temp.wait();
INSERT INTO slow VALUES (1)"""


@pytest.fixture
def own(database):
    """Of the same PostgreSQL; what is known of its silence is known here alone."""
    with Database(database.url) as opened:
        yield opened


def silent_soon(database):
    threading.Timer(0.2, database.silent.set).start()


def test_a_slow_statement_is_waited_for(own, monkeypatch):
    monkeypatch.setattr(liveness_probe, "EVERY_S", 0.05)
    monkeypatch.setattr(liveness_probe, "SILENT_S", 1.5)  # a busy machine takes tenths of a second to answer
    asking = Pulse(own)
    try:
        with own.connect() as conn:
            assert conn.exec_driver_sql("SELECT 'done' FROM pg_sleep(2)").scalar() == "done"
    finally:
        asking.close()
    assert not own.silent.is_set()


@pytest.mark.parametrize(
    "ask",
    [
        lambda conn: conn.exec_driver_sql("SELECT pg_sleep(60)"),
        lambda conn: bulk_copy.read_fixed(conn, "SELECT 1 FROM pg_sleep(60)", [("n", ">i4")]),
    ],
    ids=["a statement", "a copy"],
)
def test_who_waits_for_a_silent_postgres_is_told_and_so_is_who_comes_until_it_answers(own, ask):
    silent_soon(own)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="PostgreSQL is away: it says nothing"), own.begin() as conn:
        ask(conn)
    with pytest.raises(StoreUnavailable, match="it says nothing"), own.connect():
        pass
    assert time.monotonic() - begun < 30
    asking = Pulse(own)
    until = time.monotonic() + 30
    while own.silent.is_set():
        assert time.monotonic() < until
        time.sleep(0.01)
    asking.close()
    with own.connect() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar() == 1


def test_whether_a_commit_that_was_not_answered_was_made_is_left_open(own):
    def written():
        with own.begin() as conn:
            bulk_copy.raw(conn).execute(SLOW_COMMIT)
            silent_soon(own)

    with pytest.raises(StoreUnavailable, match="it says nothing; what was asked may or may not have been done"):
        written()
