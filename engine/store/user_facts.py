"""What users did, for segments of users: the facts of one user, or of all users as columns.

One user is read by at most three statements, over the index of a user's events. All users are read by aggregates over
the event table, which takes about as long as a scan of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from engine.segments.user_columns import UserColumns
from engine.segments.user_fields import COUNTED, COUNTS, TIMES, UserFacts
from engine.segments.user_filter import UserFilter
from engine.store.database import bulk_copy
from engine.values.event_kinds import IMPRESSION, Vocabulary

USER = "SELECT user_key, attributes, created_at FROM users WHERE space_key = %s AND user_id = %s"
KIND_TOTALS = """
SELECT kind, count(*), min(occurred_at), max(occurred_at) FROM events WHERE user_key = %s GROUP BY kind
"""
ITEMS_BY_KIND = """
SELECT kind, item_id, categories FROM (SELECT DISTINCT kind, item_key FROM events WHERE user_key = %s) acted
JOIN items USING (item_key)
"""
USERS = """
SELECT user_key, user_id, attributes::text AS attributes, (extract(epoch FROM created_at) * 1000000)::bigint AS created
FROM users WHERE space_key = {} ORDER BY user_key
"""
ALL_TOTALS = """
SELECT user_key, array_position({}::text[], kind)::int4, count(*), min(occurred_at), max(occurred_at)
FROM events WHERE space_key = {} GROUP BY user_key, kind
"""
ALL_ITEMS = """
SELECT DISTINCT user_key, item_key, kind = ANY({}::text[]) FROM events WHERE space_key = {} AND kind = ANY({}::text[])
"""
USER_SCHEMA = pa.schema(
    [("user_key", pa.int64()), ("user_id", pa.string()), ("attributes", pa.string()), ("created", pa.int64())]
)
BOUGHT = "purchase"

Floats = npt.NDArray[np.float64]


def of_user(
    conn: sa.Connection, space_key: int, user_id: str, vocabulary: Vocabulary, lists: Collection[str]
) -> UserFacts:
    """The facts of a user now, with these lists of `user_fields.LISTS`; an unknown user has none."""
    user = conn.exec_driver_sql(USER, (space_key, user_id)).first()
    if user is None:
        return UserFacts(user_id)
    counts, times = dict.fromkeys(COUNTS, 0), {"created_at": _microseconds(user.created_at)}
    for word, n, first, last in conn.exec_driver_sql(KIND_TOTALS, (user.user_key,)):
        kind = vocabulary.kind(word)
        if kind == IMPRESSION:
            continue
        for name in ("n_events", *(name for name, counted in COUNTED.items() if counted == kind)):
            counts[name] += n
        for noun in ("event", "purchase") if kind == BOUGHT else ("event",):
            name, at = f"first_{noun}_at", _microseconds(first)
            times[name] = min(times.get(name, at), at)
            name, at = f"last_{noun}_at", _microseconds(last)
            times[name] = max(times.get(name, at), at)
    found = _lists(conn.exec_driver_sql(ITEMS_BY_KIND, (user.user_key,)), vocabulary, lists) if lists else {}
    return UserFacts(user_id, user.attributes, counts, times, found)


def _lists(rows: Iterable[sa.Row], vocabulary: Vocabulary, lists: Collection[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {name: set() for name in lists}
    for word, item_id, categories in rows:
        kind = vocabulary.kind(word)
        for verb in () if kind == IMPRESSION else ("seen", "bought") if kind == BOUGHT else ("seen",):
            found.get(f"items_{verb}", set()).add(item_id)
            found.get(f"categories_{verb}", set()).update(categories)
    return {name: frozenset(each) for name, each in found.items()}


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def of_all(conn: sa.Connection, space_key: int, vocabulary: Vocabulary, lists: Collection[str]) -> UserColumns:
    """The facts of every user of a space, with these lists."""
    users = bulk_copy.read_table(conn, USERS.format(int(space_key)), USER_SCHEMA)
    keys = users["user_key"].to_numpy()
    kinds = conn.exec_driver_sql("SELECT DISTINCT kind FROM events WHERE space_key = %s", (space_key,)).scalars()
    words = sorted(word for word in kinds if vocabulary.kind(word) != IMPRESSION)
    counts, times = _totals(conn, space_key, words, vocabulary, keys)
    times["created_at"] = users["created"].to_numpy().astype(np.float64)
    texts = _all_lists(conn, space_key, words, vocabulary, keys, lists) if lists else {}
    return UserColumns(users["user_id"], users["attributes"], counts, times, texts)


def members(conn: sa.Connection, space_key: int, vocabulary: Vocabulary, filter_: UserFilter, now_us: int) -> list[str]:
    """The ids of the users who pass a filter now, sorted by code point."""
    everyone = of_all(conn, space_key, vocabulary, filter_.lists)
    return sorted(everyone.user_ids.filter(pa.array(everyone.members(filter_, now_us))).to_pylist())


def _totals(
    conn: sa.Connection, space_key: int, words: Sequence[str], vocabulary: Vocabulary, keys: npt.NDArray[np.int64]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The counts and the times of the users with these keys, by field."""
    query = sql.SQL(ALL_TOTALS + "HAVING kind = ANY({}::text[])").format(
        sql.Literal(list(words)), sql.Literal(space_key), sql.Literal(list(words))
    )
    fields = [("user", ">i8"), ("kind", ">i4"), ("n", ">i8"), ("first", ">i8"), ("last", ">i8")]
    rows = bulk_copy.read_fixed(conn, query.as_string(bulk_copy.driver_connection(conn)), fields)
    users, known = _rows_of(keys, rows["user"].astype(np.int64))
    rows, users = rows[known], users[known]
    kinds = np.array([vocabulary.kind(word) or "" for word in words], dtype=object)[rows["kind"].astype(np.int64) - 1]
    every = np.ones(len(rows), dtype=bool)
    counts = {
        name: np.bincount(users[of], rows["n"][of].astype(np.float64), len(keys)).astype(np.float64)
        for name, of in {"n_events": every, **{name: kinds == kind for name, kind in COUNTED.items()}}.items()
    }
    times = {name: np.full(len(keys), np.nan) for name in TIMES}
    for noun, of in (("event", every), ("purchase", kinds == BOUGHT)):
        for name, column, best in ((f"first_{noun}_at", "first", np.fmin), (f"last_{noun}_at", "last", np.fmax)):
            best.at(times[name], users[of], rows[column][of].astype(np.float64) + bulk_copy.EPOCH_US)
    return counts, times


