"""Feature tables: what the SQL sees of its inputs, what a run replaces, and which days are due."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import DataScan, FileScanTask
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform

from lakehouse.commit import Batch
from lakehouse.days import format_days
from lakehouse.duck import connect
from lakehouse.engines import ComputeDays, WriteResult, inputs
from lakehouse.errors import BadRowsError, FeatureSqlError, LakehouseError, TableMismatchError
from lakehouse.staleness import DueDays
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

D1, D2, D3, D4, D5 = (date(2024, 1, day) for day in range(1, 6))
Row = dict[str, Any]


def at(day: date | int, hour: float = 0) -> datetime:
    start = day if isinstance(day, date) else date(2024, 1, day)
    return datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(hours=hour)


EVENTS = """\
name: events
namespace: shop
columns:
  - {name: id, type: long, required: true}
  - {name: at, type: TYPE}
  - {name: user_id, type: string, pii: true}
  - {name: amount, type: "decimal(18,2)"}
  - {name: note, type: string}
partition_spec: [{column: at, transform: TRANSFORM}]
"""
USERS = """\
name: users
namespace: shop
columns:
  - {name: user_id, type: string, required: true, pii: true}
  - {name: plan, type: string}
  - {name: valid_from, type: timestamptz, required: true}
  - {name: valid_to, type: timestamptz}
  - {name: is_current, type: boolean, required: true}
identifier: [user_id, valid_from]
pipeline:
  pattern: scd_type2
  source: {path: /nowhere, format: jsonl}
  key: [user_id]
  effective_at: valid_from
"""
FEATURES = """\
name: features
namespace: shop
columns: [COLUMNS]
partition_spec: [{column: day, transform: TRANSFORM}]
pipeline:
  pattern: feature_table
  sql: features.sql
  inputs: [events, users]
  partitions: {start: "2024-01-01"}
