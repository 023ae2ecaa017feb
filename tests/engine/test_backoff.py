"""Pauses between tries grow to a bound and begin anew once a try works."""

from engine.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success():
    pauses = Backoff(0.5, 3.0)
    assert not pauses.pausing
    assert [pauses.failed() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pauses.pausing
    pauses.worked()
    assert not pauses.pausing
    assert pauses.failed() == 0.5
