"""Every check that a template gives, and every check that is shipped, is seen to pass and to fail, by real Soda scans."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField, StringType

from lakehouse.errors import CatalogError
from lakehouse.settings import PROJECT_ROOT
from lakehouse.template import TableTemplate
from lakehouse.types import PRIMITIVES
from quality.checks import table_checks
from quality.errors import ChecksError
from quality.results import ScanResult
from quality.scan import scan_table

if TYPE_CHECKING:
    from conftest import Lakehouse

Row = dict[str, Any]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def made(lakehouse: Lakehouse, template: TableTemplate, columns: Iterable[NestedField] | None = None) -> Table:
    """The template's table as somebody else could have made it: no column is required, so that faulty rows can be written."""
    lakehouse.catalog.create_namespace_if_not_exists(template.namespace)
    fields = [field.model_copy(update={"required": False}) for field in columns or template.iceberg_schema.fields]
    return lakehouse.catalog.create_table(template.table_name, Schema(*fields))


def write(table: Table, rows: Sequence[Row]) -> None:
    """Replaces the table's rows."""
    data = pa.Table.from_pylist([*rows], schema=table.schema().as_arrow())
    if table.current_snapshot() is None:
        table.append(data)
    else:
        table.overwrite(data)


def described(lakehouse: Lakehouse, text: str) -> TableTemplate:
    """A template, of which no table is made."""
    text = textwrap.dedent(text)
    name = text.splitlines()[0].split(": ")[1]
    (lakehouse.settings.templates / f"{name}.yaml").write_text(text)
    return lakehouse.template_of(f"shop.{name}")


def outcomes(result: ScanResult) -> dict[str, str]:
    return {check.name: check.outcome for check in result.checks}


def value_of(result: ScanResult, name: str) -> Any:
    return next(check.value for check in result.checks if check.name == name)


EVENT: Row = {
    "event_id": "e1",
    "event_type": "purchase",
    "event_timestamp": NOW,
    "received_at": NOW,
    "user_id": "ada.lovelace",
    "session_id": "s",
    "source": "web",
    "country": "DE",
    "amount": Decimal("1.50"),
    "payload": None,
}
VERSION: Row = {
    "user_id": "ada.lovelace",
    "email": None,
    "display_name": None,
    "country": "DE",
    "plan": "pro",
    "marketing_consent": True,
    "valid_from": NOW - 3 * DAY,
    "valid_to": NOW - 2 * DAY,
    "is_current": False,
}
CURRENT = VERSION | {"valid_from": NOW - 2 * DAY, "valid_to": None, "is_current": True}
FEATURES: Row = {
    "user_id": "ada.lovelace",
    "feature_date": NOW.date(),
    "events_7d": 5,
    "purchases_7d": 1,
    "revenue_7d": Decimal("9.50"),
    "days_since_last_event": 6,
    "plan": None,
    "country": None,
}
WARNS = {"received_before_it_happened", "invalid_count_source"}
# By table: rows in which nothing is wrong, and rows in which everything is but their number and the schema.
SHIPPED: dict[str, tuple[list[Row], list[Row]]] = {
    "event_stream": (
        [EVENT, EVENT | {"event_id": "e2", "event_type": "page_view", "amount": None, "received_at": None, "source": None}],
        [
            EVENT
            | {"event_timestamp": NOW - 2 * DAY, "received_at": NOW - 3 * DAY, "source": "fax", "country": "de", "amount": Decimal(-1)},
            EVENT | {"event_timestamp": None, "event_type": None},
            EVENT | {"event_timestamp": NOW - 2 * DAY, "event_id": None, "event_type": "purchase", "amount": None},
            EVENT | {"event_timestamp": NOW - 2 * DAY, "event_id": "e2", "event_type": "refund"},
        ],
    ),
    "scd_type2": (
        [VERSION, CURRENT, CURRENT | {"user_id": "grace.hopper", "plan": None}],
        [
            VERSION | {"valid_to": NOW - DAY},
            CURRENT,
            CURRENT | {"valid_from": NOW, "plan": "gold"},
            CURRENT | {"valid_from": NOW, "valid_to": NOW - DAY},
            CURRENT | {"user_id": None},
            CURRENT | {"user_id": "grace.hopper", "valid_from": None},
            CURRENT | {"user_id": "grace.hopper", "is_current": None},
        ],
    ),
    "feature_table": (
        [FEATURES, FEATURES | {"feature_date": date(2024, 1, 1), "purchases_7d": 0, "revenue_7d": Decimal(0), "days_since_last_event": 0}],
        [
            FEATURES | {"events_7d": 0, "purchases_7d": 1},
            FEATURES | {"purchases_7d": -1, "revenue_7d": Decimal("-0.01"), "days_since_last_event": 7, "plan": "gold"},
            FEATURES | {"user_id": None, "purchases_7d": 0},
            FEATURES | {"feature_date": None},
        ],
    ),
}


