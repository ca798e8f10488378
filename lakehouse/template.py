"""The model of one template, ``table-templates/<table>.yaml``, and what it means in Iceberg's terms."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.partitioning import PartitionField as IcebergPartitionField
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, NullOrder, SortDirection, SortOrder
from pyiceberg.table.sorting import SortField as IcebergSortField
from pyiceberg.transforms import IdentityTransform, Transform, parse_transform
from pyiceberg.types import IcebergType, NestedField, PrimitiveType

from lakehouse.days import event_time
from lakehouse.pipelines import (
    DURATION_PATTERN,
    EventStreamPipeline,
    FeatureTablePipeline,
    Model,
    Pipeline,
    ScdType2Pipeline,
    Source,
    text_pattern,
)
from lakehouse.types import assign_ids, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
TRANSFORM_PATTERN = r"^(identity|year|month|day|hour|(bucket|truncate)\[[1-9][0-9]{0,8}\])$"
QUARANTINE_SUFFIX = "__quarantine"
METRICS_PREFIX = "write.metadata.metrics.column."
METRICS_DEFAULT = "write.metadata.metrics.default"
# What keeps a column's bounds out of manifests, and out of the footers that Iceberg's Java writer makes (1.10 and later): the prefix
# of a property, before the path of a leaf, and its value. https://iceberg.apache.org/docs/latest/configuration/#write-properties
NO_BOUNDS = {METRICS_PREFIX: "none", "write.parquet.stats-enabled.column.": "false"}
RETENTION_PATTERN = r"^[1-9][0-9]{0,5}(m|h|d|w) on [a-z][a-z0-9_]*$"
TIME_TRANSFORMS = ("year", "month", "day", "hour")


def _scalar_text(value: Any) -> Any:
    """A number or boolean as the text that Terraform's ``tostring`` gives for it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    return str(value) if isinstance(value, int) else value


ScalarText = Annotated[str, BeforeValidator(_scalar_text, json_schema_input_type=str | int | float | bool)]


class Column(Model):
    """One column of a table."""

    name: str = Field(description="Matches [a-z][a-z0-9_]*, unique in the table.", json_schema_extra=text_pattern(NAME_PATTERN))
    type: str = Field(
        description="boolean, int, long, float, double, decimal(P,S), date, time, timestamp, timestamptz, string, uuid, binary, "
        "fixed[N], list<T>, map<K, V> or struct<a: T, b: T>, nested at will.",
        examples=["string", "timestamptz", "decimal(18,2)", "list<struct<sku: string, quantity: int>>"],
    )
    required: bool = Field(default=False, description="Rows with a null here do not fit.")
    description: str = Field(default="", description="Becomes the column's documentation in every catalog.")
    pii: bool = Field(default=False, description="Personal data: never in logs, alerts, check results or table metadata.")
    access_level: Literal["public", "internal", "restricted"] = Field(
        default="public", description="The reader role sees public and internal; writer and admin see all."
    )
    renamed_from: list[str] = Field(
        default=[], description="Former names, oldest first: the column keeps its Iceberg field id, no data is rewritten."
    )

    @cached_property
    def iceberg_type(self) -> IcebergType:
        """The type with placeholder ids. Raises TypeStringError for a string that is no type."""
        return parse_type(self.type)

    @property
    def hidden(self) -> bool:
        """Whether values of this column must stay out of logs, metadata and paths."""
        return self.pii or self.access_level == "restricted"


class PartitionField(Model):
    """One field of the partition spec."""

    column: str = Field(description="The source column.")
    transform: str = Field(
        default="identity",
        description="identity, year, month, day, hour, bucket[N] or truncate[N].",
        json_schema_extra=text_pattern(TRANSFORM_PATTERN),
    )

    @property
    def iceberg_transform(self) -> Transform[Any, Any]:
        """The PyIceberg transform; an UnknownTransform where the text is none."""
        return parse_transform(self.transform)

    @property
    def name(self) -> str:
        """The partition field's name, as Iceberg's builders name it: ``event_timestamp_day``, ``user_id_bucket``."""
        kind = self.transform.split("[")[0]
        suffix = {"identity": "", "truncate": "_trunc"}.get(kind, f"_{kind}")
        return self.column + suffix


class SortField(Model):
    """One field of the sort order."""

    column: str = Field(description="A column of a primitive type.")
    direction: Literal["asc", "desc"] = Field(default="asc", description="Smallest or largest first.")
    null_order: Literal["nulls_first", "nulls_last"] | None = Field(
        default=None, description="Default, as in Iceberg: nulls first when ascending, last when descending."
    )

    @property
    def nulls_first(self) -> bool:
        return self.direction == "asc" if self.null_order is None else self.null_order == "nulls_first"


class Checks(Model):
    """Which quality checks there are, and which stop what follows: docs/quality.md."""

    generated: bool = Field(
        default=True, description="Checks derived from the template: rows, required columns, identifier, schema, freshness."
    )
    blocking: list[str] = Field(default=[], description="Checks, by name, whose failure keeps downstream tables from running.")


