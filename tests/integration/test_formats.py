"""What each source format reads: every type exactly, and what does not fit under its right row number."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import math
import textwrap
import time as time_
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import formats, json_blocks
from lakehouse.arrow_types import arrow_type
from lakehouse.conform import BadRow, Conformer, Rows
from lakehouse.errors import SourceError
from lakehouse.formats import FileReader
from lakehouse.pipelines import CsvOptions, Source
from lakehouse.sources import SourceFolder
from lakehouse.types import parse_type

if TYPE_CHECKING:
    from conftest import Lakehouse

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
MOMENT = datetime(2024, 2, 29, 23, 59, 59, 999999)  # noqa: DTZ001  # a timestamp without zone
# Type, the value in Arrow, in JSON, in CSV.
TYPES: dict[str, tuple[str, Any, Any, str]] = {
    "c_boolean": ("boolean", True, True, "true"),
    "c_int": ("int", -(2**31), -(2**31), "-2147483648"),
    "c_long": ("long", 2**63 - 1, 2**63 - 1, "9223372036854775807"),
    "c_float": ("float", 1.5, 1.5, "1.5"),
    "c_double": ("double", 0.1, 0.1, "0.1"),
    "c_decimal": ("decimal(38,9)", Decimal("12345678901234567890123456789.123456789"), "12345678901234567890123456789.123456789",
                  "12345678901234567890123456789.123456789"),
    "c_date": ("date", date(1969, 12, 31), "1969-12-31", "1969-12-31"),
    "c_time": ("time", time(23, 59, 59, 999999), "23:59:59.999999", "23:59:59.999999"),
    "c_timestamp": ("timestamp", MOMENT, "2024-02-29T23:59:59.999999", "2024-02-29 23:59:59.999999"),
    "c_timestamptz": ("timestamptz", MOMENT.replace(tzinfo=UTC), "2024-03-01T01:59:59.999999+02:00", "2024-02-29T23:59:59.999999Z"),
    "c_string": ("string", 'é "\n,𝄞', 'é "\n,𝄞', 'é "\n,𝄞'),
    "c_uuid": ("uuid", UUID, str(UUID), str(UUID)),
    "c_binary": ("binary", b"\x00\xff", "00ff", "00FF"),
    "c_fixed": ("fixed[4]", b"\x00\x01\x02\x03", "00010203", "00010203"),
    "c_list": ("list<int>", [1, None, 3], [1, None, 3], "[1, null, 3]"),
    "c_dates": ("list<date>", [date(2024, 1, 2)], ["2024-01-02"], '["2024-01-02"]'),
    "c_map": ("map<string, decimal(10,2)>", [("a", Decimal("0.10"))], {"a": 0.10}, '{"a": 0.10}'),
    "c_keys": ("map<long, boolean>", [(7, True)], {"7": True}, '{"7": true}'),
    "c_struct": ("struct<a: string, b: double>", {"a": "x", "b": None}, {"a": "x"}, '{"a": "x"}'),
    "c_nested": (
        "list<struct<u: uuid, m: map<string, list<timestamptz>>>>",
        [{"u": UUID, "m": [("k", [MOMENT.replace(tzinfo=UTC)])]}],
        [{"u": str(UUID), "m": {"k": ["2024-02-29T23:59:59.999999Z"]}}],
        json.dumps([{"u": str(UUID), "m": {"k": ["2024-02-29T23:59:59.999999Z"]}}]),
    ),
}  # fmt: skip
NULLS = dict.fromkeys(TYPES)
Encode = Callable[[bytes], bytes]


def schema(**types: str) -> pa.Schema:
    """An Arrow schema from type strings; one that ends in ``!`` is required."""
    return pa.schema([pa.field(name, arrow_type(parse_type(text.rstrip("!"))), not text.endswith("!")) for name, text in types.items()])


def read(
    path: Path, content: str | bytes, columns: pa.Schema, format_: str = "", options: CsvOptions | None = None, hidden: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], list[BadRow], list[str]]:
    """Writes a file and reads it: rows, rows that do not fit, unknown columns."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    folder = SourceFolder(str(path))
    source = Source(path="", format=format_ or path.name.split(".")[1], csv_options=options)  # type: ignore[arg-type]
    reader = FileReader(folder, folder.list()[0], source, columns, frozenset(hidden))
    found = list(reader.rows())
    for rows in found:
        assert rows.batch.schema.equals(columns)
        assert len(rows.numbers) == rows.batch.num_rows
        rows.batch.validate(full=True)
    numbers = [number for rows in found for number in rows.numbers] + [bad.row for rows in found for bad in rows.bad]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "every row has one number"
    return [row for rows in found for row in rows.batch.to_pylist()], [bad for rows in found for bad in rows.bad], reader.unknown


def refused(path: Path, content: str | bytes, columns: pa.Schema, options: CsvOptions | None = None) -> str:
    """The message with which a whole file is refused; it quotes no data."""
    with pytest.raises(SourceError) as error:
        read(path, content, columns, options=options)
    assert str(path) not in str(error.value), "the engine names it"
    assert "SECRET" not in str(error.value)
    return str(error.value)


def places(bad: list[BadRow]) -> list[tuple[int, str, str]]:
    return [(found.row, found.column, found.reason) for found in bad]


def as_csv(rows: list[list[str | None]], **options: Any) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NOTNULL if hasattr(csv, "QUOTE_NOTNULL") else csv.QUOTE_MINIMAL, **options)
    writer.writerows(rows)
    return out.getvalue()


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def all_types(format_: str) -> bytes:
    """A row of every type and a row of nulls in a format."""
    if format_ == "parquet":
        columns = schema(**{name: values[0] for name, values in TYPES.items()})
        arrays = []
        for column, values in zip(columns, TYPES.values(), strict=True):
            storage = column.type.storage_type if isinstance(column.type, pa.UuidType) else None
            if column.name == "c_nested":
                arrays.append(pa.array([[{"u": UUID.bytes, "m": values[1][0]["m"]}], None], pa.list_(pa.struct(
                    [("u", pa.binary(16)), ("m", pa.map_(pa.string(), pa.list_(pa.timestamp("us", "UTC"))))]))))  # fmt: skip
            else:
                arrays.append(pa.array([values[1].bytes if storage else values[1], None], storage or column.type))
        return as_parquet(pa.table(arrays, names=columns.names), compression="gzip")
    if format_ == "csv":
        return as_csv([list(TYPES), [values[3] for values in TYPES.values()], [None] * len(TYPES)]).encode()
    records = [{name: values[2] for name, values in TYPES.items()}, NULLS]
    return (json.dumps(records) if format_ == "json" else "\n".join(map(json.dumps, records))).encode()


