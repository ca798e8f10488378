"""One data file: rows in the order in which they come become Parquet, with what Iceberg's manifests say of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table, TableProperties
from pyiceberg.typedef import Record
from pyiceberg.utils.properties import property_as_int

from lakehouse.arrow_types import arrow_schema_of
from lakehouse.template import METRICS_PREFIX

_DICTIONARY_SAMPLE = 10_000


class DataFileEncoder:
    """Encodes data files of one table. Threads may share it.

    Args:
        hidden: columns without bounds in the metadata, besides those that the table's properties name.

    Attributes:
        row_group_rows: the rows of a row group at most, by the table's properties.
    """

    def __init__(self, table: Table, hidden: Collection[str]) -> None:
        self._table, schema = table, table.schema()
        metrics = {f"{METRICS_PREFIX}{name}": "none" for name in schema.column_names if name.split(".")[0] in hidden}
        properties = {**table.properties, **metrics}
        self._arrow_schema = arrow_schema_of(schema)
        self._paths = parquet_path_to_id_mapping(schema)
        self._statistics = compute_statistics_plan(schema, properties)
        self._options = _parquet_options(properties)
        limit = properties.get(TableProperties.PARQUET_ROW_GROUP_LIMIT, TableProperties.PARQUET_ROW_GROUP_LIMIT_DEFAULT)
        self.row_group_rows = int(limit)

    def encode(self, parts: Iterable[pa.Table], sample: pa.Table, location: str, partition: Record) -> DataFile:
        """Writes a file of which each part is a row group; it is sorted by the table's sort order already.

        Args:
            sample: some of the rows, by which the encoding of columns is chosen.
        """
        output = self._table.io.new_output(location)
        with (
            output.create(overwrite=True) as stream,
            pq.ParquetWriter(
                stream,
                self._arrow_schema,
                store_decimal_as_integer=True,
                use_dictionary=[path for path in self._paths if _repeats(sample, path.split(".")[0])],
                # A hidden column's bounds stay out of the file's footer too.
                write_statistics=[path for path, id_ in self._paths.items() if self._statistics[id_].mode.type != MetricModeTypes.NONE],
                **self._options,
            ) as writer,
        ):
            for part in parts:
                writer.write_table(part.cast(self._arrow_schema), row_group_size=self.row_group_rows)
        statistics = data_file_statistics_from_parquet_metadata(writer.writer.metadata, self._statistics, self._paths)
        metadata = self._table.metadata
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=len(output),
            sort_order_id=metadata.default_sort_order_id or None,
            spec_id=metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


def _repeats(rows: pa.Table, column: str) -> bool:
    """Whether a column's values repeat enough for a dictionary to be worth its making."""
    sample = rows.column(column).slice(0, _DICTIONARY_SAMPLE)
    if pa.types.is_nested(sample.type) or len(sample) < _DICTIONARY_SAMPLE:
        return True
    return pc.count_distinct(storage(sample)).as_py() <= len(sample) * 3 // 4


def storage(values: Any) -> Any:
    """An array without its extension type, for which Arrow has few functions: a uuid as its bytes."""
    return values.cast(values.type.storage_type) if isinstance(values.type, pa.BaseExtensionType) else values


def _parquet_options(properties: dict[str, str]) -> dict[str, Any]:
    """The Parquet writer's options from the table's ``write.parquet.*`` properties, with Iceberg's defaults."""
    codec = properties.get(TableProperties.PARQUET_COMPRESSION, TableProperties.PARQUET_COMPRESSION_DEFAULT)

    def number(name: str, default: int | None) -> int | None:
        return property_as_int(properties, name, default)

    return {
        "compression": "none" if codec == "uncompressed" else codec,
        "compression_level": number(TableProperties.PARQUET_COMPRESSION_LEVEL, TableProperties.PARQUET_COMPRESSION_LEVEL_DEFAULT),
        "data_page_size": number(TableProperties.PARQUET_PAGE_SIZE_BYTES, TableProperties.PARQUET_PAGE_SIZE_BYTES_DEFAULT),
        "dictionary_pagesize_limit": number(TableProperties.PARQUET_DICT_SIZE_BYTES, TableProperties.PARQUET_DICT_SIZE_BYTES_DEFAULT),
        # PyIceberg makes it the write_batch_size, with which encoding takes a quarter longer.
        "max_rows_per_page": number(TableProperties.PARQUET_PAGE_ROW_LIMIT, TableProperties.PARQUET_PAGE_ROW_LIMIT_DEFAULT),
    }
