"""Source files by Spark: the rows, the bad rows and the counts that the embedded engine has of them."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.engines import FilesNotTakenError, WriteResult
from lakehouse.engines.spark import targets
from lakehouse.engines.spark.sources import SparkSource
from lakehouse.errors import TableMismatchError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

pytestmark = [pytest.mark.spark, pytest.mark.slow]
BACKENDS = ["spark"]

# What may stand for a value of each type; the embedded engine says which of it is one.
_NUMBERS = ["0", "-0", "007", "+5", " 5", "5 ", "1_0", "1.0", "1e2", "1E-1", ".5", "5.", "-1.50", "1.505", "1.500", "x", "", "1d", "0x1p3"]
_NUMBERS += ["9223372036854775807", "9223372036854775808", "2147483648", "-2147483648", "99999999", "123456.78", "1e400", "3.5e38", "-1e39"]
_NUMBERS += ["inf", "-Infinity", "nan", "-NaN", "infin", "0.1", "16777217", "12345678901234567890123456789012345678901"]
_CLOCKS = ["", " 03", "T03:04", "T03:04:05", " 03:04:05.1", "T03:04:05.123456", "T03:04:05.1234567", "T030405", "T24:00:00", "T23:59:60"]
_CLOCKS += ["T03:04:05,5", "T03:04:05.", "T3:04", "x"]
_ZONES = ["", "Z", "z", "+01", "+0100", "-01:30", " +01:00", "+23:59", "+24:00", "-18:30", "UTC", "+1:00", "Europe/Rome"]
TEXTS: dict[str, list[str]] = {
    "boolean": ["true", "TRUE", "1", "0", "False", "t", "yes", "True ", ""],
    "int": _NUMBERS,
    "long": _NUMBERS,
    "float": _NUMBERS,
    "double": _NUMBERS,
    "decimal(8,2)": _NUMBERS,
    "decimal(38,0)": _NUMBERS,
    "date": ["2024-02-29", "2023-02-29", "2024-1-2", "20240102", "2024-01-02T00", "0001-01-01", "0000-01-01", "9999-12-31", "10000-01-01"],
    "timestamp": [f"2024-01-02{clock}" for clock in _CLOCKS]
    + ["2024-01-02T03:04Z", "2024-01-02T03+01:00", "0000-12-31", "9999-12-31T23:59"],
    "timestamptz": [f"2024-01-02T03:04:05{zone}" for zone in _ZONES]
    + [f"2024-01-02{clock}-00:30" for clock in _CLOCKS]
    + ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"],
    "string": ["x", "", " é\t", "𝄞", '"', "a\nb", "\\N", "NULL"],
    "uuid": [
        "12345678-1234-5678-1234-567812345678",
        "{12345678123456781234567812345678}",
        "urn:uuid:12345678-1234-5678-1234-56781234567A",
        "1234",
    ],
    "binary": ["00ff", "00F", "", "zz"],
    "fixed[2]": ["00ff", "00", "0000ff"],
}
JSON = {
    "list<int>": ["[1, null]", "[]", '["1"]', "[1.5]", "{}", "[2147483648]", "1", "null"],
    "map<string, decimal(4,1)>": ['{"a": 0.1, "b": "1.5"}', "{}", '{"a": 0.15}', "[]", '{"a": 1, "a": 2}', '{"a": true}'],
    "map<long, boolean>": ['{"7": true}', '{"x": true}', '{"7": true, "07": false}', '{"7": "true"}'],
    "struct<a: string, b: double, c: timestamptz>": [
        '{"a": "x", "c": "2024-01-02T00:00:00Z", "d": 1}',
        '{"a": 1}',
        '{"b": 1e400}',
        "[]",
        '{"c": "2024"}',
    ],
    "list<struct<u: uuid, m: map<string, list<date>>>>": [
        '[{"u": "12345678-1234-5678-1234-567812345678", "m": {"k": ["2024-01-02", null]}}, null]',
        '[{"m": {"k": ["2024"]}}]',
        '[{"u": "1"}]',
    ],
}
TYPES = [*TEXTS, *JSON]
NAMES = [f"c{number}" for number in range(len(TYPES))]


def columns() -> str:
    return "\n".join(f"  - {{name: {name}, type: '{type_}'}}" for name, type_ in zip(NAMES, TYPES, strict=True))


def values(lakehouse: Lakehouse, format_: str, **csv_options: Any) -> None:
    """The table ``lake.rows``, with a column of each type, from files of a format; bad rows go to the quarantine."""
    options = f", csv_options: {json.dumps(csv_options)}" if csv_options else ""
    lakehouse.template(
        "name: rows\nnamespace: lake\ncolumns:\n  - {name: id, type: long, required: true}\n"
        f"{columns()}\n"
        "pipeline:\n  pattern: event_stream\n  on_bad_rows: quarantine\n"
        f"  source: {{path: '${{LAKEHOUSE_LANDING}}/', format: {format_}{options}}}\n"
    )


def embedded(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse of the embedded engine with the same templates and source files."""
    settings = LakehouseSettings.load(LAKEHOUSE_ENGINE="embedded", LAKEHOUSE_WAREHOUSE=f"{lakehouse.settings.warehouse}-embedded")
    other = replace(lakehouse, settings=settings)
    other.apply()
    return other