"""
# What the SQL sees, row by row, without a filter of its own.
SEEN = "{name: day, type: date, required: true}, {name: row, type: string, required: true}"
SEEN_SQL = """
select $day as day, 'event ' || id as row from events
union all by name
select $day as day, concat_ws(' ', user_id, plan, valid_from::date, valid_to::date, is_current) as row from shop.users
"""


@dataclass
class Shop:
    """A lakehouse with the tables events, users and features."""

    lakehouse: Lakehouse
    template: TableTemplate
    inputs: tuple[TableTemplate, ...]
    runs: int = 0

    def write(self, table: str, rows: Sequence[Row], days: str = "") -> None:
        self.runs += 1
        schema = pa.schema([field.with_nullable(True) for field in self.lakehouse.template_of(table).arrow_schema])
        batch = pa.RecordBatch.from_pylist(list(rows), schema)
        self.lakehouse.engine.append(table, [batch], Batch(f"write-{self.runs}", days=days))

    def events(self, *rows: Row) -> None:
        self.write("shop.events", rows)

    def users(self, *rows: tuple[str, str, datetime, datetime | None]) -> None:
        names = ("user_id", "plan", "valid_from", "valid_to")
        self.write("shop.users", [dict(zip(names, row, strict=True)) | {"is_current": row[3] is None} for row in rows])

    def compute(self, *days: date, batch: str | None = None) -> WriteResult:
        self.runs += 1
        work = ComputeDays(self.template, self.inputs, days)
        return self.lakehouse.engine.compute_days(work, Batch(batch or f"run-{self.runs}"), self.lakehouse.messages.append)

    def due(self, today: date) -> list[date]:
        return due(self.lakehouse, self.template, *self.inputs, today=today)

    def rows(self) -> list[Row]:
        found = self.lakehouse.rows("shop.features").to_pylist()
        return sorted(found, key=lambda row: tuple(str(value) for value in row.values()))

    def seen(self, day: date) -> list[str]:
        return sorted(row["row"] for row in self.rows() if row["day"] == day)


def due(lakehouse: Lakehouse, template: TableTemplate, *inputs: TableTemplate, today: date) -> list[date]:
    return DueDays(lakehouse.catalog, {found.table_name: found for found in (template, *inputs)}, today).of(template)


def shop(
    lakehouse: Lakehouse,
    sql: str = SEEN_SQL,
    columns: str = SEEN,
    added: str = "",
    event_time: tuple[str, str] = ("timestamptz", "day"),
    day_transform: str = "identity",
    inputs: str = "[events, users]",
) -> Shop:
    """The tables, and in ``features`` these columns, computed by this SQL."""
    (lakehouse.settings.templates / "features.sql").write_text(sql)
    events = lakehouse.template(EVENTS.replace("TYPE", event_time[0]).replace("TRANSFORM", event_time[1]))
    users = lakehouse.template(USERS)
    features = FEATURES.replace("COLUMNS", columns).replace("TRANSFORM", day_transform).replace("[events, users]", inputs)
    template = lakehouse.template(features + added)
    return Shop(lakehouse, template, tuple(found for found in (events, users) if found.name in inputs))


FOUR = [at(1, 23.999), at(2), at(2, 23.99999), at(3)]


@pytest.mark.parametrize(
    ("type_", "transform"),
    [
        ("timestamptz", "day"),
        ("timestamptz", "hour"),
        ("timestamptz", "month"),
        ("timestamp", "day"),
        ("date", "identity"),
        ("date", "day"),
    ],
)
@pytest.mark.parametrize("old_files", [False, True])
def test_the_sql_sees_nothing_after_the_days_end(lakehouse: Lakehouse, type_: str, transform: str, old_files: bool) -> None:
    made = shop(lakehouse, event_time=(type_, transform), added="  window: 2d\n")
    convert = {"timestamptz": lambda t: t, "timestamp": lambda t: t.replace(tzinfo=None), "date": lambda t: t.date()}[type_]
    made.events(*({"id": number, "at": convert(moment)} for number, moment in enumerate(FOUR, 1)))
    if old_files:  # written before the column had its name: PyArrow reads them
        rename(lakehouse, "shop.events", "id", "number")
        (lakehouse.settings.templates / "features.sql").write_text(SEEN_SQL.replace("id from events", "number from events"))
        sql = SEEN_SQL.replace("|| id", "|| number")
        (lakehouse.settings.templates / "features.sql").write_text(sql)
    made.compute(D1, D2, D3, D4, D5)
    assert {day: made.seen(day) for day in (D1, D2, D3, D4, D5)} == {
        D1: ["event 1"],
        D2: ["event 1", "event 2", "event 3"],
        D3: ["event 2", "event 3", "event 4"],
        D4: ["event 4"],
        D5: [],
    }


def rename(lakehouse: Lakehouse, table: str, old: str, new: str) -> None:
    with lakehouse.table(table).update_schema() as update:
        update.rename_column(old, new)


def test_without_a_window_it_sees_all_before(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse)
    made.events(*({"id": number, "at": moment} for number, moment in enumerate(FOUR, 1)), {"id": 5, "at": None})
    made.compute(D2, D4)
    assert (made.seen(D2), made.seen(D4)) == (["event 1", "event 2", "event 3"], [f"event {n}" for n in (1, 2, 3, 4)])


@pytest.mark.engines
def test_a_dimension_is_seen_as_it_was(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, added="  window: 1d\n")
    made.users(
        ("a", "free", at(1), at(3)),
        ("a", "plus", at(3), at(3, 12)),  # not at any day's end
        ("a", "pro", at(3, 12), at(4)),  # at the end of the third; deleted at the moment that is the fourth's
        ("a", "free", at(5, 1), None),
        ("b", "free", at(2, 5), None),
    )
    made.compute(D1, D2, D3, D4, D5)
    first = "a free 2024-01-01 true"
    closed = ["a free 2024-01-01 2024-01-03 false", "a plus 2024-01-03 2024-01-03 false"]
    b = "b free 2024-01-02 true"
    ended = [*closed, "a pro 2024-01-03 2024-01-04 false"]
    assert {day: made.seen(day) for day in (D1, D2, D3, D4, D5)} == {
        D1: [first],
        D2: [first, b],
        D3: sorted([*closed, "a pro 2024-01-03 true", b]),
        D4: sorted([*ended, b]),
        D5: sorted([*ended, "a free 2024-01-05 true", b]),
    }


SUMS = "{name: user_id, type: string, required: true, pii: true}, {name: day, type: date, required: true}, " \
    '{name: events, type: int}, {name: amount, type: "decimal(38,2)"}, {name: plan, type: string}'  # fmt: skip
SUMS_SQL = """
select user_id, $day as day, count(*) as events, sum(amount) as amount, any_value(plan) as plan
from events left join (from users where is_current) using (user_id)
where user_id is not null
group by user_id
"""


def test_whether_a_version_was_current_needs_no_other_column(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, "select $day as day, user_id as row from users where is_current", SEEN, inputs="[users]")
    made.users(("a", "free", at(1), at(3)), ("b", "free", at(1), None))
    made.compute(D2, D3)
    assert (made.seen(D2), made.seen(D3)) == (["a", "b"], ["b"])


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.gcp
@pytest.mark.parametrize("transform", ["identity", "day"])
def test_only_its_days_are_replaced_in_one_commit(lakehouse: Lakehouse, transform: str) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  window: 1d\n", day_transform=transform)
    made.events(*({"id": day, "at": at(day), "user_id": "a", "amount": Decimal(day)} for day in range(1, 6)))
    made.compute(D1, D2, D3, D4, D5)
    files = {task.file.file_path for task in lakehouse.table("shop.features").scan().plan_files()}
    made.events({"id": 9, "at": at(2), "user_id": "b"}, {"id": 10, "at": at(4), "user_id": "b"}, {"id": 11, "at": at(3), "user_id": "b"})
    result = made.compute(D4, D2)
    assert (result.rows, result.days) == (4, "2024-01-02,2024-01-04")
    assert [(row["day"].day, row["user_id"]) for row in made.rows()] == [
        (1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "a"), (2, "b"), (4, "b"),
    ]  # fmt: skip
    table = lakehouse.table("shop.features")
    assert len(table.metadata.snapshots) == 2
    assert len(files & {task.file.file_path for task in table.scan().plan_files()}) == 3
    summary = table.current_snapshot().summary.additional_properties
    assert summary["lakehouse.days"] == "2024-01-02,2024-01-04"
    current = {name: lakehouse.table(name).current_snapshot() for name in ("shop.events", "shop.users")}
    assert json.loads(summary["lakehouse.inputs"]) == {
        name: str(snapshot.snapshot_id) if snapshot else "" for name, snapshot in current.items()
    }


@pytest.mark.engines
def test_files_of_an_older_partition_spec_keep_their_other_days(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  window: 1d\n", day_transform="day")
    with lakehouse.table("shop.features").update_spec() as update:
        update.remove_field("day_day")
    made.events(*({"id": day, "at": at(day), "user_id": "a"} for day in range(1, 4)))
    made.compute(D1, D2, D3)
    with lakehouse.table("shop.features").update_spec() as update:
        update.add_field("day", IdentityTransform(), "by_day")
    made.events({"id": 9, "at": at(2), "user_id": "a"})
    made.compute(D2)
    assert [(row["day"].day, row["events"]) for row in made.rows()] == [(1, 1), (2, 2), (3, 1)]


@pytest.mark.engines
@pytest.mark.nessie
def test_a_run_that_is_repeated_writes_nothing(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS)
    made.events({"id": 1, "at": at(1), "user_id": "a"})
    first = made.compute(D1, batch="one")
    made.events({"id": 2, "at": at(1), "user_id": "a"})
    assert made.compute(D1, batch="one") == first
    assert len(lakehouse.table("shop.features").metadata.snapshots) == 1
    assert [row["events"] for row in made.rows()] == [1]


@pytest.mark.engines
def test_a_day_without_rows_is_computed_all_the_same(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  lookback: 2d\n")
    assert made.due(D3) == [D1, D2]
    result = made.compute(D1, D2)  # of tables without a snapshot
    assert (result.rows, result.data_files, made.due(D3)) == (0, 0, [])
    made.events({"id": 1, "at": at(1), "user_id": "a"})
    assert (made.compute(D1).rows, made.due(D3)) == (1, [D2])
    made.lakehouse.engine.replace("shop.events", [], AlwaysTrue(), Batch("gone"))
    assert (made.compute(D1).rows, made.rows()) == (0, [])


@pytest.mark.nessie
def test_no_days_are_no_commit(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse)
    assert made.compute() == WriteResult("shop.features")
    assert lakehouse.table("shop.features").current_snapshot() is None


def test_long_ranges_show_progress(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  window: 7d\n")
    days = [D1 + timedelta(days=index) for index in range(60)]
    made.events(*({"id": index, "at": at(day), "user_id": "a"} for index, day in enumerate(days)))
    made.compute(*days)
    assert [row["events"] for row in made.rows()] == [1, 2, 3, 4, 5, 6, *[7] * 54]
    assert len(lakehouse.messages) == 10
    assert lakehouse.messages[1] == "shop.features: computing 2024-01-07, day 7 of 60"


TYPES = ["boolean", "int", "long", "float", "double", "decimal(38,9)", "date", "time", "timestamp", "timestamptz", "string", "uuid",
         "binary", "fixed[3]", "list<int>", "map<string, int>", "struct<a: int, b: list<string>>"]  # fmt: skip


@pytest.mark.parametrize("old_files", [False, True])
def test_every_type_goes_through(lakehouse: Lakehouse, old_files: bool) -> None:
    columns = ", ".join(f'{{name: c{number}, type: "{type_}"}}' for number, type_ in enumerate(TYPES))
    events = lakehouse.template(
        f"name: events\nnamespace: shop\ncolumns: [{{name: old, type: date}}, {columns}]\n"
        "partition_spec: [{column: old, transform: identity}]\n"
    )
    values = [True, 1, 2**40, 0.5, 0.1, Decimal("1.5"), D1, time(3), at(1, 1).replace(tzinfo=None), at(1), "ü",
              uuid.UUID(int=7), b"\x00", b"abc", [1, None], [("k", 1)], {"a": 1, "b": ["x"]}]  # fmt: skip
    row = {"old": D1, **{f"c{number}": value for number, value in enumerate(values)}}
    nothing = {"old": D1, **dict.fromkeys(list(row)[1:])}
    schema = pa.schema([field if field.name != "c11" else field.with_type(pa.binary(16)) for field in events.arrow_schema])
    batch = pa.RecordBatch.from_pylist([row | {"c11": uuid.UUID(int=7).bytes}, nothing], schema)
    lakehouse.engine.append("shop.events", [batch], Batch("types"))
    if old_files:
        rename(lakehouse, "shop.events", "old", "day")
        (lakehouse.settings.templates / "events.yaml").write_text(
            (lakehouse.settings.templates / "events.yaml").read_text().replace("old", "day")
        )
    sql = "select * replace ($day as day) from events" if old_files else "select * exclude (old), $day as day from events"
    (lakehouse.settings.templates / "features.sql").write_text(sql)
    template = lakehouse.template(
        FEATURES.replace("COLUMNS", f"{{name: day, type: date, required: true}}, {columns}")
        .replace("TRANSFORM", "identity")
        .replace(", users", "")
    )
    made = Shop(lakehouse, template, (next(found for found in lakehouse.templates() if found.name == "events"),))
    made.compute(D1)
    found = lakehouse.rows("shop.features").to_pylist()
    assert sorted(found, key=lambda row: row["c0"] is None) == [
        {"day": D1, **{f"c{number}": value for number, value in enumerate(values)}},
        {"day": D1, **dict.fromkeys(f"c{number}" for number in range(len(TYPES)))},
    ]


def test_rows_that_delete_files_delete_are_not_seen(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyIceberg writes no delete files; other engines do."""
    made = shop(lakehouse)
    made.events(*({"id": number, "at": at(1, number)} for number in range(1, 4)))
    [task] = lakehouse.table("shop.events").scan().plan_files()
    path = tmp_path / "deletes.parquet"
    pq.write_table(pa.table({"file_path": [task.file.file_path], "pos": pa.array([1], pa.int64())}), path)
    deletes = DataFile.from_args(content=DataFileContent.POSITION_DELETES, file_path=f"file://{path}", file_format=FileFormat.PARQUET)
    plan = DataScan.plan_files
    monkeypatch.setattr(
        DataScan,
        "plan_files",
        lambda self: [FileScanTask(found.file, {deletes} if "events" in found.file.file_path else set()) for found in plan(self)],
    )
    made.compute(D1)
    assert made.seen(D1) == ["event 1", "event 3"]


