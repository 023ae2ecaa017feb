"""The errors of a full disk, of a frozen PostgreSQL and of one that does not start; a failed start is not repeated."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from engine.disk_space import raising_disk_full
from engine.errors import DiskFull, StoreUnavailable
from engine.settings import Settings
from engine.store.database.connections import open_database
from engine.store.database.error_mapping import connection_lost, map_error


def test_the_error_of_a_full_disk_names_its_place_and_the_needed_space(tmp_path, monkeypatch):
    error = psycopg.errors.DiskFull('could not extend file "base/5/16384": No space left on device')
    server = SimpleNamespace(data=tmp_path / "postgres")
    monkeypatch.setattr("engine.disk_space.shutil.disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    mapped = map_error(error, server)
    assert isinstance(mapped, DiskFull)
    assert not mapped.is_down
    assert str(mapped) == (
        f"the disk that holds {tmp_path}/postgres is full: 3 MiB are free and PostgreSQL needs at least 64 MiB; "
        "free some space, then try again; reads continue, and the write was not done"
    )
    by_url = map_error(error, None)
    assert isinstance(by_url, DiskFull)
    assert str(by_url).startswith('the disk of PostgreSQL is full: could not extend file "base/5/16384"')
    lost = connection_lost(psycopg.OperationalError("server closed the connection unexpectedly"), server)
    assert isinstance(lost, DiskFull)  # PostgreSQL stopped because of the full disk
    assert lost.is_down
    assert "was not done" not in str(lost)


def test_a_write_error_becomes_disk_full_only_when_the_disk_is_full(tmp_path):
    full = "No space left on device"
    for error in (OSError(28, full), RuntimeError(f"Error: write error: {full}")):
        with (
            pytest.raises(DiskFull, match="of 3 items needs at least 5 MiB; free some space, then run it again"),
            raising_disk_full(tmp_path / "not" / "there", 5 * 2**20, "an index of 3 items", "then run it again"),
        ):
            raise error
    with pytest.raises(PermissionError), raising_disk_full(tmp_path, 1, "it", ""):
        raise PermissionError(13, "Permission denied")


def processes(home: Path) -> list[psutil.Process]:
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    return [psutil.Process(pid), *psutil.Process(pid).children()]


def test_a_frozen_postgres_is_reported_after_one_connection_attempt_and_not_restarted(tmp_path, monkeypatch):
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
            with pytest.raises(StoreUnavailable) as raised:
                open_database(settings)
        finally:
            for each in frozen:
                os.kill(each.pid, signal.SIGCONT)
        assert str(raised.value) == "PostgreSQL accepts connections but does not answer: it is frozen or overloaded"
        assert len(tries) == 1


def test_a_failed_start_is_not_repeated_at_once(tmp_path):
    with open_database(Settings(home=tmp_path)) as database:
        starts = []

        def fails():
            starts.append(1)
            raise StoreUnavailable("it did not start")

        [postmaster, *_] = processes(tmp_path)
        os.kill(postmaster.pid, signal.SIGKILL)
        psutil.wait_procs([postmaster], timeout=10)
        database._server.ensure_running, original = fails, database._server.ensure_running
        again = "PostgreSQL is unreachable, and its last start failed a moment ago: it did not start"
        for message in ("it did not start", again):
            with pytest.raises(StoreUnavailable, match=f"^{message}$"), database.connect():
                pass
        assert len(starts) == 1
        database._server.ensure_running = original
