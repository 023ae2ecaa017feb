"""What PostgreSQL's errors say to a person: frozen, out of disk, or away; a start that fails is not tried at once."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from engine.disk_space import told_when_full
from engine.errors import DiskFull, StoreUnavailable
from engine.settings import Settings
from engine.store.database.connections import open_database
from engine.store.database.error_mapping import unavailable, went_away


def test_a_full_disk_is_told_as_one_with_its_place_and_what_is_needed(tmp_path, monkeypatch):
    error = psycopg.errors.DiskFull('could not extend file "base/5/16384": No space left on device')
    server = SimpleNamespace(data=tmp_path / "postgres")
    monkeypatch.setattr("engine.disk_space.shutil.disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    found = unavailable(error, server)
    assert isinstance(found, DiskFull)
    assert not found.away
    assert str(found) == (
        f"the disk that holds {tmp_path}/postgres is full: 3 MiB are free and PostgreSQL needs at least 64 MiB; "
        "free some, then ask again; reads go on, and what was asked was not done"
    )
    elsewhere = unavailable(error, None)
    assert isinstance(elsewhere, DiskFull)
    assert str(elsewhere).startswith('the disk of PostgreSQL is full: could not extend file "base/5/16384"')
    lost = went_away(psycopg.OperationalError("server closed the connection unexpectedly"), server)
    assert isinstance(lost, DiskFull)  # it ended of that
    assert lost.away
    assert "was not done" not in str(lost)


def test_an_error_of_writing_files_is_told_as_a_full_disk_only_where_it_is_one(tmp_path):
    full = "No space left on device"
    for error in (OSError(28, full), RuntimeError(f"Error: write error: {full}")):
        with (
            pytest.raises(DiskFull, match="an index of 3 items needs at least 5 MiB; free some, then run it again"),
            told_when_full(tmp_path / "not" / "there", 5 * 2**20, "an index of 3 items", "then run it again"),
        ):
            raise error
    with pytest.raises(PermissionError), told_when_full(tmp_path, 1, "it", ""):
        raise PermissionError(13, "Permission denied")


def processes(home: Path) -> list[psutil.Process]:
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    return [psutil.Process(pid), *psutil.Process(pid).children()]


def test_a_frozen_postgres_is_told_after_one_try_and_left_as_it_is(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path)
    monkeypatch.setitem(
        __import__("engine.store.database.connections", fromlist=["LIMITS"]).LIMITS, "connect_timeout", 2
    )
    with open_database(settings):
        frozen = processes(tmp_path)
        for each in frozen:
            os.kill(each.pid, signal.SIGSTOP)
        try:
            tries = []
            connect = psycopg.Connection.connect.__func__
            counted = classmethod(lambda cls, *args, **options: (tries.append(1), connect(cls, *args, **options))[1])
            monkeypatch.setattr(psycopg.Connection, "connect", counted)
            with pytest.raises(StoreUnavailable) as told:
                open_database(settings)
        finally:
            for each in frozen:
                os.kill(each.pid, signal.SIGCONT)
        assert str(told.value) == "PostgreSQL is there and does not answer: it is stopped, frozen or overloaded"
        assert len(tries) == 1


def test_a_start_that_fails_is_not_tried_again_at_once(tmp_path):
    with open_database(Settings(home=tmp_path)) as database:
        starts = []

        def fails():
            starts.append(1)
            raise StoreUnavailable("it did not start")

        [postmaster, *_] = processes(tmp_path)
        os.kill(postmaster.pid, signal.SIGKILL)
        psutil.wait_procs([postmaster], timeout=10)
        database._server.ensure_running, whole = fails, database._server.ensure_running
        for said in ("it did not start", "PostgreSQL is away, and did not start a moment ago: it did not start"):
            with pytest.raises(StoreUnavailable, match=f"^{said}$"), database.connect():
                pass
        assert len(starts) == 1
        database._server.ensure_running = whole