@pytest.mark.engines
def test_files_before_and_after_an_evolution_together(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, added="  window: 3d\n")
    made.events({"id": 1, "at": at(1), "note": "old"})
    with lakehouse.table("shop.events").update_schema() as update:
        update.rename_column("note", "remark").add_column("extra", lakehouse.template_of("shop.events").iceberg_schema.find_type("note"))
    (lakehouse.settings.templates / "events.yaml").write_text(
        EVENTS.replace("TYPE", "timestamptz")
        .replace("TRANSFORM", "day")
        .replace("note, type: string}", "remark, type: string}\n  - {name: extra, type: string}")
    )
    made.inputs = tuple(found for found in lakehouse.templates() if found.name in ("events", "users"))
    made.write("shop.events", [{"id": 2, "at": at(2), "remark": "new", "extra": "x"}])
    sql = "select $day as day, concat_ws(' ', id, remark, extra) as row from events"
    (lakehouse.settings.templates / "features.sql").write_text(sql)
    made.compute(D1, D2, D5)
    assert (made.seen(D1), made.seen(D2), made.seen(D5)) == (["1 old"], ["1 old", "2 new x"], [])


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select user_id, $day as day from events", ["user_id"]),
        ("select USER_ID, $day as day from shop.events e where E.Note > ''", ["user_id", "note"]),
        ("select count(*)::varchar as user_id, $day as day from events", ["user_id"]),
        (
            "with a as (select id, amount from events) select id::varchar as user_id, $day as day from a order by amount",
            ["id", "user_id", "amount"],
        ),
        ("select user_id, $day as day from (select * from events)", None),
        ("select user_id, $day as day from (from events)", None),
        ("select any_value(columns('user.*')) as user_id, $day as day from events", None),
        ("select to_json(events)::varchar as user_id, $day as day from events", None),
        ("select to_json(e)::varchar as user_id, $day as day from shop.events as e", None),
        ("select u as user_id, $day as day from events as e(i, t, u)", None),
        ("select user_id, $day as day from events natural join (select 1::bigint as id)", None),
        ("select #3 as user_id, $day as day from events", None),
        ("select user_id, $day as day from query_table('events')", None),
    ],
)
def test_only_the_columns_that_the_sql_needs_are_read(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, sql: str, columns: list[str] | None
) -> None:
    """Each reads the same rows from files that DuckDB reads itself, and from files whose columns PyArrow reads for it."""
    made = shop(lakehouse, sql, "{name: user_id, type: string}, {name: day, type: date, required: true}", inputs="[events]")
    made.events({"id": 1, "at": at(1), "user_id": "a", "amount": Decimal(3), "note": "n"}, {"id": 2, "at": at(1), "user_id": "b"})
    made.compute(D1)
    expected = made.rows()
    read: list[Sequence[str] | None] = []
    rows_of = inputs.rows_of
    monkeypatch.setattr(inputs, "rows_of", lambda table, tasks, names: (read.append(names), rows_of(table, tasks, names))[1])
    monkeypatch.setattr(inputs, "holds_schema", lambda *_: False)
    made.compute(D1)
    assert made.rows() == expected
    everything = ["id", "at", "user_id", "amount", "note"]
    assert read == [[name for name in everything if columns is None or name in (*columns, "at")]]


