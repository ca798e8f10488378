"""Whatever becomes of a `soda scan`, its end is told for what it was, and nothing of a row is told with it."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lakehouse.errors import MissingExtraError
from quality.configuration import duckdb_configuration, write_configuration
from quality.errors import DataSourceUnreachableError, InvalidChecksError, QualityError, ScanCrashedError, ScanTimeoutError
from quality.results import CheckResult, ScanResult
from quality.runner import run_scan

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
SECRET = "ada.lovelace"  # in a row, and nowhere else
ROWS = f"""
    create table people as
    select range::int as id, if(range = 3, null, '{SECRET}' || range) as email, timestamptz '2024-06-01 11:00:00+00' as seen
    from range(5)
"""
# Takes minutes, and hardly any memory.
ENDLESS = {"failed rows": {"name": "endless", "fail query": "select range from range(100000000000) where range = -1"}}
FINISHES = 60


@dataclass(frozen=True)
class Expected:
    """What `run_scan` must know of a check."""

    name: str
    definition: str = "row_count > 0"
    threshold: str = "> 0"
    column: str | None = None
    shows_value: bool = True


@dataclass
class Database:
    """A table `people`, and scans of it.

    Attributes:
        lines: what the scans logged.
    """

    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "people.duckdb"

    def scan(self, *entries: dict[str, Any] | str, expected: list[Expected] | None = None, **options: Any) -> ScanResult:
        """Scans by entries of SodaCL, each with its name, or by the text of a file."""
        text = entries[0] if isinstance(entries[0], str) else json.dumps({"checks for people": entries})
        named = [next(iter(entry.values()))["name"] for entry in entries if isinstance(entry, dict)]
        checks = self.folder / "checks.yaml"
        checks.write_text(str(text))
        configuration = write_configuration(
            self.folder / "configuration.yaml", duckdb_configuration(self.path, 256 * 1024 * 1024, self.folder)
        )
        wanted = expected or [Expected(name) for name in named]
        return run_scan(
            "lake.people", "lakehouse", configuration, checks, wanted, **{"timeout": FINISHES, "log": self.lines.append, **options}
        )


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path)
    with duckdb.connect(made.path) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(ROWS)
    return made


def entry(definition: str, name: str, **details: Any) -> dict[str, Any]:
    return {definition: {"name": name, **details}}


def found(result: ScanResult) -> dict[str, tuple[str, float | None]]:
    return {check.name: (check.outcome, check.value) for check in result.checks}


def test_each_check_has_its_outcome_and_its_value_in_the_order_of_the_file(database: Database) -> None:
    result = database.scan(
        entry("row_count > 0", "rows"),
        entry("missing_count(email) = 0", "missing"),
        entry("max(id)", "largest", warn="when > 3"),
        entry("failed rows", "odd", **{"fail condition": "id % 2 = 1"}),
        entry("freshness(seen) < 2h", "fresh"),
        now=NOW,
    )
    assert [check.name for check in result.checks] == ["rows", "missing", "largest", "odd", "fresh"]
    assert found(result) == {
        "rows": ("pass", 5),
        "missing": ("fail", 1),
        "largest": ("warn", 4),
        "odd": ("fail", 2),
        "fresh": ("pass", 3600),
    }
    assert (result.table, result.errors, result.worst) == ("lake.people", (), "fail")
    assert 0 < result.duration < FINISHES


def test_a_result_carries_what_was_expected_of_it(database: Database) -> None:
    expected = Expected("missing", "missing_count(email) < 1", "< 1", "email")
    [check] = database.scan(entry("missing_count(email) < 1", "missing"), expected=[expected]).checks
    assert check == CheckResult("missing", "fail", "missing_count(email) < 1", 1, "< 1", "email")


@pytest.mark.parametrize(
    ("entries", "worst"),
    [
        ([entry("row_count > 0", "a")], "pass"),
        ([entry("row_count > 0", "a"), entry("row_count", "b", warn="when > 0")], "warn"),
        ([entry("row_count", "b", warn="when > 0"), entry("row_count > 9", "c")], "fail"),
        ([entry("row_count > 9", "c"), entry("nonsense(id) = 0", "d")], "error"),
    ],
)
def test_every_exit_code_with_a_result_gives_it(database: Database, entries: list[dict[str, Any]], worst: str) -> None:
    assert database.scan(*entries).worst == worst


def test_a_result_is_the_same_after_a_way_through_json(database: Database) -> None:
    result = database.scan(entry("row_count > 0", "rows"), entry("nonsense(id) = 0", "unknown"))
    assert ScanResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result


def test_a_schema_check_says_which_columns_are_wrong(database: Database) -> None:
    types = {"id": "bigint", "email": "varchar", "name": "varchar"}
    [check] = database.scan(entry("schema", "schema", fail={"when mismatching columns": types})).checks
    assert (check.outcome, check.value) == ("fail", None)
    assert check.message == "Columns: name missing; seen not declared; id of another type."


def test_freshness_is_measured_against_the_clock_or_a_given_time(database: Database) -> None:
    check = entry("freshness(seen) < 1d", "fresh")
    assert found(database.scan(check))["fresh"][0] == "fail"
    assert found(database.scan(check, now=NOW + timedelta(days=1))) == {"fresh": ("fail", 25 * 3600)}


def test_freshness_of_a_time_without_zone_is_utc_wherever_the_machine_is(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with duckdb.connect(database.path) as connection:
        connection.execute("alter table people alter seen type timestamp using timestamp '2024-06-01 11:00:00'")
    assert found(database.scan(entry("freshness(seen) < 2h", "fresh"), now=NOW)) == {"fresh": ("pass", 3600)}


def test_no_variable_of_the_environment_changes_what_is_checked(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soda takes a variable of the environment for its own of the same name."""
    for name, value in {"NOW": "1999-01-01T00:00:00+00:00", "SODA_FEATURE_FLAG_PROFILING_OBSERVABILITY": "nonsense"}.items():
        monkeypatch.setenv(name, value)
    assert found(database.scan(entry("freshness(seen) < 2h", "fresh"), now=NOW)) == {"fresh": ("pass", 3600)}