@pytest.mark.parametrize("name", [*SHIPPED])
def test_every_check_of_the_shipped_tables_passes_on_good_rows_and_fails_on_faulty_ones(lakehouse: Lakehouse, name: str) -> None:
    shutil.copytree(PROJECT_ROOT / "table-templates", lakehouse.settings.templates, dirs_exist_ok=True)
    template = lakehouse.template_of(f"lakehouse.{name}")
    table, (good, faulty) = made(lakehouse, template), SHIPPED[name]
    names = [check.name for check in table_checks(lakehouse.settings, template)]
    log: list[str] = []
    write(table, good)
    passed = scan_table(lakehouse.settings, template, log=log.append)
    assert outcomes(passed) == dict.fromkeys(names, "pass")
    assert passed.snapshot_id == table.current_snapshot().snapshot_id
    write(table, faulty)
    failed = scan_table(lakehouse.settings, template, log=log.append)
    right = {"row_count", "schema"}
    assert outcomes(failed) == {found: "pass" if found in right else "warn" if found in WARNS else "fail" for found in names}
    assert value_of(failed, "row_count") == len(faulty)
    shown = json.dumps(failed.as_dict()) + "".join(log)
    assert "ada.lovelace" not in shown and "grace.hopper" not in shown
    write(table, [])
    empty = outcomes(scan_table(lakehouse.settings, template))
    assert {found for found, outcome in empty.items() if outcome != "pass"} == {"row_count"} | {
        found for found in names if found.startswith("freshness")
    }


ORDERS = """\
    name: orders
    namespace: shop
    columns:
      - {name: id, type: long, required: true}
      - {name: order, type: string, required: true}
      - {name: day, type: date, required: true}
    identifier: [id, order]
    partition_spec: [{column: day}]
    freshness: 1w
    """
ORDER: Row = {"id": 1, "order": "a", "day": NOW.date()}
GENERATED = [
    "row_count",
    "missing_count_id",
    "missing_count_order",
    "missing_count_day",
    "duplicate_count_id_order",
    "schema",
    "freshness_day",
]


def test_every_check_that_a_template_gives_passes_and_fails(lakehouse: Lakehouse) -> None:
    template = described(lakehouse, ORDERS)
    table = made(lakehouse, template)
    assert outcomes(scan_table(lakehouse.settings, template)) == dict.fromkeys(GENERATED, "pass") | {
        "row_count": "fail",
        "freshness_day": "fail",
    }
    write(table, [ORDER, ORDER | {"order": "b"}])
    assert outcomes(scan_table(lakehouse.settings, template)) == dict.fromkeys(GENERATED, "pass")
    old = NOW.date() - 9 * DAY
    write(table, [{"id": None, "order": None, "day": None}, ORDER | {"day": old}, ORDER | {"day": old}])
    with table.update_schema() as update:
        update.add_column("note", StringType())
    found = scan_table(lakehouse.settings, template)
    assert outcomes(found) == dict.fromkeys(GENERATED, "fail") | {"row_count": "pass"}
    assert [value_of(found, name) for name in GENERATED[:5]] == [3, 1, 1, 1, 1]
    assert "note" in next(check.message for check in found.checks if check.name == "schema")


