"""The files that the writer makes: sorted, partitioned, of the target size, with the right metrics; and replacing rows."""

from __future__ import annotations

import math
import random
import re
import tempfile
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThanOrEqual, IsNull, LessThan, NotEqualTo
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse import partition_rows
from lakehouse.commit import Batch
from lakehouse.conform import Conformer, Rows
from lakehouse.engines import WriteResult
from lakehouse.engines import rows as engine_rows
from lakehouse.errors import BadRowsError, CommitConflictError, TableMismatchError
from lakehouse.read import field_ids
from lakehouse.write import DataFileWriter, arrow_schema

if TYPE_CHECKING:
    from conftest import Lakehouse

MIB = 1024 * 1024


def make(lakehouse: Lakehouse, columns: str, extra: str = "") -> Table:
    """A table ``lake.t``; ``columns`` is ``name: type`` pairs, one a line."""
    names = [line.strip().split(": ", 1) for line in columns.strip().splitlines()]
    listed = "\n".join(f"  - {{name: '{name}', type: '{type_}'}}" for name, type_ in names)
    lakehouse.template(f"name: t\nnamespace: lake\ncolumns:\n{listed}\n{textwrap.dedent(extra)}")
    return lakehouse.table("lake.t")


def append(lakehouse: Lakehouse, rows: pa.Table | list[dict[str, Any]], batch: str = "") -> WriteResult:
    if isinstance(rows, list):
        rows = pa.Table.from_pylist(rows, arrow_schema(lakehouse.table("lake.t")))
    return lakehouse.engine.append("lake.t", rows.to_batches(max_chunksize=1000), Batch(batch or str(uuid.uuid4())))


def replace(lakehouse: Lakehouse, rows: list[dict[str, Any]], row_filter: BooleanExpression, batch: str = "") -> WriteResult:
    found = pa.Table.from_pylist(rows, arrow_schema(lakehouse.table("lake.t")))
    return lakehouse.engine.replace("lake.t", found.to_batches(), row_filter, Batch(batch or str(uuid.uuid4()), run_id=batch))


def live_files(lakehouse: Lakehouse) -> list[DataFile]:
    return [task.file for task in lakehouse.table("lake.t").scan().plan_files()]


def local(file: DataFile) -> str:
    return file.file_path.removeprefix("file://")


def stored(file: DataFile) -> list[dict[str, Any]]:
    return pq.read_table(local(file), partitioning=None).to_pylist()


def on_disk(lakehouse: Lakehouse) -> list[str]:
    return sorted(str(path) for path in Path(lakehouse.settings.warehouse, "lake", "t", "data").rglob("*") if path.is_file())


def order_key(value: Any, descending: bool, nulls_first: bool) -> tuple[Any, ...]:
    if value is None:
        return (0 if nulls_first else 2, 0, 0)
    nan = isinstance(value, float) and math.isnan(value)
    rank = 0 if nan else value
    return (1, -int(nan) if descending else int(nan), -rank if descending else rank)


@pytest.mark.parametrize(
    "first", ["asc, null_order: nulls_first", "asc, null_order: nulls_last", "desc, null_order: nulls_first", "desc", "asc"]
)
@pytest.mark.parametrize("second", ["asc, null_order: nulls_last", "desc, null_order: nulls_first"])
def test_files_are_sorted(lakehouse: Lakehouse, first: str, second: str) -> None:
    order = f"sort_order: [{{column: ratio, direction: {first}}}, {{column: number, direction: {second}}}]"
    table = make(lakehouse, "ratio: double\nnumber: int\nposition: int", order)
    ratios, numbers = [1.5, -0.5, math.nan, None, math.inf, -math.inf, 0.0], [None, 3, 1, 2]
    rows = [{"ratio": random.choice(ratios), "number": random.choice(numbers), "position": n} for n in range(500)]
    append(lakehouse, rows)

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        keys = []
        for name, text in (("ratio", first), ("number", second)):
            descending = text.startswith("desc")
            keys.append(order_key(row[name], descending, "nulls_first" in text or ("null" not in text and not descending)))
        return (*keys, row["position"])  # stable

    [file] = live_files(lakehouse)
    assert [row["position"] for row in stored(file)] == [row["position"] for row in sorted(rows, key=key)]
    assert file.sort_order_id == table.sort_order().order_id == 1


