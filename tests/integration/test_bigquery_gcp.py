"""The whole way on Google's side: BigLake's catalog, Cloud Storage, and BigQuery, which follows what pipelines and `apply` commit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bigquery_lake import ORDERS, ROW
from bigquery_server import ADMIN, INTERNAL, READER, RESTRICTED, WRITER, BigQueryServer
from command_line import run_command

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["gcp"]


def test_from_a_template_to_a_governed_query(lakehouse: Lakehouse, governed: BigQueryServer, capsys: pytest.CaptureFixture[str]) -> None:
    path = lakehouse.settings.templates / "orders.yaml"
    template = lakehouse.template(ORDERS)
    assert governed.uri("shop.orders").startswith("gs://warehouse/shop/orders/")
    tags = {"email": [RESTRICTED], "address.street": [RESTRICTED], "address.geo.lat": [RESTRICTED], "margin": [INTERNAL]}
    assert governed.called("POST tables/shop")[0].policy_tags.items() >= tags.items()
    assert run_command(capsys, "plan")[0] == 0

    governed.logged_in = WRITER
    lakehouse.land("orders/a.jsonl", ROW)
    assert lakehouse.run(template).rows == 1
    assert governed.uri("shop.orders") == lakehouse.table("shop.orders").metadata_location

    governed.logged_in = ADMIN
    more = "      - {name: phone, type: string, access_level: restricted}\n      - {name: notes"
    path.write_text(path.read_text().replace("  - {name: notes", more.replace("      -", "  -")))
    code, out, _ = run_command(capsys, "plan", "--json")
    assert (code, json.loads(out)["tables"][0]["changes"][0]["subject"]) == (2, "phone")
    assert run_command(capsys, "apply")[0] == 0
    patch = governed.called("PATCH *")[-1]
    assert patch.policy_tags["phone"] == [RESTRICTED]
    assert patch.body["externalDataConfiguration"]["sourceUris"] == [lakehouse.table("shop.orders").metadata_location]

    governed.logged_in = WRITER
    governed.change("shop.orders", externalDataConfiguration=governed.states[0][1]["externalDataConfiguration"])
    code, out, _ = run_command(capsys, "drift", "--json")
    assert (code, "older metadata" in out) == (2, True)
    assert run_command(capsys, "sync", "--json")[0] == 0
    assert governed.uri("shop.orders") == lakehouse.table("shop.orders").metadata_location
    assert governed.tags("shop.orders") == {**tags, "phone": [RESTRICTED]}
    assert run_command(capsys, "drift")[0] == 0
    assert run_command(capsys, "governance", "--live")[0] == 0


def test_an_audit_is_shown_once_it_is_published(lakehouse: Lakehouse, governed: BigQueryServer, capsys: pytest.CaptureFixture[str]) -> None:
    template = lakehouse.template(ORDERS.replace("    pipeline:", "    publish: audited\n    pipeline:"))
    governed.logged_in = WRITER
    lakehouse.land("orders/a.jsonl", ROW)
    assert lakehouse.run(template).rows == 1
    key, count = lakehouse.settings.templates.parent, "SELECT COUNT(*) AS n FROM orders"
    assert governed.query(key, READER, "shop", count) == [{"n": 0}]
    assert run_command(capsys, "audit", "publish", "shop.orders")[0] == 0
    assert governed.query(key, READER, "shop", count) == [{"n": 1}]
    assert governed.uri("shop.orders") == lakehouse.table("shop.orders").metadata_location
