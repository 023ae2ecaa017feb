"""A server ends in time after a signal, even if its threads, its PostgreSQL or its children block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api.faults.test_durability import free_port, start
from tests.api.test_operations import eventually

ENDS_S = 45  # where it took more than a minute, or had no end; on a busy machine
STUCK = """
import sys, time
from types import SimpleNamespace
from api.routes import models
from engine.store import generations

def listed(*given):
    print("it waits", file=sys.stderr, flush=True)
    time.sleep(300)

models.generations = SimpleNamespace(**vars(generations) | {"list_all": listed})
from api.cli.main import main
main()
"""
CHILD = """
import multiprocessing, signal, sys, threading, time
from api.shutdown import ShutdownTimer

def child(pipe):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send("ready")
    time.sleep(300)

fork = multiprocessing.get_context("fork")
here, there = fork.Pipe()
made = fork.Process(target=child, args=(there,))
made.start()
here.recv()
with ShutdownTimer(1.0) as timer:
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    timer.final_action = lambda: (print("last", flush=True), time.sleep(300))
    timer.handle_signals()
    threading.Thread(target=time.sleep, args=(300,)).start()
    print(made.pid, flush=True)
    made.join()
"""
own_postgres = pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="freezes a PostgreSQL of its own")


@contextmanager
def frozen(home: Path) -> Iterator[psutil.Process]:
    main = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))
    main.suspend()
    stopped = [main, *main.children(recursive=True)]
    try:
        for each in stopped:
            each.suspend()
        yield main
    finally:
        for each in reversed(stopped):
            each.resume()


@own_postgres
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_ends_while_its_postgresql_is_frozen_and_postgresql_stops_when_it_resumes(
    tmp_path: Path, workers: str
) -> None:
    home = tmp_path / "home"
    with (tmp_path / "log").open("w") as log:
        process = start(home, free_port(), "--workers", workers, log=log)
    children = psutil.Process(process.pid).children(recursive=True)
    with frozen(home) as postmaster:
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_S) == 0
        eventually(lambda: not [each for each in children if each.is_running() and each.status() != "zombie"])
    eventually(lambda: not postmaster.is_running() or postmaster.status() == "zombie")
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_server_ends_although_one_of_its_threads_blocks(own: object, tmp_path: Path) -> None:
    settings, database = own  # type: ignore[misc]
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", STUCK]
        process = start(settings.home, port, log=log, command=command, NEARFIELD_DATABASE_URL=database.url)
    url = f"http://127.0.0.1:{port}/v1/default"
    asking = threading.Thread(target=suppressed, args=(url + "/generations",))
    asking.start()
    eventually(lambda: "it waits" in (tmp_path / "log").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(ENDS_S) == 0
    asking.join()


def suppressed(url: str) -> None:
    with suppress(httpx.TransportError):
        httpx.get(url, timeout=ENDS_S)


def test_when_the_time_is_over_children_are_killed_and_the_final_action_runs() -> None:
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=ENDS_S)
    assert process.returncode == 0, err
    assert out.endswith("last\n")
    assert "not everything ended in time" in out
    eventually(lambda: not child.is_running() or child.status() == "zombie")
