"""The command line from its arguments to its exit code, over the embedded PostgreSQL of a temporary home."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from api.cli.main import main
from engine.settings import Settings
from engine.store.database.connections import open_database

COLUMNS = (
    *("--column", "user_id=CustomerID", "--column", "item_id=StockCode", "--column", "value=Quantity"),
    *("--column", "occurred_at=InvoiceDate", "--column", "title=Description", "--set", "kind=purchase"),
)


@dataclass(frozen=True)
class Shell:
    """Runs `nearfield ARGUMENTS` in `folder`, with the data of `settings`."""

    folder: Path
    settings: Settings

    def start(
        self, *arguments: str, runner: Sequence[str] = ("api.cli.main",), **environment: str
    ) -> subprocess.Popen[str]:
        """A process of its own; `runner` is the module that runs, and what comes before the arguments."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEARFIELD_")}
        return subprocess.Popen(
            [sys.executable, "-m", *runner, *arguments],
            cwd=self.folder,
            env=kept
            | {"NEARFIELD_HOME": str(self.settings.home), "PYTHONPATH": str(Path(__file__).parents[3])}
            | {"OMP_NUM_THREADS": "1"}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, which has imported everything already."""
        out, err = io.StringIO(), io.StringIO()
        handler, code = signal.getsignal(signal.SIGTERM), 0
        variables = {"NEARFIELD_HOME": str(self.settings.home), "OMP_NUM_THREADS": "1"} | environment
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["nearfield", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
            finally:
                signal.signal(signal.SIGTERM, handler)
                structlog.reset_defaults()
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def text(self, *arguments: str) -> str:
        """What a command that succeeds prints."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """The last line of a command that succeeds with --json."""
        found: dict[str, Any] = json.loads(self.text(*arguments, "--json").splitlines()[-1])
        return found

    def fails(self, *arguments: str, code: int, **environment: str) -> str:
        """The one sentence on stderr of a command that exits with `code`."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, done
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, f"more than one line: {done.stderr}"
        return done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An empty home. Its database stays open during the tests, so that no command has to start it."""
    folder = tmp_path_factory.mktemp("shell")
    settings = Settings(home=folder / "home", database_url=None)
    with open_database(settings):
        yield Shell(folder, settings)


@pytest.fixture(scope="module")
def sales(shell: Shell) -> Path:
    """Thirty customers who buy odd things, thirty who buy even things, and a row without a customer."""
    path = shell.folder / "sales.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("CustomerID", "StockCode", "Quantity", "InvoiceDate", "Description"))
        for side in ("odd", "even"):
            for user in range(30):
                for step in range(8):
                    n = (user * 3 + step * 7) % 20
                    day = f"2026-01-{1 + 3 * step:02} {user % 24:02}:00:00"
                    writer.writerow((f"{side}-user-{user}", f"{side}-{n:02}", 1, day, f"{side.title()} [thing] {n}"))
        writer.writerow(("", "odd-01", 1, "2026-01-01 00:00:00", "Odd [thing] 1"))
    return path


@pytest.fixture(scope="module")
def shop(shell: Shell, sales: Path) -> Shell:
    """A shell with a shop whose sales are imported, learnt from and published."""
    shell.text("import", "events", str(sales), *COLUMNS)
    shell.text("reindex")
    return shell
