"""PostgreSQL snapshots: which transactions a reader has seen. The `seq` of a write is the id of its transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

EPOCH = """(SELECT system_identifier || '-' || timeline_id || '-' || (SELECT oid FROM pg_database
    WHERE datname = current_database()) FROM pg_control_system(), pg_control_checkpoint())"""


@dataclass(frozen=True)
class Snapshot:
    """The transactions that had ended: all below `xmin`, and all below `xmax` except those in `running`.

    The transaction `hidden` had ended too, but its effect is not visible to requests yet: it activated a generation
    that this process has not opened.
    """

    xmin: int
    xmax: int
    running: frozenset[int] = frozenset()
    epoch: str = ""  # the result of `epoch()`
    hidden: int | None = None

    def includes(self, seq: int) -> bool:
        ended = seq < self.xmin or (seq < self.xmax and seq not in self.running)
        return ended and seq != self.hidden

    def hiding(self, xid: int) -> Snapshot:
        """This snapshot without the effect of one transaction; `xid` is its lower 32 bits, as in a row's `xmin`."""
        full_xid = (self.xmax & ~0xFFFFFFFF) | xid
        return replace(self, hidden=full_xid if full_xid < self.xmax else full_xid - 2**32)

    def __str__(self) -> str:
        """The text form of PostgreSQL's pg_snapshot."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"


def parse(text: str, epoch: str = "") -> Snapshot:
    xmin, xmax, running = text.split(":")
    return Snapshot(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid), epoch)


def current(conn: sa.Connection) -> Snapshot:
    """The snapshot of this statement, or of this REPEATABLE READ transaction."""
    return parse(*conn.exec_driver_sql(f"SELECT pg_current_snapshot()::text, {EPOCH}").one())


def transaction_seq(conn: sa.Connection) -> int:
    """The `seq` of the current transaction."""
    return int(conn.exec_driver_sql("SELECT pg_current_xact_id()::text::bigint").scalar_one())


def epoch(conn: sa.Connection) -> str:
    """The identity of the cluster, its timeline and the database. Snapshots of different epochs are not comparable."""
    return str(conn.exec_driver_sql(f"SELECT {EPOCH}").scalar_one())
