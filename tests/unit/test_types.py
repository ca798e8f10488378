"""Type strings, and what they are in Iceberg and Arrow."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg import types as ice
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.schema import Schema, assign_fresh_schema_ids

from lakehouse.arrow_types import arrow_field
from lakehouse.types import PRIMITIVES, TypeStringError, assign_ids, parse_type, type_string

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
DECIMALS = st.integers(1, 38).flatmap(lambda precision: st.integers(0, precision).map(lambda scale: ice.DecimalType(precision, scale)))
LEAVES = st.one_of(st.sampled_from(list(PRIMITIVES.values())), DECIMALS, st.integers(1, 64).map(ice.FixedType))


def _nest(inner: st.SearchStrategy[ice.IcebergType]) -> st.SearchStrategy[ice.IcebergType]:
    fields = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda element: ice.ListType(0, element, element_required=False)),
        st.tuples(inner, inner).map(lambda pair: ice.MapType(0, pair[0], 0, pair[1], value_required=False)),
        fields.map(lambda named: ice.StructType(*(ice.NestedField(0, name, type_, required=False) for name, type_ in named.items()))),
    )


TYPES = st.recursive(LEAVES, _nest, max_leaves=6)
FIELDS = st.dictionaries(NAMES, st.tuples(TYPES, st.booleans()), min_size=1, max_size=4).map(
    lambda columns: [ice.NestedField(0, name, type_, required=required) for name, (type_, required) in columns.items()]
)


@given(TYPES)
def test_type_string_round_trips(type_: ice.IcebergType) -> None:
    assert parse_type(type_string(type_)) == type_


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("decimal( 18 , 2 )", "decimal(18,2)"),
        (" list < string > ", "list<string>"),
        ("map<string,list<long>>", "map<string, list<long>>"),
        ("struct<a:int,list:string,  int : date>", "struct<a: int, list: string, int: date>"),
        ("list<" * 15 + "int" + ">" * 15, "list<" * 15 + "int" + ">" * 15),
    ],
)
def test_spaces_are_free(text: str, canonical: str) -> None:
    assert type_string(parse_type(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("varchar(20)", "did you mean 'string'?"),
        ("bigint", "did you mean 'long'?"),
        ("STRING", "did you mean 'string'?"),
        ("datetime", "did you mean 'timestamp'?"),
        ("array<int>", "did you mean 'list<string>'?"),
        ("decimal", "did you mean 'decimal(38,9)'?"),
        ("fixed", "did you mean 'fixed[16]'?"),
        ("list", "did you mean 'list<string>'?"),
        ("list<bool>", "unknown type 'bool' at character 6; did you mean 'boolean'?"),
        ("map<string, struct<a: list<strng>>>", "unknown type 'strng' at character 28"),
        ("nonsense", "unknown type 'nonsense' at character 1"),
        ("list<string", "expected '>' at character 12"),
        ("list<>", "unknown type '>'"),
        ("list<", "a type is missing at the end"),
        ("list<string>>", "'>' at character 13"),
        ("string long", "'long' at character 8"),
        ("map<string>", "expected ','"),
        ("struct<>", "field name '>'"),
        ("struct<A: int>", "field name 'A'"),
        ("struct<a int>", "expected ':'"),
        ("struct<a: int, a: long>", "'a' stands twice"),
        ("decimal(10)", "expected ','"),
        ("decimal(39,0)", "precision of 1 to 38"),
        ("decimal(0,0)", "precision of 1 to 38"),
        ("decimal(4,5)", "scale no larger"),
        ("decimal(4,-1)", "expected a whole number"),
        ("decimal(²,1)", "expected a whole number"),
        ("decimal(١٨,2)", "expected a whole number"),
        (f"decimal({'9' * 5000},2)", "expected a whole number"),
        ("fixed[0]", "at least 1 byte"),
        ("fixed[2147483648]", "expected a whole number"),
        ("fixed(16)", "did you mean 'fixed[16]'?"),
        ("list<" * 17 + "int" + ">" * 17, "nested deeper than 16 levels"),
        ("list<" * 100_000, "nested deeper than 16 levels"),
    ],
)
def test_what_is_no_type_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(TypeStringError) as error:
        parse_type(text)
    assert says in str(error.value)


@given(st.text(alphabet="lists<>map,truc: de(3)[]²", max_size=30))
def test_any_text_is_a_type_or_a_type_string_error(text: str) -> None:
    with suppress(TypeStringError):
        assert type_string(parse_type(text))


@given(FIELDS)
def test_ids_are_those_of_a_new_table(fields: list[ice.NestedField]) -> None:
    schema = Schema(*assign_ids(fields))
    assert schema == assign_fresh_schema_ids(schema)
    assert sorted(schema.field_ids) == list(range(1, len(schema.field_ids) + 1))


@given(FIELDS)
def test_arrow_reads_back_as_the_same_iceberg_schema(fields: list[ice.NestedField]) -> None:
    schema = Schema(*assign_ids(fields))
    arrow = pa.schema([arrow_field(field) for field in schema.fields])
    assert pyarrow_to_schema(arrow).as_struct() == schema.as_struct()