def test_a_warehouse_whose_path_looks_like_a_pattern(lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lakehouse, "settings", type(lakehouse.settings).load(LAKEHOUSE_WAREHOUSE=str(tmp_path / "it's [a-c]")))
    made = shop(lakehouse)
    made.events({"id": 1, "at": at(1)})
    [path] = (tmp_path / "it's [a-c]" / "shop" / "events").rglob("*.parquet")
    other = tmp_path / "it's b" / path.relative_to(tmp_path / "it's [a-c]")
    other.parent.mkdir(parents=True)
    pq.write_table(pq.read_table(path).set_column(0, "id", pa.array([2], pa.int64())), other)
    made.compute(D1)
    assert made.seen(D1) == ["event 1"]


def test_values_in_paths_are_not_taken_for_the_columns(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, "select $day as day, note as row from events", inputs="[events]")
    with lakehouse.table("shop.events").update_spec() as update:
        update.add_identity("note")
    made.events({"id": 1, "at": at(1), "note": "a b/c+d%20"}, {"id": 2, "at": at(1), "note": "007"})
    made.compute(D1)
    assert made.seen(D1) == ["007", "a b/c+d%20"]


def test_a_range_reads_each_file_once(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop(lakehouse, added="  window: 2d\n")
    made.events(*({"id": day, "at": at(day)} for day in range(1, 6)))
    read: list[str] = []
    rows_of = inputs.rows_of

    def reading(table: Any, tasks: list[FileScanTask], names: Sequence[str]) -> Any:
        read.extend(task.file.file_path for task in tasks)
        return rows_of(table, tasks, names)

    monkeypatch.setattr(inputs, "rows_of", reading)
    monkeypatch.setattr(inputs, "holds_schema", lambda *_: False)
    made.compute(D2, D3, D4)
    assert (len(read), len(set(read))) == (4, 4)
    assert made.seen(D4) == ["event 3", "event 4"]


def test_the_connection_reads_only_what_it_may(tmp_path: Path) -> None:
    for name in ("may", "may_not"):
        pq.write_table(pa.table({"x": [1]}), tmp_path / f"{name}.parquet")
    with connect(64 * 1024 * 1024) as connection:
        inputs.allow_only(connection, [str(tmp_path / "may.parquet")])
        assert connection.execute(f"from read_parquet('{tmp_path}/may.parquet')").fetchall() == [(1,)]
        for forbidden in (
            f"from read_parquet('{tmp_path}/may_not.parquet')",
            f"from read_parquet('{tmp_path}/*.parquet')",
            "set threads = 1",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(forbidden)


@pytest.mark.engines
@pytest.mark.parametrize("day_of_rows", ["$day + 1", "$day - 1"])
def test_rows_of_another_day_are_an_error(lakehouse: Lakehouse, day_of_rows: str) -> None:
    made = shop(lakehouse, SUMS_SQL.replace("$day as day", f"{day_of_rows} as day"), SUMS)
    made.events({"id": 1, "at": at(1), "user_id": "a"}, {"id": 2, "at": at(1), "user_id": "b"})
    with pytest.raises(BadRowsError) as error:
        made.compute(D1)
    assert str(error.value) == (
        "2 rows do not fit shop.features, for example:\n"
        "  the result of features.sql for 2024-01-01 has rows of another day: select $day as day.\n"
        "None of them is written. Correct the SQL."
    )
    nothing_is_written(lakehouse)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("null::string as user_id", "null in a required column"),
        ("user_id, 4000000000 as events", "not an int"),
        ("user_id, 4000000000::hugeint as events", "not an int"),
    ],
)
def test_rows_that_do_not_fit_are_an_error_without_their_values(lakehouse: Lakehouse, expression: str, says: str) -> None:
    made = shop(lakehouse, f"select {expression}, $day as day from events", SUMS, inputs="[events]")
    made.events({"id": 1, "at": at(1), "user_id": "secret"})
    with pytest.raises(BadRowsError) as error:
        made.compute(D1)
    assert (error.value.count, says in str(error.value), "secret" in str(error.value), "4000000000" in str(error.value)) == (
        1,
        True,
        False,
        False,
    )
    nothing_is_written(lakehouse)


