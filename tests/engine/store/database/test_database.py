"""A database that cannot be reached or used raises StoreUnavailable with one clear sentence."""

import os
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import ProgrammingError

from engine.errors import StoreBusy, StoreUnavailable
from engine.settings import Settings
from engine.store import items
from engine.store.database import bulk_copy, notifications
from engine.store.database.connections import Database, open_database
from engine.store.database.notifications import Listener, Notifier
from engine.store.doctor.checks import check_database
from indexing.refresh import poller


def settings(tmp_path, url):
    return Settings(home=tmp_path, database_url=SecretStr(url))


def a_closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_the_error_of_an_unreachable_database_is_one_line_without_the_password(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"^PostgreSQL is unreachable: .*refused") as raised:
        open_database(settings(tmp_path, f"postgresql://ann:secret-word@127.0.0.1:{a_closed_port()}/shop"))
    assert "\n" not in str(raised.value)
    assert "secret-word" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://localhost/shop", "expected a postgresql:// URL, got mysql://"),
        ("sqlite:///shop.db", "expected a postgresql:// URL, got sqlite://"),
        ("not a url", "NEARFIELD_DATABASE_URL is not a URL; expected postgresql://user@host/name"),
        (
            "postgresql://ann:secret-word@host:port/shop",
            "NEARFIELD_DATABASE_URL is not a URL; expected postgresql://user@host/name",
        ),
        ("", "NEARFIELD_DATABASE_URL is not a URL; expected postgresql://user@host/name"),
    ],
)
def test_a_url_that_is_not_postgresql_is_refused_in_one_sentence(tmp_path, url, sentence):
    with pytest.raises(StoreUnavailable) as raised:
        open_database(settings(tmp_path, url))
    assert str(raised.value) == sentence


def test_a_database_by_url_is_migrated_only_on_request(database, tmp_path):
    with database.connect() as conn:
        conn = conn.execution_options(isolation_level="AUTOCOMMIT")
        conn.exec_driver_sql("DROP DATABASE IF EXISTS nearfield_test_empty")
        conn.exec_driver_sql("CREATE DATABASE nearfield_test_empty")
    url = database.db.url.set(drivername="postgresql", database="nearfield_test_empty")
    empty = settings(tmp_path, url.render_as_string(hide_password=False))
    try:
        with pytest.raises(StoreUnavailable, match=r"the schema is at None, expected \d+; run `nearfield migrate`"):
            open_database(empty)
        with open_database(empty, migrate=True) as migrated:
            assert not migrated.embedded
            assert all(ok for name, ok, _ in check_database(migrated) if name in ("database", "pgvector", "schema"))
        open_database(empty).close()
    finally:
        with database.connect() as conn:
            conn = conn.execution_options(isolation_level="AUTOCOMMIT")
            conn.exec_driver_sql("DROP DATABASE nearfield_test_empty WITH (FORCE)")


def test_our_own_sql_mistakes_are_not_taken_for_an_unreachable_database(database):
    with pytest.raises(ProgrammingError), database.connect() as conn:
        conn.exec_driver_sql("SELECT nonsense FROM nowhere")


def test_a_connection_the_server_closed_is_replaced(database):
    with database.connect() as conn:
        pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    second = Database(database.db.url.render_as_string(hide_password=False))
    with second.connect() as conn:
        conn.exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    second.close()
    with database.connect() as conn:
        assert conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != pid


def test_every_check_of_a_good_database_passes_and_an_unreachable_one_is_one_failed_check(database):
    assert [ok for _, ok, _ in check_database(database)] == [True] * 6
    unreachable = Database(f"postgresql://ann@127.0.0.1:{a_closed_port()}/shop")
    (name, ok, detail), *more = check_database(unreachable)
    assert (name, ok, more) == ("database", False, [])
    assert detail.startswith("PostgreSQL is unreachable")


