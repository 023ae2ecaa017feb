"""scripts/bench_serve.py: its output is machine-readable."""

from __future__ import annotations

from pathlib import Path

from tests.benches import rows_of

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_serve.py"
SMALL = "--items 200 --users 5 --events 3 --seconds 0.2 --rounds 1 --connections 2 --workers 1 --json"


def test_stdout_is_one_json_object_per_row_and_the_text_is_on_stderr() -> None:
    rows, text = rows_of("bench_serve.py", SMALL)
    assert {"stub: history", "recommend", "search by item", "events"} <= {row.get("route") for row in rows}
    [memory] = [row for row in rows if "process" in row]
    assert 0 < memory["own_mb"] <= memory["rss_mb"]
    assert "recommend at half load" in text
    assert "MB of its own" in text
