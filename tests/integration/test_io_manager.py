"""The IO manager in real Dagster runs, in this process, on a real catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster import (
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    In,
    JobDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    Out,
    ReexecutionOptions,
    RetryPolicy,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
    execute_job,
    job,
    materialize,
    op,
    reconstructable,
)
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from dagster_project.definitions import build_definitions
from dagster_project.resources import iceberg
from dagster_project.resources.iceberg import LakehouseIOManager
from lakehouse.engines import AppendFiles
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

SALES = """
    name: sales
    namespace: shop
    columns:
      - {name: id, type: long, required: true}
      - {name: happened_at, type: timestamptz}
      - {name: wall_clock, type: timestamp}
      - {name: day, type: date}
      - {name: region, type: string}
    identifier: [id]
    partition_spec: [{column: happened_at, transform: day}]
    sort_order: [{column: id, direction: desc}]
    properties: {write.parquet.compression-codec: zstd, team.note: kept}
"""
DAYS = DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
BERLIN = DailyPartitionsDefinition(start_date="2024-01-01", end_date="2025-01-01", timezone="Europe/Berlin")
REGIONS = StaticPartitionsDefinition(["de", "fr", "it"])
DAYS_AND_REGIONS = MultiPartitionsDefinition({"day": DAYS, "region": REGIONS})
BY_DAY: dict[str, Any] = {"partitions_def": DAYS, "metadata": {"partition_expr": "happened_at"}}

Content = Callable[[AssetExecutionContext], Any]


@pytest.fixture
def sales(lakehouse: Lakehouse) -> Iterator[Lakehouse]:
    """A lakehouse with the table shop.sales, whose layout no write may change."""
    lakehouse.template(SALES)
    before = layout(lakehouse.table("shop.sales"))
    yield lakehouse
    assert layout(lakehouse.table("shop.sales")) == before


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data files that were opened for reading, in order."""
    locations: list[str] = []
    new_input = PyArrowFileIO.new_input

    def spy(io: PyArrowFileIO, location: str) -> Any:
        if "/data/" in location:
            locations.append(location)
        return new_input(io, location)

    monkeypatch.setattr(PyArrowFileIO, "new_input", spy)
    return locations


def layout(table: Table) -> tuple[Any, ...]:
    return table.schema(), table.schema().identifier_field_ids, table.spec(), table.sort_order(), table.properties, table.location()


def rows(*rows: tuple[int, str, str], zone: str = "UTC") -> pa.Table:
    """Rows of id, instant and region; as nullable columns, in another order than the table's, as a query engine gives them."""
    instants = pa.array([datetime.fromisoformat(at) for _, at, _ in rows], pa.timestamp("us", "UTC"))
    local = pc.local_timestamp(instants.cast(pa.timestamp("us", zone)))
    columns = {
        "region": pa.array([region for _, _, region in rows], pa.string()),
        "happened_at": instants,
        "wall_clock": local,
        "day": local.cast(pa.date32()),
        "id": pa.array([id_ for id_, _, _ in rows], pa.int64()),
    }
    return pa.table(columns)


def on_day(id_: int, day: str, region: str = "de") -> pa.Table:
    return rows((id_, f"{day}T12:00:00+00:00", region))


def written_by(content: Content, **attributes: Any) -> AssetsDefinition:
    """An asset of shop.sales with what ``content`` returns."""

    @asset(key=["shop", "sales"], **attributes)
    def sales_asset(context) -> Any:  # Dagster does not take an annotation of the context that is text
        return content(context)

    return sales_asset


def read_by(use: Callable[[Any], None], type_: type, columns: list[str] | None = None, **attributes: Any) -> AssetsDefinition:
    """An asset downstream of shop.sales that hands its input to ``use``."""

    @asset(ins={"sales": AssetIn(["shop", "sales"], {"columns": columns} if columns else {}, dagster_type=type_)}, **attributes)
    def reader(sales) -> None:
        use(sales)

    return reader


def run(*assets: AssetsDefinition, **arguments: Any) -> ExecuteInProcessResult:
    return materialize(list(assets), resources={"io_manager": LakehouseIOManager(name="lakehouse")}, **arguments)


def run_range(first: str, last: str, *assets: AssetsDefinition, **arguments: Any) -> ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return run(*assets, tags=tags, **arguments)


