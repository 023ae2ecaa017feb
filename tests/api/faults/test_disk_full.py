"""A real full disk: writes get 507, reads continue, and the server recovers once there is space."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from api.server import bound, running
from engine.embedders.registry import make
from engine.errors import DiskFull
from engine.settings import Settings
from engine.store import events, spaces
from engine.store.database.connections import Database, open_database
from engine.values.events import Event
from indexing.building.build import build_generation
from indexing.building.reindex import train_version
from tests.api.conftest import seed_events

SIZE_MB = 220


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, where one may be mounted."""
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**20))


def test_a_full_disk_is_507_and_reads_go_on(small: Path) -> None:
    settings = Settings(home=small / "home", poll_s=0.2)
    with open_database(settings) as database, bound("127.0.0.1", 0) as listener:
        with database.begin() as conn:
            space = spaces.ensure(conn, "default")
            events.append(
                conn, space.key, [*seed_events(), Event("u", "even-01", "view", seed_events()[0].occurred_at)]
            )
        with running(settings, database, listener), capture_logs() as lines:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/default"
            rows = {"items": [{"item_id": f"i{n}", "title": "t" * 2000} for n in range(500)]}
            fill(small / "ballast")
            for _ in range(3):
                answer = httpx.post(f"{url}/items", json=rows, timeout=60)
                assert answer.status_code == 507, answer.text
            detail = answer.json()["detail"]
            assert detail.startswith(
                f"the disk that holds {small}/home/postgres is full: 0 MiB are free and PostgreSQL"
            )
            assert "needs at least 64 MiB; free some space, then try again; reads continue" in detail
            assert httpx.get(f"{url}/recommend?user_id=u", timeout=60).status_code == 200
            (small / "ballast").unlink()
            assert httpx.post(f"{url}/items", json=rows, timeout=60).status_code == 200
    assert [line["event"] for line in lines if line["log_level"] in ("error", "warning")].count("a disk is full") == 1
    assert not [line for line in lines if line["event"] == "PostgreSQL is unreachable"]


def test_an_index_without_disk_space_reports_its_size_and_leaves_no_files(small: Path, database: Database) -> None:
    with database.begin() as conn:
        space = spaces.ensure(conn, "cramped")
        events.append(conn, space.key, seed_events())
    version = train_version(database, space, make("spectral", {"dim": 8})).record.version
    fill(small / "ballast")
    with pytest.raises(DiskFull, match=f"{small}/generations/cramped is full: 0 MiB are free and an index of 40 items"):
        build_generation(database, space, version, small / "generations")
    assert not list((small / "generations").rglob("*.partial"))
    (small / "ballast").unlink()
    assert build_generation(database, space, version, small / "generations")
    with database.begin() as conn:
        spaces.delete(conn, "cramped")
