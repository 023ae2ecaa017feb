"""Events per second of an import, compared with a bare COPY of the same rows.

Imports the Online Retail file into a new embedded PostgreSQL in a temporary folder; without the file, a generated
storefront. The upper bound, measured in the same run, is a COPY of the written rows into a table without an index.

    python scripts/bench_import.py [--data FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.errors import NearfieldError
from engine.importing import import_events
from engine.settings import Settings
from engine.store import events
from engine.store.database import bulk_copy
from engine.store.database.connections import Database, open_database
from engine.storefront import generate

DATA = Path(__file__).resolve().parents[2] / "shared/data/online-retail/events.parquet"
ONLINE_RETAIL: dict[str, Any] = {
    "columns": {
        "user_id": "CustomerID",
        "item_id": "StockCode",
        "occurred_at": "InvoiceDate",
        "value": "Quantity",
        "title": "Description",
        "attributes.price": "UnitPrice",
    },
    "constants": {"kind": "purchase"},
}
BARE_COLUMNS = "event_id text, user_key bigint, item_key bigint, kind text, value real, occurred_at timestamptz"


def main() -> None:
    try:
        run(arguments())
    except NearfieldError as error:
        raise SystemExit(f"bench_import: {error}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the Online Retail events as Parquet")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, mapping = options.data or DATA, ONLINE_RETAIL
        if options.data is None and not DATA.exists():
            print(f"{DATA} does not exist; importing a generated storefront instead")
            path, mapping = generate(n_users=12_000).write(Path(folder))[1], {}
        with open_database(Settings(home=Path(folder) / "home")) as database:
            figures = measure(database, path, mapping)
    if options.json:
        print(json.dumps(figures))


def measure(database: Database, path: Path, mapping: dict[str, Any]) -> dict[str, Any]:
    first = import_events(database, "bench", path, **mapping)
    again = import_events(database, "bench", path, **mapping)
    ceiling_s = copy_seconds(database)
    rate, ceiling = first.written / first.seconds, first.written / ceiling_s
    print(
        f"{path.name}: {first.read} rows, {first.written} events written in {first.seconds:.2f} s: {rate:,.0f} events/s"
    )
    print(f"the same file again: {again.duplicates} duplicates in {again.seconds:.2f} s")
    print(
        f"upper bound, a bare COPY of these events: {ceiling_s:.2f} s, {ceiling:,.0f} events/s; "
        f"ratio {rate / ceiling:.3f}"
    )
    return {
        "rows": first.read,
        "written": first.written,
        "rejected": dict(first.rejected),
        "seconds": round(first.seconds, 3),
        "again_seconds": round(again.seconds, 3),
        "events_per_second": round(rate),
        "ceiling_events_per_second": round(ceiling),
        "ratio": round(rate / ceiling, 4),
    }


def copy_seconds(database: Database) -> float:
    """Seconds of a COPY of all events of the space, as text in memory, into a table without an index."""
    columns = "event_id, user_key, item_key, kind, value, occurred_at"
    with database.begin() as conn:
        with (
            bulk_copy.driver_connection(conn).cursor() as cursor,
            cursor.copy(f"COPY (SELECT {columns} FROM events) TO STDOUT") as chunks,
        ):
            rows = b"".join(chunks)
        assert rows.count(b"\n") == events.count(conn, 1)
        conn.exec_driver_sql(f"CREATE TABLE bare_events ({BARE_COLUMNS})")
    started = time.perf_counter()
    with (
        database.begin() as conn,
        bulk_copy.driver_connection(conn).cursor() as cursor,
        cursor.copy("COPY bare_events FROM STDIN") as copy,
    ):
        for start in range(0, len(rows), 1 << 20):
            copy.write(rows[start : start + (1 << 20)])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