def zst(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("format_", "suffix", "encode"),
    [
        *((format_, "", bytes) for format_ in ("parquet", "csv", "json", "jsonl")),
        *((format_, ".gz", gzip.compress) for format_ in ("csv", "json", "jsonl")),
        ("jsonl", ".gz", lambda content: gzip.compress(content[:40]) + gzip.compress(content[40:])),
        ("jsonl", ".zst", zst),
        ("csv", ".bz2", bz2.compress),
    ],
)
def test_every_type_is_read_exactly(lakehouse: Lakehouse, format_: str, suffix: str, encode: Encode) -> None:
    columns = "\n".join(f"  - {{name: {name}, type: '{values[0]}'}}" for name, values in TYPES.items())
    template = lakehouse.template(
        f"name: all_types\nnamespace: lake\ncolumns:\n{columns}\nsource: {{path: '${{LAKEHOUSE_LANDING}}', format: {format_}}}\n"
    )
    lakehouse.land(f"data.{format_}{suffix}", encode(all_types(format_)))
    result = lakehouse.run(template)
    assert (result.rows, result.unknown_columns) == (2, [])
    # PyIceberg 0.11 reads a null list of structs as an empty one: the file itself is looked at.
    paths = [task.file.file_path.removeprefix("file://") for task in lakehouse.table("lake.all_types").scan().plan_files()]
    rows = pq.read_table(paths[0], partitioning=None).to_pylist()
    expected = {name: values[1] for name, values in TYPES.items()}
    if format_ == "csv":  # in CSV, as here, an empty field is a null
        assert rows[1] == NULLS
    assert sorted(rows, key=lambda row: row["c_int"] is None) == [expected, NULLS]


# ------------------------------------------------------------------------------------------------------------------ CSV
ABC = schema(a="int!", b="string", c="date")


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("a;b\n1;x\n", CsvOptions(delimiter=";"), [(1, "x")]),
        ('a\tb\n1\t"x\ty"\n', CsvOptions(delimiter="\t"), [(1, "x\ty")]),
        ("1,x\n2,y\n", CsvOptions(column_names=["a", "b"]), [(1, "x"), (2, "y")]),
        ("# c\n# d\na,b\n1,x\n", CsvOptions(skip_rows=2), [(1, "x")]),
        ("# c\n1,x\n", CsvOptions(skip_rows=1, column_names=["a", "b"]), [(1, "x")]),
        ('a,b\n1,NA\n2,"NA"\n3,-\n4,\n', CsvOptions(null_values=["NA", "-"]), [(1, None), (2, "NA"), (3, None), (4, "")]),
        ('a,b\n1,\n2,""\n', None, [(1, None), (2, "")]),
        ('a,b\r\n1,"x\r\ny"\r\n2,"say ""hi"""\r\n', None, [(1, "x\r\ny"), (2, 'say "hi"')]),
        ("a,b\r1,x\r2,y\r", None, [(1, "x"), (2, "y")]),
        ("\ufeffa,b\n1,x\n", None, [(1, "x")]),
        ("\ufeff1,x\n", CsvOptions(column_names=["a", "b"]), [(1, "x")]),
        ("\n\na,b\n\n1,x\n\n", None, [(1, "x")]),
        ('b,a,"odd\nname"\nx,1,2\n', None, [(1, "x")]),
        ("b,a\nx,1", None, [(1, "x")]),
        ("", None, []),
        ("\n", None, []),
        ("a,b", None, []),
        ("a,b\n", None, []),
        ("a,b\n\n", None, []),
        ("# only\n", CsvOptions(skip_rows=1), []),
        ("# only\n", CsvOptions(skip_rows=5), []),
        ("", CsvOptions(column_names=["a", "b"]), []),
    ],
)
def test_csv_layouts(tmp_path: Path, content: str, options: CsvOptions | None, expected: list[tuple[int, str]]) -> None:
    rows, bad, _ = read(tmp_path / "f.csv", content, ABC, options=options)
    assert ([(row["a"], row["b"]) for row in rows], bad) == (expected, [])
    assert all(row["c"] is None for row in rows)  # an optional column that the file lacks


@pytest.mark.parametrize("block", [40, 64, 8 * 1024 * 1024])
@pytest.mark.parametrize("skip", [0, 2])
def test_csv_numbers_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, skip: int) -> None:
    monkeypatch.setattr(formats, "_BLOCK", block)
    kinds = ["{n},x,2024-01-01", "{n}", "x{n},y,", '{n},"a\nb",', ",null,", "{n},z,2024-13-01", "{n},,,,"]
    rows = [kinds[n % 7].format(n=n) for n in range(1, 90)] + ["99"] * 3
    content = "# comment\n" * skip + "a,b,c\n" + "\n\n".join(rows)
    good, bad, _ = read(tmp_path / "f.csv", content, ABC, options=CsvOptions(skip_rows=skip))
    expected = {
        0: None, 1: "1 fields instead of 3", 2: "not an int", 3: None, 4: "null in a required column", 5: "not a date",
        6: "5 fields instead of 3",
    }  # fmt: skip
    wanted = {n: expected[n % 7] for n in range(1, 90)} | dict.fromkeys((90, 91, 92), "1 fields instead of 3")
    assert {found.row: found.reason for found in bad} == {n: reason for n, reason in wanted.items() if reason}
    assert [row["a"] for row in good] == [n for n, reason in wanted.items() if not reason]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("b,c\nSECRET,\n", "no column a, which is required"),
        ("SECRET,x,y\n1,2,3\n", "no column a, which is required"),
        ("a,b,a\n1,x,2\n", "has the column a twice"),
        (b"a,b\n1,SECRET\xff\n", "not UTF-8 or not well formed csv: convert it"),
        (b'"' + b"x" * 200_000, "not UTF-8 or not well formed csv: convert it"),
        (b"\x00\x01PAR1", "no column a"),
    ],
)
def test_csv_files_that_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refused(tmp_path / "f.csv", content, ABC)


