"""Acknowledged writes survive the kill of any process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import httpx
import pytest

from api.server import START_S
from engine.settings import Settings
from engine.store import events, items, spaces
from engine.store.database.connections import Database, open_database

NEARFIELD = [sys.executable, "-m", "api.cli.main"]


def start(
    home: Path,
    port: int,
    *arguments: str,
    log: IO[str] | int = subprocess.PIPE,
    command: Sequence[str] = NEARFIELD,
    **variables: str,
) -> subprocess.Popen[str]:
    environment = {**os.environ, "NEARFIELD_HOME": str(home), **variables}
    process = subprocess.Popen(
        [*command, "serve", "--port", str(port), *arguments], env=environment, stderr=log, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.05)
    process.terminate()
    process.wait(timeout=60)
    raise AssertionError("the server did not start")


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=30)
    if process.stderr is not None:
        process.stderr.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder whose database exists and stays open beside the servers."""
    folder = tmp_path_factory.mktemp("home")
    with open_database(Settings(home=folder)):
        yield folder


def test_kill_9_loses_no_acknowledged_event(home: Path) -> None:
    port = free_port()
    process = start(home, port)
    acknowledged: set[str] = set()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1/default", timeout=5) as client:
            for batch in range(10_000):
                rows = [
                    {"user_id": "u", "item_id": f"i{batch}-{row}", "event_id": f"{batch}-{row}"} for row in range(5)
                ]
                if batch == 40:
                    os.kill(process.pid, signal.SIGKILL)
                answer = client.post("/events", json={"events": rows}).json()
                acknowledged |= {
                    row["item_id"]
                    for row, each in zip(rows, answer["results"], strict=True)
                    if each["status"] == "written"
                }
    except httpx.TransportError:
        pass
    process.wait(timeout=30)
    process.stderr.close()
    assert len(acknowledged) >= 200
    with open_database(Settings(home=home)) as database, database.connect() as conn:
        stored = events.history(conn, spaces.get(conn, "default").key, "u", 100_000)
    assert acknowledged <= set(stored.item_ids)


def test_two_workers_stop_on_sigterm_and_a_second_server_reports_the_port_in_use(tmp_path: Path) -> None:
    port = free_port()
    process = start(tmp_path, port, "--workers", "2")
    try:
        second, status = (
            subprocess.Popen(
                [*NEARFIELD, *arguments],
                env={**os.environ, "NEARFIELD_HOME": str(tmp_path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for arguments in (("serve", "--port", str(port)), ("status", "--json"))
        )
        _, told = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"port {port} on 127.0.0.1 is in use" in told
        assert "Traceback" not in told
        _, told = status.communicate(timeout=60)
        assert status.returncode == 0, told
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "nearfield_request_seconds_count" in metrics
    finally:
        end(process)
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()  # the database stopped with its last client process


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_write_in_progress_at_sigterm_is_answered_before_the_server_ends(
    home: Path, tmp_path: Path, n_workers: int
) -> None:
    port, log, name = free_port(), tmp_path / "log", f"slow-{n_workers}"
    with log.open("w") as written:
        process = start(home, port, "--workers", str(n_workers), log=written)
    url = f"http://127.0.0.1:{port}/v1/default/items/{name}"
    try:
        with open_database(Settings(home=home)) as database, ThreadPoolExecutor(1) as pool:
            with database.begin() as conn:  # the write waits for this transaction
                conn.exec_driver_sql("LOCK TABLE items IN EXCLUSIVE MODE")
                answer = pool.submit(httpx.put, url, json={"title": name}, timeout=30)
                until = time.monotonic() + 30
                while not waiting_for_locks(database):
                    assert time.monotonic() < until, answer
                    time.sleep(0.02)
                process.terminate()
                while answers(port):  # until no new connections are accepted
                    assert time.monotonic() < until
                    time.sleep(0.02)
                assert process.poll() is None
                assert not answer.done()
            assert answer.result().status_code == 200
            assert process.wait(timeout=30) == 0
            with database.connect() as conn:
                assert items.get(conn, spaces.get(conn, "default").key, name).title == name
    finally:
        process.kill()
        process.wait(timeout=30)
    assert "Traceback" not in log.read_text()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def waiting_for_locks(database: Database) -> int:
    with database.connect() as conn:
        found = conn.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one()
    return int(found)


def test_a_killed_worker_is_replaced_and_its_gauges_are_removed(home: Path) -> None:
    port = free_port()
    process = start(home, port, "--workers", "2")
    try:
        for _ in range(20):  # a new connection each, to reach both workers
            assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 200
        first = workers(process.pid)
        variables = Path(f"/proc/{first[0]}/environ").read_bytes().split(b"\0")
        [folder] = [Path(each.split(b"=", 1)[1].decode()) for each in variables if each.startswith(b"PROMETHEUS_MULTI")]
        killed = next(pid for pid in first if list(folder.glob(f"gauge_live*_{pid}.db")))
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + START_S
        while killed in workers(process.pid) or len(workers(process.pid)) < 2:
            assert time.monotonic() < until, "the worker was not replaced"
            assert httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
            time.sleep(0.1)
        while list(folder.glob(f"gauge_live*_{killed}.db")):
            assert time.monotonic() < until, "its gauges are still there"
            time.sleep(0.1)
    finally:
        end(process)


def test_a_starting_worker_has_more_time_than_one_that_hangs(home: Path) -> None:
    impatient = "import api.server, api.cli.main; api.server.HEALTH_S = 1.0; api.cli.main.main()"
    process = start(home, free_port(), "--workers", "2", command=[sys.executable, "-c", impatient])
    try:
        first = workers(process.pid)
        time.sleep(2)
        assert workers(process.pid) == first
        os.kill(first[0], signal.SIGSTOP)
        until = time.monotonic() + START_S
        while first[0] in workers(process.pid) or len(workers(process.pid)) < 2:
            assert time.monotonic() < until, "the silent worker was not replaced"
            time.sleep(0.1)
    finally:
        end(process)


def workers(pid: int) -> list[int]:
    """The process ids of the workers of a server."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
