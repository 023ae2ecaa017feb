"""Pauses between tries grow to a bound and begin anew once a try works."""

from engine.backoff import Backoff


def test_pauses_double_up_to_the_maximum_and_restart_after_a_success():
    pauses = Backoff(0.5, 3.0)
    assert not pauses.is_pausing
    assert [pauses.record_failure() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pauses.is_pausing
    pauses.record_success()
    assert not pauses.is_pausing
    assert pauses.record_failure() == 0.5