def test_a_csv_without_its_header_shows_no_values(tmp_path: Path) -> None:
    message = refused(tmp_path / "f.csv", "SECRET,1\nSECRET,2\n", schema(a="string", b="int"))
    assert "none of the table's columns" in message


@pytest.mark.parametrize(
    ("type_", "text"),
    [("int", "2147483648"), ("int", "1.0"), ("int", " 1"), ("long", "1e3"), ("float", "1e39"), ("double", "1e400"), ("boolean", "yes"),
     ("decimal(4,2)", "1.005"), ("decimal(4,2)", "100"), ("date", "2024-02-30"), ("time", "24:00:00"), ("time", "1:00"),
     ("timestamp", "2024-01-01T00:00:00Z"), ("timestamptz", "2024-01-01T00:00:00"), ("timestamp", "2024-01-01T00:00:00.1234567"),
     ("uuid", "1234"), ("binary", "0g"), ("fixed[4]", "0001"), ("list<int>", "[1"), ("list<int>", "[1.5]"), ("list<int>", '{"a": 1}'),
     ("map<string, int>", '{"a": 1, "a": 2}'), ("map<long, int>", '{"1": 1, "01": 2}'), ("struct<a: int>", "[1]"),
     ("list<float>", "[1e39]"), ("list<string>", "[" * 5000), ("struct<a: boolean>", '{"a": 1}')],
)  # fmt: skip
def test_text_that_is_no_value(tmp_path: Path, type_: str, text: str) -> None:
    rows, bad, _ = read(tmp_path / "f.csv", as_csv([["id", "v"], ["1", text], ["2", None]]), schema(id="int", v=type_))
    assert [(row["id"], row["v"]) for row in rows] == [(2, None)]
    assert [(found.row, found.column, found.value) for found in bad] == [(1, "v", text)]
    assert json.loads(bad[0].record) == {"id": "1", "v": text}


@pytest.mark.parametrize(("text", "value"), [("inf", math.inf), ("-Infinity", -math.inf)])
def test_infinity_in_csv_is_a_value(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path / "f.csv", f"v\n{text}\n", schema(v="double"))[0] == [{"v": value}]


# ----------------------------------------------------------------------------------------------------------------- JSON
RECORDS = schema(
    id="int!", name="string", day="date", at="timestamptz", local="timestamp", price="decimal(6,2)", ratio="float", tags="map<string, int>"
)


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (b'{"id": 1', "", "not JSON"),
        (b"[1]", "", "not a JSON object"),
        (b'{"id": 1} {"id": 2}', "", "not JSON"),
        (b'{"id": 1}{"id": 2}', "", "not JSON"),
        (b'{"id": 1, "id": 2}', "id", "a key stands twice"),
        (b'{"id": 1, "tags": {"SECRET": 1, "SECRET": 2}}', "", "a key stands twice"),
        (b'{"id": 1, "name": "\xff"}', "", "not JSON in UTF-8"),
        (b'{"id": 1, "name": "\\ud800"}', "name", "not a string"),
        (b'{"id": 1, "name": 5}', "name", "not a string"),
        (b'{"id": 99999999999}', "id", "not an int"),
        (b'{"id": 1.0}', "id", "not an int"),
        (b'{"id": "1"}', "id", "not an int"),
        (b'{"id": null}', "id", "null in a required column"),
        (b"{}", "", "has none of the table's columns"),
        (b'{"ID": 1, "Name": "SECRET"}', "", "has none of the table's columns"),
        (b'{"id": 1, "ratio": 1e39}', "ratio", "not a float"),
        (b'{"id": 1, "ratio": 1e400}', "ratio", "not a float"),
        (b'{"id": 1, "ratio": ' + b"1" * 400 + b"}", "ratio", "not a float"),
        (b'{"id": 1, "price": 1.005}', "price", "not a decimal(6, 2)"),
        (b'{"id": 1, "price": 12345}', "price", "not a decimal(6, 2)"),
        (b'{"id": 1, "day": 5}', "day", "not a date"),
        (b'{"id": 1, "day": "2024-02-30"}', "day", "not a date"),
        (b'{"id": 1, "at": "2024-01-01T00:00:00"}', "at", "not a timestamp with a zone offset"),
        (b'{"id": 1, "local": "2024-01-01T00:00:00Z"}', "local", "not a timestamp without zone"),
        (b'{"id": 1, "local": 5}', "local", "not a timestamp without zone"),
        (b'{"id": 1, "tags": {"a": 1.5}}', "tags", "not a map<string, int32>"),
        (b'{"id": 1, "tags": 5}', "tags", "not a map<string, int32>"),
        (b'{"id": 1, "name": ' + b"[" * 5000 + b"}", "", "not JSON"),
        (b"\x00", "", "not JSON"),
        (b"null", "", "not a JSON object"),
        (b'{"id": 1}null{"id": 2}', "", "not JSON"),
    ],
)
def test_json_lines_that_are_no_rows(tmp_path: Path, line: bytes, column: str, reason: str) -> None:
    content = b'\n\r\n{"id": 7}\n' + line + b'\n\n{"id": 9, "day": "2024-02-29", "price": "1.20"}'
    rows, bad, _ = read(tmp_path / "f.jsonl", content, RECORDS)
    assert [row["id"] for row in rows] == [7, 9]
    assert (rows[1]["day"], rows[1]["price"]) == (date(2024, 2, 29), Decimal("1.20"))
    assert [(found.row, found.column) for found in bad] == [(2, column)]
    assert reason in bad[0].reason
    assert "SECRET" not in str(bad[0])


def test_a_record_over_several_lines_is_no_row(tmp_path: Path) -> None:
    """Also where another line with several records makes the count right."""
    rows, bad, _ = read(tmp_path / "f.jsonl", '{"id":1}{"id":2}\n{"id":\n3}\n{"id":4}', RECORDS)
    assert ([row["id"] for row in rows], [found.row for found in bad]) == ([4], [1, 2, 3])


