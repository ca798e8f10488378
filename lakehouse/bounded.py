"""Calls in threads that are waited for only so long: one that hangs is left behind, and keeps no other from being made."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# Threads that hang cannot be ended. From this many on, a run tries one call before all others: whether anything answers again.
MOST_HANGING = 64


@dataclass(frozen=True)
class Call(Generic[T]):
    """What is to be called, and for how many seconds it is waited for."""

    function: Callable[[], T]
    timeout: float = math.inf


def run_calls(calls: Mapping[str, Call[T]], workers: int, budget: float = math.inf, *, capped: bool = True) -> dict[str, T | BaseException]:
    """Makes the calls in their order, some at a time.

    Where nothing answers, no more than ``MOST_HANGING`` capped calls are left hanging in a process. Once so many hang, a run
    begins with one call alone, where possible one that is not known to hang, with a short time-out. Where it answers, others
    follow, until the next one hangs.

    Args:
        calls: by a name of each.
        workers: how many at a time.
        budget: seconds for all of them together.
        capped: whether the calls count among those that hang, and are bound by them.

    Returns:
        By name what each returned or raised; TimeoutError where it did not answer in its time. What the budget had no time
        for, what was still under way when it ended, and what was not begun because too many hang, is not in it.
    """
    deadline = time.monotonic() + budget
    hanging = _hanging() if capped else []
    may_hang = max(MOST_HANGING - len(hanging), 1) if capped else len(calls)
    # Else a call that always hangs, or is waited for without end, and comes first, would keep all the others from being made.
    first = sorted(calls, key=lambda name: (name in hanging, calls[name].timeout))[:1] if may_hang == 1 else []
    waiting = deque(dict.fromkeys([*first, *calls]))
    outcomes: dict[str, T | BaseException] = {}
    running: dict[Future[T], _Thread[T]] = {}
    answered = hung = 0
    while (now := time.monotonic()) < deadline:
        while waiting and hung < may_hang and len(running) < min(workers, may_hang - hung + answered):
            name = waiting.popleft()
            thread = _Thread(name, calls[name])
            thread.start()
            running[thread.future] = thread
        if not running:
            break
        nearest = min(deadline, *(thread.limit for thread in running.values()))
        done, _ = wait(running, min(max(nearest - now, 0), threading.TIMEOUT_MAX), FIRST_COMPLETED)
        for future in done:
            error = future.exception()
            outcomes[running.pop(future).name] = future.result() if error is None else error
            answered += 1
        for future, thread in list(running.items()):
            if thread.limit <= time.monotonic() and not future.done():
                outcomes[thread.name] = TimeoutError(f"no answer within {calls[thread.name].timeout:g} s")
                running.pop(future).left = capped
                hung += 1
    for thread in running.values():
        thread.left = capped
    return outcomes


class _Thread(threading.Thread, Generic[T]):
    """Makes one call.

    Attributes:
        future: what the call returns or raises.
        limit: when it is waited for no more, by the monotonic clock.
        left: whether it is waited for no more, and counts among those that hang until it ends.
    """

    def __init__(self, name: str, call: Call[T]) -> None:
        super().__init__(name=name, daemon=True)  # a process may end while one hangs
        self.future: Future[T] = Future()
        self.limit, self.left = time.monotonic() + call.timeout, False
        self._call = call

    def run(self) -> None:
        try:
            self.future.set_result(self._call.function())
        except BaseException as error:  # a panic of Rust code is no Exception
            self.future.set_exception(error)


def _hanging() -> list[str]:
    """The names of the calls that were left behind and hang on, one for each thread."""
    return [thread.name for thread in threading.enumerate() if isinstance(thread, _Thread) and thread.left]
