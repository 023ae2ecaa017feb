"""The real PostgreSQL of the tests: embedded in a temporary folder, or TEST_DATABASE_URL. Never the application's."""

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

# how long an example takes is the machine's and not the code's
hypothesis.settings.register_profile("nearfield", deadline=None)
hypothesis.settings.load_profile("nearfield")

# how wide somebody's terminal is; here, as the commands look for it when they are imported, by another conftest too
os.environ.pop("COLUMNS", None)


def pytest_configure(config: pytest.Config) -> None:
    """A temporary folder for each run: pytest closes the folder it shares between runs to other users when it starts,
    and with it, for root, the embedded databases of a run beside it, which work as a user of their own.

    One thread, set before numpy and torch are imported: on worlds so small two wait for each other more than they work.
    The processes that tests start write what they compile of us, where the environment says otherwise as well: each
    would compile it again.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    config.pluginmanager.register(Canary(), "gpu-canary")
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="nearfield-tests-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0:  # else it stays, to be looked at
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """What a test configures of them ends with it: another may count the lines, or look for those of a level."""
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
    """A fresh, empty space of its own name, committed."""
    with database.begin() as conn:
        return spaces.ensure(conn, f"test-{uuid.uuid4().hex[:12]}")