def _all_lists(
    conn: sa.Connection,
    space_key: int,
    words: Sequence[str],
    vocabulary: Vocabulary,
    keys: npt.NDArray[np.int64],
    lists: Collection[str],
) -> dict[str, tuple[npt.NDArray[np.int64], pa.Array]]:
    """(rows of users, texts) of each list, every pair once."""
    bought = [word for word in words if vocabulary.kind(word) == BOUGHT]
    counted = bought if all(name.endswith("_bought") for name in lists) else words
    literals = map(sql.Literal, (bought, space_key, list(counted)))
    query = sql.SQL(ALL_ITEMS).format(*literals)
    fields = [("user", ">i8"), ("item", ">i8"), ("bought", "?")]
    rows = bulk_copy.read_fixed(conn, query.as_string(bulk_copy.driver_connection(conn)), fields)
    users, known = _rows_of(keys, rows["user"].astype(np.int64))
    items = conn.exec_driver_sql(
        "SELECT item_key, item_id, categories FROM items WHERE space_key = %s ORDER BY item_key", (space_key,)
    ).all()
    item_rows, known_items = _rows_of(np.array([item[0] for item in items], np.int64), rows["item"].astype(np.int64))
    known &= known_items
    texts = {"items": [[item[1]] for item in items], "categories": [item[2] for item in items]}
    found = {}
    for name in lists:
        noun, verb = name.split("_")
        of = known & rows["bought"] if verb == "bought" else known
        found[name] = _expanded(users[of], item_rows[of], texts[noun])
    return found


def _expanded(
    users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], texts: Sequence[Sequence[str]]
) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The distinct pairs of a user and a text of an item, from pairs of a user and an item."""
    code_of: dict[str, int] = {}
    codes = [[code_of.setdefault(text, len(code_of)) for text in each] for each in texts]
    lengths = np.array([len(each) for each in codes], np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = np.array([code for each in codes for code in each], np.int64)
    repeated = np.repeat(users, lengths[items])
    offsets = np.arange(len(repeated)) - np.repeat(np.cumsum(lengths[items]) - lengths[items], lengths[items])
    of_pair = flat[np.repeat(starts[items], lengths[items]) + offsets]
    pairs = np.unique(repeated * max(1, len(code_of)) + of_pair)
    distinct = pa.array(list(code_of), pa.large_string())
    return pairs // max(1, len(code_of)), distinct.take(pa.array(pairs % max(1, len(code_of))))


def _rows_of(
    keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The row of each wanted key among sorted keys, and whether it is there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), dtype=bool)
    rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return rows, keys[rows] == wanted
