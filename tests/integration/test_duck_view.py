"""What DuckDB sees of a snapshot is what PyIceberg reads of it, however the table came to be what it is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_server import AwsServer
from pyiceberg import types as ice
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestWriterV2
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.update import snapshot as snapshot_module
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record

from lakehouse.arrow_types import arrow_schema_of
from lakehouse.duck_view import write_view
from lakehouse.types import parse_type

if TYPE_CHECKING:
    from conftest import Lakehouse

MILLION = 1_000_000
MEMORY = 256 * 1024 * 1024
Rows = list[dict[str, Any]]
EVERY_TYPE: dict[str, Any] = {
    "boolean": True,
    "int": 7,
    "long": 2**40,
    "float": 0.5,
    "double": 0.25,
    "decimal(9,2)": Decimal("-1.50"),
    "decimal(38,0)": Decimal(10**37),
    "date": date(1969, 12, 31),
    "time": time(12, 30, 1, 5),
    "timestamp": datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
    "timestamptz": datetime(2024, 7, 1, 23, 59, tzinfo=UTC),
    "string": "ä 'quoted'",
    "uuid": uuid.UUID(int=2**127 + 5),
    "binary": b"\x00\xff",
    "fixed[16]": b"0123456789abcdef",
    "list<int>": [1, None],
    "map<string, list<int>>": [("k", [2])],
    "struct<a: int, b: struct<c: string, d: timestamptz>>": {"a": 1, "b": {"c": "x", "d": datetime(2024, 1, 1, tzinfo=UTC)}},
}
DUCKDB_TYPES = [
    "BOOLEAN",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(9,2)",
    "DECIMAL(38,0)",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "VARCHAR",
    "UUID",
    "BLOB",
    "BLOB",
    "INTEGER[]",
    "MAP(VARCHAR, INTEGER[])",
    "STRUCT(a INTEGER, b STRUCT(c VARCHAR, d TIMESTAMP WITH TIME ZONE))",
]


def make_table(lakehouse: Lakehouse, columns: dict[str, str], partition: str | None = None) -> Table:
    """A table of a key ``n`` and these columns, by name their types."""
    catalog = lakehouse.catalog
    catalog.create_namespace_if_not_exists("lake")
    fields = [ice.NestedField(index, name, parse_type(type_)) for index, (name, type_) in enumerate({"n": "long", **columns}.items(), 1)]
    schema = Schema(*fields)
    spec = PartitionSpec()
    if partition:
        spec = PartitionSpec(PartitionField(schema.find_field(partition).field_id, 1000, IdentityTransform(), partition))
    return catalog.create_table("lake.facts", schema, partition_spec=spec, properties={"format-version": "2"})


def append(table: Table, rows: Rows, **options: Any) -> None:
    table.append(pa.Table.from_pylist(rows, schema=arrow_schema_of(table.schema())), **options)


def seen(path: Path, table: Table, **options: Any) -> Rows:
    """The view's rows, as a process finds them that opens the file read-only."""
    write_view(path, table, "order", memory=MEMORY, **options)
    with duckdb.connect(path, read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return by_key(connection.execute('select * from "order"').to_arrow_table())


def by_key(rows: pa.Table) -> Rows:
    """Rows in the order of the key, a uuid as text, as DuckDB gives it to Arrow."""
    found = [{name: str(value) if isinstance(value, uuid.UUID) else value for name, value in row.items()} for row in rows.to_pylist()]
    return sorted(found, key=lambda row: repr(row.get("n")))


def read(table: Table, snapshot_id: int | None = None) -> Rows:
    return by_key(table.scan(snapshot_id=snapshot_id).to_arrow())


def columns_of(path: Path) -> dict[str, str]:
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.execute("select column_name, data_type from information_schema.columns where table_name = 'order'").fetchall()
        return dict(found)


def is_copied(path: Path) -> bool:
    """Whether the DuckDB file has rows in it."""
    with duckdb.connect(path, read_only=True) as connection:
        return any(connection.execute("select estimated_size from duckdb_tables()").fetchall())


def test_every_type_is_what_iceberg_says(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {f"c{index}": type_ for index, type_ in enumerate(EVERY_TYPE)})
    values = {f"c{index}": value for index, value in enumerate(EVERY_TYPE.values())}
    append(table, [{"n": 1, **values}, {"n": 2, **dict.fromkeys(values)}])
    assert seen(tmp_path / "a.duckdb", table) == read(table) != []
    assert not is_copied(tmp_path / "a.duckdb")
    assert [*columns_of(tmp_path / "a.duckdb").values()] == ["BIGINT", *DUCKDB_TYPES]


def test_the_types_are_the_same_where_rows_are_copied(lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(lakehouse, {f"c{index}": type_ for index, type_ in enumerate(EVERY_TYPE)})
    append(table, [{"n": 1, **{f"c{index}": value for index, value in enumerate(EVERY_TYPE.values())}}, {"n": 2}])
    write_view(tmp_path / "in_place.duckdb", table, "order", memory=MEMORY)
    delete(table, [0], monkeypatch)
    append(table, [{"n": 3, **{f"c{index}": value for index, value in enumerate(EVERY_TYPE.values())}}])
    assert seen(tmp_path / "copied.duckdb", table) == read(table)
    assert is_copied(tmp_path / "copied.duckdb")
    assert columns_of(tmp_path / "copied.duckdb") == columns_of(tmp_path / "in_place.duckdb")


def rename(table: Table) -> None:
    with table.update_schema() as update:
        update.rename_column("a", "z").rename_column("b", "a")


def add(table: Table) -> None:
    with table.update_schema() as update:
        update.add_column("added", ice.StringType())


def widen(table: Table) -> None:
    with table.update_schema() as update:
        update.update_column("a", ice.LongType()).update_column("d", ice.DecimalType(18, 2)).update_column("f", ice.DoubleType())


def drop_and_add_again(table: Table) -> None:
    with table.update_schema() as update:
        update.delete_column("a")
    with table.update_schema() as update:
        update.add_column("a", ice.StringType())


def reorder(table: Table) -> None:
    with table.update_schema() as update:
        update.move_first("b").move_after("n", "f")


def rename_within(table: Table) -> None:
    with table.update_schema() as update:
        update.rename_column(("s", "x"), "z").rename_column(("s", "y"), "x")


def add_within(table: Table) -> None:
    with table.update_schema() as update:
        update.add_column(("s", "added"), ice.IntegerType())


@pytest.mark.parametrize(
    ("evolve", "copied"),
    [
        (rename, False),
        (add, False),
        (widen, False),
        (drop_and_add_again, False),
        (reorder, False),
        (rename_within, True),
        (add_within, True),
    ],
)
def test_columns_are_found_by_what_they_are_now(
    lakehouse: Lakehouse, tmp_path: Path, evolve: Callable[[Table], None], *, copied: bool
) -> None:
    columns = {"a": "int", "b": "int", "d": "decimal(9,2)", "f": "float", "s": "struct<x: int, y: int>"}
    table = make_table(lakehouse, columns)
    first = {"n": 1, "a": 10, "b": 20, "d": Decimal("1.25"), "f": 0.5, "s": {"x": 1, "y": 2}}
    append(table, [first, {"n": 2, "a": 11}])
    evolve(table)
    assert seen(tmp_path / "old.duckdb", table) == read(table)
    assert is_copied(tmp_path / "old.duckdb") is copied
    append(table, [{"n": 3, "b": 21, "d": Decimal("2.50"), "f": 1.5}])
    assert seen(tmp_path / "both.duckdb", table) == read(table)
    assert len(read(table)) == 3


def test_a_chosen_column_is_read_in_place_though_another_could_not_be(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int", "b": "string", "s": "struct<x: int, y: int>"})
    append(table, [{"n": 1, "a": 10, "b": "x", "s": {"x": 1, "y": 2}}])
    rename_within(table)
    assert seen(tmp_path / "a.duckdb", table, columns=["b", "n"]) == [{"n": 1, "b": "x"}]
    assert [*columns_of(tmp_path / "a.duckdb")] == ["n", "b"]
    assert not is_copied(tmp_path / "a.duckdb")


def test_a_column_without_data_has_its_type_and_is_not_read(lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(lakehouse, {f"c{index}": type_ for index, type_ in enumerate(EVERY_TYPE)})
    rows = [{"n": number, **{f"c{index}": value for index, value in enumerate(EVERY_TYPE.values())}} for number in (1, 2)]
    append(table, rows)
    unread = [f"c{index}" for index in range(len(EVERY_TYPE))]
    nulls = [{"n": 1, **dict.fromkeys(unread)}, {"n": 2, **dict.fromkeys(unread)}]
    assert seen(tmp_path / "in_place.duckdb", table, columns=["n"], without_data=unread) == nulls
    delete(table, [0], monkeypatch)
    assert seen(tmp_path / "copied.duckdb", table, columns=["n"], without_data=unread) == nulls[1:]
    for path in (tmp_path / "in_place.duckdb", tmp_path / "copied.duckdb"):
        assert [*columns_of(path).items()] == [*zip(["n", *unread], ["BIGINT", *DUCKDB_TYPES], strict=True)]
    with duckdb.connect(tmp_path / "copied.duckdb", read_only=True) as connection:
        assert connection.execute("select sum(column_count) from duckdb_tables()").fetchall() == [(1,)]


def test_a_column_that_is_not_there_is_an_error(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lake\.facts has no column other"):
        write_view(tmp_path / "a.duckdb", make_table(lakehouse, {}), "order", columns=["n", "other"], memory=MEMORY)


def test_deleted_rows_are_not_seen(lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(lakehouse, {"a": "int"})
    append(table, [{"n": number, "a": number} for number in range(5)])
    delete(table, [1, 3], monkeypatch)
    append(table, [{"n": 9, "a": 9}])
    assert [row["n"] for row in read(table)] == [0, 2, 4, 9]
    assert seen(tmp_path / "a.duckdb", table) == read(table)
    assert seen(tmp_path / "b.duckdb", table, columns=["n"]) == [{"n": number} for number in (0, 2, 4, 9)]


def delete(table: Table, positions: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletes rows of the table's only data file as engines with merge-on-read do; PyIceberg itself cannot."""
    [task] = table.scan().plan_files()
    folder = Path(urlparse(table.location()).path)
    path = folder / "deletes.parquet"
    ids = {"file_path": b"2147483546", "pos": b"2147483545"}
    fields = [
        pa.field(name, type_, nullable=False, metadata={b"PARQUET:field_id": ids[name]})
        for name, type_ in {"file_path": pa.string(), "pos": pa.int64()}.items()
    ]
    rows = pa.table([[task.file.file_path] * len(positions), positions], schema=pa.schema(fields))
    pq.write_table(rows, path)
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=len(positions),
        file_size_in_bytes=path.stat().st_size,
        spec_id=0,
    )

    class DeletesWriter(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

    def write_deletes(format_version: int, **options: Any) -> DeletesWriter:
        return DeletesWriter(**options)

    with monkeypatch.context() as patch:
        patch.setattr(snapshot_module, "write_manifest", write_deletes)
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
            update.append_data_file(file)


def test_files_without_field_ids_are_read_by_name(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int"})
    append(table, [{"n": 1, "a": 1}])
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": pa.array([2], pa.int32()), "n": pa.array([2], pa.int64())}), path)
    table.add_files([f"file://{path}"])
    assert [row["a"] for row in read(table)] == [1, 2]
    assert seen(tmp_path / "a.duckdb", table) == read(table)


def test_the_value_of_a_partition_is_seen_where_files_lack_it(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"region": "string", "a": "int"}, partition="region")
    append(table, [{"n": 1, "region": "eu", "a": 1}, {"n": 2, "region": "us/a b", "a": 2}])
    assert seen(tmp_path / "a.duckdb", table) == read(table)
    assert not is_copied(tmp_path / "a.duckdb")
    for task in list(table.scan().plan_files()):  # as Hive does, and who takes its files over
        path = task.file.file_path.removeprefix("file://")
        pq.write_table(pq.read_table(path, partitioning=None).drop(["region"]), path)
    assert [row["region"] for row in read(table)] == ["eu", "us/a b"]
    assert seen(tmp_path / "b.duckdb", table) == read(table)


def test_a_default_is_seen_where_files_lack_the_column(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int"})
    append(table, [{"n": 1, "a": 1}])
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column("level", ice.StringType(), default_value="none")
    assert seen(tmp_path / "a.duckdb", table) == read(table) == [{"n": 1, "a": 1, "level": "none"}]


def test_files_whose_path_looks_like_a_pattern_are_themselves(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int"})
    files = {"part[1].parquet": 1, "part1.parquet": 100, "part*.parquet": 2, "it's.parquet": 3}
    for name, value in files.items():
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist([{"n": value, "a": value}], schema=arrow_schema_of(table.schema())), path)
        if name != "part1.parquet":
            append_file(table, path)
    assert [row["a"] for row in seen(tmp_path / "a.duckdb", table)] == [1, 2, 3]


def append_file(table: Table, path: Path) -> None:
    """A data file that another writer made, with field ids."""
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=path.stat().st_size,
        spec_id=0,
    )
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as update:
        update.append_data_file(file)


def test_a_past_snapshot_is_seen_with_todays_columns(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int", "b": "int"})
    append(table, [{"n": 1, "a": 1, "b": 2}])
    first = table.current_snapshot()
    append(table, [{"n": 2, "a": 2, "b": 3}])
    assert first is not None
    assert seen(tmp_path / "a.duckdb", table, snapshot_id=first.snapshot_id) == read(table, first.snapshot_id)
    rename(table)
    assert seen(tmp_path / "b.duckdb", table, snapshot_id=first.snapshot_id) == [{"n": 1, "z": 1, "a": 2}]


def test_rows_of_a_branch_are_seen_by_its_snapshot_alone(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "int"})
    append(table, [{"n": 1, "a": 1}])
    current = table.current_snapshot()
    assert current is not None
    table.manage_snapshots().create_branch(current.snapshot_id, "audit").commit()
    append(table, [{"n": 2, "a": 2}], branch="audit")
    branch = table.refs()["audit"].snapshot_id
    assert seen(tmp_path / "a.duckdb", table, snapshot_id=branch) == read(table, branch) == [{"n": 1, "a": 1}, {"n": 2, "a": 2}]
    assert seen(tmp_path / "b.duckdb", table) == [{"n": 1, "a": 1}]


def test_a_table_without_rows_is_empty(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "decimal(9,2)"})
    assert seen(tmp_path / "a.duckdb", table) == []
    assert columns_of(tmp_path / "a.duckdb") == {"n": "BIGINT", "a": "DECIMAL(9,2)"}
    append(table, [{"n": 1}])
    table.delete()
    assert seen(tmp_path / "b.duckdb", table) == []


def test_a_snapshot_that_is_not_there_is_an_error(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lake\.facts has no snapshot 5"):
        write_view(tmp_path / "a.duckdb", make_table(lakehouse, {}), "order", snapshot_id=5, memory=MEMORY)


def test_a_large_table_is_not_copied(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"a": "long"})
    rows = pa.array(range(MILLION), pa.int64())
    table.append(pa.table([rows, rows], schema=arrow_schema_of(table.schema())))
    write_view(tmp_path / "a.duckdb", table, "order", memory=MEMORY)
    assert (tmp_path / "a.duckdb").stat().st_size < MILLION
    with duckdb.connect(tmp_path / "a.duckdb", read_only=True) as connection:
        assert connection.execute('select count(*), sum(a) from "order"').fetchall() == [(MILLION, sum(range(MILLION)))]


def test_files_of_an_object_store_are_copied(lakehouse: Lakehouse, aws: AwsServer, tmp_path: Path) -> None:
    boto3.client("s3").create_bucket(Bucket="warehouse", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    catalog = SqlCatalog("s3", uri=f"sqlite:///{tmp_path}/s3.db", warehouse="s3://warehouse", **{"s3.endpoint": aws.endpoint})
    catalog.create_namespace("lake")
    table = catalog.create_table("lake.facts", Schema(ice.NestedField(1, "n", ice.LongType()), ice.NestedField(2, "a", ice.StringType())))
    append(table, [{"n": 1, "a": "x"}, {"n": 2}])
    append(table, [{"n": 3, "a": "y"}])
    assert seen(tmp_path / "a.duckdb", table) == read(table)
    assert is_copied(tmp_path / "a.duckdb")


def test_timestamps_and_uuids_of_other_writers_are_what_they_mean(lakehouse: Lakehouse, tmp_path: Path) -> None:
    table = make_table(lakehouse, {"at": "timestamptz", "id": "uuid"})
    path, value = tmp_path / "foreign.parquet", uuid.UUID(int=2**127 + 5)
    types = {"n": pa.int64(), "at": pa.timestamp("ns", tz="UTC"), "id": pa.binary(16)}
    schema = pa.schema(
        [pa.field(name, type_, metadata={"PARQUET:field_id": str(index)}) for index, (name, type_) in enumerate(types.items(), 1)]
    )
    rows = pa.Table.from_pylist([{"n": 1, "at": datetime(2024, 7, 1, 12, tzinfo=UTC), "id": value.bytes}], schema=schema)
    pq.write_table(rows, path, use_deprecated_int96_timestamps=True, store_schema=False)
    append_file(table, path)
    assert seen(tmp_path / "a.duckdb", table) == [{"n": 1, "at": datetime(2024, 7, 1, 12, tzinfo=UTC), "id": str(value)}]
