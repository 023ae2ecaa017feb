"""Commands in processes of their own: stopped by a signal, under torchrun, and the demo."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.settings import Settings


@pytest.fixture
def fresh(shell: Any, tmp_path: Path) -> Any:
    """A shell whose database is not kept open."""
    return type(shell)(tmp_path, Settings(home=tmp_path / "home", database_url=None))


def postgres_of(home: Path) -> list[int]:
    """The running postgres processes of a home, without zombies."""
    data = str((home / "postgres").resolve())
    return [process.pid for process in psutil.process_iter() if data in _arguments(process)]


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_sigterm_leaves_no_postgres_behind(fresh: Any) -> None:
    process = fresh.start("train", "--space", "default")
    while not postgres_of(fresh.settings.home):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(1.0)  # after the start of the server, during which a signal has no effect
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    # 1: it ended before the signal came, because there are no events; -15: it had removed its handlers already
    assert process.returncode in (1, 128 + signal.SIGTERM, -signal.SIGTERM)
    assert "Traceback" not in err
    assert postgres_of(fresh.settings.home) == []


def test_the_demo_goes_from_nothing_to_answers(fresh: Any) -> None:
    process = fresh.start("demo", "--once", "--port", "0")
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert sum(line.startswith("curl -H 'Authorization: Bearer nf_") for line in lines) == 3
    assert sum(line.split() == ["item", "title", "price", "score", "reason"] for line in lines) == 3
    assert any(line.startswith("popularity") for line in lines)
    assert postgres_of(fresh.settings.home) == []


def test_under_torchrun_one_process_saves_what_all_have_learnt(shop: Any) -> None:
    before = len(shop.json("models")["models"])
    options = ("--standalone", "--nproc-per-node", "2", "-m", "api.cli.main")
    command = ("reindex", "--embedder", "elsa", "--set", "dim=4", "--json")
    started = shop.start(*command, runner=("torch.distributed.run", *options))
    out, err = started.communicate(timeout=180)
    assert started.returncode == 0, err
    bodies = [line for line in out.splitlines() if line.startswith("{")]
    assert len(bodies) == 1
    assert json.loads(bodies[0])["published"]
    assert len(shop.json("models")["models"]) == before + 1


def test_an_error_under_torchrun_is_printed_once(shop: Any) -> None:
    options = ("--standalone", "--nproc-per-node", "2", "-m", "api.cli.main")
    started = shop.start("train", "--embedder", "nothing", runner=("torch.distributed.run", *options))
    _, err = started.communicate(timeout=180)
    assert started.returncode != 0
    assert err.count("error: ") == 1
