"""The embedded server: shared by processes, restarted when killed, stopped by the last process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import StoreUnavailable
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import open_database

ROOT = Path(__file__).parents[4]
PROCESS = """
import sys
from pathlib import Path
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import open_database

with open_database(Settings(home=Path(sys.argv[1]), database_url=None)) as database:
    print("open", flush=True)
    for name in sys.stdin:
        with database.begin() as conn:
            made = spaces.ensure(conn, name.strip())
        print(made.name, flush=True)
print("closed", flush=True)
"""


class Process:
    """Another nearfield process on one home: opens the database, creates spaces by name, closes at the end of input."""

    def __init__(self, home: Path):
        command = [sys.executable, "-W", "ignore", "-c", PROCESS, str(home)]
        self.popen = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": "."},
        )

    def reads(self) -> str:
        return self.popen.stdout.readline().strip()

    def makes(self, name: str) -> str:
        self.popen.stdin.write(name + "\n")
        self.popen.stdin.flush()
        return self.reads()

    def ends(self) -> None:
        out, _ = self.popen.communicate(timeout=30)
        assert out.strip() == "closed"

    def killed(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=30)


@pytest.fixture
def start(tmp_path):
    """Starts processes on one home; after the test, kills those that still run and stops the server."""
    started = []

    def one() -> Process:
        process = Process(tmp_path)
        started.append(process)
        return process

    yield one
    for process in started:
        if process.popen.poll() is None:
            process.killed()
        process.popen.stdin.close()
        process.popen.stdout.close()
    open_database(here(tmp_path)).close()
    assert not running(tmp_path)


def here(home: Path) -> Settings:
    return Settings(home=home, database_url=None)


def postmaster(home: Path) -> int | None:
    file = home / "postgres" / "postmaster.pid"
    return int(file.read_text().split("\n")[0]) if file.exists() else None


def running(home: Path) -> bool:
    pid = postmaster(home)
    return pid is not None and alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    for _ in range(1200):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_two_processes_share_one_server_and_the_last_one_stops_it(tmp_path, start):
    first, second = start(), start()
    assert (first.reads(), second.reads()) == ("open", "open")
    pid = postmaster(tmp_path)
    assert first.makes("one") == "one"
    assert second.makes("one") == "one"
    first.ends()
    assert alive(pid)
    assert second.makes("two") == "two"
    second.ends()
    assert gone(pid)


def test_after_one_process_is_killed_the_other_works_and_still_stops_the_server(tmp_path, start):
    first = start()
    assert first.reads() == "open"
    second = start()
    assert second.reads() == "open"
    pid = postmaster(tmp_path)
    first.killed()
    assert alive(pid)
    assert second.makes("one") == "one"
    second.ends()
    assert gone(pid)


def test_a_server_orphaned_by_a_kill_is_taken_over_and_stopped(tmp_path, start):
    first = start()
    assert first.reads() == "open"
    assert first.makes("kept") == "kept"
    pid = postmaster(tmp_path)
    first.killed()
    assert alive(pid)
    with open_database(here(tmp_path)) as database:
        assert postmaster(tmp_path) == pid
        with database.connect() as conn:
            assert [space.name for space in spaces.list_all(conn)] == ["kept"]
    assert gone(pid)


def test_a_killed_database_works_again_for_every_process_after_at_most_one_failed_query(tmp_path, start):
    other = start()
    assert other.reads() == "open"
    with open_database(here(tmp_path)) as database:
        with database.begin() as conn:
            spaces.ensure(conn, "before")
        pid = postmaster(tmp_path)
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        failures, names = 0, None
        while names is None:
            try:
                with database.begin() as conn:
                    names = [space.name for space in spaces.list_all(conn)]
            except StoreUnavailable:
                failures += 1
                assert failures <= 1
        assert names == ["before"]
        assert postmaster(tmp_path) != pid
        assert other.makes("after") == "after"
        other.ends()
        assert running(tmp_path)
    assert not running(tmp_path)


def test_a_server_killed_with_its_process_starts_again_with_the_committed_data(tmp_path, start):
    first = start()
    assert first.reads() == "open"
    assert first.makes("kept") == "kept"
    pid = postmaster(tmp_path)
    os.kill(pid, signal.SIGKILL)
    first.killed()
    assert gone(pid)
    with open_database(here(tmp_path)) as database, database.connect() as conn:
        assert spaces.get(conn, "kept").name == "kept"


def test_a_home_that_cannot_hold_a_database_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "postgres").write_text("a file is in the way")
    with pytest.raises(StoreUnavailable, match=r"the embedded PostgreSQL in .* did not start"):
        open_database(here(tmp_path))
    with pytest.raises(StoreUnavailable, match=r"^.*postgres cannot be used as NEARFIELD_HOME: "):
        open_database(here(tmp_path / "postgres"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A home whose server has stopped."""
    home = tmp_path_factory.mktemp("stopped")
    with open_database(here(home)) as database, database.begin() as conn:
        spaces.ensure(conn, "kept")
    return home


@pytest.mark.parametrize("text", ["{stranger}\n", "99999999\n", "", "not a pid"])
def test_a_stale_pid_file_does_not_prevent_a_start_even_when_another_program_has_the_number(stopped, text):
    (stopped / "postgres" / "postmaster.pid").write_text(text.format(stranger=os.getpid()))
    with open_database(here(stopped)) as database, database.connect() as conn:
        assert spaces.get(conn, "kept").name == "kept"
    assert not running(stopped)
