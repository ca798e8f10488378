"""Tables that somebody changes by hand, and what is found of it: for the tests of drift, on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.drift import check_drift
from lakehouse.drift_answers import TableDrift

if TYPE_CHECKING:
    from conftest import Lakehouse

ORDERS = """\
name: orders
namespace: shop
description: One row per order.
columns:
  - {name: id, type: long, required: true}
  - {name: at, type: timestamptz, required: true, description: When.}
  - {name: count, type: int}
  - {name: session_id, type: string}
  - {name: address, type: "struct<street: string, zip: string>"}
identifier: [id]
partition_spec: [{column: at, transform: day}]
sort_order: [{column: id}]
properties: {write.parquet.compression-codec: zstd}
pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}, on_bad_rows: quarantine}
"""
USERS = "name: users\nnamespace: shop\ncolumns: [{name: id, type: long}]\n"


def made(lakehouse: Lakehouse, *templates: str) -> None:
    """The tables of templates, each with a snapshot: what is dropped from it is lost."""
    for text in templates:
        name = lakehouse.template(text).table_name
        table = lakehouse.table(name)
        table.append(table.schema().as_arrow().empty_table())


def found(lakehouse: Lakehouse, **options: Any) -> dict[str, TableDrift]:
    """The answers about schemas, by table."""
    drifts = check_drift(lakehouse.settings, lakehouse.templates(), **options)
    return {drift.table: drift for drift in drifts if drift.aspect == "schema"}


def states(lakehouse: Lakehouse, **options: Any) -> dict[str, str]:
    return {name: drift.state for name, drift in found(lakehouse, **options).items()}


def catalog_answer(lakehouse: Lakehouse, **options: Any) -> TableDrift:
    [answer] = [drift for drift in check_drift(lakehouse.settings, lakehouse.templates(), **options) if drift.aspect == "catalog"]
    return answer


def location(lakehouse: Lakehouse, name: str) -> str:
    return f"{lakehouse.settings.warehouse_uri}/shop/{name}"
