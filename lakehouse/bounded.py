"""Calls in threads that are waited for only so long: one that hangs is left behind, and keeps no other from being made."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

# Threads that hang cannot be ended. A process that runs for months leaves no more than this many behind.
_MOST_LEFT = 64
_left: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@dataclass(frozen=True)
class Call(Generic[T]):
    """What is to be called, and for how many seconds it is waited for."""

    function: Callable[[], T]
    timeout: float = math.inf


def run_calls(calls: Mapping[str, Call[T]], workers: int, budget: float = math.inf) -> dict[str, T | BaseException]:
    """Makes the calls in their order, some at a time.

    Args:
        calls: by a name of each.
        workers: how many at a time.
        budget: seconds for all of them together.

    Returns:
        By name what each returned or raised; TimeoutError where it did not answer in its time. What the budget had no time
        for, or was still under way when it ended, is not in it.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    for name in calls:
        waiting.put(name)
    events: SimpleQueue[_Event[T]] = SimpleQueue()
    outcomes: dict[str, T | BaseException] = {}
    limits: dict[_Worker[T], tuple[str, float]] = {}
    active: set[_Worker[T]] = set()

    def start_worker() -> None:
        if sum(thread.is_alive() for thread in list(_left)) < _MOST_LEFT:
            worker = _Worker(calls, waiting, events)
            active.add(worker)
            worker.start()

    deadline = time.monotonic() + budget
    for _ in range(min(workers, len(calls))):
        start_worker()
    while active and len(outcomes) < len(calls) and (now := time.monotonic()) < deadline:
        nearest = min([deadline, *(limit for _, limit in limits.values())])
        try:
            # A longest wait, because a queue takes no infinite one.
            event = events.get(timeout=min(max(nearest - now, 0), 60))
        except Empty:
            for worker, (name, limit) in list(limits.items()):
                if limit <= time.monotonic():
                    outcomes[name] = TimeoutError(f"no answer within {calls[name].timeout:g} s")
                    worker.leave()
                    active.remove(worker)
                    del limits[worker]
                    start_worker()
            continue
        if event.worker not in active:  # it answers after all, too late
            continue
        if event.outcomes:
            [outcomes[event.name]] = event.outcomes
            del limits[event.worker]
        else:
            limits[event.worker] = (event.name, event.at + calls[event.name].timeout)
    for worker in active:
        worker.leave()
    return outcomes


class _Worker(threading.Thread, Generic[T]):
    """Takes one call after the other until none is left, or until it is left behind."""

    def __init__(self, calls: Mapping[str, Call[T]], waiting: SimpleQueue[str], events: SimpleQueue[_Event[T]]) -> None:
        super().__init__(name="lakehouse-bounded-call", daemon=True)  # a process may end while one hangs
        self._calls, self._waiting, self._events, self._stopped = calls, waiting, events, False

    def leave(self) -> None:
        """No more calls for it; what it is in goes on unheard."""
        self._stopped = True
        _left.add(self)

    def run(self) -> None:
        while not self._stopped:
            try:
                name = self._waiting.get_nowait()
            except Empty:
                return
            self._events.put(_Event(self, name, time.monotonic()))
            try:
                outcome: T | BaseException = self._calls[name].function()
            except BaseException as error:  # a panic of Rust code is no Exception
                outcome = error
            self._events.put(_Event(self, name, time.monotonic(), (outcome,)))


@dataclass(frozen=True)
class _Event(Generic[T]):
    """A call begins, or, where there are outcomes, one, is over."""

    worker: _Worker[T]
    name: str
    at: float
    outcomes: tuple[T | BaseException, ...] = ()