def test_nothing_is_written_at_home(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    home = database.folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert database.scan(entry("row_count > 0", "rows")).worst == "pass"
    assert list(home.iterdir()) == []


def test_a_value_that_may_not_be_shown_is_not(database: Database) -> None:
    expected = [Expected("least", shows_value=False), Expected("rows")]
    result = database.scan(entry("min(id) > 7", "least"), entry("row_count > 0", "rows"), expected=expected)
    assert found(result) == {"least": ("fail", None), "rows": ("pass", 5)}


@pytest.mark.parametrize(
    "check",
    [
        entry("failed rows", "check", **{"fail query": "select * from people"}),
        entry("failed rows", "check", **{"fail condition": "email is not null"}),
        entry("valid_count(email) = 0", "check", **{"valid regex": "x"}),
        entry("invalid_count(email) = 0", "check", **{"valid values": ["x"]}),
        entry("duplicate_count(seen) = 0", "check"),
        entry("missing_count(email) = 0", "check", **{"samples limit": 100}),
        entry("text = x", "check", **{"text query": "select max(email) from people"}),
        entry("broken = 0", "check", **{"broken query": "select sum(email::int) from people"}),
        entry("failed rows", "check", **{"fail query": "select error(email) from people where email is not null"}),
    ],
    ids=lambda check: next(iter(check)),
)
def test_no_value_of_a_row_is_told(database: Database, check: dict[str, Any]) -> None:
    told: list[str] = []
    try:
        told.append(json.dumps(database.scan(check, entry("row_count > 0", "rows")).as_dict()))
    except QualityError as error:
        told.append(str(error))
    assert "Soda Core" in database.lines[0]
    assert SECRET not in "\n".join([*told, *database.lines])


def test_why_a_query_fails_is_told_by_its_kind(database: Database) -> None:
    broken = entry("broken = 0", "broken", **{"broken query": f"select sum(email::int) from people where email <> '{SECRET}'"})
    [check] = database.scan(broken).checks
    assert check.outcome == "error"
    assert "Conversion Error" in check.message


def test_a_check_that_cannot_be_evaluated_is_an_error_and_says_why(database: Database) -> None:
    result = database.scan(entry("missing_count(phone) = 0", "phone"), entry("row_count > 0", "rows"))
    assert [check.outcome for check in result.checks] == ["error", "error"]
    assert 'Referenced column "phone" not found' in result.checks[0].message


def test_a_check_that_soda_does_not_know_hides_no_other(database: Database) -> None:
    checks = [entry("nonsense(id) = 0", "unknown"), entry("row_count > 0", "rows")]
    result = database.scan(*checks, expected=[Expected("unknown", "nonsense(id) = 0"), Expected("rows")])
    assert found(result) == {"unknown": ("error", None), "rows": ("pass", 5)}
    assert "Unsupported metric nonsense" in result.checks[0].message


def test_each_check_that_has_no_result_has_its_own_reason(database: Database) -> None:
    definitions = {"unknown": "nonsense(id) = 0", "other": "gibberish(id) = 0", "fresh": "freshness(email) < 1d", "text": "max(email) > 5"}
    result = database.scan(
        *(entry(definition, name) for name, definition in definitions.items()),
        expected=[Expected(name, definition) for name, definition in definitions.items()],
    )
    told = {check.name: check.message.removeprefix("Soda could not evaluate it: ") for check in result.checks}
    assert "Unsupported metric nonsense" in told["unknown"] and "gibberish" not in told["unknown"]
    assert "Unsupported metric gibberish" in told["other"] and "nonsense" not in told["other"]
    assert told["fresh"] == "Could not evaluate freshness."
    assert told["text"] == "no value could be told."
    assert result.errors == ()


def test_what_no_check_in_error_is_named_by_is_an_error_of_the_scan(database: Database) -> None:
    checks = [entry("invalid_count(id) = 0", "valid", **{"valid format": "nonsense"}), entry("gibberish(id) = 0", "unknown")]
    result = database.scan(*checks, expected=[Expected("valid", "invalid_count(id) = 0"), Expected("unknown", "gibberish(id) = 0")])
    assert result.errors == ("Format nonsense is not supported.",)


def test_a_query_that_fails_is_told_of_every_check_that_has_no_result(database: Database) -> None:
    definitions = {"broken": "avg(email) > 0", "rows": "row_count > 0", "unknown": "nonsense(id) = 0"}
    result = database.scan(
        *(entry(definition, name) for name, definition in definitions.items()),
        expected=[Expected(name, definition) for name, definition in definitions.items()],
    )
    assert ["Binder Error" in check.message for check in result.checks] == [True] * 3
    assert ["nonsense" in check.message for check in result.checks] == [False, False, True]


def test_a_check_without_a_result_is_an_error_never_a_pass(database: Database) -> None:
    result = database.scan(entry("row_count > 0", "rows"), expected=[Expected("rows"), Expected("forgotten")])
    assert found(result) == {"rows": ("pass", 5), "forgotten": ("error", None)}


def test_a_table_that_is_not_there_is_an_error(database: Database) -> None:
    [check] = database.scan(json.dumps({"checks for others": [entry("row_count > 0", "rows")]}), expected=[Expected("rows")]).checks
    assert check.outcome == "error"
    assert "Table with name others does not exist" in check.message


@pytest.mark.parametrize("text", ["checks for people:\n  - row_count > 0: [\n", "checks for people:\n  - row_count >>> 0\n"])
def test_a_file_that_is_no_sodacl_is_told_as_such(database: Database, text: str) -> None:
    with pytest.raises(InvalidChecksError, match=r"Soda does not take the checks of lake\.people: "):
        database.scan(text, expected=[Expected("rows")])


def test_a_data_source_that_is_not_there_is_told_as_such(database: Database) -> None:
    database.path.unlink()
    with pytest.raises(DataSourceUnreachableError, match=r"scan of lake\.people does not reach its data source: .*database does not exist"):
        database.scan(entry("row_count > 0", "rows"))


def test_a_scan_that_takes_too_long_is_ended_with_all_it_started(database: Database) -> None:
    start = time.monotonic()
    with pytest.raises(ScanTimeoutError, match=r"scan of lake\.people took more than 4 s.* LAKEHOUSE_SCAN_TIMEOUT"):
        database.scan(ENDLESS, timeout=4)
    assert time.monotonic() - start < FINISHES / 2
    assert scans() == []
    assert database.lines[0].startswith("Soda Core")  # told as it came, though nothing came after it


def test_a_scan_that_is_killed_is_told_as_such(database: Database) -> None:
    def kill(line: str) -> None:
        for pid in scans():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ScanCrashedError, match=r"scan of lake\.people was killed by SIGKILL"):
        database.scan(ENDLESS, log=kill)


