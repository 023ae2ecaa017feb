"""scripts/bench_serve.py: what it prints is read by machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_serve.py"
SMALL = "--items 200 --users 5 --events 3 --seconds 0.2 --rounds 1 --connections 2 --workers 1 --json"


def test_stdout_is_one_json_object_per_row_and_the_text_is_on_stderr() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEARFIELD_")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL.split()],
        env=environment | {"PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"stub: history", "recommend", "search by item"} <= {row.get("route") for row in rows}
    [memory] = [row for row in rows if "process" in row]
    assert 0 < memory["own_mb"] <= memory["rss_mb"]
    assert "recommend at half load" in done.stderr
    assert "MB of its own" in done.stderr
