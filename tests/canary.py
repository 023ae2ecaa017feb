"""A pytest plugin for GPU jobs: with NEARFIELD_EXPECT_GPU=1, a run in which no test used a GPU fails."""

from __future__ import annotations

import os

import pytest


class Canary:
    def __init__(self) -> None:
        self.ran = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and "gpu" in report.keywords and not report.skipped:
            self.ran += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if os.environ.get("NEARFIELD_EXPECT_GPU") == "1" and self.ran == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if os.environ.get("NEARFIELD_EXPECT_GPU") == "1" and self.ran == 0:
            terminalreporter.write_line("NEARFIELD_EXPECT_GPU is 1, but no test ran on a GPU: failed", red=True)
