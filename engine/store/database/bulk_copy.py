"""Bulk reads and writes, mostly through COPY: Arrow tables as CSV, fixed-width rows as binary numpy buffers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_US = 946_684_800_000_000  # PostgreSQL counts microseconds from 2000-01-01
CHUNK_ROWS = 65_536
FEW_ROWS = 1000  # a nested loop with an index lookup for each row is fast enough
VALUE_BYTES = 2**22  # of the rows that PostgreSQL concatenates into one value


def driver_connection(conn: sa.Connection) -> psycopg.Connection:
    """The psycopg connection of an SQLAlchemy connection."""
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def stage_table(conn: sa.Connection, name: str, columns: str, table: pa.Table) -> None:
    """COPY `table` into a new temporary table `name`; `columns` are its SQL column definitions, in the same order."""
    conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with driver_connection(conn).cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
        for batch in table.to_batches(max_chunksize=CHUNK_ROWS):
            buffer = io.BytesIO()
            pyarrow.csv.write_csv(batch, buffer, options)
            copy.write(buffer.getvalue())


@contextmanager
def without_nested_loops(conn: sa.Connection, n_rows: int) -> Iterator[None]:
    """Make the planner join many rows by hash.

    The statistics of a table that was emptied say that it has no rows, until the next ANALYZE. The planner then chose
    nested loops without an index: an import of 400,000 events into a new space ran for minutes.
    """
    if n_rows > FEW_ROWS:
        conn.exec_driver_sql("SET LOCAL enable_nestloop = off")
    yield
    conn.exec_driver_sql("SET LOCAL enable_nestloop = on")


def write_vectors(
    conn: sa.Connection, table: str, model_key: int, keys: npt.NDArray[np.int64], matrix: npt.NDArray[np.float32]
) -> None:
    """COPY (model_key, key, vector) rows, binary; `matrix` is (len(keys), dim)."""
    row_dtype = _vector_row_dtype(matrix.shape[1])
    with driver_connection(conn).cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER)
        for start in range(0, len(keys), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            rows = np.zeros(len(keys[chunk]), dtype=row_dtype)
            rows["fields"], rows["len1"], rows["len2"] = 3, 8, 8
            rows["len3"], rows["dim"] = 4 + 4 * matrix.shape[1], matrix.shape[1]
            rows["model"], rows["key"], rows["vector"] = model_key, keys[chunk], matrix[chunk]
            copy.write(rows.tobytes())
        copy.write(TRAILER)


def read_vectors(
    conn: sa.Connection, table: str, key: str, dim: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """All (key, vector) rows of one model's partition in the order they were written; `key` names the key column.

    PostgreSQL concatenates the rows of some hundred pages into one value. COPY, which sends row by row, takes three
    times as long, and ORDER BY twice as long. The rows arrive in physical order because the pages are requested in
    order and one process scans them from the first page, without parallel workers or synchronized scans.
    """
    unordered_scans = "max_parallel_workers_per_gather", "synchronize_seqscans"
    for setting in unordered_scans:
        conn.exec_driver_sql(f"SET LOCAL {setting} = 0")
    query = f"SELECT count(*), pg_relation_size('{table}') / current_setting('block_size')::int FROM {table}"
    n_rows, n_pages = conn.exec_driver_sql(query).one()
    keys, matrix = np.empty(n_rows, np.int64), np.empty((n_rows, dim), np.float32)
    row_dtype = np.dtype([("key", ">i8"), ("dim", ">i2"), ("unused", ">i2"), ("vector", ">f4", (dim,))])
    pages_per_value = max(1, VALUE_BYTES * n_pages // max(n_rows * row_dtype.itemsize, 1))
    query = f"""SELECT string_agg(int8send({key}) || vector_send(vector), '') FROM {table}
                WHERE ctid >= %s::tid AND ctid < %s::tid"""
    start = 0
    with driver_connection(conn).cursor(binary=True) as cursor:
        for first in range(0, n_pages, pages_per_value):
            [(value,)] = cursor.execute(query, (f"({first},0)", f"({first + pages_per_value},0)"))
            rows = np.frombuffer(value or b"", dtype=row_dtype)
            keys[start : start + len(rows)], matrix[start : start + len(rows)] = rows["key"], rows["vector"]
            start += len(rows)
    for setting in unordered_scans:
        conn.exec_driver_sql(f"SET LOCAL {setting} = DEFAULT")
    return keys[:start], matrix[:start]


def read_table(conn: sa.Connection, query: str, schema: pa.Schema) -> pa.Table:
    """COPY a query of scalar columns, in the order of `schema`, into Arrow; NULL and empty text stay distinct."""
    data = pa.py_buffer(b"".join(_blocks(conn, f"COPY ({query}) TO STDOUT (FORMAT csv)", 0)))
    if data.size == 0:
        return schema.empty_table()
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        pyarrow.csv.ReadOptions(column_names=schema.names),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def read_fixed(conn: sa.Connection, query: str, fields: Iterable[tuple[str, str]]) -> npt.NDArray[np.void]:
    """COPY a query without NULLs whose columns have a fixed width; `fields` are (name, big-endian dtype)."""
    dtype: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        dtype += [(f"len_{name}", ">i4"), (name, kind)]
    return np.frombuffer(_copy_out(conn, f"COPY ({query}) TO STDOUT (FORMAT binary)"), dtype=np.dtype(dtype))


def _vector_row_dtype(dim: int) -> np.dtype[np.void]:
    return np.dtype(
        [("fields", ">i2"), ("len1", ">i4"), ("model", ">i8"), ("len2", ">i4"), ("key", ">i8"), ("len3", ">i4")]
        + [("dim", ">i2"), ("unused", ">i2"), ("vector", ">f4", (dim,))]
    )


def _copy_out(conn: sa.Connection, statement: str) -> memoryview:
    return memoryview(b"".join(_blocks(conn, statement, len(HEADER))))


def _blocks(conn: sa.Connection, statement: str, header: int) -> Iterator[bytes]:
    """The output of a COPY in chunks of many rows, without the header and trailer of the binary format.

    Reads from libpq: the iterator of psycopg takes twice as long for a million rows. `driver.wait` makes the liveness
    check of other statements apply here too.
    """
    driver = driver_connection(conn)
    pgconn = driver.pgconn
    pgconn.send_query(statement.encode())
    [result] = driver.wait(generators.execute(pgconn))
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    header_left, n_rows = header, CHUNK_ROWS
    while n_rows == CHUNK_ROWS:
        rows = driver.wait(_next_rows(pgconn))
        n_rows = len(rows)
        if rows:
            rows[0], header_left = rows[0][header_left:], 0
        if header and rows and rows[-1] == TRAILER:
            rows.pop()
        yield b"".join(rows)
    for result in driver.wait(generators.fetch_many(pgconn)):
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def _next_rows(pgconn: PGconn) -> PQGen[list[bytes]]:
    """The next CHUNK_ROWS rows of a COPY; fewer at its end."""
    rows: list[bytes] = []
    while len(rows) < CHUNK_ROWS:
        n_bytes, data = pgconn.get_copy_data(1)
        if n_bytes > 0:
            rows.append(bytes(data))
        elif n_bytes < 0:
            break
        else:  # no data has arrived yet
            while not (yield Wait.R):
                pass
            pgconn.consume_input()
    return rows
