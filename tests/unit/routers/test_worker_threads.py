"""Tests of the worker threads for the statements of asynchronous routes."""

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar

import pytest

from lambda_app.core.errors import NotFoundError
from lambda_app.dependencies.worker_threads import WorkerThreads
from tests.support.event_loops import run_in_new_loop

number: ContextVar[int] = ContextVar("number")


class _Value:
    pass


def _run(threads: WorkerThreads, *functions: object) -> list[object]:
    async def run() -> list[object]:
        return list(await asyncio.gather(*(threads.run(function) for function in functions), return_exceptions=True))  # type: ignore[arg-type]  # functions of several types

    return run_in_new_loop(run())


def test_call_runs_in_another_thread_with_the_context_of_the_caller() -> None:
    async def run() -> tuple[int, int]:
        number.set(7)
        return await WorkerThreads(1).run(lambda: (number.get(), threading.get_ident()))

    assert run_in_new_loop(run())[0] == 7
    assert run_in_new_loop(run())[1] != threading.get_ident()


def test_error_reaches_the_caller_and_the_thread_serves_further_calls() -> None:
    threads = WorkerThreads(1)

    def fail() -> None:
        raise NotFoundError

    failed, succeeded = _run(threads, fail, lambda: 1)

    assert isinstance(failed, NotFoundError)
    assert succeeded == 1


def test_at_most_the_limit_of_calls_runs_at_once_and_all_finish() -> None:
    threads, lock = WorkerThreads(2), threading.Lock()
    both = threading.Barrier(2)
    running: list[int] = []
    most: list[int] = []

    def call() -> int:
        with lock:
            running.append(1)
            most.append(len(running))
        both.wait(timeout=10)  # passes only if two calls run at the same time
        with lock:
            running.pop()
        return threading.get_ident()

    identities = _run(threads, *[call] * 20)

    assert max(most) == 2
    assert len(set(identities)) == 2


def test_sequential_calls_use_one_thread() -> None:
    threads = WorkerThreads(5)

    async def run() -> set[int]:
        return {await threads.run(threading.get_ident) for _ in range(20)}

    assert len(run_in_new_loop(run())) == 1


def test_cancelled_caller_does_not_end_the_thread() -> None:
    threads, started, go_on = WorkerThreads(1), threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        assert go_on.wait(timeout=10)

    async def run() -> int:
        task = asyncio.ensure_future(threads.run(block))
        await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        return await threads.run(lambda: 3)

    assert run_in_new_loop(run()) == 3


def test_call_that_outlives_its_event_loop_does_not_end_the_thread() -> None:
    threads, started, go_on = WorkerThreads(1), threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        assert go_on.wait(timeout=10)

    async def abandon() -> None:
        task = asyncio.ensure_future(threads.run(block))
        await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
        task.cancel()

    run_in_new_loop(abandon())
    go_on.set()

    assert _run(threads, lambda: 3) == [3]


def test_idle_thread_does_not_keep_the_result_of_its_last_call() -> None:
    threads = WorkerThreads(1)

    async def run() -> weakref.ref[_Value]:
        value = weakref.ref(await threads.run(_Value))
        # After it, the thread is idle.
        await threads.run(lambda: None)
        return value

    value = run_in_new_loop(run())
    gc.collect()

    assert value() is None