def materializations(result: ExecuteInProcessResult) -> list[AssetMaterialization]:
    return [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]


def metadata(result: ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = materializations(result)
    return {key: value.value for key, value in materialization.metadata.items()}


def failure(result: ExecuteInProcessResult) -> str:
    """What the failed step shows, with its causes."""
    assert not result.success
    error = result.get_step_failure_events()[0].step_failure_data.error
    messages: list[str] = []
    while error is not None:
        messages.append(error.message)
        error = error.cause
    return "\n".join(messages)


def ids(lakehouse: Lakehouse) -> list[int]:
    return sorted(lakehouse.rows("shop.sales").column("id").to_pylist())


def snapshots(lakehouse: Lakehouse) -> int:
    return len(lakehouse.table("shop.sales").metadata.snapshots)


# Source files


STREAM = AssetKey(["lakehouse", "event_stream"])


def event(id_: int, at: str, **values: str) -> str:
    return f'{{"event_id": "e{id_}", "event_type": "page_view", "event_timestamp": "{at}"' + "".join(
        f', "{key}": "{value}"' for key, value in values.items()
    ) + "}\n"  # fmt: skip


def run_event_streams(lakehouse: Lakehouse, **arguments: Any) -> ExecuteInProcessResult:
    defs = build_definitions(lakehouse.settings)
    return materialize(list(defs.assets or ()), resources=defs.resources, **arguments)


def test_an_event_stream_takes_new_files_and_says_what_it_did(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    lakehouse.template((PROJECT_ROOT / "table-templates" / "event_stream.yaml").read_text())
    lakehouse.land("event_stream/a.jsonl", event(1, "2024-01-01T23:59:59Z", colour="red") + event(2, "2024-01-02T00:00:00Z"))
    lakehouse.land("event_stream/b.jsonl", event(3, "2024-01-05T12:00:00Z") + event(4, "yesterday"))
    result = run_event_streams(lakehouse)
    table = lakehouse.table("lakehouse.event_stream")
    (snapshot,) = table.metadata.snapshots
    found = metadata(result)
    assert found.pop("bytes_written") == found.pop("table_bytes") == sum(task.file.file_size_in_bytes for task in table.scan().plan_files())
    assert found == {
        "dagster/row_count": 3,
        "dagster/table_name": "lakehouse.event_stream",
        "dagster/uri": table.location(),
        "Query": "SELECT * FROM lakehouse.event_stream",
        "rows_written": 3,
        "data_files_written": 3,
        "source_files_taken": 2,
        "bad_rows": 1,
        "skipped_rows": 0,
        "table_files": 3,
        "snapshot_id": str(snapshot.snapshot_id),
        "days": "2024-01-01..2024-01-02,2024-01-05",
        "columns_not_in_table": ["colour"],
    }
    assert snapshot.summary is not None
    assert snapshot.summary["lakehouse.run-id"] == result.run_id
    assert "lakehouse.event_stream: 2 new source files, 0 taken before" in capsys.readouterr().err

    again = metadata(run_event_streams(lakehouse))
    assert (again["rows_written"], again["source_files_taken"], again["dagster/row_count"]) == (0, 0, 3)
    assert "snapshot_id" not in again
    assert len(lakehouse.table("lakehouse.event_stream").metadata.snapshots) == 1


def test_what_was_committed_before_a_failure_is_recorded(lakehouse: Lakehouse) -> None:
    text = (PROJECT_ROOT / "table-templates" / "event_stream.yaml").read_text()
    lakehouse.template(text.replace("on_bad_rows: quarantine", "on_bad_rows: fail"))
    lakehouse.land("event_stream/a.jsonl", event(1, "2024-01-01T00:00:00Z"))
    lakehouse.land("event_stream/b.jsonl", event(2, "yesterday"))
    with DagsterInstance.ephemeral() as instance:
        result = run_event_streams(lakehouse, instance=instance, raise_on_error=False)
        assert "b.jsonl" in failure(result)
        assert "The other 1 were committed, 1 rows." in failure(result)
        (recorded,) = instance.fetch_materializations(STREAM, limit=9).records
        assert recorded.run_id == result.run_id
        assert recorded.asset_materialization is not None
        found = {key: value.value for key, value in recorded.asset_materialization.metadata.items()}
        assert (found["rows_written"], found["source_files_taken"], found["dagster/row_count"]) == (1, 1, 1)
        assert found["snapshot_id"] == str(lakehouse.table("lakehouse.event_stream").metadata.current_snapshot_id)

        again = run_event_streams(lakehouse, instance=instance, raise_on_error=False)
        assert "b.jsonl" in failure(again)
        assert "Nothing was committed." in failure(again)
        assert len(instance.fetch_materializations(STREAM, limit=9).records) == 1


def test_an_event_stream_is_read_as_arrow_only(lakehouse: Lakehouse) -> None:
    lakehouse.template((PROJECT_ROOT / "table-templates" / "event_stream.yaml").read_text())
    lakehouse.land("event_stream/a.jsonl", event(1, "2024-01-01T00:00:00Z"))
    defs = build_definitions(lakehouse.settings)

    @asset(ins={"events": AssetIn(["lakehouse", "event_stream"], dagster_type=AppendFiles)})
    def wrong(events) -> None: ...

    result = materialize([*(defs.assets or ()), wrong], resources=defs.resources, raise_on_error=False)
    assert "lakehouse.event_stream is read as pyarrow.Table or RecordBatchReader" in failure(result)


# Reading


@pytest.mark.parametrize("type_", [pa.Table, pa.RecordBatchReader, Any])
def test_a_downstream_asset_reads_only_its_columns_partitions_and_files(sales: Lakehouse, opened: list[str], type_: Any) -> None:
    upstream = written_by(lambda context: on_day(int(context.partition_key[-2:]), context.partition_key), **BY_DAY)
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        run(upstream, partition_key=day)
    seen: list[Any] = []
    opened.clear()

    def use(data: pa.Table | pa.RecordBatchReader) -> None:
        assert isinstance(data, pa.Table if type_ is pa.Table else pa.RecordBatchReader)
        seen.append(data if isinstance(data, pa.Table) else data.read_all())

    downstream = read_by(use, type_, ["id", "region"], partitions_def=DAYS)
    run(upstream, downstream, partition_key="2024-01-02", selection=[downstream])
    assert seen[0].column_names == ["id", "region"]
    assert seen[0].to_pylist() == [{"id": 2, "region": "de"}]
    assert len(opened) == 1
    assert "happened_at_day=2024-01-02" in opened[0]


def test_an_unpartitioned_asset_reads_all_partitions(sales: Lakehouse) -> None:
    upstream = written_by(lambda context: on_day(int(context.partition_key[-2:]), context.partition_key), **BY_DAY)
    for day in ("2024-01-01", "2024-01-31"):
        run(upstream, partition_key=day)
    seen: list[pa.Table] = []
    downstream = read_by(seen.append, pa.Table)
    run(upstream, downstream, selection=[downstream])
    assert seen[0].schema.names == ["id", "happened_at", "wall_clock", "day", "region"]
    assert sorted(seen[0].column("id").to_pylist()) == [1, 31]


def test_a_reader_opens_a_file_when_its_rows_are_asked_for(sales: Lakehouse, opened: list[str]) -> None:
    days = [f"2024-01-0{day}" for day in range(1, 6)]
    upstream = written_by(lambda _: pa.concat_tables([on_day(index, day) for index, day in enumerate(days)]))
    run(upstream)
    opened.clear()
    counts: list[int] = []

    def use(reader: pa.RecordBatchReader) -> None:
        counts.append(len(opened))
        for _ in reader:
            counts.append(len(opened))

    downstream = read_by(use, pa.RecordBatchReader)
    run(upstream, downstream, selection=[downstream])
    assert counts == [0, 1, 2, 3, 4, 5]


# Writing


@pytest.mark.parametrize("as_reader", [True, False], ids=["reader", "table"])
def test_a_partition_is_replaced_and_nothing_else(sales: Lakehouse, as_reader: bool) -> None:
    content = {"2024-01-01": [1], "2024-01-02": [2, 3], "2024-01-03": [4]}

    def partition(context: AssetExecutionContext) -> Any:
        data = pa.concat_tables([on_day(id_, context.partition_key) for id_ in content[context.partition_key]])
        return data.to_reader() if as_reader else data

    upstream = written_by(partition, **BY_DAY)
    for day in content:
        run(upstream, partition_key=day)
    assert ids(sales) == [1, 2, 3, 4]
    content["2024-01-02"] = [5]
    for _ in range(2):
        found = metadata(run(upstream, partition_key="2024-01-02"))
        assert ids(sales) == [1, 4, 5]
        assert (found["dagster/row_count"], found["dagster/partition_row_count"], found["rows_written"]) == (3, 1, 1)
        assert found["Query"].startswith("SELECT * FROM shop.sales WHERE\nhappened_at >= '2024-01-02")


def test_a_range_of_partitions_is_one_commit(sales: Lakehouse) -> None:
    content = {day: [index] for index, day in enumerate(("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"))}

    def partitions(context: AssetExecutionContext) -> pa.Table:
        return pa.concat_tables([on_day(id_, day) for day in context.partition_keys for id_ in content[day]])

    upstream = written_by(partitions, backfill_policy=BackfillPolicy.single_run(), **BY_DAY)
    run_range("2024-01-01", "2024-01-04", upstream)
    assert (ids(sales), snapshots(sales)) == ([0, 1, 2, 3], 1)
    content |= {"2024-01-02": [12], "2024-01-03": [13]}
    result = run_range("2024-01-02", "2024-01-03", upstream)
    assert (ids(sales), snapshots(sales)) == ([0, 3, 12, 13], 2)
    recorded = {found.partition: found.metadata for found in materializations(result)}
    assert set(recorded) == {"2024-01-02", "2024-01-03"}
    # The rows of a range cannot be told apart by partition.
    assert all(found["rows_written"].value == 2 and "dagster/partition_row_count" not in found for found in recorded.values())


NO_INSTANT = on_day(2, "2024-01-02").set_column(1, "happened_at", pa.nulls(1, pa.timestamp("us", "UTC")))
BY_REGION: dict[str, Any] = {"partitions_def": REGIONS, "metadata": {"partition_expr": "region"}}


@pytest.mark.parametrize(
    ("attributes", "key", "outside"),
    [(BY_DAY, "2024-01-02", on_day(2, "2024-01-03")), (BY_DAY, "2024-01-02", NO_INSTANT), (BY_REGION, "de", on_day(2, "2024-01-02", "fr"))],
    ids=["another-day", "null", "another-region"],
)
def test_rows_outside_the_partition_fail(sales: Lakehouse, attributes: dict[str, Any], key: str, outside: pa.Table) -> None:
    upstream = written_by(lambda _: pa.concat_tables([on_day(1, "2024-01-02"), outside]), **attributes)
    message = failure(run(upstream, partition_key=key, raise_on_error=False))
    assert "1 rows do not fit shop.sales" in message
    assert "rows outside the partition that this run replaces" in message
    assert (ids(sales), snapshots(sales)) == ([], 0)


@pytest.mark.parametrize("column", ["happened_at", "wall_clock", "day"])
@pytest.mark.parametrize(
    ("partitions", "key", "start", "end"),
    [
        (DAYS, "2024-01-02", "2024-01-02T00:00+00:00", "2024-01-03T00:00+00:00"),
        (BERLIN, "2024-03-31", "2024-03-30T23:00+00:00", "2024-03-31T22:00+00:00"),  # 23 hours
        (BERLIN, "2024-10-27", "2024-10-26T22:00+00:00", "2024-10-27T23:00+00:00"),  # 25 hours
    ],
    ids=["utc", "spring", "autumn"],
)
def test_days_begin_and_end_in_the_partitions_time_zone(
    sales: Lakehouse, column: str, partitions: DailyPartitionsDefinition, key: str, start: str, end: str
) -> None:
    first, after = datetime.fromisoformat(start), datetime.fromisoformat(end)
    second = timedelta(seconds=1)
    edges = [(0, first - second), (1, first), (2, after - second), (3, after)]
    around, inside = (
        rows(*((id_, at.isoformat(), "de") for id_, at in edges if (id_ in (1, 2)) is within), zone=partitions.timezone)
        for within in (False, True)
    )
    run(written_by(lambda _: pa.concat_tables([around, inside])))
    upstream = written_by(lambda _: inside, partitions_def=partitions, metadata={"partition_expr": column})
    run(upstream, partition_key=key)
    assert ids(sales) == [0, 1, 2, 3]
    seen: list[pa.Table] = []
    downstream = read_by(seen.append, pa.Table, partitions_def=partitions)
    run(upstream, downstream, partition_key=key, selection=[downstream])
    assert sorted(seen[0].column("id").to_pylist()) == [1, 2]


def test_static_partitions(sales: Lakehouse) -> None:
    content = {"de": 1, "fr": 2, "it": 3}
    upstream = written_by(
        lambda context: on_day(content[context.partition_key], "2024-01-01", context.partition_key),
        **BY_REGION,
    )
    for region in content:
        run(upstream, partition_key=region)
    content["fr"] = 4
    run(upstream, partition_key="fr")
    assert ids(sales) == [1, 3, 4]


MULTI: dict[str, Any] = {"partitions_def": DAYS_AND_REGIONS, "metadata": {"partition_expr": {"day": "happened_at", "region": "region"}}}


def test_multi_partitions(sales: Lakehouse) -> None:
    content: dict[tuple[str, str], int] = {}

    def partitions(context: AssetExecutionContext) -> pa.Table:
        keys = [key.keys_by_dimension for key in context.partition_keys if isinstance(key, MultiPartitionKey)]
        return pa.concat_tables([on_day(content[key["day"], key["region"]], key["day"], key["region"]) for key in keys])

    upstream = written_by(partitions, backfill_policy=BackfillPolicy.single_run(), **MULTI)
    days, regions = ("2024-01-01", "2024-01-02"), ("de", "fr", "it")
    content = {(day, region): index for index, (day, region) in enumerate((day, region) for day in days for region in regions)}
    for day, region in content:
        run(upstream, partition_key=MultiPartitionKey({"day": day, "region": region}))
    assert ids(sales) == [0, 1, 2, 3, 4, 5]
    content["2024-01-01", "fr"] = 11
    run(upstream, partition_key=MultiPartitionKey({"day": "2024-01-01", "region": "fr"}))
    assert ids(sales) == [0, 2, 3, 4, 5, 11]
    before = snapshots(sales)
    content = {key: id_ + 20 for key, id_ in content.items()}
    run_range("2024-01-01|fr", "2024-01-01|it", upstream)
    assert (ids(sales), snapshots(sales)) == ([0, 3, 4, 5, 22, 31], before + 1)
    run_range("2024-01-01|de", "2024-01-02|de", upstream)
    assert (ids(sales), snapshots(sales)) == ([4, 5, 20, 22, 23, 31], before + 2)


def test_a_dimension_without_a_column_is_named(sales: Lakehouse) -> None:
    upstream = written_by(
        lambda _: on_day(1, "2024-01-01"), partitions_def=DAYS_AND_REGIONS, metadata={"partition_expr": {"day": "happened_at"}}
    )
    key = MultiPartitionKey({"day": "2024-01-01", "region": "de"})
    assert "partition_expr names None, and the table has no such column" in failure(run(upstream, partition_key=key, raise_on_error=False))


@pytest.mark.parametrize("how", ["definition", "output"])
def test_write_modes_of_an_unpartitioned_asset(sales: Lakehouse, how: str) -> None:
    next_id = iter(range(10))

    def content(context: AssetExecutionContext) -> pa.Table:
        if how == "output":
            context.add_output_metadata({"write_mode": "append"})
        return on_day(next(next_id), "2024-01-01")

    appending = written_by(content, metadata={"write_mode": "append" if how == "definition" else "overwrite"})
    run(appending)
    found = metadata(run(appending))
    assert ids(sales) == [0, 1]
    assert (found["rows_written"], found["dagster/row_count"]) == (1, 2)
    run(written_by(lambda _: on_day(5, "2024-01-02")))
    assert ids(sales) == [5]


@pytest.mark.parametrize(
    ("mode", "attributes", "remedy"),
    [
        ("upsert", {}, "Use append or overwrite"),
        ("append", {"partitions_def": DAYS}, "Leave write_mode out"),
    ],
)
def test_write_modes_that_are_refused(sales: Lakehouse, mode: str, attributes: dict[str, Any], remedy: str) -> None:
    upstream = written_by(lambda _: on_day(1, "2024-01-01"), metadata={"write_mode": mode, "partition_expr": "happened_at"}, **attributes)
    key = {"partition_key": "2024-01-01"} if attributes else {}
    message = failure(run(upstream, raise_on_error=False, **key))
    assert f"write_mode {mode!r}" in message
    assert remedy in message
    assert snapshots(sales) == 0


def fail_once_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    summarise = iceberg.summarise

    def fail(table: Table) -> None:
        monkeypatch.setattr(iceberg, "summarise", summarise)
        raise ConnectionError("the network went away")

    monkeypatch.setattr(iceberg, "summarise", fail)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_step_retry_does_not_write_twice(sales: Lakehouse, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    run(written_by(lambda _: on_day(1, "2024-01-01")))
    fail_once_after_the_commit(monkeypatch)
    upstream = written_by(lambda _: on_day(2, "2024-01-01"), metadata={"write_mode": mode}, retry_policy=RetryPolicy(max_retries=1))
    result = run(upstream)
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 1
    assert (ids(sales), snapshots(sales)) == ([1, 2] if mode == "append" else [2], 2)
    assert metadata(result)["rows_written"] == 1


def append_job() -> JobDefinition:
    upstream = written_by(lambda _: on_day(1, "2024-01-01"), metadata={"write_mode": "append"})
    resources = {"io_manager": LakehouseIOManager(name="lakehouse")}
    return Definitions([upstream], jobs=[define_asset_job("append")], resources=resources).resolve_job_def("append")


def test_a_run_that_is_retried_does_not_append_twice(sales: Lakehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:

        def execute(options: ReexecutionOptions | None = None, **tags: str) -> str:
            in_process = {"execution": {"config": {"in_process": {}}}}
            result = execute_job(reconstructable(append_job), instance, in_process, tags=tags, reexecution_options=options)
            assert result.success == (options is not None)
            return result.run_id

        fail_once_after_the_commit(monkeypatch)
        failed = execute()
        assert ids(sales) == [1]
        from_failure = execute(ReexecutionOptions.from_failure(failed, instance))
        execute(ReexecutionOptions(failed))  # all of its steps, of which this one failed
        assert ids(sales) == [1]
        again = execute(ReexecutionOptions(from_failure))  # a run that had succeeded: its rows are new
        assert ids(sales) == [1, 1]
        execute(ReexecutionOptions(again), **{"dagster/retry_number": "1"})  # Dagster's own retry, of all steps
        assert ids(sales) == [1, 1]


def test_an_op_writes_and_reads_a_table(sales: Lakehouse) -> None:
    seen: list[pa.Table] = []

    @op(out=Out(metadata={"schema": "shop", "table": "sales"}))
    def write() -> pa.Table:
        return on_day(1, "2024-01-01")

    @op(ins={"table": In(metadata={"columns": ["id"]})})
    def read(table: pa.Table) -> None:
        seen.append(table)

    @job(resource_defs={"io_manager": LakehouseIOManager(name="lakehouse")})
    def write_and_read() -> None:
        read(write())

    assert write_and_read.execute_in_process().success
    assert seen[0].to_pylist() == [{"id": 1}]


# What does not fit


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (on_day(1, "2024-01-01").append_column("colour", pa.array(["red"])), "shop.sales has no column colour"),
        (on_day(1, "2024-01-01").set_column(4, "id", pa.nulls(1, pa.int64())), "1 rows do not fit shop.sales"),
        (on_day(1, "2024-01-01").set_column(4, "id", pa.array(["one"])), "id"),
    ],
    ids=["extra-column", "null-in-required", "wrong-type"],
)
def test_rows_that_do_not_fit_change_nothing(sales: Lakehouse, data: pa.Table, message: str) -> None:
    run(written_by(lambda _: on_day(7, "2024-01-01")))
    assert message in failure(run(written_by(lambda _: data), raise_on_error=False))
    assert (ids(sales), snapshots(sales)) == ([7], 1)


def test_a_missing_table_is_made_by_apply(lakehouse: Lakehouse) -> None:
    message = failure(run(written_by(lambda _: on_day(1, "2024-01-01")), raise_on_error=False))
    assert "There is no table shop.sales in the catalog" in message
    assert "lakehouse apply" in message
    assert not lakehouse.catalog.table_exists("shop.sales")


def test_no_secret_is_in_the_resource_configuration(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESSIE_TOKEN", "t0ken")
    monkeypatch.setenv("LAKEHOUSE_CATALOG", "other")
    lakehouse.template(SALES)
    manager = (build_definitions(LakehouseSettings.load()).resources or {})["io_manager"]
    assert manager.model_dump(exclude_defaults=True) == {"name": "other"}