def test_a_signal_in_the_middle_of_a_copy_ends_the_process_and_nothing_else(database):
    def end(number, frame):
        raise SystemExit(143)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with (
            pytest.raises(SystemExit),
            database.begin() as conn,
            bulk_copy.driver_connection(conn).cursor() as cursor,
            cursor.copy("COPY (SELECT pg_sleep(30)) TO STDOUT") as copy,
        ):
            list(copy)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with database.connect() as conn:
        assert conn.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_while_a_database_is_unreachable_one_caller_waits_for_it_and_the_others_fail_at_once():
    port = a_closed_port()
    database = Database(f"postgresql://ann@127.0.0.1:{port}/shop")
    with pytest.raises(StoreUnavailable, match="refused"), database.connect():
        pass
    with socket.socket() as unresponsive, ThreadPoolExecutor(1) as pool:  # accepts connections and sends nothing
        unresponsive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        unresponsive.bind(("127.0.0.1", port))
        unresponsive.listen()
        waiting = pool.submit(lambda: database.connect().__enter__())
        accepted, _ = unresponsive.accept()
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreUnavailable, match="try again in a moment"), database.connect():
                pass
        assert time.monotonic() - started < 4  # one attempt alone takes 5 s
        accepted.close()
        assert isinstance(waiting.exception(timeout=30), StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="refused"), database.connect():
        pass
    database.close()


def test_a_process_with_thousands_of_clients_reaches_its_database(database):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"a process may have {hard} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    taken = [os.dup(0) for _ in range(1100)]
    try:
        opened = Database(database.url)
        for _ in range(2):  # a new connection, then the same from the pool
            with opened.connect() as conn:
                assert bulk_copy.driver_connection(conn).fileno() >= 1024
                assert conn.exec_driver_sql("SELECT 1").scalar() == 1
        opened.close()
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_every_connection_has_limits_for_a_host_that_does_not_answer(database):
    listener = Listener(database)
    listener.wait(0.01)
    with database.connect() as conn:
        for driver in (bulk_copy.driver_connection(conn), listener._conn):
            limits = driver.info.get_parameters()
            assert (limits["keepalives_idle"], limits["keepalives_interval"], limits["keepalives_count"]) == (
                "5",
                "2",
                "3",
            )
            assert limits["tcp_user_timeout"] == "10000"
    listener.close()


@pytest.mark.parametrize("ends", ["notifier", "poller"])
def test_a_thread_that_waits_for_a_frozen_database_does_not_delay_the_end(monkeypatch, ends):
    entered, gate = threading.Event(), threading.Event()

    class Frozen:
        def begin(self):
            entered.set()
            gate.wait(60)
            raise StoreUnavailable("PostgreSQL is unreachable")

        refresh = begin

    monkeypatch.setattr(notifications, "CLOSE_S", 0.1)
    monkeypatch.setattr(poller, "STOP_TIMEOUT_S", 0.1)
    if ends == "notifier":
        notifier = Notifier(Frozen())
        notifier.notify("shop")
        stop, thread = notifier.close, notifier._thread
    else:
        polling = poller.Poller({"shop": Frozen()}, poll_s=0.01)
        polling.start()
        stop, thread = polling.stop, polling._threads[0]
    assert entered.wait(10)
    started = time.monotonic()
    stop()
    assert time.monotonic() - started < 5
    assert thread.is_alive()
    gate.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_transaction_that_postgres_aborts_for_another_raises_busy_and_writes_nothing(database, space):
    two = [items.Item(f"deadlock-{n}") for n in range(2)]
    with database.begin() as conn:
        items.upsert(conn, space.key, two)
    both = threading.Barrier(2)

    def cross(first: int) -> str:
        with database.begin() as conn:
            items.upsert(conn, space.key, [items.Item(two[first].item_id, f"by {first}")])
            both.wait(30)
            items.upsert(conn, space.key, [items.Item(two[1 - first].item_id, f"by {first}")])
        return f"by {first}"

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(cross, first) for first in range(2)]
        ended = [each.exception(timeout=30) for each in done]
    [error] = [each for each in ended if each is not None]
    assert isinstance(error, StoreBusy)
    assert "nothing was done" in str(error)
    [winner] = [each.result() for each in done if each.exception() is None]
    with database.connect() as conn:
        assert {items.get(conn, space.key, item.item_id).title for item in two} == {winner}


def test_a_second_connection_with_the_snapshot_of_a_transaction_sees_the_same(database, space):
    with database.connect() as conn:
        conn = conn.execution_options(isolation_level="REPEATABLE READ")
        with conn.begin():
            assert items.count(conn, space.key) == 0  # the first statement takes the snapshot
            with database.begin() as writer:
                items.upsert(writer, space.key, [items.Item("later")])
            with database.same_snapshot(conn) as other:
                assert items.count(other, space.key) == items.count(conn, space.key) == 0
            with database.connect() as now:
                assert items.count(now, space.key) == 1
