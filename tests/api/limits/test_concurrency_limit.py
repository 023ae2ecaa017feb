"""Who is let in, who waits, and who is turned away, by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps

import pytest

from api.limits.concurrency_limit import Gate, Place


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def on_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def entered(gate: Gate) -> Place:
    place = gate.enter()
    assert place is not None
    return place


@on_a_loop
async def test_a_place_that_is_left_goes_to_who_waited_longest() -> None:
    gate = Gate(active=1, waiting=2, wait_s=5.0)
    first, second, third = entered(gate), entered(gate), entered(gate)
    assert gate.full()
    assert gate.enter() is None
    assert await first.come()
    gate.leave(first)
    assert await second.come()
    assert third.turn is not None
    assert not third.turn.done()
    gate.leave(second)
    assert await third.come()
    gate.leave(third)
    assert (gate.at_work, len(gate.queue)) == (0, 0)


@on_a_loop
async def test_who_waited_in_vain_takes_no_place_along() -> None:
    gate = Gate(active=1, waiting=2, wait_s=0.01, clock=Clock())
    first, second = entered(gate), entered(gate)
    assert not await second.come()
    third = entered(gate)
    gate.leave(first)  # before the second left
    gate.leave(second)
    assert await third.come()
    gate.leave(third)
    assert (gate.at_work, len(gate.queue)) == (0, 0)


@on_a_loop
async def test_who_leaves_without_having_waited_leaves_the_queue() -> None:
    gate = Gate(active=1, waiting=1, wait_s=5.0)
    first, second = entered(gate), entered(gate)
    gate.leave(second)
    assert not gate.full()
    gate.leave(first)
    assert (gate.at_work, len(gate.queue)) == (0, 0)


@on_a_loop
async def test_a_burst_may_wait_and_a_queue_that_stands_may_not() -> None:
    clock = Clock()
    gate = Gate(active=16, waiting=100, wait_s=1.0, clock=clock)
    places = [entered(gate) for _ in range(60)]
    assert len(gate.queue) == 44
    clock.now += 1.1
    assert gate.full()
    for place in places[:50]:
        gate.leave(place)  # the first of the queue get their turn
    assert gate.at_work == 8, "half as many are worked on"
    assert len(gate.queue) == 2
    assert gate.full()
    gate.leave(places[50])
    assert not gate.full()
    late = entered(gate)
    assert late.patience_s == 0.1


@pytest.mark.parametrize(("at_work", "quiet_s"), [(True, 1.0), (False, 0.1)])
def test_the_gate_is_as_before_once_nobody_was_turned_away_for_a_while(at_work: bool, quiet_s: float) -> None:
    @on_a_loop
    async def test() -> None:
        clock = Clock()
        gate = Gate(active=4, waiting=8, wait_s=1.0, clock=clock)
        places = [entered(gate) for _ in range(6)]
        clock.now += 1.1
        assert gate.full()
        for place in places[at_work:]:
            gate.leave(place)
        assert gate.at_work == at_work
        clock.now += 0.9 * quiet_s
        gate.leave(entered(gate))
        assert gate.standing
        clock.now += 0.2 * quiet_s
        assert [entered(gate).turn is None for _ in range(4)] == [True, True, True, not at_work]
        assert not gate.standing

    test()
