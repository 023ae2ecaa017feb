"""A failing poller pauses longer after each failure and logs the failure once."""

import time

import pytest
from structlog.testing import capture_logs

from engine.errors import StoreUnavailable
from indexing.refresh.poller import Poller, RepeatedFailure


class Deaf:
    """A listener whose every call fails."""

    def __init__(self, error):
        self.error, self.tries = error, 0

    def wait(self, timeout_s):
        self.tries += 1
        raise self.error

    def close(self):
        pass


@pytest.mark.parametrize("error", [StoreUnavailable("PostgreSQL is unreachable"), OSError(24, "Too many open files")])
def test_a_failing_listener_pauses_between_attempts(error):
    listener = Deaf(error)
    polling = Poller({}, poll_s=0.001, listener=listener)
    with capture_logs() as lines:
        polling.start()
        time.sleep(1)
        polling.stop()
    assert 1 <= listener.tries <= 8  # after .1, .3, .7 and 1.5 s; without pauses it is tens of thousands
    assert len(lines) <= 1


def test_a_repeated_failure_is_logged_when_it_starts_changes_and_ends():
    tries = RepeatedFailure()
    with capture_logs() as lines:
        for why in ("full", "full", "away", "away"):
            tries.failed("refresh failed", why, space="shop")
        tries.succeeded("refresh works again", space="shop")
        tries.succeeded("refresh works again", space="shop")
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("refresh failed", "full"),
        ("refresh failed", "away"),
        ("refresh works again", None),
    ]
