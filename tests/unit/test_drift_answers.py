"""Drift in words, what is remembered of it, what is told, and calls that hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagster_project.sensors.alerts import one_message
from dagster_project.sensors.memory import Memory, News, Outbox
from lakehouse import cli_drift
from lakehouse.bounded import Call, run_calls
from lakehouse.drift_answers import EVERYTHING, State, TableDrift, grants_drift, schema_drift, templates_drift
from lakehouse.errors import Problem, SettingsError
from lakehouse.grants import Finding
from lakehouse.schema_plan import Change
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

TABLE = "lakehouse.event_stream"
EXTRA, MISSING = Change("drop-column", "debug_flag", "boolean", ""), Change("add-column", "session_id", "", "string")


# --- In words


def test_the_message_names_extra_and_missing_columns_first() -> None:
    drift = schema_drift(TABLE, [MISSING, EXTRA])
    assert drift.message == ("Schema drift detected in lakehouse.event_stream. Extra columns: {debug_flag}. Missing columns: {session_id}.")
    assert (drift.state, drift.extra_columns, drift.missing_columns) == ("drifted", ("debug_flag",), ("session_id",))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change("rename-column", "user_id", "uid", "user_id"), "Not renamed yet: {uid, to be user_id}."),
        (Change("widen-column", "count", "int", "long"), "Types: {count: int instead of long}."),
        (Change("retype-column", "a.b", "string", "long", "breaking"), "Types: {a.b: string instead of long}."),
        (Change("relax-column", "id", "required", "may be null"), "Nullability: {id: required instead of may be null}."),
        (Change("require-column", "id", "may be null", "required"), "Nullability: {id: may be null instead of required}."),
        (Change("move-columns", "", "", "a, b"), "Order of columns differs in: {the table}."),
        (Change("move-columns", "address", "", "a, b"), "Order of columns differs in: {address}."),
        (Change("identifier", "", "none", "id"), "Identifier: {none instead of id}."),
        (Change("partition", "", "none", "day(at)", "care"), "Partitions: {none instead of day(at)}."),
        (Change("sort-order", "", "none", "id asc"), "Sort order: {none instead of id asc}."),
        (Change("property", "write.x", "not set", "1"), "Properties: {write.x: not set instead of 1}."),
        (Change("retype-column", "comment", "int", "string", "breaking"), "Types: {comment: int instead of string}."),
    ],
)
def test_every_other_kind_follows_the_columns(change: Change, told: str) -> None:
    assert schema_drift(TABLE, [change, EXTRA]).message == (
        f"Schema drift detected in lakehouse.event_stream. Extra columns: {{debug_flag}}. {told}"
    )


@pytest.mark.parametrize(
    "change",
    [
        Change("describe-column", "email", "like jane@example.com", "The address."),
        Change("property", "Description", "of Jane Doe", "Orders."),
        Change("property", "comment", "of Jane Doe", "Orders."),
        Change("property", "owner", "alice@corp.example", "data-team"),
    ],
)
def test_what_a_live_comment_or_owner_says_is_not_told(change: Change) -> None:
    drift = schema_drift(TABLE, [change])
    assert change.subject in drift.message
    assert change.before not in drift.message + str(drift.details)


def test_a_fingerprint_is_that_of_the_difference_alone() -> None:
    first, same, other = schema_drift(TABLE, [EXTRA]), schema_drift(TABLE, [EXTRA]), schema_drift(TABLE, [EXTRA, MISSING])
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert schema_drift(TABLE, []).fingerprint == TableDrift(TABLE, "unreachable", reason="x").fingerprint == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Change("drop-column", "x", "string", ""), Change("drop-column", "x", "long", "")),
        (Change("add-column", "x", "", "string"), Change("add-column", "x", "", "long")),
        (Change("describe-column", "x", "one", "The x."), Change("describe-column", "x", "other", "The x.")),
        (Change("property", "comment", "one", "Orders."), Change("property", "comment", "other", "Orders.")),
        (Change("move-columns", "", "b, c, a", "a, b, c"), Change("move-columns", "", "c, b, a", "a, b, c")),
    ],
)
def test_two_differences_of_the_same_words_have_two_fingerprints(one: Change, other: Change) -> None:
    assert schema_drift(TABLE, [one]).message == schema_drift(TABLE, [other]).message
    assert schema_drift(TABLE, [one]).fingerprint != schema_drift(TABLE, [other]).fingerprint


def test_a_difference_stays_the_same_when_the_table_gets_its_first_rows() -> None:
    empty, filled = (schema_drift(TABLE, [Change("drop-column", "x", "string", "", level)]) for level in ("safe", "breaking"))
    assert empty.fingerprint == filled.fingerprint


def template(name: str) -> TableTemplate:
    return TableTemplate.model_validate({"name": name, "namespace": "shop", "columns": [{"name": "id", "type": "long"}]})


def states(drifts: list[TableDrift]) -> dict[str, str]:
    return {drift.table: drift.state for drift in drifts}


READER, ANALYST = "arn:aws:iam::123456789012:role/reader", "arn:aws:iam::123456789012:role/analyst"
FOREIGN = Finding("foreign", "Not of the three.", "Revoke it.", "shop", "orders", ANALYST, ("SELECT",), ("id", "at"))
LACKING = Finding("missing", "Not held.", "Apply.", "shop", "orders", READER, ("SELECT",), ("id",))


def test_grants_are_told_by_kind_with_who_and_what() -> None:
    everything, database, orders, users = grants_drift([template("orders"), template("users")], [FOREIGN, LACKING])
    assert orders.message == (
        "Permission drift detected in shop.orders. Missing grants: {reader: SELECT of id}. Grants to others: {analyst: SELECT of id, at}."
    )
    assert states([everything, database, users]) == {"*": "in step", "shop.*": "in step", "shop.users": "in step"}


def test_a_grant_on_a_database_or_on_everything_is_no_tables() -> None:
    wide = Finding("excessive", "It may all.", "Revoke it.", "shop", "ALL_TABLES", ANALYST, ("SELECT",))
    administrator = Finding("excessive", "The reader is an administrator.", "Take it away.", principal=READER)
    found = {drift.table: drift for drift in grants_drift([template("orders")], [wide, administrator])}
    assert found["shop.*"].message == "Permission drift detected in shop.*. Excessive grants: {analyst: SELECT}."
    assert found["*"].message == "Permission drift detected in the lakehouse. Excessive grants: {The reader is an administrator}."
    assert found["shop.orders"].state == "in step"


def test_where_not_all_grants_can_be_seen_none_is_said_to_be_missing() -> None:
    blind = Finding("unreachable", "Lake Formation does not answer.", "Try again.")
    found = {drift.table: drift for drift in grants_drift([template("orders"), template("users")], [LACKING, FOREIGN, blind])}
    assert found["*"].message == "Permission drift of the lakehouse is unknown: unreachable. Lake Formation does not answer."
    assert [detail["kind"] for detail in found["shop.orders"].details] == ["foreign"]
    assert found["shop.users"].state == "not checked"


BLIND = Finding("unreachable", "Lake Formation does not answer.\nRequest 1", "Try again.")
S3 = Finding("s3", "The reader may read files.", "Take it away.", principal=READER)


def test_what_cannot_be_looked_at_is_told_beside_what_is_wrong() -> None:
    everything = grants_drift([], [S3, BLIND])[0]
    assert everything.message == (
        "Permission drift detected in the lakehouse. Access to files: {The reader may read files}. "
        "Not everything could be looked at: Lake Formation does not answer."
    )
    assert (everything.partial, everything.unseen) == (True, True)
    assert everything.fingerprint != grants_drift([], [S3])[0].fingerprint
    assert everything.fingerprint == grants_drift([], [S3, replace(BLIND, message="Timed out.")])[0].fingerprint


def test_templates_that_cannot_be_used_are_an_answer() -> None:
    problem = Problem("/templates/orders.yaml", 3, 1, "sauce", "unknown-key", "error", "No such key.", "Remove it.")
    assert templates_drift([]).state == "in step"
    assert "orders.yaml cannot be used" in templates_drift([problem, problem]).message


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["in step"], 0),
        (["in step", "unmanaged"], 0),
        (["drifted", "unmanaged"], 2),
        (["missing"], 2),
        (["missing", "unreachable"], 1),
        (["not checked"], 1),
        ([], 0),
    ],
)
def test_exit_codes(answers: list[State], code: int) -> None:
    assert cli_drift.exit_code([TableDrift(f"shop.t{index}", state) for index, state in enumerate(answers)]) == code


# --- What is remembered

NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FINE = [TableDrift(EVERYTHING, "in step", "catalog"), TableDrift(EVERYTHING, "in step", "templates")]
DRIFTED, WORSE = schema_drift(TABLE, [EXTRA]), schema_drift(TABLE, [EXTRA, MISSING])
IN_STEP, UNREACHABLE = TableDrift(TABLE, "in step"), TableDrift(TABLE, "unreachable", reason="No answer.")
NOT_CHECKED, UNMANAGED = TableDrift(TABLE, "not checked"), TableDrift(TABLE, "unmanaged")
RESOLVED = "Schema drift resolved in lakehouse.event_stream."
KNOWN_AGAIN = "Schema drift of lakehouse.event_stream is known again."
# What is found hour by hour, and what is told of it.
HISTORIES: dict[str, list[tuple[TableDrift | None, list[str]]]] = {
    "once": [(DRIFTED, [DRIFTED.message]), (DRIFTED, []), (DRIFTED, [])],
    "in step": [(IN_STEP, []), (IN_STEP, [])],
    "changes": [(DRIFTED, [DRIFTED.message]), (WORSE, [WORSE.message]), (DRIFTED, [DRIFTED.message])],
    "resolved": [(DRIFTED, [DRIFTED.message]), (IN_STEP, [RESOLVED]), (IN_STEP, []), (DRIFTED, [DRIFTED.message])],
    "unreachable": [(UNREACHABLE, [UNREACHABLE.message]), (UNREACHABLE, []), (IN_STEP, [KNOWN_AGAIN]), (IN_STEP, [])],
    "hidden": [(DRIFTED, [DRIFTED.message]), (UNREACHABLE, [UNREACHABLE.message]), (DRIFTED, [KNOWN_AGAIN])],
    "hidden and resolved": [
        (DRIFTED, [DRIFTED.message]),
        (UNREACHABLE, [UNREACHABLE.message]),
        (IN_STEP, [KNOWN_AGAIN, RESOLVED]),
    ],
    "not checked": [(DRIFTED, [DRIFTED.message]), (NOT_CHECKED, []), (DRIFTED, []), (NOT_CHECKED, []), (IN_STEP, [RESOLVED])],
    "gone": [(UNMANAGED, [UNMANAGED.message]), (UNMANAGED, []), (None, [f"{RESOLVED} It is gone."]), (None, [])],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_what_is_told_hour_by_hour(history: str) -> None:
    cursor: str | None = None
    for hour, (drift, told) in enumerate(HISTORIES[history]):
        memory = Memory.read(cursor)
        assert memory is not None
        news = memory.learn([*FINE, *([drift] if drift else [])], NOW + hour * HOUR, timedelta(0))
        assert [found.text for found in news] == told, hour
        cursor = memory.model_dump_json()


def told_at(drift: TableDrift, repeat: timedelta, hours: int = 7) -> list[int]:
    memory = Memory()
    return [hour for hour in range(hours) if memory.learn([*FINE, drift], NOW + hour * HOUR, repeat)]


def test_what_lasts_is_told_again_after_the_time_that_is_set() -> None:
    assert told_at(DRIFTED, 3 * HOUR) == told_at(UNREACHABLE, 3 * HOUR) == [0, 3, 6]
    assert told_at(DRIFTED, timedelta(0)) == [0]
    assert told_at(UNMANAGED, 3 * HOUR) == [0]  # some keep such tables for good


@pytest.mark.parametrize("lost", ["catalog", "templates"])
def test_a_table_that_is_not_among_the_answers_is_not_gone_while_they_are_incomplete(lost: Any) -> None:
    memory = Memory()
    memory.learn([*FINE, UNMANAGED], NOW, HOUR)
    incomplete = [TableDrift(EVERYTHING, "unreachable" if drift.aspect == lost else "in step", drift.aspect) for drift in FINE]
    assert [found.level for found in memory.learn(incomplete, NOW, HOUR)] == ["error"]
    assert [found.text for found in memory.learn(FINE, NOW, HOUR)][-1] == f"{RESOLVED} It is gone."


@pytest.mark.parametrize("hidden", [[Finding("unreachable", "No list.", "Try again.", "shop")], [S3, BLIND]])
def test_a_leftover_grant_is_not_gone_while_grants_are_not_seen(hidden: list[Finding]) -> None:
    memory = Memory()
    leftover = Finding("leftover", "Everyone may.", "Revoke it.", "shop", "old_table", "IAM_ALLOWED_PRINCIPALS", ("ALL",))

    def told(*findings: Finding) -> list[str]:
        return [news.text for news in memory.learn([*FINE, *grants_drift([template("orders")], findings)], NOW, HOUR)]

    assert len(told(leftover)) == 1
    assert [text for text in told(*hidden) if "resolved" in text] == []
    assert told(leftover)[-1] != "Permission drift resolved in shop.old_table. It is gone."
    assert told() == ["Permission drift resolved in shop.old_table. It is gone."]


def test_grants_of_which_only_some_are_seen_are_not_known_again() -> None:
    memory = Memory()

    def told(*findings: Finding) -> list[str]:
        return [news.text for news in memory.learn([*FINE, *grants_drift([], findings)], NOW, HOUR)]

    assert len(told(BLIND)) == 1
    [text] = told(S3, BLIND)
    assert text.startswith("Permission drift detected in the lakehouse.")
    assert told(S3, BLIND) == []
    assert told() == ["Permission drift resolved in the lakehouse."]


def test_grants_and_schema_of_a_table_are_told_apart() -> None:
    memory = Memory()
    [grants] = [drift for drift in grants_drift([template("orders")], [FOREIGN]) if drift.table == "shop.orders"]
    schema = schema_drift("shop.orders", [EXTRA])
    assert len(memory.learn([*FINE, schema, grants], NOW, HOUR)) == 2
    unseen = TableDrift("shop.orders", "not checked", "grants")
    [news] = memory.learn([*FINE, TableDrift("shop.orders", "in step"), unseen], NOW, HOUR)
    assert news.text == "Schema drift resolved in shop.orders."
    [news] = memory.learn([*FINE, TableDrift("shop.orders", "in step", "grants")], NOW, HOUR)
    assert news.text == "Permission drift resolved in shop.orders."


@pytest.mark.parametrize("cursor", ["", "null", "{", '{"version": 2}', '{"known": 1}', "2024-01-01"])
def test_a_cursor_that_cannot_be_read_is_not_taken_for_a_memory(cursor: str) -> None:
    assert Memory.read(cursor) == (Memory() if cursor == "" else None)


def test_what_was_not_taken_is_kept_and_says_when_it_arose() -> None:
    outbox = Outbox()
    outbox.add([News("warning", "First.")], NOW)
    outbox.keep(None)
    outbox.add([News("warning", "Second.")], NOW + HOUR)
    assert outbox.texts(NOW + HOUR) == ["First. (found 2024-01-01 12:00 UTC)", "Second."]


def test_an_outbox_keeps_the_newest_and_counts_what_is_left_out() -> None:
    outbox = Outbox()
    for number in range(250):
        outbox.add([News("warning", f"Number {number}.")], NOW)
        outbox.keep(None)
    texts = outbox.texts(NOW)
    assert (texts[0], texts[1], texts[-1], len(texts)) == (
        "150 older alerts are left out; Dagster's log of the sensor has them.",
        "Number 150.",
        "Number 249.",
        101,
    )


def test_one_message_has_as_many_lines_as_fit_and_counts_the_others() -> None:
    assert one_message(["one", "two"]) == "one\ntwo"
    lines = one_message(["x" * 1000] * 100).splitlines()
    assert set(lines[:-1]) == {"x" * 1000}
    assert lines[-1] == f"… and {100 - len(lines) + 1} more; Dagster's log of the sensor has them all."
    assert 20 < len(lines) < 40
    assert len(one_message(["x" * 100_000])) == 30_000


# --- Calls that hang


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set after the test, so that nothing hangs on."""
    event = threading.Event()
    yield event
    event.set()


