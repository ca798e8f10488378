"""What is generated from code is up to date, and what the reference says is so."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from lakehouse.lint import LintResult, lint_templates
from lakehouse.rules import Rule
from lakehouse.template import json_schema

ROOT = Path(__file__).parents[2]
GENERATED = [
    "terraform/modules/table_template/schema.json",
    "table-templates/schema.json",
    "docs/cli-reference.md",
    "docs/configuration-reference.md",
    "docs/template-reference.md",
    "docs/terraform-reference.md",
]
TEMPLATES = [*ROOT.glob("table-templates/*.yaml"), *ROOT.glob("examples/*/table-templates/*.yaml")]
SCHEMA = json.loads((ROOT / "table-templates" / "schema.json").read_text())


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    """The generator's entry point."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))["main"]


def test_generated_files_are_up_to_date(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("file", GENERATED)
def test_a_stale_file_is_named_and_written(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str
) -> None:
    for name in [*GENERATED, *(str(path.relative_to(ROOT)) for path in ROOT.glob("terraform/**/*.tf"))]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    arguments = ["--root", str(tmp_path)]
    main(arguments)
    assert main([*arguments, "--check"]) == 0
    stale = tmp_path / file
    stale.write_text(stale.read_text().replace("restricted", "hidden").replace("LAKEHOUSE_BACKEND", "BACKEND"))
    before = stale.read_text()
    assert main([*arguments, "--check"]) == 1
    assert stale.read_text() == before
    error = capsys.readouterr().err
    assert file in error
    assert "make generate" in error
    assert not [name for name in GENERATED if name != file and name in error]
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0


@pytest.mark.parametrize("file", GENERATED)
def test_generated_files_hold_no_path_of_one_machine(file: str) -> None:
    text = (ROOT / file).read_text()
    assert str(ROOT) not in text
    assert f"{Path.home()}/" not in text
    assert text.endswith("\n")


def test_every_key_is_acted_on() -> None:
    assert "Not acted on yet" not in str(json_schema())


def test_every_key_and_rule_has_a_meaning() -> None:
    schema = json_schema()
    for name, model in {"TableTemplate": schema, **schema["$defs"]}.items():
        assert model["description"], name
        assert [key for key, field in model["properties"].items() if not field.get("description")] == [], name
    page = (ROOT / "docs" / "template-reference.md").read_text()
    for rule in Rule.all:
        assert rule.__doc__
        assert f"| `{rule.id}` | {rule.severity} | " in page
    assert len({rule.id for rule in Rule.all}) == len(Rule.all)
    findings = "".join((ROOT / "lakehouse" / file).read_text() for file in ("lint.py", "yaml_reader.py"))
    ids = set(re.findall(r'"((?:yaml|missing|unknown|wrong|empty|no|file|duplicate)-[a-z-]+|unreadable)"', findings))
    assert len(ids) > 15
    assert not [rule for rule in ids if f"`{rule}`" not in page]


@pytest.mark.parametrize("folder", sorted({path.parent for path in TEMPLATES}), ids=lambda path: str(path.relative_to(ROOT)))
def test_checked_in_templates_lint_without_an_error(folder: Path) -> None:
    assert lint_templates(folder, ["LAKEHOUSE_LANDING"]).errors == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_checked_in_templates_fit_the_schema_that_they_name(path: Path) -> None:
    Draft202012Validator(SCHEMA).validate(yaml.safe_load(path.read_text()))
    modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    assert modeline is None or (path.parent / modeline[1]).resolve() == ROOT / "table-templates" / "schema.json"


COLUMNS = [{"name": "a", "type": "int"}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"nam": "x"},
        {"name": "X"},
        {"columns": []},
        {"columns": [{"name": "a"}]},
        {"columns": [*COLUMNS, {"name": "b", "type": "int", "access_level": "secret"}]},
        {"partition_spec": [{"column": "a", "transform": "bucket[0]"}]},
        {"freshness": "1 day"},
        {"pipeline": {"pattern": "stream"}},
        {"pipeline": {"pattern": "event_stream"}},
    ],
)
def test_the_schema_refuses_what_lint_refuses(wrong: dict[str, Any]) -> None:
    validator = Draft202012Validator(SCHEMA)
    good = {"name": "t", "namespace": "n", "columns": COLUMNS}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **wrong})


def test_the_examples_of_the_reference_are_templates(lint: Callable[..., LintResult]) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "template-reference.md").read_text(), re.DOTALL)
    tables = {f"{yaml.safe_load(block)['name']}.yaml": block for block in blocks if "\nnamespace: " in block}
    assert list(tables) == ["event_stream.yaml", "trips.yaml"]
    assert lint(tables, ("LAKEHOUSE_LANDING",)).problems == []
    assert yaml.safe_load(blocks[0]).keys() == json_schema()["properties"].keys() - {"source"}
    fragments = [yaml.safe_load(block)["pipeline"] for block in blocks if "\nnamespace: " not in block]
    assert [fragment["pattern"] for fragment in fragments] == ["scd_type2", "feature_table"]
    for fragment in fragments:  # each in place of that of the checked-in template of its pattern
        name = f"{fragment['pattern']}.yaml"
        template = yaml.safe_load((ROOT / "table-templates" / name).read_text())
        tables[name] = yaml.safe_dump({**template, "pipeline": fragment})
    sql = (ROOT / "table-templates" / "feature_table.sql").read_text()
    # The first example is another event stream than the checked-in one, which the SQL reads.
    tables["event_stream.yaml"] = (ROOT / "table-templates" / "event_stream.yaml").read_text()
    assert lint({**tables, "feature_table.sql": sql}, ("LAKEHOUSE_LANDING",)).problems == []