@pytest.mark.parametrize("format_", ["json", "jsonl"])
@pytest.mark.parametrize("content", ["", "\n", " \n\t", "\ufeff"])
def test_empty_json_has_no_rows(tmp_path: Path, format_: str, content: str) -> None:
    assert read(tmp_path / f"f.{format_}", content, RECORDS) == ([], [], [])


@pytest.mark.parametrize(("format_", "content"), [("json", '\ufeff[{"id": 1, "x": 2}]'), ("jsonl", '\ufeff\n{"id": 1, "x": 2}\r\n')])
def test_json_with_a_byte_order_mark_and_unknown_keys(tmp_path: Path, format_: str, content: str) -> None:
    rows, bad, unknown = read(tmp_path / f"f.{format_}", content, RECORDS)
    assert ([row["id"] for row in rows], bad, unknown) == ([1], [], ["x"])


@pytest.mark.parametrize("block", [1, 7, 50, 8 * 1024 * 1024])
def test_json_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", block)
    columns = schema(id="int!", text="string", items="list<struct<a: int, b: list<string>>>")
    records = [
        {"id": n, "text": 'é}\\"],[{' * (n % 3), "items": [{"a": k, "b": ["]", "}\n", "𝄞"]} for k in range(n % 4)]} for n in range(1, 30)
    ]
    for format_, content in (
        ("json", json.dumps(records, indent=1, ensure_ascii=False)),
        ("json", json.dumps(records).replace(", ", ",").replace(": ", ":")),
        ("jsonl", "\n".join(json.dumps(record, ensure_ascii=False) for record in records)),
    ):
        assert read(tmp_path / f"f.{format_}", content, columns) == (records, [], []), format_
    records[11]["id"] = "x"
    for format_, content in (("json", json.dumps(records)), ("jsonl", "\n\n".join(map(json.dumps, records)))):
        rows, bad, _ = read(tmp_path / f"f.{format_}", content, columns)
        assert (len(rows), places(bad)) == (28, [(12, "id", "not an int")])


@pytest.mark.parametrize("block", [3, 8 * 1024 * 1024])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1}, {"id": 2}', "ends before its JSON array does"),
        ('[{"id": 1}, {"id": ', "not valid JSON"),
        ('[{"id": 1}', "ends before its JSON array does"),
        ("[", "ends before its JSON array does"),
        ('{"id": 1}\n{"id": 2}', "its format is jsonl"),
        ('"SECRET"', "not a JSON array"),
        ('[{"id": 1} {"id": 2}]', "not a valid JSON array"),
        ('[{"id": 1},]', "not valid JSON"),
        ('[,{"id": 1}]', "not valid JSON"),
        ('[{"id": 1}] {"id": 2}', "not a valid JSON array"),
        ("[nil]", "not valid JSON"),
    ],
)
def test_json_arrays_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, content: str, message: str) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", block)
    assert message in refused(tmp_path / "f.json", content, RECORDS)


@pytest.mark.parametrize("block", [2, 8 * 1024 * 1024])
def test_elements_of_an_array_that_are_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", block)
    rows, bad, _ = read(tmp_path / "f.json", '[123456, "ab", null, {"id": 4}, [1, 2], -1.25]', RECORDS)
    assert ([row["id"] for row in rows], [found.row for found in bad]) == ([4], [1, 2, 3, 5, 6])


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_blocks, "_BLOCK", 16)
    monkeypatch.setattr(json_blocks, "_MAX_RECORD", 64)
    assert "Is its format jsonl?" in refused(tmp_path / "f.jsonl", "x" * 200, RECORDS)


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_records_with_none_of_the_columns_are_bad_rows(tmp_path: Path, format_: str) -> None:
    records: list[Any] = [{"id": None, "x": 1}, {"x": "SECRET"}, {"id": 3}, {}, {"id": None}, {"ID": 4}]
    content = json.dumps(records) if format_ == "json" else "\n".join(map(json.dumps, records))
    rows, bad, _ = read(tmp_path / f"f.{format_}", content, schema(id="int", tags="map<string, date>"))
    assert [row["id"] for row in rows] == [None, 3, None]
    assert places(bad) == [(row, "", "has none of the table's columns") for row in (2, 4, 6)]


def test_json_that_arrow_cannot_hash_is_one_files_problem(tmp_path: Path) -> None:
    columns = schema(m="map<struct<a: int>, string>")
    assert "TypeError" in refused(tmp_path / "f.jsonl", '{"m": {"{\\"a\\": 1}": "SECRET"}}', columns)


@pytest.mark.parametrize("odd", [b'"\xff"', b"[" * 5000 + b"]" * 5000, b'{"a": 1, "a": 2}', b"1" * 5000, b'"a\tb"'])
def test_a_row_does_not_depend_on_its_neighbours(tmp_path: Path, odd: bytes) -> None:
    """Also where Arrow takes in an unknown key what Python does not."""
    line = b'{"id": 1, "other": ' + odd + b"}"
    alone = read(tmp_path / "f.jsonl", line, RECORDS)
    beside = read(tmp_path / "f.jsonl", line + b'\n{"id": "x"}', RECORDS)
    assert alone[0] == beside[0]
    assert places(beside[1]) == sorted([*places(alone[1]), (2, "id", "not an int")])