def test_a_scan_whose_log_cannot_be_written_is_ended(database: Database) -> None:
    def full(line: str) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        database.scan(ENDLESS, log=full)
    assert scans() == []


def scans() -> list[int]:
    """The processes that this one started and that run Soda."""
    children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return [int(pid) for pids in children for pid in pids if b"soda" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(("code", "output"), [(4, ""), (0, "no JSON"), (0, "[]"), (3, "")])
def test_an_end_without_a_result_is_a_crash(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, output: str
) -> None:
    """Another version of Soda, say: what stands where it should be ends so."""
    soda = tmp_path / "bin" / "soda"
    soda.parent.mkdir()
    write = f'while [ "$1" != "-srf" ]; do shift; done; printf %s {output!r} > "$2"' if output else ":"
    soda.write_text(f"#!/bin/sh\n{write}\nexit {code}\n")
    soda.chmod(soda.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(sys, "executable", str(soda.with_name("python")))
    with pytest.raises(ScanCrashedError, match=rf"scan of lake\.people ended with exit code {code} and no result"):
        database.scan(entry("row_count > 0", "rows"))


def test_where_soda_is_not_installed_the_extra_is_named(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingExtraError, match=r"\[soda\]"):
        database.scan(entry("row_count > 0", "rows"))


def test_scans_side_by_side_do_not_meet(database: Database) -> None:
    results: dict[int, ScanResult] = {}

    def scan(number: int) -> None:
        folder = database.folder / str(number)
        folder.mkdir()
        other = Database(folder)
        with duckdb.connect(other.path) as connection:
            connection.execute(f"create table people as from range({number})")
        results[number] = other.scan(entry("row_count > 0", "rows"))

    threads = [threading.Thread(target=scan, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: found(result) for number, result in results.items()} == {number: {"rows": ("pass", number)} for number in (1, 2, 3)}
