"""Bulk in and out, mostly through COPY: Arrow tables in as CSV, fixed-width rows as binary numpy buffers."""

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
ROWS = 65_536
FEW_ROWS = 1000  # looking each up by index is fine
VALUE_BYTES = 2**22


def raw(conn: sa.Connection) -> psycopg.Connection:
    driver = conn.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def stage(conn: sa.Connection, name: str, columns: str, table: pa.Table) -> None:
    """COPY `table` into the temporary table `name` with the SQL column definitions `columns`, in the same order."""
    conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with raw(conn).cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
        for batch in table.to_batches(max_chunksize=ROWS):
            buffer = io.BytesIO()
            pyarrow.csv.write_csv(batch, buffer, options)
            copy.write(buffer.getvalue())


@contextmanager
def without_nested_loops(conn: sa.Connection, n_rows: int) -> Iterator[None]:
    """Joins of many rows go by hash: in a table that was emptied, PostgreSQL expects no rows until it looks again, and
    compared all with all (an import of 400,000 events into a space made anew ran for minutes)."""
    if n_rows > FEW_ROWS:
        conn.exec_driver_sql("SET LOCAL enable_nestloop = off")
    yield
    conn.exec_driver_sql("SET LOCAL enable_nestloop = on")


def write_vectors(
    conn: sa.Connection, table: str, model_key: int, keys: npt.NDArray[np.int64], matrix: npt.NDArray[np.float32]
) -> None:
    """COPY (model_key, key, vector) rows, binary; `matrix` is (len(keys), dim)."""
    row = _vector_row(matrix.shape[1])
    with raw(conn).cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEADER)
        for start in range(0, len(keys), ROWS):
            part = slice(start, start + ROWS)
            rows = np.zeros(len(keys[part]), dtype=row)
            rows["fields"], rows["len1"], rows["len2"] = 3, 8, 8
            rows["len3"], rows["dim"] = 4 + 4 * matrix.shape[1], matrix.shape[1]
            rows["model"], rows["key"], rows["vector"] = model_key, keys[part], matrix[part]
            copy.write(rows.tobytes())
        copy.write(TRAILER)


def read_vectors(
    conn: sa.Connection, table: str, key: str, dim: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Every (key, vector) of one model's partition, in the order they were written; `key` names the column.

    PostgreSQL puts the rows of some hundred pages into one value each: rows sent one by one, as COPY does, take three
    times as long, and rows put in order by it twice. They come as they lie there: of pages asked for in their order, by
    one process, which begins where the pages do.
    """
    in_their_order = "max_parallel_workers_per_gather", "synchronize_seqscans"
    for setting in in_their_order:
        conn.exec_driver_sql(f"SET LOCAL {setting} = 0")
    query = f"SELECT count(*), pg_relation_size('{table}') / current_setting('block_size')::int FROM {table}"
    n_rows, n_pages = conn.exec_driver_sql(query).one()
    keys, matrix = np.empty(n_rows, np.int64), np.empty((n_rows, dim), np.float32)
    row = np.dtype([("key", ">i8"), ("dim", ">i2"), ("unused", ">i2"), ("vector", ">f4", (dim,))])
    pages = max(1, VALUE_BYTES * n_pages // max(n_rows * row.itemsize, 1))
    query = f"""SELECT string_agg(int8send({key}) || vector_send(vector), '') FROM {table}
                WHERE ctid >= %s::tid AND ctid < %s::tid"""
    start = 0
    with raw(conn).cursor(binary=True) as cursor:
        for first in range(0, n_pages, pages):
            [(value,)] = cursor.execute(query, (f"({first},0)", f"({first + pages},0)"))
            rows = np.frombuffer(value or b"", dtype=row)
            keys[start : start + len(rows)], matrix[start : start + len(rows)] = rows["key"], rows["vector"]
            start += len(rows)
    for setting in in_their_order:
        conn.exec_driver_sql(f"SET LOCAL {setting} = DEFAULT")
    return keys[:start], matrix[:start]


def read_table(conn: sa.Connection, query: str, schema: pa.Schema) -> pa.Table:
    """COPY a query of scalar columns, in the order of `schema`, into Arrow; NULL and an empty text stay apart."""
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
    """COPY a query without NULLs whose columns all have a fixed width; `fields` are (name, big-endian dtype)."""
    dtype: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        dtype += [(f"len_{name}", ">i4"), (name, kind)]
    return np.frombuffer(_copy_out(conn, f"COPY ({query}) TO STDOUT (FORMAT binary)"), dtype=np.dtype(dtype))


def _vector_row(dim: int) -> np.dtype[np.void]:
    return np.dtype(
        [("fields", ">i2"), ("len1", ">i4"), ("model", ">i8"), ("len2", ">i4"), ("key", ">i8"), ("len3", ">i4")]
        + [("dim", ">i2"), ("unused", ">i2"), ("vector", ">f4", (dim,))]
    )


def _copy_out(conn: sa.Connection, statement: str) -> memoryview:
    return memoryview(b"".join(_blocks(conn, statement, len(HEADER))))


def _blocks(conn: sa.Connection, statement: str, header: int) -> Iterator[bytes]:
    """What a COPY sends, many rows at a time, without the header and trailer of the binary format.

    Straight from libpq: the iterator of psycopg takes twice as long for a million rows. It is waited for as for any
    other statement, so that who gives up on PostgreSQL gives up on this too.
    """
    driver = raw(conn)
    wire = driver.pgconn
    wire.send_query(statement.encode())
    [result] = driver.wait(generators.execute(wire))
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    skip, n_rows = header, ROWS
    while n_rows == ROWS:
        rows = driver.wait(_rows(wire))
        n_rows = len(rows)
        if rows:
            rows[0], skip = rows[0][skip:], 0
        if header and rows and rows[-1] == TRAILER:
            rows.pop()
        yield b"".join(rows)
    for result in driver.wait(generators.fetch_many(wire)):
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def _rows(wire: PGconn) -> PQGen[list[bytes]]:
    """The next ROWS rows of a COPY, fewer at its end."""
    rows: list[bytes] = []
    while len(rows) < ROWS:
        n_bytes, data = wire.get_copy_data(1)
        if n_bytes > 0:
            rows.append(bytes(data))
        elif n_bytes < 0:
            break
        else:  # nothing has come yet
            while not (yield Wait.R):
                pass
            wire.consume_input()
    return rows
