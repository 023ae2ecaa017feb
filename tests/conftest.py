"""Fixtures of all tests: a real PostgreSQL, embedded in a temporary folder or at TEST_DATABASE_URL, and a new space."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator

import hypothesis
import pytest
import structlog
from pydantic import SecretStr

from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space
from tests.canary import Canary

# no deadline for an example: its duration depends on the load of the machine
hypothesis.settings.register_profile("nearfield", deadline=None)
hypothesis.settings.load_profile("nearfield")

# removed here, because the commands read the width of the terminal when a conftest imports them
os.environ.pop("COLUMNS", None)


def pytest_configure(config: pytest.Config) -> None:
    """Set the threads, the bytecode cache and the temporary folder of the run.

    Each run has a temporary folder of its own. At the start of a run, pytest removes the permissions of other users
    from its shared folder; for root, this stops the embedded databases of concurrent runs, which run as another user.

    OpenMP has one thread, set before numpy and torch are imported: with such small data, two threads are slower. The
    processes that tests start write bytecode; otherwise each would compile the packages again.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    config.pluginmanager.register(Canary(), "gpu-canary")
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="nearfield-tests-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0:  # after a failure the folder is kept for inspection
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Undo the log configuration of a test, since other tests count log lines or filter them by level."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One migrated database for the whole run; every test has a space of its own in it."""
    url = os.environ.get("TEST_DATABASE_URL")
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=SecretStr(url) if url else None)
    with open_database(settings, migrate=True) as opened:
        yield opened


@pytest.fixture
def space(database: Database) -> Space:
    """A new, empty space with a unique name, committed."""
    with database.begin() as conn:
        return spaces.ensure(conn, f"test-{uuid.uuid4().hex[:12]}")