SORTABLE: dict[str, list[Any]] = {
    "uuid": [uuid.UUID(int=3), None, uuid.UUID(int=1), uuid.UUID(int=2)],
    "fixed[2]": [b"b\xff", b"a\x00", None],
    "binary": [b"b", b"", None, b"a\xff"],
    "boolean": [True, None, False],
    "decimal(30,2)": [Decimal("2.00"), None, Decimal("-1.50")],
    "time": [time(2), None, time(1)],
    "timestamptz": [datetime(2024, 1, 2, tzinfo=UTC), None, datetime(1960, 1, 1, tzinfo=UTC)],
    "string": ["b", None, "", "é", "𝄞"],
}


def column(type_: str, values: list[Any]) -> pa.Array:
    stored_type = arrow_type_of(type_)
    if isinstance(stored_type, pa.UuidType):
        return pa.array([value.bytes if value else None for value in values], pa.binary(16)).cast(stored_type)
    return pa.array(values, stored_type)


def arrow_type_of(type_: str) -> pa.DataType:
    from lakehouse.arrow_types import arrow_type
    from lakehouse.types import parse_type

    return arrow_type(parse_type(type_))


@pytest.mark.parametrize("type_", SORTABLE)
def test_every_primitive_type_sorts_and_has_bounds(lakehouse: Lakehouse, type_: str) -> None:
    make(lakehouse, f"v: {type_}\nn: int", "sort_order: [{column: v}]")
    values = SORTABLE[type_]
    append(lakehouse, pa.table({"v": column(type_, values), "n": list(range(len(values)))}))
    [file] = live_files(lakehouse)
    wanted = sorted((value for value in values if value is not None), key=lambda value: value.encode() if isinstance(value, str) else value)
    assert [row["v"] for row in stored(file)] == [None, *wanted]
    field = lakehouse.table("lake.t").schema().find_field("v")
    assert file.null_value_counts[field.field_id] == 1
    assert file.value_counts[field.field_id] == len(values)
    assert file.lower_bounds
    assert file.upper_bounds
    lower = from_bytes(field.field_type, file.lower_bounds[field.field_id])  # type: ignore[arg-type]
    upper = from_bytes(field.field_type, file.upper_bounds[field.field_id])  # type: ignore[arg-type]
    found = lakehouse.table("lake.t").scan(row_filter=EqualTo("v", wanted[-1].bytes if type_ == "uuid" else wanted[-1]))
    assert len(list(found.plan_files())) == 1
    assert type_ == "uuid" or found.to_arrow().num_rows == 1  # PyIceberg 0.11 has no filter on uuids
    assert (lower, upper) == (_literal(type_, wanted[0]), _literal(type_, wanted[-1]))