def loaded(lakehouse: Lakehouse, name: str = "lake.rows") -> tuple[list[dict[str, Any]], list[tuple[Any, ...]], WriteResult]:
    """The rows, the bad ones, and what the run says."""
    result = lakehouse.run(lakehouse.template_of(name))
    rows = lakehouse.rows(name).sort_by("id").to_pylist()
    bad = lakehouse.rows(f"{name}__quarantine").sort_by([("source_file", "ascending"), ("source_row", "ascending")]).to_pylist()
    return rows, [(row["source_file"], row["source_row"], as_spark_says(row["reason"])) for row in bad], result


def as_spark_says(reason: str) -> str:
    """Spark does not tell which column is twice in a row of JSON, and how many fields a row of CSV has."""
    return re.sub(r"^\d+ fields instead of", "another number of fields than", re.sub(r"^\w+: (a key stands twice)", r"\1", reason))


def assert_same(lakehouse: Lakehouse) -> list[tuple[Any, ...]]:
    """Both engines have the same rows, the same bad rows for the same reasons, and the same counts. Returns the bad rows."""
    rows, bad, result = loaded(embedded(lakehouse))
    spark_rows, spark_bad, spark_result = loaded(lakehouse)
    assert dict.fromkeys({*spark_bad} ^ {*bad}, False) == {}, (set(spark_bad) - set(bad), set(bad) - set(spark_bad))
    assert spark_bad == bad
    differ = [(found, other) for found, other in zip(rows, spark_rows, strict=True) if repr(found) != repr(other)]  # NaN is no NaN
    assert differ == []
    assert spark_result == replace(
        result, snapshot_id=spark_result.snapshot_id, bytes=spark_result.bytes, data_files=spark_result.data_files
    )
    return bad


def test_jsonl(lakehouse: Lakehouse) -> None:
    """Of each type every text, as it is where it is JSON, and as a JSON text."""
    values(lakehouse, "jsonl")
    lines = list[str]()
    for name, type_ in zip(NAMES, TYPES, strict=True):
        for text in [*TEXTS.get(type_, []), *JSON.get(type_, []), "null", "true", "[1]", '{"a": 1}']:
            lines.append(f'{{"id": {len(lines)}, "{name}": {json.dumps(text)}}}')
            if is_json(text):
                lines.append(f'{{"id": {len(lines)}, "{name}": {text}}}')
    odd = [
        "[1]",
        "null",
        "{",
        "",
        "  ",
        '{"id": 1} x',
        '{"id": "1"}',
        '{"c0": true}',
        '{"other": 1}',
        '{"id": 1, "id": 2}',
        ' {"id": -1}\t',
    ]
    lakehouse.land("a/b c%41+.jsonl", "\ufeff" + "\n".join(lines) + "\r\n")
    lakehouse.land("a/odd[1].jsonl", ("\n".join(odd) + "\n").encode() + b'{"id": -2, "c10": "\xff"}')
    bad = assert_same(lakehouse)
    assert len(bad) > 100
    assert len(bad) < len(lines)