def test_renamed_columns_and_deleted_rows_are_checked_as_readers_see_them(lakehouse: Lakehouse) -> None:
    renamed = ORDERS.replace("{name: order, type: string, required: true}", "{name: label, type: string, required: true}")
    template = described(lakehouse, renamed.replace("[id, order]", "[id, label]"))
    before = [field if field.name != "label" else field.model_copy(update={"name": "order"}) for field in template.iceberg_schema.fields]
    table = made(lakehouse, template, before)
    write(table, [ORDER, ORDER | {"day": NOW.date() - DAY}])
    with table.update_schema() as update:
        update.rename_column("order", "label")
    names = ["duplicate_count_id_label", "missing_count_label", "row_count"]
    found = scan_table(lakehouse.settings, template, names=names)
    assert outcomes(found) == {"row_count": "pass", "missing_count_label": "pass", "duplicate_count_id_label": "fail"}
    earlier = table.current_snapshot().snapshot_id
    table.delete(EqualTo("day", NOW.date()))
    found = scan_table(lakehouse.settings, template, names=names)
    assert outcomes(found) == dict.fromkeys(names, "pass") and value_of(found, "row_count") == 1
    found = scan_table(lakehouse.settings, template, names=["row_count"], snapshot_id=earlier)
    assert value_of(found, "row_count") == 2 and found.snapshot_id == earlier


def test_a_column_that_the_live_table_lacks_is_an_error_of_its_checks_alone(lakehouse: Lakehouse) -> None:
    template = described(lakehouse, ORDERS)
    fields = [field for field in template.iceberg_schema.fields if field.name != "order"]
    write(made(lakehouse, template, fields), [{"id": 1, "day": NOW.date()}])
    found = scan_table(lakehouse.settings, template)
    errors = {"missing_count_order", "duplicate_count_id_order"}
    assert outcomes(found) == {name: "error" if name in errors else "fail" if name == "schema" else "pass" for name in GENERATED}
    message = next(check.message for check in found.checks if check.name == "missing_count_order")
    assert message == "shop.orders has no column order. Make the table what its template says: lakehouse apply shop.orders"
    assert outcomes(scan_table(lakehouse.settings, template, names=["missing_count_order"])) == {"missing_count_order": "error"}


NESTED = ["decimal(18,3)", "decimal(38,0)", "fixed[4]", "list<uuid>", "map<string, decimal(9,2)>", "struct<order: int, at: list<time>>"]


def test_the_schema_check_knows_every_type_and_finds_each_that_is_another(lakehouse: Lakehouse) -> None:
    types = [*PRIMITIVES, *NESTED]
    template = everything(lakehouse, types)
    table, schema = made(lakehouse, template), template.arrow_schema
    table.append(pa.table([pa.nulls(1, field.type) for field in schema], schema=schema))
    assert outcomes(scan_table(lakehouse.settings, template)) == {"row_count": "pass", "schema": "pass"}
    # Each column is described with the type of the next.
    [found] = scan_table(lakehouse.settings, everything(lakehouse, [*types[1:], types[0]]), names=["schema"]).checks
    assert found.outcome == "fail"
    assert set(re.findall(r"\bc\d+\b", found.message)) == {f"c{index}" for index in range(len(types))}


def everything(lakehouse: Lakehouse, types: Sequence[str]) -> TableTemplate:
    """A template with a column of each type: c0, c1, …"""
    columns = "\n".join(f'  - {{name: c{index}, type: "{type_}"}}' for index, type_ in enumerate(types))
    return described(lakehouse, f"name: everything\nnamespace: shop\ncolumns:\n{columns}\n")


def test_of_rows_that_are_copied_only_what_checks_read_is(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """Rows of a file without field ids are copied, as those of an object store; one column cannot even be read here."""
    template = described(lakehouse, ORDERS.replace("identifier:", "  - {name: note, type: string}\n    identifier:"))
    table, path = made(lakehouse, template), tmp_path / "foreign.parquet"
    rows = {"id": pa.array([1]), "order": ["a"], "day": pa.array([NOW.date()]), "note": ["x"]}
    pq.write_table(pa.table(rows), path, compression="none", use_dictionary=False)
    table.add_files([f"file://{path}"])
    place = pq.read_metadata(path).row_group(0).column(3).data_page_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 8)
    with pytest.raises(OSError, match="page header"):
        pq.read_table(path, columns=["note"])
    assert outcomes(scan_table(lakehouse.settings, template)) == dict.fromkeys(GENERATED, "pass")