def _literal(type_: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return round((value - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    if isinstance(value, uuid.UUID):
        return value.bytes
    return value.hour * 3_600_000_000 if isinstance(value, time) else value


DAY0 = datetime(1970, 1, 1, tzinfo=UTC)
STAMPS = [datetime(1969, 12, 31, 23, 59, tzinfo=UTC), None, datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2024, 2, 29, 13, tzinfo=UTC)]
PARTITIONS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("string", "identity", ["a/b c", "=%", "é", None, ""], ["a/b c", "=%", "é", None, ""]),
    ("string", "truncate[2]", ["abc", "abd", "é𝄞x", None], ["ab", "ab", "é𝄞", None]),
    ("int", "truncate[10]", [-1, 9, 10, None], [-10, 0, 10, None]),
    ("decimal(9,2)", "truncate[50]", [Decimal("10.65"), Decimal("-0.01")], [Decimal("10.50"), Decimal("-0.50")]),
    ("date", "identity", [date(2024, 1, 2), date(1969, 12, 31), None], [19724, -1, None]),
    ("date", "month", [date(2024, 1, 2), date(1969, 12, 31), None], [648, -1, None]),
    ("date", "day", [date(2024, 1, 2), date(1969, 12, 31)], [19724, -1]),
    ("timestamptz", "year", STAMPS, [-1, None, 54, 54]),
    ("timestamptz", "month", STAMPS, [-1, None, 649, 649]),
    ("timestamptz", "day", STAMPS, [-1, None, 19782, 19782]),
    ("timestamptz", "hour", STAMPS, [-1, None, 474780, 474781]),
    ("timestamptz", "identity", STAMPS[:2], [-60_000_000, None]),
    ("uuid", "identity", SORTABLE["uuid"], SORTABLE["uuid"]),
    ("boolean", "identity", [True, False, None], [True, False, None]),
    ("decimal(9,2)", "identity", [Decimal("1.50"), None], [Decimal("1.50"), None]),
    # Known values: https://iceberg.apache.org/spec/#appendix-b-32-bit-hash-requirements
    ("int", "bucket[1000]", [34, None], [(2017239379 & 0x7FFFFFFF) % 1000, None]),
    ("string", "bucket[1000]", ["iceberg"], [(1210000089 & 0x7FFFFFFF) % 1000]),
    ("date", "bucket[1000]", [date(2017, 11, 16)], [(-653330422 & 0x7FFFFFFF) % 1000]),
    ("uuid", "bucket[1000]", [uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7")], [(1488055340 & 0x7FFFFFFF) % 1000]),
]


@pytest.mark.parametrize(
    ("type_", "transform", "values", "expected"), PARTITIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_partition_values(lakehouse: Lakehouse, type_: str, transform: str, values: list[Any], expected: list[Any]) -> None:
    make(lakehouse, f"v: {type_}\nn: int", f"partition_spec: [{{column: v, transform: '{transform}'}}]")
    append(lakehouse, pa.table({"v": column(type_, values * 3), "n": list(range(len(values))) * 3}))
    found = {row["n"]: file.partition[0] for file in live_files(lakehouse) for row in stored(file)}
    assert found == dict(enumerate(expected))
    assert len(live_files(lakehouse)) == len(set(expected))
    assert lakehouse.rows("lake.t").num_rows == 3 * len(values)


def test_several_transforms_of_one_column(lakehouse: Lakehouse) -> None:
    spec = "partition_spec: [{column: at, transform: day}, {column: at, transform: hour}, {column: kind}]"
    make(lakehouse, "at: timestamptz\nkind: string", spec)
    append(lakehouse, [{"at": stamp, "kind": kind} for stamp in STAMPS for kind in ("a", None)])
    found = {tuple(file.partition[index] for index in range(3)) for file in live_files(lakehouse)}
    assert found == {(d, h, k) for d, h in ((-1, -1), (None, None), (19782, 474780), (19782, 474781)) for k in ("a", None)}
    assert lakehouse.table("lake.t").scan(row_filter=EqualTo("kind", "a")).to_arrow().num_rows == 4


def noise(rows: int, seed: int = 1, **columns: Any) -> pa.Table:
    """Rows of about 116 bytes that do not compress."""
    source = random.Random(seed)
    return pa.table({"text": [source.randbytes(50).hex() for _ in range(rows)], **columns})


def test_files_reach_the_target_size(lakehouse: Lakehouse) -> None:
    make(lakehouse, "text: string\nn: long", f"properties: {{write.target-file-size-bytes: {MIB}}}\nsort_order: [{{column: 'n'}}]")
    append(lakehouse, noise(120_000, n=list(range(120_000))))
    sizes = sorted(file.file_size_in_bytes for file in live_files(lakehouse))
    assert 4 <= len(sizes) <= 12
    assert all(MIB / 2 < size < 1.5 * MIB for size in sizes[2:])
    assert sum(file.record_count for file in live_files(lakehouse)) == 120_000


def test_a_batch_larger_than_a_file_becomes_several(lakehouse: Lakehouse) -> None:
    make(lakehouse, "text: string\nn: long", f"properties: {{write.target-file-size-bytes: {MIB}}}")
    rows = noise(120_000, n=list(range(120_000)))
    lakehouse.engine.append("lake.t", rows.cast(arrow_schema(lakehouse.table("lake.t"))).combine_chunks().to_batches(), Batch("one"))
    assert 4 <= len(live_files(lakehouse)) <= 14
    assert sorted(lakehouse.rows("lake.t")["n"].to_pylist()) == list(range(120_000))


@pytest.mark.parametrize("shuffled", [True, False])
def test_many_partitions_in_little_memory(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, shuffled: bool) -> None:
    table = make(lakehouse, "text: string\nn: long\nkind: int", "partition_spec: [{column: kind}]\nsort_order: [{column: 'n'}]")
    spills: list[Path] = []
    spill = partition_rows.PartitionRows.spill
    monkeypatch.setattr(partition_rows.PartitionRows, "spill", lambda self, path: (spills.append(path), spill(self, path))[1])
    rows, memory, highest = 40_000, 2 * MIB, 0
    kinds = [n * 7919 % 20 if shuffled else n // 2000 for n in range(rows)]
    batches = noise(rows, n=list(range(rows, 0, -1)), kind=kinds).cast(arrow_schema(table)).to_batches(max_chunksize=1000)
    with DataFileWriter(table, memory) as writer:
        for batch in batches:
            writer.write(batch)
            highest = max(highest, sum(found.memory for found in writer._collections.values()))
        files = writer.finish()
        folder = Path(writer._spill.name)
        assert folder.exists()
        assert not list(folder.iterdir())
    assert not folder.exists()
    assert bool(spills) == shuffled
    assert highest <= memory // 2
    assert len(files) == 20
    assert sum(file.record_count for file in files) == rows
    for file in files:
        numbers = pq.read_table(local(file), columns=["n"], partitioning=None)["n"].to_pylist()
        assert len(numbers) == 2000
        assert numbers == sorted(numbers)


def test_metrics_are_for_public_columns_only(lakehouse: Lakehouse) -> None:
    lakehouse.template("""\
        name: t
        namespace: lake
        columns:
          - {name: id, type: long}
          - {name: email, type: string, pii: true}
          - {name: salary, type: 'decimal(9,2)', access_level: restricted}
          - {name: place, type: 'struct<street: string, geo: list<double>>', pii: true}
          - {name: tags, type: 'map<string, string>'}
          - {name: note, type: string, access_level: internal}
    """)
    append(lakehouse, [
        {"id": 7, "email": "SECRET", "salary": Decimal("1.00"), "place": {"street": "SECRET", "geo": [1.0]},
         "tags": [("k", "v")], "note": "open"}
    ])  # fmt: skip
    [file] = live_files(lakehouse)
    schema = lakehouse.table("lake.t").schema()
    bounded = {schema.find_column_name(id_) for id_ in file.lower_bounds or {}}
    assert {"id", "note"} <= bounded <= {"id", "note", "tags.key", "tags.value"}
    assert {schema.find_column_name(id_) for id_ in file.upper_bounds or {}} == bounded
    footer = pq.read_metadata(local(file)).row_group(0)
    columns = [footer.column(index) for index in range(footer.num_columns)]
    assert {part.path_in_schema.split(".")[0] for part in columns if part.is_stats_set} == {"id", "tags", "note"}


def test_files_carry_field_ids_and_are_plain_parquet(lakehouse: Lakehouse) -> None:
    table = make(
        lakehouse,
        "a: int\nb: list<struct<c: string, d: map<string, date>>>\ne: timestamptz",
        "partition_spec: [{column: e, transform: day}]",
    )
    append(lakehouse, [{"a": n, "b": [{"c": "x", "d": []}], "e": DAY0 + timedelta(days=n)} for n in range(3)])
    for file in live_files(lakehouse):
        found = pq.ParquetFile(local(file)).schema_arrow
        assert found.equals(arrow_schema(table))
        assert [*map(field_ids, found)] == [*map(field_ids, arrow_schema(table))]
        assert sorted(map(int, re.findall(r"\d+", str([*map(field_ids, found)])))) == list(range(1, 9))
        assert file.column_sizes
        assert file.file_size_in_bytes == Path(local(file)).stat().st_size
        assert file.split_offsets
    plain = pq.read_table([local(file) for file in live_files(lakehouse)], partitioning=None)
    assert sorted(plain["a"].to_pylist()) == [0, 1, 2]
    some = And(GreaterThanOrEqual("e", "1970-01-02T00:00:00+00:00"), LessThan("a", 2))
    assert lakehouse.table("lake.t").scan(row_filter=some).to_arrow()["a"].to_pylist() == [1]


class BrokenError(Exception):
    """What a store answers at a bad moment."""


@pytest.mark.parametrize("when", ["open", "close", "second file"])
def test_a_failing_store_leaves_nothing(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    make(lakehouse, "n: int", "partition_spec: [{column: 'n'}]")
    new_output, lock, count = PyArrowFileIO.new_output, threading.Lock(), [0]

    def breaking(self: Any, location: str) -> Any:
        output = new_output(self, location)
        if not location.endswith(".parquet"):
            return output
        with lock:
            count[0] += 1
        if when == "open" or (when == "second file" and count[0] > 2):
            raise BrokenError
        if when == "close":
            monkeypatch.setattr(type(output), "__len__", lambda self: (_ for _ in ()).throw(BrokenError()))
        return output

    monkeypatch.setattr(PyArrowFileIO, "new_output", breaking)
    temporary = Path(tempfile.mkdtemp(dir=lakehouse.landing))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(BrokenError):
        append(lakehouse, [{"n": n} for n in range(6)])
    assert not on_disk(lakehouse)
    assert lakehouse.table("lake.t").current_snapshot() is None
    assert not list(temporary.iterdir())
    assert not [found for found in threading.enumerate() if found.name.startswith("encoder")]


def test_an_append_is_idempotent_by_its_batch_id(lakehouse: Lakehouse) -> None:
    make(lakehouse, "n: int")
    first = append(lakehouse, [{"n": 1}, {"n": 2}], "b1")
    assert append(lakehouse, [{"n": 1}, {"n": 2}], "b1") == first
    assert first.rows == 2
    append(lakehouse, [{"n": 1}], "b2")
    assert sorted(lakehouse.rows("lake.t")["n"].to_pylist()) == [1, 1, 2]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (pa.table({"n": [1, 2**40, 3]}), BadRowsError, "1 rows do not fit lake.t(.|\n)*row 2, column n: not an int"),
        (pa.table({"n": [1.5]}), TableMismatchError, "no cast that loses nothing"),
        (pa.table({"n": [1], "x": [1]}), TableMismatchError, "lake.t has no column x"),
        (pa.table({"x": [1]}), TableMismatchError, "none of the table's columns"),
    ],
)
def test_rows_that_do_not_fit_are_refused(lakehouse: Lakehouse, rows: pa.Table, error: type[Exception], message: str) -> None:
    make(lakehouse, "n: int\ntext: string")
    with pytest.raises(error, match=message):
        append(lakehouse, rows)
    assert not on_disk(lakehouse)
    assert lakehouse.table("lake.t").current_snapshot() is None


def days(*numbers: int, tag: str = "old") -> list[dict[str, Any]]:
    return [{"day": date(2024, 1, number), "tag": tag, "n": index, "items": None} for number in numbers for index in range(3)]


DAYS = "day: date\ntag: string\nn: int\nitems: list<struct<a: int>>"
BY_DAY = "partition_spec: [{column: day}]"


def on(day: int) -> BooleanExpression:
    return EqualTo("day", f"2024-01-0{day}")


def test_whole_partitions_are_replaced_by_metadata(lakehouse: Lakehouse) -> None:
    make(lakehouse, DAYS, BY_DAY)
    append(lakehouse, [*days(1, 2, 3), {"day": None, "tag": "none"}])
    before = {file.file_path for file in live_files(lakehouse)}
    old = {file.file_path for file in live_files(lakehouse) if file.partition[0] == (date(2024, 1, 2) - date(1970, 1, 1)).days}
    result = replace(lakehouse, days(2, tag="new")[:2], on(2), "r1")
    assert replace(lakehouse, days(2, tag="new")[:2], on(2), "r1").snapshot_id == result.snapshot_id
    after = {file.file_path for file in live_files(lakehouse)}
    assert before - after == old
    assert len(after - before) == 1
    assert len(lakehouse.table("lake.t").metadata.snapshots) == 2
    rows = lakehouse.rows("lake.t").to_pylist()
    assert sorted((str(row["day"]), row["tag"]) for row in rows) == sorted(
        [("2024-01-01", "old")] * 3 + [("2024-01-03", "old")] * 3 + [("2024-01-02", "new")] * 2 + [("None", "none")]
    )
    assert len(on_disk(lakehouse)) == len(before) + 1


@pytest.mark.parametrize("layout", ["", BY_DAY])
@pytest.mark.parametrize("evolved", [False, True])
def test_rows_beside_the_replaced_ones_stay(lakehouse: Lakehouse, layout: str, evolved: bool) -> None:
    make(lakehouse, DAYS, layout)
    rows = [
        {"day": date(2024, 1, 1), "tag": tag, "n": n, "items": items}
        for n, (tag, items) in enumerate([("a", None), ("b", []), (None, [{"a": 1}]), ("a", [{"a": None}]), ("c", [None])])
    ]
    append(lakehouse, rows)
    append(lakehouse, [{**rows[0], "n": 9}, {**rows[1], "n": 10}])
    append(lakehouse, [{**rows[1], "n": 11}])
    if evolved:
        from pyiceberg.types import LongType

        with lakehouse.table("lake.t").update_schema() as update:
            update.update_column("n", LongType()).rename_column("n", "number").add_column("extra", LongType())
        rows = [{"number" if key == "n" else key: value for key, value in row.items()} for row in rows]
    name = "number" if evolved else "n"
    new = {**rows[0], name: 100}
    result = replace(lakehouse, [new], EqualTo("tag", "a"))
    assert result.rows == 1
    found = {row[name]: row for file in live_files(lakehouse) for row in stored(file) if row.get(name) is not None} | {
        row[name]: row for row in lakehouse.rows("lake.t").to_pylist() if evolved
    }
    assert sorted(found) == [1, 2, 4, 10, 11, 100]
    assert [found[n]["tag"] for n in (1, 2, 4, 100)] == ["b", None, "c", "a"]
    assert found[2]["items"] == [{"a": 1}]
    assert found[4]["items"] == [None]
    assert found[1]["items"] == []
    if not evolved:
        assert found[100]["items"] is None
    total = lakehouse.table("lake.t").current_snapshot()
    assert total is not None
    assert total.summary is not None
    assert total.summary.additional_properties["total-records"] == "6"


@pytest.mark.parametrize(
    ("row_filter", "left"),
    [
        (NotEqualTo("tag", "a"), ["a", None]),
        (IsNull("tag"), ["a", "b"]),
        (And(EqualTo("tag", "a"), LessThan("n", 5)), ["b", None]),
        (AlwaysTrue(), []),
    ],
)
def test_filters_and_nulls(lakehouse: Lakehouse, row_filter: BooleanExpression, left: list[str | None]) -> None:
    make(lakehouse, "tag: string\nn: int")
    append(lakehouse, [{"tag": tag, "n": n} for n, tag in enumerate(["a", "b", None])])
    matched = lakehouse.table("lake.t").scan(row_filter=row_filter).to_arrow().num_rows
    replace(lakehouse, [], row_filter)
    found = sorted(lakehouse.rows("lake.t")["tag"].to_pylist(), key=str)
    assert len(found) == 3 - matched
    assert found == sorted(left, key=str)


def test_a_rewrite_keeps_null_lists_of_structs(lakehouse: Lakehouse) -> None:
    make(lakehouse, DAYS)
    append(lakehouse, days(1, 2))
    replace(lakehouse, days(1, tag="new"), on(1))
    assert [row["items"] for file in live_files(lakehouse) for row in stored(file)] == [None] * 6


def test_rows_outside_the_filter_are_refused(lakehouse: Lakehouse) -> None:
    make(lakehouse, DAYS, BY_DAY)
    append(lakehouse, days(1, 2))
    files = on_disk(lakehouse)
    for rows in (days(2, 3), [*days(2), {"day": None, "tag": "x"}]):
        with pytest.raises(BadRowsError, match=r"rows do not fit lake.t(.|\n)*outside the partition"):
            replace(lakehouse, rows, on(2))
    assert on_disk(lakehouse) == files
    assert len(lakehouse.table("lake.t").metadata.snapshots) == 1


def meanwhile(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Runs ``action`` once, after the next run's files are written and before its commit."""
    finish = DataFileWriter.finish

    def finishing(self: DataFileWriter) -> list[DataFile]:
        monkeypatch.setattr(DataFileWriter, "finish", finish)
        files = finish(self)
        action()
        return files

    monkeypatch.setattr(DataFileWriter, "finish", finishing)


def test_a_replaced_partition_that_another_run_changed_is_a_conflict(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lakehouse, DAYS, BY_DAY)
    append(lakehouse, days(1, 2))

    def others() -> None:
        replace(lakehouse, days(2, tag="winner"), on(2), "the-winner")
        replace(lakehouse, days(1, tag="later"), on(1), "a-later-one")

    meanwhile(lakehouse, monkeypatch, others)
    with pytest.raises(CommitConflictError, match=r"run the-winner changed rows of lake.t"):
        replace(lakehouse, days(2, tag="loser"), on(2), "the-loser")
    assert set(lakehouse.rows("lake.t")["tag"].to_pylist()) == {"winner", "later"}
    assert len(on_disk(lakehouse)) == 4


def test_other_partitions_are_no_conflict(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lakehouse, DAYS, BY_DAY)
    append(lakehouse, days(1, 2))

    def others() -> None:
        replace(lakehouse, days(1, tag="theirs"), on(1))
        append(lakehouse, days(3))

    meanwhile(lakehouse, monkeypatch, others)
    replace(lakehouse, days(2, tag="mine"), on(2))
    rows = lakehouse.rows("lake.t").to_pylist()
    assert {(row["day"].day, row["tag"]) for row in rows} == {(1, "theirs"), (2, "mine"), (3, "old")}
    assert len(rows) == 9


def test_an_iterator_is_read_once_and_lazily(lakehouse: Lakehouse) -> None:
    table, seen = make(lakehouse, "n: int"), list[int]()

    def batches() -> Iterator[pa.RecordBatch]:
        for n in range(5):
            seen.append(n)
            yield pa.RecordBatch.from_pylist([{"n": n}], arrow_schema(table))

    assert lakehouse.engine.append("lake.t", batches(), Batch("x")).rows == 5
    assert seen == list(range(5))


def test_a_table_in_one_batch_is_made_to_fit_in_parts(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    make(lakehouse, "id: int\nitems: list<int>")
    monkeypatch.setattr(engine_rows, "_SLICE", 4096)
    rows: dict[str, Any] = {"id": pa.array(range(5000), pa.int64()), "items": pa.array([[n] for n in range(5000)], pa.list_(pa.int64()))}
    sizes: list[int] = []
    conform = Conformer.conform

    def conforming(self: Conformer, rows: Rows) -> Rows:
        sizes.append(rows.batch.num_rows)
        return conform(self, rows)

    monkeypatch.setattr(Conformer, "conform", conforming)
    lakehouse.engine.append("lake.t", [pa.RecordBatch.from_pydict(rows)], Batch("a"))
    assert sum(sizes) == 5000
    assert len(sizes) > 10
    assert lakehouse.rows("lake.t").sort_by("id").to_pylist() == [{"id": n, "items": [n]} for n in range(5000)]
    rows["id"] = pa.array([2**40] * 5000)
    with pytest.raises(BadRowsError, match=r"5,000 rows do not fit lake.t(.|\n)*row 3, column id: not an int") as error:
        lakehouse.engine.append("lake.t", [pa.RecordBatch.from_pydict(rows)], Batch("b"))
    assert len(error.value.examples) == 3