def failing() -> str:
    raise ValueError("broken")


def test_a_call_that_hangs_or_fails_keeps_no_other_from_being_made(never: threading.Event) -> None:
    hanging = {f"hangs {number}": Call(lambda: str(never.wait()), 0.2) for number in range(5)}
    calls = {**hanging, "fails": Call(failing, 0.2), **{f"fine {number}": Call(lambda: "yes", 0.2) for number in range(20)}}
    outcomes = run_calls(calls, workers=2)
    assert outcomes.keys() == calls.keys()
    assert {type(outcomes[name]) for name in hanging} == {TimeoutError}
    assert str(outcomes["hangs 0"]) == "no answer within 0.2 s"
    assert isinstance(outcomes["fails"], ValueError)
    assert {outcomes[f"fine {number}"] for number in range(20)} == {"yes"}


def test_what_there_was_no_time_for_is_not_among_the_outcomes(never: threading.Event) -> None:
    begun: list[str] = []

    def call(name: str) -> Call[bool]:
        return Call(lambda: begun.append(name) is None and (name == "quick" or never.wait()))

    start = time.monotonic()
    outcomes = run_calls({name: call(name) for name in ("quick", "slow", "later")}, workers=1, budget=0.3)
    assert outcomes == {"quick": True}
    assert time.monotonic() - start < 3
    never.set()
    assert begun == ["quick", "slow"]  # and nothing is begun afterwards