def test_json_arrays(lakehouse: Lakehouse) -> None:
    values(lakehouse, "json")
    lakehouse.land(
        "a.json", json.dumps([{"id": 1, "c0": True}, {"id": 2, "c1": 1.5}, {"id": 3, "c10": "x\ny"}, 5, {"c0": False}], indent=1)
    )
    lakehouse.land("b.json", "[]")
    assert len(assert_same(lakehouse)) == 3


def test_csv(lakehouse: Lakehouse) -> None:
    values(lakehouse, "csv", null_values=["", "NULL"])
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", *NAMES, "unknown"])
    number = 0
    for name, type_ in zip(NAMES, TYPES, strict=True):
        for text in [*TEXTS.get(type_, []), *JSON.get(type_, [])]:
            if text not in ("", "NULL"):  # quoted, they are no nulls to the embedded engine alone
                writer.writerow([number := number + 1, *(text if other == name else "" for other in NAMES), "x"])
    content = out.getvalue()
    lakehouse.land("a.csv", content)
    lakehouse.land("b.csv", "\ufeffc10,id\n" + '"a ""q""\nline",10001\nNULL,10002\n"",10003\n\nshort\nx,10004,more\n,\ny,10005\n')
    assert len(assert_same(lakehouse)) > 100


def test_csv_without_header_and_with_lines_before_it(lakehouse: Lakehouse) -> None:
    values(lakehouse, "csv", delimiter=";", skip_rows=2, column_names=["c10", "id"])
    lakehouse.land("a.csv", "made by x\n;;;\nä;1\n;2\nb;x\n")
    lakehouse.land("b.csv", "made by x\n;;;\n")
    assert len(assert_same(lakehouse)) == 1


