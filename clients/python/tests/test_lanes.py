"""Parallel requests: growth, retreat, order, errors."""

import threading

import pytest
from we_upload.errors import CancelledError
from we_upload.transfer.lanes import FIRST, NORMAL, ROUNDS_OF_REST, URGENT, LaneLimit, Lanes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(limit: LaneLimit, clock: Clock, *, bytes_per_second: float, rounds: int = 1) -> None:
    """Finish so many rounds of requests of 10 MB at this throughput."""
    for _ in range(rounds):
        for _ in range(limit.current):
            clock.now += 10e6 / bytes_per_second
            limit.sent(10_000_000)


def test_lanes_grow_while_the_throughput_rises() -> None:
    clock = Clock()
    limit = LaneLimit(start=4, most=10, clock=clock)

    for rate in (10e6, 12e6, 14e6, 17e6):
        play(limit, clock, bytes_per_second=rate)

    assert limit.current == 8


def test_lane_that_brings_nothing_is_given_up_for_some_rounds() -> None:
    clock = Clock()
    limit = LaneLimit(start=4, most=10, clock=clock)

    play(limit, clock, bytes_per_second=10e6, rounds=2)
    after_the_attempt = limit.current
    play(limit, clock, bytes_per_second=10e6, rounds=ROUNDS_OF_REST)

    assert (after_the_attempt, limit.current) == (4, 4)
    play(limit, clock, bytes_per_second=10e6)
    assert limit.current == 5


def test_lanes_never_exceed_the_maximum() -> None:
    clock = Clock()
    limit = LaneLimit(start=4, most=6, clock=clock)

    for step in range(20):
        play(limit, clock, bytes_per_second=10e6 * 1.5**step)

    assert limit.current == 6


def test_refusal_halves_the_lanes_but_keeps_one() -> None:
    limit = LaneLimit(start=8, most=10, clock=Clock())

    counts = []
    for _ in range(5):
        limit.refused()
        counts.append(limit.current)

    assert counts == [4, 2, 1, 1, 1]


def make_lanes(count: int) -> Lanes:
    return Lanes(LaneLimit(start=count, most=count), threads=count, cancelled=threading.Event())


def test_tasks_run_in_the_order_of_their_priorities() -> None:
    lanes, order = make_lanes(1), []
    for name, priority in (("normal", NORMAL), ("urgent", URGENT), ("first", FIRST)):
        lanes.add(lambda name=name: order.append(name), priority)  # type: ignore[misc]  # mypy does not infer the defaults of a lambda

    lanes.run()

    assert order == ["first", "urgent", "normal"]


def test_task_may_add_tasks() -> None:
    lanes, done = make_lanes(3), []

    def split(depth: int) -> None:
        done.append(depth)
        if depth:
            lanes.add(lambda: split(depth - 1))
            lanes.add(lambda: split(depth - 1))

    lanes.add(lambda: split(5))
    lanes.run()

    assert len(done) == 63


def test_no_more_tasks_run_at_once_than_there_are_lanes() -> None:
    lanes = Lanes(LaneLimit(start=2, most=2), threads=6, cancelled=threading.Event())
    lock, running, most = threading.Lock(), 0, 0

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    for _ in range(20):
        lanes.add(task)
    lanes.run()

    assert most == 2


def test_error_of_a_task_stops_the_others_and_is_raised() -> None:
    lanes, done = make_lanes(1), []

    def fail() -> None:
        raise ValueError("It failed")

    lanes.add(fail)
    lanes.add(lambda: done.append(1))

    with pytest.raises(ValueError, match="It failed"):
        lanes.run()
    assert done == []


def test_cancellation_from_another_thread_is_an_error() -> None:
    cancelled = threading.Event()
    lanes = Lanes(LaneLimit(start=1, most=1), threads=1, cancelled=cancelled)
    lanes.add(cancelled.set)

    with pytest.raises(CancelledError):
        lanes.run()