def nothing_is_written(lakehouse: Lakehouse) -> None:
    assert lakehouse.table("shop.features").current_snapshot() is None
    assert not list(Path(lakehouse.settings.warehouse, "shop", "features").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "cast(user_id as int)",
            "features.sql:2: Conversion Error. DuckDB's message may show values of user_id, pii or restricted, and is left out. "
            "Look at what this line computes; try_cast gives null where a cast fails.",
        ),
        ("cast(note as int)",
         "features.sql:2: Could not convert string 'a note' to INT32 when casting from source column note. Correct it."),
        ("cast(2147483647 + id as int)",
         "features.sql:2: Type INT64 with value 2147483648 can't be cast because the value is out of range for the destination type INT32. "
         "Correct it."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [1, 300_000])
def test_sql_that_fails_says_where_without_hidden_values(lakehouse: Lakehouse, expression: str, message: str, rows: int) -> None:
    columns = "{name: user_id, type: string}, {name: day, type: date, required: true}, {name: events, type: int}"
    made = shop(lakehouse, f"select $day as day,\n{expression} as events\nfrom events", columns, inputs="[events]")
    made.events(
        *({"id": 0, "at": at(1), "user_id": "7", "note": "8"} for _ in range(rows - 1)),
        {"id": 1, "at": at(1, 1), "user_id": "secret", "note": "a note"},
    )
    with pytest.raises(FeatureSqlError) as error:
        made.compute(D1)
    assert str(error.value) == message
    nothing_is_written(lakehouse)


