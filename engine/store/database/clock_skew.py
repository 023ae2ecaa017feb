"""Clock: how far that of this process is from PostgreSQL's, and what servers refused as of the future by theirs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

FAR_S = 60.0  # of two clocks: more than a network and a busy machine explain
WHAT_TO_DO = "compare the clocks of the servers, of PostgreSQL and of who sends the events with a time server"


@dataclass(frozen=True)
class Refused:
    """Events of a space that were dated in the future by a server's clock."""

    n: int
    farthest: datetime  # the latest that one of them was dated
    last_at: datetime  # when the last was refused, by PostgreSQL's clock


def skew_s(conn: sa.Connection) -> float:
    """PostgreSQL's clock less that of this process, in seconds; to half of what the question took."""
    before = time.time()
    theirs = float(conn.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one())
    return theirs - (before + time.time()) / 2


def add_refused(conn: sa.Connection, space_key: int, n: int, farthest: datetime) -> None:
    conn.exec_driver_sql(
        """INSERT INTO future_events AS f (space_key, refused, farthest, last_at)
           VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT (space_key) DO UPDATE SET
           refused = f.refused + excluded.refused, farthest = greatest(f.farthest, excluded.farthest),
           last_at = excluded.last_at""",
        (space_key, n, farthest),
    )


def refused(conn: sa.Connection, space_key: int) -> Refused | None:
    """None: no event of the space was ever."""
    query = "SELECT refused, farthest, last_at FROM future_events WHERE space_key = %s"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    return None if row is None else Refused(row.refused, row.farthest.astimezone(UTC), row.last_at.astimezone(UTC))


def report(conn: sa.Connection, space_key: int) -> dict[str, Any]:
    """Of a status: `clock_skew_s`, and `future_events` with their number, dates and what to do, where there are any."""
    found, skew = refused(conn, space_key), skew_s(conn)
    body: dict[str, Any] = {"clock_skew_s": round(skew, 3) + 0.0, "future_events": None}
    if found is not None:
        body["future_events"] = {
            "refused": found.n,
            "farthest": found.farthest.isoformat(),
            "last_at": found.last_at.isoformat(),
            "what_to_do": WHAT_TO_DO,
        }
    return body