def test_a_table_that_is_not_there_and_a_check_that_is_not_there_are_errors(lakehouse: Lakehouse) -> None:
    template = described(lakehouse, ORDERS)
    with pytest.raises(CatalogError, match=r"no table shop\.orders in the catalog.*lakehouse apply"):
        scan_table(lakehouse.settings, template)
    with pytest.raises(ChecksError, match=r"shop\.orders has no check row_cont\. It has .*row_count"):
        scan_table(lakehouse.settings, template, names=["row_cont"])


def test_where_there_is_nothing_to_check_nothing_is_scanned(lakehouse: Lakehouse) -> None:
    template = described(lakehouse, ORDERS.replace("freshness: 1w", "checks: {generated: false}"))
    assert scan_table(lakehouse.settings, template) == ScanResult("shop.orders", ())
    assert scan_table(lakehouse.settings, described(lakehouse, ORDERS), names=[]) == ScanResult("shop.orders", ())


def quality(lakehouse: Lakehouse, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m quality`` on the lakehouse."""
    command = [sys.executable, "-m", "quality", *arguments]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env={**os.environ, **lakehouse.environment}, capture_output=True, text=True, check=False
    )


def test_the_command_shows_every_result_and_fails_where_a_check_does(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "ordres_checks.yaml").write_text("checks for ordres:\n  - row_count > 0\n")
    (tmp_path / "checks" / "few_checks.yaml").write_text("checks for few:\n  - row_count:\n      warn: when < 100\n")
    monkeypatch.setenv("LAKEHOUSE_CHECKS", str(tmp_path / "checks"))
    orders = described(lakehouse, ORDERS)
    few = described(lakehouse, "name: few\nnamespace: shop\ncolumns: [{name: id, type: long}]\n")
    write(made(lakehouse, few), [{"id": 1}])
    warned = quality(lakehouse, "few")
    assert warned.returncode == 0, warned.stderr
    assert "row_count" in warned.stdout and "warn: when < 100" in warned.stdout
    assert "ordres_checks.yaml is the SodaCL file of no table" in warned.stderr
    missing = quality(lakehouse, "--json")
    assert missing.returncode == 1
    found = json.loads(missing.stdout)
    assert "no table shop.orders in the catalog" in found["errors"]["shop.orders"]
    assert [(table["table"], table["held_back_by"]) for table in found["tables"]] == [("shop.few", [])]
    write(made(lakehouse, orders), [ORDER, ORDER])
    failed = quality(lakehouse)
    assert failed.returncode == 1
    assert [line for line in failed.stdout.splitlines() if "duplicate_count_id_order" in line and "fail" in line and " 1 " in line]
    assert {*re.findall(r"^(shop\.\w+): \d checks in", failed.stderr, re.MULTILINE)} == {"shop.few", "shop.orders"}
    unknown = quality(lakehouse, "nothing")
    assert unknown.returncode == 1 and unknown.stderr.startswith("error: No template describes nothing. There are shop.few, shop.orders.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_at_once_with_its_scans(lakehouse: Lakehouse, tmp_path: Path, number: signal.Signals) -> None:
    names = ["first", "second", "third"]
    folders = {"LAKEHOUSE_CHECKS": tmp_path / "checks", "TMPDIR": tmp_path / "temporary"}
    for folder in folders.values():
        folder.mkdir()
    for name in names:
        write(made(lakehouse, described(lakehouse, f"name: {name}\nnamespace: shop\ncolumns: [{{name: id, type: long}}]\n")), [{"id": 1}])
        os.mkfifo(tmp_path / name)  # whoever opens it waits for one who writes to it
        check = f"  - failed rows:\n      fail query: select * from read_csv('{tmp_path / name}')\n"
        (folders["LAKEHOUSE_CHECKS"] / f"{name}_checks.yaml").write_text(f"checks for {name}:\n{check}")
    environment = {**os.environ, **lakehouse.environment, **{variable: str(path) for variable, path in folders.items()}}
    command = [sys.executable, "-m", "quality"]
    with (
        subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it for what it runs in the background
        ) as process,
        (tmp_path / "first").open("w") as first,
        (tmp_path / "second").open("w") as second,
    ):
        assert process.stderr is not None
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stderr.read() == "error: interrupted; no scan runs any more.\n"
        for pipe in (first, second):
            ends = select.poll()
            ends.register(pipe, 0)
            assert ends.poll(60_000) == [(pipe.fileno(), select.POLLERR)]  # nobody reads it any more
    assert list(folders["TMPDIR"].iterdir()) == []