def test_an_answer_that_comes_too_late_is_not_heard() -> None:
    late, threads = threading.Event(), list[threading.Thread]()

    def slow() -> str:
        threads.append(threading.current_thread())
        late.wait()
        return "late"

    def other() -> str:
        late.set()
        threads[0].join()  # the late answer is given while this call is under way
        return "yes"

    outcomes = run_calls({"slow": Call(slow, 0.1), "other": Call(other, 10)}, workers=1)
    assert isinstance(outcomes["slow"], TimeoutError)
    assert outcomes["other"] == "yes"


def test_a_panic_is_an_outcome() -> None:
    class Panic(BaseException): ...

    def panic() -> str:
        raise Panic

    assert isinstance(run_calls({"one": Call(panic)}, workers=1)["one"], Panic)
    assert run_calls({}, workers=1) == {}


# --- Settings

SECRET = "https://hooks.example.com/services/T0/B0/top-secret"


def test_the_webhook_is_shown_nowhere() -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_SLACK_WEBHOOK=SECRET)
    assert settings.slack_webhook is not None
    assert settings.slack_webhook.get_secret_value() == SECRET
    assert "top-secret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAKEHOUSE_SLACK_WEBHOOK", "hooks.example.com/top-secret"),
        ("LAKEHOUSE_SLACK_WEBHOOK", "file:///etc/top-secret"),
        ("LAKEHOUSE_SLACK_WEBHOOK", "https://hooks.example.com/top-secret with a space"),
        ("LAKEHOUSE_SNS_TOPIC", "drift"),
        ("LAKEHOUSE_SNS_TOPIC", "arn:aws:sns:eu-central-1:123456789012:drift.fifo"),
        ("LAKEHOUSE_DRIFT_REPEAT_HOURS", "-1"),
        ("LAKEHOUSE_DRIFT_TABLE_TIMEOUT", "0"),
        ("LAKEHOUSE_DRIFT_SENSOR", "off"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_no_secret_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        LakehouseSettings.load(**{name: value})
    assert "top-secret" not in str(caught.value)
