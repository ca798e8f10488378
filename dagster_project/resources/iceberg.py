"""The IO manager: dagster-iceberg's, with the writing done by the lakehouse's engine.

dagster-iceberg's own writer drops table properties, evolves schemas and cannot stream; see docs/architecture.md.
Here it never touches schema, spec, sort order or properties: tables are made by ``lakehouse apply``. The parents
are private, so the package is pinned and tests/unit/test_dagster_iceberg_contract.py watches what is used of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, get_args

import pyarrow as pa
from dagster import AssetMaterialization, InputContext, OutputContext, TimeWindow
from dagster._core.execution.stats import StepEventStatus
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TablePartitionDimension, TableSlice
from dagster._core.storage.tags import RETRY_NUMBER_TAG
from dagster_iceberg.io_manager.arrow import PyArrowIcebergIOManager, _PyArrowIcebergTypeHandler
from dagster_iceberg.io_manager.base import IcebergDbClient
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, In, LessThan, Reference
from pyiceberg.expressions.literals import Literal, literal
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan
from pyiceberg.types import DateType, TimestamptzType

from dagster_project.resources.audit import publish_audited, scan_before_failure
from lakehouse.catalog import load_newest, load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import (
    AppendFiles,
    ComputeDays,
    Engine,
    FilesNotTakenError,
    MergeFiles,
    NotFollowedError,
    Work,
    WriteResult,
    open_engine,
)
from lakehouse.errors import LakehouseError, TableMismatchError
from lakehouse.inspect import summarise
from lakehouse.pointers import find_templates, follow_commit
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


class LakehouseIOManager(PyArrowIcebergIOManager):
    """Reads and writes the tables of the backend that LAKEHOUSE_BACKEND names.

    Outputs: ``AppendFiles``; ``pyarrow.Table`` and ``RecordBatchReader``, which replace the asset's partitions, or
    the table, or append with ``metadata={"write_mode": "append"}``. Inputs: both Arrow types; ``AssetIn(metadata=
    {"columns": […]})`` and partition mappings are pushed down to the files that are read. A partitioned asset names
    its column by ``metadata={"partition_expr": …}``, and its runs always replace.
    """

    @staticmethod
    def type_handlers() -> Sequence[DbTypeHandler[Any]]:
        """Which Python types are written and read, and by whom."""
        return [_WorkHandler(), _ArrowHandler()]

    def create_io_manager(self, context: Any) -> DbIOManager:
        """Called by Dagster, once for a run."""
        return DbIOManager(
            type_handlers=self.type_handlers(),
            db_client=_DbClient(),
            database=self.name,
            schema=self.schema_,
            io_manager_name="LakehouseIOManager",
            default_load_type=pa.RecordBatchReader,
        )


class _DbClient(IcebergDbClient):
    """Opens the catalog from the settings, so that no secret stands in Dagster's resource configuration."""

    @staticmethod
    def ensure_schema_exists(context: OutputContext, table_slice: TableSlice, connection: Catalog) -> None:
        """Namespaces and tables are made by ``lakehouse apply``."""

    @staticmethod
    def get_table_name(table_slice: TableSlice) -> str:
        """The ``dagster/table_name`` of a materialization, the same as the asset's."""
        return f"{table_slice.schema}.{table_slice.table}"

    @staticmethod
    @contextmanager
    def connect(context: OutputContext | InputContext, table_slice: TableSlice) -> Iterator[Catalog]:
        """The catalog."""
        yield open_catalog(LakehouseSettings.load())


class _WorkHandler(DbTypeHandler[Work]):
    """Has the engine do what an asset says is to be done."""

    def handle_output(self, context: OutputContext, table_slice: TableSlice, obj: Work, connection: Catalog) -> dict[str, Any]:
        engine, progress = _engine(connection), context.log.info
        # A run that is executed again finds the audit that it left open, and has it checked once more.
        run_id = _first_attempt(context) if obj.template.publish == "audited" else context.run_id
        with _materialized_before_failure(context, connection, obj.template):
            match obj:
                case AppendFiles():
                    result = engine.append_files(obj, run_id, progress)
                case MergeFiles():
                    result = engine.merge_files(obj, run_id, progress)
                case ComputeDays():
                    result = engine.compute_days(obj, _batch(context, run_id), progress)
        return _finish(context, connection, obj.template, result)

    def load_input(self, context: InputContext, table_slice: TableSlice, connection: Catalog) -> Work:
        raise TableMismatchError(
            f"{table_slice.schema}.{table_slice.table} is read as pyarrow.Table or RecordBatchReader: annotate the input."
        )

    @property
    def supported_types(self) -> Sequence[type[object]]:
        return list(get_args(Work))


class _ArrowHandler(_PyArrowIcebergTypeHandler):
    """Arrow data: writes are streamed in the settings' memory, and a reader holds one data file at a time."""

    def handle_output(
        self, context: OutputContext, table_slice: TableSlice, obj: pa.Table | pa.RecordBatchReader, connection: Catalog
    ) -> dict[str, Any]:
        name = f"{table_slice.schema}.{table_slice.table}"
        # Be it one that another asset fills; a folder without templates is no mistake of this asset's.
        template = find_templates(LakehouseSettings.load(), [name]).get(name)
        audited = template is not None and template.publish == "audited"
        batches = obj.to_batches() if isinstance(obj, pa.Table) else obj
        with _materialized_before_failure(context, connection, template):
            if _write_mode(context, name) == "append":
                result = _engine(connection).append(name, batches, _batch(context, _first_attempt(context)), audited)
            else:
                row_filter = _row_filter(table_slice, load_table(connection, name).schema())
                result = _engine(connection).replace(name, batches, row_filter, _batch(context, context.run_id), audited)
        return _finish(context, connection, template, result)

    def load_input(self, context: InputContext, table_slice: TableSlice, connection: Catalog) -> pa.Table | pa.RecordBatchReader:
        table = load_table(connection, f"{table_slice.schema}.{table_slice.table}")
        columns = tuple(table_slice.columns) if table_slice.columns else ("*",)
        scan = table.scan(_row_filter(table_slice, table.schema()), columns)
        return scan.to_arrow() if context.dagster_type.typing_type is pa.Table else _reader(scan)


@contextmanager
def _materialized_before_failure(context: OutputContext, catalog: Catalog, template: TableTemplate | None) -> Iterator[None]:
    """A step that fails after rows were committed says so: the table has them all the same, and what reads it follows the rows."""
    try:
        yield
    except (FilesNotTakenError, NotFollowedError) as error:
        if error.result.snapshot_id is not None:
            _log_materialization(context, _finish(context, catalog, template, error.result))
            if template is not None:
                scan_before_failure(context, template, error.result)
        raise


def _finish(context: OutputContext, catalog: Catalog, template: TableTemplate | None, result: WriteResult) -> dict[str, Any]:
    """Publishes what is to be audited, and has readers follow. Returns the materialization's metadata."""
    audit = publish_audited(context, catalog, template, result) if template is not None else {}
    metadata = {**_metadata(context, catalog, result), **audit}
    if audit and template is not None:
        try:
            follow_commit(LakehouseSettings.load(), catalog, template)
        except LakehouseError:
            _log_materialization(context, metadata)
            raise
    return metadata


def _log_materialization(context: OutputContext, metadata: dict[str, Any]) -> None:
    for partition in context.asset_partition_keys if context.has_asset_partitions else [None]:
        context.log_event(AssetMaterialization(context.asset_key, metadata=metadata, partition=partition))


def _engine(catalog: Catalog) -> Engine:
    return open_engine(LakehouseSettings.load(), catalog)


def _reader(scan: DataScan) -> pa.RecordBatchReader:
    """The rows of a scan, of which one data file at a time is in memory: PyIceberg's own reader reads them all ahead."""
    schema = schema_to_pyarrow(scan.projection())
    files = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter)
    batches = (batch for task in scan.plan_files() for batch in files.to_record_batches([task]))
    return pa.RecordBatchReader.from_batches(schema, batches).cast(schema)


def _write_mode(context: OutputContext, table_name: str) -> str:
    mode = context.output_metadata.get("write_mode", context.definition_metadata.get("write_mode", "overwrite"))
    mode = str(getattr(mode, "value", mode))
    if mode not in ("append", "overwrite"):
        remedy = "Use append or overwrite; for merges, an scd_type2 pipeline."
        raise TableMismatchError(f"{table_name}: write_mode {mode!r} is not supported. {remedy}")
    if mode == "append" and context.has_asset_partitions:
        remedy = "Leave write_mode out: a run replaces the partition's rows, so that it can be run again."
        raise TableMismatchError(f"{table_name}: write_mode 'append' is not supported for a partitioned asset. {remedy}")
    return mode


def _batch(context: OutputContext, run_id: str) -> Batch:
    """What names this output's commit, in every attempt of the run."""
    output = ":".join(filter(None, (run_id, context.step_key, context.name, context.mapping_key)))
    return Batch(output, context.run_id, context.step_key)


def _first_attempt(context: OutputContext) -> str:
    """The run whose work this run does again: the step failed there, perhaps after its commit, or Dagster retried the run."""
    instance, run = context.step_context.instance, context.step_context.dagster_run
    while run.parent_run_id is not None and (parent := instance.get_run_by_id(run.parent_run_id)) is not None:
        succeeded = any(step.status == StepEventStatus.SUCCESS for step in instance.get_run_step_stats(parent.run_id, [context.step_key]))
        if succeeded and RETRY_NUMBER_TAG not in run.tags:
            break
        run = parent
    if run.run_id != context.run_id:
        context.log.info(f"The same work as that of run {run.run_id}; what it committed is not written again")
    return run.run_id


def _metadata(context: OutputContext, catalog: Catalog, result: WriteResult) -> dict[str, Any]:
    """What a run shows in Dagster; numbers are plotted over time."""
    table = load_newest(catalog, result.table)
    summary = summarise(table)
    if result.snapshot_id is not None:
        context.log.info(f"{result.table}: {result.rows:,} rows, {result.bytes:,} bytes committed as snapshot {result.snapshot_id}")
    one_partition = context.has_asset_partitions and len(context.asset_partition_keys) == 1
    optional = {
        "snapshot_id": str(result.snapshot_id) if result.snapshot_id else None,  # as text: the page rounds 64-bit numbers
        "days": result.days or None,
        "columns_not_in_table": result.unknown_columns or None,
        "versions_opened": result.versions_opened,
        "versions_changed": result.versions_changed,
        "dagster/partition_row_count": result.rows if one_partition else None,
    }
    return {
        "dagster/row_count": summary["rows"],
        "dagster/uri": table.location(),
        "rows_written": result.rows,
        "bytes_written": result.bytes,
        "data_files_written": result.data_files,
        "source_files_taken": result.source_files,
        "bad_rows": result.bad_rows,
        "skipped_rows": result.skipped_rows,
        "table_bytes": summary["bytes"],
        "table_files": summary["files"],
        **{key: value for key, value in optional.items() if value is not None},
    }


def _row_filter(table_slice: TableSlice, schema: Schema) -> BooleanExpression:
    """The rows that belong to the partitions of a slice."""
    row_filter: BooleanExpression = AlwaysTrue()
    for dimension in table_slice.partition_dimensions or ():
        row_filter = And(row_filter, _dimension_filter(dimension, schema))
    return row_filter


def _dimension_filter(dimension: TablePartitionDimension, schema: Schema) -> BooleanExpression:
    column, partitions = dimension.partition_expr, dimension.partitions
    if column not in schema.column_names:
        raise TableMismatchError(
            f"The asset's partition_expr names {column!r}, and the table has no such column. Name a column for each of its dimensions."
        )
    if not partitions:
        return AlwaysFalse()
    if isinstance(partitions, TimeWindow):
        start, end = (_literal(moment, schema, column) for moment in (partitions.start, partitions.end))
        return And(GreaterThanOrEqual(term=Reference(column), value=start), LessThan(term=Reference(column), value=end))
    return In(term=Reference(column), literals={literal(partition) for partition in partitions})


def _literal(moment: datetime, schema: Schema, column: str) -> Literal[str]:
    """A window's bound as text for the column's type: an instant, or the day or wall clock in the partitions' time zone."""
    type_ = schema.find_type(column)
    if isinstance(type_, DateType):
        return literal(moment.date().isoformat())
    return literal((moment if isinstance(type_, TimestamptzType) else moment.replace(tzinfo=None)).isoformat())
