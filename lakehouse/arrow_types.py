"""What Iceberg's types are in Arrow. Not in ``types.py``: commands that read no rows start without PyArrow."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg import types as ice
from pyiceberg.schema import Schema

_ARROW_PRIMITIVES: dict[type[ice.IcebergType], pa.DataType] = {
    ice.BooleanType: pa.bool_(),
    ice.IntegerType: pa.int32(),
    ice.LongType: pa.int64(),
    ice.FloatType: pa.float32(),
    ice.DoubleType: pa.float64(),
    ice.DateType: pa.date32(),
    ice.TimeType: pa.time64("us"),
    ice.TimestampType: pa.timestamp("us"),
    ice.TimestamptzType: pa.timestamp("us", tz="UTC"),
    ice.StringType: pa.string(),
    ice.UUIDType: pa.uuid(),
    ice.BinaryType: pa.binary(),
}


def arrow_type(type_: ice.IcebergType) -> pa.DataType:
    """The Arrow type that holds an Iceberg type; nested fields carry their field id (``PARQUET:field_id``)."""
    match type_:
        case ice.DecimalType():
            return pa.decimal128(type_.precision, type_.scale)
        case ice.FixedType():
            return pa.binary(len(type_))
        case ice.ListType():
            return pa.list_(arrow_field(type_.element_field).with_name("element"))
        case ice.MapType():
            return pa.map_(arrow_field(type_.key_field), arrow_field(type_.value_field))
        case ice.StructType():
            return pa.struct([arrow_field(field) for field in type_.fields])
        case _:
            return _ARROW_PRIMITIVES[type(type_)]


def arrow_field(field: ice.NestedField) -> pa.Field:
    """An Arrow field with Iceberg's name, nullability and field id."""
    return pa.field(
        field.name, arrow_type(field.field_type), nullable=not field.required, metadata={"PARQUET:field_id": str(field.field_id)}
    )


def arrow_schema_of(schema: Schema) -> pa.Schema:
    """The Arrow schema of an Iceberg schema's rows, every field with its field id."""
    return pa.schema([arrow_field(field) for field in schema.fields])