class Maintenance(Model):
    """How `lakehouse maintain`, and a schedule, keep the table healthy: docs/maintenance.md."""

    compact: bool = Field(default=True, description="Whether small files are rewritten into large ones.")
    keep_snapshots: str = Field(
        default="7d", description="How long snapshots can be read and rolled back to.", json_schema_extra=text_pattern(DURATION_PATTERN)
    )
    keep_at_least: int = Field(default=20, ge=1, description="Snapshots that stay, however old.")
    remove_orphans: bool = Field(
        default=True, description="Whether files that nothing names any more are deleted, those of expired snapshots among them."
    )
    retention: str | None = Field(
        default=None,
        description="How old a row may become, and by which date or timestamp column: `400d on event_timestamp`. Older rows are deleted.",
        json_schema_extra=text_pattern(RETENTION_PATTERN),
    )

    @property
    def retention_column(self) -> str | None:
        """The column of the retention; None where there is none, or it is not of the pattern."""
        return self.retention.split(" on ")[1] if self.retention and re.fullmatch(RETENTION_PATTERN, self.retention) else None


class TableTemplate(Model):
    """One Apache Iceberg table: its schema, layout, permissions and pipeline."""

    name: str = Field(description="Matches [a-z][a-z0-9_]* and the file's name.", json_schema_extra=text_pattern(NAME_PATTERN))
    namespace: str = Field(description="The database the table is in.", json_schema_extra=text_pattern(NAME_PATTERN))
    description: str = Field(default="", description="What a row is, in one line; becomes the table's comment.")
    owner: str = Field(default="", description="A team's name or an e-mail address.")
    tags: dict[str, ScalarText] = Field(default={}, description="For Dagster and the clouds: letters, digits, `_`, `.` and `-`.")
    columns: list[Column] = Field(min_length=1, description="In the order of the table.")
    identifier: list[str] = Field(default=[], description="The columns that make a row unique: Iceberg's identifier fields.")
    partition_spec: list[PartitionField] = Field(default=[], description="How rows are divided into files.")
    sort_order: list[SortField] = Field(default=[], description="How rows are sorted within a file.")
    properties: dict[str, ScalarText] = Field(default={}, description="Iceberg table properties.")
    pipeline: Pipeline | None = Field(default=None, description="What fills the table; `pattern` chooses which.")
    source: Source | None = Field(default=None, description="Short form of an event_stream pipeline without a schedule.")
    publish: Literal["direct", "audited"] = Field(
        default="direct",
        description="audited: readers see a run's rows once the checks have passed. Else they wait for `lakehouse audit`.",
    )
    freshness: str | None = Field(
        default=None,
        description="The oldest that the newest row's event time may be: a check.",
        json_schema_extra=text_pattern(DURATION_PATTERN),
    )
    checks: Checks = Field(default=Checks(), description="Which quality checks there are, and which stop what follows.")
    maintenance: Maintenance = Field(
        default=Maintenance(), description="What keeps the table healthy: compaction, expiry, orphan files, retention."
    )

    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file this template was read from."""
        return self._path

    @property
    def table_name(self) -> str:
        """``namespace.name``."""
        return f"{self.namespace}.{self.name}"

    @property
    def is_maintained(self) -> bool:
        """Whether the template says how the table is maintained. Others are maintained only where they are named."""
        return "maintenance" in self.model_fields_set

    @property
    def _quarantine_maintenance(self) -> Maintenance:
        """As the table's own: what is deleted there after a time is not to stay here, where it lies as it came."""
        age = self.maintenance.retention.split(" on ")[0] if self.maintenance.retention else None
        return self.maintenance.model_copy(update={"retention": f"{age} on quarantined_at" if age else None})

    @property
    def event_stream(self) -> EventStreamPipeline | None:
        """The event_stream pipeline, also where the short form's ``source`` stands for it."""
        if self.source is not None:
            return EventStreamPipeline(pattern="event_stream", source=self.source)
        return self.pipeline if isinstance(self.pipeline, EventStreamPipeline) else None

    @property
    def scd_type2(self) -> ScdType2Pipeline | None:
        """The pipeline, if it is an scd_type2 one."""
        return self.pipeline if isinstance(self.pipeline, ScdType2Pipeline) else None

    @property
    def feature_table(self) -> FeatureTablePipeline | None:
        """The pipeline, if it is a feature_table one."""
        return self.pipeline if isinstance(self.pipeline, FeatureTablePipeline) else None

    def named(self, name: str, tables: Collection[str]) -> list[str]:
        """Which of some tables a pipeline's input may mean: the one of this table's namespace, else each of that name."""
        own = f"{self.namespace}.{name}"
        return [own] if own in tables else [table for table in tables if name in (table, table.split(".")[-1])]

    def input_templates(self, templates: Mapping[str, TableTemplate]) -> tuple[TableTemplate, ...]:
        """The templates, of those by table name, of a feature table's inputs. Lint has seen to it that each is one."""
        inputs = self.feature_table.inputs if self.feature_table else []
        return tuple(templates[table] for table in dict.fromkeys(table for name in inputs for table in self.named(name, templates)))

    @property
    def hidden_columns(self) -> frozenset[str]:
        """Columns whose values must stay out of logs, metadata and paths: pii or restricted."""
        return frozenset(column.name for column in self.columns if column.hidden)

    @cached_property
    def iceberg_schema(self) -> Schema:
        """The schema as a catalog gives it to a new table: field ids 1…n, identifier fields set."""
        fields = [
            NestedField(0, column.name, column.iceberg_type, required=column.required, doc=column.description or None)
            for column in self.columns
        ]
        numbered = assign_ids(fields)
        identifier = [field.field_id for field in numbered if field.name in self.identifier]
        return Schema(*numbered, identifier_field_ids=identifier)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the table's rows, every field with its Iceberg field id."""
        from lakehouse.arrow_types import arrow_schema_of

        return arrow_schema_of(self.iceberg_schema)

    @property
    def event_time(self) -> Column | None:
        """The column that says when a row's event was; of a feature table, its day."""
        found = event_time(self.iceberg_schema, self.iceberg_partition_spec(self.iceberg_schema))
        return None if found is None else next(column for column in self.columns if column.name == found.name)

    def iceberg_partition_spec(self, schema: Schema) -> PartitionSpec:
        """The partition spec in terms of the field ids of ``schema``."""
        if not self.partition_spec:
            return UNPARTITIONED_PARTITION_SPEC
        return PartitionSpec(
            *(
                IcebergPartitionField(
                    schema.find_field(part.column).field_id, PARTITION_FIELD_ID_START + index, part.iceberg_transform, part.name
                )
                for index, part in enumerate(self.partition_spec)
            )
        )

    def iceberg_sort_order(self, schema: Schema) -> SortOrder:
        """The sort order in terms of the field ids of ``schema``."""
        if not self.sort_order:
            return UNSORTED_SORT_ORDER
        return SortOrder(
            *(
                IcebergSortField(
                    schema.find_field(sort.column).field_id,
                    IdentityTransform(),
                    SortDirection.ASC if sort.direction == "asc" else SortDirection.DESC,
                    NullOrder.NULLS_FIRST if sort.nulls_first else NullOrder.NULLS_LAST,
                )
                for sort in self.sort_order
            )
        )

    @cached_property
    def table_properties(self) -> dict[str, str]:
        """The table properties: those of the template, and those that its rules need."""
        schema = self.iceberg_schema
        leaves = [
            schema.find_column_name(field_id) or ""
            for field_id in sorted(schema.field_ids)
            if isinstance(schema.find_type(field_id), PrimitiveType)
        ]
        hidden_fields = [name for name in leaves if name.split(".")[0] in self.hidden_columns]
        return {
            # PyIceberg 0.12 retries a stale append by itself, which doubled rows; lakehouse/commit.py retries safely.
            "commit.retry.num-retries": "0",
            **({"comment": self.description} if self.description else {}),
            **({"owner": self.owner} if self.owner else {}),
            **self.properties,
            # Manifests and footers are readable by more people than rows are: no bounds of what only some may see.
            **{f"{prefix}{name}": off for prefix, off in NO_BOUNDS.items() for name in hidden_fields},
        }

    @property
    def quarantine(self) -> TableTemplate | None:
        """The template of ``<name>__quarantine``, where the pipeline asks for one. Every column is restricted."""
        pipeline = self.event_stream if self.event_stream else self.pipeline
        if isinstance(pipeline, FeatureTablePipeline) or pipeline is None or pipeline.on_bad_rows != "quarantine":
            return None

        def column(name: str, type_: str, description: str, required: bool = True) -> Column:
            return Column(name=name, type=type_, required=required, description=description, access_level="restricted")

        quarantine = TableTemplate(
            name=self.name + QUARANTINE_SUFFIX,
            namespace=self.namespace,
            description=f"Rows that do not fit {self.table_name}, with the reason.",
            owner=self.owner,
            tags=self.tags,
            columns=[
                column("source_file", "string", "The file the row came from."),
                column("source_row", "long", "The row's number in it, from 1."),
                column("reason", "string", "Why the row does not fit."),
                column("record", "string", "The row as JSON, or its text where it could not be read.", required=False),
                column("batch_id", "string", "The batch that found it."),
                column("quarantined_at", "timestamptz", "When."),
            ],
        )
        return quarantine.model_copy(update={"maintenance": self._quarantine_maintenance}) if self.is_maintained else quarantine


def json_schema() -> dict[str, Any]:
    """The JSON schema of a template, as editors use it: ``table-templates/schema.json``."""
    schema = TableTemplate.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Table template"}


def with_quarantine(templates: Iterable[TableTemplate]) -> list[TableTemplate]:
    """The templates, and after each that of its quarantine table."""
    return [found for template in templates for found in (template, template.quarantine) if found is not None]