def test_sql_that_needs_more_memory_than_it_has_says_so(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lakehouse, "settings", type(lakehouse.settings).load(LAKEHOUSE_WRITE_MEMORY="64MiB"))
    made = shop(
        lakehouse, "select $day as day, sum(len(x))::varchar as row from (select list(range::varchar || 'x') as x from range(20000000))"
    )
    with pytest.raises(FeatureSqlError, match=r"does not fit into its memory\. Give it more, by LAKEHOUSE_WRITE_MEMORY"):
        made.compute(D1)


@pytest.mark.parametrize("source", ["read_csv('/etc/passwd')", "glob('/etc/*')", "'/etc/passwd'", "work", "shop.features"])
def test_the_sql_reads_nothing_but_its_inputs(lakehouse: Lakehouse, source: str) -> None:
    made = shop(lakehouse)
    made.events({"id": 1, "at": at(1)})
    (lakehouse.settings.templates / "features.sql").write_text(f"select $day as day, 'x' as row from {source}")
    with pytest.raises(FeatureSqlError, match=r"features\.sql:1: (Cannot access file|Table with name)"):
        made.compute(D1)


@pytest.mark.engines
def test_a_live_table_that_is_not_its_template(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse)
    with lakehouse.table("shop.features").update_schema() as update:
        update.rename_column("day", "date")
    with pytest.raises(TableMismatchError, match=r"shop\.features has no date column day"):
        made.compute(D1)
    with lakehouse.table("shop.features").update_schema() as update:
        update.rename_column("date", "day").rename_column("row", "line")
    made.events({"id": 1, "at": at(1)})
    with pytest.raises(LakehouseError, match=r"the result of features\.sql for 2024-01-01 has no column line"):
        made.compute(D1)


@pytest.mark.engines
def test_hidden_columns_leave_no_bounds(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS)
    made.events({"id": 1, "at": at(1), "user_id": "a"})
    with lakehouse.table("shop.features").transaction() as transaction:
        transaction.remove_properties("write.metadata.metrics.column.user_id")
    made.compute(D1)
    [task] = lakehouse.table("shop.features").scan().plan_files()
    id_of = {field.name: field.field_id for field in lakehouse.table("shop.features").schema().fields}
    assert id_of["user_id"] not in task.file.lower_bounds
    assert id_of["events"] in task.file.lower_bounds


# Which days are due.


