"""Templates leave in other standards' words, and come in from a contract, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from command_line import run_command

if TYPE_CHECKING:
    from conftest import Lakehouse

ORDERS = """\
name: orders
namespace: shop
description: One row per order.
columns: [{name: id, type: long, required: true}, {name: email, type: string, pii: true, access_level: restricted}]
identifier: [id]
pipeline: {pattern: event_stream, source: {path: x, format: jsonl}}
"""
CUSTOMERS = "name: customers\nnamespace: shop\ndescription: One row per customer.\ncolumns: [{name: id, type: long}]\n"


@pytest.fixture(autouse=True)
def _templates(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in lakehouse.environment.items():
        monkeypatch.setenv(name, value)
    (lakehouse.settings.templates / "orders.yaml").write_text(ORDERS)
    (lakehouse.settings.templates / "customers.yaml").write_text(CUSTOMERS)


def test_one_file_is_printed_and_several_go_to_a_folder(capsys: pytest.CaptureFixture[str], lakehouse: Lakehouse) -> None:
    code, out, err = run_command(capsys, "export", "--format", "odcs", "orders")
    assert (code, yaml.safe_load(out)["id"]) == (0, "shop.orders")
    assert "note: shop.orders: the format does not say its pipeline." in err
    assert yaml.safe_load(run_command(capsys, "export", "--format", "dbt-sources")[1])["sources"][0]["name"] == "shop"
    code, _, err = run_command(capsys, "export", "--format", "jsonschema")
    assert code == 1 and "These are 2 files" in err and "--output" in err
    for _ in range(2):  # what is there is replaced
        code, out, _ = run_command(capsys, "export", "--format", "jsonschema", "--output", "made/here")
        assert code == 0 and sorted(out.split()) == ["made/here/shop.customers.schema.json", "made/here/shop.orders.schema.json"]
    assert json.loads(Path("made/here/shop.orders.schema.json").read_text())["required"] == ["id"]
    code, _, err = run_command(capsys, "export", "--format", "odcs", "nobody")
    assert code == 1 and "No template describes nobody" in err


def test_a_contract_becomes_a_template_and_replaces_none(capsys: pytest.CaptureFixture[str], lakehouse: Lakehouse) -> None:
    run_command(capsys, "export", "--format", "odcs", "--output", ".")
    file, templates = "shop.orders.odcs.yaml", lakehouse.settings.templates
    code, _, err = run_command(capsys, "import", "--format", "odcs", file)
    assert code == 1 and "orders.yaml is there already. Replace it with --force" in err
    assert (templates / "orders.yaml").read_text() == ORDERS
    (templates / "orders.yaml").unlink()
    code, out, _ = run_command(capsys, "import", "--format", "odcs", file)
    assert code == 0 and "lakehouse plan shop.orders" in out
    assert run_command(capsys, "lint")[0] == 0
    found = lakehouse.template_of("shop.orders")
    assert (found.identifier, found.hidden_columns, found.pipeline) == (["id"], {"email"}, None)
    assert [applied.action for applied in lakehouse.apply()] == ["created", "created"]
    code, out, _ = run_command(capsys, "import", "--format", "odcs", file, "--namespace", "sales", "--stdout")
    assert code == 0 and "namespace: sales\n" in out


def test_two_tables_of_a_contract_are_written_together_or_not_at_all(capsys: pytest.CaptureFixture[str], lakehouse: Lakehouse) -> None:
    contract = yaml.safe_load(run_command(capsys, "export", "--format", "odcs", "orders")[1])
    second = yaml.safe_load(run_command(capsys, "export", "--format", "odcs", "customers")[1])
    contract["schema"] += second["schema"]
    Path("both.yaml").write_text(yaml.safe_dump(contract))
    Path("new").mkdir()
    Path("new/customers.yaml").write_text("")
    code, _, err = run_command(capsys, "import", "--format", "odcs", "both.yaml", "--output", "new")
    assert code == 1 and "customers.yaml is there already" in err
    assert [path.name for path in Path("new").iterdir()] == ["customers.yaml"]
    assert run_command(capsys, "import", "--format", "odcs", "both.yaml", "--output", "new", "--force")[0] == 0
    assert sorted(path.name for path in Path("new").iterdir()) == ["customers.yaml", "orders.yaml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "--format", "odcs", "none.yaml"], "none.yaml cannot be read: No such file or directory"),
        (["import", "--format", "odcs", "."], ". cannot be read: Is a directory"),
        (["import", "shop.orders", "--namespace", "x"], "--namespace is for --format"),
    ],
)
def test_mistakes_are_told(capsys: pytest.CaptureFixture[str], lakehouse: Lakehouse, arguments: list[str], told: str) -> None:
    code, _, err = run_command(capsys, *arguments)
    assert code == 1 and told in err
