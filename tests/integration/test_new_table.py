"""A new table's template, from a sample file or a pattern: it lints, and its pipeline takes the sample's rows."""

from __future__ import annotations

import gzip
import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import run_command

if TYPE_CHECKING:
    from conftest import Lakehouse

CSV = """\
Order ID;orderedAt;Email;contact;Amount;ok;zip_like;note
1;2024-01-01T10:00:00Z;a@example.com;+49 170 1234567;1.5;true;00123;
2;2024-01-02T11:30:00+02:00;b@example.com;0170 7654321;2;false;00124;x
3;2024-01-02T12:00:00Z;;;;true;00125;y
"""
EVENTS = [
    {"id": "a-1", "at": "2024-01-01T10:00:00Z", "day": "2024-01-01", "n": 1, "x": 1.5, "items": [{"sku": "a", "n": 1}],
     "labels": {"Color": "red"}, "shipTo": "Bonn", "mixed": 1, "client": {"ip_address": "10.0.0.1"}, "never": None},
    {"id": "a-2", "at": "2024-01-01T11:00:00Z", "day": "2024-01-02", "n": 2, "x": 2, "items": [], "labels": {}, "mixed": "x"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _environment(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lakehouse.environment.items():
        monkeypatch.setenv(name, value)


def made(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """The template that the command writes, which lint takes; and its notes."""
    code, out, err = run_command(capsys, "new-table", *arguments)
    assert code == 0, err
    lint, said, _ = run_command(capsys, "lint")
    assert lint == 0, said
    return lakehouse.template_of(arguments[0]), out + err


def types(template: Any) -> dict[str, str]:
    return {column.name: column.type for column in template.columns}


def test_a_csv_file_gives_a_template_by_which_its_rows_are_loaded(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "orders.csv").write_text(CSV)
    template, said = made(lakehouse, capsys, "shop.orders", "--from", str(tmp_path / "orders.csv"), "--owner", "team-shop")
    assert types(template) == {
        "order_id": "long", "ordered_at": "timestamptz", "email": "string", "contact": "string",
        "amount": "double", "ok": "boolean", "zip_like": "string", "note": "string",
    }  # fmt: skip
    assert [column.name for column in template.columns if column.required] == ["order_id", "ordered_at"]
    assert {column.name: column.access_level for column in template.columns if column.pii} == {
        "email": "restricted", "contact": "restricted", "zip_like": "restricted",
    }  # fmt: skip
    assert (template.identifier, template.owner) == (["order_id"], "team-shop")
    assert [(part.column, part.transform) for part in template.partition_spec] == [("ordered_at", "day")]
    assert [sort.column for sort in template.sort_order] == ["ordered_at"]
    assert "contact (its values look like telephone numbers)" in said and "--no-pii" in said
    assert "`Order ID` is `order_id`" in said
    assert "example.com" not in said and "1234567" not in said
    lakehouse.apply()
    lakehouse.land("orders/orders.csv", CSV)
    lakehouse.run(template)
    rows = lakehouse.rows("shop.orders").sort_by("order_id").to_pylist()
    assert rows[1] == {
        "order_id": 2, "ordered_at": datetime(2024, 1, 2, 9, 30, tzinfo=UTC), "email": "b@example.com", "contact": "0170 7654321",
        "amount": 2.0, "ok": False, "zip_like": "00124", "note": "x",
    }  # fmt: skip
    assert rows[0]["note"] is None and rows[2]["email"] is None


@pytest.mark.parametrize(("file", "array"), [("events.jsonl", False), ("events.json", True), ("lines.json", False), ("e.jsonl.gz", False)])
def test_json_gives_nested_types_and_says_what_is_left_out(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str, array: bool
) -> None:
    content = json.dumps(EVENTS) if array else "".join(json.dumps(row) + "\n" for row in EVENTS)
    (tmp_path / file).write_bytes(gzip.compress(content.encode()) if file.endswith("gz") else content.encode())
    template, said = made(lakehouse, capsys, "shop.events", "--from", str(tmp_path / file))
    assert types(template) == {
        "id": "string", "at": "timestamptz", "day": "date", "n": "long", "x": "double",
        "items": "list<struct<sku: string, n: long>>", "labels": "map<string, string>",
        "client": "struct<ip_address: string>", "never": "string",
    }  # fmt: skip
    assert [column.name for column in template.columns if column.pii] == ["client"]
    assert "`shipTo` is left out: write it as `ship_to`" in said
    assert "`mixed` is left out: it has values of several kinds" in said
    assert "`never` has no value in the sample" in said
    assert "do not fit" not in said
    lakehouse.apply()
    lakehouse.land(f"events/{file}", (tmp_path / file).read_bytes())
    lakehouse.run(template)
    assert sorted(lakehouse.rows("shop.events")["n"].to_pylist()) == [1, 2]


def test_parquet_gives_types_that_take_it_without_loss(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.uint32()),
            "at": pa.array([1_000, 2_000], pa.timestamp("ns", tz="UTC")),
            "small": pa.array([1, 2], pa.int8()),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "text": pa.array(["a", "b"], pa.large_string()),
            "tags": pa.array([["a"], []], pa.list_(pa.string())),
            "pair": pa.array([{"a": 1.5}, None], pa.struct([("a", pa.float32())])),
            "span": pa.array([1, 2], pa.duration("s")),
        }
    )
    pq.write_table(table, tmp_path / "sample.parquet")
    template, said = made(lakehouse, capsys, "shop.things", "--from", str(tmp_path / "sample.parquet"), "--no-pii")
    assert types(template) == {
        "id": "long", "at": "timestamptz", "small": "int", "price": "decimal(9,2)", "kind": "string", "text": "string",
        "tags": "list<string>", "pair": "struct<a: float>",
    }  # fmt: skip
    assert "`span` is left out: a template has no type for duration[s]" in said
    assert "do not fit" not in said
    lakehouse.apply()
    lakehouse.land("things/a.parquet", (tmp_path / "sample.parquet").read_bytes())
    lakehouse.run(template)
    assert lakehouse.rows("shop.things").sort_by("id")["price"].to_pylist() == [Decimal("1.50"), None]


def test_flags_take_the_place_of_guesses(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(CSV)
    code, out, _ = run_command(
        capsys, "new-table", "shop.o", "--from", str(tmp_path / "o.csv"), "--pii", "note", "--key", "", "--time", "ordered_at", "--json"
    )
    answer = json.loads(out)
    assert (code, answer["table"], answer["files"]) == (0, "shop.o", [str(lakehouse.settings.templates / "o.yaml")])
    template = lakehouse.template_of("shop.o")
    assert ([column.name for column in template.columns if column.pii], template.identifier) == (["note"], [])


def test_people_are_asked(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "o.csv").write_text(CSV)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    # The table, the file; e-mail yes, contact no, zip_like no; the key, the time as guessed, description, owner.
    answers = ["shop.asked", str(tmp_path / "o.csv"), "y", "n", "n", "order_id", "", "One order.", "team-x"]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(answers) + "\n"))
    code, _, err = run_command(capsys, "new-table")
    assert code == 0, err
    template = lakehouse.template_of("shop.asked")
    assert [column.name for column in template.columns if column.pii] == ["email"]
    assert (template.identifier, template.description, template.owner) == (["order_id"], "One order.", "team-x")
    assert template.partition_spec[0].column == "ordered_at"


CHANGES = "customer_id,changed_at,op,email,plan\n1,2024-01-01T00:00:00Z,insert,a@example.com,free\n1,2024-02-01T00:00:00Z,update,,plus\n"


def test_change_records_give_a_dimension_and_a_feature_table_counts_it(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "changes.csv").write_text(CHANGES)
    template, _ = made(lakehouse, capsys, "shop.customers", "--pattern", "scd_type2", "--from", str(tmp_path / "changes.csv"))
    pipeline = template.scd_type2
    assert (pipeline.key, pipeline.effective_at, pipeline.operation) == (["customer_id"], "changed_at", "op")
    assert types(template) == {
        "customer_id": "long", "email": "string", "plan": "string",
        "valid_from": "timestamptz", "valid_to": "timestamptz", "is_current": "boolean",
    }  # fmt: skip
    lakehouse.apply()
    lakehouse.land("customers/changes.csv", CHANGES)
    lakehouse.run(template)
    assert [row["plan"] for row in lakehouse.rows("shop.customers").to_pylist() if row["is_current"]] == ["plus"]

    feature, _ = made(lakehouse, capsys, "shop.order", "--pattern", "feature_table", "--inputs", "customers")
    assert (lakehouse.settings.templates / "order.sql").is_file()
    assert feature.identifier == ["customer_id", "feature_date"]
    assert next((column.name, column.pii, column.access_level) for column in feature.columns) == ("customer_id", True, "restricted")
    # A reserved word, as a table's name and as an input's.
    counted, _ = made(lakehouse, capsys, "shop.counted", "--pattern", "feature_table", "--inputs", "order,customers")
    assert counted.feature_table.inputs == ["shop.order", "shop.customers"]


@pytest.mark.parametrize("pattern", ["event_stream", "scd_type2"])
def test_a_pattern_alone_gives_what_it_needs(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], pattern: str) -> None:
    template, said = made(lakehouse, capsys, "shop.fresh", "--pattern", pattern)
    assert template.pipeline.pattern == pattern and template.identifier[0] == "fresh_id"
    assert str(lakehouse.settings.templates / "fresh.yaml") in said
    lakehouse.apply()


