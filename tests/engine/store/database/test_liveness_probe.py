"""Callers wait for a slow PostgreSQL and not for a frozen one. tests/api/faults freezes a real one."""

import threading
import time

import pytest

from engine.errors import StoreUnavailable
from engine.store.database import bulk_copy, liveness_probe
from engine.store.database.connections import Database
from engine.store.database.liveness_probe import LivenessProbe

SLOW_COMMIT = """
CREATE TEMPORARY TABLE slow (n int);
CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(5); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION pg_temp.wait();
INSERT INTO slow VALUES (1)"""


@pytest.fixture
def own(database):
    """A second Database of the same PostgreSQL, with its own `frozen` flag."""
    with Database(database.url) as opened:
        yield opened


def freeze_soon(database):
    threading.Timer(0.2, database.frozen.set).start()


def test_a_slow_statement_is_not_taken_for_a_frozen_database(own, monkeypatch):
    monkeypatch.setattr(liveness_probe, "PROBE_INTERVAL_S", 0.05)
    monkeypatch.setattr(liveness_probe, "TIMEOUT_S", 1.5)  # a busy machine takes tenths of a second to answer
    probe = LivenessProbe(own)
    try:
        with own.connect() as conn:
            assert conn.exec_driver_sql("SELECT 'done' FROM pg_sleep(2)").scalar() == "done"
    finally:
        probe.close()
    assert not own.frozen.is_set()


@pytest.mark.parametrize(
    "run",
    [
        lambda conn: conn.exec_driver_sql("SELECT pg_sleep(60)"),
        lambda conn: bulk_copy.read_fixed(conn, "SELECT 1 FROM pg_sleep(60)", [("n", ">i4")]),
    ],
    ids=["a statement", "a copy"],
)
def test_running_and_new_statements_fail_while_postgres_is_frozen(own, run):
    freeze_soon(own)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="PostgreSQL is unreachable: it does not answer"), own.begin() as conn:
        run(conn)
    with pytest.raises(StoreUnavailable, match="it does not answer"), own.connect():
        pass
    assert time.monotonic() - begun < 30
    probe = LivenessProbe(own)
    until = time.monotonic() + 30
    while own.frozen.is_set():
        assert time.monotonic() < until
        time.sleep(0.01)
    probe.close()
    with own.connect() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar() == 1


def test_the_error_of_an_unanswered_commit_says_that_the_outcome_is_unknown(own):
    def write():
        with own.begin() as conn:
            bulk_copy.driver_connection(conn).execute(SLOW_COMMIT)
            freeze_soon(own)

    message = "it does not answer; the connection was lost during the commit: the write may or may not be stored"
    with pytest.raises(StoreUnavailable, match=message):
        write()