def test_parquet(lakehouse: Lakehouse) -> None:
    """Types from which there is a cast that loses nothing, values that lose something, and text that is not UTF-8."""
    values(lakehouse, "parquet")

    def array(values: list[Any], type_: pa.DataType | None = None) -> pa.Array:
        return pa.array(values, type_)

    big = array([1, 2**31, 2**53 + 1, None], pa.int64())
    moments = array([datetime(2024, 1, 2, tzinfo=UTC), None, datetime(1, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC"))
    floats = array([1.5, float("nan"), None, float("-inf")], pa.float32())
    part = pa.struct({"a": pa.string(), "b": pa.float32()})
    files: list[dict[str, Any]] = [
        {"c1": big, "c2": big, "c3": big, "c4": big},
        {"c5": array([Decimal("1.50"), Decimal("1.505"), None, Decimal("9999999")])},
        {"c1": array([1, 2, 255, 0], pa.uint8()), "c2": array([2**63, 1, None, 2**64 - 1], pa.uint64()), "c9": moments},
        {"c8": array([1_000, 1_001, None, -1_000], pa.timestamp("ns"))},
        {"c9": array([1_000, 1_500, None, 0], pa.timestamp("ns", "UTC"))},
        {"c7": array([-719_163, -719_162, 2_932_896, 2_932_897], pa.date32()), "c4": floats},
        {"c10": array(["x", None, "y", ""], pa.large_string()).dictionary_encode()},
        {"c11": array([b"x" * 16, None, b"\0" * 16, b"y" * 16], pa.binary(16))},
        {"c13": array([b"ab", b"abc", None, b""]), "c12": array([b"ab", b"abc", None, b""])},
        {"c14": array([[1, None], [], None, [2**31]], pa.list_(pa.int64()))},
        {"c15": array([[("a", Decimal("1.5"))], [("a", Decimal("1.55"))], None, []], pa.map_(pa.string(), pa.decimal128(9, 2)))},
        {"c17": array([{"a": "x", "b": 1.5}, None, {"a": None, "b": None}, {"a": "", "b": 0.0}], part)},
        {"c10": pa.Array.from_buffers(pa.string(), 4, array([b"a", b"\xff", b"c", b"d"]).buffers())},
        {"other": pa.nulls(4)},
    ]
    for number, file in enumerate(files):
        table = pa.table({"id": pa.array(range(number * 10, number * 10 + 4), pa.int32()), **file})
        path = lakehouse.land(f"{number:02}.parquet", b"")
        pq.write_table(table, path, row_group_size=2)
    assert len(assert_same(lakehouse)) > 10


def test_what_is_no_file_of_the_format_keeps_no_other_out(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(
        textwrap.dedent("""\
            name: rows
            namespace: lake
            columns:
              - {name: id, type: long, required: true}
              - {name: email, type: string, pii: true}
            pipeline:
              pattern: event_stream
              source: {path: '${LAKEHOUSE_LANDING}/', format: parquet}
            """)
    )
    table = pa.table({"id": pa.array([1, 2], pa.int64()), "email": ["ada@example.com", "x"]})
    for name in ("a", "b", "c", "d"):
        pq.write_table(table, lakehouse.land(f"{name}.parquet", b""), compression="none")
    broken = lakehouse.landing / "b.parquet"
    content = broken.read_bytes()
    broken.write_bytes(content[:8] + b"\xff" * 60 + content[68:])  # its pages, not its footer
    lakehouse.land("c.parquet", b"no parquet")
    pq.write_table(table.set_column(0, "id", pa.array(["1", "ada@example.com"])), lakehouse.landing / "d.parquet")
    with pytest.raises(FilesNotTakenError) as error:
        lakehouse.run(template)
    told = str(error.value)
    assert [name for name in "abcd" if f"{name}.parquet: " in told] == ["b", "c", "d"]
    assert "ada@example.com" not in told
    assert error.value.result.source_files == 1
    assert lakehouse.rows("lake.rows")["id"].to_pylist() == [1, 2]


@pytest.mark.parametrize("when", ["before it is written", "while it is written"])
def test_a_file_that_changes_while_it_is_read_is_not_taken(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    template = lakehouse.template(
        "name: rows\nnamespace: lake\ncolumns: [{name: id, type: long, required: true}]\n"
        "pipeline: {pattern: event_stream, source: {path: '${LAKEHOUSE_LANDING}/', format: jsonl}}\n"
    )
    path = lakehouse.land("a.jsonl", '{"id": 1}\n')
    module, name = (targets, "write_files") if when == "while it is written" else (SparkSource, "read")
    original = getattr(module, name)

    def change(*arguments: Any) -> Any:
        result = original(*arguments)
        path.write_text('{"id": 2}\n{"id": 3}\n')
        return result

    monkeypatch.setattr(module, name, change)
    with pytest.raises(FilesNotTakenError, match=r"a\.jsonl: changed while it was read\. Write files under"):
        lakehouse.run(template)
    monkeypatch.undo()
    assert not lakehouse.table("lake.rows").metadata.snapshots
    assert not [*Path(lakehouse.settings.warehouse).rglob("data/**/*.parquet")]


def test_a_type_that_spark_does_not_have_is_refused_before_anything_is_read(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(
        "name: rows\nnamespace: lake\ncolumns: [{name: at, type: time}]\n"
        "pipeline: {pattern: event_stream, source: {path: '${LAKEHOUSE_LANDING}/', format: jsonl}}\n"
    )
    lakehouse.land("a.jsonl", '{"at": "12:00"}\n')
    with pytest.raises(TableMismatchError, match="rows has at of type time, which Spark's tables cannot have"):
        lakehouse.run(template)


def is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=int)  # which fails: NaN is none
    except ValueError:
        return False
    return True
