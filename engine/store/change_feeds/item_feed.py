"""The change feed: which items changed since a snapshot, without a lock and without losing a late commit.

A reader remembers the snapshot it last read in: which transactions had ended by then. What is new is what this
snapshot sees and that one did not. Polling `seq > last` instead lost 17.5% of acknowledged rows in a measured run;
waiting for every older transaction to end (`xid < xmin`) loses none, but one long import would stop the feed.

The number of a write's transaction, its `seq`, is what a reader can ask a snapshot for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

KEEP = 1_000_000  # changes that are kept at most; a reader older than that reads the whole catalogue instead
ONE_PRUNER = 0x7072756E  # any number: one process prunes at a time
EPOCH = """(SELECT system_identifier || '-' || timeline_id || '-' || (SELECT oid FROM pg_database
    WHERE datname = current_database()) FROM pg_control_system(), pg_control_checkpoint())"""
READ = f"""
SELECT pg_current_snapshot()::text, {EPOCH}, %(xmin)s::text::xid8 < (SELECT xid FROM change_log_start),
    ARRAY(SELECT DISTINCT item_key FROM change_log WHERE xid >= %(xmin)s::text::xid8 AND space_key = %(space)s
        AND NOT pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot))
"""
# Everything that some recorded generation starts after, but no more than KEEP changes.
BEFORE = """
SELECT greatest(
    least((SELECT min(split_part(manifest->'start'->>'snapshot', ':', 1)::xid8) FROM generations),
        pg_snapshot_xmin(pg_current_snapshot())),
    (SELECT xid FROM change_log ORDER BY xid DESC, seq DESC OFFSET %s LIMIT 1))::text
"""


@dataclass(frozen=True)
class Snapshot:
    """Which transactions had ended: all below `xmax` but those `running`; all below `xmin` had.

    The one `unshown` had too, but what it did is not shown yet: the activation of a generation that is to be opened.
    """

    xmin: int
    xmax: int
    running: frozenset[int] = frozenset()
    epoch: str = ""  # see `epoch`
    unshown: int | None = None

    def holds(self, seq: int) -> bool:
        ended = seq < self.xmin or (seq < self.xmax and seq not in self.running)
        return ended and seq != self.unshown

    def but(self, xid: int) -> Snapshot:
        """This snapshot, which does not show the transaction of which `xid` is the lower 32 bits, as rows have it."""
        whole = (self.xmax & ~0xFFFFFFFF) | xid
        return replace(self, unshown=whole if whole < self.xmax else whole - 2**32)

    def __str__(self) -> str:
        """As PostgreSQL writes a pg_snapshot."""
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"


def parse(text: str, epoch: str = "") -> Snapshot:
    xmin, xmax, running = text.split(":")
    return Snapshot(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid), epoch)


def snapshot(conn: sa.Connection) -> Snapshot:
    """What this statement, or this REPEATABLE READ transaction, sees."""
    return parse(*conn.exec_driver_sql(f"SELECT pg_current_snapshot()::text, {EPOCH}").one())


def sequence(conn: sa.Connection) -> int:
    """The `seq` of the transaction that writes here."""
    return int(conn.exec_driver_sql("SELECT pg_current_xact_id()::text::bigint").scalar_one())


def read_since(conn: sa.Connection, space_key: int, since: Snapshot) -> tuple[list[int] | None, Snapshot]:
    """The item keys of a space that changed after `since`, and the snapshot to go on from. One statement.

    None instead of keys: `since` is of another epoch or the log was pruned beyond it, so anything may have changed.
    """
    parameters = {"xmin": str(since.xmin), "space": space_key, "since": str(since)}
    text, now, too_old, keys = conn.exec_driver_sql(READ, parameters).one()
    return None if too_old or now != since.epoch else list(keys), parse(text, now)


def epoch(conn: sa.Connection) -> str:
    """Which database this is and which line of its history: snapshots of another epoch mean nothing."""
    return str(conn.exec_driver_sql(f"SELECT {EPOCH}").scalar_one())


def prune(conn: sa.Connection, keep: int = KEEP) -> int:
    """Forget changes that no generation needs, and all but the newest `keep`; how many. 0 while another prunes."""
    if not conn.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (ONE_PRUNER,)).scalar_one():
        return 0
    before = conn.exec_driver_sql(BEFORE, (keep,)).scalar_one()
    update = "UPDATE change_log_start SET xid = %s::text::xid8 WHERE xid < %s::text::xid8"
    conn.exec_driver_sql(update, (before, before))
    return conn.exec_driver_sql("DELETE FROM change_log WHERE xid < %s::text::xid8", (before,)).rowcount