def test_nothing_is_replaced_and_nothing_is_written_that_does_not_lint(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "o.csv").write_text(CSV)
    made(lakehouse, capsys, "shop.o", "--from", str(tmp_path / "o.csv"))
    before = {path: path.read_text() for path in lakehouse.settings.templates.iterdir()}
    (tmp_path / "double.csv").write_text("a_id,x,ordered_at\n1.5,1,2024-01-01\n2.5,2,2024-01-02\n")
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "broken.jsonl").write_text('{"a": secret}\n')
    file = str(tmp_path / "o.csv")
    for arguments, told in {
        ("shop.o", "--from", file): "o.yaml is there already",
        ("shop.p", "--from", file, "--pii", "nobody"): "The personal data names nobody, and the columns are order_id,",
        ("shop.p", "--from", file, "--time", "note"): "`note` is a string, and the time is a timestamp or a date",
        ("shop.p", "--from", file, "--pii", "note", "--no-pii"): "Use one of them",
        ("shop.p", "--from", str(tmp_path / "double.csv"), "--key", "a_id"): "p.yaml:",
        ("shop.p", "--from", str(tmp_path / "empty.csv")): "has no rows",
        ("shop.p", "--from", str(tmp_path / "broken.jsonl")): "cannot be read as jsonl: JSONDecodeError",
        ("shop.p", "--from", str(tmp_path / "none.csv")): "There is no folder",
        ("shop.p", "--from", file, "--pattern", "scd_type2", "--key", ""): "say which: --key",
        ("shop.p", "--from", file, "--pattern", "feature_table"): "has no source files: use --inputs",
        ("shop.p", "--pattern", "feature_table"): "--inputs orders,customers",
        ("shop.P", "--from", file): "is not namespace.table",
        ("shop.p/../q", "--from", file): "is not namespace.table",
    }.items():
        code, _, err = run_command(capsys, "new-table", *arguments)
        assert (code, told in err) == (1, True), (arguments, err)
        assert "secret" not in err
    assert {path: path.read_text() for path in lakehouse.settings.templates.iterdir()} == before


def test_a_sample_whose_rows_do_not_all_fit_says_so(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("a_id,b\n1,x\n2,y\n3,z,more\n")
    template, said = made(lakehouse, capsys, "shop.o", "--from", str(tmp_path / "o.csv"))
    assert "1 rows have more or fewer fields than the header" in said
    assert "1 rows of the sample do not fit: 3 fields instead of 2" in said
    assert template.identifier == ["a_id"]
