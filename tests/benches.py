"""Runs a benchmark script as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1] / "scripts"


def rows_of(script: str, arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The rows on stdout, every line of which is one, and the text on stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEARFIELD_")}
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments.split()],
        env=environment | {"PYTHONPATH": str(SCRIPTS.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr
