"""The IO manager: dagster-iceberg's, with the writing done by the lakehouse's engine.

dagster-iceberg's own writer drops table properties, evolves schemas and cannot stream; see docs/architecture.md.
Here it never touches schema, spec, sort order or properties: tables are made by ``lakehouse apply``. The parents
are private, so the package is pinned and tests/unit/test_dagster_iceberg_contract.py watches what is used of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa
from dagster import InputContext, OutputContext, TimeWindow
from dagster._core.storage.db_io_manager import DbIOManager, DbTypeHandler, TablePartitionDimension, TableSlice
from dagster_iceberg.io_manager.arrow import PyArrowIcebergIOManager, _PyArrowIcebergTypeHandler
from dagster_iceberg.io_manager.base import IcebergDbClient
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysFalse, AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, In, LessThan
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, TimestamptzType

from lakehouse.catalog import load_table, open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, Engine, WriteResult, open_engine
from lakehouse.errors import TableMismatchError
from lakehouse.inspect import summarise
from lakehouse.settings import LakehouseSettings


class LakehouseIOManager(PyArrowIcebergIOManager):
    """Reads and writes the tables of the backend that LAKEHOUSE_BACKEND names.

    Outputs: ``AppendFiles``; ``pyarrow.Table`` and ``RecordBatchReader``, which replace the asset's partitions, or
    the table, or append with ``metadata={"write_mode": "append"}``. Inputs: both Arrow types; ``AssetIn(metadata=
    {"columns": […]})`` and partition mappings are pushed down to the files that are read. A partitioned asset names
    its column by ``metadata={"partition_expr": …}``.
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
    @contextmanager
    def connect(context: OutputContext | InputContext, table_slice: TableSlice) -> Iterator[Catalog]:
        """The catalog."""
        yield open_catalog(LakehouseSettings.load())


class _WorkHandler(DbTypeHandler[AppendFiles]):
    """Has the engine do what an asset says is to be done."""

    def handle_output(self, context: OutputContext, table_slice: TableSlice, obj: AppendFiles, connection: Catalog) -> dict[str, Any]:
        result = _engine(connection).append_files(obj, context.run_id, context.log.info)
        return _metadata(connection, result)

    def load_input(self, context: InputContext, table_slice: TableSlice, connection: Catalog) -> AppendFiles:
        raise TableMismatchError(f"{table_slice.schema}.{table_slice.table} is read as pyarrow.Table or RecordBatchReader: annotate the input.")

    @property
    def supported_types(self) -> Sequence[type[object]]:
        return [AppendFiles]


class _ArrowHandler(_PyArrowIcebergTypeHandler):
    """Arrow data, streamed; nothing larger than the settings' memory is held."""

    def handle_output(
        self, context: OutputContext, table_slice: TableSlice, obj: pa.Table | pa.RecordBatchReader, connection: Catalog
    ) -> dict[str, Any]:
        name = f"{table_slice.schema}.{table_slice.table}"
        partitions = f":{context.asset_partition_key_range}" if context.has_asset_partitions else ""
        batch = Batch(f"{context.run_id}:{context.asset_key.to_user_string()}{partitions}", context.run_id, context.step_key)
        batches = obj.to_batches() if isinstance(obj, pa.Table) else obj
        row_filter = _row_filter(table_slice, load_table(connection, name).schema())
        mode = context.output_metadata.get("write_mode", context.definition_metadata.get("write_mode", "overwrite"))
        mode = getattr(mode, "value", mode)
        if mode not in ("append", "overwrite"):
            raise TableMismatchError(f"{name}: write_mode {mode!r} is not supported. Use append or overwrite; for merges, an scd_type2 pipeline.")
        engine = _engine(connection)
        if mode == "append" and not table_slice.partition_dimensions:
            return _metadata(connection, engine.append(name, batches, batch))
        return _metadata(connection, engine.replace(name, batches, row_filter, batch), partitioned=bool(table_slice.partition_dimensions))

    def load_input(
        self, context: InputContext, table_slice: TableSlice, connection: Catalog
    ) -> pa.Table | pa.RecordBatchReader:
        table = load_table(connection, f"{table_slice.schema}.{table_slice.table}")
        columns = tuple(table_slice.columns) if table_slice.columns else ("*",)
        scan = table.scan(_row_filter(table_slice, table.schema()), columns)
        return scan.to_arrow() if context.dagster_type.typing_type is pa.Table else scan.to_arrow_batch_reader()


def _engine(catalog: Catalog) -> Engine:
    return open_engine(LakehouseSettings.load(), catalog)


def _metadata(catalog: Catalog, result: WriteResult, partitioned: bool = False) -> dict[str, Any]:
    """What a run shows in Dagster; numbers are plotted over time."""
    summary = summarise(load_table(catalog, result.table))
    optional = {
        "snapshot_id": str(result.snapshot_id) if result.snapshot_id else None,  # as text: the page rounds 64-bit numbers
        "days": result.days or None,
        "columns_not_in_table": result.unknown_columns or None,
        "dagster/partition_row_count": result.rows if partitioned else None,
    }
    return {
        "dagster/row_count": summary["rows"],
        "rows_written": result.rows,
        "bytes_written": result.bytes,
        "data_files_written": result.data_files,
        "source_files_taken": result.source_files,
        "bad_rows": result.bad_rows,
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
    if not partitions:
        return AlwaysFalse()
    if isinstance(partitions, TimeWindow):
        start, end = (_literal(moment, schema, column) for moment in (partitions.start, partitions.end))
        return And(GreaterThanOrEqual(column, start), LessThan(column, end))
    return In(column, list(partitions))


def _literal(moment: datetime, schema: Schema, column: str) -> str:
    """A window's bound as text for the column's type: an instant, or the day or wall clock in the partitions' time zone."""
    type_ = schema.find_type(column)
    if isinstance(type_, DateType):
        return moment.date().isoformat()
    return moment.isoformat() if isinstance(type_, TimestamptzType) else moment.replace(tzinfo=None).isoformat()