def read_skipping(path: Path, content: str | bytes, columns: pa.Schema, skip: str) -> tuple[list[Any], list[BadRow], int]:
    """The rows, the bad ones, and how many are left out because a column is null."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    folder = SourceFolder(str(path))
    source = Source(path="", format=path.name.split(".")[1])  # type: ignore[arg-type]
    found = list(FileReader(folder, folder.list()[0], source, columns, frozenset(), skip).rows())
    numbers = [number for rows in found for number in rows.numbers]
    rows = list(zip(numbers, [row for rows in found for row in rows.batch.to_pylist()], strict=True))
    return rows, [bad for rows in found for bad in rows.bad], sum(rows.skipped for rows in found)


SKIPPED = [
    '{"id": null}', '{"id": null, "name": 5}', '{"name": 5}', "{}", '{"ID": 1}', '{"name": "a", "name": "b"}', '{"day": "x"}',
    '{"id": null, "id": null}', '{"ratio": 1e39}', '{"tags": {"a": 1, "a": 2}}', '{"price": 1' + "0" * 5000 + "}",
]  # fmt: skip


@pytest.mark.parametrize("others", [[], ['{"id": "x"}', "{", '{"id": null, "id": 1}', "[null]", "null", '{"id": null']])
@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_json_records_without_the_skip_column_are_skipped_whatever_else_is_wrong(tmp_path: Path, format_: str, others: list[str]) -> None:
    if format_ == "json":
        others = others[2:5] if others else []  # an array that is not JSON is refused as a whole
    lines = ['{"id": 7}', *SKIPPED, *others, '{"id": 9}']
    content = "\n".join(lines) if format_ == "jsonl" else f"[{','.join(lines)}]"
    rows, bad, skipped = read_skipping(tmp_path / f"f.{format_}", content, RECORDS, "id")
    assert [(number, row["id"]) for number, row in rows] == [(1, 7), (len(lines), 9)]
    assert sorted(found.row for found in bad) == [1 + len(SKIPPED) + n for n in range(1, 1 + len(others))]
    assert skipped == len(SKIPPED)


@pytest.mark.parametrize("line", SKIPPED)
def test_a_json_record_that_is_skipped_is_so_alone(tmp_path: Path, line: str) -> None:
    assert read_skipping(tmp_path / "f.jsonl", line, RECORDS, "id") == ([], [], 1)


BAD_VALUES = [
    ("id", '"7"'), ("id", "7.5"), ("id", "99999999999"), ("name", "7"), ("day", '"x"'), ("day", "7"), ("price", '"x"'),
    ("tags", '{"a": "x"}'),
    ("price", "1.005"), ("price", "\"1,5\""), ("ratio", "true"), ("ratio", '"x"'), ("at", '"2024-01-01"'),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_column_that_is_wrong_in_every_row_takes_no_time(tmp_path: Path, column: str, value: str) -> None:
    lines = [f'{{"name": "n{n}", {f"{chr(34)}id{chr(34)}: {n}, " if column != "id" else ""}"{column}": {value}}}' for n in range(3000)]
    if column == "name":
        lines = [line.replace('"name": "n', '"other": "n', 1) for line in lines]
    start = time_.perf_counter()
    rows, bad, _ = read(tmp_path / "f.jsonl", "\n".join(lines), RECORDS)
    taken = time_.perf_counter() - start
    assert (len(rows), len(bad), {found.column for found in bad}) == (0, 3000, {column})
    print(f"{column}: {value}: {taken:.2f} s")
    assert taken < 3, "1 s on an idle machine"


def test_csv_shows_no_values_where_a_column_is_hidden(tmp_path: Path) -> None:
    """A delimiter too many puts a hidden value under the next column's name."""
    columns = schema(phone="string", amount="int", note="string")
    content = "phone,amount,note\n+49,SECRET,5\n"
    [bad] = read(tmp_path / "f.csv", content, columns, hidden=("phone",))[1]
    assert str(bad) == "row 1, column amount: not an int"
    assert "SECRET" in str(read(tmp_path / "f.csv", content, columns)[1][0])


@pytest.mark.parametrize("header", ["a;b", "A,B"])
def test_a_header_that_is_not_the_tables_says_where_to_look(tmp_path: Path, header: str) -> None:
    assert "delimiter, skip_rows, column_names" in refused(tmp_path / "f.csv", f"{header}\n1,2\n", schema(a="int", b="int"))


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_hidden_values_are_not_shown(tmp_path: Path, format_: str) -> None:
    lines = {
        "jsonl": ['{"id": "SECRET"}', '{"id": "SECRET', '{"id": 1, "id": "SECRET"}', '{"id": 1, "name": {"SECRET": 1}}', '["SECRET"]'],
        "csv": ["id,name", "SECRET,x", "1,SECRET,3", '"SECRET'],
    }[format_]
    _, bad, _ = read(tmp_path / f"f.{format_}", "\n".join(lines), RECORDS, hidden=("id", "name"))
    assert len(bad) == {"jsonl": 5, "csv": 3}[format_]
    assert not [found for found in bad if "SECRET" in str(found)]
    assert all("SECRET" in found.record for found in bad)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=4), st.just("2024-01-01"), st.just({"a": 1}),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3) | st.text(max_size=2), max_size=2),
    st.lists(st.integers(0, 3), max_size=2),
)  # fmt: skip
RECORD = st.dictionaries(st.sampled_from(["id", "name", "day", "ratio", "tags", "point", "unknown"]), VALUES, max_size=4).map(json.dumps)
LINE = st.one_of(RECORD, RECORD, RECORD, RECORD, RECORD.map(lambda text: text[:-2]), st.tuples(RECORD, RECORD).map("".join),
                 st.sampled_from(["{", "}", "", "null", '{"id": 1, "id": 2}', '"}', '{"name": "', '{"id":', "3}"]))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINE, max_size=12), block=st.sampled_from([8, 64, 1 << 20]))
def test_blocks_and_single_lines_agree(tmp_path_factory: pytest.TempPathFactory, lines: list[str], block: int) -> None:
    columns = schema(id="int", name="string", day="date", ratio="float", tags="map<string, int>", point="struct<a: int, b: string>")
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_blocks, "_BLOCK", block)
        rows, bad, _ = read(folder / "all.jsonl", "\n".join(lines), columns)
    alone = [read(folder / "one.jsonl", line, columns)[:2] for line in lines if line.strip()]
    assert repr(rows) == repr([row for good, _ in alone for row in good])
    expected = [(number, found[0].column, found[0].reason) for number, (_, found) in enumerate(alone, 1) if found]
    assert sorted(places(bad)) == expected


