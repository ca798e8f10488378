"""Calls that hang: how long they are waited for, how many of them a process keeps, and what they may not keep others from."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from dagster_project.sensors.alerts import deliver
from lakehouse.bounded import MOST_HANGING, Call, run_calls


class Hanging:
    """Calls that hang until they are released.

    Attributes:
        threads: those that hang.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._released = threading.Event()

    def call(self) -> str:
        self.threads.append(threading.current_thread())
        self._released.wait()
        return "released"

    def calls(self, number: int, timeout: float = 0.05) -> dict[str, Call[str]]:
        return {f"hangs {index}": Call(self.call, timeout) for index in range(number)}

    def release(self) -> None:
        self._released.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    found = Hanging()
    yield found
    found.release()


@pytest.fixture
def full(hanging: Hanging) -> Hanging:
    """As many calls hang as a process keeps."""
    run_calls(hanging.calls(MOST_HANGING), workers=16)
    assert len(hanging.threads) == MOST_HANGING
    return hanging


def fine() -> str:
    return "yes"


def fine_calls(number: int) -> dict[str, Call[str]]:
    return {f"fine {index}": Call(fine, 10) for index in range(number)}


# --- No call is lost


def test_calls_that_take_as_long_as_their_time_out_are_all_among_the_outcomes() -> None:
    # Long enough for a defect to show itself, and not so that it hangs the tests.
    calls = {str(number): Call(lambda: threading.Event().wait(0.1), 0.1) for number in range(64)}
    outcomes = run_calls(calls, workers=8, budget=20)
    assert outcomes.keys() == calls.keys()
    assert all(outcome is False or isinstance(outcome, TimeoutError) for outcome in outcomes.values())


def test_calls_begin_in_their_order_and_no_more_than_the_workers_at_a_time() -> None:
    begun, under_way, most = list[str](), set[str](), list[int]()

    def call(name: str) -> Call[None]:
        def function() -> None:
            begun.append(name)
            under_way.add(name)
            most.append(len(under_way))
            under_way.remove(name)

        return Call(function, 10)

    names = [str(number) for number in range(30)]
    run_calls({name: call(name) for name in names}, workers=1)
    assert (begun, max(most)) == (names, 1)


def test_a_steady_stream_of_answers_does_not_put_off_the_time_out_of_a_call_that_hangs(hanging: Hanging) -> None:
    under_way, most = set[int](), list[int]()

    def call(number: int) -> Call[str]:
        def function() -> str:
            under_way.add(number)
            threading.Event().wait(0.01)
            most.append(len(under_way))
            under_way.remove(number)
            return "yes"

        return Call(function, 10)

    calls = {**hanging.calls(1), **{str(number): call(number) for number in range(100)}}
    outcomes = run_calls(calls, workers=2)
    assert isinstance(outcomes["hangs 0"], TimeoutError)
    assert (most[0], max(most)) == (1, 2)  # the other worker's place was given to the stream before it ended


def test_without_a_budget_nothing_is_begun(hanging: Hanging) -> None:
    assert run_calls(hanging.calls(3), workers=2, budget=0) == {}
    assert run_calls(hanging.calls(3), workers=2, budget=-1) == {}
    assert hanging.threads == []


# --- As many hang as a process keeps


def test_no_more_than_the_most_are_left_hanging_by_one_run(hanging: Hanging) -> None:
    outcomes = run_calls(hanging.calls(MOST_HANGING + 50), workers=16)
    assert len(hanging.threads) == MOST_HANGING
    assert list(outcomes) == [f"hangs {index}" for index in range(MOST_HANGING)]


def test_the_same_calls_hanging_again_and_again_count_each_time(hanging: Hanging) -> None:
    for _ in range(4):
        run_calls(hanging.calls(20), workers=10)
    assert len(hanging.threads) == MOST_HANGING


def test_no_more_than_the_most_hang_where_they_hang_one_by_one(hanging: Hanging) -> None:
    calls = {f"hangs {index}": Call(hanging.call, 0.02 + 0.001 * (index % 7)) for index in range(MOST_HANGING + 50)}
    run_calls(calls, workers=16)
    assert len(hanging.threads) == MOST_HANGING


def test_each_later_run_tries_one_call_and_leaves_no_more_than_that(full: Hanging) -> None:
    for more in (1, 2, 3):
        outcomes = run_calls(full.calls(MOST_HANGING), workers=16)
        assert {type(outcome) for outcome in outcomes.values()} == {TimeoutError}
        assert (len(outcomes), len(full.threads)) == (1, MOST_HANGING + more)


def test_what_is_mended_is_noticed_although_the_old_calls_hang_on(full: Hanging) -> None:
    mended = dict.fromkeys(full.calls(MOST_HANGING), Call(fine, 10))
    assert run_calls(mended, workers=8) == dict.fromkeys(mended, "yes")
    assert len(full.threads) == MOST_HANGING


@pytest.mark.parametrize(("name", "timeout"), [("hangs 0", 10), ("endless", math.inf)])
def test_a_call_that_always_hangs_does_not_keep_the_others_from_being_made(full: Hanging, name: str, timeout: float) -> None:
    calls = {name: Call(full.call, timeout), **fine_calls(30)}
    outcomes = run_calls(calls, workers=8, budget=2)
    assert outcomes == dict.fromkeys(fine_calls(30), "yes")


def test_calls_that_do_answer_in_the_end_leave_room_again(full: Hanging) -> None:
    full.release()
    again = Hanging()
    try:
        run_calls(again.calls(10), workers=5)
        assert len(again.threads) == 10
    finally:
        again.release()


# --- Alerts


class Channel:
    """A channel that keeps what it is sent."""

    name = "kept"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.usefixtures("full")
def test_an_alert_is_delivered_although_as_many_calls_hang_as_may() -> None:
    channels = [Channel(), Channel()]
    channels[1].name = "other"
    assert deliver(channels, {"kept": ["one", "two"], "other": ["three"]}, 10) == {"kept": None, "other": None}
    assert [channel.texts for channel in channels] == [["one\ntwo"], ["three"]]


def test_channels_that_hang_do_not_take_the_room_of_other_calls(hanging: Hanging) -> None:
    run_calls(hanging.calls(MOST_HANGING), workers=16, capped=False)
    assert run_calls(hanging.calls(5), workers=5).keys() == hanging.calls(5).keys()