@pytest.mark.nessie
@pytest.mark.gcp
def test_late_events_mark_the_days_that_see_them(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  window: 2d\n  lookback: 4d\n")
    today = date(2024, 1, 6)
    assert made.due(today) == [D2, D3, D4, D5]
    made.compute(D2, D3, D4, D5)
    assert made.due(today) == []
    assert made.due(today + timedelta(days=1)) == [today]
    made.events({"id": 1, "at": at(3), "user_id": "a"})
    assert made.due(today) == [D3, D4]
    made.compute(D3)
    assert made.due(today) == [D4]
    made.events({"id": 2, "at": at(1), "user_id": "a"}, {"id": 3, "at": at(5), "user_id": "a"})
    assert made.due(today) == [D2, D4, D5]
    made.compute(*made.due(today))
    assert made.due(today) == []
    made.events({"id": 4, "at": at(6), "user_id": "a"})  # of today, which is not over
    assert made.due(today) == []
    made.users(("a", "free", at(4), None))  # before this, nothing can have changed
    assert made.due(today) == [D2, D3, D4, D5]  # a table without a time in its partitions does not say which days
    made.compute(*made.due(today))
    made.write("shop.users", [{"user_id": "b", "valid_from": at(3), "is_current": True}], days="2024-01-03")  # as a merge says
    assert made.due(today) == [D3, D4, D5]  # versions have no window


@pytest.mark.parametrize(
    ("added", "today", "expected"),
    [
        ("", D3, [D2]),
        ("  lookback: 25h\n", D3, [D1, D2]),
        ("  lookback: 999999w\n", D4, [D1, D2, D3]),
        ("  lookback: 3d\n", D1, []),
        ("  lookback: 3d\n", date(2023, 1, 1), []),
    ],
)
def test_candidates_are_full_days_that_are_partitions(lakehouse: Lakehouse, added: str, today: date, expected: list[date]) -> None:
    assert shop(lakehouse, added=added).due(today) == expected


@pytest.mark.parametrize(("today", "expected"), [(D3, [D1, D2]), (D4, [D2]), (D5, [])])
def test_there_are_no_days_after_the_last_partition(lakehouse: Lakehouse, today: date, expected: list[date]) -> None:
    (lakehouse.settings.templates / "features.sql").write_text(SEEN_SQL)
    made = shop(lakehouse, added="  lookback: 2d\n")
    path = lakehouse.settings.templates / "features.yaml"
    made.template = lakehouse.template(path.read_text().replace('"2024-01-01"}', '"2024-01-01", end: "2024-01-02"}'))
    assert made.due(today) == expected


def test_what_changes_no_row_marks_no_day(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  lookback: 2d\n")
    made.events({"id": 1, "at": at(1), "user_id": "a"})
    made.compute(D1, D2)
    table = lakehouse.table("shop.events")
    with table.transaction() as transaction:
        transaction.set_properties({"owner": "somebody"})
    made.events()  # a commit without rows
    assert made.due(D3) == []
    compact(lakehouse, "shop.events")
    assert made.due(D3) == []


def compact(lakehouse: Lakehouse, name: str) -> None:
    """Commits what a compaction says of itself; PyIceberg makes none."""
    table = lakehouse.table(name)
    before = table.current_snapshot()
    snapshot = before.model_copy(
        update={
            "snapshot_id": 7,
            "parent_snapshot_id": before.snapshot_id,
            "sequence_number": before.sequence_number + 1,
            "summary": Summary(Operation.REPLACE, **{"added-records": "1", "deleted-records": "1"}),
        }
    )
    reference = SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=7)
    table.catalog.commit_table(table, (), (AddSnapshotUpdate(snapshot=snapshot), reference))
    assert lakehouse.table(name).current_snapshot().summary.operation == Operation.REPLACE


@pytest.mark.parametrize("change", ["append", "delete", "overwrite", "replace"])
def test_what_does_not_say_its_days_marks_them_all(lakehouse: Lakehouse, change: str) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  lookback: 2d\n  window: 1d\n")
    made.events({"id": 1, "at": at(5), "user_id": "a"})
    made.compute(D1, D2)
    table = lakehouse.table("shop.events")
    match change:
        case "append":
            table.append(table.scan().to_arrow())
        case "delete":
            table.delete("id = 1")
        case "overwrite":
            table.overwrite(table.scan().to_arrow())
        case "replace":
            lakehouse.engine.replace("shop.events", [], AlwaysTrue(), Batch("own"))
    assert made.due(D3) == [D1, D2]


def test_what_cannot_be_known_any_more_is_due(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  lookback: 2d\n")
    for number in (1, 2):
        made.events({"id": number, "at": at(5), "user_id": "a"})
    made.compute(D1, D2)
    table = lakehouse.table("shop.events")
    first, _ = table.metadata.snapshots
    table.manage_snapshots().set_current_snapshot(snapshot_id=first.snapshot_id).commit()  # rolled back
    assert made.due(D3) == [D1, D2]
    made.compute(D1, D2)
    made.events({"id": 3, "at": at(5), "user_id": "a"})
    assert made.due(D3) == []
    lakehouse.table("shop.events").maintenance.expire_snapshots().by_id(first.snapshot_id).commit()
    assert made.due(D3) == [D1, D2]
    made.compute(D1, D2)
    lakehouse.table("shop.features").maintenance.expire_snapshots().by_ids(
        [found.snapshot_id for found in lakehouse.table("shop.features").metadata.snapshots[:-1]]
    ).commit()
    assert made.due(D3) == []
    made.compute(D5)
    lakehouse.table("shop.features").maintenance.expire_snapshots().by_ids(
        [found.snapshot_id for found in lakehouse.table("shop.features").metadata.snapshots[:-1]]
    ).commit()
    assert made.due(D3) == [D1, D2]


def test_an_input_that_was_not_one_before(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SEEN_SQL.split("union")[0], inputs="[events]")
    made.compute(D1)
    assert made.due(D2) == []
    more = shop(lakehouse, SEEN_SQL.split("union")[0])
    assert more.due(D2) == [D1]
    more.compute(D1, batch="more")
    assert more.due(D2) == []
    assert shop(lakehouse, SEEN_SQL.split("union")[0], inputs="[events]").due(D2) == []  # one less


@pytest.mark.nessie
def test_features_of_features(lakehouse: Lakehouse) -> None:
    made = shop(lakehouse, SUMS_SQL, SUMS, "  window: 1d\n  lookback: 9d\n")
    (lakehouse.settings.templates / "week.sql").write_text(
        "select $day as day, string_agg(distinct day::varchar, ' ') as row from features"
    )
    text = FEATURES.replace("COLUMNS", SEEN).replace("TRANSFORM", "day").replace("[events, users]", "[features]")
    text = text.replace("name: features", "name: week").replace("features.sql", "week.sql")
    week = lakehouse.template(text + "  window: 2d\n  lookback: 9d\n")
    made.events(*({"id": day, "at": at(day), "user_id": "a"} for day in range(1, 6)))
    made.compute(D1, D2, D3, D4)
    work = ComputeDays(week, (made.template,), (D1, D2, D3, D4))
    lakehouse.engine.compute_days(work, Batch("week"), print)
    found = {row["day"]: sorted(row["row"].split()) for row in lakehouse.rows("shop.week").to_pylist()}
    assert found == {D1: [f"{D1}"], D2: [f"{D1}", f"{D2}"], D3: [f"{D2}", f"{D3}"], D4: [f"{D3}", f"{D4}"]}
    assert due(lakehouse, week, made.template, *made.inputs, today=D5) == []
    made.compute(D2)
    assert due(lakehouse, week, made.template, *made.inputs, today=D5) == [D2, D3]


# Whatever the order in which rows come: after the due days were computed, all are as if computed from scratch.

PLANS = st.sampled_from(["free", "pro", None])  # None: the user is deleted
CHANGE = st.tuples(st.just("user"), st.integers(1, 9), st.sampled_from("ab"), PLANS)
EVENT = st.tuples(st.just("event"), st.integers(1, 9), st.sampled_from("ab"), st.integers(0, 23))
STEP = st.one_of(st.lists(EVENT, min_size=1, max_size=4), st.lists(CHANGE, min_size=1, max_size=2), st.just("compute"))


@given(st.lists(STEP, min_size=2, max_size=6), st.sampled_from([None, 1, 3]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_due_days_computed_again_are_as_if_from_scratch(lakehouse: Lakehouse, steps: list[Any], window: int | None) -> None:
    for table in ("events", "users", "features"):
        if lakehouse.catalog.table_exists(f"shop.{table}"):
            lakehouse.catalog.drop_table(f"shop.{table}")
    added = "  lookback: 9d\n" + (f"  window: {window}d\n" if window else "")
    made = shop(lakehouse, SUMS_SQL, SUMS, added)
    today, events, changes = date(2024, 1, 9), list[Row](), dict[tuple[str, datetime], str | None]()
    for step in [*steps, "compute"]:
        if step == "compute":
            if due := made.due(today):
                made.compute(*due)
            continue
        if step[0][0] == "event":
            new = [
                {"id": len(events) + index, "at": at(day, hour), "user_id": user, "amount": Decimal(day)}
                for index, (_, day, user, hour) in enumerate(step)
            ]
            made.events(*new)
            events += new
        else:
            changes |= {(user, at(day, 6)): plan for _, day, user, plan in step}
            merge(made, changes, format_days(date(2024, 1, day) for _, day, _, _ in step))
    days = [date(2024, 1, day) for day in range(1, 9)]
    assert made.due(today) == []
    assert made.rows() == sorted(
        (row for day in days for row in from_scratch(events, changes, day, window)), key=lambda row: tuple(map(str, row.values()))
    )


def merge(made: Shop, changes: dict[tuple[str, datetime], str | None], days: str) -> None:
    """Writes all versions anew, as a merge would leave them."""
    rows: list[Row] = []
    for (user, moment), plan in sorted(changes.items()):
        if rows and rows[-1]["user_id"] == user and rows[-1]["valid_to"] is None:
            rows[-1] |= {"valid_to": moment, "is_current": False}
        if plan is not None:
            rows.append({"user_id": user, "plan": plan, "valid_from": moment, "valid_to": None, "is_current": True})
    made.runs += 1
    batch = pa.RecordBatch.from_pylist(rows, made.inputs[1].arrow_schema)
    made.lakehouse.engine.replace("shop.users", [batch], AlwaysTrue(), Batch(f"merge-{made.runs}", days=days))


def from_scratch(events: list[Row], changes: dict[tuple[str, datetime], str | None], day: date, window: int | None) -> list[Row]:
    end = at(day) + timedelta(days=1)
    start = end - timedelta(days=window or 999)
    seen = [event for event in events if start <= event["at"] < end]
    plans = {user: plan for (user, moment), plan in sorted(changes.items()) if moment < end}
    return [
        {
            "user_id": user,
            "day": day,
            "events": sum(event["user_id"] == user for event in seen),
            "amount": sum((event["amount"] for event in seen if event["user_id"] == user), Decimal(0)),
            "plan": plans.get(user),
        }
        for user in sorted({event["user_id"] for event in seen})
    ]