# -------------------------------------------------------------------------------------------------------------- Parquet
ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        ("int", pa.array([1, 2**31, None], pa.int64()), [1, ..., None]),
        ("long", pa.array([1, 2**63], pa.uint64()), [1, ...]),
        ("float", pa.array([1, 2**24 + 1], pa.int32()), [1.0, ...]),
        ("double", pa.array([1.5, math.inf], pa.float32()), [1.5, math.inf]),
        ("decimal(6,2)", pa.array([Decimal("1.2000"), Decimal("1.2345"), Decimal("123456.0000")], pa.decimal128(12, 4)),
         [Decimal("1.20"), ..., ...]),
        ("timestamp", pa.array([1000, 1001], pa.timestamp("ns")), [MOMENT.replace(1970, 1, 1, 0, 0, 0, 1), ...]),
        ("timestamptz", pa.array([datetime(2024, 1, 1, tzinfo=ZONE)], pa.timestamp("ms", "Europe/Berlin")),
         [datetime(2023, 12, 31, 22, tzinfo=UTC)]),
        ("date", pa.array([86_400_000], pa.date64()), [date(1970, 1, 2)]),
        ("time", pa.array([1000, 1001], pa.time64("ns")), [time(0, 0, 0, 1), ...]),
        ("string", pa.array(["x", None], pa.large_string()), ["x", None]),
        ("string", pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
        ("uuid", pa.array([UUID.bytes], pa.binary(16)), [UUID]),
        ("fixed[2]", pa.array([b"ab", b"abc"], pa.binary()), [b"ab", ...]),
        ("binary", pa.array([b"ab"], pa.binary(2)), [b"ab"]),
        ("list<int>", pa.array([[1], [2**40]], pa.large_list(pa.int64())), [[1], ...]),
        ("map<string, int>", pa.array([[("a", 1)], [("b", 2**40)]], pa.map_(pa.string(), pa.int64())), [[("a", 1)], ...]),
        ("struct<a: int, b: string>", pa.array([{"b": "x", "a": 1, "c": 2}]), [{"a": 1, "b": "x"}]),
        ("struct<a: int, b: string>", pa.array([{"a": 1}]), [{"a": 1, "b": None}]),
        ("date", pa.nulls(2), [None, None]),
    ],
)  # fmt: skip
def test_parquet_casts_lose_nothing(tmp_path: Path, type_: str, values: pa.Array, expected: list[Any]) -> None:
    """``...`` stands for a row that does not fit."""
    rows, bad, _ = read(tmp_path / "f.parquet", as_parquet(pa.table({"v": values})), schema(v=type_))
    assert [row["v"] for row in rows] == [value for value in expected if value is not ...]
    assert [found.row for found in bad] == [number for number, value in enumerate(expected, 1) if value is ...]


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("float", pa.array([1.0], pa.float64())),
        ("int", pa.array([1.0])),
        ("int", pa.array(["1"])),
        ("int", pa.array([True])),
        ("string", pa.array([1])),
        ("string", pa.array([b"x"])),
        ("timestamp", pa.array([0], pa.timestamp("us", "UTC"))),
        ("timestamptz", pa.array([0], pa.timestamp("us"))),
        ("timestamp", pa.array([date(2024, 1, 1)])),
        ("date", pa.array([0], pa.timestamp("us"))),
        ("decimal(9,2)", pa.array([1.5])),
        ("decimal(9,2)", pa.array([1])),
        ("uuid", pa.array([str(UUID)])),
        ("list<int>", pa.array([1])),
        ("list<int>", pa.array([[1.5]])),
        ("struct<a: int>", pa.array([{"a": "x"}])),
    ],
)
def test_parquet_types_without_a_lossless_way_are_refused(tmp_path: Path, type_: str, values: pa.Array) -> None:
    assert "v as" in refused(tmp_path / "f.parquet", as_parquet(pa.table({"v": values})), schema(v=type_))


def test_parquet_numbers_bad_rows_and_reports_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_BATCH_ROWS", 7)
    table = pa.table(
        {"x": [0] * 50, "b": [None if n % 11 == 0 else "b" for n in range(50)], "a": [2**40 if n % 13 == 0 else n for n in range(50)]}
    )
    content = as_parquet(table, row_group_size=20)
    rows, bad, unknown = read(tmp_path / "f.parquet", content, schema(a="int", b="string!", c="date"))
    assert unknown == ["x"]
    assert rows[0] == {"a": 1, "b": "b", "c": None}
    assert places(bad) == sorted(
        [(n + 1, "a", "not an int") for n in range(50) if n % 13 == 0]
        + [(n + 1, "b", "null in a required column") for n in range(50) if n % 11 == 0 and n % 13]
    )
    assert "no column z" in refused(tmp_path / "g.parquet", content, schema(z="int!"))
    assert read(tmp_path / "h.parquet", as_parquet(table.slice(0, 0)), schema(a="int"))[:2] == ([], [])


@pytest.mark.parametrize("batch_rows", [2, 65_536])
@pytest.mark.parametrize(
    ("type_", "values", "bad"),
    [
        ("string", ["é", "MARK", None, "xMARKx"], [2, 4]),
        ("string!", ["MARK", "a", "b", "c"], [1]),
        ("list<string>", [["a", None], [], ["b", "MARK"], None, ["c"]], [3]),
        ("struct<a: string, n: int>", [{"a": "MARK", "n": 1}, None, {"a": None, "n": 2}, {"a": "x", "n": 3}], [1]),
        ("map<string, string>", [[("a", "b")], [("MARK", "b")], None, [("a", "b"), ("c", "MARK")], []], [2, 4]),
        ("list<struct<m: map<int, list<string>>>>",
         [[], [{"m": [(1, ["a"])]}, {"m": None}], [None, {"m": [(1, []), (2, ["b", "MARK"])]}], [{"m": []}]], [3]),
    ],
)  # fmt: skip
def test_parquet_strings_that_are_not_utf8_are_bad_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str, values: list[Any], bad: list[int], batch_rows: int
) -> None:
    monkeypatch.setattr(formats, "_BATCH_ROWS", batch_rows)
    columns = schema(v=type_, id="string")
    table = pa.table([pa.array(values, columns.field("v").type), pa.array(map(str, range(len(values))))], names=["v", "id"])
    content = as_parquet(table, compression="none", use_dictionary=False).replace(b"MARK", b"\xffARK")
    rows, found, _ = read(tmp_path / "f.parquet", content, columns)
    assert rows == [row for number, row in enumerate(table.to_pylist(), 1) if number not in bad]
    assert [(row.row, row.column, row.reason, row.value) for row in found] == [(row, "v", "not UTF-8", None) for row in bad]
    for row in found:
        record = json.loads(row.record.encode())
        assert "\ufffdARK" in record["v"]
        assert record["id"] == str(row.row - 1)


