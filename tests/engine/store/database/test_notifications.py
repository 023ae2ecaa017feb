"""Wake-ups: what one process tells another hears, also after it could not be told for a while."""

import threading

import psycopg

from engine.store.database.notifications import Listener, Waker


def test_a_waker_goes_on_after_what_it_could_not_tell(database, monkeypatch):
    begin, failed = database.begin, threading.Event()

    def standby():
        monkeypatch.setattr(database, "begin", begin)
        failed.set()
        raise psycopg.errors.ReadOnlySqlTransaction("cannot execute NOTIFY during recovery")

    waker, listener = Waker(database), Listener(database)
    try:
        assert listener.wait(0.01) == set()  # it listens from now on
        monkeypatch.setattr(database, "begin", standby)
        waker.tell("unheard")
        assert failed.wait(10)
        waker.tell("heard")
        assert listener.wait(10) == {"heard"}
    finally:
        waker.close()
        listener.close()
