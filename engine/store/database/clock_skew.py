"""Clock skew: the difference between this process's clock and PostgreSQL's, and a count of events that servers refused
because their own clock put them in the future.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

FAR_S = 60.0  # a skew that neither a network delay nor a busy machine explains
WHAT_TO_DO = "compare the clocks of the servers, of PostgreSQL and of the clients that send events with a time server"


@dataclass(frozen=True)
class RefusedEvents:
    """Events of a space that were refused because they were dated in the future."""

    n: int
    farthest: datetime  # the latest date among them
    last_at: datetime  # the time of the last refusal, by PostgreSQL's clock


def skew_s(conn: sa.Connection) -> float:
    """PostgreSQL's clock minus this process's clock, in seconds; exact to half of the round trip."""
    before = time.time()
    postgres_s = float(conn.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one())
    return postgres_s - (before + time.time()) / 2


def add_refused(conn: sa.Connection, space_key: int, n: int, farthest: datetime) -> None:
    """Add `n` refused events to the count of a space."""
    conn.exec_driver_sql(
        """INSERT INTO future_events AS f (space_key, refused, farthest, last_at)
           VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT (space_key) DO UPDATE SET
           refused = f.refused + excluded.refused, farthest = greatest(f.farthest, excluded.farthest),
           last_at = excluded.last_at""",
        (space_key, n, farthest),
    )


def refused(conn: sa.Connection, space_key: int) -> RefusedEvents | None:
    """The refused events of a space; None when there are none."""
    query = "SELECT refused, farthest, last_at FROM future_events WHERE space_key = %s"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    return (
        None if row is None else RefusedEvents(row.refused, row.farthest.astimezone(UTC), row.last_at.astimezone(UTC))
    )


def report(conn: sa.Connection, space_key: int) -> dict[str, Any]:
    """The fields of a status: `clock_skew_s`, and `future_events` with number, dates and advice, or None."""
    events, skew = refused(conn, space_key), skew_s(conn)
    fields: dict[str, Any] = {"clock_skew_s": round(skew, 3) + 0.0, "future_events": None}
    if events is not None:
        fields["future_events"] = {
            "refused": events.n,
            "farthest": events.farthest.isoformat(),
            "last_at": events.last_at.isoformat(),
            "what_to_do": WHAT_TO_DO,
        }
    return fields