@pytest.mark.parametrize("source", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_strings_that_are_cast_are_looked_at_too(source: pa.DataType) -> None:
    values = pa.array([b"a", b"\xff", None], pa.binary()).view(pa.string())
    if pa.types.is_dictionary(source):
        values = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), values)
    batch = pa.RecordBatch.from_arrays([values if pa.types.is_dictionary(source) else values.cast(source)], names=["v"])
    rows = Conformer(schema(v="string"), hidden=()).conform(Rows(batch, range(1, 4)))
    assert (rows.batch.to_pylist(), places(rows.bad)) == ([{"v": "a"}, {"v": None}], [(2, "v", "not UTF-8")])
    assert "\ufffd" in rows.bad[0].record


def test_a_judge_does_not_meet_what_is_not_utf8() -> None:
    values = pa.array([b"a", b"\xff"], pa.binary()).view(pa.string())
    seen: list[Any] = []
    conformer = Conformer(schema(v="string!"), hidden=(), judge=lambda batch: seen.append(batch["v"].to_pylist()) or {})  # type: ignore[func-returns-value]
    rows = conformer.conform(Rows(pa.RecordBatch.from_arrays([values], names=["v"]), [1, 2]))
    assert (seen, places(rows.bad)) == ([["a", None]], [(2, "v", "not UTF-8")])


def test_what_is_below_a_null_is_not_looked_at() -> None:
    strings = pa.array([b"\xff", b"b"], pa.binary()).view(pa.string())
    values = pa.StructArray.from_arrays([strings], names=["a"], mask=pa.array([True, False]))
    batch = pa.RecordBatch.from_arrays([values], names=["v"])
    rows = Conformer(schema(v="struct<a: string>"), hidden=()).conform(Rows(batch, [1, 2]))
    assert (rows.batch.to_pylist(), rows.bad) == ([{"v": None}, {"v": {"a": "b"}}], [])


NAN = math.nan


@pytest.mark.parametrize("batch_rows", [2, 65_536])
@pytest.mark.parametrize(
    ("type_", "values", "bad"),
    [
        ("map<string, int>", [[("a", 1), ("b", 1)], [("a", 1), ("a", 2)], None, [], [("", None), ("b", 2), ("", 1)]], [2, 5]),
        ("map<long, int>", [[(1, 1)], [(1, 1)], [(2, 1), (2, 1)]], [3]),
        ("map<double, int>", [[(0.0, 1), (-0.0, 2)], [(NAN, 1), (NAN, 2)], [(1.0, 1), (2.0, 2)]], [1, 2]),
        ("map<boolean, int>", [[(True, 1), (False, 2)], [(True, 1), (True, 2)]], [2]),
        ("map<decimal(9,2), int>", [[(Decimal("1.00"), 1), (Decimal("1.00"), 2)]], [1]),
        ("map<struct<a: int>, int>", [[({"a": 1}, 1), ({"a": 1}, 2)], [({"a": 1}, 1), ({"a": 2}, 2)]], [1]),
        ("list<struct<m: map<date, int>>>",
         [[{"m": [(date(2024, 1, 1), 1)]}, {"m": [(date(2024, 1, 1), 1)]}], [], None,
          [{"m": None}, {"m": [(date(2024, 1, 1), 1), (date(2024, 1, 1), 2)]}]], [4]),
        ("map<int, map<string, int>>", [[(1, [("a", 1), ("a", 1)])], [(1, [("a", 1)]), (2, [("a", 1)])]], [1]),
    ],
)  # fmt: skip
def test_parquet_maps_with_a_key_twice_are_bad_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str, values: list[Any], bad: list[int], batch_rows: int
) -> None:
    monkeypatch.setattr(formats, "_BATCH_ROWS", batch_rows)
    columns = schema(v=type_)
    table = pa.table([pa.array(values, columns.field("v").type)], names=["v"])
    rows, found, _ = read(tmp_path / "f.parquet", as_parquet(table), columns)
    assert rows == [{"v": value} for number, value in enumerate(values, 1) if number not in bad]
    assert [(row.row, row.column, row.reason, row.value) for row in found] == [
        (row, "v", "a key of the map stands twice", None) for row in bad
    ]


def test_keys_that_are_uuids_are_looked_at() -> None:
    plain = pa.array([[(UUID.bytes, 1)], [(UUID.bytes, 1), (UUID.bytes, 2)]], pa.map_(pa.binary(16), pa.int32()))
    rows = Conformer(schema(v="map<uuid, int>"), hidden=()).conform(Rows(pa.RecordBatch.from_arrays([plain], names=["v"]), [1, 2]))
    assert (rows.numbers, places(rows.bad)) == ([1], [(2, "v", "a key of the map stands twice")])


MAPS = st.lists(st.none() | st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "MARK"])), max_size=3), max_size=12)


@settings(max_examples=100, deadline=None)
@given(maps=MAPS, start=st.integers(0, 12), end=st.integers(0, 12))
def test_only_the_rows_of_a_slice_are_looked_at(maps: list[Any], start: int, end: int) -> None:
    """A slice of an array holds its neighbours' elements, too."""
    marked = pa.array(maps, pa.map_(pa.string(), pa.string()))
    content = as_parquet(pa.table({"v": marked}), compression="none", use_dictionary=False).replace(b"MARK", b"\xffARK")
    whole = pq.read_table(io.BytesIO(content)).combine_chunks()
    part = (whole.to_batches() or [pa.RecordBatch.from_pylist([], whole.schema)])[0].slice(start, max(0, end - start))
    rows = Conformer(schema(v="map<string, string>"), hidden=()).conform(Rows(part, range(1, 1 + part.num_rows)))

    def reason(value: list[tuple[str, str]]) -> str | None:
        if any(item == "MARK" for _, item in value):
            return "not UTF-8"
        return "a key of the map stands twice" if len(dict(value)) < len(value) else None

    expected = [(number, reason(value or [])) for number, value in enumerate(maps[start : max(start, end)], 1)]
    assert [(row.row, row.reason) for row in rows.bad] == [(number, why) for number, why in expected if why]
    assert list(rows.numbers) == [number for number, why in expected if not why]


