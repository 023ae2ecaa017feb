"""Notifications of one process reach another, also after sending failed."""

import threading

import psycopg

from engine.store.database.notifications import Listener, Notifier


def test_a_notifier_continues_after_a_notification_that_it_could_not_send(database, monkeypatch):
    begin, failed = database.begin, threading.Event()

    def standby():
        monkeypatch.setattr(database, "begin", begin)
        failed.set()
        raise psycopg.errors.ReadOnlySqlTransaction("cannot execute NOTIFY during recovery")

    notifier, listener = Notifier(database), Listener(database)
    try:
        assert listener.wait(0.01) == set()  # starts to listen
        monkeypatch.setattr(database, "begin", standby)
        notifier.notify("not sent")
        assert failed.wait(10)
        notifier.notify("sent")
        assert listener.wait(10) == {"sent"}
    finally:
        notifier.close()
        listener.close()
