"""Which requests run, which wait and which are rejected, over time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps

import pytest

from api.limits.concurrency_limit import ConcurrencyLimit, Slot


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def on_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def acquired(limit: ConcurrencyLimit) -> Slot:
    slot = limit.acquire()
    assert slot is not None
    return slot


@on_a_loop
async def test_a_released_slot_goes_to_the_request_that_waited_longest() -> None:
    limit = ConcurrencyLimit(max_active=1, max_waiting=2, max_wait_s=5.0)
    first, second, third = acquired(limit), acquired(limit), acquired(limit)
    assert limit.is_full()
    assert limit.acquire() is None
    assert await first.wait_for_turn()
    limit.release(first)
    assert await second.wait_for_turn()
    assert third.turn is not None
    assert not third.turn.done()
    limit.release(second)
    assert await third.wait_for_turn()
    limit.release(third)
    assert (limit.n_active, len(limit.queue)) == (0, 0)


@on_a_loop
async def test_a_request_that_timed_out_in_the_queue_takes_no_slot() -> None:
    limit = ConcurrencyLimit(max_active=1, max_waiting=2, max_wait_s=0.01, clock=Clock())
    first, second = acquired(limit), acquired(limit)
    assert not await second.wait_for_turn()
    third = acquired(limit)
    limit.release(first)  # before the second
    limit.release(second)
    assert await third.wait_for_turn()
    limit.release(third)
    assert (limit.n_active, len(limit.queue)) == (0, 0)


@on_a_loop
async def test_a_slot_released_before_its_turn_leaves_the_queue() -> None:
    limit = ConcurrencyLimit(max_active=1, max_waiting=1, max_wait_s=5.0)
    first, second = acquired(limit), acquired(limit)
    limit.release(second)
    assert not limit.is_full()
    limit.release(first)
    assert (limit.n_active, len(limit.queue)) == (0, 0)


@on_a_loop
async def test_a_burst_waits_and_a_lasting_queue_is_overload() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(max_active=16, max_waiting=100, max_wait_s=1.0, clock=clock)
    slots = [acquired(limit) for _ in range(60)]
    assert len(limit.queue) == 44
    clock.now += 1.1
    assert limit.is_full()
    for slot in slots[:50]:
        limit.release(slot)  # the first of the queue get their turn
    assert limit.n_active == 8, "half as many run"
    assert len(limit.queue) == 2
    assert limit.is_full()
    limit.release(slots[50])
    assert not limit.is_full()
    late = acquired(limit)
    assert late.max_wait_s == 0.1


@pytest.mark.parametrize(("n_running", "quiet_s"), [(True, 1.0), (False, 0.1)])
def test_overload_ends_when_nothing_was_rejected_for_a_while(n_running: bool, quiet_s: float) -> None:
    @on_a_loop
    async def test() -> None:
        clock = Clock()
        limit = ConcurrencyLimit(max_active=4, max_waiting=8, max_wait_s=1.0, clock=clock)
        slots = [acquired(limit) for _ in range(6)]
        clock.now += 1.1
        assert limit.is_full()
        for slot in slots[n_running:]:
            limit.release(slot)
        assert limit.n_active == n_running
        clock.now += 0.9 * quiet_s
        limit.release(acquired(limit))
        assert limit.is_overloaded
        clock.now += 0.2 * quiet_s
        assert [acquired(limit).turn is None for _ in range(4)] == [True, True, True, not n_running]
        assert not limit.is_overloaded

    test()