def test_parquet_that_allows_a_null_key_is_refused(tmp_path: Path) -> None:
    """No map with a null key comes further: Arrow reads none and makes none."""
    content = as_parquet(pa.table({"v": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32()))}), store_schema=False)
    required, optional = b"\x25\x00\x18\x03key", b"\x25\x02\x18\x03key"  # the key's repetition and name in the footer
    assert content.count(required) == 1
    assert "ArrowInvalid" in refused(tmp_path / "f.parquet", content.replace(required, optional), schema(v="map<string, int>"))


def test_good_strings_and_maps_take_little_time() -> None:
    strings = pa.array([f"user-{number}" for number in range(1_000_000)])
    maps = pa.array([[("a", number), ("b", number)] for number in range(100_000)], pa.map_(pa.string(), pa.int32()))
    for type_, values, most in (("string", strings, 0.1), ("map<string, int>", maps, 0.2)):
        conformer = Conformer(schema(v=type_), hidden=())
        batch = pa.RecordBatch.from_arrays([values.cast(conformer.schema.field("v").type)], names=["v"])
        start = time_.perf_counter()
        conformer.conform(Rows(batch, range(1, 1 + len(values))))
        taken = time_.perf_counter() - start
        print(f"{type_}: {taken:.3f} s")
        assert taken < most, "a tenth of it on an idle machine"


def test_a_parquet_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[Any] = []
    real = SourceFolder.open_file
    monkeypatch.setattr(SourceFolder, "open_file", lambda *args: handles.append(real(*args)) or handles[-1])  # type: ignore[func-returns-value]
    read(tmp_path / "f.parquet", as_parquet(pa.table({"a": [1]})), schema(a="long"))
    refused(tmp_path / "g.parquet", b"PAR1", schema(a="long"))
    assert [handle.closed for handle in handles] == [True, True]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", gzip.compress(b"x", mtime=0)])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path / "f.parquet", content, ABC)


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl"])
def test_truncated_gzip_is_refused(tmp_path: Path, format_: str) -> None:
    body = {"csv": "a,b\n" + "1,SECRET\n" * 5000, "json": json.dumps([{"a": 1}] * 5000), "jsonl": '{"a": 1}\n' * 5000}[format_]
    refused(tmp_path / f"f.{format_}.gz", gzip.compress(textwrap.dedent(body).encode())[:-12], ABC)


@pytest.mark.parametrize(
    ("type_", "good", "beyond"),
    [
        ("date", date(9999, 12, 31), pa.array([-719_163, 2_932_897], pa.int32()).cast(pa.date32())),
        ("timestamp", datetime(1, 1, 1), pa.array([253_402_300_800_000_000, 1_700_000_000 * 10**9], pa.int64()).cast(pa.timestamp("us"))),  # noqa: DTZ001
        ("timestamptz", datetime(9999, 12, 31, tzinfo=UTC), pa.array([-(2**62), 2**62], pa.int64()).cast(pa.timestamp("us", "UTC"))),
    ],
)  # fmt: skip
def test_dates_outside_the_years_1_to_9999_are_bad_rows(tmp_path: Path, type_: str, good: Any, beyond: pa.Array) -> None:
    values = pa.concat_arrays([beyond, pa.array([good, None], beyond.type)])
    rows, bad, _ = read(tmp_path / "f.parquet", as_parquet(pa.table({"v": values})), schema(v=type_))
    assert [row["v"] for row in rows] == [good, None]
    assert places(bad) == [(row, "v", "a date outside the years 1 to 9999") for row in (1, 2)]


def test_dates_outside_the_years_in_a_list_raise_nothing(tmp_path: Path) -> None:
    values = pa.array([[2**62]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us")))
    table = pa.table({"v": values, "id": ["x" * 20]})
    (tmp_path / "f.parquet").write_bytes(as_parquet(table.set_column(1, "id", pa.array([2**40]))))
    folder = SourceFolder(str(tmp_path / "f.parquet"))
    reader = FileReader(folder, folder.list()[0], Source(path="", format="parquet"), schema(v="list<timestamp>", id="int"), frozenset())
    [rows] = reader.rows()
    assert [(found.row, found.column) for found in rows.bad] == [(1, "id")]


def test_parquet_with_large_rows_is_read_in_small_batches(tmp_path: Path) -> None:
    table = pa.table({"v": [f"{n}".ljust(50_000, str(n % 7)) for n in range(1000)]})
    (tmp_path / "f.parquet").write_bytes(as_parquet(table, compression="zstd", use_dictionary=False))
    folder = SourceFolder(str(tmp_path / "f.parquet"))
    batches = [
        rows.batch
        for rows in FileReader(folder, folder.list()[0], Source(path="", format="parquet"), schema(v="string"), frozenset()).rows()
    ]
    assert sum(batch.num_rows for batch in batches) == 1000
    assert max(batch.nbytes for batch in batches) <= 9 * 1024 * 1024
    assert len(batches) < 10


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("decimal(38,0)", ["99999999999999999999999999999999999999", "9e37", "1.0"], ["3.5e38", "1" * 39, "1234567890" * 4 + "1", "-4e38"]),
        ("decimal(38,0)", ["0" * 50 + "7", "7." + "0" * 45], [f"{number}.90" for number in range(10**37, 10**37 + 200)]),
        ("decimal(8,2)", ["1e-2", "1" + "0" * 45 + "e-45"], ["1e-3", "1e40", "0." + "0" * 40 + "1"]),
    ],
)
def test_decimals_of_more_digits_than_there_is_room_for_are_no_other_numbers(
    tmp_path: Path, type_: str, good: list[str], bad: list[str]
) -> None:
    rows, found, _ = read(tmp_path / "f.csv", "d\n" + "\n".join([*good, *bad]), schema(d=type_))
    assert [row["d"] for row in rows] == [Decimal(text) for text in good]
    assert [row.reason for row in found] == [f"not a decimal({type_[8:-1].replace(',', ', ')})"] * len(bad)
