"""Values are computed once for the same objects, by one request at a time."""

from __future__ import annotations

import threading

import pytest

from engine.deadline import MoreWork, quick
from indexing.live.computed import MAX_KEPT, Computed


def test_a_value_is_computed_once_until_its_objects_are_others() -> None:
    computed, made = Computed(), []
    changed: dict[int, str] = {}

    def value() -> int:
        made.append(1)
        return len(made)

    assert [computed.get("a", (changed, 7), value) for _ in range(3)] == [1, 1, 1]
    assert computed.get("a", (changed, 8), value) == 2
    assert computed.get("a", (dict(changed), 8), value) == 3, "an equal object is another object"


def test_old_values_are_dropped() -> None:
    computed = Computed()
    for key in range(MAX_KEPT + 1):
        computed.get(key, (), lambda key=key: key)
    assert computed.get(0, (), lambda: "again") == "again"
    assert computed.get(MAX_KEPT, (), lambda: "again") == MAX_KEPT


def test_a_quick_request_does_not_wait_for_a_value_that_a_thread_computes() -> None:
    computed, begun, finish = Computed(), threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert finish.wait(60)
        return "slow"

    thread = threading.Thread(target=lambda: computed.get("a", (), slow))
    thread.start()
    assert begun.wait(60)
    with pytest.raises(MoreWork):
        quick(lambda: computed.get("a", (), lambda: "mine"))
    finish.set()
    assert computed.get("a", (), lambda: "mine") == "slow"
    thread.join()
