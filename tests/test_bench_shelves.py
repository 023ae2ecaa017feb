"""scripts/bench_shelves.py: one line for each shape of a shelf, with its ratio to plain."""

from __future__ import annotations

from tests.benches import rows_of

SMALL = "--items 200 --users 5 --events 3 --seconds 0.2 --rounds 1 --connections 2 --json"


def test_stdout_is_one_json_object_per_shape() -> None:
    rows, _ = rows_of("bench_shelves.py", SMALL)
    shapes = [row["shape"] for row in rows]
    assert shapes[:6] == ["plain", "filter", "diversity", "caps", "group_by", "boost"]
    assert {"explain", "not_kept"} <= set(shapes)
    assert rows[0]["ratio"] == 1
    for row in rows:
        assert row["rps"] > 0
        assert row["p99_ms"] > 0
        assert row["ratio"] > 0
        assert row["errors"] == 0
